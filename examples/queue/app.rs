//! The hooks, and the executions of their jobs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Method;
use servers::Error;
use tower::Layer;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart};
use tower_webhook::hook::{Executor, ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::queue::{Executions, JobQueue, Queued, idempotency_key};

use crate::work::Input;

/// Where clients find their jobs.
const EXECUTIONS: &str = "/executions";

pub(crate) fn app(queue: Arc<dyn JobQueue>) -> Result<Router, Error> {
    let slow = Queued::new(Arc::clone(&queue), EXECUTIONS)?.with_key(idempotency_key);
    let wait = slow.clone().with_wait(Duration::from_secs(2));
    let run = move |invocation: Invocation| {
        let queued = if invocation.hook() == Some("wait") { wait.clone() } else { slow.clone() };
        store(queued, invocation)
    };
    let auth = AuthLayer::per_request(|head: RequestHead<'_>| {
        let hook = head.original_path().strip_prefix("/hook/")?;
        let policy = Policy::public().with_methods([Method::POST]);
        ["slow", "wait"].contains(&hook).then(|| policy.with_hook(hook))
    });
    // A request takes as long as the queue needs to store it, and those of `wait` up to two seconds more.
    let hooks = Hooks::new(auth, run)
        .with_envelope(EnvelopeBuilder::new().without_part(EnvelopePart::Post))?
        .with_max_executions(1024)?;

    // All hooks are public here, and so are their jobs. Elsewhere the owner of a job sees it, and an operator.
    let executions = Executions::nested(queue, EXECUTIONS)?.with_insecure_public_list();
    let executions = AuthLayer::public().layer(executions);
    Ok(Router::new().nest_service(EXECUTIONS, executions).fallback_service(hooks))
}

/// Stores what a worker can run, and refuses anything else while its sender is there.
async fn store(queued: Queued, invocation: Invocation) -> Result<Outcome, ExecutorError> {
    Input::read(&invocation)?;
    queued.execute(invocation).await
}
