//! The whole service, from a request to its answer, on a folder of its own.

mod access;
mod bodies;
mod hooks;
mod keys;
mod process;
mod rules;

use std::fs;
use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};
use servers::DataFolder;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::config::Config;
use crate::json::sent;
use crate::{open, server};

/// The configuration of the tests.
const CONFIG: &str = include_str!("tests/config.json");

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
        if head.status.as_u16() >= 400 {
            assert_eq!(head.headers["x-content-type-options"], "nosniff", "{head:?}");
            let cached = head.headers["cache-control"].to_str().unwrap();
            assert!(cached.contains("no-store"), "{head:?}");
        }
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
