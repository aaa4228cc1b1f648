//! A pepper that is another one than that of the stored keys.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyHasher, KeyManager, ManageErrorKind, NewKey, Pepper};

use crate::support::{Recorder, TestStore, owner};

const BYTES: &[u8] = b"0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn other_bytes_of_a_pepper_are_a_fault_of_ours() {
    let store = TestStore::default();
    let keys = |bytes: &[u8]| {
        let pepper = Pepper::new("hooks-2026", bytes).unwrap();
        KeyManager::new(store.clone()).with_hasher(KeyHasher::peppered(pepper))
    };
    let good = keys(BYTES);
    let issued = good.generate(&owner("alice"), NewKey::new("n")).await.unwrap();
    let key = issued.secret().expose_secret();
    let other = [BYTES, b"1"].concat();
    let bad = keys(&other);
    bad.check()
        .await
        .map_err(|error| assert_eq!(error.kind(), ManageErrorKind::WrongPepper))
        .unwrap_err();
    good.check().await.unwrap();

    #[cfg(feature = "tracing")]
    let logs = crate::support::Logs::default();
    #[cfg(feature = "tracing")]
    let guard = logs.capture();
    for (manager, sent, expected) in [
        (&good, key, StatusCode::OK),
        (&bad, key, StatusCode::SERVICE_UNAVAILABLE),
        (&bad, "junk", StatusCode::UNAUTHORIZED),
    ] {
        let placements = [Placement::header("x-api-key").unwrap()];
        let layer = AuthLayer::token(manager, placements).unwrap();
        let request = Request::post("/").header("x-api-key", sent).body(Full::<Bytes>::default());
        let response = layer.layer(Recorder::default()).oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), expected, "{sent}");
        let has_challenge = response.headers().contains_key("www-authenticate");
        assert_eq!(has_challenge, expected == StatusCode::UNAUTHORIZED);
    }
    #[cfg(feature = "tracing")]
    {
        drop(guard);
        let logged = logs.text();
        assert!(logged.contains("other bytes of the pepper `hooks-2026`"), "{logged}");
        assert!(!logged.contains(key) && !logged.contains("0123456789abcdef"), "{logged}");
    }
}

#[test]
fn a_pepper_of_a_file_has_no_line_end() {
    for text in [[BYTES, b"\n"].concat(), [BYTES, b"\r\n"].concat(), [b" ", BYTES].concat()] {
        let error = Pepper::new("p", &text).unwrap_err();
        assert!(error.to_string().contains("white space at its ends"), "{error}");
    }
}
