//! The envelope of a JSON request.

use bytes::Bytes;
use support::envelope::with_values;
use support::measure::{Case, Cost, Ratio, Report, Table};
use support::payload;
use support::requests::request;
use tower_webhook::content::json::{self, JsonLimits};
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};

const RATIO: Ratio = Ratio::new(
    "ours, against Value, built and written",
    Cost::Whole("ours"),
    Cost::Whole("Value, built and written"),
);

pub(crate) fn sizes(report: &mut Report) {
    for size in [8, 25, 256] {
        let title = format!("an envelope of {size} KiB");
        if report.options().wants(&title) {
            let body = Bytes::from(payload::json("k", size * 1024));
            report.table(table(title, &body, (64 / size).max(1)), &[RATIO]);
        }
    }
}

fn table(title: String, body: &Bytes, batch: usize) -> Table {
    let head = || request("/hook/7?tag=a&dry=1", None).into_parts().0;
    let [built, own, validated] = [(); 3].map(|()| body.clone());
    let (builder, own_head) = (EnvelopeBuilder::new(), head());
    Table::new(title, || {
        let (head, body) = (head(), built.clone());
        Case::function("Value, built and written", batch, move || with_values(&head, &body))
    })
    .with(Case::function("ours", batch, move || {
        builder.build(&EnvelopeInput::new(&own_head, &own)).expect("an envelope")
    }))
    .with(Case::function("validation alone", batch, move || {
        json::validate(&validated, &JsonLimits::new()).expect("JSON").as_str().len()
    }))
}
