//! Durable executions: what a request is answered, how a worker runs a job, and what is shown of it.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "tracing")]
mod events;
#[cfg(feature = "metrics")]
mod metrics;
mod outages;
mod queued;
mod shown;
mod stops;
mod unreliable;
mod worker;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower_webhook::auth::AuthLayer;
use tower_webhook::hook::{Executor, ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::queue::{
    Backoff, Enqueued, Job, JobAttempt, JobId, JobQueue, MemoryQueue, NewJob, Worker,
};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The request of a sender.
fn post(target: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post(target).header("content-type", "application/json");
    request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

async fn text<B: http_body::Body<Data = Bytes>>(response: Response<B>) -> String
where
    B::Error: std::fmt::Debug,
{
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The payload of a request as hooks hand it over.
async fn payload(body: &'static str) -> String {
    let seen = Arc::new(Mutex::new(None));
    let writes = Arc::clone(&seen);
    let hooks = Hooks::new(AuthLayer::public(), move |invocation: Invocation| {
        *writes.lock().unwrap() = Some(invocation.encode());
        async { Ok(Outcome::empty()) }
    });
    tower::ServiceExt::oneshot(hooks, post("/", body)).await.unwrap();
    let payload = seen.lock().unwrap().take();
    payload.unwrap()
}

/// Queues a job with a body.
async fn enqueue(queue: &impl JobQueue, body: &'static str) -> JobId {
    let id = JobId::random().unwrap();
    let job = NewJob::new(id, payload(body).await);
    assert_eq!(queue.enqueue(job).await.unwrap(), Enqueued::New);
    id
}

/// What an executor was called with: the second of the test, the body and the number of the attempt.
type Call = (u64, String, u32);

/// An executor that notes its calls.
#[derive(Clone)]
struct Notes {
    begun: Instant,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Notes {
    fn new() -> Self {
        Self { begun: Instant::now(), calls: Arc::default() }
    }

    fn executor<F, Fut>(&self, run: F) -> impl Executor + use<F, Fut>
    where
        F: Fn(Invocation) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, ExecutorError>> + Send,
    {
        let notes = self.clone();
        move |invocation: Invocation| {
            let attempt = JobAttempt::of(&invocation).map_or(0, JobAttempt::number);
            let body = String::from_utf8_lossy(invocation.body()).into_owned();
            notes.calls.lock().unwrap().push((notes.begun.elapsed().as_secs(), body, attempt));
            run(invocation)
        }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

fn worker(queue: &MemoryQueue, executor: impl Executor) -> Worker {
    Worker::new(queue.clone(), executor).with_backoff(exact_backoff())
}

fn exact_backoff() -> Backoff {
    Backoff::new(seconds(1), seconds(60)).unwrap().without_jitter()
}

/// A worker that runs until its stop.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(worker: Worker) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(worker.run_until(async { drop(stopped.await) }));
        Self { stop, task }
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

/// The job once it has ended.
async fn ended(queue: &impl JobQueue, id: JobId) -> Job {
    for _ in 0..10_000 {
        let job = queue.state(&id).await.unwrap().unwrap();
        if job.state.is_ended() {
            return job;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the job does not end");
}
