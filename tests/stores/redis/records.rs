//! What every store does, and what this one keeps where.

use tower_webhook::key::KeyStore;
use tower_webhook::store::RedisKeyStore;

use super::support::{conflict, done, fresh, id, owner, record, record_of};
use crate::shared::records;
use crate::shared::scan::a_scan_visits_the_keys_of_all_owners;

#[tokio::test]
async fn a_record_moves_to_another_owner_and_place() {
    let (_server, store) = fresh().await;
    records::a_record_moves_in_the_lists(&store).await;
}

#[tokio::test]
async fn records_are_listed_by_time_to_the_nanosecond_and_then_by_id() {
    let (_server, store) = fresh().await;
    records::are_listed_by_time_to_the_nanosecond_and_then_by_id(&store).await;
}

#[tokio::test]
async fn ids_and_owners_may_have_odd_characters() {
    let (server, store) = fresh().await;
    let long = "z".repeat(64);
    let ids = ["a:b", ":", "..", "a.b-c_d", "sentinel", "-", "_", long.as_str()];
    let wide = "é".repeat(127);
    let owners = [
        "{other}",
        "a*",
        "ann lee",
        "a}:record:x",
        "[x]",
        "\\",
        "\u{2028}",
        "'\"",
        wide.as_str(),
        "sentinel",
        "%00",
        "1 2\u{a0}3",
    ];
    for (index, name) in owners.iter().enumerate() {
        for text in ids {
            let text = format!("{index}{text}");
            let text = &text[..text.len().min(64)];
            done(store.insert(record_of(name, text, 0)).await);
            assert_eq!(store.find(&id(text)).await.unwrap().unwrap().owner(), &owner(name));
        }
        let listed = store.list(&owner(name), None, 99).await.unwrap();
        assert_eq!(listed.len(), ids.len());
        assert!(listed.iter().all(|record| record.owner() == &owner(name)));
    }
    let ids: Vec<_> = store
        .list(&owner("a*"), None, 99)
        .await
        .unwrap()
        .iter()
        .map(|record| record.id().clone())
        .collect();
    done(store.remove(&owner("a*"), &ids).await);
    assert!(store.list(&owner("a*"), None, 99).await.unwrap().is_empty());
    assert_eq!(store.list(&owner("{other}"), None, 99).await.unwrap().len(), 8);
    drop(server);
}

#[tokio::test]
async fn two_namespaces_on_one_server_never_cross() {
    let (_server, default) = fresh().await;
    let one = default.clone().with_namespace("one").unwrap();
    let two = default.clone().with_namespace("one.two").unwrap();
    one.initialize().await.unwrap();
    two.initialize().await.unwrap();

    done(one.insert(record_of("ann", "k", 1)).await);
    assert!(two.find(&id("k")).await.unwrap().is_none());
    assert!(default.find(&id("k")).await.unwrap().is_none());
    conflict(two.replace(record_of("ann", "k", 1).with_version(2), 1).await);
    conflict(two.remove(&owner("ann"), &[id("k")]).await);
    assert!(two.list(&owner("ann"), None, 9).await.unwrap().is_empty());

    done(two.insert(record_of("bob", "k", 2)).await);
    assert_eq!(one.find(&id("k")).await.unwrap().unwrap().owner(), &owner("ann"));
    assert_eq!(two.find(&id("k")).await.unwrap().unwrap().owner(), &owner("bob"));
    done(one.remove(&owner("ann"), &[id("k")]).await);
    assert!(two.find(&id("k")).await.unwrap().is_some());
    assert!(one.find(&id("k")).await.unwrap().is_none());
    for namespace in ["", "a b", "{a}", "a:b", "a*"] {
        assert!(default.clone().with_namespace(namespace).is_err(), "{namespace}");
    }
}

#[tokio::test]
async fn names_have_one_hash_tag_and_no_secret_and_no_key_expires() {
    let (server, store) = fresh().await;
    let keys = tower_webhook::key::KeyManager::new(store.clone());
    let new = tower_webhook::key::NewKey::new("laptop").with_expires_in(time::Duration::HOUR);
    let issued = keys.generate(&owner("ann"), new).await.unwrap();
    let text = issued.secret().expose_secret().to_owned();
    let stored = issued.record().encode();
    let digest: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let digest = digest["digest"]["hex"].as_str().unwrap().to_owned();
    let secret = &text[text.len() - 44..];

    let names = server.command(&["KEYS", "*"]);
    let names: Vec<String> = redis::FromRedisValue::from_redis_value(names).unwrap();
    assert_eq!(names.len(), 3);
    for name in names {
        assert!(name.starts_with("{tower-webhook}:"), "{name}");
        assert!(!name.contains(secret) && !name.contains(&digest), "{name}");
        assert_eq!(server.command(&["TTL", &name]), redis::Value::Int(-1));
    }
    let name = format!("{{tower-webhook}}:record:{}", issued.record().id());
    assert_eq!(server.command(&["GET", &name]), redis::Value::BulkString(stored.into_bytes()));
}

#[tokio::test]
async fn a_version_is_compared_in_all_its_64_bits() {
    let (_server, store) = fresh().await;
    records::versions_have_64_bits(&store).await;
}

#[tokio::test]
async fn a_store_works_on_the_apps_own_connection_and_client() {
    let (server, store) = fresh().await;
    done(store.insert(record("k")).await);
    let client = redis::Client::open(server.url()).unwrap();
    let manager = client.get_connection_manager().await.unwrap();

    for store in [RedisKeyStore::new(manager.clone()), RedisKeyStore::from_client(client)] {
        assert!(store.find(&id("k")).await.unwrap().is_some());
        conflict(store.insert(record("k")).await);
    }
    let error = RedisKeyStore::new(manager).with_wait(1, std::time::Duration::from_secs(1));
    assert!(error.unwrap_err().to_string().contains("makes its connections itself"));
}

#[tokio::test]
async fn scripts_are_sent_again_after_the_server_forgot_them() {
    let (server, store) = fresh().await;
    done(store.insert(record("a")).await);
    server.command(&["SCRIPT", "FLUSH"]);
    done(store.insert(record("b")).await);
    server.command(&["SCRIPT", "FLUSH"]);
    done(store.replace(record("b").with_version(2), 1).await);
    server.command(&["SCRIPT", "FLUSH"]);
    done(store.remove(&owner("ann"), &[id("a"), id("b"), id("a")]).await);
    done(store.remove(&owner("ann"), &[]).await);
    assert!(store.list(&owner("ann"), None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_scan_visits_every_key_once_it_is_there() {
    let (_server, store) = fresh().await;
    // Records of another namespace are not visited.
    let other = store.clone().with_namespace("other").unwrap();
    other.initialize().await.unwrap();
    done(other.insert(record_of("ann", "k", 1)).await);
    a_scan_visits_the_keys_of_all_owners(&store).await;
}
