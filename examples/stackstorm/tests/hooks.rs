//! Hooks dispatch triggers: one each, and the generic hook any.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_disabled_rule_has_a_hook_all_the_same() {
    let site = Site::new().await;
    assert_eq!(site.post("/v1/webhooks/off", "{}").await.status, 202);
    let event = site.event().await;
    assert!(event["trigger"].as_str().unwrap().starts_with("core."));
    let names: Vec<_> = event.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 5);
    assert!(event["occurrence_time"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn credentials_of_every_carrier_are_stripped() {
    let site = Site::new().await;
    let headers = [
        ("x-auth-token", ""),
        ("st2-api-key", "key-bill"),
        ("authorization", "Basic x"),
        ("proxy-authorization", "x"),
        ("cookie", "x"),
        ("st2-trace-tag", "mine"),
        ("x-kept", "1"),
    ];
    let target = "/v1/webhooks/sample/?x-auth-token=token-bill&a=1";
    assert_eq!(site.call(&headers, "POST", target, "").await.status, 202);
    let event = site.event().await;
    let payload = json!({
        "headers": {"X-Kept": "1"}, "headers_lower": {"x-kept": "1"}, "body": {},
    });
    assert_eq!((&event["payload"], &event["trace_tag"]), (&payload, &json!("mine")));
}

#[tokio::test]
async fn the_generic_hook_checks_what_it_dispatches() {
    let site = Site::new().await;
    let failed = "Trigger payload validation failed";
    for (body, status, reason) in [
        ("[]", 400, "Webhook body needs to be an object, got: array"),
        (r#"{"trigger":""}"#, 400, "Trigger not specified."),
        (r#"{"trigger":null,"payload":1}"#, 400, "Trigger not specified."),
        (r#"{"trigger":["git.any"]}"#, 400, "is not of type 'string'"),
        (r#"{"trigger":"git.any","payload":[]}"#, 400, failed),
        (
            r#"{"trigger":"no.such"}"#,
            400,
            "Trigger type with reference \"no.such\" doesn't exist in the database",
        ),
        (r#"{"trigger":"git.push"}"#, 400, "is not of type 'object'"),
        (r#"{"trigger":"git.push","payload":{}}"#, 400, "'n' is a required property"),
        (r#"{"trigger":"git.push","payload":{"n":1.0}}"#, 400, "is not of type 'integer'"),
        (
            r#"{"trigger":"git.push","payload":{"n":1,"hunter2":1}}"#,
            400,
            "Additional properties are not allowed",
        ),
        (r#"{"trigger":"core.st2.webhook","payload":{"body":1}}"#, 400, failed),
        (r#"{"trigger":"git.push","payload":{"n":1},"other":[1]}"#, 202, ""),
        (r#"{"trigger":"git.any","payload":null}"#, 202, ""),
        (r#"{"trigger":"core.st2.webhook","payload":{"body":[]}}"#, 202, ""),
    ] {
        let answer = site.post("/webhooks/st2/", body).await;
        assert_eq!(answer.status, status, "{body}");
        if status == 400 {
            let fault = answer.fault();
            assert!(fault.contains(reason) && !fault.contains("hunter2"), "{body}: {fault}");
        }
    }
    assert_eq!(site.count_events().await, 3);
    let any = site.get("/v1/triggerinstances?trigger=git.any").await;
    assert_eq!(any.json()[0]["payload"], Value::Null);
    assert_eq!(any.headers["x-total-count"], "1");
    assert!(any.json()[0]["trace_tag"].as_str().unwrap().starts_with("webhook-st2-"));
    assert_eq!(site.get("/v1/triggerinstances?trigger=git.any&trigger=git.push").await.text, "[]");
    assert_eq!(site.get("/v1/webhooks/st2").await.status, 404);
}

#[tokio::test]
async fn without_validation_any_object_is_dispatched() {
    let config = CONFIG.replacen('{', r#"{"validate_trigger_payload": false,"#, 1);
    let site = Site::with(&config).await;
    for (body, status) in [
        (r#"{"trigger":"no.such"}"#, 202),
        (r#"{"trigger":"git.push","payload":{}}"#, 202),
        (r#"{"trigger":"git.push","payload":1}"#, 400),
    ] {
        assert_eq!(site.post("/v1/webhooks/st2", body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_rule_may_register_the_name_of_the_generic_hook() {
    let site = Site::new().await;
    assert_eq!(site.post("/v1/rules", &rule("generic", "/st2/")).await.status, 201);
    assert_eq!(site.get("/v1/webhooks/st2").await.status, 200);
    assert_eq!(site.post("/v1/webhooks/st2", "{}").await.fault(), "Trigger not specified.");
}

#[tokio::test]
async fn a_hook_stays_itself_while_a_rule_has_its_url() {
    let mut site = Site::new().await;
    let before = site.get("/v1/webhooks/sample").await.json();
    assert_eq!(site.post("/v1/rules", &rule("second", "//sample/")).await.status, 201);
    assert_eq!(site.get("/v1/webhooks").await.json().as_array().unwrap().len(), 2);
    assert_eq!(site.post("/v1/webhooks/sample", "{}").await.status, 202);
    assert_eq!(site.count_events().await, 1);

    assert_eq!(
        site.put("/v1/rules/r1", r#"{"description":"changed","enabled":false}"#).await.status,
        200
    );
    assert_eq!(site.get("/v1/webhooks/sample").await.json()["description"], "changed");
    assert_eq!(site.delete("/v1/rules/default.r1").await.status, 204);
    let config = site.config.clone();
    site.restart(&config, None).await.unwrap();
    let after = site.get("/v1/webhooks/sample").await.json();
    assert_eq!(after["description"], "");
    for name in ["id", "uid", "ref", "name", "pack", "type", "parameters"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    assert_eq!(site.event().await["trigger"], after["ref"]);

    let moved = r#"{"trigger":{"type":"core.st2.webhook","parameters":{"url":"elsewhere"}}}"#;
    assert_eq!(site.put("/v1/rules/second", moved).await.status, 200);
    let gone = site.get("/v1/webhooks/sample").await;
    assert_eq!(
        (gone.status.as_u16(), gone.fault().as_str()),
        (404, "Webhook sample not registered with st2")
    );
    assert_eq!(site.delete("/v1/rules/second").await.status, 204);
    assert_eq!(site.delete("/v1/rules/r2").await.status, 204);
    assert_eq!(site.get("/v1/webhooks").await.text, "[]");
}

#[tokio::test]
async fn forms_arrays_and_slashes_are_taken() {
    let site = Site::new().await;
    let form = [("st2-api-key", "key-bill"), ("content-type", "application/x-www-form-urlencoded")];
    let target = "/v1/webhooks/sample";
    let body = "MyVariableOne=ValueOne&MyVariableTwo=ValueTwo&payload=%7B%22ref%22%3A1.0%7D";
    assert_eq!(site.call(&form, "POST", target, body).await.status, 202);
    let payload = json!({
        "MyVariableOne": ["ValueOne"],
        "MyVariableTwo": ["ValueTwo"],
        "payload": [r#"{"ref":1.0}"#],
    });
    assert_eq!(site.event().await["payload"]["body"], payload);

    let json = [("content-type", "application/json")];
    let target = "/v1/webhooks/sample?st2-api-key=key-bill";
    assert_eq!(site.call(&json, "POST", target, r#"[{"data":"val"}]"#).await.status, 202);
    assert_eq!(site.event().await["payload"]["body"], json!([{"data": "val"}]));

    for (name, url) in [("a", "/slashes"), ("b", "slashes/"), ("c", "/slashes/")] {
        assert_eq!(site.post("/v1/rules", &rule(name, url)).await.status, 201, "{url}");
        assert_eq!(site.post("/v1/webhooks/slashes", "{}").await.status, 202, "{url}");
    }
}
