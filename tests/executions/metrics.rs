//! What Prometheus gets to see of a queue.

use metrics::with_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::sleep;
use tower_webhook::auth::AuthLayer;
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::metrics::Metrics;
use tower_webhook::queue::{JobId, JobQueue, MemoryQueue, NewJob, QueueMetrics, Queued};

use super::unreliable::Unreliable;
use super::{Running, enqueue, payload, post, seconds, worker};

#[tokio::test(start_paused = true)]
async fn jobs_and_attempts_are_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let metrics =
        with_local_recorder(&recorder, || QueueMetrics::register().with_hooks(["deploy", "idle"]));
    let text = handle.render();
    assert!(
        text.contains(r#"tower_webhook_job_attempts_total{end="dead",hook="deploy"} 0"#),
        "{text}"
    );

    let queue = MemoryQueue::new();
    let payload = payload("1").await;
    for hook in ["deploy", "deploy", "other", "another"] {
        let job = NewJob::new(JobId::random().unwrap(), payload.as_str()).with_hook(hook);
        let _ = queue.enqueue(job).await.unwrap();
    }
    let run = async |_: Invocation| -> Result<Outcome, ExecutorError> {
        sleep(seconds(15)).await;
        Err(ExecutorError::public("no").without_retry())
    };
    let running = Running::start(worker(&queue, run).with_slots(1).unwrap().with_metrics(metrics));
    sleep(seconds(12)).await;
    let text = handle.render();
    for line in [
        r#"tower_webhook_jobs{state="queued",hook="deploy"} 1"#,
        r#"tower_webhook_jobs{state="running",hook="deploy"} 1"#,
        r#"tower_webhook_jobs{state="queued",hook=""} 2"#,
        r#"tower_webhook_jobs{state="queued",hook="idle"} 0"#,
        r#"tower_webhook_oldest_queued_job_seconds{hook="idle"} 0"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    sleep(seconds(100)).await;
    let text = handle.render();
    for line in [
        r#"tower_webhook_jobs{state="dead",hook="deploy"} 2"#,
        r#"tower_webhook_jobs{state="dead",hook=""} 2"#,
        r#"tower_webhook_jobs{state="queued",hook="deploy"} 0"#,
        r#"tower_webhook_job_attempts_total{end="dead",hook="deploy"} 2"#,
        r#"tower_webhook_job_attempts_total{end="succeeded",hook="deploy"} 0"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_queue_is_no_load() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let metrics = with_local_recorder(&recorder, Metrics::register);
    let queue = Unreliable::default();
    let queued = Queued::new(queue.clone(), "/").unwrap().with_max_backlog(1).unwrap();
    let hooks = Hooks::new(AuthLayer::public().with_metrics(metrics), queued);
    for is_down in [false, false, true] {
        queue.set_down(is_down);
        sleep(seconds(2)).await;
        tower::ServiceExt::oneshot(hooks.clone(), post("/", "1")).await.unwrap();
    }
    let text = handle.render();
    for reason in ["busy", "unavailable"] {
        let line = format!(
            r#"tower_webhook_executions_total{{outcome="failed",reason="{reason}",hook=""}} 1"#
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

/// No process claims the job.
#[tokio::test(start_paused = true)]
async fn a_queue_is_measured_without_a_worker() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let metrics = with_local_recorder(&recorder, QueueMetrics::register);
    let queue = MemoryQueue::new();
    let watching = tokio::spawn(metrics.watch(queue.clone()));
    sleep(seconds(1)).await;
    enqueue(&queue, "1").await;
    sleep(seconds(20)).await;
    let text = handle.render();
    assert!(text.contains(r#"tower_webhook_jobs{state="queued",hook=""} 1"#), "{text}");
    watching.abort();
}
