//! The layers around the addresses, in the order in which a request meets them: its id, who is calling, what they
//! may do, the body.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue};
use servers::{Error, joined};
use tower_webhook::RequestHead;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::BodyBufferLayer;
use uuid::Uuid;

use crate::accounts::carriers;
use crate::address::Address;
use crate::answer::{Refusal, refused};
use crate::api::{Server, caller};

const MAX_BODY_BYTES: usize = 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The whole service.
pub(crate) fn router(server: Server) -> Result<Router, Error> {
    let credentials = carriers()?.with_content_limits(
        // The size of a head limits the number of parameters in it.
        tower_webhook::content::ContentLimits::new().with_fields(usize::MAX),
    );
    let auth = AuthLayer::per_request(policy)
        .with_authenticator(server.accounts.clone(), credentials)?
        .with_realm("stackstorm")?
        .with_rejection_response(refused);
    let body =
        BodyBufferLayer::new().with_max_bytes(MAX_BODY_BYTES).with_rejection_response(refused);
    let router = Router::new()
        .fallback(answer)
        .layer(body)
        .layer(from_fn(permit))
        .layer(auth)
        .layer(from_fn(identify));
    Ok(servers::with_guarded_refusals(router.with_state(Arc::new(server))))
}

/// Every address asks for a caller, and serves some methods.
fn policy(head: RequestHead<'_>) -> Option<Policy> {
    let address = Address::of(head.method(), head.uri().path())?;
    Some(Policy::user().with_methods(address.methods().iter().cloned()))
}

/// Refuses a caller who lacks the permission, before the body is read.
async fn permit(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let checked = caller(&head).and_then(|caller| {
        let address = Address::of(&head.method, head.uri.path());
        let needed = address.as_ref().and_then(|address| address.permission(&head.method));
        match needed {
            Some((permission, hook)) if !caller.grants.allow(permission, hook) => {
                Err(Refusal::denied(caller, permission, hook))
            }
            _ => Ok(()),
        }
    });
    match checked {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    server.answer(&head).await.unwrap_or_else(Refusal::into_response)
}

/// Repeats the id of a request in its answer, or gives it one.
async fn identify(request: Request, next: Next) -> Response {
    let id = request_id(&joined(request.headers(), &REQUEST_ID));
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn request_id(sent: &str) -> Option<HeaderValue> {
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if (1..=128).contains(&sent.len()) && sent.bytes().all(is_printable) {
        return HeaderValue::from_str(sent).ok();
    }
    HeaderValue::try_from(Uuid::new_v4().to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_repeated_if_it_is_short_and_printable() {
        for sent in ["a", "x y", "~", &"x".repeat(128)] {
            assert_eq!(request_id(sent).unwrap(), sent);
        }
        for sent in ["", "caf\u{e9}", "a\tb", "\u{7f}", &"x".repeat(129)] {
            let id = request_id(sent).unwrap();
            let id = id.to_str().unwrap();
            assert!(id.len() == 36 && *id == id.to_ascii_lowercase() && id != sent);
        }
    }
}
