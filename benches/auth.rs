//! What a request costs, with and without the layer.
//!
//! ```text
//! cargo bench --bench auth
//! ```
//!
//! Times of one table are comparable, roughly: the machine may change its pace between two rows. For ratios
//! see `ratios`.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::convert::Infallible;

use axum::body::Body;
use divan::{AllocProfiler, Bencher, Divan};
use http::{Request, Response};
use support::guards::{ours, x_api_key};
use support::keys::keys;
use support::requests::{Inner, call, each, header};
use tower::Service;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    // The stores that need a runtime need only that there is one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    Divan::default().sample_size(64).sample_count(500).config_with_args().main();
}

/// Measures a service over requests that are made beforehand.
fn answer<S, R>(
    bencher: Bencher<'_, '_>,
    mut service: S,
    mut make: impl FnMut(usize) -> Request<Body>,
) where
    S: Service<Request<Body>, Response = Response<R>, Error = Infallible>,
{
    let mut count = 0;
    let input = || {
        count += 1;
        make(count)
    };
    bencher.with_inputs(input).bench_local_values(|request| call(&mut service, request));
}

mod a_service {
    use support::floor::Floor;
    use support::guards::{by_hand, hand_keys, static_bearer};
    use support::requests::request;
    use tower::ServiceExt;

    use super::*;

    #[divan::bench]
    fn alone(bencher: Bencher<'_, '_>) {
        answer(bencher, Inner, |_| request("/", None));
    }

    #[divan::bench]
    fn behind_a_layer_that_does_nothing(bencher: Bencher<'_, '_>) {
        let service = Inner.map_request(|request: Request<Body>| request);
        answer(bencher, service, |_| request("/", None));
    }

    #[divan::bench]
    fn behind_a_static_bearer_of_tower_http(bencher: Bencher<'_, '_>) {
        answer(bencher, static_bearer("k"), header("authorization", vec!["Bearer k".to_owned()]));
    }

    #[divan::bench]
    fn behind_one_function_by_hand(bencher: Bencher<'_, '_>) {
        let (_, texts) = keys(100);
        answer(bencher, Floor::new(&texts, Inner), header("x-api-key", texts));
    }

    #[divan::bench]
    fn behind_axum_from_fn_by_hand(bencher: Bencher<'_, '_>) {
        let texts = hand_keys(100);
        let bearer = each(&texts, |text| format!("Bearer {text}"));
        answer(bencher, by_hand(&texts), header("authorization", bearer));
    }

    #[divan::bench]
    fn behind_our_layer(bencher: Bencher<'_, '_>) {
        let (manager, texts) = keys(100);
        answer(bencher, ours(&manager, x_api_key()), header("x-api-key", texts));
    }
}

mod our_layer {
    use support::keys::{junk, unknown, wrong_secrets};
    use support::requests::{request, target};
    use tower::Layer;
    use tower_webhook::auth::AuthLayer;
    use tower_webhook::credential::Placement;

    use super::*;

    #[divan::bench(args = ["header", "bearer", "cookie", "query", "path"])]
    fn by_placement(bencher: Bencher<'_, '_>, place: &str) {
        let (manager, texts) = keys(100);
        let placement = match place {
            "header" => x_api_key(),
            "bearer" => Placement::bearer(),
            "cookie" => Placement::cookie("key").expect("a name"),
            "query" => Placement::query("key").expect("a name"),
            _ => Placement::path("/hook/{id}/{key}").expect("a template"),
        };
        let service = ours(&manager, placement);
        match place {
            "header" => answer(bencher, service, header("x-api-key", texts)),
            "bearer" => {
                let values = each(&texts, |text| format!("Bearer {text}"));
                answer(bencher, service, header("authorization", values));
            }
            "cookie" => {
                let values = each(&texts, |text| format!("theme=dark; key={text}"));
                answer(bencher, service, header("cookie", values));
            }
            "query" => {
                answer(
                    bencher,
                    service,
                    target(each(&texts, |text| format!("/?a=1&b=2&key={text}"))),
                );
            }
            _ => answer(bencher, service, target(each(&texts, |text| format!("/hook/7/{text}")))),
        }
    }

    #[divan::bench(args = ["accepted", "missing", "junk", "unknown", "wrong secret"])]
    fn by_outcome(bencher: Bencher<'_, '_>, outcome: &str) {
        let (manager, texts) = keys(100);
        let service = ours(&manager, x_api_key());
        match outcome {
            "accepted" => answer(bencher, service, header("x-api-key", texts)),
            "missing" => answer(bencher, service, |_| request("/", None)),
            "junk" => answer(bencher, service, header("x-api-key", junk(&texts))),
            "unknown" => answer(bencher, service, header("x-api-key", unknown())),
            _ => answer(bencher, service, header("x-api-key", wrong_secrets(&texts))),
        }
    }

    #[divan::bench]
    fn on_a_public_route(bencher: Bencher<'_, '_>) {
        answer(bencher, AuthLayer::public().layer(Inner), |_| request("/", None));
    }
}

mod a_route_of_axum {
    use support::guards::{
        bare_router, by_hand_router, hand_keys, layer, router, static_bearer_router,
    };
    use support::requests::request;

    use super::*;

    #[divan::bench]
    fn alone(bencher: Bencher<'_, '_>) {
        answer(bencher, bare_router(), |_| request("/", None));
    }

    #[divan::bench]
    fn behind_a_static_bearer_of_tower_http(bencher: Bencher<'_, '_>) {
        let make = header("authorization", vec!["Bearer k".to_owned()]);
        answer(bencher, static_bearer_router("k"), make);
    }

    #[divan::bench]
    fn behind_from_fn_by_hand(bencher: Bencher<'_, '_>) {
        let texts = hand_keys(100);
        let bearer = each(&texts, |text| format!("Bearer {text}"));
        answer(bencher, by_hand_router(&texts), header("authorization", bearer));
    }

    #[divan::bench]
    fn behind_our_layer(bencher: Bencher<'_, '_>) {
        let (manager, texts) = keys(100);
        let service = router(layer(&manager, x_api_key()));
        answer(bencher, service, header("x-api-key", texts));
    }
}

mod a_store {
    use support::keys::{Pending, fill};
    use tower_webhook::key::KeyStore;

    use super::*;

    #[divan::bench(args = [10, 10_000, 1_000_000])]
    fn in_memory_with_keys(bencher: Bencher<'_, '_>, count: usize) {
        let (manager, texts) = keys(count);
        answer(bencher, ours(&manager, x_api_key()), header("x-api-key", texts));
    }

    #[divan::bench]
    fn that_answers_later(bencher: Bencher<'_, '_>) {
        filled(bencher, Pending::default());
    }

    #[cfg(feature = "cache")]
    #[divan::bench]
    fn behind_a_cache(bencher: Bencher<'_, '_>) {
        use tower_webhook::store::{CachedKeyStore, MemoryKeyStore};
        filled(bencher, CachedKeyStore::new(MemoryKeyStore::new()));
    }

    fn filled(bencher: Bencher<'_, '_>, store: impl KeyStore) {
        let mut texts = Vec::new();
        let manager = fill(store, 100, |text| texts.push(text.to_owned()));
        answer(bencher, ours(&manager, x_api_key()), header("x-api-key", texts));
    }
}
