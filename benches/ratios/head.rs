//! Credentials in the head of a request, with a hundred keys that are all in use.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use support::floor::Floor;
use support::guards::{
    bare_router, by_hand, by_hand_router, hand_keys, layer, ours, router, static_bearer,
    static_bearer_router, x_api_key,
};
use support::keys::{junk, keys, unknown, wrong_secrets};
use support::measure::{Case, Cost, Ratio, Report, Table};
use support::requests::{Inner, each, header, request, target};
use tower::{Layer, layer::layer_fn};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::rate_limit::{MemoryRateLimiter, Quota, RateLimits};

/// The rows of the chart.
pub(crate) const CHART: [&str; 8] = [
    "tower-http static bearer",
    "by hand, one function",
    "ours: header",
    "ours: bearer",
    "ours: cookie",
    "ours: query",
    "ours: path",
    "axum from_fn by hand",
];

/// Every placement, against what others do.
pub(crate) fn placements(report: &mut Report) {
    let title = "placements";
    if !report.options().wants(title) {
        return;
    }
    let (manager, texts) = keys(100);
    let guarded = |placement: Placement| ours(&manager, placement);
    let cookie = Placement::cookie("key").expect("a name");
    let query = Placement::query("key").expect("a name");
    let path = Placement::path("/hook/{id}/{key}").expect("a template");
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(format!("app:{text}")));
    let x_api_keys = || header("x-api-key", texts.clone());
    let hand = hand_keys(100);
    let table = Table::new(title, || Case::service("inner service", Inner, x_api_keys()))
        .with(digest())
        .with(Case::function("one reading of the clock", 64, SystemTime::now))
        .with(Case::service("tower-http static bearer", static_bearer("k"), |_| {
            request("/", Some(("authorization", "Bearer k")))
        }))
        .with(Case::service(
            "axum from_fn by hand",
            by_hand(&hand),
            header("authorization", bearer(&hand)),
        ))
        .with(Case::service("by hand, one function", Floor::new(&texts, Inner), x_api_keys()))
        .with(Case::service("ours: header", guarded(x_api_key()), x_api_keys()))
        .with(Case::service(
            "ours: bearer",
            guarded(Placement::bearer()),
            header("authorization", bearer(&texts)),
        ))
        .with(Case::service(
            "ours: basic",
            guarded(Placement::basic()),
            header("authorization", each(&texts, basic)),
        ))
        .with(Case::service(
            "ours: cookie",
            guarded(cookie),
            header("cookie", each(&texts, |text| format!("theme=dark; key={text}"))),
        ))
        .with(Case::service(
            "ours: query",
            guarded(query),
            target(each(&texts, |text| format!("/?a=1&b=2&key={text}"))),
        ))
        .with(Case::service(
            "ours: path",
            guarded(path),
            target(each(&texts, |text| format!("/hook/7/{text}"))),
        ));
    report.table(
        table,
        &[
            Ratio::new(
                "added by a header key, in SHA-256 of a key",
                Cost::Added("ours: header"),
                Cost::Whole("one SHA-256 of a key"),
            ),
            Ratio::new(
                "whole call, against the static bearer",
                Cost::Whole("ours: header"),
                Cost::Whole("tower-http static bearer"),
            ),
            Ratio::new(
                "added, against from_fn by hand",
                Cost::Added("ours: header"),
                Cost::Added("axum from_fn by hand"),
            ),
        ],
    );
}

/// What is refused, and what needs no key.
pub(crate) fn refusals(report: &mut Report) {
    let title = "refusals and public routes";
    if !report.options().wants(title) {
        return;
    }
    let (manager, texts) = keys(100);
    let with = |texts: &[String]| header("x-api-key", texts.to_vec());
    let guarded = || ours(&manager, x_api_key());
    let floor = || Floor::new(&texts, Inner);
    let limits = RateLimits::new(MemoryRateLimiter::new()).with_default_quota(
        Quota::new(1_000_000_000, Duration::from_nanos(1_000)).expect("a quota"),
    );
    let limited = layer(&manager, x_api_key()).with_rate_limits(limits).expect("a layer");
    #[cfg(feature = "metrics")]
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let table = Table::new(title, || Case::service("inner service", Inner, with(&texts)))
        .with(Case::service("ours: accepted", guarded(), with(&texts)))
        .with(Case::service("ours: public", AuthLayer::public().layer(Inner), with(&texts)))
        .with(Case::service("by hand: missing", floor(), |_| request("/", None)))
        .with(Case::service("ours: missing", guarded(), |_| request("/", None)))
        .with(Case::service("by hand: junk", floor(), with(&junk(&texts))))
        .with(Case::service("ours: junk", guarded(), with(&junk(&texts))))
        .with(Case::service("ours: unknown", guarded(), with(&unknown())))
        .with(Case::service("ours: wrong secret", guarded(), with(&wrong_secrets(&texts))))
        .with(Case::service("ours: accepted, limited", limited.layer(Inner), with(&texts)));
    #[cfg(feature = "metrics")]
    let table = table.with(Case::service(
        "ours: accepted, measured",
        metrics::with_local_recorder(&recorder, || {
            let metrics = tower_webhook::metrics::Metrics::register();
            layer(&manager, x_api_key()).with_metrics(metrics).layer(Inner)
        }),
        with(&texts),
    ));
    report.table(
        table,
        &[
            Ratio::new(
                "added by junk, against an accepted request",
                Cost::Added("ours: junk"),
                Cost::Added("ours: accepted"),
            ),
            Ratio::new(
                "added by a limited request, against one that is not",
                Cost::Added("ours: accepted, limited"),
                Cost::Added("ours: accepted"),
            ),
            #[cfg(feature = "metrics")]
            Ratio::new(
                "added by a measured request, against one that is not",
                Cost::Added("ours: accepted, measured"),
                Cost::Added("ours: accepted"),
            ),
        ],
    );
}

/// The same in front of a route of axum's.
pub(crate) fn routes(report: &mut Report) {
    let title = "in an axum Router";
    if !report.options().wants(title) {
        return;
    }
    let (manager, texts) = keys(100);
    let hand = hand_keys(100);
    let guarded = router(layer(&manager, x_api_key()));
    let own = texts.clone();
    let floor = router(layer_fn(move |route| Floor::new(&own, route)));
    let x_api_keys = || header("x-api-key", texts.clone());
    let table = Table::new(title, || Case::service("route alone", bare_router(), x_api_keys()))
        .with(Case::service("tower-http static bearer", static_bearer_router("k"), |_| {
            request("/", Some(("authorization", "Bearer k")))
        }))
        .with(Case::service(
            "axum from_fn by hand",
            by_hand_router(&hand),
            header("authorization", bearer(&hand)),
        ))
        .with(Case::service("by hand, one function", floor, x_api_keys()))
        .with(Case::service("ours: header", guarded, x_api_keys()));
    report.table(
        table,
        &[Ratio::new(
            "whole call, against the static bearer",
            Cost::Whole("ours: header"),
            Cost::Whole("tower-http static bearer"),
        )],
    );
}

fn digest() -> Case {
    let text = "1".repeat(55);
    Case::function("one SHA-256 of a key", 64, move || Sha256::digest(black_box(text.as_bytes())))
}

fn bearer(texts: &[String]) -> Vec<String> {
    each(texts, |text| format!("Bearer {text}"))
}
