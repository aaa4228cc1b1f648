use std::sync::Arc;

use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use tower_webhook::queue::{JobId, JobQueue, NatsQueue};

use crate::engine::{Engine, Names};
use crate::nats_server::Server;

/// A server that syncs each message, with a queue and a stream beside it.
pub(crate) struct Nats {
    queue: Arc<NatsQueue>,
    bare: Context,
    _server: Server,
}

#[async_trait]
impl Engine for Nats {
    const NAMES: Names = Names {
        bare: "publish, bare client",
        idle: "NATS, idle",
        one_producer: "NATS, 1 producer",
        many_producers: "NATS, 16 producers",
        end_to_end: "NATS, end to end",
        claims: None,
    };

    async fn start() -> Self {
        let server = Server::start();
        let queue = Arc::new(server.queue().await);
        let client = async_nats::connect(server.url()).await.expect("the server answers");
        let bare = jetstream::new(client);
        let subjects = vec!["bare".to_owned()];
        let stream = Config { name: "bare".to_owned(), subjects, ..Config::default() };
        bare.create_stream(stream).await.expect("a stream");
        Self { queue, bare, _server: server }
    }

    fn queue(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.queue) as _
    }

    async fn store(&self, _id: JobId, text: &str) {
        let stored = self.bare.publish("bare", text.to_owned().into()).await;
        stored.expect("a connection").await.expect("an acknowledgement");
    }

    async fn add_ended(&self, _count: usize) {
        panic!("the entries of jobs can only be written by the queue");
    }
}
