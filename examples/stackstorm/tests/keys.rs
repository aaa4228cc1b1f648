//! API keys are made, shown, changed and deleted.

use http::header::CACHE_CONTROL;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_new_key_has_no_members_of_the_callers_choice() {
    let site = Site::new().await;
    for (body, expected) in [
        ("", 201),
        (r#"{"scope":null,"user":null,"metadata":null,"enabled":null,"scopes":null}"#, 201),
        (r#"{"user":"bill","enabled":false,"scopes":["webhook_send:/a/"]}"#, 201),
        (r#"{"user":"anna"}"#, 403),
        (r#"{"user":"anna","scopes":["fly"]}"#, 400),
        (r#"{"user":"anna","scope":["webhook_list"]}"#, 400),
        (r#"{"scope":["webhook_list"]}"#, 400),
        (r#"{"key":"mine"}"#, 400),
        (r#"{"key_hash":""}"#, 400),
        (r#"{"id":"1"}"#, 400),
        (r#"{"user":1}"#, 400),
        (r#"{"metadata":[]}"#, 400),
        (r#"{"enabled":"yes"}"#, 400),
        (r#"{"scopes":"webhook_list"}"#, 400),
        (r#"{"scopes":[1]}"#, 400),
        (r#"{"scopes":["webhook_send:"]}"#, 400),
        ("[]", 400),
        ("1", 400),
    ] {
        let answer = site.post("/v1/apikeys", body).await;
        assert_eq!(answer.status, expected, "{body}");
        if expected == 201 {
            assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
            let record = answer.json();
            assert!(
                record["key"].as_str().unwrap().len() >= 32 && record.get("key_hash").is_none()
            );
            assert_eq!(record.get("scopes").is_some(), body.contains("/a/"));
        }
    }
}

#[tokio::test]
async fn a_scoped_key_makes_no_wider_one() {
    let site = Site::new().await;
    let by = &[("st2-api-key", "key-mint")][..];
    for (body, expected) in [
        ("{}", 403),
        (r#"{"scopes":null}"#, 403),
        (r#"{"scopes":[]}"#, 201),
        (r#"{"scopes":["webhook_send:/a"]}"#, 201),
        (r#"{"scopes":["webhook_send"]}"#, 403),
        (r#"{"scopes":["webhook_send:b"]}"#, 403),
        (r#"{"scopes":["webhook_view:b","webhook_view"]}"#, 201),
        (r#"{"scopes":["api_key_create","rule_list"]}"#, 403),
        (r#"{"scopes":["fly"]}"#, 400),
    ] {
        assert_eq!(site.call(by, "POST", "/v1/apikeys", body).await.status, expected, "{body}");
    }
}

#[tokio::test]
async fn a_key_is_shown_masked_and_to_its_owner_alone() {
    let site = Site::new().await;
    let made = site.post("/v1/apikeys", r#"{"metadata":{"a":1}}"#).await.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let target = format!("/v1/apikeys/{id}?show_secrets=true");
    let shown = site.get(&target).await;
    let expected = json!({
        "id": id, "uid": "********", "key_hash": "********", "user": "bill", "metadata": {"a": 1},
        "created_at": made["created_at"], "enabled": true,
    });
    assert_eq!(shown.json(), expected);
    assert!(site.get("/v1/apikeys?limit=-1").await.json().as_array().unwrap().contains(&expected));
    for (by, target) in [
        (("x-auth-token", "token-anna"), target.clone()),
        (BILL, format!("/v1/apikeys/{key}")),
        (BILL, "/v1/apikeys/key-bill".to_owned()),
        (BILL, "/v1/apikeys/a%20b".to_owned()),
    ] {
        let answer = site.call(&[by], "GET", &target, "").await;
        assert_eq!(answer.status, 404);
        assert!(!answer.text.contains(key) && !answer.text.contains("key-bill"));
    }
}

#[tokio::test]
async fn keys_are_listed_oldest_first_and_by_page() {
    let site = Site::new().await;
    let id = site.post("/v1/apikeys", "{}").await.id();
    for (query, total, count) in [
        ("?user=bill&include_attributes=id&sort=name", "9", 9),
        ("?user=anna", "0", 0),
        ("?user=&enabled=x&pack=y", "9", 9),
        ("?limit=2&offset=8", "9", 1),
        ("?offset=99999999999999999999", "9", 0),
    ] {
        let answer = site.get(&format!("/v1/apikeys{query}")).await;
        assert_eq!(answer.headers["x-total-count"], total, "{query}");
        assert_eq!(answer.json().as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(site.get("/v1/apikeys/?limit=1&offset=8").await.json()[0]["id"], id);
    for target in ["/v1/apikeys?limit=0", "/v1/triggerinstances?offset=-1", "/v1/rules?enabled=1"] {
        assert_eq!(site.get(target).await.status, 400, "{target}");
    }
}

#[tokio::test]
async fn a_key_changes_in_two_members_only() {
    let site = Site::new().await;
    let made =
        site.post("/v1/apikeys", r#"{"scopes":["webhook_list"],"metadata":{"a":1}}"#).await.json();
    let target = format!("/v1/apikeys/{}", made["id"].as_str().unwrap());
    let read = site.get(&target).await;
    assert_eq!(site.put(&target, &read.text).await.text, read.text);
    for (body, expected) in [
        (r#"{"key_hash":"x"}"#, 400),
        (r#"{"key_hash":1}"#, 400),
        (r#"{"key_hash":"","id":"x","uid":"y","key":"z","created_at":1}"#, 200),
        (r#"{"user":"anna"}"#, 400),
        (r#"{"user":1}"#, 400),
        (r#"{"scopes":[]}"#, 400),
        (r#"{"scopes":["webhook_list","webhook_send"]}"#, 400),
        (r#"{"scopes":null,"user":null,"other":null}"#, 200),
        (r#"{"other":1}"#, 400),
        (r#"{"enabled":1}"#, 400),
        (r#"{"metadata":1}"#, 400),
        (r#"{"enabled":false,"metadata":1}"#, 400),
        ("", 200),
    ] {
        let answer = site.put(&target, body).await;
        assert_eq!(answer.status, expected, "{body}");
        assert_eq!(site.get(&target).await.text, read.text, "{body}");
    }
    let refused = site.put(&target, r#"{"key_hash":"x"}"#).await;
    assert_eq!(refused.text, r#"{"faultstring":"Update of key_hash is not allowed."}"#);
    let changed = site.put(&target, r#"{"enabled":false,"metadata":{"b":2}}"#).await.json();
    assert_eq!((&changed["enabled"], &changed["metadata"]), (&json!(false), &json!({"b": 2})));
    let unlimited = site.post("/v1/apikeys", "{}").await.id();
    assert_eq!(site.put(&format!("/v1/apikeys/{unlimited}"), r#"{"scopes":[]}"#).await.status, 400);
}

#[tokio::test]
async fn a_key_counts_from_the_answer_that_changed_it() {
    let site = Site::new().await;
    let made = site.post("/v1/apikeys", "{}").await.json();
    let target = format!("/v1/apikeys/{}", made["id"].as_str().unwrap());
    let key = [("st2-api-key", made["key"].as_str().unwrap())];
    for (enabled, expected) in [("false", 401), ("true", 200), ("false", 401), ("true", 200)] {
        site.put(&target, &format!(r#"{{"enabled":{enabled}}}"#)).await;
        assert_eq!(site.call(&key, "GET", "/v1/webhooks", "").await.status, expected);
    }
    let statuses = join_all((0..8).map(|_| site.delete(&target))).await;
    assert_eq!(statuses.iter().filter(|answer| answer.status == 204).count(), 1);
    assert!(statuses.iter().all(|answer| answer.status == 404 || answer.text.is_empty()));
    assert_eq!(site.call(&key, "GET", "/v1/webhooks", "").await.status, 401);
    assert_eq!(site.put(&target, "{}").await.status, 404);
}
