use std::sync::Arc;

use async_trait::async_trait;
use tower_webhook::queue::{JobId, JobQueue};

/// A queue, and the bare client of its engine.
#[async_trait]
pub(crate) trait Engine: Send + Sync + Sized + 'static {
    const NAMES: Names;

    /// An engine without jobs.
    async fn start() -> Self;

    fn queue(&self) -> Arc<dyn JobQueue>;

    /// Stores an id and a text beside the queue, as durably as a job.
    async fn store(&self, id: JobId, text: &str);

    /// Adds jobs that have succeeded to the queue.
    async fn add_ended(&self, count: usize);
}

/// What the tables are called, and the call of the bare client.
pub(crate) struct Names {
    pub(crate) bare: &'static str,
    pub(crate) idle: &'static str,
    pub(crate) one_producer: &'static str,
    pub(crate) many_producers: &'static str,
    pub(crate) end_to_end: &'static str,
    /// `None` if only the queue can add ended jobs, which takes too long for many.
    pub(crate) claims: Option<&'static str>,
}
