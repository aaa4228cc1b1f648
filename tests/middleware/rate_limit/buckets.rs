//! Which buckets a call is counted in, and with which quotas.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_webhook::key::{KeyManager, KeyUpdate, NewKey};
use tower_webhook::rate_limit::{Quota, RateLimits};

use super::{KINDS, Spy, call, layer, limited, one, post, status};
use crate::support::{Keys, owner};

async fn generate(manager: &KeyManager, new: NewKey) -> (tower_webhook::key::KeyId, String) {
    let issued = manager.generate(&owner("alice"), new.with_all_scopes()).await.unwrap();
    (issued.record().id().clone(), issued.secret().expose_secret().to_owned())
}

#[tokio::test(start_paused = true)]
async fn two_keys_of_one_owner_are_apart() {
    let keys = Keys::new().await;
    let (_, other) = generate(&keys.manager, NewKey::new("other")).await;
    let spy = Spy::default();
    let auth = limited(&keys, &spy);
    for expected in [200, 200, 200, 200, 200, 429] {
        assert_eq!(status(&auth, post("/deploy", &keys.text)).await, expected);
        assert_eq!(status(&auth, post("/deploy", &other)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_keeps_its_bucket() {
    let keys = Keys::new().await;
    let spy = Spy::default();
    let auth = limited(&keys, &spy);
    for _ in 0..3 {
        assert_eq!(status(&auth, post("/deploy", &keys.text)).await, 200);
    }
    let overlap = time::Duration::hours(1);
    let rotated = keys.manager.rotate(&owner("alice"), &keys.id, overlap).await.unwrap();
    let new = rotated.secret().expose_secret();
    for (key, expected) in [(new, 200), (&keys.text, 200), (new, 429), (&keys.text, 429)] {
        assert_eq!(status(&auth, post("/deploy", key)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_record_counts_more_than_the_default() {
    let keys = Keys::new().await;
    for kind in KINDS {
        let (id, text) = generate(&keys.manager, NewKey::new("slow").with_rate_limit(one())).await;
        let auth = limited(&keys, &Spy::default());
        for expected in [200, 429] {
            assert_eq!(call(kind, &auth, post("/deploy", &text)).await.status(), expected);
        }
        // Another quota holds from the next call on, and the calls before count.
        let two = Quota::per_minute(2).unwrap();
        let update = KeyUpdate::new().with_rate_limit(Some(two));
        let record = keys.manager.update(&owner("alice"), &id, update).await.unwrap();
        assert_eq!(record.rate_limit(), Some(two));
        assert_eq!(call(kind, &auth, post("/deploy", &text)).await.status(), 429);
        let update = KeyUpdate::new().with_rate_limit(None);
        keys.manager.update(&owner("alice"), &id, update).await.unwrap();
        assert_eq!(call(kind, &auth, post("/deploy", &text)).await.status(), 429);

        // Without a default, only the record limits.
        let auth = layer(&keys).with_rate_limits(RateLimits::new(Spy::default())).unwrap();
        for _ in 0..10 {
            assert_eq!(call(kind, &auth, post("/deploy", &keys.text)).await.status(), 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn key_and_policy_both_have_to_allow_a_call() {
    let keys = Keys::new().await;
    for kind in KINDS {
        let spy = Spy::default();
        let auth = limited(&keys, &spy);
        let ask = async |path| call(kind, &auth, post(path, &keys.text)).await.status().as_u16();
        assert_eq!(ask("/once").await, 200, "{kind:?}");
        let id = &keys.id;
        assert_eq!(spy.take(), [format!("key:{id} key:{id}\nonce")], "{kind:?}");
        // Refused by the policy, and not counted for the key.
        for _ in 0..10 {
            assert_eq!(ask("/once").await, 429, "{kind:?}");
        }
        for expected in [200, 200, 200, 200, 429] {
            assert_eq!(ask("/deploy").await, expected, "{kind:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_has_the_bucket_of_the_owner_and_both_that_of_the_key() {
    let keys = Keys::new().await;
    let (id, slow) = generate(&keys.manager, NewKey::new("slow").with_rate_limit(one())).await;
    for kind in KINDS {
        let spy = Spy::default();
        let auth = limited(&keys, &spy);
        let ask = async |path: &str, key: Option<&str>, cookie: bool| {
            let mut request = Request::post(path);
            if let Some(key) = key {
                request = request.header("x-api-key", key);
            }
            if cookie {
                request = request.header("cookie", "session=sesame");
            }
            let request = request.body(Full::<Bytes>::default()).unwrap();
            call(kind, &auth, request).await.status().as_u16()
        };
        for expected in [200, 200, 200, 200, 200, 429] {
            assert_eq!(ask("/user", None, true).await, expected, "{kind:?}");
        }
        assert_eq!(spy.take(), ["user:alice"; 6], "{kind:?}");
        assert_eq!(ask("/any", None, true).await, 429, "{kind:?}");
        assert_eq!(ask("/any", Some(&keys.text), false).await, 200, "{kind:?}");
        assert_eq!(spy.take(), ["user:alice".to_owned(), format!("key:{}", keys.id)]);
        for expected in [200, 429] {
            assert_eq!(ask("/both", Some(&slow), true).await, expected, "{kind:?}");
        }
        assert_eq!(spy.take(), vec![format!("key:{id}"); 2], "{kind:?}");
    }
}
