//! Authentication as a tower middleware.
//!
//! A [`Policy`] says who may call, for all requests of an [`AuthLayer`] or for each:
//!
//! | constructor | who may call |
//! |---|---|
//! | [`AuthLayer::public`] | every caller |
//! | [`AuthLayer::token`] | a caller with a key, in one of the configured placements |
//! | [`AuthLayer::user`] | a user whom an [`Authenticator`] of the app accepts |
//! | `AuthLayer::signed` | a sender whose signature is good (feature `signature`) |
//! | [`AuthLayer::per_request`] | as the [`Policy`] says that a [`PolicyResolver`] finds for the request |
//! | [`AuthLayer::new`] | as one [`Policy`] says, for all requests: [`Policy::any_of`] takes a key or a user, [`Policy::all_of`] both |
//!
//! # Guarantees
//!
//! 1. The inner service is called for an accepted request only, once, with the
//!    [`Identity`](crate::identity::Identity) in its extensions. What the configured places hold is taken out
//!    of the request first, under every policy; a place that cannot be cleaned is a refusal.
//! 2. The inner service is asked for readiness only when the caller is known. A refused request, and one
//!    whose key is still being looked up, hold none of its permits. The instance that was ready is the
//!    one that is called. A service that does not become ready in time leads to 503. Where more than a second
//!    has passed since the verdict, the record of the key is looked up again before the service is called: a
//!    key that was revoked while a slow body arrived opens nothing. A user is not asked again.
//! 3. The error type is that of the inner service: a refusal is a response (see
//!    [`rejection`](crate::rejection)), so the layer needs no `HandleErrorLayer`.
//! 4. The body is neither touched nor polled, so it can have any type. A placement in the body needs
//!    [`AuthLayer::with_buffer`], and so does an authenticator that [needs it](Authenticator::needs_body).
//! 5. The order of checks is: the hook (404), its methods (405), the number of credentials (400), the
//!    credential (401), the owner and the scopes (401 or 403), the [limits on calls](AuthLayer::with_rate_limits)
//!    (429). A credential in the head is decided about before
//!    the body is looked at: see [Credentials in the body](self#credentials-in-the-body).
//! 6. A store, resolver, authenticator or limiter that fails, or does not answer within its deadline, leads to 503, and
//!    one that panics to 500 (a store: 503). Nothing is let through, and no caller learns that their key is bad.
//! 7. A response to a request with its credential in the query or path carries `Cache-Control: private,
//!    no-store` and `Referrer-Policy: no-referrer` (RFC 6750, section 2.3). With the credential anywhere else but in
//!    `Authorization`, which caches know, it carries `Cache-Control: private` if the app has set no `Cache-Control`
//!    (RFC 9111, sections 3.5 and 5.2.2.7).
//! 8. A setting is applied or refused: by a [`ConfigError`](crate::ConfigError) where the layer is made, or by
//!    a 500 where a resolver gives a policy that contradicts the layer. The order of the settings does not
//!    matter.
//!
//! # Two credentials
//!
//! | in one request | answer |
//! |---|---|
//! | two of the kind that the policy asks for (keys or users), in one place or in several | 400; 401 or 403 if the first is in the head and bad, and the other in the body |
//! | one of that kind, and one of the other configured kind in a header field or `Authorization` | 400, unless [`with_insecure_mixed_credentials`](AuthLayer::with_insecure_mixed_credentials) is set |
//! | one of that kind, and one of the other kind in a cookie, the query, the path or the body | the first decides, the other is removed |
//! | only one of the other kind | 401 |
//! | any, on a public route | removed |
//! | two of any kind, under [`Policy::any_of`] | 400; 401 or 403 if the first is in the head and bad, and the other in the body |
//! | one of each kind, under [`Policy::all_of`] | both decide |
//!
//! # Credentials in the body
//!
//! A placement in the body takes nothing from those in the head:
//!
//! | in the head | answer |
//! |---|---|
//! | several credentials | 400; the store is not asked, the body not polled |
//! | one, and it is bad | 401, 403 or 503; the body is not polled |
//! | one, and it is good | the body is read under the full limit, and searched for a second credential: 400 |
//! | none | the body is read under the limit for unknown callers, and the credential in it decides |
//!
//! A second credential is looked for where one can be: in JSON and forms that are not in a content coding. Other
//! media types, and JSON that does not parse, are left to the inner service. What is JSON under
//! [`Hooks`](crate::hook::Hooks) is [for the envelope to say](crate::envelope::EnvelopeBuilder::with_media_types). A
//! body that has fields and cannot be searched, because it is over a limit or two readers would read it differently,
//! is refused with 400 or 415: it is not known what is in it. A credential of the other kind in the body is removed, and
//! counts for nothing.
//!
//! A layer that [conceals](AuthLayer::with_uniform_unauthorized) its hooks looks for keys and for users under every
//! policy. There the body of a request without a credential of one kind in its head may be read first, unless one of
//! the other kind is in a header field.
//!
//! # Layers inside each other
//!
//! An outer layer takes the credential out of the request. An inner layer asks for its own policy:
//!
//! | the inner layer asks for | and the outer one has | answer |
//! |---|---|---|
//! | a key | verified one with a clone of the same verifier: both were made from one [`KeyManager`](crate::key::KeyManager), or from clones of one [`KeyVerifier`](crate::key::KeyVerifier) | owner, scopes and key of the inner policy decide, without another look-up |
//! | a key | verified one with another verifier; any `with_*` of a verifier or a manager, and [`with_clock`](AuthLayer::with_clock) of a layer, makes another one | 401, unless the request has another key in a place that only the inner layer reads |
//! | a key | let in a user, or every caller | 401, with the same exception |
//! | a user | let in a user, and is a clone of the inner layer, perhaps with other scopes or another owner | owner and scopes of the inner policy decide; the authenticator is not asked again |
//! | a user | anything else | the authenticator of the inner layer is asked about what the outer layer has left: 401 if that was the credential |
//! | a key or a user ([`any_of`](Policy::any_of)) | either, as above | the same, if the request has no credential for the inner layer; one that it has decides alone |
//! | a key and a user ([`all_of`](Policy::all_of)) | one or both, as above | the inner layer reads what is left, and both decide |
//! | nothing (public) | anything | let in; the identity of the outer layer stays |
//!
//! # Where it guards on axum
//!
//! | put on | guarded | not guarded |
//! |---|---|---|
//! | `Router::route_layer` | the routes added before it | the fallback (404 without authentication) |
//! | `Router::layer` | the routes added before it, and the fallback | routes and fallbacks added after it |
//! | `Router::layer` on a router that is nested later | the same, of that router | the fallback, if it has none of its own |
//! | around the router (`layer.layer(router)`) | everything; path placements are hidden from routing | |
//!
//! Two methods of one path with different scopes are two calls of `route`:
//! `.route("/jobs", get(list).route_layer(read)).route("/jobs", post(create).route_layer(write))`. In
//! `get(list).route_layer(read).post(create).route_layer(write)` both layers are around `list`.
//!
//! # Policies that change while the server runs
//!
//! A [`PolicyResolver`] is asked for every request. Keep the policies in an `ArcSwap` in it, as its example does, and a
//! new set holds from the next request on. Below `route_layer` it can look at axum's `MatchedPath` in
//! [`RequestHead::extensions`](crate::RequestHead::extensions), and need not compare raw paths. Otherwise it compares
//! [`RequestHead::original_path`](crate::RequestHead::original_path), which has the prefixes of nested routers.
//!
//! # Requests that are not calls
//!
//! | request | with | answer |
//! |---|---|---|
//! | `HEAD` or `GET` of a sender or load balancer that only asks | [`Policy::with_probe`] | the whole decision, then 200 without the inner service |
//! | `OPTIONS` of a browser that asks for another site's page (CORS) | [`AuthLayer::with_preflight_passed_on`] | passed on without a decision |
//! | any, with a body that is not needed | [`Policy::without_body`] | decided about without the body |
//!
//! # In an OpenAPI document
//!
//! [`AuthLayer::openapi`] gives the security schemes and the requirements of the operations behind the layer, made from
//! its very placements. `examples/axum.rs` merges them with the document of [utoipa](https://docs.rs/utoipa).
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_webhook::auth::AuthLayer;
//! use tower_webhook::credential::Placement;
//! use tower_webhook::identity::Identity;
//! use tower_webhook::key::{KeyManager, NewKey, Owner};
//! use tower_webhook::store::MemoryKeyStore;
//!
//! async fn greet(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
//!     let text = match Identity::of(request.extensions()) {
//!         Ok(Some(identity)) => format!("hello {}", identity.owner()),
//!         _ => "hello stranger".to_owned(),
//!     };
//!     Ok(Response::new(text.into()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let issued = keys.generate(&Owner::new("alice")?, NewKey::new("laptop")).await?;
//!
//! let placements = [Placement::header("x-api-key")?, Placement::bearer()];
//! let service = AuthLayer::token(&keys, placements)?.layer(service_fn(greet));
//!
//! let request = Request::get("/").header("x-api-key", issued.secret().expose_secret());
//! let response = service.clone().oneshot(request.body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! let request = Request::get("/").header("x-api-key", "guess");
//! let response = service.oneshot(request.body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"webhook\"");
//! # Ok(())
//! # }
//! ```

mod authenticator;
mod authorize;
mod buffered;
mod config;
mod future;
mod layer;
mod marks;
mod measure;
mod openapi;
mod policy;
mod resolver;
mod service;

pub use self::authenticator::{Authentication, Authenticator, User};
pub use self::buffered::{BufferedAuth, BufferedAuthLayer};
pub use self::future::ResponseFuture;
pub use self::layer::AuthLayer;
pub use self::policy::Policy;
pub use self::resolver::PolicyResolver;
pub use self::service::Auth;

pub(crate) use self::config::AuthConfig;
pub(crate) use self::measure::{End, Stopwatch};
pub(crate) use self::policy::HookName;
