//! What a job does, and the worker that runs it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use servers::{Error, ExecLog};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;
use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
use tower_webhook::queue::{Backoff, JobAttempt, JobQueue, Worker};

/// What a sender asks for. Other members are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Input {
    /// How long the job runs.
    pub(crate) ms: u64,
    /// It fails then.
    pub(crate) fail: bool,
    /// It ends its process then, as a crash would.
    pub(crate) abort: bool,
}

/// The longest job: an attempt has to end within the deadline of the worker, 15 minutes.
const MAX_MS: u64 = 600_000;

impl Input {
    /// Reads the JSON object in the body of a request.
    pub(crate) fn read(invocation: &Invocation) -> Result<Self, ExecutorError> {
        const SHAPE: &str = "The body is a JSON object. `ms` is a whole number up to 600000, `fail` and `abort` are true or false.";

        // A request without a body has an empty object in its envelope, and a struct may be written as an array.
        let json = invocation.envelope().json().filter(|_| !invocation.body().is_empty());
        let object = json.filter(|json| json.trim_start().starts_with('{'));
        let input = object.and_then(|object| serde_json::from_str(object).ok());
        input.filter(|input: &Self| input.ms <= MAX_MS).ok_or_else(|| ExecutorError::invalid(SHAPE))
    }
}

/// A worker of 16 slots. What is not set here is as it is by default.
pub(crate) fn worker(queue: Arc<dyn JobQueue>, log: ExecLog) -> Result<Worker, Error> {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8))?.without_jitter();
    let worker = Worker::new(queue, move |invocation: Invocation| run(invocation, log.clone()))
        .with_slots(16)?
        .with_attempts(5)?
        .with_backoff(backoff)
        .with_lease(Duration::from_secs(2))?
        .with_stop_limit(Duration::from_secs(5));
    Ok(worker)
}

/// Runs more than once if it fails, or if its worker dies: what it does has to be idempotent.
async fn run(invocation: Invocation, log: ExecLog) -> Result<Outcome, ExecutorError> {
    let job = JobAttempt::of(&invocation).ok_or("the executor runs from a queue")?;
    let input = Input::read(&invocation)?;
    let write = |event: &str| {
        log.append(|| {
            let (id, now) = (job.id().to_string(), OffsetDateTime::now_utc());
            let (at, process) = (now.format(&Rfc3339).unwrap_or_default(), std::process::id());
            json!({"event": event, "id": id, "attempt": job.number(), "process": process, "at": at})
                .to_string()
        })
    };
    write("begin")?;
    sleep(Duration::from_millis(input.ms)).await;
    if input.abort {
        std::process::abort();
    }
    write("end")?;
    if input.fail {
        return Err(ExecutorError::public("it was asked to fail"));
    }
    Outcome::json(&json!({"ms": input.ms, "attempt": job.number()}))
}
