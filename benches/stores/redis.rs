use std::sync::Arc;

use redis::aio::ConnectionManager;
use support::measure::{Cost, Goal, Report, Table};
use tokio::runtime::Runtime;
use tower_webhook::key::RedisKeyStore;

use crate::redis_server::Server;
use crate::{case, filled, verification};

pub(crate) fn verifications(report: &mut Report, runtime: &Arc<Runtime>) {
    let title = "Redis";
    if !report.options().wants(title) {
        return;
    }
    let server = Server::start_with(&["--appendonly", "no"]);
    let (bare, manager, keys) = runtime.block_on(async {
        let store = RedisKeyStore::connect(&server.url()).await.expect("the server answers");
        store.initialize().await.expect("an empty server");
        let (manager, keys) = filled(store).await;
        let client = redis::Client::open(server.url()).expect("a URL");
        (ConnectionManager::new(client).await.expect("the server answers"), manager, keys)
    });
    let names: Vec<_> =
        keys.iter().map(|(id, _)| format!("{{tower-webhook}}:record:{id}")).collect();
    let names = Arc::new(names);
    let table = Table::new(title, || {
        let (bare, names) = (bare.clone(), Arc::clone(&names));
        case("GET with the bare client", runtime, move |index| {
            let (mut bare, names) = (bare.clone(), Arc::clone(&names));
            async move {
                let get = redis::cmd("GET").arg(&names[index % names.len()]).to_owned();
                let found: Option<String> = get.query_async(&mut bare).await.expect("an answer");
                assert!(found.is_some());
            }
        })
    });
    let table = table.with(verification(runtime, &manager, &keys));
    let goal = Goal::new(
        "   a verification, against the bare client",
        Cost::Whole("a verification"),
        1.15,
        Cost::Whole("GET with the bare client"),
    );
    report.table(table, &[goal]);
}
