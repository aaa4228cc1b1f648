use std::sync::Arc;
use std::time::Duration;

use ::support::measure::{Case, Cost, Ratio, Report, Table};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, query, raw_sql};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tower_webhook::store::PostgresKeyStore;

use crate::postgres_server::Server;
use crate::{Key, case, filled, find, verification};

const BARE: &str = "SELECT in one message, bare client";
const ALONE: &str = "the same, without a pool";

pub(crate) fn verifications(report: &mut Report, runtime: &Arc<Runtime>, threads: &str) {
    let title = format!("PostgreSQL, {threads}");
    if !report.options().wants(&title) {
        return;
    }
    let server = Server::start();
    let (pool, connection, store, manager, keys) = runtime.block_on(async {
        let pool = PgPoolOptions::new().max_connections(4).test_before_acquire(false);
        let pool = pool.connect(&server.url()).await;
        let pool = pool.expect("the server answers");
        let store = PostgresKeyStore::new(pool.clone());
        store.migrate().await.expect("an empty database");
        let (manager, keys) = filled(store.clone()).await;
        let connection = PgConnection::connect(&server.url()).await.expect("the server answers");
        (pool, connection, store, manager, keys)
    });
    let keys = Arc::new(keys);
    let select = |name, in_task| select(name, runtime, &pool, &keys, in_task);
    let table = Table::new(title, || select(BARE, false))
        .with(without_a_pool(runtime, connection, &keys))
        .with(bound("SELECT, bound, bare client", runtime, &pool, &keys, false))
        .with(bound("SELECT, prepared once, bare client", runtime, &pool, &keys, true))
        .with(select("the first, in a task of its own", true))
        .with(find(runtime, &store, &keys))
        .with(verification(runtime, &manager, &keys));
    let pooled = "   a verification, against the bare client with a pool";
    let alone = "   a verification, against the bare client without one";
    let ratio = |name, of| Ratio::new(name, Cost::Whole("a verification"), Cost::Whole(of));
    report.table(table, &[ratio(pooled, BARE), ratio(alone, ALONE)]);
    runtime.block_on(pool.close());
}

/// A look-up in one message, without a prepared statement.
fn statement(key: &Key) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT record FROM webhook_keys WHERE id = '{}'", key.id))
}

fn select(
    name: &'static str,
    runtime: &Arc<Runtime>,
    pool: &PgPool,
    keys: &Arc<Vec<Key>>,
    in_task: bool,
) -> Case {
    let (pool, keys) = (pool.clone(), Arc::clone(keys));
    case(name, runtime, move |index| {
        let (pool, keys) = (pool.clone(), Arc::clone(&keys));
        let select = async move {
            let select = raw_sql(statement(&keys[index % keys.len()]));
            select.fetch_one(&pool).await.expect("a row");
        };
        async move {
            if in_task {
                let task = tokio::spawn(timeout(Duration::from_secs(5), select));
                task.await.expect("no panic").expect("an answer");
            } else {
                select.await;
            }
        }
    })
}

/// What the server and the way to it take: the pool asks for two signs of life around each call.
fn without_a_pool(runtime: &Arc<Runtime>, connection: PgConnection, keys: &Arc<Vec<Key>>) -> Case {
    let (connection, keys) = (Arc::new(Mutex::new(connection)), Arc::clone(keys));
    case(ALONE, runtime, move |index| {
        let (connection, keys) = (Arc::clone(&connection), Arc::clone(&keys));
        async move {
            let select = raw_sql(statement(&keys[index % keys.len()]));
            select.fetch_one(&mut *connection.lock().await).await.expect("a row");
        }
    })
}

fn bound(
    name: &'static str,
    runtime: &Arc<Runtime>,
    pool: &PgPool,
    keys: &Arc<Vec<Key>>,
    prepared: bool,
) -> Case {
    let (pool, keys) = (pool.clone(), Arc::clone(keys));
    case(name, runtime, move |index| {
        let (pool, keys) = (pool.clone(), Arc::clone(&keys));
        async move {
            // The client finds a statement that it has prepared by its text.
            let statement = if prepared {
                "SELECT record FROM webhook_keys WHERE id = $1"
            } else {
                "SELECT record FROM webhook_keys WHERE $1 = id"
            };
            let select = query(statement);
            let select = select.bind(keys[index % keys.len()].id.as_str()).persistent(prepared);
            select.fetch_one(&pool).await.expect("a row");
        }
    })
}
