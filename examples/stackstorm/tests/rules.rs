//! Rules are made, found, changed and listed.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_rule_is_found_by_id_then_ref_then_name() {
    let site = Site::new().await;
    let made = site
        .post("/v1/rules", &rule("a/b", "x").replacen('{', r#"{"pack":"p","id":"mine","#, 1))
        .await;
    let id = made.id();
    for reference in [id.as_str(), "p.a%2Fb", "a%2Fb"] {
        assert_eq!(site.get(&format!("/v1/rules/{reference}")).await.id(), id);
    }
    // One whose name is the ref of the other, and one whose name is its id.
    assert_eq!(site.post("/v1/rules", &rule("p.a/b", "y")).await.status, 201);
    assert_eq!(site.post("/v1/rules", &rule(&id, "z")).await.status, 201);
    for reference in [id.as_str(), "p.a%2Fb"] {
        assert_eq!(site.get(&format!("/v1/rules/{reference}")).await.id(), id);
    }
    assert_eq!(site.get("/v1/rules/mine").await.status, 404);
}

#[tokio::test]
async fn a_name_is_unique_over_all_packs() {
    let site = Site::new().await;
    let first = site.post("/v1/rules", &rule("n", "x")).await.id();
    let other = rule("n", "y").replacen('{', r#"{"pack":"other","#, 1);
    let taken = site.post("/v1/rules", &other).await;
    assert_eq!((taken.status.as_u16(), &taken.json()["conflict-id"]), (409, &json!(first)));
    assert!(taken.fault().contains("duplicate"));
    assert_eq!(site.get("/v1/webhooks/y").await.status, 404);

    let renamed = site.put("/v1/rules/r1", r#"{"name":"n","description":"lost"}"#).await;
    assert_eq!((renamed.status.as_u16(), &renamed.json()["conflict-id"]), (409, &json!(first)));
    assert_eq!(site.get("/v1/rules/r1").await.json()["description"], "oldest");
    assert_eq!(site.put("/v1/rules/n", r#"{"name":"n","pack":"p2"}"#).await.json()["ref"], "p2.n");

    let same = rule("race", "race");
    let calls = (0..8).map(|_| site.post("/v1/rules", &same));
    let statuses = join_all(calls).await;
    assert_eq!(statuses.iter().filter(|answer| answer.status == 201).count(), 1);
    let calls = (0..8).map(|_| site.delete("/v1/rules/race"));
    let statuses = join_all(calls).await;
    assert_eq!(statuses.iter().filter(|answer| answer.status == 204).count(), 1);
}

#[tokio::test]
async fn a_rule_on_a_hook_needs_the_permission_for_it() {
    let site = Site::new().await;
    let by = &[("st2-api-key", "key-rules")][..];
    let denied = "User \"bill\" doesn't have required permission (webhook_create) to use trigger core.st2.webhook";
    for (method, target, body, expected) in [
        ("POST", "/v1/rules", rule("a", "/mine//"), 201),
        ("POST", "/v1/rules", rule("b", "Mine"), 403),
        ("POST", "/v1/rules", rule("r1", "Mine"), 403),
        ("POST", "/v1/rules", rule("r1", "mine"), 409),
        ("POST", "/v1/rules", rule("", "Mine"), 400),
        ("POST", "/v1/rules", r#"{"name":"c","trigger":{"type":"git.any"}}"#.to_owned(), 201),
        ("PUT", "/v1/rules/r1", r#"{"description":"d"}"#.to_owned(), 200),
        ("PUT", "/v1/rules/r1", rule("r1", "/sample"), 200),
        ("PUT", "/v1/rules/r1", rule("a", "other"), 403),
        ("PUT", "/v1/rules/c", rule("c", "sample"), 403),
        ("PUT", "/v1/rules/c", rule("c", "mine"), 200),
        ("PUT", "/v1/rules/r1", r#"{"trigger":{"type":"git.any"}}"#.to_owned(), 200),
        ("PUT", "/v1/rules/r2", rule("a", "mine"), 409),
    ] {
        let answer = site.call(by, method, target, &body).await;
        assert_eq!(answer.status, expected, "{method} {target} {body}");
        if expected == 403 {
            assert_eq!(answer.fault(), denied);
        }
    }
    assert_eq!(site.get("/v1/rules/b").await.status, 404);
}

#[tokio::test]
async fn lists_hold_what_fits_every_filter() {
    let site = Site::new().await;
    let record = r#"{"name":"b","pack":"A","enabled":false,"action":{"ref":"core.local"},"trigger":{"type":"git.any"}}"#;
    assert_eq!(site.post("/v1/rules", record).await.status, 201);
    for (query, names) in [
        ("", &["b", "r1", "r2"][..]),
        ("?trigger=git.any", &["b"]),
        ("?action=core.local&pack=A&name=b&enabled=fAlse", &["b"]),
        ("?action=core.local&enabled=true", &[]),
        ("?pack=a", &[]),
        ("?enabled=False", &["b", "r2"]),
        ("?name=b&name=r1", &[]),
        ("?offset=1&limit=1", &["r1"]),
        ("?user=x&exclude_attributes=name&name=", &["b", "r1", "r2"]),
    ] {
        let answer = site.get(&format!("/v1/rules/{query}")).await;
        let list = answer.json();
        let found: Vec<_> =
            list.as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
    }
}
