use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::{Extension, Form};
use ::axum::routing::{get, post};

use super::*;

async fn ask(app: Router, request: Request<Body>) -> (StatusCode, String) {
    let response = app.oneshot(request).await.unwrap();
    (response.status(), text(response).await)
}

fn app() -> Router {
    Router::new()
        .route("/bytes", post(|body: Bytes| async move { body }))
        .route(
            "/extension",
            post(|Extension(body): Extension<BufferedBody>| async move { body.bytes() }),
        )
        .route("/none", get(|| async { "none" }))
}

#[tokio::test]
async fn a_router_takes_the_layer_in_every_place() {
    for app in [
        app().layer(layer()),
        app().route_layer(layer()),
        app().layer(layer()).layer(layer()),
        Router::new().merge(app()).layer(ServiceBuilder::new().layer(layer())),
        Router::new()
            .nest_service("/in", layer().layer(app()))
            .fallback_service(app().layer(layer())),
    ] {
        for path in ["/bytes", "/extension"] {
            let good = Request::post(path).body(Body::from("0123456789")).unwrap();
            assert_eq!(ask(app.clone(), good).await, (StatusCode::OK, "0123456789".to_owned()));
            let bad = Request::post(path).body(Body::from("0123456789!")).unwrap();
            assert_eq!(ask(app.clone(), bad).await.0, StatusCode::PAYLOAD_TOO_LARGE);
        }
        let none = Request::get("/none").body(Body::empty()).unwrap();
        assert_eq!(ask(app, none).await, (StatusCode::OK, "none".to_owned()));
    }
}

#[tokio::test]
async fn an_extractor_reads_what_the_layer_replays() {
    let handler = |Form(fields): Form<Vec<(String, String)>>| async move { fields[0].1.clone() };
    let app = Router::new().route("/", post(handler)).layer(layer());
    let request = Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("a=1%202"))
        .unwrap();

    assert_eq!(ask(app, request).await, (StatusCode::OK, "1 2".to_owned()));
}
