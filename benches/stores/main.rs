//! What a verification, or the check of a limit, costs with a database, against the bare call of the client.
//!
//! ```text
//! cargo bench -p tower-webhook-benches --features stores --bench stores
//! taskset -c 1 cargo bench -p tower-webhook-benches --features stores --bench stores -- --keys 1000000 'one thread'
//! ```
//!
//! Starts a Redis and a PostgreSQL server of its own, as the tests do. The rows of a table are the parts of a
//! verification, one upon the other.
//!
//! A wake-up on another core takes up to three times as long as a look-up, and where the scheduler puts a server, or the thread that is a connection to SQLite, differs from case to case. On one core there is no
//! choice, and what is measured is the work.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../tests/stores/postgres/server.rs"]
mod postgres_server;
#[allow(dead_code)]
#[path = "../../tests/stores/redis/server.rs"]
mod redis_server;
#[allow(dead_code)]
#[path = "../../tests/stores/shared/fixtures.rs"]
mod shared;
#[allow(dead_code)]
#[path = "../../tests/stores/sqlite/file.rs"]
mod sqlite_file;
/// What the servers of the tests need.
#[allow(dead_code)]
#[path = "../../tests/support"]
mod support {
    pub(crate) mod folder;
    pub(crate) mod port;
}

mod postgres;
mod redis;
mod sqlite;

use std::sync::Arc;
use std::time::Instant;

use ::support::keys::owner;
use ::support::measure::{Case, Options, Report};
use tokio::runtime::{Builder, Runtime};
use tower_webhook::key::{KeyId, KeyManager, KeyStore, NewKey};

/// So many calls follow each other without a look at the clock.
const BATCH: usize = 16;

fn main() {
    let mut report = Report::new(Options::from_args(50_000));
    let mut files = sqlite::Files::default();
    for (threads, mut builder) in
        [("one thread", Builder::new_current_thread()), ("two threads", two_threads())]
    {
        let runtime = Arc::new(builder.enable_all().build().expect("a runtime"));
        redis::verifications(&mut report, &runtime, threads);
        redis::rate_limits(&mut report, &runtime, threads);
        postgres::verifications(&mut report, &runtime, threads);
        sqlite::look_ups(&mut report, &runtime, threads, &mut files);
    }
    report.finish(&[]);
}

fn two_threads() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    builder
}

/// A call that is made again and again, one after the other, in a task of the runtime.
fn case<F, Fut>(name: &'static str, runtime: &Arc<Runtime>, call: F) -> Case
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let (runtime, call) = (Arc::clone(runtime), Arc::new(call));
    let mut count = 0;
    Case::timed(name, BATCH, move || {
        let (call, first) = (Arc::clone(&call), count);
        count += BATCH;
        let batch = runtime.spawn(async move {
            let start = Instant::now();
            for index in first..first + BATCH {
                call(index).await;
            }
            start.elapsed()
        });
        runtime.block_on(batch).expect("the calls work")
    })
}

/// A look-up of keys that take turns.
fn find(runtime: &Arc<Runtime>, store: &(impl KeyStore + Clone), keys: &[Key]) -> Case {
    let (store, keys) = (store.clone(), Arc::new(keys.to_vec()));
    case("find", runtime, move |index| {
        let (store, keys) = (store.clone(), Arc::clone(&keys));
        async move {
            let found = store.find(&keys[index % keys.len()].id).await.expect("an answer");
            assert!(found.is_some());
        }
    })
}

/// A verification of keys that take turns.
fn verification(runtime: &Arc<Runtime>, manager: &KeyManager, keys: &[Key]) -> Case {
    let (verifier, keys) = (manager.verifier(), Arc::new(keys.to_vec()));
    case("a verification", runtime, move |index| {
        let (verifier, keys) = (verifier.clone(), Arc::clone(&keys));
        async move {
            let text = keys[index % keys.len()].text.as_bytes();
            verifier.verify(text).await.expect("the key is good");
        }
    })
}

/// What is looked up, and what is presented.
#[derive(Clone)]
struct Key {
    id: KeyId,
    text: String,
}

/// A manager with a hundred keys.
async fn filled(store: impl KeyStore) -> (KeyManager, Vec<Key>) {
    let manager = KeyManager::new(store);
    let mut keys = Vec::new();
    for index in 0..100 {
        let new = NewKey::new("bench").with_all_scopes();
        let issued = manager.generate(&owner(index), new).await.expect("a key");
        let id = issued.record().id().clone();
        keys.push(Key { id, text: issued.secret().expose_secret().to_owned() });
    }
    (manager, keys)
}
