//! An executor of your own, which answers before the work is done. Its jobs are in memory and end with the process: `queue`
//! stores them.
//!
//! ```text
//! cargo run --example custom_executor
//! ```
//!
//! prints `curl` lines. The hook `build` answers 202 with a `Location`, at which the state of the job is found. The
//! hook `ping` answers 204.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_webhook::auth::Policy;
use tower_webhook::hook::{Executor, ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::{AuthLayer, KeyManager, MemoryKeyStore, NewKey, Owner, Placement, RequestHead};

/// The state of each job. An app that must not lose jobs keeps them in a database.
type Jobs = Arc<Mutex<BTreeMap<u64, &'static str>>>;

fn set(jobs: &Jobs, id: u64, state: &'static str) {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, state);
}

/// Hands jobs to a worker through a bounded queue.
struct Queue {
    sender: mpsc::Sender<u64>,
    jobs: Jobs,
    next_id: AtomicU64,
}

#[async_trait]
impl Executor for Queue {
    async fn execute(&self, invocation: Invocation) -> Result<Outcome, ExecutorError> {
        if invocation.hook() == Some("ping") {
            return Outcome::accepted().with_status(StatusCode::NO_CONTENT);
        }
        // The place in the queue comes first, so that a job is never listed and then refused.
        let busy = |_| ExecutorError::busy(Duration::from_secs(1));
        let place = self.sender.try_reserve().map_err(busy)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        set(&self.jobs, id, "queued");
        place.send(id);
        let location = HeaderValue::try_from(format!("/jobs/{id}"))?;
        Outcome::accepted().with_header(LOCATION, location)
    }
}

async fn work(mut receiver: mpsc::Receiver<u64>, jobs: Jobs) {
    while let Some(id) = receiver.recv().await {
        set(&jobs, id, "running");
        tokio::time::sleep(Duration::from_secs(1)).await;
        set(&jobs, id, "done");
    }
}

fn resolve(head: RequestHead<'_>) -> Option<Policy> {
    match head.original_path() {
        "/hook/build" => Some(Policy::token().with_hook("build")),
        "/hook/ping" => Some(Policy::token().with_hook("ping")),
        _ => None,
    }
}

/// The routes. `length` is how many jobs can wait.
fn app(keys: &KeyManager, length: usize) -> Result<Router, Box<dyn Error>> {
    let (sender, receiver) = mpsc::channel(length);
    let jobs = Jobs::default();
    tokio::spawn(work(receiver, Arc::clone(&jobs)));

    let queue = Queue { sender, jobs: Arc::clone(&jobs), next_id: AtomicU64::new(1) };
    let auth = AuthLayer::per_request(resolve).with_keys(keys, [Placement::bearer()])?;
    let hooks = Hooks::new(auth, queue);
    let state = move |Path(id): Path<u64>| async move {
        let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(&id).copied().ok_or(StatusCode::NOT_FOUND)
    };
    Ok(Router::new()
        .route("/jobs/{id}", get(state))
        .route_layer(AuthLayer::token(keys, [Placement::bearer()])?)
        .route_service("/hook/{name}", hooks))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: custom_executor [ADDRESS:PORT]");
        return Ok(());
    }
    let keys = KeyManager::new(MemoryKeyStore::new());
    let issued = keys.generate(&Owner::new("alice")?, NewKey::new("example")).await?;
    let listener = TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!(
        "  AUTH='Authorization: Bearer {}'\n\
         Answer: 202 with `location: /jobs/1`, then the state of the job: running, and done a second later\n  \
         curl -i -X POST -H \"$AUTH\" {url}/hook/build\n  \
         curl -H \"$AUTH\" {url}/jobs/1\n\
         Answer: 204\n  \
         curl -i -X POST -H \"$AUTH\" {url}/hook/ping",
        issued.secret().expose_secret()
    );
    axum::serve(listener, app(&keys, 100)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Method, Request};
    use tower::ServiceExt;

    use super::*;

    async fn call(
        app: &Router,
        key: &str,
        method: Method,
        path: &str,
    ) -> (StatusCode, Option<HeaderValue>, String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {key}"));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, 10_000).await.unwrap();
        let text = String::from_utf8(body.into()).unwrap();
        (head.status, head.headers.get(LOCATION).cloned(), text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_accepted_and_then_done() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let alice = Owner::new("alice").unwrap();
        let issued = keys.generate(&alice, NewKey::new("test")).await.unwrap();
        let key = issued.secret().expose_secret();
        let app = app(&keys, 1).unwrap();

        let (status, location, body) = call(&app, key, Method::POST, "/hook/build").await;
        assert_eq!((status, body.as_str()), (StatusCode::ACCEPTED, ""));
        let location = location.unwrap();
        let path = location.to_str().unwrap();
        // The queue has one place, which the worker has not emptied yet.
        let (status, _, _) = call(&app, key, Method::POST, "/hook/build").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

        assert_eq!(call(&app, key, Method::GET, path).await.2, "queued");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(call(&app, key, Method::GET, path).await.2, "done");
        assert_eq!(call(&app, key, Method::GET, "/jobs/2").await.0, StatusCode::NOT_FOUND);
        assert_eq!(call(&app, "wrong", Method::GET, path).await.0, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_ping_has_no_content() {
        let keys = KeyManager::new(MemoryKeyStore::new());
        let alice = Owner::new("alice").unwrap();
        let issued = keys.generate(&alice, NewKey::new("test")).await.unwrap();
        let app = app(&keys, 1).unwrap();
        let key = issued.secret().expose_secret();
        let (status, _, body) = call(&app, key, Method::POST, "/hook/ping").await;
        assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
        let (status, _, _) = call(&app, "wrong", Method::POST, "/hook/ping").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}
