//! The check of a signature, against the bare HMAC of the body.

use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use sha2::Sha256;
use support::measure::{Case, Cost, Ratio, Report, Table};
use time::OffsetDateTime;
use tower_webhook::signature::{Message, Signer, SigningSecret, presets};

const SECRET: &[u8] = b"a secret of a provider";

const RATIO: Ratio = Ratio::new(
    "verified, against the bare HMAC",
    Cost::Whole("Scheme::verify"),
    Cost::Whole("Hmac<Sha256>"),
);

pub(crate) fn sizes(report: &mut Report) {
    for size in [1, 64, 1024] {
        let title = format!("a signature of a body of {size} KiB");
        if report.options().wants(&title) {
            report.table(table(title, size * 1024, (256 / size).max(1)), &[RATIO]);
        }
    }
}

fn table(title: String, size: usize, batch: usize) -> Table {
    let secret = SigningSecret::raw(SECRET).expect("a secret");
    let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).expect("a time");
    let mut request = Request::new(bytes::Bytes::from(vec![b'a'; size]));
    let signer = Signer::new(presets::stripe(), &secret).expect("a signer");
    signer.sign(&mut request, "", now).expect("a body");
    let (scheme, secrets, body) = (presets::stripe(), [secret], request.body().clone());
    Table::new(title, move || {
        let body = body.clone();
        Case::function("Hmac<Sha256>", batch, move || {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET).expect("a key");
            mac.update(b"1700000000.");
            mac.update(&body);
            mac.finalize().into_bytes()
        })
    })
    .with(Case::function("Scheme::verify", batch, move || {
        let message = Message::new(request.headers(), request.body());
        scheme.verify(&message, &secrets, now).is_ok()
    }))
}
