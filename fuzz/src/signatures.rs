//! The readers of signatures, timestamps and ids, and what is said of a bad signature.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use time::OffsetDateTime;
use tower_webhook::signature::{
    Algorithm, Encoding, Message, Scheme, SigningSecret, handshakes, presets,
};

/// A message of header lines, an empty line and a body.
///
/// Nothing panics; without its secret no message is good; a field that is in the message twice is not read; and the
/// answer to a handshake has nothing in it that was not allowed.
pub fn check(data: &[u8]) {
    let (head, body) = split_at_empty_line(data);
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(32) {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(0));
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let secrets = [SigningSecret::raw("a secret that no input knows").expect("a secret")];
    let now = OffsetDateTime::UNIX_EPOCH;
    let url = "https://example.com/hook?challenge=a&bodySHA256=00";
    let message = Message::new(&headers, body).with_url(url);
    for scheme in schemes() {
        let verified = scheme.verify(&message, &secrets, now);
        assert!(verified.is_err(), "{}", scheme.name());
        for hint in scheme.diagnose(&message, &secrets, now) {
            assert!(hint.to_string().len() < 100);
        }
    }
    for (handshake, method) in [
        (handshakes::zoom(), Method::POST),
        (handshakes::slack(), Method::POST),
        (handshakes::x(), Method::GET),
        (handshakes::dropbox(), Method::GET),
    ] {
        let message = message.with_method(&method);
        if let Some(answer) = handshake.answer(&message, None, &secrets) {
            assert!(answer.body().iter().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

fn schemes() -> [Scheme; 12] {
    let sha512 = tower_webhook::signature::Field::body("/a/0/b").with_list(',').with_prefix("v=");
    [
        presets::github(),
        presets::stripe(),
        presets::slack(),
        presets::standard_webhooks(),
        presets::paddle(),
        presets::twitch(),
        presets::docusign(),
        presets::hubspot(),
        presets::mailgun(),
        presets::twilio(),
        presets::linear(),
        Scheme::new("own", sha512, Algorithm::HmacSha512, Encoding::Base64),
    ]
}

fn split_at_empty_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, b""),
    }
}
