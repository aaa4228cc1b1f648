use std::sync::Arc;

use sqlx::postgres::PgPoolOptions;
use support::measure::{Cost, Goal, Report, Table};
use tokio::runtime::Runtime;
use tower_webhook::key::PostgresKeyStore;

use crate::postgres_server::Server;
use crate::{case, filled, verification};

pub(crate) fn verifications(report: &mut Report, runtime: &Arc<Runtime>) {
    let title = "PostgreSQL";
    if !report.options().wants(title) {
        return;
    }
    let server = Server::start();
    let (pool, manager, keys) = runtime.block_on(async {
        let pool = PgPoolOptions::new().max_connections(4).connect(&server.url()).await;
        let pool = pool.expect("the server answers");
        let store = PostgresKeyStore::new(pool.clone());
        store.migrate().await.expect("an empty database");
        let (manager, keys) = filled(store).await;
        (pool, manager, keys)
    });
    let ids = Arc::new(keys.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
    // Without a prepared statement that outlives the call, as behind a pooler that shares connections.
    let select = |name, prepared: bool| {
        let (pool, ids) = (pool.clone(), Arc::clone(&ids));
        case(name, runtime, move |index| {
            let (pool, ids) = (pool.clone(), Arc::clone(&ids));
            async move {
                let select = sqlx::query("SELECT record FROM webhook_keys WHERE id = $1");
                let select = select.bind(&ids[index % ids.len()]).persistent(prepared);
                select.fetch_one(&pool).await.expect("a row");
            }
        })
    };
    let table = Table::new(title, || select("SELECT with the bare client", false))
        .with(select("SELECT, prepared once", true));
    let table = table.with(verification(runtime, &manager, &keys));
    let goal = Goal::new(
        "   a verification, against the bare client",
        Cost::Whole("a verification"),
        1.15,
        Cost::Whole("SELECT with the bare client"),
    );
    report.table(table, &[goal]);
    runtime.block_on(pool.close());
}
