//! All modes on axum: one public, one token and one user hook, and a token in every place. Start with `webhook`,
//! which is shorter.
//!
//! ```text
//! cargo run --example hooks
//! ```
//!
//! prints its address, and `curl` lines with the answers to expect. Run them at the top folder: some send
//! `examples/payloads/github-push.json`. Another port: `cargo run --example hooks -- 127.0.0.1:0`.

use std::env;
use std::error::Error;

use async_trait::async_trait;
use axum::Router;
use axum::routing::any_service;
use http::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::net::TcpListener;
use tower_webhook::BoxError;
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Authentication, Authenticator, Policy, User};
use tower_webhook::credential::{Placement, PresentedCredential};
use tower_webhook::hook::{ExecutorError, Hooks, Invocation, Outcome};
use tower_webhook::key::{
    IssuedKey, KeyManager, KeyVerifier, NewKey, Owner, PrefixedFormat, Scope, Scopes,
    VerifyErrorKind,
};
use tower_webhook::store::MemoryKeyStore;

/// Which hook is it, who may call it, and by which method?
fn resolve(head: RequestHead<'_>, deploy: &Scope, owner: &Owner) -> Option<Policy> {
    let name = head.uri().path().strip_prefix("/hook/")?.split('/').next()?;
    let policy = match name {
        "status" => Policy::public().with_methods([Method::GET]),
        "deploy" => Policy::token().with_methods([Method::POST]).with_scope(deploy.clone()),
        "report" => Policy::user().with_methods([Method::POST]).with_owner(owner.clone()),
        _ => return None,
    };
    Some(policy.with_hook(name))
}

/// What the `deploy` hook reads of a push.
#[derive(Deserialize)]
struct Push {
    r#ref: String,
    #[serde(default)]
    commits: Vec<IgnoredAny>,
}

/// What the hooks do. The envelope has no credential in it, wherever the caller put one.
async fn run(invocation: Invocation) -> Result<Outcome, ExecutorError> {
    let envelope = invocation.envelope();
    match invocation.hook() {
        Some("status") => Outcome::json(&json!({"healthy": true})),
        Some("deploy") => {
            let push: Push = serde_json::from_str(envelope.json().unwrap_or_default())
                .map_err(|_| ExecutorError::public("the payload is no push"))?;
            Outcome::json(&json!({"deployed": push.r#ref, "commits": push.commits.len()}))
        }
        _ => Outcome::json_text(envelope.post().unwrap_or_default()),
    }
}

/// Users log in with their name and a token made for that purpose, as many services have it. The tokens
/// are keys of another manager, so they open no token hook.
struct Logins(KeyVerifier);

#[async_trait]
impl Authenticator for Logins {
    async fn authenticate(
        &self,
        _head: RequestHead<'_>,
        candidate: Option<&PresentedCredential<'_>>,
    ) -> Result<Authentication, BoxError> {
        let Some(candidate) = candidate else { return Ok(Authentication::Missing) };
        let token = candidate.expose_bytes().unwrap_or_default();
        match self.0.verify(token).await {
            Ok(key) if candidate.username() == Some(key.owner().as_str()) => {
                Ok(Authentication::Accepted(User::new(key.owner().clone())))
            }
            Err(error) if error.kind() == VerifyErrorKind::StoreUnavailable => Err(error.into()),
            Ok(_) | Err(_) => Ok(Authentication::Refused),
        }
    }
}

/// What a caller of this app may want to try.
struct Credentials {
    key: String,
    expired: String,
    revoked: String,
    without_scope: String,
    login: String,
}

async fn app() -> Result<(Router, Credentials), Box<dyn Error>> {
    let owner = Owner::new("alice")?;
    let deploy = Scope::new("deploy")?;

    let keys = KeyManager::new(MemoryKeyStore::new());
    let draft = NewKey::new("example").with_scopes(Scopes::new([deploy.clone()]));
    let expiring = draft.clone().with_expires_in(time::Duration::milliseconds(1));
    let key = keys.generate(&owner, draft.clone()).await?;
    let expired = keys.generate(&owner, expiring).await?;
    let revoked = keys.generate(&owner, draft).await?;
    keys.revoke(&owner, revoked.record().id()).await?;
    let without_scope = keys.generate(&owner, NewKey::new("no scope")).await?;

    let logins = KeyManager::new(MemoryKeyStore::new()).with_format(PrefixedFormat::new("login")?);
    let login = logins.generate(&owner, NewKey::new("example")).await?;

    let text = |issued: IssuedKey| issued.secret().expose_secret().to_owned();
    let credentials = Credentials {
        key: text(key),
        expired: text(expired),
        revoked: text(revoked),
        without_scope: text(without_scope),
        login: text(login),
    };

    let auth = AuthLayer::per_request(move |head: RequestHead<'_>| resolve(head, &deploy, &owner))
        .with_keys(
            &keys,
            [
                Placement::header("x-webhook-token")?,
                Placement::bearer(),
                Placement::query("token")?,
                Placement::path("/hook/{name}/{key}")?,
                Placement::body("token")?,
            ],
        )?
        .with_authenticator(Logins(logins.verifier()), [Placement::basic()])?;
    // A push may come with its key in the body, so bodies of this size are read before the caller is known.
    let hooks = Hooks::new(auth, run).with_pre_auth_max_bytes(64 * 1024);

    let router = Router::new()
        .route("/hook/{name}", any_service(hooks.clone()))
        .route("/hook/{name}/{key}", any_service(hooks));
    Ok((router, credentials))
}

fn instructions(address: &str, credentials: &Credentials) -> String {
    let Credentials { key, expired, revoked, without_scope, login } = credentials;
    let deployed = r#"{"commits":20,"deployed":"refs/heads/main"}"#;
    let payload = "--json @examples/payloads/github-push.json";
    format!(
        r#"listening on http://{address}

A public hook. Answer: {{"healthy":true}}
  curl -s http://{address}/hook/status

A token hook, with a GitHub push. Answer: {deployed}
  curl -s -H 'X-Webhook-Token: {key}' {payload} http://{address}/hook/deploy
  curl -s -H 'Authorization: Bearer {key}' {payload} http://{address}/hook/deploy
  curl -s {payload} 'http://{address}/hook/deploy?token={key}'
  curl -s {payload} http://{address}/hook/deploy/{key}

The same with the key in the body. Answer: {{"commits":0,"deployed":"v1"}}
  curl -s --json '{{"token":"{key}","ref":"v1"}}' http://{address}/hook/deploy

A user hook. Answer: {{"week":"47"}}
  curl -s -u 'alice:{login}' -d week=47 http://{address}/hook/report

Refused: no key (401), a wrong one (401), an expired one (401), a revoked one (401), one without the scope
(403), two keys (400), another method (405), no such hook (404)
  curl -si --json '{{}}' http://{address}/hook/deploy
  curl -si -H 'X-Webhook-Token: wrong' --json '{{}}' http://{address}/hook/deploy
  curl -si -H 'X-Webhook-Token: {expired}' --json '{{}}' http://{address}/hook/deploy
  curl -si -H 'X-Webhook-Token: {revoked}' --json '{{}}' http://{address}/hook/deploy
  curl -si -H 'X-Webhook-Token: {without_scope}' --json '{{}}' http://{address}/hook/deploy
  curl -si -H 'X-Webhook-Token: {key}' --json '{{}}' 'http://{address}/hook/deploy?token={key}'
  curl -si http://{address}/hook/deploy
  curl -si http://{address}/hook/unknown"#
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: hooks [ADDRESS:PORT]");
        return Ok(());
    }
    let (app, credentials) = app().await?;
    let listener = TcpListener::bind(&address).await?;
    println!("{}", instructions(&listener.local_addr()?.to_string(), &credentials));
    axum::serve(listener, app).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    const PUSH: &str = include_str!("payloads/github-push.json");
    const DEPLOYED: &str = r#"{"commits":20,"deployed":"refs/heads/main"}"#;

    async fn answer(app: &Router, request: Request<Body>) -> (StatusCode, String) {
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    }

    fn push(uri: &str) -> http::request::Builder {
        Request::post(uri).header("content-type", "application/json")
    }

    #[tokio::test]
    async fn the_key_opens_the_hook_from_every_place() {
        let (app, Credentials { key, .. }) = app().await.unwrap();
        let body = || Body::from(PUSH);
        let requests = [
            push("/hook/deploy").header("x-webhook-token", &key).body(body()),
            push("/hook/deploy").header("authorization", format!("Bearer {key}")).body(body()),
            push(&format!("/hook/deploy?token={key}")).body(body()),
            push(&format!("/hook/deploy/{key}")).body(body()),
        ];
        for request in requests {
            let (status, body) = answer(&app, request.unwrap()).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, DEPLOYED));
        }

        let body = format!(r#"{{"token":"{key}","ref":"v1"}}"#);
        let (status, body) = answer(&app, push("/hook/deploy").body(body.into()).unwrap()).await;
        let expected = r#"{"commits":0,"deployed":"v1"}"#;
        assert_eq!((status, body.as_str()), (StatusCode::OK, expected));
    }

    #[tokio::test]
    async fn the_public_and_the_user_hook_answer() {
        let (app, Credentials { login, .. }) = app().await.unwrap();

        let request = Request::get("/hook/status").body(Body::empty()).unwrap();
        let (status, body) = answer(&app, request).await;
        let expected = r#"{"healthy":true}"#;
        assert_eq!((status, body.as_str()), (StatusCode::OK, expected));

        use base64::Engine as _;
        let user = format!("alice:{login}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(user);
        let request = Request::post("/hook/report")
            .header("authorization", format!("Basic {encoded}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("week=47"))
            .unwrap();
        let (status, body) = answer(&app, request).await;
        let expected = r#"{"week":"47"}"#;
        assert_eq!((status, body.as_str()), (StatusCode::OK, expected));
    }

    #[tokio::test]
    async fn refusals_are_as_printed() {
        let (app, credentials) = app().await.unwrap();
        let Credentials { key, expired, revoked, without_scope, login } = credentials;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let cases = [
            (push("/hook/deploy"), StatusCode::UNAUTHORIZED),
            (push("/hook/deploy").header("x-webhook-token", "wrong"), StatusCode::UNAUTHORIZED),
            (push("/hook/deploy").header("x-webhook-token", &login), StatusCode::UNAUTHORIZED),
            (push("/hook/deploy").header("x-webhook-token", &expired), StatusCode::UNAUTHORIZED),
            (push("/hook/deploy").header("x-webhook-token", &revoked), StatusCode::UNAUTHORIZED),
            (push("/hook/deploy").header("x-webhook-token", &without_scope), StatusCode::FORBIDDEN),
            (
                push(&format!("/hook/deploy?token={key}")).header("x-webhook-token", &key),
                StatusCode::BAD_REQUEST,
            ),
            (Request::get("/hook/deploy"), StatusCode::METHOD_NOT_ALLOWED),
            (Request::get("/hook/unknown"), StatusCode::NOT_FOUND),
            (push("/hook/report").header("x-webhook-token", &key), StatusCode::UNAUTHORIZED),
        ];
        for (request, expected) in cases {
            let (status, _) = answer(&app, request.body(Body::from("{}")).unwrap()).await;
            assert_eq!(status, expected);
        }
    }
}
