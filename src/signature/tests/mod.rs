//! Whole messages: the published ones, and what an attacker or another version of a scheme makes of them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::SignatureErrorKind::{Malformed, Mismatch, Missing, NoSecret, NoUrl, Stale};
use super::*;
use crate::util::hex;

mod answers;
mod doctor;
mod vectors;

use self::vectors::{VECTORS, Vector};

const SECRET: &str = "receiver-test-secret";

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

fn header_map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::try_from(*name).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn secret() -> SigningSecret {
    SigningSecret::raw(SECRET).unwrap()
}

fn check(
    scheme: &Scheme,
    headers: &HeaderMap,
    body: &[u8],
    now: i64,
) -> Result<Verified, SignatureErrorKind> {
    let message = Message::new(headers, body).with_url("https://example.com/hook?a=1");
    scheme.verify(&message, &[secret()], at(now)).map_err(|error| error.kind())
}

impl Vector {
    fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<Verified, SignatureError> {
        let mut message = Message::new(headers, body);
        if !self.url.is_empty() {
            message = message.with_url(self.url);
        }
        (self.scheme)().verify(&message, &[(self.secret)().unwrap()], at(now))
    }
}

/// A request that is signed by a preset.
fn signed(scheme: Scheme, body: &'static str) -> Request<Bytes> {
    let mut request = Request::post("https://example.com/hook?a=1").body(body.into()).unwrap();
    Signer::new(scheme, &secret()).unwrap().sign(&mut request, "id-1", at(1_700_000_000)).unwrap();
    request
}

/// Every preset with a shared secret that is taken literally.
fn presets_with_shared_secret() -> Vec<Scheme> {
    let variants = [presets::gitlab_signed(), presets::jira(), presets::meta()];
    let all = presets::distinct().into_iter().chain(variants);
    all.filter(|scheme| scheme.takes(&secret())).collect()
}

#[test]
fn published_messages_are_good() {
    for vector in VECTORS {
        let headers = header_map(vector.headers);
        let verified = vector.verify(&headers, vector.body.as_bytes(), vector.now);

        let verified = verified.unwrap_or_else(|error| panic!("{}: {error}", vector.source));
        let covers = verified.covers().iter().map(Covered::as_str).collect::<Vec<_>>();
        assert_eq!(covers, vector.covers, "{}", vector.source);
    }
}

#[test]
fn a_changed_byte_of_what_is_covered_is_noticed() {
    for vector in VECTORS.iter().filter(|vector| vector.covers.contains(&"body")) {
        let headers = header_map(vector.headers);
        for index in [0, vector.body.len() / 2, vector.body.len() - 1] {
            let mut body = vector.body.as_bytes().to_vec();
            body[index] ^= 1;
            let error = vector.verify(&headers, &body, vector.now).unwrap_err();
            let is_noticed = matches!(error.kind(), Mismatch | Malformed | Stale);
            assert!(is_noticed, "{}: {error:?}", vector.source);
        }
    }
}

#[test]
fn every_preset_takes_what_it_signs() {
    for scheme in presets_with_shared_secret() {
        let name = scheme.name().to_owned();
        let request = signed(scheme.clone(), r#"{"id":"x","webhookTimestamp":0}"#);

        let url = request.uri().to_string();
        let message = Message::new(request.headers(), request.body()).with_url(&url);
        let verified = scheme.verify(&message, &[secret()], at(1_700_000_000));
        assert!(verified.is_ok(), "{name}: {verified:?}");
        let other = SigningSecret::raw("another secret, as long").unwrap();
        let error = scheme.verify(&message, &[other], at(1_700_000_000)).unwrap_err();
        assert_eq!(error.kind(), Mismatch, "{name}");
        let error = scheme.verify(&message, &[], at(1_700_000_000)).unwrap_err();
        assert_eq!(error.kind(), NoSecret, "{name}");
        let empty = HeaderMap::new();
        let unsigned = Message::new(&empty, b"{}").with_url(&url);
        let error = scheme.verify(&unsigned, &[secret()], at(1_700_000_000)).unwrap_err();
        assert!(matches!(error.kind(), Missing | Malformed), "{name}: {error:?}");
    }
}

#[cfg(feature = "ed25519")]
#[test]
fn ed25519_takes_what_it_signs() {
    let seed = [7; 32];
    let key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    let public = hex::encode(key.as_bytes());
    let public = SigningSecret::ed25519_public(&public).unwrap();
    for scheme in [presets::discord(), presets::standard_webhooks()] {
        let mut request = Request::post("/").body(Bytes::from_static(b"\xff\xfe")).unwrap();
        let signer = Signer::ed25519(scheme.clone(), &seed).unwrap();
        signer.sign(&mut request, "id-1", at(1_700_000_000)).unwrap();

        let message = Message::new(request.headers(), request.body());
        let secrets = [secret(), public.clone()];
        assert!(scheme.verify(&message, &secrets, at(1_700_000_000)).is_ok());
    }
    // A point of small order fits every message.
    assert!(SigningSecret::ed25519_public(&"00".repeat(32)).is_err());
    assert!(Signer::new(presets::discord(), &secret()).is_err());
}

#[cfg(feature = "ecdsa")]
#[test]
fn ecdsa_takes_what_it_signs_and_the_twin_is_the_same_delivery() {
    use p256::ecdsa::{Signature, SigningKey};
    use p256::pkcs8::EncodePublicKey as _;

    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let der = key.verifying_key().to_public_key_der().unwrap();
    let public = Encoding::Base64.encode(der.as_bytes());
    let secrets = [SigningSecret::ecdsa_p256_public(&public).unwrap()];
    let mut request = Request::post("/").body(Bytes::from_static(b"[]\r\n")).unwrap();
    let signer = Signer::ecdsa_p256(presets::sendgrid(), &[7; 32]).unwrap();
    signer.sign(&mut request, "", at(1_700_000_000)).unwrap();
    let verify = |request: &Request<Bytes>| {
        let message = Message::new(request.headers(), request.body());
        presets::sendgrid().verify(&message, &secrets, at(1_700_000_000)).unwrap()
    };

    let first = verify(&request);
    let name = "x-twilio-email-event-webhook-signature";
    let sent = request.headers()[name].to_str().unwrap();
    let signature = Signature::from_der(&Encoding::Base64.decode(sent).unwrap()).unwrap();
    let (r, s) = signature.split_scalars();
    let twin = Signature::from_scalars(r, -s).unwrap().to_der();
    let twin = HeaderValue::try_from(Encoding::Base64.encode(twin.as_bytes())).unwrap();
    request.headers_mut().insert(name, twin);
    assert_eq!(verify(&request).fingerprint(), first.fingerprint());
}

#[test]
fn the_tolerance_holds_in_both_directions() {
    for (scheme, tolerance) in [
        (presets::stripe(), 300),
        (presets::slack(), 300),
        (presets::standard_webhooks(), 300),
        (presets::zoom(), 300),
        (presets::linear(), 60),
        (presets::paddle(), 5),
        (presets::twitch(), 600),
        (presets::hubspot(), 300),
        (presets::mailgun(), 300),
        (presets::jac(), 300),
    ] {
        let request = signed(scheme.clone(), r#"{"webhookTimestamp":0}"#);
        let check = |now| check(&scheme, request.headers(), request.body(), now).map(drop);
        for distance in [-tolerance, tolerance] {
            assert_eq!(check(1_700_000_000 + distance), Ok(()), "{} {distance}", scheme.name());
        }
        for distance in [-tolerance - 1, tolerance + 1, -1_700_000_000, 100_000_000_000] {
            let late = check(1_700_000_000 + distance);
            assert_eq!(late, Err(Stale), "{} {distance}", scheme.name());
        }
    }
}

#[test]
fn odd_timestamps_are_malformed_although_their_signature_fits() {
    for text in ["+1700000000", "01700000000", "1700000000.0", " 1700000000", "", "1e9", "-5"] {
        let mac = |scheme: &Scheme| {
            let message = Message::new(&EMPTY, b"{}");
            let signed = signed::SignedBytes {
                parts: &scheme.signed,
                message: &message,
                url: "",
                timestamp: text,
                id: "",
                has_parameters: true,
            };
            Algorithm::HmacSha256.mac(SECRET.as_bytes(), &signed).unwrap().unwrap()
        };
        let mac = hex::encode(&mac(&presets::stripe()));
        let headers = header_map(&[("stripe-signature", &format!("t={text},v1={mac}"))]);
        let error = check(&presets::stripe(), &headers, b"{}", 1_700_000_000).unwrap_err();
        assert_eq!(error, Malformed, "{text:?}");
    }
}

static EMPTY: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);

#[test]
fn an_algorithm_is_never_chosen_by_the_message() {
    let sha1 = "sha1=3374ef144403e8035423b23b02e2c9d7a4c50368";
    let headers = header_map(&[("x-hub-signature-256", sha1)]);

    assert_eq!(check(&presets::github(), &headers, b"{}", 0).unwrap_err(), Malformed);
    let headers = header_map(&[("x-hub-signature", sha1)]);
    assert_eq!(check(&presets::github(), &headers, b"{}", 0).unwrap_err(), Missing);
    assert_eq!(check(&presets::jira(), &headers, b"{}", 0).unwrap_err(), Malformed);
}

#[test]
fn one_good_signature_of_a_list_is_enough_in_every_position() {
    let request = signed(presets::stripe(), "{}");
    let good = request.headers()["stripe-signature"].to_str().unwrap();
    let good = good.split_once("v1=").unwrap().1;
    let bad = "0".repeat(64);
    for list in [
        format!("t=1700000000,v1={good},v1={bad}"),
        format!("t=1700000000,v1={bad},v1={good}"),
        format!("v1={good},t=1700000000,v0={bad},x=1"),
        format!("t=1700000000,v1=zz,v1={}", good.to_uppercase()),
    ] {
        let headers = header_map(&[("stripe-signature", &list)]);
        let verified = check(&presets::stripe(), &headers, b"{}", 1_700_000_000);
        assert!(verified.is_ok(), "{list}: {verified:?}");
    }
    for (list, error) in [
        (format!("t=1700000000,v0={good}"), Malformed),
        (format!("t=1700000000,t=1700000000,v1={good}"), Malformed),
        (format!("v1={good}"), Malformed),
        (format!("t=1700000001,v1={good}"), Mismatch),
        (format!("t=1700000000,v1={bad}"), Mismatch),
        ("t=1700000000,v1=zz".to_owned(), Malformed),
        (String::new(), Malformed),
    ] {
        let headers = header_map(&[("stripe-signature", &list)]);
        let refused = check(&presets::stripe(), &headers, b"{}", 1_700_000_000);
        assert_eq!(refused.unwrap_err(), error, "{list}");
    }
}

#[test]
fn a_repeated_header_line_is_malformed() {
    for scheme in presets_with_shared_secret() {
        let request = signed(scheme.clone(), r#"{"webhookTimestamp":0}"#);
        let own = request.headers().iter().filter(|(name, _)| *name != "content-type");
        for (name, value) in own {
            let is_read = !["x-github-delivery", "x-gitlab-event-uuid"].contains(&name.as_str())
                && scheme.signatures.iter().any(|place| place.field == Field::header(name.clone()));
            if is_read {
                let mut headers = request.headers().clone();
                headers.append(name, value.clone());
                let error = check(&scheme, &headers, request.body(), 1_700_000_000).unwrap_err();
                assert_eq!(error, Malformed, "{} {name}", scheme.name());
            }
        }
    }
}

#[test]
fn bodies_are_bytes() {
    let mut request = Request::post("https://example.com/").body(Bytes::from_static(b"\xff\xfe\0"));
    let request = request.as_mut().unwrap();
    let signer = Signer::new(presets::github(), &secret()).unwrap();
    signer.sign(request, "1", at(0)).unwrap();

    assert!(check(&presets::github(), request.headers(), request.body(), 0).is_ok());
    assert_eq!(check(&presets::github(), request.headers(), b"", 0).unwrap_err(), Mismatch);
}

#[test]
fn a_secret_is_good_in_its_time_and_is_named() {
    let request = signed(presets::github(), "{}");
    let message = Message::new(request.headers(), request.body());
    let named = |secret: SigningSecret| secret.named("old").unwrap();
    let verify = |secrets: &[SigningSecret], now| {
        let verified = presets::github().verify(&message, secrets, at(now));
        verified.map(|verified| verified.secret().to_owned()).map_err(|error| error.kind())
    };
    let new = SigningSecret::raw("another secret, as long").unwrap().named("new").unwrap();
    let old = named(secret()).valid_from(at(100)).valid_until(at(200));

    assert_eq!(verify(&[new.clone(), old.clone()], 100).as_deref(), Ok("old"));
    assert_eq!(verify(&[old.clone(), new.clone()], 199).as_deref(), Ok("old"));
    assert_eq!(verify(&[new.clone(), old.clone()], 200), Err(Mismatch));
    assert_eq!(verify(&[new, old.clone()], 99), Err(Mismatch));
    assert_eq!(verify(&[old], 99), Err(NoSecret));
}

#[test]
fn secrets_that_cannot_be_meant_are_refused() {
    for error in [
        SigningSecret::raw("").err(),
        SigningSecret::raw("fifteen letters").err(),
        SigningSecret::raw("receiver-test-secret\n").err(),
        SigningSecret::insecure_short("").err(),
        SigningSecret::standard("whsec_!").err(),
        SigningSecret::standard("whsec_").err(),
        SigningSecret::hex("receiver-test-secret").err(),
        SigningSecret::base64("receiver test secret").err(),
        secret().named("Old Secret").err(),
    ] {
        assert!(error.is_some());
    }
    let debug = format!("{:?}", secret().named("a").unwrap());
    assert_eq!(debug, r#"SigningSecret { name: "a", .. }"#);
}

#[test]
fn the_prefix_of_a_secret_means_two_things() {
    let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let literal = SigningSecret::raw(text).unwrap();
    let decoded = SigningSecret::standard(text).unwrap();
    let mut request = Request::post("/").body(Bytes::from_static(b"{}")).unwrap();
    let signer = Signer::new(presets::stripe(), &literal).unwrap();
    signer.sign(&mut request, "", at(0)).unwrap();
    let message = Message::new(request.headers(), request.body());

    assert!(presets::stripe().verify(&message, &[literal], at(0)).is_ok());
    let error = presets::stripe().verify(&message, &[decoded], at(0)).unwrap_err();
    assert_eq!(error.kind(), Mismatch);
}

#[test]
fn a_signed_address_is_known_and_twilio_takes_either_port() {
    let request = signed(presets::twilio(), "");
    let verify = |url: Option<&str>| {
        let message = Message::new(request.headers(), b"");
        let message = url.map_or(message, |url| message.with_url(url));
        presets::twilio().verify(&message, &[secret()], at(0)).map(|verified| verified.covers())
    };

    assert_eq!(verify(None).unwrap_err().kind(), NoUrl);
    let covers = Coverage::from_iter([Covered::Url, Covered::Parameters]);
    assert_eq!(verify(Some("https://example.com/hook?a=1")), Ok(covers));
    assert_eq!(verify(Some("https://example.com:443/hook?a=1")), Ok(covers));
    assert_eq!(verify(Some("https://example.com:8443/hook?a=1")), Ok(covers));
    for url in [
        "https://example.org:444/hook?a=1",
        "https://example.com/hook",
        "http://example.com/hook?a=1",
    ] {
        assert_eq!(verify(Some(url)).unwrap_err().kind(), Mismatch, "{url}");
    }
}

#[test]
fn twilio_refuses_a_body_that_nothing_covers() {
    let request = signed(presets::twilio(), "");
    // The address is signed, and the body is another one: JSON without a digest in the query.
    let error = check(&presets::twilio(), request.headers(), b"{}", 0).unwrap_err();
    assert_eq!(error, Malformed);

    let request = signed(presets::twilio(), r#"{"a":1}"#);
    let url = request.uri().to_string();
    let verify = |body: &[u8]| {
        let message = Message::new(request.headers(), body).with_url(&url);
        presets::twilio().verify(&message, &[secret()], at(0)).map_err(|error| error.kind())
    };
    let covers = verify(request.body()).unwrap().covers();
    assert_eq!(covers, Coverage::from_iter([Covered::Body, Covered::Url]));
    assert_eq!(verify(br#"{"a":2}"#).unwrap_err(), Mismatch);
}

#[test]
fn the_delivery_says_what_is_signed() {
    let delivery =
        |scheme: Scheme, body, lines: &[(&'static str, &'static str)]| {
            let mut request = signed(scheme.clone(), body);
            request.headers_mut().extend(lines.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            }));
            let url = request.uri().to_string();
            let message = Message::new(request.headers(), request.body()).with_url(&url);
            let verified = scheme.verify(&message, &[secret()], at(1_700_000_000)).unwrap();
            let delivery = scheme.delivery(&message, &verified);
            let Delivery { id, is_id_signed, event, is_event_signed } = delivery;
            (id.unwrap_or_default(), is_id_signed, event.unwrap_or_default(), is_event_signed)
        };
    let of = |id: &str, is_id_signed, event: &str, is_event_signed| {
        (id.to_owned(), is_id_signed, event.to_owned(), is_event_signed)
    };

    let event = [("x-github-event", "push")];
    assert_eq!(delivery(presets::github(), "{}", &event), of("id-1", false, "push", false));
    let body = r#"{"id":"evt_1","type":"charge.succeeded"}"#;
    assert_eq!(delivery(presets::stripe(), body, &[]), of("evt_1", true, "charge.succeeded", true));
    assert_eq!(delivery(presets::svix(), body, &[]), of("id-1", true, "charge.succeeded", true));
    assert_eq!(delivery(presets::stripe(), "[1", &[]), of("", false, "", false));
    let body = r#"{"event-data":{"event":"opened"}}"#;
    assert_eq!(delivery(presets::mailgun(), body, &[]), of("id-1", true, "opened", false));
    let event = [("x-gitlab-event", "Push Hook")];
    assert_eq!(delivery(presets::gitlab(), "{}", &event), of("id-1", false, "Push Hook", false));
}

/// The answer to a fault of ours is a 5xx, which no sender may bring about.
#[cfg(feature = "ed25519")]
#[test]
fn a_version_that_no_secret_fits_is_a_bad_signature() {
    let lines =
        [("webhook-id", "1"), ("webhook-timestamp", "0"), ("webhook-signature", "v1a,AAAA")];
    let refused = check(&presets::standard_webhooks(), &header_map(&lines), b"{}", 0);
    assert_eq!(refused.unwrap_err(), Mismatch);
}

#[test]
fn an_empty_id_that_is_signed_is_malformed() {
    let mut request = Request::post("/").body(Bytes::from_static(b"{}")).unwrap();
    let signer = Signer::new(presets::svix(), &secret()).unwrap();
    signer.sign(&mut request, "", at(0)).unwrap();
    assert_eq!(check(&presets::svix(), request.headers(), b"{}", 0).unwrap_err(), Malformed);
}

#[test]
fn a_large_body_keeps_its_id() {
    let values = vec!["1"; 30_000].join(",");
    let body = format!(r#"{{"values":[{values}],"id":"evt_1"}}"#);
    let mut request = Request::post("/").body(Bytes::from(body)).unwrap();
    let signer = Signer::new(presets::stripe(), &secret()).unwrap();
    signer.sign(&mut request, "", at(0)).unwrap();
    let message = Message::new(request.headers(), request.body());
    let verified = presets::stripe().verify(&message, &[secret()], at(0)).unwrap();
    assert_eq!(presets::stripe().delivery(&message, &verified).id.as_deref(), Some("evt_1"));
}

#[test]
fn docusign_takes_one_of_several_headers() {
    let request = signed(presets::docusign(), "{}");
    let good = request.headers()["x-docusign-signature-1"].to_str().unwrap();
    let other = Encoding::Base64.encode(&[0; 32]);
    let lines = [("x-docusign-signature-1", &*other), ("x-docusign-signature-12", good)];

    assert!(check(&presets::docusign(), &header_map(&lines), b"{}", 0).is_ok());
    let lines = [("x-docusign-signature-a", good), ("x-docusign-signature-", good)];
    assert_eq!(check(&presets::docusign(), &header_map(&lines), b"{}", 0).unwrap_err(), Missing);
}

#[test]
fn a_scheme_that_could_accept_nothing_is_refused() {
    let signature = Field::header(HeaderName::from_static("x"));
    let scheme = Scheme::new("x", signature, Algorithm::HmacSha256, Encoding::Hex);

    assert!(scheme.check().is_ok());
    assert!(scheme.clone().with_signed([Part::Timestamp]).check().is_err());
    assert!(scheme.clone().with_signed([Part::Id]).check().is_err());
    assert!(scheme.with_tolerance(std::time::Duration::ZERO).check().is_err());
    for scheme in presets_with_shared_secret() {
        assert!(scheme.check().is_ok(), "{}", scheme.name());
    }
}

proptest! {
    #[test]
    fn only_the_very_message_is_good(
        body: Vec<u8>,
        other: Vec<u8>,
        id in "[!-~]{1,40}",
        late in -1000_i64..1000,
    ) {
        for scheme in [presets::github(), presets::stripe(), presets::svix(), presets::slack()] {
            let mut request = Request::post("/").body(Bytes::from(body.clone())).unwrap();
            let signer = Signer::new(scheme.clone(), &secret()).unwrap();
            signer.sign(&mut request, &id, at(1_700_000_000)).unwrap();
            let result = check(&scheme, request.headers(), &other, 1_700_000_000 + late);
            let is_fresh = scheme.tolerance().is_none() || late.abs() <= 300;
            prop_assert_eq!(result.is_ok(), body == other && is_fresh);
        }
    }

    #[test]
    fn no_header_and_no_body_panics(lines in prop::collection::vec((0_usize..9, "[ -~]{0,60}"), 0..9), body: Vec<u8>) {
        const NAMES: [&str; 9] = [
            "stripe-signature", "webhook-id", "webhook-timestamp", "webhook-signature",
            "x-hub-signature-256", "paddle-signature", "x-docusign-signature-1", "content-type",
            "x-twilio-signature",
        ];
        let lines = lines.iter().map(|(name, value)| (NAMES[*name], value.as_str()));
        let lines = lines.collect::<Vec<_>>();
        let headers = header_map(&lines);
        for scheme in presets_with_shared_secret() {
            prop_assert!(check(&scheme, &headers, &body, 0).is_err());
        }
    }
}

#[test]
fn a_time_far_away_does_not_overflow() {
    let request = signed(presets::stripe(), "{}");
    let message = Message::new(request.headers(), request.body());
    for now in [OffsetDateTime::UNIX_EPOCH - Duration::days(700_000), at(253_402_300_799)] {
        let error = presets::stripe().verify(&message, &[secret()], now).unwrap_err();
        assert_eq!(error.kind(), Stale);
    }
}
