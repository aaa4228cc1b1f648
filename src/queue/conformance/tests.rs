use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::Clock;
use crate::queue::{
    ClaimedJob, Enqueued, HookStats, Job, JobChange, JobCursor, JobFilter, JobId, JobState, Lease,
    LeaseState, MemoryQueue, NewJob, QueueError, Retention,
};

pub(super) fn memory(limits: HookLimits) -> MemoryQueue {
    let start = (time::OffsetDateTime::now_utc(), tokio::time::Instant::now());
    let clock = Clock::from_fn(move || start.0 + start.1.elapsed());
    MemoryQueue::new().with_hook_limits(limits).with_clock(clock)
}

#[tokio::test(start_paused = true)]
async fn the_queue_in_memory_keeps_the_rules() {
    check(async |limits| memory(limits)).await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_opened_again_has_its_jobs() {
    let queue = memory(HookLimits::new());
    check_durable(async || queue.clone()).await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_forgets_its_jobs_breaks_rule_1() {
    let violation = durable::run(async || memory(HookLimits::new())).await.unwrap_err();
    assert_eq!(violation.rule, Rule::NewIsDurable, "{violation}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_answers_has_no_outage() {
    let violation = run(&[OUTAGE], async || memory(HookLimits::new())).await.unwrap_err();
    assert_eq!(violation.rule, Rule::FaultIsAnError, "{violation}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_caught_under_the_number_of_its_rule() {
    let mut wrong = Vec::new();
    for (fault, number) in [
        ("known is new", 2),
        ("known has another outcome", 2),
        ("leases end early", 3),
        ("every attempt is the first", 4),
        ("leases never end", 5),
        ("heartbeats do nothing", 6),
        ("heartbeat is not fenced", 7),
        ("complete is not fenced", 7),
        ("retry_after is not fenced", 7),
        ("release is not fenced", 7),
        ("bury is not fenced", 7),
        ("outcomes are trimmed", 8),
        ("errors are trimmed", 8),
        ("a success keeps an old error", 8),
        ("retries are early", 9),
        ("retries are late", 9),
        ("a released attempt counts", 10),
        ("releases are early", 10),
        ("hooks are trimmed", 11),
        ("backlog has no bound", 11),
        ("lists are the oldest first", 12),
        ("lists have outcomes", 12),
        ("lists ignore the cursor", 12),
        ("lists ignore the owner", 12),
        ("a retry changes any job", 13),
        ("a retry keeps the start", 13),
        ("remove says that it removes any job", 14),
        ("purge ignores the count", 15),
        ("purge ignores the age", 15),
        ("no limits", 16),
        ("ended leases need no room", 16),
        ("ended leases need no room, in order of storage", 16),
        ("claims do not wait", 17),
        ("claims wait first", 17),
        ("claims panic", 18),
        ("claims hang", 18),
        ("a claim has two steps", 19),
        ("a complete has two steps", 19),
    ] {
        let text = explanation(fault).await;
        if !text.contains(&format!("breaks rule {number} (")) {
            wrong.push(format!("{fault}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the suite says of a queue with this fault.
async fn explanation(fault: &'static str) -> String {
    let limits = if fault == "no limits" { HookLimits::new() } else { sample::limits() };
    let is_in_order = fault.ends_with("in order of storage");
    let fresh = async || {
        let queue = memory(limits.clone());
        let queue = if is_in_order { queue.in_order_of_storage() } else { queue };
        Faulty { queue, fault, newest: Mutex::default() }
    };
    run(&ALL, fresh).await.map_or_else(|violation| violation.to_string(), |()| "kept".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_order_of_storage_keeps_the_rules() {
    check(async |limits| memory(limits).in_order_of_storage()).await;
}

#[tokio::test(start_paused = true)]
async fn an_explanation_names_the_calls_and_the_difference() {
    for (fault, parts) in [
        ("known is new", ["enqueue(\"a\") -> New (2 times)\n", "actual:   New\n"]),
        ("claims panic", [", wait 250ms) -> panic\n", "actual:   a panic: no luck\n"]),
        (
            "known has another outcome",
            ["with outcome Some(\"done\")\n", "with outcome Some(\"other\")\n"],
        ),
    ] {
        let text = explanation(fault).await;
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

/// A queue with one fault, or with one that no method knows.
struct Faulty {
    queue: MemoryQueue,
    fault: &'static str,
    /// The newest lease of each job.
    newest: Mutex<HashMap<JobId, Lease>>,
}

impl Faulty {
    fn has(&self, fault: &str) -> bool {
        self.fault == fault
    }

    /// The lease that is looked at.
    fn lease(&self, lease: &Lease, method: &str) -> Lease {
        let newest = self.newest.lock().unwrap().get(&lease.job()).copied();
        let is_fenced = self.fault != format!("{method} is not fenced");
        newest.filter(|_| !is_fenced).unwrap_or(*lease)
    }

    /// The job as it is shown.
    fn shown(&self, mut job: Job) -> Job {
        let was_claimed = self.newest.lock().unwrap().contains_key(&job.id);
        match self.fault {
            "a success keeps an old error" if job.outcome.is_some() && job.attempts > 1 => {
                job.error = Some("old".to_owned());
            }
            "a retry keeps the start" if was_claimed && job.attempts == 0 => {
                job.started_at = Some(job.created_at);
            }
            _ => {}
        }
        job
    }
}

#[async_trait]
impl JobQueue for Faulty {
    async fn enqueue(&self, mut job: NewJob) -> Result<Enqueued, QueueError> {
        if self.has("hooks are trimmed") {
            job.hook = job.hook.trim().to_owned();
        }
        Ok(match self.queue.enqueue(job).await? {
            Enqueued::New => Enqueued::New,
            Enqueued::Known(_) if self.has("known is new") => Enqueued::New,
            Enqueued::Known(known) => {
                let mut known = self.shown(*known);
                if self.has("known has another outcome") {
                    known.outcome = known.outcome.map(|_| "other".to_owned());
                }
                Enqueued::Known(Box::new(known))
            }
        })
    }

    async fn claim(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        assert!(!self.has("claims panic"), "no luck");
        let (lease, wait) = match self.fault {
            "claims hang" => std::future::pending().await,
            "leases end early" => (lease / 3, wait),
            "leases never end" => (lease.saturating_mul(1000), wait),
            "claims do not wait" => (lease, Duration::ZERO),
            "claims wait first" => {
                tokio::time::sleep(wait).await;
                (lease, Duration::ZERO)
            }
            _ => (lease, wait),
        };
        let two_steps = self.has("a claim has two steps");
        let first = if two_steps { lease.saturating_mul(1000) } else { lease };
        let mut claimed = self.queue.claim(max, first, wait).await?;
        for job in &mut claimed {
            self.newest.lock().unwrap().insert(job.lease.job(), job.lease);
            if self.has("every attempt is the first") {
                job.attempt = 1;
            }
            if two_steps {
                tokio::task::yield_now().await;
                let _ = self.queue.heartbeat(&job.lease, lease).await?;
            }
        }
        Ok(claimed)
    }

    async fn heartbeat(&self, lease: &Lease, lasts: Duration) -> Result<LeaseState, QueueError> {
        if self.has("heartbeats do nothing") {
            return Ok(LeaseState::Held);
        }
        let state = self.queue.heartbeat(&self.lease(lease, "heartbeat"), lasts).await?;
        let is_newest = self.newest.lock().unwrap().get(&lease.job()) == Some(lease);
        let state_of_job = self.queue.state(&lease.job()).await?.map(|job| job.state);
        let is_held = is_newest && state_of_job == Some(JobState::Running);
        let needs_no_room = self.fault.starts_with("ended leases need no room") && is_held;
        Ok(if needs_no_room { LeaseState::Held } else { state })
    }

    async fn complete(&self, lease: &Lease, outcome: &str) -> Result<LeaseState, QueueError> {
        // In the checks of dropped calls, no other job is due.
        if self.has("a complete has two steps") && outcome == "text" {
            let state = self.queue.bury(lease, "half", true).await?;
            tokio::task::yield_now().await;
            let _ = self.queue.retry(&lease.job()).await?;
            for job in self.queue.claim(1, Duration::from_secs(60), Duration::ZERO).await? {
                let _ = self.queue.complete(&job.lease, outcome).await?;
            }
            return Ok(state);
        }
        let outcome = if self.has("outcomes are trimmed") { outcome.trim() } else { outcome };
        self.queue.complete(&self.lease(lease, "complete"), outcome).await
    }

    async fn retry_after(
        &self,
        lease: &Lease,
        delay: Duration,
        error: &str,
    ) -> Result<LeaseState, QueueError> {
        let delay = match self.fault {
            "retries are early" => delay / 3,
            "retries are late" => delay.saturating_add(Duration::from_secs(20)),
            _ => delay,
        };
        self.queue.retry_after(&self.lease(lease, "retry_after"), delay, error).await
    }

    async fn release(&self, lease: &Lease, delay: Duration) -> Result<LeaseState, QueueError> {
        if self.has("a released attempt counts") {
            return self.queue.retry_after(lease, delay, "released").await;
        }
        let delay = if self.has("releases are early") { Duration::ZERO } else { delay };
        self.queue.release(&self.lease(lease, "release"), delay).await
    }

    async fn bury(&self, lease: &Lease, error: &str, ran: bool) -> Result<LeaseState, QueueError> {
        let error = if self.has("errors are trimmed") { error.trim() } else { error };
        self.queue.bury(&self.lease(lease, "bury"), error, ran).await
    }

    async fn state(&self, id: &JobId) -> Result<Option<Job>, QueueError> {
        Ok(self.queue.state(id).await?.map(|job| self.shown(job)))
    }

    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: usize,
    ) -> Result<Vec<Job>, QueueError> {
        let mut filter = filter.clone();
        filter.owner = filter.owner.filter(|_| !self.has("lists ignore the owner"));
        let after = after.filter(|_| !self.has("lists ignore the cursor"));
        let mut page = self.queue.list(&filter, after, limit).await?;
        if self.has("lists have outcomes") {
            for job in &mut page {
                job.outcome = self.queue.state(&job.id).await?.and_then(|job| job.outcome);
            }
        }
        if self.has("lists are the oldest first") {
            page.reverse();
        }
        Ok(page)
    }

    async fn retry(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let changed = self.queue.retry(id).await?;
        Ok(if self.has("a retry changes any job") { JobChange::Changed } else { changed })
    }

    async fn remove(&self, id: &JobId) -> Result<JobChange, QueueError> {
        let changed = self.queue.remove(id).await?;
        let says = self.has("remove says that it removes any job");
        Ok(if says { JobChange::Changed } else { changed })
    }

    async fn purge(
        &self,
        state: JobState,
        retention: &Retention,
        max: usize,
    ) -> Result<usize, QueueError> {
        let mut retention = *retention;
        retention.max_age = retention.max_age.filter(|_| !self.has("purge ignores the age"));
        retention.max_count = retention.max_count.filter(|_| !self.has("purge ignores the count"));
        self.queue.purge(state, &retention, max).await
    }

    async fn backlog(&self, hook: &str, at_most: u64) -> Result<u64, QueueError> {
        let at_most = if self.has("backlog has no bound") { u64::MAX } else { at_most };
        self.queue.backlog(hook, at_most).await
    }

    async fn stats(&self) -> Result<Vec<HookStats>, QueueError> {
        self.queue.stats().await
    }
}
