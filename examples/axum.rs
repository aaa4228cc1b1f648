//! Keys on some routes of an axum app, among the layers that such an app has: tracing, CORS, compression, and the
//! decoding of compressed uploads. `Identity` is an extractor. Prometheus scrapes `/metrics`. `/openapi.json` is made by
//! utoipa, and has the security of the layer on the routes behind it.
//!
//! ```text
//! cargo run --example axum --features axum,metrics,tracing
//! ```
//!
//! prints `curl` lines with the answers to expect.

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Method};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::trace::TraceLayer;
use tower_webhook::auth::AuthLayer;
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::{OpenApiSecurity, Placement};
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyManager, NewKey, Owner};
use tower_webhook::metrics::Metrics;
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::trace;
use utoipa::OpenApi;
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};

/// The header with the key.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Deploys what is sent.
#[utoipa::path(post, path = "/deploy", request_body = String, responses(
    (status = 200, description = "Deployed.", body = String),
    (status = 401, description = "The key is missing or not good."),
))]
async fn deploy(identity: Identity, text: String) -> String {
    format!("hello {}, {} bytes\n", identity.owner(), text.len())
}

/// Whether the server runs.
#[utoipa::path(get, path = "/health", responses((status = 200, description = "It does.", body = String)))]
async fn health() -> &'static str {
    "ok\n"
}

/// The operations behind the layer.
#[derive(OpenApi)]
#[openapi(info(title = "Deployments", version = "1"), paths(deploy))]
struct Guarded;

/// The others.
#[derive(OpenApi)]
#[openapi(paths(health))]
struct Open;

/// Puts the security of a layer on all operations of a document.
fn secure(
    document: &mut utoipa::openapi::OpenApi,
    security: &OpenApiSecurity,
) -> Result<(), serde_json::Error> {
    let components = document.components.get_or_insert_default();
    for (name, scheme) in security.schemes() {
        components.add_security_scheme(name, SecurityScheme::deserialize(scheme)?);
    }
    let requirements = Vec::<SecurityRequirement>::deserialize(security.requirements())?;
    for item in document.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            operation.security = Some(requirements.clone());
        }
    }
    Ok(())
}

fn prometheus() -> Result<PrometheusBuilder, BuildError> {
    let seconds = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
}

/// The layers from the inside out. `Router::layer` puts each one around those before it. The recorder of the metrics has
/// to be installed before.
fn app(keys: &KeyManager, prometheus: PrometheusHandle) -> Result<Router, Box<dyn Error>> {
    let placements = [Placement::header(X_API_KEY)?, Placement::bearer()];
    // The limit counts decoded bytes, because the decoding is further out. A stranger's body is not polled, so nothing
    // is decoded for one.
    let buffer = BodyBufferLayer::new().with_max_bytes(1024 * 1024);
    let auth = AuthLayer::token(keys, placements)?.with_metrics(Metrics::register());
    let mut document = Guarded::openapi();
    secure(&mut document, &auth.openapi()?)?;
    document.merge(Open::openapi());
    let document = document.to_json()?;
    // Outermost but for the tracing: it answers preflights, which have no credential, and a page in a browser reads
    // a 401 only where CORS headers are on it.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([CONTENT_TYPE, http::header::AUTHORIZATION, X_API_KEY])
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER])
        .max_age(Duration::from_secs(600));
    // The span has the path of the request without a key.
    let tracing = TraceLayer::new_for_http().make_span_with(trace::request_span((&auth).into()));

    let guarded = Router::new()
        .route("/deploy", post(deploy))
        .route_layer(auth.with_buffer(buffer))
        .layer(RequestDecompressionLayer::new());
    Ok(guarded
        .route("/health", get(health))
        .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], document)))
        .layer(CompressionLayer::new())
        .layer(cors)
        .layer(tracing)
        // Outside of all layers: it is neither traced nor for pages of other sites. An app that is reachable from
        // outside serves it on another address.
        .route("/metrics", get(async move || prometheus.render())))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: axum [ADDRESS:PORT]");
        return Ok(());
    }
    let prometheus = prometheus()?.install_recorder()?;
    let upkeep = prometheus.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    let keys = KeyManager::new(MemoryKeyStore::new());
    let issued = keys.generate(&Owner::new("alice")?, NewKey::new("example")).await?;

    let listener = TcpListener::bind(&address).await?;
    println!(
        "{}",
        instructions(&listener.local_addr()?.to_string(), issued.secret().expose_secret())
    );
    axum::serve(listener, app(&keys, prometheus)?).await?;
    Ok(())
}

fn instructions(address: &str, key: &str) -> String {
    format!(
        r#"listening on http://{address}

With the key. Answer: hello alice, 3 bytes
  curl -s -H 'X-API-Key: {key}' -d abc http://{address}/deploy
  echo abc | tr -d '\n' | gzip | curl -s -H 'X-API-Key: {key}' -H 'Content-Encoding: gzip' --data-binary @- http://{address}/deploy

Needs no key. Answers: ok, and the OpenAPI document, in which /deploy has a lock and /health has none
  curl -s http://{address}/health
  curl -s http://{address}/openapi.json

What was let in and refused, and how long that took. Answer: 200
  curl -s http://{address}/metrics

What a browser asks first, without the key. Answer: 200 with access-control-allow-headers
  curl -s -i -X OPTIONS -H 'Origin: https://a.example' -H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: x-api-key' http://{address}/deploy

Refused: no key (401). A page reads it, since access-control-allow-origin is on it
  curl -si -H 'Origin: https://a.example' -d abc http://{address}/deploy"#
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::body::{Body, to_bytes};
    use http::{HeaderMap, Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    async fn answer(
        app: &Router,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, to_bytes(body, 100_000).await.unwrap().into())
    }

    async fn app_and_key() -> (Router, String) {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let alice = Owner::new("alice").unwrap();
        let issued = keys.generate(&alice, NewKey::new("test")).await.unwrap();
        let recorder = prometheus().unwrap().build_recorder();
        let app = || app(&keys, recorder.handle()).unwrap();
        let app = metrics::with_local_recorder(&recorder, app);
        (app, issued.secret().expose_secret().to_owned())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn the_key_is_asked_for_where_the_layer_is() {
        let (app, key) = app_and_key().await;

        let request = Request::post("/deploy").header(X_API_KEY, &key);
        let (status, _, body) = answer(&app, request, b"abc".into()).await;
        assert_eq!((status, &*body), (StatusCode::OK, &b"hello alice, 3 bytes\n"[..]));
        let (status, ..) = answer(&app, Request::post("/deploy"), b"abc".into()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let (status, ..) = answer(&app, Request::get("/health"), Vec::new()).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn prometheus_sees_what_was_decided() {
        let (app, key) = app_and_key().await;
        for key in [&*key, &key, "junk"] {
            let request = Request::post("/deploy").header(X_API_KEY, key);
            answer(&app, request, b"abc".into()).await;
        }

        let (status, _, text) = answer(&app, Request::get("/metrics"), Vec::new()).await;
        assert_eq!(status, StatusCode::OK);
        let text = String::from_utf8(text).unwrap();
        for line in [
            r#"decisions_total{outcome="accepted",reason="none",placement="header",hook=""} 2"#,
            r#"decisions_total{outcome="refused",reason="malformed",placement="none",hook=""} 1"#,
            r#"decision_duration_seconds_bucket{outcome="accepted",hook="",le="10"} 2"#,
        ] {
            assert!(text.contains(&format!("tower_webhook_{line}\n")), "no {line} in {text}");
        }
    }

    #[tokio::test]
    async fn the_document_has_a_lock_where_the_layer_is() {
        let (app, _) = app_and_key().await;

        let (status, headers, body) = answer(&app, Request::get("/openapi.json"), Vec::new()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.keys().eq(["/deploy", "/health"]), "{document}");
        let either = serde_json::json!([{"header-x-api-key": []}, {"bearer": []}]);
        assert_eq!(paths["/deploy"]["post"]["security"], either);
        assert_eq!(paths["/health"]["get"].get("security"), None);
        // No operation inherits a requirement.
        assert_eq!(document.get("security"), None);
        let schemes = document["components"]["securitySchemes"].as_object().unwrap();
        assert!(schemes.keys().eq(["bearer", "header-x-api-key"]), "{document}");
    }

    #[tokio::test]
    async fn a_page_of_another_origin_can_ask_and_read_the_401() {
        let (app, _) = app_and_key().await;

        let preflight = Request::options("/deploy")
            .header("origin", "https://a.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-api-key,content-type");
        let (status, headers, _) = answer(&app, preflight, Vec::new()).await;
        assert!(status.is_success());
        assert!(headers["access-control-allow-headers"].to_str().unwrap().contains("x-api-key"));

        let request = Request::post("/deploy")
            .header("origin", "https://a.example")
            .header(X_API_KEY, "wrong");
        let (status, headers, _) = answer(&app, request, Vec::new()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(headers["access-control-allow-origin"], "*");
        let exposed = headers["access-control-expose-headers"].to_str().unwrap();
        assert!(
            exposed.contains("www-authenticate") && exposed.contains("retry-after"),
            "{exposed}"
        );
    }

    #[tokio::test]
    async fn the_limit_counts_decoded_bytes() {
        let (app, key) = app_and_key().await;
        let upload = |key: &str| {
            Request::post("/deploy").header(X_API_KEY, key).header("content-encoding", "gzip")
        };

        let (status, _, body) = answer(&app, upload(&key), gzip(b"abc")).await;
        assert_eq!((status, &*body), (StatusCode::OK, &b"hello alice, 3 bytes\n"[..]));

        let bomb = gzip(&vec![b'a'; 1024 * 1024 + 1]);
        assert!(bomb.len() < 10_000);
        let (status, ..) = answer(&app, upload(&key), bomb.clone()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        let (status, ..) = answer(&app, upload("wrong"), bomb).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}
