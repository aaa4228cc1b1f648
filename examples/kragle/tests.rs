//! The server over its router.

mod credentials;
mod envelope;
mod hooks;
mod process;
mod stacks;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Builder;
use http::{HeaderMap, Method, Request};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::App;
use crate::config::Config;

/// The configuration of the tests.
const CONFIG: &str = include_str!("tests/config.json");

/// A server with a data folder and a log of its own.
struct Server {
    router: Router,
    folder: PathBuf,
}

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The code of a refusal, whose other members are checked along the way.
    fn code(&self) -> u64 {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status);
        assert!(document["title"].is_string() && document["msg"].is_string());
        assert_eq!(self.headers.contains_key("www-authenticate"), self.status == 401);
        assert_eq!(self.headers.contains_key("allow"), self.status == 405);
        document["code"].as_u64().unwrap()
    }

    /// The status and the code of a refusal.
    fn refusal(&self) -> (u16, u64) {
        (self.status, self.code())
    }

    /// What a hook has returned.
    fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.json()["status"], 0, "{self:?}");
        self.json()["result"].clone()
    }
}

impl Server {
    async fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kragle-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        Self::start(folder, CONFIG).await
    }

    async fn start(folder: PathBuf, config: &str) -> Self {
        let config = Config::parse(config).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        let app =
            App::open(&config, &folder.join("data"), Some(&folder.join("log"))).await.unwrap();
        Self { router: crate::router(app), folder }
    }

    /// Starts again on the same folder.
    async fn restarted(mut self, config: &str) -> Self {
        let folder = std::mem::take(&mut self.folder);
        drop(self);
        Self::start(folder, config).await
    }

    async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        assert!(!head.headers.keys().any(|name| name.as_str().starts_with("access-control")));
        if head.status.as_u16() >= 400 {
            assert_eq!(head.headers["x-content-type-options"], "nosniff", "{head:?}");
            let cached = head.headers["cache-control"].to_str().unwrap();
            assert!(cached.contains("no-store"), "{head:?}");
        }
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn send(&self, request: Builder) -> Answer {
        self.call(request.body(Body::empty()).unwrap()).await
    }

    async fn send_json(&self, request: Builder, body: &str) -> Answer {
        let request = request.header("content-type", "application/json");
        self.call(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn send_body(&self, request: Builder, body: &str) -> Answer {
        self.call(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// What executors were given since the last call.
    fn inputs(&self) -> Vec<Value> {
        let path = self.folder.join("log");
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A stack as alice sees it.
    async fn stack(&self, id: u32) -> Value {
        let answer = self.send(get(&format!("/blockstacks/byid/{id}")).alice()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn token(&self, id: u32) -> String {
        self.stack(id).await["webhook_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn request(method: &str, path: &str) -> Builder {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Request::builder().method(method).uri(format!("/api/v1{path}"))
}

fn get(path: &str) -> Builder {
    request("GET", path)
}

fn post(path: &str) -> Builder {
    request("POST", path)
}

/// Credentials of users.
trait As: Sized {
    fn basic(self, text: impl AsRef<[u8]>) -> Self;

    fn alice(self) -> Self {
        self.basic("alice:wonderland")
    }

    fn bob(self) -> Self {
        self.basic("bob:builder")
    }
}

impl As for Builder {
    fn basic(self, text: impl AsRef<[u8]>) -> Self {
        self.header("authorization", format!("Basic {}", STANDARD.encode(text)))
    }
}
