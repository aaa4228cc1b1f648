use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{Pipeline, Value};
use support::measure::{Case, Cost, Ratio, Report, Table};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tower_webhook::store::RedisKeyStore;

use crate::redis_server::Server;
use crate::{Key, case, filled, find, verification};

const BARE: &str = "the commands of a look-up, bare client";

pub(crate) fn verifications(report: &mut Report, runtime: &Arc<Runtime>, threads: &str) {
    let title = format!("Redis, {threads}");
    if !report.options().wants(&title) {
        return;
    }
    let server = Server::start_with(&["--appendonly", "no"]);
    let (bare, store, manager, keys) = runtime.block_on(async {
        let store = RedisKeyStore::connect(&server.url()).await.expect("the server answers");
        store.initialize().await.expect("an empty server");
        let (manager, keys) = filled(store.clone()).await;
        let client = redis::Client::open(server.url()).expect("a URL");
        let bare = ConnectionManager::new(client).await.expect("the server answers");
        (bare, store, manager, keys)
    });
    let table = Table::new(title, || look_up(BARE, runtime, &bare, &keys, false))
        .with(get(runtime, &bare, &keys))
        .with(look_up("the same, in a task of its own", runtime, &bare, &keys, true))
        .with(find(runtime, &store, &keys))
        .with(verification(runtime, &manager, &keys));
    let whole = "   a verification, against the commands of the bare client";
    let get = "   a verification, against one GET of the bare client";
    let ratio = |name, of| Ratio::new(name, Cost::Whole("a verification"), Cost::Whole(of));
    report.table(table, &[ratio(whole, BARE), ratio(get, "GET, bare client")]);
}

/// One command, whose answer does not say whether the server has lost its data.
fn get(runtime: &Arc<Runtime>, bare: &ConnectionManager, keys: &[Key]) -> Case {
    let (bare, names) = (bare.clone(), names(keys));
    case("GET, bare client", runtime, move |index| {
        let (mut bare, names) = (bare.clone(), Arc::clone(&names));
        async move {
            let get = redis::cmd("GET").arg(&names[index % names.len()]).to_owned();
            let found: Option<String> = get.query_async(&mut bare).await.expect("an answer");
            assert!(found.is_some());
        }
    })
}

/// What the store sends, and what it does with the answer before it reads the record: nothing.
fn look_up(
    name: &'static str,
    runtime: &Arc<Runtime>,
    bare: &ConnectionManager,
    keys: &[Key],
    in_task: bool,
) -> Case {
    let (bare, names) = (bare.clone(), names(keys));
    case(name, runtime, move |index| {
        let (mut bare, names) = (bare.clone(), Arc::clone(&names));
        let ask = async move {
            let mut commands = Pipeline::new();
            commands.cmd("GET").arg(&names[index % names.len()]);
            commands.cmd("GET").arg("{tower-webhook}:sentinel");
            let answers = bare.req_packed_commands(&commands, 0, 2).await.expect("an answer");
            assert!(matches!(&*answers, [Value::BulkString(_), Value::BulkString(_)]));
        };
        async move {
            if in_task {
                let task = tokio::spawn(timeout(Duration::from_secs(1), ask));
                task.await.expect("no panic").expect("an answer");
            } else {
                ask.await;
            }
        }
    })
}

fn names(keys: &[Key]) -> Arc<Vec<String>> {
    let name = |key: &Key| format!("{{tower-webhook}}:record:{}", key.id);
    Arc::new(keys.iter().map(name).collect())
}
