//! Management of keys over HTTP: callers make, list, change and end their own keys.
//!
//! [`ManagementApi`] is a leaf service made from a [`KeyManager`](crate::key::KeyManager). It stands
//! inside an [`AuthLayer`](crate::auth::AuthLayer) of the app's choice, and works for the owner in the
//! [`Identity`](crate::identity::Identity) that the layer has proven.
//!
//! # Calls
//!
//! Paths are below the base path, and each call has this one address. Behind a router that takes the base
//! path off, such as axum's `nest_service`, the service is [nested](ManagementApi::nested); otherwise it is
//! [new](ManagementApi::new) and takes the path off itself. Bodies and answers are JSON; a record is as [`KeyView`] describes it.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST /` | `name`, `scopes`?, `expires_in`?, `not_before`?, `metadata`? | 201, `Location`, `{"key":<record>,"secret":"<text of the key>"}` |
//! | `GET /?limit=&after=` | | 200, `{"keys":[<record>,..],"next":"<cursor>"}`, oldest first; `next` is `null` on the last page |
//! | `GET /{id}` | | 200, `<record>` |
//! | `PATCH /{id}` | one or more of `name`, `scopes`, `metadata`, `disabled` | 200, `<record>`: all changes in one step |
//! | `POST /{id}/extend` | `by` | 200, `<record>`: expires `by` later, or that long from now if it has expired |
//! | `POST /{id}/rotate` | `overlap`? | 200, `{"key":<record>,"secret":"<text of the key>"}`; the old secret works for `overlap` more, or not at all |
//! | `POST /{id}/revoke` | none, or `{}` | 200, `<record>`: ended for good. Again: the same |
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
//! `limit` is 1 to 200, and 50 without it; `after` is the `next` of an earlier answer. `HEAD` answers
//! as `GET` does, without the body.
//!
//! # Guarantees
//!
//! 1. The owner is that of the `Identity`, and nothing in a request changes it. The id of somebody else's
//!    key is answered like one that does not exist, byte for byte.
//! 2. The text of a key is in the answer that made it and in no other. A digest is in none.
//! 3. No caller grants what they do not have. Scopes of a new key, or new scopes of an old one, that the
//!    caller lacks are refused (422). So is the extension, the rotation and the switching on of a key with
//!    such scopes (403), even if the key gets them at the same time. To disable, revoke or delete one is
//!    allowed.
//! 4. A member that is not one of the call is refused. Numbers are integers, and none overflows.
//! 5. `GET` and `HEAD` change nothing. Every other call but `DELETE` needs a JSON media type, with or
//!    without a body, which a form of another site cannot send.
//! 6. An answer repeats nothing that was sent, except for what became part of a record, and has
//!    `Cache-Control: no-store`.
//! 7. A change is decided on the caller's key as it is when the body has been read. A key that was revoked,
//!    disabled or deleted, has expired or has lost a scope while its request was coming changes nothing. A
//!    user, who has no key, is not asked for again.
//! 8. One event per change is [logged](crate::trace) (feature `tracing`), with the owner, the key with
//!    which the caller came, and the key that was changed.
//!
//! # Refusals
//!
//! As described in [`rejection`](crate::rejection), in this order:
//!
//! | situation | status | `code` |
//! |---|---|---|
//! | there is no `AuthLayer` around the service | 500 | `internal` |
//! | the layer is public | 403 | `forbidden` |
//! | no such call | 404 | `not_found` |
//! | another method | 405 with `Allow` | `method_not_allowed` |
//! | a `POST` or `PATCH` that is not `application/json`; with a content coding | 415 | `unsupported_media_type`; `unsupported_content_encoding` |
//! | a body over 16 KiB; too slow; cut off | 413; 408; 400 | `content_too_large`; `request_timeout`; `malformed_body` |
//! | the caller's key has ended meanwhile (for a change) | 401 with the challenge of its place | `unauthorized` |
//! | the caller's key has lost a scope meanwhile (for a change) | 403 | `forbidden` |
//! | a body that is no JSON, or has a member twice | 400 | `malformed_body` |
//! | something is outside its limits | 422 with `errors` | `invalid` |
//! | no such key of this owner | 404 | `not_found` |
//! | the key has scopes that the caller lacks | 403 | `forbidden` |
//! | the key was revoked | 409 | `already_revoked` |
//! | other changes kept coming first | 409 | `conflict` |
//! | the store fails, or does not answer within 5 seconds; no key can be made | 503 with `Retry-After` | `temporarily_unavailable` |
//!
//! `errors` is a list of [`Violation`](crate::rejection::Violation)s:
//! `[{"pointer":"/scopes/0","reason":"the caller does not have this scope"}]`.
//!
//! After a 503, or when the connection broke off, it is not known whether something was changed.
//!
//! # Making a key once
//!
//! A `POST /` with the header field `Idempotency-Key` (1 to 255 visible ASCII characters, a UUID for
//! example) makes at most one key, however often it is repeated: after an answer that got lost, after a
//! 503, on another server, at the same time. The id of the key follows from the owner and the field, so
//! that the store itself refuses a second one; nothing is kept in memory, and nothing expires.
//!
//! The first call answers 201. A later one answers 200 with `Location` and
//! `{"key":<record>,"replayed":true}`, without the secret: [rotate](#calls) the key if the secret was
//! lost. If name, scopes, `not_before` or metadata differ from those of the key, the answer is a 422.
//! Once the key is deleted, the field can be used again. A format that does not keep ids
//! ([`OpaqueFormat`](crate::key::OpaqueFormat)) leads to a 422.
//!
//! # Security
//!
//! A caller manages all keys of their owner, whatever their key was made for: it can end them, and make
//! others that live longer than itself. Ask for a scope of its own
//! ([`AuthLayer::with_scope`](crate::auth::AuthLayer::with_scope)), or for a login, if not every key is
//! to do that. Nothing here limits how many keys an owner has. With a credential that browsers send by
//! themselves (a cookie, Basic), do not let a CORS layer allow other sites.
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
mod route;
mod service;

pub use self::service::ManagementApi;
pub use crate::key::KeyView;
