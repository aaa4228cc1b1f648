//! A walker behind its layers. From the outside in: its methods, its key, what the key is for and which node
//! it may enter, the size of the body, the fields, and the walker itself.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response_with_state};
use axum::response::Response;
use axum::{Extension, Router};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use servers::ExecLog;
use tower_webhook::ConfigError;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::body::{BodyBufferLayer, BufferedBody};
use tower_webhook::content::ContentLimits;
use tower_webhook::credential::{Credentials, Placement};
use tower_webhook::identity::Identity;
use tower_webhook::rate_limit::RateLimits;

use crate::answers::{self, Refusal};
use crate::body::{self, Values};
use crate::config::{PlaceType, Walker, Webhook};
use crate::fields::{self, Place};
use crate::keys::Keys;
use crate::routes::Named;
use crate::walkers::{Graph, Node, Visit, log_entry};

/// The largest body.
const MAX_BYTES: usize = 1024 * 1024;

/// What all walkers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) keys: Keys,
    pub(crate) graph: Arc<Graph>,
    /// One count for all walkers.
    pub(crate) limits: RateLimits,
    pub(crate) log: ExecLog,
}

/// What one walker needs.
#[derive(Debug)]
struct Hook {
    walker: Walker,
    webhook: Webhook,
    shared: Shared,
}

/// The node that is entered. An open walker enters none.
#[derive(Clone, Debug)]
struct Entry(Option<Node>);

/// The service of a walker. The request says what its address [names](Named).
pub(crate) fn service(
    walker: Walker,
    webhook: Webhook,
    shared: Shared,
) -> Result<Router, ConfigError> {
    let methods = Policy::public().with_methods(walker.methods.iter().cloned());
    let methods = AuthLayer::new(methods)?;
    let auth = auth(&walker, &webhook, &shared)?;
    let key_in_body = webhook.r#type == PlaceType::Body && walker.auth;
    let hook = Arc::new(Hook { walker, webhook, shared });

    let mut service = Router::new()
        .fallback(run)
        .with_state(Arc::clone(&hook))
        .layer(limits())
        .layer(from_fn_with_state(Arc::clone(&hook), enter))
        .layer(map_response_with_state(hook, challenged))
        .layer(auth.with_rejection_response(answers::rejection));
    if key_in_body {
        service = service.layer(limits());
    }
    Ok(service.layer(methods.with_rejection_response(answers::rejection)))
}

/// Reads bodies up to the limit.
pub(crate) fn limits() -> BodyBufferLayer {
    BodyBufferLayer::new().with_max_bytes(MAX_BYTES).with_rejection_response(answers::rejection)
}

/// Who may call: callers with a key in the declared place, or everyone. In both cases the inner service does not
/// see the value there. A body is left as it is: the fields leave the key out.
pub(crate) fn auth(
    walker: &Walker,
    webhook: &Webhook,
    Shared { keys, limits, .. }: &Shared,
) -> Result<AuthLayer, ConfigError> {
    let placements = placements(webhook)?;
    if !walker.auth {
        return AuthLayer::public().with_removed(placements);
    }
    // The size of a target limits its fields already.
    let fields = ContentLimits::new().with_fields(usize::MAX);
    // In this protocol, a value with commas is one value.
    let credentials =
        Credentials::new(placements)?.with_content_limits(fields).with_insecure_unsplit_values();
    let layer = AuthLayer::new(Policy::token())?.with_keys(keys.verifier(), credentials)?;
    layer.with_rate_limits(limits.clone())
}

fn placements(Webhook { r#type, name }: &Webhook) -> Result<Vec<Placement>, ConfigError> {
    Ok(match r#type {
        PlaceType::Header => vec![Placement::header(name.as_str())?],
        PlaceType::Query => vec![Placement::query(name.as_str())?],
        PlaceType::Path => vec![
            Placement::path("/{webhook}/{of}/{walker}/{key}")?,
            Placement::path("/{webhook}/{of}/{walker}/{node}/{key}")?,
        ],
        PlaceType::Body => vec![body::key_placement(name)],
    })
}

/// Gives a 401 of the walker itself the challenge that the library sends for this place, so that a key whose user is
/// gone looks like an unknown one.
async fn challenged(State(hook): State<Arc<Hook>>, mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, hook.webhook.challenge());
    }
    response
}

impl Webhook {
    fn challenge(&self) -> HeaderValue {
        let name = self.name.replace('\\', r"\\").replace('"', "\\\"");
        let place = match self.r#type {
            PlaceType::Header => format!(r#", in="header", name="{}""#, name.to_ascii_lowercase()),
            PlaceType::Query => format!(r#", in="query", name="{name}""#),
            PlaceType::Path => r#", in="path", name="key""#.to_owned(),
            PlaceType::Body => String::new(),
        };
        let unnamed = HeaderValue::from_static(r#"ApiKey realm="webhook""#);
        HeaderValue::try_from(format!(r#"ApiKey realm="webhook"{place}"#)).unwrap_or(unnamed)
    }
}

/// Finds the node to enter, and asks whether the key may enter it.
async fn enter(
    State(hook): State<Arc<Hook>>,
    Extension(Named(reference)): Extension<Named>,
    caller: Option<Extension<Identity>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let entry = match caller {
        _ if !hook.walker.auth => None,
        Some(Extension(caller)) => Some(hook.entry(&caller, reference.as_deref()).await?),
        None => return Err(Refusal::Unauthorized),
    };
    request.extensions_mut().insert(Entry(entry));
    Ok(next.run(request).await)
}

/// Reads the fields and runs the walker.
async fn run(
    State(hook): State<Arc<Hook>>,
    Extension(Entry(node)): Extension<Entry>,
    Extension(body): Extension<BufferedBody>,
    caller: Option<Extension<Identity>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // The key was verified before the body was read. It may have been revoked since.
    if let Some(Extension(caller)) = caller {
        caller.reverify().await?;
    }
    let fields = hook.fields(&method, &uri, &headers, &body.bytes())?;
    let visit = Visit { node: node.as_ref(), fields: &fields };
    if let Err(error) = hook.shared.log.append(|| log_entry(&hook.walker.name, &visit)) {
        return Err(Refusal::unavailable(&error));
    }
    Ok(hook.walker.answer(&hook.walker.run(&visit)))
}

impl Hook {
    async fn entry(&self, caller: &Identity, reference: Option<&str>) -> Result<Node, Refusal> {
        let Shared { keys, graph, .. } = &self.shared;
        let id = caller.key_id().ok_or(Refusal::Unauthorized)?;
        let root = graph.root(caller.owner()).ok_or(Refusal::Unauthorized)?;
        let label = keys.label(id).await?.ok_or(Refusal::Unauthorized)?;
        if !allows(&label.walkers, &self.walker.name) {
            return Err(Refusal::Forbidden);
        }
        let node = match reference {
            None => root,
            Some(reference) => graph.find(reference).ok_or(Refusal::NotFound)?,
        };
        if !allows(&label.nodes, node.r#type()) {
            return Err(Refusal::Forbidden);
        }
        if !node.belongs_to(caller.owner()) {
            return Err(Refusal::NoAccess(node.reference()));
        }
        Ok(node.clone())
    }

    /// The declared fields as a JSON object. A walker without fields does not look at what was sent.
    fn fields(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<String, Refusal> {
        let declared = &self.walker.fields;
        if declared.is_empty() {
            return Ok("{}".to_owned());
        }
        if *method == Method::GET {
            let values = Values::of_query(uri.query().unwrap_or_default());
            return Ok(fields::read(declared, &values, Place::Query)?);
        }
        let Webhook { r#type, name } = &self.webhook;
        let key = (*r#type == PlaceType::Body).then_some(name.as_str());
        let values = Values::of_body(headers, body, key).map_err(|fault| vec![fault])?;
        Ok(fields::read(declared, &values, Place::Body)?)
    }
}

/// An empty list allows everything.
fn allows(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|allowed| allowed == name)
}
