//! The contract of `poll_ready`: which service is asked for readiness, when, and which one is called.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_test::mock;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;

use crate::support::{Keys, Mode, Recorder};

type Body = Full<Bytes>;

fn layer(keys: &Keys) -> AuthLayer {
    AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap()
}

fn request(key: &str) -> Request<Body> {
    Request::post("/").header("x-api-key", key).body(Body::default()).unwrap()
}

/// `ServiceExt::ready`, for requests with the body of these tests.
async fn ready<S: Service<Request<Body>>>(service: &mut S) -> Result<&mut S, S::Error> {
    service.ready().await
}

#[tokio::test]
async fn the_instance_that_was_ready_is_the_one_that_is_called() {
    // `ConcurrencyLimit` panics if it is called without having been ready.
    for mode in [Mode::Ready, Mode::Later] {
        let keys = Keys::new().await;
        keys.store.set_mode(mode);
        let mut service = ServiceBuilder::new()
            .layer(layer(&keys))
            .concurrency_limit(1)
            .service(Recorder::default());

        for _ in 0..3 {
            let response =
                ready(&mut service).await.unwrap().call(request(&keys.text)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let response = ready(&mut service).await.unwrap().call(request("junk")).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn refused_requests_hold_no_permit() {
    let keys = Keys::new().await;
    let service =
        ServiceBuilder::new().layer(layer(&keys)).concurrency_limit(1).service(Recorder::default());
    let mut attacker = service.clone();

    for _ in 0..1000 {
        let response = ready(&mut attacker).await.unwrap().call(request("junk")).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    ready(&mut attacker).await.unwrap();

    let response = service.oneshot(request(&keys.text));
    let response = tokio::time::timeout(Duration::from_secs(2), response).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_look_up_that_hangs_holds_no_permit() {
    let keys = Keys::new().await;
    let service =
        ServiceBuilder::new().layer(layer(&keys)).concurrency_limit(1).service(Recorder::default());
    keys.store.set_mode(Mode::Hang);
    let mut hanging = Box::pin(service.clone().oneshot(request(&keys.text)));
    assert!(futures_util::poll!(&mut hanging).is_pending());

    keys.store.set_mode(Mode::Ready);
    let response = service.oneshot(request(&keys.text));
    let response = tokio::time::timeout(Duration::from_secs(2), response).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_service_that_becomes_ready_later_is_waited_for() {
    let keys = Keys::new().await;
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    handle.allow(0);
    let mut service = layer(&keys).layer(service);

    // The layer is ready although the inner service is not.
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let mut response = Box::pin(service.call(request(&keys.text)));
    assert!(futures_util::poll!(&mut response).is_pending());

    handle.allow(1);
    assert!(futures_util::poll!(&mut response).is_pending());
    let (request, send) = handle.next_request().await.unwrap();
    assert!(!request.headers().contains_key("x-api-key"));
    send.send_response(Response::new(Body::default()));
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_service_that_never_becomes_ready_is_503() {
    let keys = Keys::new().await;
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    handle.allow(0);
    for mode in [Mode::Ready, Mode::Later] {
        keys.store.set_mode(mode);
        let layer = layer(&keys).with_readiness_deadline(Duration::from_millis(20));
        let response = layer.layer(service.clone()).oneshot(request(&keys.text)).await.unwrap();

        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{mode:?}");
        assert!(response.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_passed_on() {
    let keys = Keys::new().await;
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    handle.send_error("the inner service is gone");
    let service = layer(&keys).layer(service);

    let error = service.clone().oneshot(request(&keys.text)).await.unwrap_err();
    assert!(error.to_string().contains("the inner service is gone"), "{error}");

    // A refused request does not get to see it.
    let response = service.oneshot(request("junk")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_refusal_does_not_reach_the_inner_service() {
    let keys = Keys::new().await;
    let (mut service, mut handle) =
        mock::spawn_with(|mock: mock::Mock<Request<Body>, Response<Body>>| {
            layer(&keys).layer(mock)
        });
    handle.allow(10);

    assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));
    let response = service.call(request("junk")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

    let response = tokio::spawn(service.call(request(&keys.text)));
    let (request, send) = handle.next_request().await.unwrap();
    assert_eq!(request.method(), "POST");
    send.send_response(Response::new(Body::default()));
    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_future_that_is_dropped_leaks_nothing() {
    let keys = Keys::new().await;
    let service = ServiceBuilder::new().layer(layer(&keys)).concurrency_limit(1).service(
        service_fn(|_: Request<Body>| async {
            std::future::pending::<Result<Response<Body>, std::convert::Infallible>>().await
        }),
    );

    for mode in [Mode::Ready, Mode::Later, Mode::Hang] {
        keys.store.set_mode(mode);
        drop(service.clone().oneshot(request(&keys.text)));
        for polls in 1..4 {
            let mut response = Box::pin(service.clone().oneshot(request(&keys.text)));
            for _ in 0..polls {
                assert!(futures_util::poll!(&mut response).is_pending());
            }
        }
    }
}

#[tokio::test]
async fn it_works_inside_buffer_and_load_shed() {
    let keys = Keys::new().await;
    let service = ServiceBuilder::new()
        .buffer(4)
        .layer(layer(&keys))
        .load_shed()
        .concurrency_limit(1)
        .service(Recorder::default());

    for _ in 0..3 {
        let response = service.clone().oneshot(request(&keys.text)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}
