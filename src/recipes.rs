//! Tasks that apps have, and the code for each.
//!
//! | task | where |
//! |---|---|
//! | CORS, tracing, compression, decompression in one stack | [`orders`](crate::orders) |
//! | each method of a path asks for a scope of its own | [below](#a-scope-for-each-method) |
//! | policies by the route that was matched | [below](#policies-by-route) |
//! | other policies while the server runs | [`PolicyResolver`](crate::auth::PolicyResolver#examples) |
//! | other keys while the server runs, from a file | [below](#keys-from-a-file) |
//! | users of an app's own tokens, such as JWTs | [below](#tokens-of-the-app) |
//! | limits on the calls of a key | [`rate_limit`](crate::rate_limit) |
//! | limits by another crate, such as `governor` or `tower_governor` | [below](#limits-by-another-crate) |
//! | counters and durations for Prometheus | `metrics`, feature `metrics` |
//! | deliveries of GitHub, Stripe and others | `signature`, feature `signature` |
//! | work that outlives its request, or its process | `queue`, feature `queue` |
//! | a public route beside keys in the path | [`PolicyResolver`](crate::auth::PolicyResolver#examples) |
//! | tests of handlers, and of routers with their layers | [`Identity`](crate::Identity): `for_test` and `TestIdentityLayer`, feature `testing` |
//! | a hook with a signature over its body | [`Authenticator::needs_body`](crate::auth::Authenticator::needs_body) |
//! | a long connection ends when its key is revoked | [`Identity::reverify`](crate::Identity::reverify) |
//!
//! # A scope for each method
//!
//! One call of `route` for each method. In `get(list).route_layer(read).post(create).route_layer(write)` both layers would
//! be around `list`.
//!
//! ```
//! use axum::Router;
//! use axum::body::Body;
//! use axum::routing::{get, post};
//! use http::{Method, Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_webhook::{AuthLayer, KeyManager, MemoryKeyStore, NewKey, Owner, Scope};
//! # use tower_webhook::key::Scopes;
//!
//! fn app(keys: &KeyManager) -> Result<Router, Box<dyn std::error::Error>> {
//!     let auth = AuthLayer::bearer(keys)?;
//!     let read = auth.clone().with_scope(Scope::new("jobs:read")?)?;
//!     let write = auth.with_scope(Scope::new("jobs:write")?)?;
//!     Ok(Router::new()
//!         .route("/jobs", get(async || "jobs").route_layer(read))
//!         .route("/jobs", post(async || "made").route_layer(write)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let reader = NewKey::new("dashboard").with_scopes(Scopes::parse(["jobs:read"])?);
//! let issued = keys.generate(&Owner::new("ann")?, reader).await?;
//!
//! let bearer = format!("Bearer {}", issued.secret().expose_secret());
//! let cases = [
//!     (Method::GET, StatusCode::OK),
//!     (Method::POST, StatusCode::FORBIDDEN),
//!     (Method::DELETE, StatusCode::METHOD_NOT_ALLOWED),
//! ];
//! for (method, expected) in cases {
//!     let request = Request::builder().method(method).uri("/jobs").header("authorization", &bearer);
//!     let response = app(&keys)?.oneshot(request.body(Body::empty())?).await?;
//!     assert_eq!(response.status(), expected);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Policies by route
//!
//! A table with axum's `MatchedPath` as its key: the path as it is given to `route`, after the prefixes of nested routers.
//! The layer has to be inside of the routing, by `route_layer`. A route that is missing in the table is a 404, and never
//! public.
//!
//! ```
//! use std::collections::HashMap;
//!
//! use axum::Router;
//! use axum::body::Body;
//! use axum::extract::MatchedPath;
//! use axum::routing::get;
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_webhook::auth::Policy;
//! use tower_webhook::{AuthLayer, KeyManager, MemoryKeyStore, Placement, RequestHead, Scope};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policies = HashMap::from([
//!     ("/health", Policy::public()),
//!     ("/api/jobs/{id}", Policy::token().with_scope(Scope::new("jobs:read")?)),
//! ]);
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let auth = AuthLayer::per_request(move |head: RequestHead<'_>| {
//!     policies.get(head.extensions().get::<MatchedPath>()?.as_str()).cloned()
//! })
//! .with_keys(&keys, Placement::bearer())?;
//!
//! let api = Router::new()
//!     .route("/jobs/{id}", get(async || "a job"))
//!     .route("/forgotten", get(async || "no policy"));
//! let app: Router = Router::new()
//!     .route("/health", get(async || "up"))
//!     .nest("/api", api)
//!     .route_layer(auth);
//!
//! for (path, expected) in [
//!     ("/health", StatusCode::OK),
//!     ("/api/jobs/7", StatusCode::UNAUTHORIZED),
//!     ("/api/forgotten", StatusCode::NOT_FOUND),
//! ] {
//!     let response = app.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
//!     assert_eq!(response.status(), expected, "{path}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Keys from a file
//!
//! `FileKeyStore` (feature `file`) has the digests of an app's keys in one JSON file, such as a Secret that Kubernetes
//! mounts, and reads it again. The health check says when the file cannot be read; the keys of before stay good.
//!
//! ```
//! # #[cfg(feature = "file")]
//! # mod example {
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::routing::{get, post};
//! use http::StatusCode;
//! use tower_webhook::store::FileKeyStore;
//! use tower_webhook::{AuthLayer, KeyManager};
//!
//! # pub
//! async fn app() -> Result<Router, Box<dyn std::error::Error>> {
//!     let store = FileKeyStore::open("/etc/app/keys.json").await?;
//!     tokio::spawn(store.watch(Duration::from_secs(5))?);
//!
//!     let auth = AuthLayer::bearer(&KeyManager::new(store.clone()))?;
//!     let health = async move || match store.status().stale_since() {
//!         None => (StatusCode::OK, "up".to_owned()),
//!         Some(since) => (StatusCode::OK, format!("up, with the keys of {since}")),
//!     };
//!     Ok(Router::new()
//!         .route("/deploy", post(async || "deployed"))
//!         .route_layer(auth)
//!         .route("/health", get(health)))
//! }
//! # }
//! ```
//!
//! # Tokens of the app
//!
//! An app that checks JWTs keeps its code and its library, and calls them in an
//! [`Authenticator`](crate::auth::Authenticator). The reason of a refusal is in the log, and not in the answer: that is
//! the 401 of every bad credential. An error, such as a key server that is down, is a 503.
//!
//! ```
//! use async_trait::async_trait;
//! use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, User};
//! use tower_webhook::credential::PresentedCredential;
//! use tower_webhook::key::Scopes;
//! use tower_webhook::{BoxError, KeyManager, MemoryKeyStore, Owner, Placement, RequestHead};
//!
//! # enum JwtError { Expired, WrongAudience, NoKeys, Malformed }
//! # struct Claims { sub: String, scope: String }
//! # struct Jwts;
//! # impl Jwts {
//! #     async fn check(&self, token: &str) -> Result<Claims, JwtError> {
//! #         match token {
//! #             "good" => Ok(Claims { sub: "ann".to_owned(), scope: "jobs:read".to_owned() }),
//! #             "down" => Err(JwtError::NoKeys),
//! #             "old" => Err(JwtError::Expired),
//! #             "other" => Err(JwtError::WrongAudience),
//! #             _ => Err(JwtError::Malformed),
//! #         }
//! #     }
//! # }
//! #[async_trait]
//! impl Authenticator for Jwts {
//!     async fn authenticate(
//!         &self,
//!         _head: RequestHead<'_>,
//!         candidate: Option<&PresentedCredential<'_>>,
//!     ) -> Result<Authentication, BoxError> {
//!         let Some(token) = candidate else { return Ok(Authentication::Missing) };
//!         let Some(text) = token.expose_text() else { return Ok(Authentication::Refused) };
//!         match self.check(text).await {
//!             Ok(claims) => {
//!                 let scopes = Scopes::parse(claims.scope.split_whitespace())?;
//!                 let user = User::new(Owner::new(claims.sub)?).with_scopes(scopes);
//!                 Ok(Authentication::Accepted(user))
//!             }
//!             Err(JwtError::Expired) => Ok(Authentication::refused("the token expired")),
//!             Err(JwtError::WrongAudience) => Ok(Authentication::refused("another audience")),
//!             Err(JwtError::NoKeys) => Err("the keys of the issuer cannot be fetched".into()),
//!             Err(JwtError::Malformed) => Ok(Authentication::Refused),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A key or a token, both in `Authorization: Bearer`: a text that has the format of a key is a key.
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let auth = AuthLayer::new(Policy::any_of([Policy::token(), Policy::user()]))?
//!     .with_keys(&keys, Placement::bearer())?
//!     .with_authenticator(Jwts, Placement::bearer())?;
//! # use axum::{Router, body::Body, routing::get};
//! # use http::Request;
//! # use tower::ServiceExt;
//! # let app: Router = Router::new().route("/", get(async || "up")).route_layer(auth);
//! # for (token, expected) in [("good", 200), ("old", 401), ("other", 401), ("x", 401), ("down", 503)] {
//! #     let request = Request::get("/").header("authorization", format!("Bearer {token}"));
//! #     let response = app.clone().oneshot(request.body(Body::empty())?).await?;
//! #     assert_eq!(response.status(), expected, "{token}");
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Limits by another crate
//!
//! Inside of the layer, with the id of the key as the key of the limiter: a guess reaches no bucket, and a rotated key keeps
//! its own. With `tower_governor`, the same is a `KeyExtractor` that reads `Identity` from the extensions of the request.
//! Around [`Hooks`](crate::hook::Hooks) there is no identity yet: use
//! [`with_rate_limits`](crate::auth::AuthLayer::with_rate_limits) there.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::sync::Arc;
//!
//! use axum::extract::{Request, State};
//! use axum::middleware::{Next, from_fn_with_state};
//! use axum::response::{IntoResponse, Response};
//! use axum::routing::post;
//! use axum::{Extension, Router};
//! use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
//! use http::StatusCode;
//! use tower_webhook::key::KeyId;
//! use tower_webhook::{AuthLayer, Identity, KeyManager};
//!
//! type Limiter = Arc<DefaultKeyedRateLimiter<KeyId>>;
//!
//! async fn limit(
//!     State(limiter): State<Limiter>,
//!     Extension(identity): Extension<Identity>,
//!     request: Request,
//!     next: Next,
//! ) -> Response {
//!     match identity.key_id().map(|id| limiter.check_key(id)) {
//!         Some(Ok(())) => next.run(request).await,
//!         Some(Err(_)) => StatusCode::TOO_MANY_REQUESTS.into_response(),
//!         None => StatusCode::FORBIDDEN.into_response(),
//!     }
//! }
//!
//! fn app(keys: &KeyManager) -> Result<Router, tower_webhook::ConfigError> {
//!     let limiter: Limiter = Arc::new(RateLimiter::keyed(Quota::per_minute(NonZeroU32::MIN)));
//!     let auth = AuthLayer::header("x-api-key", keys)?;
//!     // The last layer is the outermost one.
//!     Ok(Router::new()
//!         .route("/deploy", post(async || "done"))
//!         .route_layer(from_fn_with_state(limiter, limit))
//!         .route_layer(auth))
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use tower::ServiceExt;
//! # use tower_webhook::{MemoryKeyStore, NewKey, Owner};
//! # let keys = KeyManager::new(MemoryKeyStore::new());
//! # let issued = keys.generate(&Owner::new("ann")?, NewKey::new("laptop")).await?;
//! # let app = app(&keys)?;
//! # for (key, expected) in [("junk", 401), (issued.secret().expose_secret(), 200), (issued.secret().expose_secret(), 429)] {
//! #     let request = http::Request::post("/deploy").header("x-api-key", key).body(axum::body::Body::empty())?;
//! #     assert_eq!(app.clone().oneshot(request).await?.status(), expected);
//! # }
//! # Ok(())
//! # }
//! ```
