//! Single calls of a queue and of its bare client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::keys::owner;
use support::measure::Case;
use tokio::runtime::Runtime;
use tower_webhook::hook::Outcome;
use tower_webhook::queue::{Enqueued, JobId, JobQueue, LeaseState, NewJob};

use crate::engine::Engine;
use crate::execution::payload;

/// So many calls of one producer follow each other without a look at the clock.
pub(crate) const BATCH: usize = 8;

/// Longer than a batch takes.
const LEASE: Duration = Duration::from_secs(60);

/// Rows of the same size, without a queue.
pub(crate) fn bare<E: Engine>(
    name: &'static str,
    runtime: &Arc<Runtime>,
    engine: &Arc<E>,
    producers: usize,
) -> Case {
    let (engine, payload) = (Arc::clone(engine), payload(runtime));
    case(name, runtime, producers, move || {
        let (engine, payload) = (Arc::clone(&engine), Arc::clone(&payload));
        async move { engine.store(JobId::random().expect("random bits"), &payload).await }
    })
}

pub(crate) fn enqueue<E: Engine>(
    name: &'static str,
    runtime: &Arc<Runtime>,
    engine: &Arc<E>,
    producers: usize,
) -> Case {
    let (queue, payload) = (engine.queue(), payload(runtime));
    case(name, runtime, producers, move || {
        let (queue, payload) = (Arc::clone(&queue), Arc::clone(&payload));
        async move { add(&*queue, &payload).await }
    })
}

/// One job, from the claim to its end. Its way into the queue does not count.
pub(crate) fn claim<E: Engine>(
    name: &'static str,
    runtime: &Arc<Runtime>,
    engine: &Arc<E>,
) -> Case {
    let (runtime, queue) = (Arc::clone(runtime), engine.queue());
    let (payload, outcome) = (payload(&runtime), Arc::from(Outcome::empty().encode()));
    Case::timed(name, BATCH, move || {
        let (queue, payload) = (Arc::clone(&queue), Arc::clone(&payload));
        let outcome: Arc<str> = Arc::clone(&outcome);
        let batch = runtime.spawn(async move {
            for _ in 0..BATCH {
                add(&*queue, &payload).await;
            }
            let start = Instant::now();
            for _ in 0..BATCH {
                let jobs = queue.claim(1, LEASE, LEASE).await.expect("an answer");
                let ended = queue.complete(&jobs[0].lease, &outcome).await.expect("an answer");
                assert_eq!(ended, LeaseState::Held);
            }
            start.elapsed()
        });
        runtime.block_on(batch).expect("the calls work")
    })
}

async fn add(queue: &dyn JobQueue, payload: &str) {
    let id = JobId::random().expect("random bits");
    let job = NewJob::new(id, payload).with_hook("deploy").with_owner(owner(0)).with_fresh_id();
    assert_eq!(queue.enqueue(job).await.expect("an answer"), Enqueued::New);
}

/// A call that each producer makes again and again, in a task of its own.
pub(crate) fn case<F, Fut>(
    name: &'static str,
    runtime: &Arc<Runtime>,
    producers: usize,
    call: F,
) -> Case
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let (runtime, call) = (Arc::clone(runtime), Arc::new(call));
    Case::timed(name, producers * BATCH, move || {
        let start = Instant::now();
        let producers = (0..producers).map(|_| {
            let call = Arc::clone(&call);
            runtime.spawn(async move {
                for _ in 0..BATCH {
                    call().await;
                }
            })
        });
        for producer in producers.collect::<Vec<_>>() {
            runtime.block_on(producer).expect("the calls work");
        }
        start.elapsed()
    })
}
