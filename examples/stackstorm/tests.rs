//! The whole service, from a request to its answer, on a folder of its own.

use std::fs;
use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};
use servers::DataFolder;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::config::Config;
use crate::json::sent;
use crate::{open, server};

const CONFIG: &str = r#"{
    "users": ["bill", "anna"],
    "tokens": [
        {"token": "token-bill", "user": "bill"},
        {"token": "token-anna", "user": "anna"},
        {"token": "token-zero", "user": "bill", "expires_in": 0},
        {"token": "token-ghost", "user": "ghost"},
        {"token": "both", "user": "bill"}
    ],
    "api_keys": [
        {"key": "key-bill", "user": "bill", "metadata": {"n": 1.10}},
        {"key": "key-off", "user": "bill", "enabled": false},
        {"key": "key-null", "user": "bill", "scopes": null},
        {"key": "key-none", "user": "bill", "scopes": []},
        {"key": "key-rules", "user": "bill", "scopes": ["rule_create", "rule_modify", "webhook_create:/mine/"]},
        {"key": "key-mint", "user": "bill", "scopes": ["api_key_create", "webhook_send:a", "webhook_view"]},
        {"key": "key-keys", "user": "bill", "scopes": ["api_key_modify", "api_key_view"]},
        {"key": "key-send", "user": "bill", "scopes": ["webhook_send:sample", "webhook_send:st2"]}
    ],
    "trigger_types": [
        {"ref": "git.push", "payload_schema": {"type": "object", "required": ["n"],
            "properties": {"n": {"type": "integer"}}, "additionalProperties": false}},
        {"ref": "git.any"}
    ],
    "rules": [
        {"name": "r1", "description": "oldest", "trigger": {"type": "core.st2.webhook", "parameters": {"url": "sample"}}},
        {"name": "r2", "enabled": false, "trigger": {"type": "core.st2.webhook", "parameters": {"url": "/off/"}}}
    ]
}"#;

/// Headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

const BILL: (&str, &str) = ("x-auth-token", "token-bill");

/// A server in a folder that goes away with it.
struct Site {
    folder: PathBuf,
    config: String,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Site {
    async fn new() -> Self {
        Self::with(CONFIG).await
    }

    async fn with(config: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("stackstorm-{}", Uuid::new_v4()));
        let router = Self::router(&folder, config, None).await.unwrap();
        Self { folder, config: config.to_owned(), router }
    }

    async fn router(
        folder: &std::path::Path,
        config: &str,
        rules: Option<PathBuf>,
    ) -> Result<Router, servers::Error> {
        let config = Config::read(config)?;
        server::router(open(&DataFolder::open(folder)?, config, rules).await?)
    }

    /// Starts again on the same folder, with a folder of rules.
    async fn restart(
        &mut self,
        config: &str,
        rules: Option<PathBuf>,
    ) -> Result<(), servers::Error> {
        self.router = Self::router(&self.folder, config, rules).await?;
        self.config = config.to_owned();
        Ok(())
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        assert!(head.headers.contains_key("x-request-id"));
        let is_refused = head.status == StatusCode::UNAUTHORIZED;
        assert_eq!(head.headers.contains_key(WWW_AUTHENTICATE), is_refused);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }

    async fn call(&self, by: Headers<'_>, method: &str, target: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in by {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.call(&[BILL], "GET", target, "").await
    }

    async fn post(&self, target: &str, body: &str) -> Answer {
        self.call(&[BILL], "POST", target, body).await
    }

    async fn put(&self, target: &str, body: &str) -> Answer {
        self.call(&[BILL], "PUT", target, body).await
    }

    async fn delete(&self, target: &str) -> Answer {
        self.call(&[BILL], "DELETE", target, "").await
    }

    /// The newest event.
    async fn event(&self) -> Value {
        self.get("/v1/triggerinstances?limit=1").await.json()[0].clone()
    }

    async fn count_events(&self) -> usize {
        let answer = self.get("/v1/triggerinstances").await;
        let count = answer.json().as_array().unwrap().len();
        assert_eq!(answer.headers["x-total-count"], count.to_string());
        count
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn fault(&self) -> String {
        assert_eq!(self.headers[CONTENT_TYPE], "application/json");
        self.json()["faultstring"].as_str().unwrap().to_owned()
    }

    /// Read without a loss of digits elsewhere in the record.
    fn id(&self) -> String {
        let record = crate::json::Value::read(self.text.as_bytes()).unwrap();
        sent(&record.as_object().unwrap(), "id").unwrap().as_text().unwrap()
    }
}

fn rule(name: &str, url: &str) -> String {
    let parameters = json!({"url": url});
    json!({"name": name, "trigger": {"type": "core.st2.webhook", "parameters": parameters}})
        .to_string()
}

#[tokio::test]
async fn a_token_in_the_carrier_of_keys_is_unknown() {
    let site = Site::new().await;
    for (header, value, expected) in [
        ("x-auth-token", "token-bill", 200),
        ("st2-api-key", "key-bill", 200),
        ("St2-Api-Key", "key-null", 200),
        ("x-auth-token", "key-bill", 401),
        ("st2-api-key", "token-bill", 401),
        ("x-auth-token", "both", 200),
        ("st2-api-key", "both", 401),
        ("x-auth-token", "token-zero", 401),
        ("x-auth-token", "token-ghost", 401),
        ("st2-api-key", "key-off", 401),
        ("x-auth-token", "TOKEN-BILL", 401),
        ("x-auth-token", "token-bill, token-bill", 401),
        ("authorization", "Bearer token-bill", 401),
        ("cookie", "auth-token=token-bill", 401),
    ] {
        let answer = site.call(&[(header, value)], "GET", "/v1/webhooks", "").await;
        assert_eq!(answer.status, expected, "{header} {value}");
        let missing = "Unauthorized - One of Token or API key required.";
        match (expected, header) {
            (401, "authorization" | "cookie") => assert_eq!(answer.fault(), missing),
            (401, _) => assert_eq!(answer.text, r#"{"faultstring":"Unauthorized"}"#),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_first_carrier_that_is_not_empty_decides() {
    let site = Site::new().await;
    let token = "x-auth-token";
    let key = "st2-api-key";
    let cases: [(Headers<'_>, &str, u16); 14] = [
        (&[(token, "token-bill"), (key, "bad")], "?x-auth-token=bad&st2-api-key=bad", 200),
        (&[(token, "bad"), (key, "key-bill")], "?x-auth-token=token-bill", 401),
        (&[(token, ""), (key, "key-bill")], "?x-auth-token=bad", 200),
        (&[(key, "bad")], "?x-auth-token=token-bill", 401),
        (&[], "?st2-api-key=bad&x-auth-token=token-bill", 200),
        (&[], "?st2-api-key=key-bill&x-auth-token=bad", 401),
        (&[], "?st2-api-key=key-bill&x-auth-token=", 200),
        (&[], "?x-auth-token&st2-api-key=%6bey-bill", 200),
        (&[], "?X-Auth-Token=token-bill", 401),
        (&[(token, "token-bill"), (token, "token-bill")], "", 400),
        (&[(token, "token-bill"), (token, "")], "", 200),
        (&[(token, "token-bill")], "?x-auth-token=a&x-auth-token=b", 200),
        (&[(key, "key-bill"), (key, "bad")], "?x-auth-token=token-bill", 400),
        (&[], "?st2-api-key=key-bill&st2%2Dapi-key=key-bill", 400),
    ];
    for (headers, query, expected) in cases {
        let answer = site.call(headers, "GET", &format!("/v1/webhooks{query}"), "").await;
        assert_eq!(answer.status, expected, "{headers:?} {query}");
        if expected == 400 {
            assert_eq!(answer.text, r#"{"faultstring":"More than one credential."}"#);
        }
    }
    let many = format!("/v1/webhooks?{}x-auth-token=token-bill", "a=b&".repeat(5_000));
    assert_eq!(site.call(&[], "GET", &many, "").await.status, 200);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_method_need_no_credential() {
    let site = Site::new().await;
    for (method, target) in [
        ("POST", "/v1/webhooks"),
        ("POST", "/v1/webhooks/"),
        ("GET", "/v1/rules/a/b"),
        ("GET", "/"),
        ("OPTIONS", "/v1/nope"),
        ("GET", "/v1/webhooks/%ff"),
    ] {
        let answer = site.call(&[], method, target, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.fault().as_str()),
            (404, "The resource could not be found.")
        );
    }
    for (method, target, allow) in [
        ("PUT", "/v1/webhooks/", "GET"),
        ("HEAD", "/v1/webhooks/sample", "GET, POST"),
        ("OPTIONS", "/webhooks/sample", "GET, POST"),
        ("post", "/v1/webhooks/sample", "GET, POST"),
        ("PATCH", "/v1/webhooks/nope", "GET, POST"),
        ("DELETE", "/v1/rules/", "GET, POST"),
        ("POST", "/v1/rules/r1", "GET, PUT, DELETE"),
        ("PUT", "/v1/apikeys", "GET, POST"),
        ("PATCH", "/v1/apikeys/1", "GET, PUT, DELETE"),
        ("POST", "/v1/triggerinstances", "GET"),
    ] {
        let answer = site.call(&[], method, target, "").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[ALLOW]),
            (405, &allow.parse().unwrap()),
            "{method} {target}"
        );
        assert_eq!(answer.text.is_empty(), method == "HEAD");
    }
    assert_eq!(site.count_events().await, 0);
}

#[tokio::test]
async fn checks_come_in_their_order() {
    let site = Site::new().await;
    let sender = &[("st2-api-key", "key-send")][..];
    let nobody = &[("st2-api-key", "key-none")][..];
    let bad = &[("st2-api-key", "bad")][..];
    let twice = &[BILL, BILL][..];
    let large = "x".repeat(1_048_577);
    for (by, target, body, expected) in [
        (&[][..], "/v1/webhooks/nope", large.as_str(), 401),
        (bad, "/v1/webhooks/nope", &large, 401),
        (twice, "/v1/webhooks/nope", &large, 400),
        (nobody, "/v1/webhooks/nope", &large, 403),
        (sender, "/v1/webhooks/nope", &large, 403),
        (&[BILL], "/v1/webhooks/nope", &large, 413),
        (&[BILL], "/v1/webhooks/nope", "{", 400),
        (&[BILL], "/v1/webhooks/nope", "1", 400),
        (&[BILL], "/v1/webhooks/nope", "{}", 404),
        (nobody, "/v1/webhooks?limit=x", "", 404),
        (nobody, "/v1/rules", &large, 403),
        (&[BILL], "/v1/rules", &large, 413),
        (nobody, "/v1/apikeys", "{", 403),
        (&[BILL], "/v1/apikeys", &large, 413),
    ] {
        assert_eq!(site.call(by, "POST", target, body).await.status, expected, "{by:?} {target}");
    }
    for (by, target, body, expected) in [
        (nobody, "/v1/rules/nope", "{", 403),
        (&[BILL][..], "/v1/rules/nope", "{", 400),
        (&[BILL], "/v1/rules/nope", "[]", 400),
        (&[BILL], "/v1/rules/nope", r#"{"name":1}"#, 404),
        (nobody, "/v1/apikeys/nope", "{", 403),
        (&[BILL], "/v1/apikeys/nope", "[]", 400),
        (&[BILL], "/v1/apikeys/nope", r#"{"key_hash":"x"}"#, 404),
    ] {
        assert_eq!(site.call(by, "PUT", target, body).await.status, expected, "{by:?} {target}");
    }
    let denied = site.call(nobody, "POST", "/v1/webhooks/No%22pe/", "").await;
    let text = "User \"bill\" doesn't have required permission \"webhook_send\" on resource \"webhook:No\"pe\"";
    assert_eq!(denied.fault(), text);
    assert_eq!(site.count_events().await, 0);
}

#[tokio::test]
async fn every_permission_is_asked_for_by_its_name() {
    let site = Site::new().await;
    for (method, target, permission) in [
        ("GET", "/v1/webhooks", "\"webhook_list\""),
        ("GET", "/webhooks/a/b/", "\"webhook_view\" on resource \"webhook:a/b\""),
        ("POST", "/v1/webhooks/st2/", "\"webhook_send\" on resource \"webhook:st2\""),
        ("GET", "/v1/rules", "\"rule_list\""),
        ("POST", "/v1/rules", "\"rule_create\""),
        ("GET", "/v1/rules/r1", "\"rule_view\""),
        ("PUT", "/v1/rules/r1", "\"rule_modify\""),
        ("DELETE", "/v1/rules/r1", "\"rule_delete\""),
        ("GET", "/v1/apikeys?limit=x", "\"api_key_list\""),
        ("POST", "/v1/apikeys", "\"api_key_create\""),
        ("GET", "/v1/apikeys/1", "\"api_key_view\""),
        ("PUT", "/v1/apikeys/1", "\"api_key_modify\""),
        ("DELETE", "/v1/apikeys/1", "\"api_key_delete\""),
        ("GET", "/v1/triggerinstances?limit=x", "\"trigger_instance_list\""),
    ] {
        let answer = site.call(&[("st2-api-key", "key-none")], method, target, "").await;
        assert_eq!(answer.status, 403);
        assert_eq!(
            answer.fault(),
            format!("User \"bill\" doesn't have required permission {permission}")
        );
    }
}

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
async fn bodies_of_get_and_delete_are_not_parsed() {
    let site = Site::new().await;
    assert_eq!(site.call(&[BILL], "GET", "/v1/webhooks", "{").await.status, 200);
    assert_eq!(site.call(&[BILL], "DELETE", "/v1/rules/r2", "{").await.status, 204);
}

#[tokio::test]
async fn numbers_keep_their_digits_wherever_they_go() {
    let site = Site::new().await;
    let digits = r#"{"a":[1.10,12345678901234567890,1e400,-0],"$serde_json::private::Number":"1"}"#;

    let answer = site.post("/v1/webhooks/sample", digits).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (202, digits));
    let generic = format!(r#"{{"trigger":"git.any","payload":{digits}}}"#);
    assert_eq!(site.post("/v1/webhooks/st2", &generic).await.text, generic);
    let events = site.get("/v1/triggerinstances").await.text;
    assert!(events.contains(&format!(r#""payload":{digits}"#)));
    assert!(events.contains(&format!(r#""body":{digits}"#)));

    let record = format!(
        r#"{{"name":"n","criteria":{digits},"action":{digits},"trigger":{{"type":"git.any","parameters":{digits}}}}}"#
    );
    assert_eq!(site.post("/v1/rules", &record).await.status, 201);
    assert_eq!(site.get("/v1/rules/n").await.text.matches(digits).count(), 3);

    let answer = site.post("/v1/apikeys", &format!(r#"{{"metadata":{digits}}}"#)).await;
    let shown = site.get(&format!("/v1/apikeys/{}", answer.id())).await.text;
    assert!(answer.text.contains(digits) && shown.contains(digits));
    assert!(site.get("/v1/apikeys").await.text.contains(r#"{"n": 1.10}"#));
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

/// All of them at once.
async fn join_all(calls: impl Iterator<Item = impl Future<Output = Answer>>) -> Vec<Answer> {
    let mut calls: Vec<_> = calls.map(|call| (Box::pin(call), None)).collect();
    std::future::poll_fn(|context| {
        let mut done = true;
        for (call, answer) in &mut calls {
            if answer.is_none() {
                match call.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *answer = Some(ready),
                    std::task::Poll::Pending => done = false,
                }
            }
        }
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    calls.into_iter().map(|(_, answer)| answer.unwrap()).collect()
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
async fn rules_and_keys_are_read_from_json_alone() {
    let site = Site::new().await;
    for content_type in
        ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=b"]
    {
        let by = [BILL, ("content-type", content_type)];
        for (method, target) in
            [("POST", "/v1/rules"), ("PUT", "/v1/rules/r1"), ("POST", "/v1/apikeys")]
        {
            let answer = site.call(&by, method, target, "{}").await;
            let named = content_type.split(';').next().unwrap();
            assert_eq!(answer.status, 400);
            let text =
                format!("Failed to parse request body: Unsupported Content-Type: \"{named}\"");
            assert_eq!(answer.fault(), text);
        }
    }
    assert_eq!(site.get("/v1/apikeys").await.json().as_array().unwrap().len(), 8);
}

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
async fn a_key_is_shown_masked_to_its_owner_and_to_nobody_else() {
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

#[tokio::test]
async fn a_body_may_hold_a_mebibyte() {
    let site = Site::new().await;
    let metadata = |length: usize| format!(r#"{{"metadata":{{"a":"{}"}}}}"#, "x".repeat(length));
    let largest = 1_048_576 - metadata(0).len();
    assert_eq!(site.post("/v1/apikeys", &metadata(largest)).await.status, 201);
    let refused = site.post("/v1/apikeys", &metadata(largest + 1)).await;
    assert_eq!((refused.status.as_u16(), refused.fault().is_empty()), (413, false));
    let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(site.post("/v1/webhooks/sample", &deep(128)).await.status, 202);
    assert_eq!(site.post("/v1/webhooks/sample", &deep(129)).await.status, 400);
    let wide = format!("[{}1]", "1,".repeat(500_000));
    assert_eq!(site.post("/v1/webhooks/sample", &wide).await.status, 202);
    let form = [BILL, ("content-type", "application/x-www-form-urlencoded")];
    let fields = "a=1&".repeat(200_000);
    assert_eq!(site.call(&form, "POST", "/v1/webhooks/sample", &fields).await.status, 202);
}

#[tokio::test]
async fn the_configuration_is_imported_once() {
    let mut site = Site::new().await;
    assert_eq!(site.delete("/v1/rules/r1").await.status, 204);
    let id = site.post("/v1/apikeys", "{}").await.id();
    let keys = site.get("/v1/apikeys").await.json();
    let first = keys[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.delete(&format!("/v1/apikeys/{first}")).await.status, 204);

    let config = CONFIG.replace("token-anna", "token-late").replace("git.any", "git.other");
    let config = config.replace(r#"["bill", "anna"]"#, r#"["bill", "anna", "ghost"]"#);
    site.restart(&config, None).await.unwrap();
    assert_eq!(site.get("/v1/rules/r1").await.status, 404);
    assert_eq!(site.get(&format!("/v1/apikeys/{id}")).await.status, 200);
    assert_eq!(site.get(&format!("/v1/apikeys/{first}")).await.status, 404);
    for (token, expected) in
        [("token-anna", 200), ("token-late", 401), ("token-zero", 401), ("token-ghost", 200)]
    {
        let answer = site.call(&[("x-auth-token", token)], "GET", "/v1/webhooks", "").await;
        assert_eq!(answer.status, expected, "{token}");
    }
    assert_eq!(site.post("/v1/webhooks/st2", r#"{"trigger":"git.other"}"#).await.status, 202);
    assert_eq!(site.post("/v1/webhooks/st2", r#"{"trigger":"git.any"}"#).await.status, 400);
}

#[tokio::test]
async fn rule_files_are_brought_in_at_every_start() {
    let mut site = Site::new().await;
    let folder = site.folder.join("rules");
    fs::create_dir(&folder).unwrap();
    let before = site.get("/v1/rules/r1").await.json();
    let file = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let yaml = |name: &str, url: &str| {
        format!("name: {name}\ntrigger:\n  type: core.st2.webhook\n  parameters: {{url: {url}}}\n")
    };
    file("a.yaml", &yaml("r1", "from/file"));
    file("b.yml", &format!("# new\n{}", yaml("new", "new")));
    file("c.json", "not: a rule");
    let config = site.config.clone();
    site.restart(&config, Some(folder.clone())).await.unwrap();
    let after = site.get("/v1/rules/r1").await.json();
    assert_eq!(after["id"], before["id"]);
    assert_eq!(
        (&after["description"], &after["trigger"]["parameters"]["url"]),
        (&json!(""), &json!("from/file"))
    );
    assert_eq!(site.get("/v1/webhooks/new").await.status, 200);
    assert_eq!(site.get("/v1/webhooks/sample").await.status, 404);

    assert_eq!(site.delete("/v1/rules/new").await.status, 204);
    site.restart(&config, Some(folder.clone())).await.unwrap();
    assert_eq!(site.get("/v1/rules/new").await.status, 200);

    for text in [
        "",
        "- a",
        "name: [",
        "name: x\nname: y\ntrigger: {type: git.any}",
        "name: x\ntrigger: {type: no.such}",
        "name: 1\ntrigger: {type: git.any}",
        "name: x\ntrigger: {type: git.any}\n---\nname: y\ntrigger: {type: git.any}",
        &yaml("r1", "twice"),
    ] {
        file("d.yaml", text);
        assert!(site.restart(&config, Some(folder.clone())).await.is_err(), "{text}");
    }
    fs::remove_file(folder.join("d.yaml")).unwrap();
    fs::create_dir(folder.join("d.yaml")).unwrap();
    assert!(site.restart(&config, Some(folder.clone())).await.is_err());
    assert!(site.restart(&config, Some(folder.join("none"))).await.is_err());
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

#[tokio::test]
async fn no_credential_is_readable_in_the_folder() {
    let site = Site::new().await;
    let made = site.post("/v1/apikeys", "{}").await.json();
    let key = made["key"].as_str().unwrap();
    assert_eq!(
        site.call(&[("st2-api-key", key)], "POST", "/v1/webhooks/sample", "{}").await.status,
        202
    );
    for entry in fs::read_dir(&site.folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for secret in [key, "token-bill", "key-bill", "key-send"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}

#[tokio::test]
async fn the_hints_work_with_the_demo() {
    let site = Site::with(crate::DEMO).await;
    let mut calls = 0;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for line in crate::HINTS.lines().filter_map(|line| line.trim().strip_prefix("curl -s -K ")) {
        let (file, rest) = line.split_once(' ').unwrap();
        let file = fs::read_to_string(file.replace("{examples}", examples)).unwrap();
        let header = file.lines().find_map(|line| line.strip_prefix("header = \"")).unwrap();
        let (name, value) = header.trim_end_matches('"').split_once(": ").unwrap();
        let target = rest.split("{address}").nth(1).unwrap().trim_end_matches('\'');
        let body = rest.split_once("--json '").map(|(_, rest)| rest.split('\'').next().unwrap());
        let method = if body.is_some() { "POST" } else { "GET" };
        let answer = site.call(&[(name, value)], method, target, body.unwrap_or_default()).await;
        assert!(answer.status.is_success(), "{line}: {}", answer.text);
        calls += 1;
    }
    assert_eq!(calls, 3);
}
