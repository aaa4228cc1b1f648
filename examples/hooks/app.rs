//! The settings of the service, and credentials to try it with.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use http::HeaderName;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use tower_http::cors::{AllowHeaders, AllowMethods, Any, CorsLayer};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::drain::DrainLayer;
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart, ReadAs};
use tower_webhook::hook::Hooks;
use tower_webhook::key::{IssuedKey, KeyManager, NewKey, Owner, PrefixedFormat, Scope, Scopes};
use tower_webhook::rate_limit::{MemoryRateLimiter, Quota, RateLimits};
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::{ConfigError, RequestHead};

use crate::logins::Logins;
use crate::policies::policy;
use crate::runs::run;

const KIB: usize = 1024;

/// Credentials to try the app with.
pub(crate) struct Credentials {
    pub(crate) key: String,
    pub(crate) expired: String,
    pub(crate) revoked: String,
    pub(crate) without_scope: String,
    pub(crate) hourly: String,
    pub(crate) login: String,
}

/// What senders cannot change: each setting is one that some of them need.
fn envelope() -> Result<EnvelopeBuilder, ConfigError> {
    let lines = ["application/x-ndjson", "application/jsonl", "application/x-jsonlines"];
    Ok(EnvelopeBuilder::new()
        .with_part(EnvelopePart::Body, "BODY")?
        .with_media_types(["text/json"], ReadAs::Json)?
        // AWS SNS sends JSON as `text/plain`.
        .with_media_types(["text/plain"], ReadAs::JsonIfValid)?
        .with_absent_media_type(ReadAs::JsonIfValid)
        .with_media_types(lines, ReadAs::JsonLines)?
        // GitHub's default is a form with the JSON in a field.
        .with_json_fields(["payload"]))
}

/// In the head of a request, and for senders that can set neither a header nor the address, in the body.
fn placements() -> Result<[Placement; 6], ConfigError> {
    Ok([
        Placement::header("x-webhook-token")?,
        Placement::bearer(),
        Placement::authorization("ApiKey")?,
        Placement::query("token")?,
        Placement::path("/hook/{name}/{key}")?,
        Placement::body("token")?,
    ])
}

fn cors() -> CorsLayer {
    // A page sees the first two of a 429, and a gRPC-web client reads a refusal in the others.
    let names = ["ratelimit", "ratelimit-policy", "grpc-status", "grpc-message"];
    let exposed = names.map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            [WWW_AUTHENTICATE, RETRY_AFTER].into_iter().chain(exposed).collect::<Vec<_>>(),
        )
}

pub(crate) async fn app() -> Result<(Router, Credentials), Box<dyn Error>> {
    let owner = Owner::new("alice")?;
    let deploy = Scope::new("deploy")?;

    let keys = KeyManager::new(MemoryKeyStore::new());
    let draft = NewKey::new("example").with_scopes(Scopes::new([deploy.clone()]));
    let expiring = draft.clone().with_expires_in(time::Duration::milliseconds(1));
    let key = keys.generate(&owner, draft.clone()).await?;
    let expired = keys.generate(&owner, expiring).await?;
    let hourly = draft.clone().with_rate_limit(Quota::per_hour(1)?);
    let hourly = keys.generate(&owner, hourly).await?;
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
        hourly: text(hourly),
        login: text(login),
    };

    // Five at once, then one each 12 seconds.
    let limited = Quota::new(5, Duration::from_secs(12))?;
    let resolve = move |head: RequestHead<'_>| policy(head, &deploy, &owner, limited);
    let auth = AuthLayer::per_request(resolve)
        .with_keys(&keys, placements()?)?
        .with_rate_limits(RateLimits::new(MemoryRateLimiter::new()))?
        .with_authenticator(Logins(logins.verifier()), [Placement::basic()])?
        .with_grpc_rejections();
    let drain =
        DrainLayer::new().with_max_bytes(32 * KIB * KIB).with_deadline(Duration::from_secs(3));
    let hooks = Hooks::new(auth, run)
        .with_envelope(envelope()?)?
        // A push may come with its key in the body, so bodies of this size are read before the caller is known.
        .with_pre_auth_max_bytes(64 * KIB)
        // An envelope is larger than what it shows: a control character of a text takes six bytes.
        .with_max_response_bytes(8 * KIB * KIB)
        .with_drain(drain);

    // Not `route`: a path that is no hook is refused in the form, and drained in the way, that all refusals have.
    let router = Router::new().fallback_service(hooks).layer(cors());
    Ok((router, credentials))
}
