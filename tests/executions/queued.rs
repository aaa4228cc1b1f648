//! What the sender is answered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::Placement;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::key::NewKey;
use tower_webhook::queue::{
    JobChange, JobFilter, JobId, JobQueue, JobState, LeaseState, MemoryQueue, Queued,
    idempotency_key,
};

use super::unreliable::Unreliable;
use super::{Running, post, seconds, text, worker};
use crate::support::{Keys, owner};

fn queued(queue: &MemoryQueue) -> Queued {
    Queued::new(queue.clone(), "/executions/").unwrap().with_key(idempotency_key)
}

fn public(executor: Queued) -> Hooks {
    let resolve =
        |head: RequestHead<'_>| Some(Policy::public().with_hook(head.uri().path().to_owned()));
    Hooks::new(AuthLayer::per_request(resolve), executor)
}

fn keyed(target: &str, key: &str, body: &'static str) -> Request<Full<Bytes>> {
    let mut request = post(target, body);
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

async fn sent(hooks: &Hooks, request: Request<Full<Bytes>>) -> (StatusCode, String) {
    let response = hooks.clone().oneshot(request).await.unwrap();
    (response.status(), text(response).await)
}

async fn count(queue: &MemoryQueue) -> usize {
    queue.list(&JobFilter::all(), None, 1000).await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_stored_job_is_accepted() {
    let queue = MemoryQueue::new();
    let response = public(queued(&queue)).oneshot(post("/a?b=1", "{}")).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["state"], "queued");
    let id = body["id"].as_str().unwrap();
    assert_eq!(location, format!("/executions/{id}"));
    let job = queue.state(&id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((job.hook.as_str(), job.owner), ("/a", None));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_waited_for() {
    let queue = MemoryQueue::new();
    let run = async |invocation: Invocation| match invocation.body().as_ref() {
        b"1" => {
            sleep(seconds(1)).await;
            Outcome::json(&"done")?.with_status(StatusCode::CREATED)
        }
        b"2" => Err(ExecutorError::public("no").without_retry()),
        b"4" => {
            sleep(Duration::from_millis(1990)).await;
            Outcome::json(&"just")
        }
        _ => {
            sleep(seconds(60)).await;
            Ok(Outcome::empty())
        }
    };
    let running = Running::start(worker(&queue, run));
    let hooks = public(queued(&queue).with_wait(seconds(2)));
    assert_eq!(sent(&hooks, post("/a", "1")).await, (StatusCode::CREATED, r#""done""#.to_owned()));
    let (status, body) = sent(&hooks, post("/a", "2")).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains(r#""detail":"no""#), "{body}");

    assert_eq!(sent(&hooks, post("/a", "4")).await, (StatusCode::OK, r#""just""#.to_owned()));

    let begun = Instant::now();
    let (status, body) = sent(&hooks, post("/a", "3")).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(begun.elapsed() <= seconds(2));
    let id = serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
    let id = id.parse().unwrap();
    assert_eq!(queue.state(&id).await.unwrap().unwrap().state, JobState::Running);
    assert_eq!(super::ended(&queue, id).await.state, JobState::Succeeded);

    let hooks = public(queued(&queue).with_wait(Duration::MAX));
    assert_eq!(sent(&hooks, post("/a", "1")).await.0, StatusCode::CREATED);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_is_the_same_job() {
    let queue = MemoryQueue::new();
    let hooks = public(queued(&queue));
    let first = sent(&hooks, keyed("/a", "k", "1")).await;
    assert_eq!(first.0, StatusCode::ACCEPTED);
    assert_eq!(sent(&hooks, keyed("/a", "k", "1")).await, first);
    assert_eq!(count(&queue).await, 1);
    // Another body, another target, another hook, another key, no key.
    let (status, body) = sent(&hooks, keyed("/a", "k", "2")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("the idempotency key was used for another request"), "{body}");
    assert_eq!(sent(&hooks, keyed("/a?b", "k", "1")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(count(&queue).await, 1);
    for request in [keyed("/b", "k", "1"), keyed("/a", "l", "1"), post("/a", "1"), post("/a", "1")]
    {
        let other = sent(&hooks, request).await;
        assert_eq!(other.0, StatusCode::ACCEPTED);
        assert_ne!(other.1, first.1);
    }
    assert_eq!(count(&queue).await, 5);

    let running = Running::start(worker(&queue, async |_| Outcome::json(&"done")));
    sleep(seconds(1)).await;
    let again = sent(&hooks, keyed("/a", "k", "1")).await;
    assert_eq!(again, (StatusCode::OK, r#""done""#.to_owned()));
    assert_eq!(sent(&hooks, keyed("/a", "k", "2")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(count(&queue).await, 5);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_a_dead_job_gets_its_failure() {
    let queue = MemoryQueue::new();
    let hooks = public(queued(&queue));
    let run = async |_| Err(ExecutorError::public("no such branch").without_retry());
    let running = Running::start(worker(&queue, run));
    assert_eq!(sent(&hooks, keyed("/a", "k", "1")).await.0, StatusCode::ACCEPTED);
    sleep(seconds(1)).await;
    let (status, body) = sent(&hooks, keyed("/a", "k", "1")).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains("no such branch"), "{body}");
    running.stop().await;

    // Put back, it is as any other job.
    let id = JobId::derived(None, "/a", "k");
    assert_eq!(queue.retry(&id).await.unwrap(), JobChange::Changed);
    assert_eq!(sent(&hooks, keyed("/a", "k", "1")).await.0, StatusCode::ACCEPTED);
    let running = Running::start(worker(&queue, async |_| Outcome::json(&"done")));
    sleep(seconds(1)).await;
    assert_eq!(sent(&hooks, keyed("/a", "k", "1")).await.0, StatusCode::OK);
    running.stop().await;
}

/// A worker of a later version has written it. The job is stored, so the sender need not send it again.
#[tokio::test(start_paused = true)]
async fn an_outcome_of_a_later_version_is_no_failure() {
    let queue = MemoryQueue::new();
    let hooks = public(queued(&queue));
    let first = sent(&hooks, keyed("/a", "k", "1")).await;
    let claimed = queue.claim(1, seconds(60), seconds(1)).await.unwrap();
    let ended = queue.complete(&claimed[0].lease, r#"{"v":2}"#).await.unwrap();
    assert_eq!(ended, LeaseState::Held);
    assert_eq!(sent(&hooks, keyed("/a", "k", "1")).await, first);
}

#[tokio::test(start_paused = true)]
async fn callers_do_not_share_keys() {
    let queue = MemoryQueue::new();
    let keys = Keys::new().await;
    let other = keys.manager.generate(&owner("bob"), NewKey::new("b")).await.unwrap();
    let layer = AuthLayer::token(&keys.manager, [Placement::header("x-api-key").unwrap()]).unwrap();
    let hooks = Hooks::new(layer, queued(&queue));
    let mut bodies = Vec::new();
    for key in [keys.text.as_str(), other.secret().expose_secret()] {
        let mut request = keyed("/a", "k", "1");
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
        let (status, body) = sent(&hooks, request).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        bodies.push(body);
    }
    assert_ne!(bodies[0], bodies[1]);
    let jobs = queue.list(&JobFilter::all().with_owner(owner("bob")), None, 10).await.unwrap();
    assert_eq!(jobs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_not_stored_is_not_acknowledged() {
    let queue = Unreliable::default();
    let hooks = public(Queued::new(queue.clone(), "/executions").unwrap());
    queue.set_down(true);
    let response = hooks.clone().oneshot(post("/a", "1")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    queue.set_down(false);
    assert_eq!(sent(&hooks, post("/a", "1")).await.0, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn too_many_jobs_that_wait_are_refused() {
    let queue = MemoryQueue::new();
    let hooks = public(queued(&queue).with_max_backlog(3).unwrap());
    for _ in 0..3 {
        assert_eq!(sent(&hooks, post("/a", "1")).await.0, StatusCode::ACCEPTED);
    }
    let response = hooks.clone().oneshot(post("/a", "1")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(count(&queue).await, 3);
    assert_eq!(sent(&hooks, post("/b", "1")).await.0, StatusCode::ACCEPTED);

    let running = Running::start(worker(&queue, async |_| Ok(Outcome::empty())));
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(sent(&hooks, post("/a", "1")).await.0, StatusCode::ACCEPTED);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_keeps_to_the_bound() {
    let slow = Unreliable::default();
    let queued_slowly = Queued::new(slow.clone(), "/executions").unwrap();
    let hooks = public(queued_slowly.with_max_backlog(3).unwrap());
    let burst = (0..20).map(|_| sent(&hooks, post("/a", "1")));
    let statuses = futures_util::future::join_all(burst).await;
    let accepted = statuses.iter().filter(|(status, _)| *status == StatusCode::ACCEPTED);
    assert_eq!((accepted.count(), count(&slow.inner).await), (3, 3));

    let queue = MemoryQueue::new();
    let hooks = public(queued(&queue).with_max_backlog(2).unwrap());
    let first = sent(&hooks, keyed("/b", "k", "1")).await;
    for _ in 0..5 {
        assert_eq!(sent(&hooks, keyed("/b", "k", "1")).await, first);
    }
    assert_eq!(sent(&hooks, post("/b", "1")).await.0, StatusCode::ACCEPTED);
    assert_eq!(sent(&hooks, post("/b", "1")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    // Full, and known nevertheless.
    assert_eq!(sent(&hooks, keyed("/b", "k", "1")).await, first);
    let other = sent(&hooks, keyed("/b", "k", "2")).await;
    assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_do_not_wait_are_not_bounded() {
    let queue = MemoryQueue::new();
    let running = Running::start(worker(&queue, async |_| Ok(Outcome::empty())));
    let hooks = public(queued(&queue).with_max_backlog(10).unwrap());
    for _ in 0..900 {
        assert_eq!(sent(&hooks, post("/a", "1")).await.0, StatusCode::ACCEPTED);
        sleep(Duration::from_millis(1)).await;
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_counts_a_full_queue_ten_times_a_second() {
    let queue = Unreliable::default();
    let flooded = Queued::new(queue.clone(), "/executions").unwrap();
    let hooks = public(flooded.with_max_backlog(3).unwrap());
    let burst = || futures_util::future::join_all((0..20).map(|_| sent(&hooks, post("/a", "1"))));
    burst().await;
    assert_eq!(queue.counts.load(Ordering::SeqCst), 1);
    for _ in 0..950 {
        burst().await;
        sleep(Duration::from_millis(1)).await;
    }
    // As soon as the jobs of the first burst are stored, and ten times a second then.
    assert_eq!(queue.counts.load(Ordering::SeqCst), 11);
    assert_eq!(count(&queue.inner).await, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_is_a_refusal_of_the_hooks() {
    let queue = Unreliable::default();
    let executor = Queued::new(queue.clone(), "/executions").unwrap().with_key(idempotency_key);
    let auth = AuthLayer::public().with_rejection_response(|rejection, _| {
        let detail = rejection.detail().unwrap_or_default();
        http::Response::new(format!("{}: {detail}", rejection.code()).into())
    });
    let hooks = Hooks::new(auth, executor);
    assert_eq!(sent(&hooks, keyed("/a", "k", "1")).await.0, StatusCode::ACCEPTED);
    let (status, body) = sent(&hooks, keyed("/a", "k", "2")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body, "invalid: the idempotency key was used for another request");
    queue.is_small.store(true, Ordering::SeqCst);
    let (status, body) = sent(&hooks, post("/a", "1")).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(body, "content_too_large: the job is larger than the queue takes");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_silent_is_asked_once_for_all_who_wait() {
    let queue = Unreliable::default();
    let hooks = public(Queued::new(queue.clone(), "/executions").unwrap());
    queue.set_down(true);
    let begun = Instant::now();
    let burst = (0..20).map(|_| sent(&hooks, post("/a", "1")));
    for (status, _) in futures_util::future::join_all(burst).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!((begun.elapsed(), queue.counts.load(Ordering::SeqCst)), (seconds(5), 1));
    queue.set_down(false);
    assert_eq!(sent(&hooks, post("/a", "1")).await.0, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_over_another_version_of_http_is_the_same() {
    let queue = MemoryQueue::new();
    let hooks = public(queued(&queue));
    let first = sent(&hooks, keyed("/a", "k", "1")).await;
    let absolute = keyed("http://example.org/a", "k", "1");
    assert_eq!(sent(&hooks, absolute).await, first);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_not_utf_8_are_different_keys() {
    let queue = MemoryQueue::new();
    let hooks = public(queued(&queue));
    for key in [&b"\xe8"[..], b"\xe9", b"\\xe8", b"a, b"] {
        let mut request = post("/a", "1");
        let key = http::HeaderValue::from_bytes(key).unwrap();
        request.headers_mut().insert("idempotency-key", key);
        assert_eq!(sent(&hooks, request).await.0, StatusCode::ACCEPTED);
    }
    let mut two = post("/a", "1");
    for key in ["a", "b"] {
        two.headers_mut().append("idempotency-key", key.parse().unwrap());
    }
    assert_eq!(sent(&hooks, two).await.0, StatusCode::ACCEPTED);
    assert_eq!(count(&queue).await, 5);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    for path in ["", "executions", "//a", "/a b", "/a?b"] {
        assert!(Queued::new(MemoryQueue::new(), path).is_err(), "{path}");
    }
    assert!(queued(&MemoryQueue::new()).with_max_backlog(0).is_err());
}

/// What an executor sees is what it would see in hooks.
#[tokio::test(start_paused = true)]
async fn an_executor_sees_the_request() {
    struct Same(tokio::sync::mpsc::UnboundedSender<String>);

    #[async_trait]
    impl tower_webhook::hook::Executor for Same {
        async fn execute(&self, invocation: Invocation) -> Result<Outcome, ExecutorError> {
            let identity = serde_json::to_string(&invocation.identity())?;
            let seen = (invocation.hook(), invocation.method(), invocation.uri());
            let seen = format!(
                "{seen:?} {:?} {:?} {identity} {}",
                invocation.headers(),
                invocation.body(),
                invocation.envelope().as_str()
            );
            self.0.send(seen)?;
            Ok(Outcome::empty())
        }
    }

    let keys = Keys::new().await;
    let layer = || AuthLayer::token(&keys.manager, [Placement::query("key").unwrap()]).unwrap();
    let target = format!("/a?x=1&key={}&y=%20", keys.text);
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let hooks = Hooks::new(layer(), Same(sender.clone()));
    assert_eq!(sent(&hooks, post(&target, "[1.0]")).await.0, StatusCode::OK);
    let direct = receiver.recv().await.unwrap();
    assert!(!direct.contains(&keys.text));

    let queue = MemoryQueue::new();
    let running = Running::start(worker(&queue, Same(sender)));
    let hooks = Hooks::new(layer(), queued(&queue));
    assert_eq!(sent(&hooks, post(&target, "[1.0]")).await.0, StatusCode::ACCEPTED);
    assert_eq!(receiver.recv().await.unwrap(), direct);
    running.stop().await;
}

#[cfg(feature = "signature")]
#[tokio::test(start_paused = true)]
async fn a_signed_delivery_is_one_job() {
    use tower_webhook::queue::delivery_key;
    use tower_webhook::signature::{
        Scheme, Sender, SignatureVerifier, Signer, SigningSecret, presets,
    };

    let secret = SigningSecret::raw("a secret of sixteen bytes").unwrap();
    let send = async |scheme: &Scheme, queue: &MemoryQueue, id: &str, body: &'static str| {
        let sender = Sender::new(owner("sender"), scheme.clone(), [secret.clone()]).unwrap();
        let queued = Queued::new(queue.clone(), "/executions").unwrap().with_key(delivery_key);
        let hooks = Hooks::new(AuthLayer::signed(SignatureVerifier::new(sender)), queued);
        let mut request = post("/", "").map(|_| Bytes::from(body));
        let signer = Signer::new(scheme.clone(), &secret).unwrap();
        signer.sign(&mut request, id, time::OffsetDateTime::now_utc()).unwrap();
        sent(&hooks, request.map(Full::new)).await.0
    };
    for (scheme, counts) in [
        // The id is signed, or is not, or nothing is.
        (presets::svix(), [1, 1, 2, 2]),
        (presets::github(), [1, 1, 1, 2]),
        (presets::gitlab(), [1, 2, 3, 4]),
    ] {
        let queue = MemoryQueue::new();
        let deliveries = [("1", "{}"), ("1", "{}"), ("2", "{}"), ("2", "[]")];
        for ((id, body), expected) in deliveries.into_iter().zip(counts) {
            let status = send(&scheme, &queue, id, body).await;
            let is_other = scheme.name() == "svix" && body == "[]";
            assert_eq!(status, if is_other { 422 } else { 202 }, "{} {id}", scheme.name());
            assert_eq!(count(&queue).await, expected, "{} {id} {body}", scheme.name());
        }
    }
}
