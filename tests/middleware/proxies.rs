//! Fields that a proxy repeats, or joins with commas.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{Credentials, Placement, Secret};
use tower_webhook::key::{KeyId, KeyManager, NewKey, OpaqueFormat, TokenFormat};

use crate::support::{Keys, Recorder, TestStore, owner};

const NAME: &str = "x-hook-key";

fn list() -> Credentials {
    Credentials::new([Placement::header(NAME).unwrap(), Placement::bearer()]).unwrap()
}

async fn status(layer: &AuthLayer, fields: &[(&str, &str)]) -> u16 {
    let inner = Recorder::default();
    let mut request = Request::post("/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let seen = inner.take();
    assert_eq!(seen.len(), usize::from(status == 200));
    assert!(seen.iter().all(|request| request.headers().is_empty()));
    status
}

/// What is sent, and the answers: by default, where equal copies are one, and where values are not split.
type Case<'a> = (&'a [(&'a str, &'a str)], [u16; 3]);

async fn check(layer: impl Fn(Credentials) -> AuthLayer, store: &TestStore, cases: &[Case<'_>]) {
    let lists =
        [list(), list().with_insecure_equal_copies(), list().with_insecure_unsplit_values()];
    for (list, setting) in lists.into_iter().zip(0..) {
        let layer = layer(list);
        for (fields, expected) in cases {
            let expected = expected[setting];
            store.take_finds();
            assert_eq!(status(&layer, fields).await, expected, "{setting} {fields:?}");
            if expected == 400 {
                assert_eq!(store.take_finds(), 0, "{setting} {fields:?}");
            }
        }
    }
}

#[tokio::test]
async fn joined_keys_are_as_many_as_repeated_ones() {
    let keys = Keys::new().await;
    let other = keys.manager.generate(&owner("alice"), NewKey::new("other")).await.unwrap();
    let (k, j) = (keys.text.as_str(), other.secret().expose_secret());
    let key = |character: char| match character {
        'K' => k.to_owned(),
        'J' => j.to_owned(),
        other => other.into(),
    };
    let text = |text: &str| text.chars().map(key).collect::<String>();
    // `K` and `J` are keys. Neither is in the other texts.
    let values = [
        ("K", [200, 200, 200]),
        ("K,K", [400, 200, 401]),
        ("K, K", [400, 200, 401]),
        ("K ,\tK,K", [400, 200, 401]),
        ("K, ,K,", [400, 200, 401]),
        ("K, J", [400, 400, 401]),
        ("K, K, J", [400, 400, 401]),
        ("K,", [401, 401, 401]),
        (",K", [401, 401, 401]),
        ("K, x", [401, 401, 401]),
        ("x, x", [401, 401, 401]),
        (",", [401, 401, 401]),
    ];
    let many = vec![k; 100].join(",");
    let mixed = format!("{}, {j}", vec![k; 100].join(","));
    let layer = |list| AuthLayer::token(&keys.manager, list).unwrap();
    for (value, expected) in values {
        check(layer, &keys.store, &[(&[(NAME, &text(value))], expected)]).await;
    }
    check(
        layer,
        &keys.store,
        &[
            (&[(NAME, &many)], [400, 200, 401]),
            (&[(NAME, &mixed)], [400, 400, 401]),
            (&[(NAME, k), (NAME, k)], [400, 200, 400]),
            (&[(NAME, k), (NAME, k), (NAME, k)], [400, 200, 400]),
            (&[(NAME, k), (NAME, k), (NAME, j)], [400, 400, 400]),
            (&[(NAME, k), (NAME, j)], [400, 400, 400]),
            (&[(NAME, k), ("authorization", &format!("Bearer {k}"))], [400, 400, 400]),
        ],
    )
    .await;
}

#[tokio::test]
async fn joined_schemes_are_as_many_as_repeated_ones() {
    let keys = Keys::new().await;
    let k = keys.text.as_str();
    let name = "authorization";
    let layer = |list| AuthLayer::token(&keys.manager, list).unwrap();
    for (value, expected) in [
        ("Bearer K", [200, 200, 200]),
        ("Bearer K, Bearer K", [400, 200, 401]),
        ("Bearer K,bearer  K", [400, 200, 401]),
        ("Bearer K, Bearer J", [400, 400, 401]),
        ("Basic eDp5, Bearer K", [400, 400, 401]),
        ("Bearer K, Basic eDp5", [400, 400, 401]),
        ("Bearer K, K", [400, 200, 401]),
        ("Bearer K, x", [401, 401, 401]),
        ("Digest a=\"b\", Bearer K", [401, 401, 401]),
    ] {
        let value = value.replace('K', k);
        check(layer, &keys.store, &[(&[(name, &value)], expected)]).await;
    }
    let good = format!("Bearer {k}");
    check(
        layer,
        &keys.store,
        &[
            (&[(name, &good), (name, &good)], [400, 200, 400]),
            (&[(name, &good), (name, "Basic eDp5")], [400, 400, 400]),
            (&[(name, "Basic eDp5"), (name, "Basic eDp5")], [400, 401, 400]),
        ],
    )
    .await;
}

#[tokio::test]
async fn joined_copies_are_several_outside_of_headers_too() {
    let keys = Keys::new().await;
    let k = keys.text.as_str();
    let list = || {
        let path = Placement::path("/hook/{key}").unwrap();
        Credentials::new([Placement::query("key").unwrap(), path]).unwrap()
    };
    let lists =
        [list(), list().with_insecure_equal_copies(), list().with_insecure_unsplit_values()];
    for (list, setting) in lists.into_iter().zip(0..) {
        let layer = AuthLayer::token(&keys.manager, list).unwrap();
        for (target, expected) in [
            ("/?key=K", [200, 200, 200]),
            ("/?key=K,K", [400, 200, 401]),
            ("/?key=K%2CK", [400, 200, 401]),
            ("/?key=K,+K", [400, 200, 401]),
            ("/?key=K,x", [401, 401, 401]),
            ("/hook/K,K", [400, 200, 401]),
        ] {
            let request = Request::post(target.replace('K', k)).body(Full::<Bytes>::default());
            let response = layer.layer(Recorder::default()).oneshot(request.unwrap()).await;
            let status = response.unwrap().status().as_u16();
            assert_eq!(status, expected[setting], "{setting} {target}");
        }
    }
}

#[tokio::test]
async fn a_key_with_commas_is_one_key() {
    for text in ["a,b", "one,two,three", "x,x,y"] {
        let store = TestStore::default();
        let opaque = KeyManager::new(store.clone()).with_format(OpaqueFormat::new());
        opaque.import(&owner("a"), Secret::new(text), NewKey::new("n")).await.unwrap();
        let layer = |list| AuthLayer::token(&opaque, list).unwrap();
        check(
            layer,
            &store,
            &[
                (&[(NAME, text)], [200, 200, 200]),
                (&[(NAME, &format!("{text},z"))], [401, 401, 401]),
                // Blanks make it no key of this format, and each part is one.
                (&[(NAME, &text.replace(',', ", "))], [400, 400, 401]),
                (&[(NAME, "z,z")], [400, 401, 401]),
            ],
        )
        .await;

        let store = TestStore::default();
        let tokens = KeyManager::new(store.clone()).with_format(TokenFormat);
        let id = KeyId::new("hook").unwrap();
        let new = NewKey::new("n").with_id(id.clone());
        tokens.import(&owner("a"), Secret::new(text), new).await.unwrap();
        let policy = Policy::token().with_key(id);
        let layer = |list| {
            AuthLayer::new(policy.clone()).unwrap().with_keys(tokens.verifier(), list).unwrap()
        };
        check(
            layer,
            &store,
            &[
                (&[(NAME, text)], [200, 200, 200]),
                (&[(NAME, &text.replace(',', ", "))], [401, 401, 401]),
                (&[(NAME, &format!("{text}, z"))], [401, 401, 401]),
                (&[(NAME, "z, z")], [400, 401, 401]),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn equal_tokens_that_are_joined_are_one_token() {
    let store = TestStore::default();
    let tokens = KeyManager::new(store.clone()).with_format(TokenFormat);
    let id = KeyId::new("hook").unwrap();
    let new = NewKey::new("n").with_id(id.clone());
    tokens.import(&owner("a"), Secret::new("s3cret"), new).await.unwrap();
    let policy = Policy::token().with_key(id);
    let layer = |conceal: bool| {
        let policy = policy.clone();
        move |list| {
            let layer = AuthLayer::new(policy.clone()).unwrap();
            let layer = layer.with_keys(tokens.verifier(), list).unwrap();
            if conceal { layer.with_uniform_unauthorized() } else { layer }
        }
    };
    let open = layer.clone()(false);
    let cases: [Case<'_>; 2] = [
        (&[(NAME, "s3cret, s3cret")], [400, 200, 401]),
        (&[(NAME, "s3cret"), (NAME, "s3cret")], [400, 200, 400]),
    ];
    check(open, &store, &cases).await;
    for (list, expected) in [(list(), 401), (list().with_insecure_equal_copies(), 200)] {
        let concealing = layer.clone()(true)(list);
        assert_eq!(status(&concealing, &[(NAME, "s3cret, s3cret")]).await, expected);
    }
}

#[tokio::test]
async fn a_part_may_have_the_scheme_of_a_secret_token() {
    let keys = Keys::new().await;
    let k = keys.text.as_str();
    for (place, prefix) in
        [(Placement::header(NAME).unwrap(), ""), (Placement::bearer(), "Bearer ")]
    {
        let name = if prefix.is_empty() { NAME } else { "authorization" };
        let list = Credentials::new([place.with_secret_token_uri()]).unwrap();
        let merging = list.clone().with_insecure_equal_copies();
        for (list, expected) in [(list, 400), (merging, 200)] {
            let layer = AuthLayer::token(&keys.manager, list).unwrap();
            for value in [
                format!("{prefix}secret-token:{k}, {prefix}secret-token:{k}"),
                format!("{prefix}secret-token:{k},{prefix}{k}"),
            ] {
                assert_eq!(status(&layer, &[(name, &value)]).await, expected, "{value}");
            }
        }
    }
}

#[tokio::test]
async fn the_case_of_a_scheme_is_no_difference() {
    let keys = Keys::new().await;
    let k = keys.text.as_str();
    // A copy is one for the placement that reads it, and for the other.
    for placements in
        [[Placement::basic(), Placement::bearer()], [Placement::bearer(), Placement::basic()]]
    {
        let list = Credentials::new(placements).unwrap().with_insecure_equal_copies();
        let layer = AuthLayer::token(&keys.manager, list).unwrap();
        let bearer = |scheme: &str, k: &str| format!("{scheme} {k}");
        for (first, second, expected) in [
            (bearer("Bearer", k), bearer("bearer", k), 200),
            (bearer("Bearer", k), bearer("BEARER ", k), 200),
            (bearer("Bearer", k), bearer("bearer", &k.to_uppercase()), 400),
            (bearer("Bearer", k), bearer("Token", k), 400),
        ] {
            let lines = [("authorization", &*first), ("authorization", &*second)];
            assert_eq!(status(&layer, &lines).await, expected, "{second}");
        }
    }
}

#[tokio::test]
async fn joined_keys_are_several_where_one_is_asked_for() {
    let keys = Keys::new().await;
    let other = keys.manager.generate(&owner("alice"), NewKey::new("other")).await.unwrap();
    let (k, j) = (keys.text.as_str(), other.secret().expose_secret());
    let layer = |list| {
        let policy = Policy::token().with_key(keys.id.clone());
        AuthLayer::new(policy).unwrap().with_keys(&keys.manager, list).unwrap()
    };
    for (value, expected) in [
        (k.to_owned(), [200, 200, 200]),
        (j.to_owned(), [401, 401, 401]),
        (format!("{k}, {k}"), [400, 200, 401]),
        (format!("{j}, {j}"), [400, 401, 401]),
        (format!("{k}, {j}"), [400, 400, 401]),
        (format!("{j}, {k}"), [400, 400, 401]),
    ] {
        check(layer, &keys.store, &[(&[(NAME, &value)], expected)]).await;
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn the_log_says_that_copies_were_equal() {
    let keys = Keys::new().await;
    let k = keys.text.as_str();
    let layer = AuthLayer::token(&keys.manager, list()).unwrap();
    let joined = format!("{k}, {k}");
    let bearer = format!("Bearer {k}, Bearer {k}");
    let cases: [(&[(&str, &str)], bool); 5] = [
        (&[(NAME, k), (NAME, k)], true),
        (&[(NAME, &joined)], true),
        (&[("authorization", &bearer)], true),
        (&[(NAME, k), (NAME, "x")], false),
        (&[(NAME, "x"), (NAME, k)], false),
    ];
    for (fields, are_copies) in cases {
        let logs = crate::support::Logs::default();
        {
            let _guard = logs.capture();
            assert_eq!(status(&layer, fields).await, 400);
        }
        let logged = logs.text();
        assert!(logged.contains("ambiguous") && !logged.contains(k), "{logged}");
        assert_eq!(logged.contains("equal copies"), are_copies, "{logged}");
    }
}
