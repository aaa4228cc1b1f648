//! The rules of [`JobQueue`] as a check that the author of a queue calls from their tests.
//!
//! [`check`] panics at the first rule that the queue breaks, and explains which one that is, what was done, what was
//! expected and what actual instead. The rules and their numbers are in the docs of [`JobQueue`]. [`check_durable`] is
//! for queues whose jobs outlive the process, and [`check_outage`] for those that can fail.
//!
//! 1. Every check gets a queue of its own from the closure, about 45 of them in a run, one at a time: the queue before
//!    has been dropped. The closure returns an empty queue, or empties the one place that there is.
//! 2. The checks start no task. They need a tokio runtime with its time driver.
//! 3. Calls at the same time are futures that are polled in turn, up to eight of them.
//! 4. A call may take ten seconds, and a claim of a job that is due may be five seconds late.
//! 5. Leases and delays are real times, of 300 ms or more. A run takes about 20 seconds, and more over a network.
//!
//! # Examples
//!
//! ```
//! use tower_webhook::queue::{MemoryQueue, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::check_durable({
//!     // In the place of a file.
//!     let queue = MemoryQueue::new();
//!     async move || queue.clone()
//! })
//! .await;
//! # }
//! ```
//!
//! A queue that breaks a rule panics with
//!
//! ```text
//! The job queue breaks rule 10 (A released attempt does not count).
//!   check:    leases: a released job waits and its attempt does not count
//!   done:     enqueue("a") -> New
//!             claim(max 1, lease 120s, wait 250ms) -> 1 jobs ["a" attempt 1]
//!             release("a", 0ns) -> Held
//!             state("a") -> "a" queued after 1 attempts
//!   expected: (Queued, 0)
//!   actual:   (Queued, 1)
//!   see:      number 10 under "Rules" in the docs of `tower_webhook::queue::JobQueue`
//! ```

mod cancellation;
mod describe;
mod durable;
mod fencing;
mod jobs;
mod leases;
mod limits;
mod management;
mod outage;
mod rule;
mod sample;
mod trial;

use self::rule::Rule;
use self::trial::{Checked, History, Mismatch, Trial};
use super::{HookLimits, JobQueue};
use crate::util::conformance::{Call, contained, fail};

type Violation = crate::util::conformance::Violation<Rule>;

/// Checks a queue against all rules of [`JobQueue`] but the first, which is for [`check_durable`], and an outage, which
/// is for [`check_outage`].
///
/// `fresh` returns an empty queue with these limits: an `async fn(HookLimits) -> Queue` or an `async |limits| ..`.
///
/// # Panics
///
/// With an explanation, at the first rule that the queue breaks.
///
/// # Examples
///
/// The queue in memory follows tokio's clock. With a real one, as other queues have it, the check takes longer.
///
/// ```
/// use tower_webhook::Clock;
/// use tower_webhook::queue::{MemoryQueue, conformance};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let start = (time::OffsetDateTime::now_utc(), tokio::time::Instant::now());
/// let clock = Clock::from_fn(move || start.0 + start.1.elapsed());
/// conformance::check(async |limits| {
///     MemoryQueue::new().with_hook_limits(limits).with_clock(clock.clone())
/// })
/// .await;
/// # });
/// # std::io::Result::Ok(())
/// ```
pub async fn check<Q: JobQueue>(fresh: impl AsyncFn(HookLimits) -> Q) {
    assert_kept(run(&ALL, async || fresh(sample::limits()).await).await);
}

/// Checks that jobs, attempts, leases, delays and ends are there after the queue was opened again (rule 1).
///
/// `open` opens the same place every time, about five times, each time after the queue before was dropped. The place is
/// empty at first, and no hook has a limit.
///
/// # Panics
///
/// With an explanation, at the first rule that the queue breaks.
///
/// # Examples
///
/// See the [module docs](self).
pub async fn check_durable<Q: JobQueue>(open: impl AsyncFn() -> Q) {
    assert_kept(durable::run(open).await);
}

/// Checks that every call of a queue that cannot answer is an error within ten seconds (rule 18).
///
/// `broken` returns a queue that cannot reach its place: its server is gone, its file is no database.
///
/// # Panics
///
/// With an explanation, at the first call that is no error.
pub async fn check_outage<Q: JobQueue>(broken: impl AsyncFn() -> Q) {
    assert_kept(run(&[OUTAGE], broken).await);
}

/// A check: the sentence that it proves, and how.
struct Check {
    name: &'static str,
    run: for<'a> fn(&'a Trial) -> Call<'a, Checked>,
}

/// The list of these functions.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        &[$(crate::queue::conformance::Check {
            name: stringify!($name),
            run: |trial| Box::pin($name(trial)),
        }),*]
    };
}

use checks;

struct Group {
    name: &'static str,
    checks: &'static [Check],
}

const OUTAGE: Group = Group { name: "outage", checks: outage::CHECKS };

/// From the plain to the intricate, so that the first violation is the one to look at first.
const ALL: [Group; 6] = [
    Group { name: "jobs", checks: jobs::CHECKS },
    Group { name: "leases", checks: leases::CHECKS },
    Group { name: "fencing", checks: fencing::CHECKS },
    Group { name: "management", checks: management::CHECKS },
    Group { name: "limits", checks: limits::CHECKS },
    Group { name: "cancellation", checks: cancellation::CHECKS },
];

/// Runs the checks of these groups, each on a queue of its own, until one fails.
async fn run<Q: JobQueue>(groups: &[Group], fresh: impl AsyncFn() -> Q) -> Result<(), Violation> {
    for Group { name: group, checks } in groups {
        for Check { name, run } in *checks {
            let history = History::default();
            let trial = Trial::new(fresh().await, history.clone());
            outcome(&history, &format!("{group}: {name}"), run(&trial)).await?;
        }
    }
    Ok(())
}

/// What a check has found, a panic of the queue included.
async fn outcome(
    history: &History,
    name: &str,
    check: impl Future<Output = Checked>,
) -> Result<(), Violation> {
    let mismatch = match contained(check).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(mismatch)) => mismatch,
        Err(text) => Mismatch {
            rule: Rule::FaultIsAnError,
            expected: "an answer or an error".to_owned(),
            actual: format!("a panic: {text}"),
        },
    };
    let Mismatch { rule, expected, actual } = mismatch;
    let (check, done) = (name.replace('_', " "), history.last());
    Err(Violation { rule, check, done, expected, actual })
}

#[track_caller]
fn assert_kept(outcome: Result<(), Violation>) {
    if let Err(violation) = outcome {
        fail(&format!("\n{violation}"));
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod late;
