//! What a key in a body and an envelope cost, by the size of the body.
//!
//! ```text
//! cargo bench --bench body
//! ```

#![allow(clippy::expect_used)]

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, Divan};
use serde_json::Value;
use support::payload;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// In KiB.
const SIZES: [usize; 4] = [1, 8, 64, 256];

fn main() {
    Divan::default().sample_count(200).config_with_args().main();
}

fn body(key: &str, kibibytes: usize) -> Bytes {
    payload::json(key, kibibytes * 1024).into()
}

mod a_key {
    use http_body_util::Full;
    use support::guards::layer;
    use support::keys::keys;
    use support::requests::{Inner, call, request_with};
    use tower::Layer;
    use tower_webhook::body::BodyBufferLayer;
    use tower_webhook::content::{self, ContentLimits, MediaType};
    use tower_webhook::credential::Placement;

    use super::*;

    #[divan::bench(args = SIZES)]
    fn in_a_value_of_serde_json(bencher: Bencher<'_, '_>, size: usize) {
        let body = body("k1", size);
        bencher.counter(BytesCount::of_slice(&body)).bench_local(|| {
            let value: Value = serde_json::from_slice(&body).expect("JSON");
            value.get("api_key").is_some()
        });
    }

    #[divan::bench(args = SIZES)]
    fn found_by_name(bencher: Bencher<'_, '_>, size: usize) {
        let (body, limits) = (body("k1", size), ContentLimits::new());
        bencher.counter(BytesCount::of_slice(&body)).bench_local(|| {
            content::find_field(&MediaType::Json, &body, "api_key", &limits).is_ok()
        });
    }

    #[divan::bench(args = SIZES)]
    fn behind_our_layers(bencher: Bencher<'_, '_>, size: usize) {
        let (manager, texts) = keys(1);
        let body = body(texts.first().expect("a key"), size);
        let limit = usize::MAX / 4;
        let buffer = BodyBufferLayer::new().with_max_bytes(limit);
        let auth = layer(&manager, Placement::body("api_key").expect("a name"));
        let mut service = auth.with_buffer(buffer).with_pre_auth_max_bytes(limit).layer(Inner);
        let input = || request_with("/", None, Full::new(body.clone()));
        bencher
            .counter(BytesCount::of_slice(&body))
            .with_inputs(input)
            .bench_local_values(|request| call(&mut service, request));
    }
}

mod an_envelope {
    use support::requests::request;
    use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};

    use super::*;

    #[divan::bench(args = SIZES)]
    fn of_values_by_hand(bencher: Bencher<'_, '_>, size: usize) {
        let (head, _) = request("/hook/7?tag=a&dry=1", None).into_parts();
        let body = body("k1", size);
        bencher
            .counter(BytesCount::of_slice(&body))
            .bench_local(|| support::envelope::with_values(&head, &body));
    }

    #[divan::bench(args = SIZES)]
    fn of_ours(bencher: Bencher<'_, '_>, size: usize) {
        let (head, _) = request("/hook/7?tag=a&dry=1", None).into_parts();
        let (body, builder) = (body("k1", size), EnvelopeBuilder::new());
        bencher
            .counter(BytesCount::of_slice(&body))
            .bench_local(|| builder.build(&EnvelopeInput::new(&head, &body)).expect("an envelope"));
    }
}
