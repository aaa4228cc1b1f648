//! The rules of the contract over the whole router.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use servers::DataFolder;
use tower::ServiceExt as _;

use crate::config::Config;

mod calls;
mod later;
mod management;

const ANN: &str = "Bearer token-of-ann";
const BOB: &str = "Bearer token-of-bob";
const ANNS_ROOT: &str = "65f0a1b2c3d4e5f6a7b8c9d0";
const BOBS_ROOT: &str = "75f0a1b2c3d4e5f6a7b8c9d1";
const ANNS_NODE: &str = "85f0a1b2c3d4e5f6a7b8c9d2";
const BOBS_NODE: &str = "95f0a1b2c3d4e5f6a7b8c9d3";

fn config() -> Value {
    json!({
        "users": [
            {"name": "ann", "token": "token-of-ann", "root_id": ANNS_ROOT},
            {"name": "bob", "token": "token-of-bob", "root_id": BOBS_ROOT},
        ],
        "nodes": [
            {"id": ANNS_NODE, "type": "Nd", "owner": "ann"},
            {"id": BOBS_NODE, "type": "Nd", "owner": "bob"},
        ],
        "walkers": [
            {"name": "header", "webhook": {"name": "test-key"}, "report_node": true},
            {"name": "query", "webhook": {"type": "query", "name": "k"}, "report_fields": true,
             "methods": ["get", "post"], "fields": {"k": {"type": "str", "default": "none"}}},
            {"name": "path", "webhook": {"type": "path", "name": "k"}, "path": "/{k}",
             "report_node": true},
            {"name": "body", "webhook": {"type": "body", "name": "k"}, "report_fields": true,
             "methods": ["get", "post"],
             "fields": {"k": {"type": "any", "default": "none"}, "a": {"type": "any", "default": "-"}}},
            {"name": "fields", "webhook": {}, "report_fields": true,
             "fields": {"a": {"type": "any"}, "X-API-KEY": {"type": "any", "default": 0}}},
            {"name": "nothing", "webhook": {}, "methods": ["get", "post"], "reports": []},
            {"name": "part", "webhook": {"type": "body", "name": "body"}, "report_fields": true,
             "fields": {"body": {"type": "any", "default": "none"}, "a": {"type": "any"}}},
            {"name": "plain", "reports": [1]},
            {"name": "raises", "webhook": {}, "raise": "secret reason", "report_nothing": true},
            {"name": "refuses", "webhook": {}, "status": 401},
            {"name": "forbids", "webhook": {}, "methods": ["put", "patch"], "status": 405},
            {"name": "open", "webhook": {}, "auth": false, "report_node": true},
            {"name": "open query", "webhook": {"type": "query", "name": "k"}, "auth": false,
             "methods": ["get"], "report_fields": true,
             "fields": {"k": {"type": "any", "default": "none"}}},
            {"name": "open/path", "webhook": {"type": "path", "name": "k"}, "path": "/{k}",
             "auth": false, "reports": [1]},
            {"name": "open body", "webhook": {"type": "body", "name": "k"}, "auth": false,
             "report_fields": true, "fields": {"k": {"type": "any", "default": "none"}}},
        ],
    })
}

/// A server in a folder of its own.
struct Server {
    app: Router,
    folder: PathBuf,
}

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Server {
    async fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-webhook-jac-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        Self { app: app(&folder, &config()).await, folder }
    }

    /// Another start on the same folder.
    async fn restart(&mut self, config: &Value) {
        self.app = app(&self.folder, config).await;
    }

    async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        answer.check();
        answer
    }

    /// A call of a user's.
    async fn manage(&self, user: &str, method: &str, target: &str, body: &str) -> Answer {
        self.send(method, target, &[("authorization", user)], body.to_owned()).await
    }

    /// A new key: its id and its text.
    async fn key(&self, user: &str, body: &str) -> (String, String) {
        let answer = self.manage(user, "POST", "/webhook/generate-key", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    async fn keys(&self, user: &str) -> Vec<Value> {
        let answer = self.manage(user, "GET", "/webhook", "").await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.json()["keys"].as_array().unwrap().clone()
    }

    /// A call of the walker whose key is in the header `test-key`.
    async fn call(&self, key: &str) -> Answer {
        self.send("POST", "/webhook/walker/header", &[("test-key", key)], "").await
    }

    /// The lines of the execution log.
    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.join("exec.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// What holds for every answer.
    fn check(&self) {
        if !self.text.is_empty() {
            assert_eq!(self.header("content-type"), Some("application/json"));
            self.json();
        }
        if self.status.as_u16() >= 400 {
            assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
            let cached = self.header("cache-control").unwrap_or_default();
            assert!(cached.contains("no-store"), "{self:?}");
        }
        let challenged = self.header("www-authenticate").is_some();
        assert_eq!(challenged, self.status == StatusCode::UNAUTHORIZED, "{self:?}");
        let allows = self.header("allow").is_some();
        assert_eq!(allows, self.status == StatusCode::METHOD_NOT_ALLOWED, "{self:?}");
    }

    #[track_caller]
    fn is(&self, status: u16, body: &Value) {
        assert_eq!((self.status.as_u16(), &self.json()), (status, body));
    }

    #[track_caller]
    fn refuses(&self, status: u16, detail: &str) {
        self.is(status, &json!({ "detail": detail }));
    }

    /// 422 with one fault.
    #[track_caller]
    fn faults(&self, r#type: &str, loc: &Value) {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", self.text);
        let detail = &self.json()["detail"];
        assert_eq!(detail.as_array().unwrap().len(), 1);
        assert_eq!(detail[0].as_object().unwrap().len(), 3);
        assert_eq!((&detail[0]["type"], &detail[0]["loc"]), (&json!(r#type), loc));
    }
}

async fn app(folder: &std::path::Path, config: &Value) -> Router {
    let config = Config::parse(&config.to_string()).unwrap();
    let data = DataFolder::open(folder).unwrap();
    let log = servers::ExecLog::open(Some(&folder.join("exec.log"))).unwrap();
    crate::app(config, &data, log).await.unwrap()
}
