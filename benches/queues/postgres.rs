use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, query, raw_sql};
use tower_webhook::queue::{JobId, JobQueue, PostgresQueue};

use crate::engine::{Engine, Names};
use crate::postgres_server::Server;

/// A server whose commits wait for the disk, with a queue and a table beside it. Each has a pool of its own.
pub(crate) struct Postgres {
    queue: Arc<PostgresQueue>,
    bare: PgPool,
    _server: Server,
}

#[async_trait]
impl Engine for Postgres {
    const NAMES: Names = Names {
        bare: "INSERT, bare client",
        idle: "PostgreSQL, idle",
        one_producer: "PostgreSQL, 1 producer",
        many_producers: "PostgreSQL, 16 producers",
        end_to_end: "PostgreSQL, end to end",
        claims: Some("PostgreSQL, claims"),
    };

    async fn start() -> Self {
        let server = Server::start_durable();
        let queue = PostgresQueue::connect(&server.url()).await.expect("the server answers");
        queue.migrate().await.expect("an empty database");
        let bare = PgPoolOptions::new().max_connections(10).test_before_acquire(false);
        let bare = bare.connect(&server.url()).await.expect("the server answers");
        let table = "CREATE TABLE bare (id bytea PRIMARY KEY, payload text NOT NULL)";
        raw_sql(table).execute(&bare).await.expect("a table");
        Self { queue: Arc::new(queue), bare, _server: server }
    }

    fn queue(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.queue) as _
    }

    async fn store(&self, id: JobId, text: &str) {
        let insert = query("INSERT INTO bare (id, payload) VALUES ($1, $2)");
        let insert = insert.bind(&id.as_bytes()[..]).bind(text);
        insert.execute(&self.bare).await.expect("a new row");
    }

    async fn add_ended(&self, count: usize) {
        let insert = query(
            "INSERT INTO webhook_jobs (id, hook, owner, fingerprint, state, attempts, due_at, created_at,
                started_at, ended_at, outcome, payload)
            SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), 'deploy', 'owner0', decode(repeat('00', 32), 'hex'),
                'succeeded', 1, time, time, time, time, '', ''
            FROM generate_series(1, $1) AS n, LATERAL (SELECT now() - n * interval '1 second' AS time) AS times",
        );
        let insert = insert.bind(i64::try_from(count).expect("not so many jobs"));
        insert.execute(&self.bare).await.expect("new rows");
        raw_sql("VACUUM ANALYZE webhook_jobs").execute(&self.bare).await.expect("a table");
    }
}
