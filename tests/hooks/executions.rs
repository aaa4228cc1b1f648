//! Executions that take long, panic, fail or are given up, and how many of them there may be.

use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_webhook::hook::{FailureKind, ResponseFormat};

use super::*;

/// Counts its drops.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_without_end_is_dropped_at_its_deadline() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let run = {
        let dropped = Arc::clone(&dropped);
        move |_: Invocation| {
            let guard = Guard(Arc::clone(&dropped));
            async move {
                let _guard = guard;
                pending::<Result<Outcome, ExecutorError>>().await
            }
        }
    };
    let hooks = Hooks::new(AuthLayer::public(), run).with_deadline(Duration::from_secs(7));
    let cases = [
        (hooks.clone(), 504, r#""code":"executor_timeout""#),
        (
            hooks.with_response_format(ResponseFormat::status_json()),
            200,
            r#"{"status":1,"err":"timeout"}"#,
        ),
    ];
    for (index, (hooks, status, text)) in cases.into_iter().enumerate() {
        let mut response = Box::pin(call(&hooks, post_to("/", "")));
        assert!(futures_util::poll!(&mut response).is_pending());
        assert_eq!(dropped.load(Ordering::SeqCst), index);
        let started = Instant::now();
        let response = response.await;
        assert_eq!(started.elapsed().as_secs(), 7);
        assert_eq!(response.status(), status);
        assert!(response.body().contains(text), "{}", response.body());
        assert_eq!(dropped.load(Ordering::SeqCst), index + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_ends_in_time_is_not_late() {
    let (sender, receiver) = oneshot::channel();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let run = move |_: Invocation| {
        let receiver = receiver.lock().unwrap().take();
        async move {
            match receiver {
                Some(receiver) => Outcome::json(&receiver.await?),
                // Needs no time, and so no timer.
                None => Ok(Outcome::empty()),
            }
        }
    };
    let hooks = Hooks::new(AuthLayer::public(), run);
    let mut response = Box::pin(call(&hooks, post_to("/", "")));
    assert!(futures_util::poll!(&mut response).is_pending());
    sender.send(1).unwrap();
    // The time is up as well: what is there counts.
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(response.await.body(), "1");

    assert_eq!(call(&hooks, post_to("/", "")).await.body(), "null");
}
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408() {
    let counter = Counter::default();
    let hooks = Hooks::new(AuthLayer::public(), counter.executor())
        .with_body_deadline(Duration::from_secs(3));
    let body = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, BoxError>>();
    let request = Request::post("/").body(http_body_util::StreamBody::new(body)).unwrap();

    let mut response = Box::pin(hooks.oneshot(request));
    assert!(futures_util::poll!(&mut response).is_pending());
    let started = Instant::now();
    assert_eq!(response.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(started.elapsed().as_secs(), 3);
    assert_eq!(counter.take(), 0);
}

/// A payload that panics itself.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("opensesame in the drop of the payload");
    }
}

/// Panics when it is dropped, once it is set.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("opensesame in drop");
    }
}

async fn panics(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    match invocation.uri().path() {
        "/text" => panic!("opensesame"),
        "/formatted" => panic!("opensesame {}", invocation.uri()),
        "/payload" => std::panic::panic_any(Payload),
        "/later" => {
            tokio::task::yield_now().await;
            panic!("opensesame");
        }
        "/drop" => {
            let _bomb = Bomb;
            Ok(Outcome::empty())
        }
        "/late-drop" => {
            let _bomb = Bomb;
            pending().await
        }
        _ => Outcome::json("fine"),
    }
}

fn panics_in_call(invocation: Invocation) -> impl Future<Output = Result<Outcome, ExecutorError>> {
    assert!(invocation.uri().path() == "/fine", "opensesame in call");
    async move { Outcome::json(invocation.hook().unwrap_or("fine")) }
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_is_a_failure_without_its_message() {
    let cases: [(Hooks, &[&str]); 2] = [
        (
            Hooks::new(AuthLayer::public(), panics),
            &["/text", "/formatted", "/payload", "/later", "/drop"],
        ),
        (Hooks::new(AuthLayer::public(), panics_in_call), &["/call"]),
    ];
    for (hooks, paths) in cases {
        let hooks = hooks.with_max_executions(1).unwrap();
        let in_json = hooks.clone().with_response_format(ResponseFormat::status_json());
        for path in paths {
            let response = call(&in_json, post_to(path, "")).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.body(), r#"{"status":1,"err":"internal error"}"#, "{path}");

            let response = call(&hooks, post_to(path, "")).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert!(response.body().contains(r#""code":"internal""#), "{}", response.body());
            assert!(!response.body().contains("opensesame"));

            // The next execution of the same hook is not affected.
            let response = call(&hooks, post_to("/fine", "")).await;
            assert_eq!(response.body(), r#""fine""#);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_late_execution_is_dropped_is_contained() {
    let hooks = Hooks::new(AuthLayer::public(), panics).with_max_executions(1).unwrap();

    let mut response = Box::pin(call(&hooks, post_to("/late-drop", "")));
    assert!(futures_util::poll!(&mut response).is_pending());
    assert_eq!(response.await.status(), StatusCode::GATEWAY_TIMEOUT);

    // The caller goes away.
    let mut response = Box::pin(call(&hooks, post_to("/late-drop", "")));
    assert!(futures_util::poll!(&mut response).is_pending());
    drop(response);

    let response = call(&hooks, post_to("/fine", "")).await;
    assert_eq!(response.body(), r#""fine""#);
}

/// Does what the path says, under a hook of that name.
async fn behave(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    match invocation.uri().query() {
        Some("hang") => pending().await,
        Some("fail") => Err("no".into()),
        Some("panic") => panic!("no"),
        Some("large") => Outcome::json(&"x".repeat(2000)),
        _ => Ok(Outcome::empty()),
    }
}

#[tokio::test(start_paused = true)]
async fn each_hook_has_its_own_slots_and_gets_them_back() {
    let resolve = |head: RequestHead<'_>| {
        Some(Policy::public().with_hook(head.uri().path().trim_start_matches('/')))
    };
    let hooks = Hooks::new(AuthLayer::per_request(resolve), behave)
        .with_max_response_bytes(1000)
        .with_max_executions(2)
        .unwrap();
    let fits = async |path: &str| {
        let response = call(&hooks, post_to(path, "")).await;
        let refused = response.status() == StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(response.headers().contains_key("retry-after"), refused);
        assert_eq!(refused, response.body().contains(r#""code":"temporarily_unavailable""#));
        !refused
    };

    let mut hanging: Vec<_> =
        (0..2).map(|_| Box::pin(call(&hooks, post_to("/a?hang", "")))).collect();
    for response in &mut hanging {
        assert!(futures_util::poll!(response).is_pending());
    }
    assert!(!fits("/a").await, "a third execution of a");
    assert!(fits("/b").await, "the first execution of b");
    // One is given up, and its slot is free again.
    hanging.pop();
    assert!(fits("/a").await);
    // The other one reaches its deadline.
    assert_eq!(hanging.pop().unwrap().await.status(), StatusCode::GATEWAY_TIMEOUT);

    for end in ["", "?fail", "?panic", "?large"] {
        for _ in 0..5 {
            assert!(fits(&format!("/a{end}")).await, "{end}");
        }
    }
    assert!(Hooks::new(AuthLayer::public(), behave).with_max_executions(0).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_shape_that_panics_gives_its_slot_back() {
    let shape = ResponseFormat::custom(|end| match end {
        Ok(_) => Response::default(),
        Err(_) => panic!("in the shape"),
    });
    let hooks = Hooks::new(AuthLayer::public(), behave)
        .with_response_format(shape)
        .with_max_executions(1)
        .unwrap();
    for _ in 0..3 {
        let panicked = tokio::spawn(hooks.clone().oneshot(post_to("/?fail", ""))).await;
        assert!(panicked.unwrap_err().is_panic());
        assert_eq!(call(&hooks, post_to("/", "")).await.status(), StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_takes_no_slot() {
    let keys = Keys::new().await;
    let hooks = Hooks::new(auth(&keys), behave).with_max_executions(1).unwrap();
    let request = |key: &str, query: &str, body: &'static str| {
        let mut request = post_to(&format!("/token?{query}"), body);
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
        request
    };
    for _ in 0..3 {
        assert_eq!(call(&hooks, request("junk", "hang", "")).await.status(), 401);
        assert_eq!(call(&hooks, request(&keys.text, "hang", "{")).await.status(), 400);
    }
    let mut hanging = Box::pin(call(&hooks, request(&keys.text, "hang", "")));
    assert!(futures_util::poll!(&mut hanging).is_pending());
    // An unknown caller does not learn that the hook is busy.
    assert_eq!(call(&hooks, request("junk", "", "")).await.status(), 401);
    assert_eq!(call(&hooks, request(&keys.text, "", "")).await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_service_counts_towards_the_deadline() {
    let service = ServiceBuilder::new().concurrency_limit(1).service(service_fn(
        |invocation: Invocation| async {
            behave(invocation).await.map_err(|_| BoxError::from("no"))
        },
    ));
    let hooks = Hooks::new(AuthLayer::public(), ServiceExecutor::new(service));

    let mut hanging = Box::pin(call(&hooks, post_to("/?hang", "")));
    assert!(futures_util::poll!(&mut hanging).is_pending());
    let mut waiting = Box::pin(call(&hooks, post_to("/", "")));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(waiting.await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(hanging.await.status(), StatusCode::GATEWAY_TIMEOUT);

    // The permits are back.
    assert_eq!(call(&hooks, post_to("/", "")).await.body(), "null");
}

#[tokio::test(start_paused = true)]
async fn a_custom_shape_gets_the_outcome() {
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let shape = {
        let kinds = Arc::clone(&kinds);
        ResponseFormat::custom(move |end| {
            kinds.lock().unwrap().push(end.err().map(|failure| failure.kind()));
            let text = end.map_or_else(|failure| failure.text().to_owned(), |_| "fine".to_owned());
            Response::new(text.into())
        })
    };
    let hooks = Hooks::new(AuthLayer::public(), behave)
        .with_max_response_bytes(1000)
        .with_response_format(shape);
    for (query, text) in [
        ("", "fine"),
        ("fail", "execution failed"),
        ("panic", "internal error"),
        ("large", "internal error"),
        ("hang", "timeout"),
    ] {
        let mut response = Box::pin(call(&hooks, post_to(&format!("/?{query}"), "")));
        let response = match futures_util::poll!(&mut response) {
            std::task::Poll::Ready(response) => response,
            std::task::Poll::Pending => response.await,
        };
        assert_eq!(response.body(), text);
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    use FailureKind::{Failed, Panicked, Timeout, TooLarge};
    let expected = [None, Some(Failed), Some(Panicked), Some(TooLarge), Some(Timeout)];
    assert_eq!(*kinds.lock().unwrap(), expected);
}
