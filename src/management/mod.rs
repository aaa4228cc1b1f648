//! HTTP API for callers to create, list, change and revoke their own keys.
//!
//! [`ManagementApi`] is a service over a [`KeyManager`](crate::key::KeyManager), inside an
//! [`AuthLayer`](crate::auth::AuthLayer) of your choice. It acts for the owner in the
//! [`Identity`](crate::identity::Identity) that the layer has verified.
//!
//! # Calls
//!
//! Paths are relative to the base path. Use [`nested`](ManagementApi::nested) behind a router that strips the
//! base path, such as axum's `nest_service`, and [`new`](ManagementApi::new) otherwise. Bodies and responses are
//! JSON; [`KeyView`] describes a record.
//!
//! | call | body | response |
//! |---|---|---|
//! | `POST /` | `name`, `scopes`?, `expires_in`?, `not_before`?, `metadata`? | 201, `Location`, `{"key":<record>,"secret":"<text of the key>"}` |
//! | `GET /?limit=&after=` | | 200, `{"keys":[<record>,..],"next":"<cursor>"}`, oldest first; `next` is `null` on the last page |
//! | `GET /{id}` | | 200, `<record>` |
//! | `PATCH /{id}` | one or more of `name`, `scopes`, `metadata`, `disabled` | 200, `<record>`: all changes in one step |
//! | `POST /{id}/extend` | `by` | 200, `<record>`: expires `by` later, or that long from now if it has expired |
//! | `POST /{id}/rotate` | `overlap`? | 200, `{"key":<record>,"secret":"<text of the key>"}`; the old secret works for `overlap` more, or not at all |
//! | `POST /{id}/revoke` | none, or `{}` | 200, `<record>`: final and idempotent |
//! | `DELETE /{id}` | | 204 |
//! | `POST /delete` | `ids`: 1 to 200 | 204: all of them are deleted, or none |
//!
//! | member | value |
//! |---|---|
//! | `name` | 1 to 128 characters without control characters. Two keys may have the same |
//! | `scopes` | a list, or `"all"`. Without it a new key grants nothing |
//! | `expires_in`, `by`, `overlap` | an integer of seconds, or `{"count":60,"unit":"days"}` with the units `seconds`, `minutes`, `hours`, `days` and `weeks`. Without `expires_in` a new key never expires |
//! | `not_before` | a time of RFC 3339 |
//! | `metadata` | any JSON value, kept byte for byte, and replaced as a whole; `null` is none |
//! | `disabled` | `true` or `false` |
//!
//! With [`with_last_used`](ManagementApi::with_last_used), a record in a response to `GET` has `last_used` too.
//!
//! `limit` is 1 to 200, and 50 without it; `after` is the `next` of an earlier response. `HEAD` is `GET`
//! without the body.
//!
//! # Guarantees
//!
//! 1. The owner is that of the `Identity`, and nothing in a request changes it. The response to the id of
//!    another owner's key is that to an id that does not exist, byte for byte.
//! 2. The text of a key is only in the response that created it. No response has a digest.
//! 3. Callers can grant only scopes that they hold. Other scopes of a new key, or new scopes of an old one,
//!    are refused (422). So is extending, rotating or enabling a key with such scopes (403), even if the same
//!    update sets them. Disabling, revoking or deleting one is allowed.
//!    No caller sets a [rate limit](crate::rate_limit): a key that a limited key makes has the same limit, in a bucket
//!    of its own.
//! 4. An unknown member is refused, with a list of the members. Numbers are integers, and none overflows.
//! 5. `GET` and `HEAD` change nothing. Every other call except `DELETE` needs a JSON media type, with or
//!    without a body, which a form of another site cannot send (CSRF).
//! 6. A response repeats only the parts of a request that became part of a record, and the path in `Location`.
//!    It has `Cache-Control: no-store`.
//! 7. A change is authorized again after its body was read. A key that was revoked, disabled or deleted, has
//!    expired or has lost a scope meanwhile changes nothing. A user is not authenticated again.
//! 8. Each change is [logged](crate::trace) as one event (feature `tracing`), with the owner, the key of the
//!    caller, and the changed key.
//!
//! # Refusals
//!
//! As described in [`rejection`](crate::rejection), in this order:
//!
//! | situation | status | `code` |
//! |---|---|---|
//! | no `AuthLayer` around the service | 500 | `internal` |
//! | the layer is public | 403 | `forbidden` |
//! | no such call | 404 | `not_found` |
//! | another method | 405 with `Allow` | `method_not_allowed` |
//! | a `POST` or `PATCH` that is not `application/json`; with a content coding | 415 | `unsupported_media_type`; `unsupported_content_encoding` |
//! | a body over 16 KiB; too slow; cut off | 413; 408; 400 | `content_too_large`; `request_timeout`; `malformed_body` |
//! | the caller's key has become invalid meanwhile (for a change) | 401 with the challenge of its placement | `unauthorized` |
//! | the caller's key has lost a scope meanwhile (for a change) | 403 | `forbidden` |
//! | a body that is not JSON, or has a duplicate member | 400 | `malformed_body` |
//! | a value outside its limits | 422 with `errors` | `invalid` |
//! | no such key of this owner | 404 | `not_found` |
//! | the key has scopes that the caller lacks | 403 | `forbidden` |
//! | the key was revoked | 409 | `already_revoked` |
//! | concurrent changes won every retry | 409 | `conflict` |
//! | the store fails or times out (5 seconds); no key can be generated | 503 with `Retry-After` | `temporarily_unavailable` |
//!
//! `errors` is a list of [`Violation`](crate::rejection::Violation)s:
//! `[{"pointer":"/scopes/0","reason":"the caller does not have this scope"}]`.
//!
//! After a 503 or a lost connection it is unknown whether something was changed.
//!
//! # Idempotency
//!
//! A `POST /` with the header field `Idempotency-Key` (1 to 255 visible ASCII characters, for example a UUID)
//! creates at most one key. It can be retried after a lost response or a 503, on another server, and
//! concurrently. The id of the key is derived from the owner and the field, so that the store refuses a second
//! one; nothing is kept in memory, and nothing expires.
//!
//! The response is 201 to the first call, and 200 to later ones, with `Location` and
//! `{"key":<record>,"replayed":true}` and without the secret: [rotate](#calls) the key if the secret was
//! lost. If name, scopes, `not_before` or metadata differ from those of the key, the response is 422. After
//! the key is deleted, the field can be used again. A format that cannot keep ids
//! ([`OpaqueFormat`](crate::key::OpaqueFormat)) leads to a 422.
//!
//! # OpenAPI
//!
//! [`ManagementApi::openapi`] is the document of these calls, with the security of the layer in front. It is OpenAPI
//! 3.1, and made from the limits that input is read with. `examples/manage` serves it, and a page that shows it.
//!
//! # Security
//!
//! Every key of an owner can manage all keys of the owner: revoke them, and create others that live longer
//! than itself. Require a scope ([`AuthLayer::with_scope`](crate::auth::AuthLayer::with_scope)) or a login to
//! restrict that. The number of keys of an owner is not limited, and so neither is the sum of their rates. With a credential that browsers send on their
//! own (a cookie, Basic), do not let a CORS layer allow other sites.
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt};
//! use tower_webhook::auth::AuthLayer;
//! use tower_webhook::credential::Placement;
//! use tower_webhook::key::{KeyManager, NewKey, Owner, Scope};
//! use tower_webhook::store::MemoryKeyStore;
//! use tower_webhook::management::ManagementApi;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let admin = NewKey::new("admin").with_all_scopes();
//! let admin = keys.generate(&Owner::new("ann")?, admin).await?;
//!
//! let auth = AuthLayer::token(&keys, [Placement::bearer()])?.with_scope(Scope::new("keys")?)?;
//! let api = auth.layer(ManagementApi::new(keys, "/keys")?);
//!
//! let bearer = format!("Bearer {}", admin.secret().expose_secret());
//! let request = Request::post("/keys")
//!     .header("authorization", &bearer)
//!     .header("content-type", "application/json")
//!     .body(Full::<Bytes>::from(r#"{"name":"ci","scopes":["deploy"],"expires_in":3600}"#))?;
//! let response = api.clone().oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::CREATED);
//!
//! let request = Request::get("/keys").header("authorization", &bearer);
//! let response = api.clone().oneshot(request.body(Full::default())?).await?;
//! let list: serde_json::Value =
//!     serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
//! assert_eq!(list["keys"][1]["name"], "ci");
//! assert_eq!(list["keys"][1].get("secret"), None);
//!
//! let request = Request::get("/keys").body(Full::default())?;
//! let response = api.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! On axum: `Router::new().nest_service("/keys", auth.layer(ManagementApi::nested(keys, "/keys")?))`.

mod answer;
mod caller;
mod command;
mod idempotency;
mod input;
mod openapi;
mod route;
mod service;

pub use self::service::ManagementApi;
pub use crate::key::KeyView;
