//! A namespace of a server: what a store and a limiter have in common.

use std::sync::Arc;
use std::time::Duration;

use redis::Client;

use super::RedisStoreError;
use super::link::Link;
use super::names::Names;
use crate::ConfigError;
use crate::key::StoreError;
use crate::store::task::StoreTasks;

/// How its server is reached, what its names are, how long a call may take and how many are under way.
#[derive(Clone)]
pub(super) struct Namespace {
    link: Arc<Link>,
    names: Names,
    tasks: StoreTasks,
    deadline: Duration,
}

impl Namespace {
    const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);

    pub(super) fn from_client(client: Client) -> Self {
        Self::new(Link::own(client, Self::DEFAULT_DEADLINE))
    }

    pub(super) fn new(link: Link) -> Self {
        Self {
            link: Arc::new(link),
            names: Names::default(),
            tasks: StoreTasks::new().with_deadline(Self::DEFAULT_DEADLINE),
            deadline: Self::DEFAULT_DEADLINE,
        }
    }

    pub(super) fn with_name(self, namespace: &str) -> Result<Self, ConfigError> {
        Ok(Self { names: Names::new(namespace)?, ..self })
    }

    /// A connection of our own is made anew, with a response timeout that suits the deadline.
    pub(super) fn with_deadline(mut self, deadline: Duration) -> Self {
        if let Some(client) = self.link.client() {
            self.link = Arc::new(Link::own(client.clone(), deadline));
        }
        Self { tasks: self.tasks.with_deadline(deadline), deadline, ..self }
    }

    pub(super) fn with_max_calls(self, max_calls: usize) -> Self {
        Self { tasks: self.tasks.with_limit(max_calls), ..self }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs a call in the task of its caller. The connection is shared and drops the answer if the caller leaves.
    pub(super) async fn run<T>(
        &self,
        call: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, StoreError> {
        self.tasks.run(async { Ok(call.await?) }).await
    }

    /// Runs a call in a spawned task, with so much time on top of the deadline.
    pub(super) async fn spawn<T: Send + 'static>(
        &self,
        more_time: Duration,
        call: impl Future<Output = Result<T, RedisStoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tasks = self.tasks.clone().with_deadline(self.deadline.saturating_add(more_time));
        tasks.spawn(async move { Ok(call.await?) }).await
    }
}
