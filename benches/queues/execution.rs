//! A request from its hook to its outcome, and a worker that has nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use support::measure::{Case, processor_time};
use support::payload::json;
use support::requests::request_with;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_webhook::auth::AuthLayer;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::queue::{Queued, Worker};

use crate::calls;
use crate::engine::Engine;

/// A request that waits for its outcome, beside a worker in the same process.
pub(crate) fn request_to_outcome<E: Engine>(
    name: &'static str,
    runtime: &Arc<Runtime>,
    engine: &Arc<E>,
) -> Case {
    let queued = Queued::new(engine.queue(), "/executions").expect("a path");
    let hooks = Hooks::new(AuthLayer::public(), queued.with_wait(Duration::from_secs(10)));
    let (stop, _) = work(runtime, engine);
    let stop = Arc::new(stop);
    calls::case(name, runtime, 1, move || {
        // The worker stops with the case.
        let (hooks, stop) = (hooks.clone(), Arc::clone(&stop));
        async move {
            let response = hooks.oneshot(request()).await.unwrap_or_else(|never| match never {});
            assert_eq!(response.status(), StatusCode::OK);
            drop(stop);
        }
    })
}

/// The share of a core that this process takes while a worker has nothing to do.
pub(crate) fn idle<E: Engine>(runtime: &Runtime, engine: &Arc<E>, time: Duration) -> f64 {
    let (stop, worker) = work(runtime, engine);
    runtime.block_on(async {
        sleep(Duration::from_millis(100)).await;
        let (start, before) = (Instant::now(), processor_time());
        sleep(time).await;
        let share = (processor_time() - before).div_duration_f64(start.elapsed());
        drop(stop);
        worker.await.expect("the worker does not panic");
        share
    })
}

/// A worker with an executor that does nothing. It stops when the sender is dropped.
fn work<E: Engine>(runtime: &Runtime, engine: &Arc<E>) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let execute = async |_: Invocation| Ok::<_, ExecutorError>(Outcome::empty());
    let worker = Worker::new(engine.queue(), execute);
    (stop, runtime.spawn(worker.run_until(async { drop(stopped.await) })))
}

/// What is stored of a request with a body of 1 KiB.
pub(crate) fn payload(runtime: &Runtime) -> Arc<str> {
    let encode =
        async |invocation: Invocation| Ok::<_, ExecutorError>(Outcome::raw(invocation.encode()));
    let hooks = Hooks::new(AuthLayer::public(), encode);
    runtime.block_on(async {
        let response = hooks.oneshot(request()).await.unwrap_or_else(|never| match never {});
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8(body.to_vec()).expect("a text").into()
    })
}

fn request() -> Request<Full<Bytes>> {
    request_with("/deploy", None, Full::from(json("", 1024)))
}
