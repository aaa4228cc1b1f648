//! Responses that reach clients which are still sending.
//!
//! A server that has answered and then closes its connection on unread bytes of a body resets it. A client that sends
//! before it reads, or whose system drops what it has received when the reset comes, sees a broken connection
//! instead of the 401 or 413. The remedy is a lingering close ([RFC 9112, section 9.6]): [`DrainLayer`] reads what the
//! inner service has left of a body, and drops it.
//!
//! # Guarantees
//!
//! 1. The response comes first. A task of tokio then reads the rest of the body, until it ends or fails, for the
//!    [time](DrainLayer::with_deadline) (1 second) at most. After the [bytes](DrainLayer::with_max_bytes) (1 MiB) no
//!    more is read, and the connection stays open until the time is over. Then the body is dropped.
//! 2. The inner service sees the same frames, trailers, errors, length and end. What it reads itself does not count
//!    towards the bounds. A body that it keeps after its response is drained when it drops it.
//! 3. A request with `Expect: 100-continue` whose body was not begun is not drained: reading it would ask for it.
//! 4. Outside of a runtime, after an error of the inner service, and after a request that was given up, nothing is
//!    read.
//!
//! [`Hooks`](crate::hook::Hooks) has it built in. Elsewhere put it outside of [`AuthLayer`](crate::auth::AuthLayer) and
//! of [`BodyBufferLayer`](crate::body::BodyBufferLayer), and of every other layer that refuses requests.
//!
//! # Security
//!
//! Every client can make the server receive and drop as much as the bounds allow, for each request that is refused. None of
//! it is kept: a task takes some hundred bytes beside the buffer of the connection. The connection is busy for the
//! time of the bounds. Where that matters, limit connections in the server or in front of it.
//!
//! # What it reaches, and what it does not
//!
//! Uploads of 20 MiB over loopback, of which so many clients saw the 401 or 413 (`.ci/clients` measures it):
//!
//! | client | without the layer | 1 MiB, 1 s | 32 MiB, 3 s |
//! |---|---|---|---|
//! | curl 7.88 | 49 of 50 | 25 of 25 | 300 of 300 |
//! | curl 7.88 with `Expect: 100-continue` (its default from 1 MiB on) | 50 of 50 | 25 of 25 | 300 of 300 |
//! | Python's `http.client` | 0 of 50 | 0 of 25 | 300 of 300 |
//! | python-requests on urllib3 2 | 50 of 50 | 25 of 25 | 300 of 300 |
//! | `fetch` of node 20 | 24 of 50 | 25 of 25 | 300 of 300 |
//! | reqwest 0.13 | 32 of 50 | 25 of 25 | 300 of 300 |
//! | curl 7.88 over HTTP/2 | 0 of 50 | 25 of 25 | 300 of 300 |
//! | reqwest 0.13 over HTTP/2 | 50 of 50 | 25 of 25 | 300 of 300 |
//!
//! A client that reads while it sends needs the connection to stay open for the time that the response takes. One that
//! sends everything before it reads, like `http.client`, needs bounds above the size of its uploads.
//!
//! On HTTP/2 and HTTP/3 a stream has an end of its own. A server resets the stream of a body that is dropped, and some
//! clients, such as curl, report that in place of the response. A body that is drained to its end is not reset.
//!
//! A layer cannot reach:
//!
//! | refusal | what helps |
//! |---|---|
//! | by the server: a malformed head, header fields that are too large, a timeout while the head is read | a proxy in front that reads requests whole: `proxy_request_buffering on` of nginx (its default) |
//! | by a layer outside of this one: a timeout, a limit of the size | this layer outside of it |
//! | by a proxy: `client_max_body_size` of nginx | `lingering_close`, `lingering_time` and `lingering_timeout` there |
//! | of a client that sends more than the bounds, or has not ended after them | greater bounds, or `Expect: 100-continue` in the client |
//! | while the server shuts down | a time of grace that is longer than the deadline |
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::routing::post;
//! use tower_webhook::drain::DrainLayer;
//! use tower_webhook::{AuthLayer, KeyManager, MemoryKeyStore};
//!
//! let keys = KeyManager::new(MemoryKeyStore::new());
//! let drain = DrainLayer::new().with_max_bytes(32 * 1024 * 1024).with_deadline(Duration::from_secs(3));
//! let app: Router = Router::new()
//!     .route("/upload", post(|| async {}))
//!     .layer(AuthLayer::bearer(&keys)?)
//!     .layer(drain);
//! # let _ = app;
//! # Ok::<(), tower_webhook::ConfigError>(())
//! ```
//!
//! [RFC 9112, section 9.6]: https://www.rfc-editor.org/rfc/rfc9112#section-9.6

mod body;
mod layer;
mod service;
mod slot;

pub use self::body::DrainBody;
pub use self::layer::DrainLayer;
pub use self::service::{Drain, ResponseFuture};
