//! How attempts end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tower_webhook::hook::{ExecutorError, Invocation, Outcome};
use tower_webhook::queue::{
    Enqueued, HookLimits, JobAttempt, JobFilter, JobId, JobQueue, JobState, MemoryQueue, NewJob,
    Retention, Worker,
};

use super::unreliable::Unreliable;
use super::{Notes, Running, ended, enqueue, payload, seconds, worker};

fn number(job: &tower_webhook::queue::Job) -> Option<String> {
    let outcome = Outcome::decode(job.outcome.as_deref()?).unwrap();
    outcome.as_json().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_and_has_its_outcome() {
    let queue = MemoryQueue::new();
    let notes = Notes::new();
    let running = Running::start(worker(&queue, notes.executor(async |_| Outcome::json(&7))));
    let id = enqueue(&queue, "[1]").await;
    let job = ended(&queue, id).await;
    assert_eq!(
        (job.state, job.attempts, number(&job).as_deref()),
        (JobState::Succeeded, 1, Some("7"))
    );
    assert_eq!(notes.calls(), [(0, "[1]".to_owned(), 1)]);
    assert!(job.created_at <= job.started_at.unwrap() && job.started_at <= job.ended_at);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_repeated_after_a_backoff() {
    let queue = MemoryQueue::new();
    let notes = Notes::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let run = move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => Err(ExecutorError::public("not yet")),
                1 => panic!("on fire"),
                2 => Err("the disk says no".into()),
                _ => Outcome::json(&call),
            }
        }
    };
    let running = Running::start(worker(&queue, notes.executor(run)));
    let id = enqueue(&queue, "1").await;
    sleep(Duration::from_millis(10)).await;
    let job = queue.state(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.error.as_deref()), (JobState::Queued, Some("not yet")));

    let job = ended(&queue, id).await;
    assert_eq!(
        (job.state, job.attempts, number(&job).as_deref()),
        (JobState::Succeeded, 4, Some("3"))
    );
    assert_eq!(job.error, None);
    let call = |second, attempt| (second, "1".to_owned(), attempt);
    assert_eq!(notes.calls(), [call(0, 1), call(1, 2), call(3, 3), call(7, 4)]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_attempts_are_used_up_is_dead() {
    let queue = MemoryQueue::new();
    let run = async |invocation: Invocation| -> Result<Outcome, ExecutorError> {
        match invocation.body().as_ref() {
            b"1" => Err(ExecutorError::public("no such branch")),
            b"2" => Err("the password of the database".into()),
            b"3" => panic!("the password of the database"),
            b"4" => std::future::pending().await,
            b"7" => Err(ExecutorError::invalid("no branch")),
            b"5" => Outcome::json(&"a".repeat(101)),
            _ => Err(ExecutorError::public("for good").without_retry()),
        }
    };
    let worker = worker(&queue, run).with_attempts(2).unwrap();
    let worker = worker.with_deadline(seconds(5)).with_max_outcome_bytes(100);
    let running = Running::start(worker);
    for (body, error, attempts) in [
        ("1", "no such branch", 2),
        ("2", "execution failed", 2),
        ("3", "internal error", 2),
        ("4", "timeout", 2),
        ("5", "internal error", 2),
        ("6", "for good", 1),
        ("7", "no branch", 1),
    ] {
        let id = enqueue(&queue, body).await;
        let job = ended(&queue, id).await;
        assert_eq!((job.state, job.attempts), (JobState::Dead, attempts), "{body}");
        assert_eq!(job.error.as_deref(), Some(error), "{body}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_executor_is_asked_again_after_its_time() {
    let queue = MemoryQueue::new();
    let notes = Notes::new();
    let run = async |_| -> Result<Outcome, ExecutorError> { Err(ExecutorError::busy(seconds(30))) };
    let running = Running::start(worker(&queue, notes.executor(run)).with_attempts(3).unwrap());
    let id = enqueue(&queue, "1").await;
    assert_eq!(ended(&queue, id).await.error.as_deref(), Some("busy"));
    let seconds: Vec<_> = notes.calls().iter().map(|call| call.0).collect();
    assert_eq!(seconds, [0, 30, 60]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_cannot_be_read_stops_nothing() {
    let queue = MemoryQueue::new();
    let good_payload = payload("1").await;
    let mut ids = Vec::new();
    let unknown = [r#""v":0"#, r#""v":-2"#, r#""v":"2""#]
        .map(|version| good_payload.replacen(r#""v":1"#, version, 1));
    for payload in ["", "{}"].into_iter().chain(unknown.iter().map(String::as_str)) {
        let id = JobId::random().unwrap();
        assert_eq!(queue.enqueue(NewJob::new(id, payload)).await.unwrap(), Enqueued::New);
        ids.push(id);
    }
    let good = enqueue(&queue, "1").await;
    let notes = Notes::new();
    let run = notes.executor(async |_| Ok(Outcome::empty()));
    let running = Running::start(worker(&queue, run).with_slots(1).unwrap());
    assert_eq!(ended(&queue, good).await.state, JobState::Succeeded);
    assert_eq!(notes.calls().len(), 1);
    for id in ids {
        let job = ended(&queue, id).await;
        assert_eq!((job.state, job.attempts), (JobState::Dead, 1));
        assert_eq!(job.error.as_deref(), Some("the stored text is malformed"));
    }
    assert_eq!(notes.calls().len(), 1);
    running.stop().await;
}

/// During a rolling upgrade, workers of the version before and of the new one share a queue.
#[tokio::test(start_paused = true)]
async fn a_payload_of_a_later_version_is_left_to_later_workers() {
    let queue = Unreliable::default();
    let later = payload("1").await.replacen(r#""v":1"#, r#""v":2"#, 1);
    let id = JobId::random().unwrap();
    assert_eq!(queue.enqueue(NewJob::new(id, later.as_str())).await.unwrap(), Enqueued::New);
    let notes = Notes::new();
    let executor = notes.executor(async |_| Ok(Outcome::empty()));
    let running = Running::start(Worker::new(queue.clone(), executor));
    sleep(seconds(3600)).await;
    let job = queue.state(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts, job.error), (JobState::Queued, 0, None));
    let claims = queue.claims.load(Ordering::SeqCst);
    assert!((10..=400).contains(&claims), "{claims}");
    running.stop().await;

    // A worker that can read it has all attempts.
    let claimed = queue.claim(1, seconds(60), seconds(60)).await.unwrap();
    assert_eq!((claimed[0].attempt, &claimed[0].payload), (1, &later));
    assert!(notes.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ends_each_of_its_workers_is_dead() {
    let queue = MemoryQueue::new();
    let (id, other) = (enqueue(&queue, "1").await, enqueue(&queue, "2").await);
    let notes = Notes::new();
    let never = || {
        notes.executor(async |invocation: Invocation| {
            let attempt = JobAttempt::of(&invocation).unwrap().number();
            if (invocation.body().as_ref(), attempt) == (b"2", 1) {
                return Err(ExecutorError::public("no such branch"));
            }
            std::future::pending().await
        })
    };
    let worker = || {
        let worker = worker(&queue, never()).with_attempts(3).unwrap();
        worker.with_lease(seconds(2)).unwrap()
    };
    for _ in 0..3 {
        // Dropped, as if the process was killed.
        let dying = worker().run_until(std::future::pending());
        assert!(tokio::time::timeout(seconds(5), dying).await.is_err());
    }
    assert_eq!(queue.state(&id).await.unwrap().unwrap().attempts, 3);
    let running = Running::start(worker());
    let job = ended(&queue, id).await;
    assert_eq!((job.state, job.attempts), (JobState::Dead, 3));
    assert_eq!(job.error.as_deref(), Some("the worker ended during each attempt"));
    // The error of an attempt that has reported one is worth more.
    let job = ended(&queue, other).await;
    assert_eq!((job.state, job.attempts), (JobState::Dead, 3));
    let error = "the attempts are used up, and the last one that has reported its end failed: no such branch";
    assert_eq!(job.error.as_deref(), Some(error));
    assert_eq!(notes.calls().len(), 6);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn slots_and_limits_hold() {
    let limits = HookLimits::new().with("narrow", 2).unwrap();
    let queue = MemoryQueue::new().with_hook_limits(limits);
    let payload = payload("1").await;
    for index in 0..20 {
        let hook = if index % 2 == 0 { "narrow" } else { "wide" };
        let job = NewJob::new(JobId::random().unwrap(), payload.as_str()).with_hook(hook);
        let _ = queue.enqueue(job).await.unwrap();
    }
    let most = Arc::new(AtomicUsize::new(0));
    let running = Arc::new(AtomicUsize::new(0));
    let run = {
        let (most, running) = (Arc::clone(&most), Arc::clone(&running));
        move |_: Invocation| {
            let (most, running) = (Arc::clone(&most), Arc::clone(&running));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(seconds(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(Outcome::empty())
            }
        }
    };
    let workers: Vec<_> = (0..2)
        .map(|_| Running::start(worker(&queue, run.clone()).with_slots(3).unwrap()))
        .collect();
    for second in 0..10 {
        sleep(Duration::from_millis(500)).await;
        let stats = queue.stats().await.unwrap();
        let narrow = stats.iter().find(|stats| stats.hook == "narrow").unwrap();
        assert!(narrow.running <= 2, "{second}");
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 6);
    let succeeded = JobFilter::all().with_state(JobState::Succeeded);
    assert_eq!(queue.list(&succeeded, None, 100).await.unwrap().len(), 20);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ended_jobs_are_kept_as_long_as_is_said() {
    let queue = MemoryQueue::new();
    let run = async |invocation: Invocation| match invocation.body().as_ref() {
        b"1" => Ok(Outcome::empty()),
        _ => Err(ExecutorError::public("no").without_retry()),
    };
    let keep = |count| Retention::forever().with_max_count(count);
    let worker = worker(&queue, run).with_retention(JobState::Succeeded, keep(2)).unwrap();
    assert!(super::worker(&queue, run).with_retention(JobState::Queued, keep(2)).is_err());
    let running = Running::start(worker.with_retention(JobState::Dead, keep(1)).unwrap());
    for _ in 0..4 {
        for body in ["1", "2"] {
            let id = enqueue(&queue, body).await;
            ended(&queue, id).await;
        }
    }
    assert_eq!(queue.list(&JobFilter::all(), None, 100).await.unwrap().len(), 8);
    sleep(seconds(100)).await;
    let left = queue.list(&JobFilter::all(), None, 100).await.unwrap();
    assert_eq!(left.len(), 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_of_which_no_end_is_taken_keeps_no_slot() {
    let queue = Unreliable::default();
    let notes = Notes::new();
    let fails = async |_| Err::<Outcome, _>(ExecutorError::public("no"));
    let endless = enqueue(&queue.inner, "1").await;
    *queue.endless.lock().unwrap() = Some(endless);
    let worker = Worker::new(queue.clone(), notes.executor(fails)).with_slots(1).unwrap();
    let running = Running::start(worker.with_attempts(1).unwrap());
    sleep(seconds(1)).await;
    let id = enqueue(&queue.inner, "2").await;
    assert_eq!(ended(&queue, id).await.state, JobState::Dead);
    *queue.endless.lock().unwrap() = None;
    assert_eq!(ended(&queue, endless).await.state, JobState::Dead);
    running.stop().await;
}
