//! A key in a JSON body, found by the name of its member.

use bytes::Bytes;
use serde_json::Value;
use support::keys::keys;
use support::measure::{Case, Cost, Ratio, Report, Table};
use support::payload;
use tower_webhook::content::{self, ContentLimits, MediaType};

const RATIO: Ratio = Ratio::new(
    "found by name, against serde_json::Value",
    Cost::Whole("found by name"),
    Cost::Whole("serde_json::Value"),
);

pub(crate) fn sizes(report: &mut Report) {
    for (size, ratios) in [(1, &[][..]), (64, &[RATIO]), (256, &[RATIO])] {
        let title = format!("a key in a JSON body of {size} KiB");
        if report.options().wants(&title) {
            let (_, texts) = keys(1);
            let body = Bytes::from(payload::json(&texts[0], size * 1024));
            report.table(table(title, &body, (64 / size).max(1)), ratios);
        }
    }
}

fn table(title: String, body: &Bytes, batch: usize) -> Table {
    let [parsed, found, removed] = [(); 3].map(|()| body.clone());
    let limits = ContentLimits::new();
    let find = move |body: &Bytes| {
        content::find_field(&MediaType::Json, body, "api_key", &limits).expect("a body").len()
    };
    Table::new(title, || {
        let parsed = parsed.clone();
        Case::function("serde_json::Value", batch, move || {
            let value: Value = serde_json::from_slice(&parsed).expect("JSON");
            value.get("api_key").is_some()
        })
    })
    .with(Case::function("found by name", batch, move || find(&found)))
    .with(Case::function("found by name and removed", batch, move || {
        let rest = content::remove_field(&MediaType::Json, &removed, "api_key", &limits);
        (find(&removed), rest.expect("a body"))
    }))
}
