//! What caches get to know of a response whose request had a credential that they do not see.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use tower_webhook::credential::Placement;

use crate::support::{Keys, Logins, Mode};

/// `Cache-Control` of the response; the app sets what `own` says.
async fn caching(auth: &AuthLayer, request: Request<Full<Bytes>>, own: &'static str) -> String {
    let inner = service_fn(move |_| async move {
        let response = Response::builder();
        let response = match own {
            "" => response,
            own => response.header("cache-control", own),
        };
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let service = auth.clone().with_buffer(BodyBufferLayer::new()).layer(inner);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let values = response.headers().get_all("cache-control").iter();
    values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
}

#[tokio::test]
async fn a_response_is_private_where_caches_know_no_credential() {
    let keys = Keys::new().await;
    let key = &keys.text;
    let auth = AuthLayer::new(Policy::any_of([Policy::token(), Policy::user()])).unwrap();
    let for_keys = [
        Placement::header("x-api-key").unwrap(),
        Placement::bearer(),
        Placement::basic(),
        Placement::cookie("key").unwrap(),
        Placement::query("token").unwrap(),
        Placement::body("key").unwrap(),
    ];
    let auth = auth.with_keys(&keys.manager, for_keys).unwrap();
    let auth = auth.with_authenticator(Logins, [Placement::cookie("session").unwrap()]).unwrap();
    let get = |name: &str, value: String| {
        Request::get("/").header(name, value).body(Full::default()).unwrap()
    };
    for mode in [Mode::Ready, Mode::Later] {
        keys.store.set_mode(mode);
        let in_body = || {
            let request = Request::post("/").header("content-type", "application/json");
            request.body(Full::from(format!(r#"{{"key":"{key}"}}"#))).unwrap()
        };
        let in_query = || Request::get(format!("/?token={key}")).body(Full::default()).unwrap();
        for (what, request, alone, beside_public) in [
            ("header", get("x-api-key", key.clone()), "private", "public"),
            ("cookie", get("cookie", format!("key={key}")), "private", "public"),
            ("user", get("cookie", "session=sesame".to_owned()), "private", "public"),
            ("bearer", get("authorization", format!("Bearer {key}")), "", "public"),
            ("body", in_body(), "private", "public"),
            ("query", in_query(), "private, no-store", "private, no-store"),
        ] {
            let again = request.clone();
            assert_eq!(caching(&auth, request, "").await, alone, "{what} {mode:?}");
            assert_eq!(caching(&auth, again, "public").await, beside_public, "{what} {mode:?}");
        }
    }
}

#[tokio::test]
async fn a_response_of_a_public_route_is_left_as_it_is() {
    let request = Request::get("/").header("x-api-key", "k").body(Full::default()).unwrap();
    assert_eq!(caching(&AuthLayer::public(), request, "").await, "");
}
