//! Handshakes that need no server, each against an answer of the provider's page.

use http::Method;

use super::*;

fn answer(
    handshake: &Handshake,
    method: &Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<(u16, String)> {
    let headers = header_map(headers);
    let message = Message::new(&headers, body.as_bytes()).with_method(method).with_url(url);
    let response = handshake.answer(&message, None, &[secret()])?;
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    Some((response.status().as_u16(), body))
}

#[test]
fn x_is_answered_with_the_hmac_of_the_token() {
    let url = "https://example.com/?crc_token=challenge_string&nonce=1";
    let said = answer(&handshakes::x(), &Method::GET, url, &[], "");
    // Computed with Python's hmac.
    let expected = r#"{"response_token":"sha256=6ugMiwvH/L6h3XxHIPmVuF86jqKhcY99FySCqp7T008="}"#;
    assert_eq!(said, Some((200, expected.to_owned())));
    // The signature of an event is the HMAC of its body.
    let oracle = "https://example.com/?crc_token=%7B%22a%22%3A1%7D";
    assert_eq!(answer(&handshakes::x(), &Method::GET, oracle, &[], ""), Some((400, String::new())));
    assert_eq!(answer(&handshakes::x(), &Method::POST, url, &[], ""), None);
}

#[test]
fn zoom_is_answered_with_token_and_hmac() {
    let body = |token: &str| {
        format!(r#"{{"event":"endpoint.url_validation","payload":{{"plainToken":"{token}"}}}}"#)
    };
    let said = answer(&handshakes::zoom(), &Method::POST, "", &[], &body("qgg8vlvZRS6UYooatFL8Aw"));
    // Computed with Python's hmac.
    let mac = "62550bc2278048a4c659c02c821fed3afc12dcfef6dd1b0454158d8519a19e76";
    let expected = format!(r#"{{"encryptedToken":"{mac}","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#);
    assert_eq!(said, Some((200, expected)));
    for token in ["v0:1700000000:{}", "a b", "", &"a".repeat(129)] {
        let said = answer(&handshakes::zoom(), &Method::POST, "", &[], &body(token));
        assert_eq!(said, Some((400, String::new())), "{token}");
    }
}

#[test]
fn graph_is_answered_with_the_decoded_token() {
    let url = "https://example.com/?validationToken=Validation%3A+Testing+client%20id";
    let said = answer(&handshakes::microsoft_graph(), &Method::POST, url, &[], "");
    assert_eq!(said, Some((200, "Validation: Testing client id".to_owned())));
    let script = "https://example.com/?validationToken=%3Cscript%3E";
    let said = answer(&handshakes::microsoft_graph(), &Method::POST, script, &[], "");
    assert_eq!(said, Some((400, String::new())));
    let plain =
        answer(&handshakes::microsoft_graph(), &Method::POST, "https://example.com/", &[], "");
    assert_eq!(plain, None);
}

#[test]
fn cloud_events_are_allowed_from_one_origin() {
    let handshake = handshakes::cloud_events("eventemitter.example.com");
    let headers = header_map(&[("webhook-request-origin", "eventemitter.example.com")]);
    let message = Message::new(&headers, b"").with_method(&Method::OPTIONS);
    let response = handshake.answer(&message, None, &[]).unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["webhook-allowed-origin"], "eventemitter.example.com");
    assert_eq!(response.headers()["webhook-allowed-rate"], "*");
    assert_eq!(response.headers()["allow"], "POST");
    let other = [("webhook-request-origin", "evil.example.com")];
    assert_eq!(answer(&handshake, &Method::OPTIONS, "", &other, ""), None);
}

#[test]
fn signed_handshakes_wait_for_a_good_signature() {
    let verified = {
        let request = signed(presets::github(), "{}");
        check(&presets::github(), request.headers(), b"{}", 0).unwrap()
    };
    let twitch = [("twitch-eventsub-message-type", "webhook_callback_verification")];
    let cases = [
        (handshakes::slack(), &[][..], r#"{"type":"url_verification","challenge":"abc"}"#, "abc"),
        (
            handshakes::twitch(),
            &twitch,
            r#"{"challenge":"pogchamp-kappa-360noscope-vohiyo"}"#,
            "pogchamp-kappa-360noscope-vohiyo",
        ),
        (handshakes::discord(), &[], r#"{"type":1,"id":"1"}"#, r#"{"type":1}"#),
        (handshakes::discord_events(), &[], r#"{"type":0}"#, ""),
    ];
    for (handshake, headers, body, expected) in cases {
        let headers = header_map(headers);
        let message = Message::new(&headers, body.as_bytes());
        assert!(handshake.answer(&message, None, &[]).is_none(), "{body}");
        let response = handshake.answer(&message, Some(&verified), &[]).unwrap();
        assert_eq!(response.body(), expected);
        let status = if expected.is_empty() { 204 } else { 200 };
        assert_eq!(response.status(), status);
    }
    // An event of Discord has the same type as a ping of interactions.
    let event = br#"{"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}"#;
    let message = Message::new(&EMPTY, event);
    assert!(handshakes::discord().answer(&message, Some(&verified), &[]).is_none());
}
