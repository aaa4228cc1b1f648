//! A key among the protocols that are offered for a WebSocket.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{Credentials, Placement, PlacementKind, Secret};
use tower_webhook::identity::Identity;
use tower_webhook::key::{KeyId, NewKey, TokenFormat};

use crate::support::{Keys, Recorder, owner};

const FIELD: &str = "sec-websocket-protocol";

fn handshake(lines: &[&str]) -> Request<Full<Bytes>> {
    let mut request =
        Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    for line in lines {
        request = request.header("Sec-WebSocket-Protocol", *line);
    }
    request.body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_key_is_read_beside_a_protocol_and_taken_out() {
    let keys = Keys::new().await;
    let layer = AuthLayer::token(&keys.manager, [Placement::websocket_protocol()]).unwrap();
    let key = format!("key.{}", keys.text);
    let cases: [(&[&str], u16, &[&str]); 16] = [
        (&["chat, KEY"], 200, &["chat"]),
        (&["KEY,chat"], 200, &["chat"]),
        (&["a, KEY , b"], 200, &["a, b"]),
        (&["a;x,b", "KEY", "c ,d"], 200, &["a;x,b", "c ,d"]),
        (&["KEY, v2", "v1"], 200, &["v2", "v1"]),
        (&["key., chat, KEY"], 200, &["chat"]),
        (&["chat"], 401, &[]),
        (&[], 401, &[]),
        (&["key., chat"], 401, &[]),
        (&["chat, key.junk"], 401, &[]),
        (&["chat, Key.junk"], 401, &[]),
        // Only the key.
        (&["KEY"], 400, &[]),
        (&["key.junk"], 400, &[]),
        (&[" , KEY,, "], 400, &[]),
        // Two keys.
        (&["chat, KEY, KEY"], 400, &[]),
        (&["chat, KEY", "key.other"], 400, &[]),
    ];
    for (lines, expected, kept) in cases {
        let inner = Recorder::default();
        let lines: Vec<String> = lines.iter().map(|line| line.replace("KEY", &key)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let response = layer.layer(inner.clone()).oneshot(handshake(&lines)).await.unwrap();

        assert_eq!(response.status(), expected, "{lines:?}");
        assert!(!response.headers().contains_key(FIELD));
        let has_challenge = response.headers().contains_key("www-authenticate");
        assert_eq!(has_challenge, expected == 401, "{lines:?}");
        let seen = inner.take();
        assert_eq!(seen.len(), usize::from(expected == 200), "{lines:?}");
        for request in seen {
            let left: Vec<_> = request.headers().get_all(FIELD).iter().collect();
            assert_eq!(left, kept, "{lines:?}");
            let identity = Identity::of(request.extensions()).unwrap().unwrap();
            assert_eq!(identity.placement(), Some(PlacementKind::WebSocketProtocol));
        }
    }
}

#[tokio::test]
async fn equal_keys_offered_alone_are_a_key_offered_alone() {
    let keys = Keys::new().await;
    let list = Credentials::new([Placement::websocket_protocol()]).unwrap();
    let layer = AuthLayer::token(&keys.manager, list.with_insecure_equal_copies()).unwrap();
    let key = format!("key.{}", keys.text);
    for (lines, expected) in [
        (vec![format!("chat, {key}, {key}")], 200),
        (vec![format!("{key}, {key}")], 400),
        (vec![key.clone(), key.clone()], 400),
        (vec![format!("chat, {key}, key.other")], 400),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let service = layer.layer(Recorder::default());
        let response = service.oneshot(handshake(&lines)).await.unwrap();
        assert_eq!(response.status(), expected, "{lines:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_no_token_comes_in_base64url() {
    let keys = Keys::new().await;
    let id = KeyId::new("hook").unwrap();
    let policy = Policy::token().with_key(id.clone());
    let manager = keys.manager.with_format(TokenFormat);
    for (index, text) in
        ["two words", "a,b", "p\u{e4}ss", "a/b=c?", "token-1.2~3"].iter().enumerate()
    {
        let _ = manager.delete(&owner("alice"), std::slice::from_ref(&id)).await;
        let new = NewKey::new(format!("{index}")).with_id(id.clone());
        manager.import(&owner("alice"), Secret::new(*text), new).await.unwrap();
        let layer = AuthLayer::new(policy.clone())
            .unwrap()
            .with_keys(&manager, [Placement::websocket_protocol()])
            .unwrap();
        let encoded = URL_SAFE_NO_PAD.encode(text);
        let is_token = text.starts_with("token");
        let as_it_is = format!("chat, key.{}", if is_token { text } else { "-" });
        for (sent, expected) in [
            (as_it_is, is_token),
            (format!("chat, key.{encoded}"), !is_token),
            (format!("chat, key.{encoded}x"), false),
        ] {
            let service = layer.layer(Recorder::default());
            let response = service.oneshot(handshake(&[&sent])).await.unwrap();
            assert_eq!(response.status() == StatusCode::OK, expected, "{sent}");
        }
    }
}

#[tokio::test]
async fn a_key_offered_to_a_public_route_is_taken_out() {
    let keys = Keys::new().await;
    let layer = AuthLayer::public().with_removed([Placement::websocket_protocol()]).unwrap();
    for (sent, kept) in [("KEY", None), ("KEY, chat", Some("chat")), ("chat", Some("chat"))] {
        let inner = Recorder::default();
        let sent = sent.replace("KEY", &format!("key.{}", keys.text));
        let response = layer.layer(inner.clone()).oneshot(handshake(&[&sent])).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let seen = inner.take();
        let left = seen[0].headers().get(FIELD).map(|value| value.to_str().unwrap());
        assert_eq!(left, kept);
    }
}
