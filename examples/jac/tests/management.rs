//! Users, keys, and what becomes of them.

use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn a_user_has_one_authorization_header_with_a_known_token() {
    let server = Server::start().await;
    let send = async |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        server.send("GET", "/webhook", &headers, "").await
    };
    for values in [&[][..], &[""], &["Bearer"], &["bearer "], &["", "Bearer"]] {
        send(values).await.refuses(401, "Not authenticated");
    }
    for value in [
        "Bearer wrong",
        "Basic dXNlcjpwYXNz",
        "token-of-ann",
        "Bearer token-of-anna",
        "Bearer TOKEN-OF-ANN",
        "Bearertoken-of-ann",
    ] {
        send(&[value]).await.refuses(401, "Unauthorized");
    }
    for values in [[ANN, ANN], [ANN, "Bearer wrong"], ["Basic x", ANN], ["a", "b"]] {
        send(&values).await.refuses(400, "Bad Request");
    }
    for values in [&["BEARER token-of-ann"][..], &["", ANN], &[ANN, "bearer"]] {
        assert_eq!(send(values).await.status, StatusCode::OK, "{values:?}");
    }
}

#[tokio::test]
async fn authentication_precedes_everything_about_the_body() {
    let server = Server::start().await;
    let large = "x".repeat(1024 * 1024 + 1);
    for (method, target) in [
        ("POST", "/webhook/generate-key"),
        ("PATCH", "/webhook/extend/x"),
        ("DELETE", "/webhook/delete"),
        ("GET", "/webhook"),
    ] {
        let answer = server.send(method, target, &[("authorization", "a")], large.clone()).await;
        answer.refuses(401, "Unauthorized");
        let answer = server.send(method, target, &[], "{").await;
        answer.refuses(401, "Not authenticated");
        let answer = server.send(method, target, &[("authorization", ANN)], large.clone()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{target}");
        assert_eq!(answer.json().as_object().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn every_address_has_its_method() {
    let server = Server::start().await;
    for (target, allow) in [
        ("/webhook", "GET"),
        ("/webhook/generate-key", "POST"),
        ("/webhook/generate%2Dkey", "POST"),
        ("/webhook/extend/1", "PATCH"),
        ("/webhook/delete", "DELETE"),
    ] {
        for method in ["HEAD", "OPTIONS", "PUT", "post", "get", "patch", "FOO"] {
            let answer = server.send(method, target, &[], "").await;
            assert_eq!(answer.header("allow"), Some(allow), "{method} {target}");
            if method != "HEAD" {
                answer.refuses(405, "Method Not Allowed");
            }
        }
    }
    for target in [
        "/",
        "/webhook/",
        "/webhook/generate-key/",
        "//webhook",
        "/webhook/./delete",
        "/Webhook",
        "/webhook/extend",
        "/webhook/extend/",
        "/webhook/extend/a/b",
        "/webhook%2Fdelete",
        "/webhook/%ff",
        "/walker/plain",
        "/webhook/walker",
        "/webhook/walker/plain",
        "/webhook/walker/header/",
        "/webhook/walker/header//",
        "/webhook/walker/Header",
        "/webhook/walker/header/a/b",
        "/webhook/walker/path",
        "/webhook/walker/path/a/b/c",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            server.send(method, target, &[], "").await.refuses(404, "Not Found");
        }
    }
}

#[tokio::test]
async fn a_key_names_its_creator_and_the_second_of_its_creation() {
    let server = Server::start().await;
    let before = OffsetDateTime::now_utc().unix_timestamp();
    let (id, key) = server.key(BOB, r#"{"name":"x"}"#).await;
    let after = OffsetDateTime::now_utc().unix_timestamp();

    assert!(id.len() == 24 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    let parts: Vec<&str> = key.split(':').collect();
    assert_eq!((parts.len(), parts[0]), (3, BOBS_ROOT));
    assert!((before..=after).contains(&parts[1].parse().unwrap()));
    assert!(parts[2].len() == 32 && parts[2].bytes().all(|b| b.is_ascii_alphanumeric()));
}

#[tokio::test]
async fn names_and_lists_are_any_texts() {
    let server = Server::start().await;
    for name in ["x".repeat(100_000), "\u{0}\n\u{202e}é".to_owned(), " ".to_owned()] {
        let request =
            json!({"name": name, "walkers": ["", "é \"", "a"], "nodes": ["a".repeat(300)]});
        server.key(ANN, &request.to_string()).await;
        let again = server.manage(ANN, "POST", "/webhook/generate-key", &request.to_string()).await;
        assert_eq!(again.status, StatusCode::CONFLICT);
        let shown = server.keys(ANN).await.pop().unwrap();
        for member in ["name", "walkers", "nodes"] {
            assert_eq!(shown[member], request[member]);
        }
    }
    let prefix = r#"{"name":""#;
    let name = "y".repeat(1024 * 1024 - prefix.len() - 2);
    server.key(ANN, &format!("{prefix}{name}\"}}")).await;
}

#[tokio::test]
async fn a_name_is_unique_among_the_keys_of_one_user() {
    let mut server = Server::start().await;
    let body = r#"{"name":"x","expiration":{"count":1,"interval":"seconds"}}"#;
    let (id, _) = server.key(ANN, body).await;
    server.key(BOB, body).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    for _ in 0..2 {
        let again = server.manage(ANN, "POST", "/webhook/generate-key", body).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "expired keys count");
        assert_eq!(again.json().as_object().unwrap().keys().collect::<Vec<_>>(), ["detail"]);
        server.restart(&config()).await;
    }
    server.key(ANN, r#"{"name":"X"}"#).await;
    let answer =
        server.manage(ANN, "DELETE", "/webhook/delete", &json!({ "ids": [id] }).to_string()).await;
    answer.is(200, &json!({"message": "Successfully Deleted!"}));
    server.key(ANN, body).await;
}

#[tokio::test]
async fn a_label_that_a_kill_left_behind_takes_no_name() {
    let server = Server::start().await;
    let file = DataFolder::open(&server.folder).unwrap().database("labels.db").unwrap();
    let labels = crate::keys::Labels::open(file).await.unwrap();
    let owner = tower_webhook::key::Owner::new(ANNS_ROOT).unwrap();
    let id = tower_webhook::key::KeyId::new("0123456789abcdef01234567").unwrap();
    let label = crate::keys::Label { name: "x".to_owned(), ..Default::default() };
    labels.put(&owner, &id, &label).await.unwrap();

    assert!(server.keys(ANN).await.is_empty());
    let (_, key) = server.key(ANN, r#"{"name":"x"}"#).await;
    assert_eq!(server.call(&key).await.status, StatusCode::OK);
    assert_eq!(server.keys(ANN).await.len(), 1);
}

#[tokio::test]
async fn of_simultaneous_changes_each_counts_once() {
    let server = Arc::new(Server::start().await);
    let successes = async |method: &'static str, target: String, body: String| {
        let mut calls = JoinSet::new();
        for _ in 0..16 {
            let (server, target, body) = (Arc::clone(&server), target.clone(), body.clone());
            calls.spawn(async move { server.manage(ANN, method, &target, &body).await.status });
        }
        calls.join_all().await.iter().filter(|status| status.is_success()).count()
    };
    let made = successes("POST", "/webhook/generate-key".into(), r#"{"name":"x"}"#.into()).await;
    assert_eq!(made, 1);

    let key = server.keys(ANN).await.pop().unwrap();
    let id = key["id"].as_str().unwrap();
    let body = r#"{"count":1}"#.to_owned();
    assert_eq!(successes("PATCH", format!("/webhook/extend/{id}"), body).await, 16);
    let later = server.keys(ANN).await.pop().unwrap();
    assert_eq!(expiry(&later) - expiry(&key), time::Duration::days(16));

    let ids = json!({ "ids": [id, id] }).to_string();
    assert_eq!(successes("DELETE", "/webhook/delete".into(), ids).await, 1);
    assert!(server.keys(ANN).await.is_empty());
}

fn expiry(key: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(key["expiration"].as_str().unwrap(), &Rfc3339).unwrap()
}

#[tokio::test]
async fn the_list_is_the_callers_alone_and_oldest_first() {
    let server = Server::start().await;
    for name in ["z", "m", "a"] {
        server.key(ANN, &json!({ "name": name }).to_string()).await;
    }
    server.key(BOB, r#"{"name":"b"}"#).await;
    let answer = server.manage(ANN, "GET", "/webhook", "ignored").await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    let names: Vec<_> = keys.iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["z", "m", "a"]);
    for key in keys {
        assert_eq!(key.as_object().unwrap().len(), 7);
        assert_eq!(key["root_id"], ANNS_ROOT);
        assert_eq!(server.call(key["key"].as_str().unwrap()).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_time_beyond_the_year_9999_is_refused() {
    let server = Server::start().await;
    let (id, key) = server.key(ANN, r#"{"name":"x","expiration":{"count":2000000}}"#).await;
    let loc = json!(["body", "count"]);
    let extend = async |id: &str, count: &str| {
        let body = format!(r#"{{"count":{count}}}"#);
        server.manage(ANN, "PATCH", &format!("/webhook/extend/{id}"), &body).await
    };
    // A key expires by time, with any owner.
    extend("unknown", "9000000").await.faults("less_than_equal", &loc);
    extend(&id, "9000000").await.faults("less_than_equal", &loc);
    // Only on top of the old expiry.
    extend(&id, "2000000").await.faults("less_than_equal", &loc);
    extend("unknown", "2000000").await.refuses(404, "Not Found");
    extend(&id, "1").await.is(200, &json!({"message": "Successfully Extended!"}));
    assert_eq!(server.call(&key).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_expired_key_works_again_from_now_on() {
    let mut server = Server::start().await;
    let body = r#"{"name":"x","expiration":{"count":1,"interval":"seconds"}}"#;
    let (id, key) = server.key(ANN, body).await;
    assert_eq!(server.call(&key).await.status, StatusCode::OK);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    for _ in 0..2 {
        server.call(&key).await.refuses(401, "Unauthorized");
        server.restart(&config()).await;
    }
    let target = format!("/webhook/extend/{id}");
    server.manage(BOB, "PATCH", &target, "{}").await.refuses(404, "Not Found");
    server
        .manage(ANN, "PATCH", &target, r#"{"count":0}"#)
        .await
        .faults("greater_than", &json!(["body", "count"]));
    let now = OffsetDateTime::now_utc();
    let minute = r#"{"count":1,"interval":"minutes"}"#;
    assert_eq!(server.manage(ANN, "PATCH", &target, minute).await.status, StatusCode::OK);
    assert_eq!(server.call(&key).await.status, StatusCode::OK);
    let shown = server.keys(ANN).await.pop().unwrap();
    assert!((expiry(&shown) - now - time::Duration::MINUTE).abs() < time::Duration::seconds(5));
}

#[tokio::test]
async fn all_ids_are_deleted_or_none() {
    let mut server = Server::start().await;
    let (first, key) = server.key(ANN, r#"{"name":"1"}"#).await;
    let (second, _) = server.key(ANN, r#"{"name":"2"}"#).await;
    let (bobs, _) = server.key(BOB, r#"{"name":"1"}"#).await;
    let delete = async |server: &Server, ids: Value| {
        server.manage(ANN, "DELETE", "/webhook/delete", &json!({ "ids": ids }).to_string()).await
    };
    for other in ["", "unknown", "é", bobs.as_str(), &first.to_uppercase()] {
        delete(&server, json!([first, other])).await.refuses(404, "Not Found");
        assert_eq!(server.keys(ANN).await.len(), 2);
    }
    let answer = delete(&server, json!([first, second, first])).await;
    assert_eq!(answer.status, StatusCode::OK);
    for _ in 0..2 {
        assert!(server.keys(ANN).await.is_empty());
        server.call(&key).await.refuses(401, "Unauthorized");
        delete(&server, json!([first])).await.refuses(404, "Not Found");
        let target = format!("/webhook/extend/{first}");
        server.manage(ANN, "PATCH", &target, "{}").await.refuses(404, "Not Found");
        server.restart(&config()).await;
    }
    assert_eq!(server.keys(BOB).await.len(), 1);
}

#[tokio::test]
async fn the_keys_of_a_vanished_user_are_bad_until_the_user_is_back() {
    let mut server = Server::start().await;
    let (_, key) = server.key(BOB, r#"{"name":"x"}"#).await;
    let mut without = config();
    without["users"].as_array_mut().unwrap().pop();
    without["nodes"].as_array_mut().unwrap().pop();
    server.restart(&without).await;
    let unknown = server.call("unknown").await;
    let vanished = server.call(&key).await;
    vanished.refuses(401, "Unauthorized");
    assert_eq!((unknown.text, unknown.headers), (vanished.text, vanished.headers));
    server.manage(BOB, "GET", "/webhook", "").await.refuses(401, "Unauthorized");

    // A user of another name and token takes the root over.
    let eve = json!({"name": "eve", "token": "other", "root_id": BOBS_ROOT});
    without["users"].as_array_mut().unwrap().push(eve);
    server.restart(&without).await;
    assert_eq!(server.call(&key).await.status, StatusCode::OK);
    server.manage(BOB, "GET", "/webhook", "").await.refuses(401, "Unauthorized");
    assert_eq!(server.keys("Bearer other").await.len(), 1);
}
