//! What it costs to make, change and end keys, in a store in memory.
//!
//! ```text
//! cargo bench -p tower-webhook-benches --features management --bench manage
//! ```

#![allow(clippy::expect_used)]

use divan::{AllocProfiler, Bencher, Divan};
use support::keys::owner;
use support::requests::wait;
use time::Duration;
use tower_webhook::key::{KeyId, KeyManager, KeyUpdate, NewKey};
use tower_webhook::store::MemoryKeyStore;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    Divan::default().sample_size(64).sample_count(100).config_with_args().main();
}

/// A manager with some keys of one owner.
fn manager() -> KeyManager {
    let manager = KeyManager::new(MemoryKeyStore::new());
    (0..20).for_each(|_| drop(new(&manager)));
    manager
}

/// A key that was just made.
fn new(manager: &KeyManager) -> KeyId {
    let new = NewKey::new("bench").with_expires_in(Duration::DAY);
    let issued = wait(manager.generate(&owner(0), new)).expect("a key");
    issued.record().id().clone()
}

mod the_manager {
    use super::*;

    #[divan::bench]
    fn generate(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        bencher
            .with_inputs(|| NewKey::new("bench"))
            .bench_local_values(|new| wait(manager.generate(&owner, new)).expect("a key"));
    }

    #[divan::bench]
    fn get(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        let id = new(&manager);
        bencher.bench_local(|| wait(manager.get(&owner, &id)).expect("a key"));
    }

    #[divan::bench]
    fn list_20(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        bencher.bench_local(|| wait(manager.list(&owner, None, 20)).expect("a page"));
    }

    #[divan::bench]
    fn update(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        let (id, update) = (new(&manager), KeyUpdate::new().with_name("other"));
        bencher
            .with_inputs(|| update.clone())
            .bench_local_values(|update| wait(manager.update(&owner, &id, update)).expect("a key"));
    }

    #[divan::bench]
    fn extend(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        let id = new(&manager);
        bencher.bench_local(|| wait(manager.extend(&owner, &id, Duration::SECOND)).expect("a key"));
    }

    #[divan::bench]
    fn rotate(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        bencher.with_inputs(|| new(&manager)).bench_local_refs(|id| {
            wait(manager.rotate(&owner, id, Duration::HOUR)).expect("a key")
        });
    }

    #[divan::bench]
    fn revoke(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        bencher
            .with_inputs(|| new(&manager))
            .bench_local_refs(|id| wait(manager.revoke(&owner, id)).expect("a key"));
    }

    #[divan::bench]
    fn delete(bencher: Bencher<'_, '_>) {
        let (manager, owner) = (manager(), owner(0));
        bencher
            .with_inputs(|| [new(&manager)])
            .bench_local_refs(|ids| wait(manager.delete(&owner, ids)).expect("the key is there"));
    }
}

mod the_service {
    use http::Request;
    use http_body_util::Full;
    use support::guards::layer;
    use support::requests::call;
    use tower::Layer;
    use tower_webhook::credential::Placement;
    use tower_webhook::management::ManagementApi;

    use super::*;

    type Body = Full<bytes::Bytes>;

    /// Measures a request to the service behind our layer, with its body in memory.
    fn answer(bencher: Bencher<'_, '_>, method: &str, path: &str, body: &'static str) {
        let manager = manager();
        let admin = NewKey::new("admin").with_all_scopes();
        let admin = wait(manager.generate(&owner(0), admin)).expect("a key");
        let bearer = format!("Bearer {}", admin.secret().expose_secret());
        let path = path.replace("{id}", admin.record().id().as_str());
        let api = ManagementApi::new(manager.clone(), "/keys").expect("a path");
        let mut service = layer(&manager, Placement::bearer()).layer(api);
        let input = || {
            let request = Request::builder().method(method).uri(&path);
            let request = request.header("authorization", &bearer);
            let request = request.header("content-type", "application/json");
            request.body(Body::from(body)).expect("a request")
        };
        bencher.with_inputs(input).bench_local_values(|request| call(&mut service, request));
    }

    #[divan::bench]
    fn generate(bencher: Bencher<'_, '_>) {
        answer(bencher, "POST", "/keys", r#"{"name":"ci","scopes":["deploy"],"expires_in":3600}"#);
    }

    #[divan::bench]
    fn get(bencher: Bencher<'_, '_>) {
        answer(bencher, "GET", "/keys/{id}", "");
    }

    #[divan::bench]
    fn list_20(bencher: Bencher<'_, '_>) {
        answer(bencher, "GET", "/keys?limit=20", "");
    }

    #[divan::bench]
    fn update(bencher: Bencher<'_, '_>) {
        answer(bencher, "PATCH", "/keys/{id}", r#"{"name":"other"}"#);
    }
}
