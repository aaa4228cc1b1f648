//! Which address is which service.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::IntoResponse as _;
use http::Method;
use percent_encoding::percent_decode_str;
use servers::Error;
use tower::ServiceExt as _;
use tower_webhook::ConfigError;
use tower_webhook::auth::{AuthLayer, Policy};

use crate::answers::{self, Refusal};
use crate::config::{Config, PlaceType, Walker};
use crate::hooks::{self, Shared};
use crate::keys::Keys;
use crate::openapi::Document;
use crate::users::{self, Users};

/// The whole server.
pub(crate) fn app(config: Config, users: &Users, shared: &Shared) -> Result<Router, Error> {
    let addresses = Arc::new(Addresses::new(config, users, shared)?);
    let app = Router::new().fallback(move |mut request: Request| async move {
        let Some((service, named)) = addresses.find(request.uri().path()) else {
            return Refusal::NotFound.into_response();
        };
        let service = service.clone();
        request.extensions_mut().insert(named);
        service.oneshot(request).await.into_response()
    });
    Ok(servers::with_guarded_refusals(app))
}

/// What an address names beside its service: the id of a key, or a node.
#[derive(Clone, Debug)]
pub(crate) struct Named(pub(crate) Option<String>);

struct Addresses {
    generate: Router,
    list: Router,
    extend: Router,
    delete: Router,
    walkers: HashMap<String, WalkerRoute>,
    openapi: Option<Router>,
}

/// A walker, and what its address looks like.
struct WalkerRoute {
    service: Router,
    key_in_path: bool,
    is_open: bool,
}

impl Addresses {
    fn new(config: Config, users: &Users, shared: &Shared) -> Result<Self, Error> {
        let keys = &shared.keys;
        let mut walkers = HashMap::new();
        let mut document = Document::default();
        document.add_management()?;
        for walker in config.walkers {
            let name = walker.name.clone();
            let route = WalkerRoute::new(walker, shared, &mut document);
            if let Some(route) = route.map_err(|error| format!("walker {name:?}: {error}"))? {
                walkers.insert(name, route);
            }
        }
        Ok(Self {
            generate: for_users(Method::POST, users::generate, users, keys)?,
            list: for_users(Method::GET, users::list, users, keys)?,
            extend: for_users(Method::PATCH, users::extend, users, keys)?,
            delete: for_users(Method::DELETE, users::delete, users, keys)?,
            walkers,
            openapi: if config.openapi { Some(document.service()?) } else { None },
        })
    }

    fn find(&self, path: &str) -> Option<(&Router, Named)> {
        let segments = segments(path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["webhook"] => Some((&self.list, Named(None))),
            ["webhook", "generate-key"] => Some((&self.generate, Named(None))),
            ["webhook", "delete"] => Some((&self.delete, Named(None))),
            ["webhook", "extend", id] => Some((&self.extend, Named(Some((*id).to_owned())))),
            ["openapi.json"] => Some((self.openapi.as_ref()?, Named(None))),
            ["webhook", "walker", name, rest @ ..] => self.walkers.get(*name)?.find(rest),
            _ => None,
        }
    }
}

impl WalkerRoute {
    /// `None` for a walker that is not called from outside.
    fn new(
        mut walker: Walker,
        shared: &Shared,
        document: &mut Document,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(webhook) = walker.webhook.take() else { return Ok(None) };
        let security = hooks::auth(&walker, &webhook, shared)?.openapi()?;
        document.add_walker(&walker, &webhook, &security);
        let key_in_path = webhook.r#type == PlaceType::Path;
        let is_open = !walker.auth;
        let service = hooks::service(walker, webhook, shared.clone())?;
        Ok(Some(Self { service, key_in_path, is_open }))
    }

    /// The service for what follows the name of the walker.
    fn find(&self, rest: &[&str]) -> Option<(&Router, Named)> {
        let rest = if self.key_in_path { rest.split_last()?.1 } else { rest };
        match rest {
            [] => Some((&self.service, Named(None))),
            [node] if !self.is_open => Some((&self.service, Named(Some((*node).to_owned())))),
            _ => None,
        }
    }
}

/// A handler behind the user's credential and the limit of bodies.
fn for_users<H, T>(
    method: Method,
    handler: H,
    users: &Users,
    keys: &Keys,
) -> Result<Router, ConfigError>
where
    H: Handler<T, Keys>,
    T: 'static,
{
    let auth = AuthLayer::new(Policy::user().with_methods([method]))?
        .with_authenticator(users.clone(), Users::credentials()?)?
        .with_rejection_response(answers::rejection);
    let service = Router::new().fallback(handler).with_state(keys.clone());
    Ok(service.layer(hooks::limits()).layer(auth))
}

/// The decoded segments of a path. A path with an empty one, such as one that ends with a slash, is none of
/// ours, and neither is one that is not UTF-8.
fn segments(path: &str) -> Option<Vec<String>> {
    let decoded = |segment: &str| -> Option<String> {
        let decoded = percent_decode_str(segment).decode_utf8().ok()?;
        (!decoded.is_empty()).then(|| decoded.into_owned())
    };
    path.strip_prefix('/')?.split('/').map(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(segments("/a%2Fb/%2561/+").unwrap(), ["a/b", "%61", "+"]);
        for path in ["", "/", "a", "//", "/a/", "/a//b", "/%ff", "*"] {
            assert_eq!(segments(path), None, "{path}");
        }
    }
}
