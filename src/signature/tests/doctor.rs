//! What is said of signatures that are not good, and that good ones are left alone.

use super::*;

fn text_secret(text: &str) -> SigningSecret {
    SigningSecret::insecure_short(text).unwrap()
}

/// Signs with one secret, and asks about it with another one.
fn hints(
    scheme: &Scheme,
    signed_with: &SigningSecret,
    known: &SigningSecret,
    change: impl FnOnce(&mut Request<Bytes>),
    now: i64,
) -> Vec<String> {
    let mut request =
        Request::post("https://example.com/hook?a=1").body(Bytes::from_static(b"{}\n")).unwrap();
    let signer = Signer::new(scheme.clone(), signed_with).unwrap();
    signer.sign(&mut request, "id-1", at(1_700_000_000)).unwrap();
    change(&mut request);
    let url = request.uri().to_string();
    let message = Message::new(request.headers(), request.body()).with_url(&url);
    let hints = scheme.diagnose(&message, std::slice::from_ref(known), at(now));
    hints.iter().map(ToString::to_string).collect()
}

const NOW: i64 = 1_700_000_000;

#[test]
fn a_good_message_has_no_hint() {
    for scheme in presets_with_shared_secret() {
        if scheme.name() == "linear" || scheme.name() == "mailgun" {
            continue; // Their time and token are in the body.
        }
        assert!(hints(&scheme, &secret(), &secret(), |_| {}, NOW).is_empty(), "{}", scheme.name());
    }
}

#[test]
fn the_form_of_a_secret_is_found_out() {
    let scheme = presets::svix();
    let raw = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (literal, decoded) = (text_secret(raw), SigningSecret::standard(raw).unwrap());
    let hex = "000102030405060708090a0b0c0d0e0f";
    let cases = [
        (&decoded, &literal, "it fits if the secret is decoded as base64"),
        (&literal, &decoded, "it fits if the secret is taken literally"),
        (
            &SigningSecret::hex(hex).unwrap(),
            &text_secret(hex),
            "it fits if the secret is decoded as hex",
        ),
        (&text_secret("sesame\n"), &text_secret("sesame"), "it fits if the secret has a line end"),
        (&text_secret("sesame"), &text_secret("sesame\n"), "it fits if the secret has a line end"),
    ];
    for (signed_with, known, expected) in cases {
        assert_eq!(hints(&scheme, signed_with, known, |_| {}, NOW), [expected]);
    }
    assert!(hints(&scheme, &secret(), &text_secret("another"), |_| {}, NOW).is_empty());
}

#[test]
fn clocks_and_units_of_time_are_found_out() {
    let late = hints(&presets::stripe(), &secret(), &secret(), |_| {}, NOW + 3 * 3600);
    assert_eq!(late, ["it fits, and its time is 3 h behind"]);
    let early = hints(&presets::stripe(), &secret(), &secret(), |_| {}, NOW - 301);
    assert_eq!(early, ["it fits, and its time is 301 s ahead"]);
    let in_millis = hints(
        &presets::slack(),
        &secret(),
        &secret(),
        |request| {
            let time = HeaderValue::from_static("1700000000000");
            request.headers_mut().insert("x-slack-request-timestamp", time);
        },
        NOW,
    );
    assert_eq!(in_millis, ["the timestamp is in milliseconds"]);
}

#[test]
fn a_secret_out_of_its_time_is_named() {
    let old = secret().named("2025").unwrap().valid_until(at(NOW));
    let said = hints(&presets::github(), &secret(), &old, |_| {}, NOW);
    assert_eq!(said, [r#"it fits the secret "2025", which is not good now"#]);
}

#[test]
fn a_changed_body_and_address_are_found_out() {
    let (github, square) = (presets::github(), presets::square());
    let with_body = |body: &'static [u8]| {
        move |request: &mut Request<Bytes>| *request.body_mut() = Bytes::from_static(body)
    };
    let lost = hints(&github, &secret(), &secret(), with_body(b"{}"), NOW);
    assert_eq!(lost, ["it fits the body with a line end"]);
    let gained = hints(&github, &secret(), &secret(), with_body(b"{}\n\n"), NOW);
    assert_eq!(gained, ["it fits the body without its line end"]);
    let with_url = |url: &'static str| {
        move |request: &mut Request<Bytes>| *request.uri_mut() = url.parse().unwrap()
    };
    let scheme = hints(&square, &secret(), &secret(), with_url("http://example.com/hook?a=1"), NOW);
    assert_eq!(scheme, ["it fits the address with the other one of http and https"]);
    let slash =
        hints(&square, &secret(), &secret(), with_url("https://example.com/hook/?a=1"), NOW);
    assert_eq!(slash, ["it fits the address with a slash more or less"]);
}

#[test]
fn headers_of_another_provider_are_named() {
    let request = signed(presets::stripe(), "{}");
    let message = Message::new(request.headers(), request.body());
    let hints = presets::slack().diagnose(&message, &[secret()], at(NOW));
    assert_eq!(hints, [SignatureHint::OtherScheme("stripe".into())]);
}

#[test]
fn no_hint_shows_a_secret_or_a_digest() {
    let known = secret().named("old").unwrap().valid_until(at(0));
    for scheme in presets_with_shared_secret() {
        let request = signed(scheme.clone(), r#"{"webhookTimestamp":0}"#);
        let message = Message::new(request.headers(), request.body());
        for hint in scheme.diagnose(&message, std::slice::from_ref(&known), at(NOW + 10_000)) {
            let text = format!("{hint} {hint:?}");
            assert!(!text.contains(SECRET) && text.len() < 120, "{text}");
        }
    }
}
