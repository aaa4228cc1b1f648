//! The order of layers around an [`AuthLayer`](crate::AuthLayer), and what another order does.
//!
//! From the outside in:
//!
//! | layer | why there | in another place |
//! |---|---|---|
//! | `tower_http::trace::TraceLayer` | a span for each request, refused ones included; [`request_span`](crate::trace) keeps keys out of it | refusals are in no span |
//! | `tower_http::cors::CorsLayer` | browsers send preflight requests without a credential, and scripts read a refusal only where it has CORS headers | a preflight is a 401, and a page sees a network error in place of the 401 |
//! | [`DrainLayer`](crate::drain::DrainLayer) | clients that are still sending get to read a refusal | many see a broken connection |
//! | `tower_http::compression::CompressionLayer` | responses, refusals included | refusals are sent as they are, which does no harm |
//! | `tower_http::decompression::RequestDecompressionLayer` | the limits on bodies count decoded bytes, and a key in a coded body is found | the limit counts coded bytes: a body of 10 kB may become one of 10 MB behind it, and no key is found in it |
//! | [`AuthLayer`](crate::AuthLayer) or [`BufferedAuthLayer`](crate::auth::BufferedAuthLayer) | | |
//! | limits of concurrency, rates that another crate limits for each key, load shedding | callers without a key take no permits; the [`Identity`](crate::Identity) is known | strangers use the permits up |
//! | the handler | | |
//!
//! Decoding comes before the decision in this order, and yet nothing is decoded for a stranger whose credential is bad
//! or missing in the head of the request: `RequestDecompressionLayer` decodes as the body is polled, and the auth layer
//! does not poll it before a good verdict. Only where a placement is in the body, and the head has no credential, is a
//! body decoded first, up to [the limit for that](crate::auth::BufferedAuthLayer::with_pre_auth_max_bytes).
//!
//! # CORS
//!
//! `Access-Control-Allow-Headers` has to name the header of the key: a `*` there does not cover `Authorization`
//! (Fetch standard, "CORS-unsafe request-header names"). Expose `WWW-Authenticate` and `Retry-After`, or scripts
//! do not see them.
//!
//! Where the CORS layer has to be inside, for example because each route has one of its own,
//! [`with_preflight_passed_on`](crate::AuthLayer::with_preflight_passed_on) lets preflights through. Refusals
//! then still have no CORS headers.
//!
//! # Places in a router
//!
//! On axum, a layer that is added later is further out. `route_layer` puts the auth layer around the routes that
//! exist, so that unknown paths stay a 404. A path placement needs the layer around the whole router: see
//! [`Placement::path`](crate::Placement::path). Layers of one `ServiceBuilder` are in the order of their calls, the
//! outermost first.
//!
//! # Examples
//!
//! The order above, as axum's `Router` takes it, from the inside out:
//!
//! ```
//! use axum::{Router, routing::post};
//! use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
//! use tower_http::compression::CompressionLayer;
//! use tower_http::cors::{Any, CorsLayer};
//! use tower_http::decompression::RequestDecompressionLayer;
//! use tower_http::trace::TraceLayer;
//! use tower_webhook::body::BodyBufferLayer;
//! use tower_webhook::drain::DrainLayer;
//! use tower_webhook::{AuthLayer, KeyManager, MemoryKeyStore};
//!
//! # fn main() -> Result<(), tower_webhook::ConfigError> {
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let app: Router = Router::new()
//!     .route("/deploy", post(async |text: String| text))
//!     .route_layer(AuthLayer::bearer(&keys)?.with_buffer(BodyBufferLayer::new()))
//!     .layer(RequestDecompressionLayer::new())
//!     .layer(CompressionLayer::new())
//!     .layer(DrainLayer::new())
//!     .layer(
//!         CorsLayer::new()
//!             .allow_origin(Any)
//!             .allow_methods(Any)
//!             .allow_headers([AUTHORIZATION, CONTENT_TYPE])
//!             .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER]),
//!     )
//!     .layer(TraceLayer::new_for_http());
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
