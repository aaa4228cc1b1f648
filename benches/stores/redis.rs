use std::sync::Arc;
use std::time::Duration;

use ::support::measure::{Case, Cost, Ratio, Report, Table};
use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{Pipeline, Value};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tower_webhook::rate_limit::{Limit, Quota, RateLimiter, RedisRateLimiter};
use tower_webhook::store::RedisKeyStore;

use crate::redis_server::Server;
use crate::{Key, case, filled, find, verification};

const BARE: &str = "the commands of a look-up, bare client";
const SCRIPT: &str = "EVALSHA of a script that returns 1, bare client";
const BUCKETS: [&str; 4] = ["key:ann", "key:bob", "key:eve", "key:joe"];

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

/// Calls that are counted, against a script that does nothing.
pub(crate) fn rate_limits(report: &mut Report, runtime: &Arc<Runtime>, threads: &str) {
    let title = format!("limits in Redis, {threads}");
    if !report.options().wants(&title) {
        return;
    }
    let server = Server::start_with(&["--appendonly", "no"]);
    let (bare, limiter) = runtime.block_on(async {
        let limiter = RedisRateLimiter::connect(&server.url()).await.expect("the server answers");
        let client = redis::Client::open(server.url()).expect("a URL");
        let bare = ConnectionManager::new(client).await.expect("the server answers");
        (bare, limiter)
    });
    let table = Table::new(title, || script(runtime, &bare))
        .with(check("a check of one limit", runtime, &limiter, 1))
        .with(check("a check of two limits", runtime, &limiter, 2));
    let ratio = |name, of| Ratio::new(name, Cost::Whole(of), Cost::Whole(SCRIPT));
    let one = ratio("   a check of one limit, against EVALSHA", "a check of one limit");
    let two = ratio("   a check of two limits, against EVALSHA", "a check of two limits");
    report.table(table, &[one, two]);
}

/// The same round trip, without reading the time, a bucket or a limit.
fn script(runtime: &Arc<Runtime>, bare: &ConnectionManager) -> Case {
    let (bare, script) = (bare.clone(), Arc::new(redis::Script::new("return 1")));
    case(SCRIPT, runtime, move |index| {
        let (mut bare, script) = (bare.clone(), Arc::clone(&script));
        async move {
            let name = BUCKETS[index % BUCKETS.len()];
            let one: i64 = script.key(name).invoke_async(&mut bare).await.expect("an answer");
            assert_eq!(one, 1);
        }
    })
}

/// A call that is allowed, so that it writes.
fn check(
    name: &'static str,
    runtime: &Arc<Runtime>,
    limiter: &RedisRateLimiter,
    limits: usize,
) -> Case {
    let limiter = limiter.clone();
    let quota = Quota::new(1_000_000, Duration::from_micros(1)).expect("a window of a second");
    case(name, runtime, move |index| {
        let limiter = limiter.clone();
        async move {
            let bucket = |offset| Limit::new(BUCKETS[(index + offset) % BUCKETS.len()], quota);
            let limits: Vec<_> = (0..limits).map(bucket).collect();
            assert!(limiter.check(&limits).await.expect("an answer").is_allowed());
        }
    })
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
