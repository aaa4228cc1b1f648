//! What is logged, in one place (feature `tracing`; without it the functions do nothing).
//!
//! One event per accepted request (at the level debug), one per refusal, one per failed execution of hooks (the response to
//! it is a `request_refused` at the level debug), one per [managed](crate::management) key that is changed, and two of a
//! `FileKeyStore`: its file has other keys (`keys_loaded`), or cannot be read, which is logged once for each reason
//! (`keys_stale`). A `queue` logs each invocation that is stored as a job, or is a redelivery of one (`job_queued`, at the
//! level debug), and each job that a caller has repeated or removed (`job_retried`, `job_removed`). Its worker logs the
//! end of each attempt, when its queue cannot be reached, once a minute that it cannot read a job, because a later version
//! has written it, and its own stop (`worker_stopped`). What is logged while an attempt runs is in a span `job`, which has
//! `hook.name`, `job.id` and `job.attempt`. The field names are part of the public interface:
//!
//! | field | value |
//! |---|---|
//! | `event` | `authn_login_success`, `authn_login_fail`, `authz_fail`, `excess_rate_limit_exceeded`, `input_validation_fail`, `sys_fault`, `request_refused`, `executor_fail`, `key_changed`, `keys_loaded`, `keys_stale`, `job_queued`, `job_retried`, `job_removed`, `job_succeeded`, `job_released`, `job_failed`, `job_lost`, `job_dead`, `job_too_new`, `queue_unavailable`, `queue_available` or `worker_stopped` |
//! | `auth.reason` | [`RejectionKind::as_str`](crate::rejection::RejectionKind::as_str) |
//! | `auth.key_id` | the id of the key, if the credential was well formed |
//! | `auth.owner` | the proven caller, if there is one |
//! | `auth.placement` | [`PlacementKind::as_str`](crate::credential::PlacementKind::as_str) of an accepted credential |
//! | `auth.required_scope` | the scope that was missing |
//! | `http.response.status_code` | the status of the response, but for gRPC |
//! | `hook.name` | the name of the hook that the request is for, if its [`Policy`](crate::auth::Policy::with_hook) names one |
//! | `key.id` | the id of the key that was changed |
//! | `key.change` | `generate`, `update`, `extend`, `rotate`, `revoke` or `delete` |
//! | `key.count` | how many keys a file has that was read again |
//! | `job.known` | whether a job was stored before |
//! | `job.id`, `job.attempt` | the job of a queue, and which attempt it was |
//! | `job.released` | how many jobs a worker has given back at its stop |
//! | `executor.message` | the text of an `ExecutorError::public`; of a job, the error that is shown |
//! | `executor.reason` | [`FailureKind::as_str`](crate::hook::FailureKind::as_str) |
//! | `error` | the error behind a fault of ours, with its causes: `the key could not be checked: the key store cannot answer: disk on fire`. Of a refused credential, its likely reason, such as a raw `+` in a query |
//!
//! `event` follows the OWASP Logging Vocabulary Cheat Sheet where it has a name; fields of HTTP follow the semantic
//! conventions of OpenTelemetry.
//!
//! A refused [gRPC call](crate::rejection#grpc) is logged with the status that any other call would get, such as 401,
//! although its response has the status 200.
//!
//! No event has a secret, a digest, a header value, a query or a path. Of three fields the app decides what
//! is in them: `auth.owner` and `hook.name` are names that it gives, and `error` is the text of the error of
//! its store, resolver, authenticator or executor. The errors of this crate have fixed texts.

#[cfg(feature = "queue")]
mod queue;

#[cfg(feature = "queue")]
pub(crate) use self::queue::{
    JobAction, attempted, in_job, job_changed, queue_available, queue_unavailable, queued,
    worker_stopped,
};
use crate::identity::Identity;
#[cfg(feature = "tracing")]
use crate::key::Owner;
use crate::rejection::Rejection;
#[cfg(feature = "tracing")]
use crate::util::ErrorChain;

/// The places of credentials, for [`request_span`] to leave them out.
///
/// Made from an [`AuthLayer`](crate::auth::AuthLayer), which also knows the format of its keys, or from
/// [`Credentials`](crate::credential::Credentials).
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
#[derive(Clone, Debug, Default)]
pub struct Places {
    credentials: Vec<crate::credential::Credentials>,
    keys: Vec<crate::key::KeyVerifier>,
}

#[cfg(feature = "tracing")]
impl Places {
    /// These places and others, where an app has more than one layer.
    #[must_use]
    pub fn and(mut self, others: impl Into<Self>) -> Self {
        let Self { credentials, keys } = others.into();
        self.credentials.extend(credentials);
        self.keys.extend(keys);
        self
    }

    fn redact(&self, path: &str) -> String {
        let mut redacted = path.to_owned();
        for credentials in &self.credentials {
            redacted = credentials.redacted_path(&redacted).into_owned();
        }
        for keys in &self.keys {
            // A placement in the path decodes it, so an encoded key is a key as well.
            let decoded = percent_encoding::percent_decode_str(&redacted).decode_utf8_lossy();
            if let Some(without_key) = keys.redact(&decoded) {
                redacted = without_key;
            }
        }
        redacted
    }
}

#[cfg(feature = "tracing")]
impl From<&crate::credential::Credentials> for Places {
    fn from(credentials: &crate::credential::Credentials) -> Self {
        Self { credentials: vec![credentials.clone()], keys: Vec::new() }
    }
}

#[cfg(feature = "tracing")]
impl From<&crate::auth::AuthLayer> for Places {
    fn from(layer: &crate::auth::AuthLayer) -> Self {
        let config = layer.clone().into_config();
        Self {
            credentials: config.all_credentials().cloned().collect(),
            keys: config.keys().cloned().into_iter().collect(),
        }
    }
}

/// Makes the spans of tower-http's `TraceLayer` without credentials: method, path, and what the layer finds out about
/// the caller. The default of that layer writes the whole target, with a key in the query.
///
/// 1. The parameter of every path placement is `redacted`, with any value: a good key, a mistyped or
///    an encoded one, of any format. The template may also fit the end of a longer path.
/// 2. Queries and headers are not written.
/// 3. Elsewhere in the path, keys are replaced as far as their [format](crate::key::KeyFormat::redact)
///    recognises them.
///
/// The fields `auth.key_id`, `auth.owner`, `auth.placement`, `auth.reason` and `hook.name` are those of the
/// [events](self). They are empty until they are known, so that the lines of handlers have them. An
/// [`AuthLayer`](crate::auth::AuthLayer) records them into the span in which it is called, and into any other span that
/// declares fields with these names. Under [`Policy::all_of`](crate::auth::Policy::all_of) the owner and the placement
/// are those of the user.
///
/// # Security
///
/// Only the first two rules hold for every key: `OpaqueFormat` and `TokenFormat` recognise none, and a
/// mistyped key is none. A path that fits no template is written as it is, and what a
/// [`custom`](crate::credential::Placement::custom) placement reads in the path is not known here.
///
/// # Examples
///
/// ```
/// use tower_http::trace::TraceLayer;
/// use tower_webhook::auth::AuthLayer;
/// use tower_webhook::credential::Placement;
/// use tower_webhook::key::KeyManager;
/// use tower_webhook::store::MemoryKeyStore;
/// use tower_webhook::trace;
///
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let auth = AuthLayer::token(&keys, [Placement::path("/hook/{key}")?])?;
/// let spans = TraceLayer::new_for_http().make_span_with(trace::request_span((&auth).into()));
///
/// let app: axum::Router = axum::Router::new()
///     .route("/hook/{key}", axum::routing::post(|| async {}))
///     .layer(auth)
///     .layer(spans);
/// # let _ = app;
/// # Ok::<(), tower_webhook::ConfigError>(())
/// ```
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub fn request_span<B>(
    places: Places,
) -> impl Fn(&http::Request<B>) -> tracing::Span + Clone + Send + Sync + use<B> {
    use tracing::field::Empty;

    let places = std::sync::Arc::new(places);
    move |request| {
        tracing::info_span!(
            target: "tower_webhook",
            "request",
            http.request.method = request.method().as_str(),
            url.path = places.redact(request.uri().path()),
            auth.key_id = Empty,
            auth.owner = Empty,
            auth.placement = Empty,
            auth.reason = Empty,
            hook.name = Empty,
        )
    }
}

#[cfg(feature = "tracing")]
pub(crate) fn accepted(identity: Option<&Identity>, hook: Option<&str>) {
    use crate::credential::PlacementKind;

    let span = tracing::Span::current();
    span.record("hook.name", hook);
    let Some(identity) = identity else { return };
    let key_id = identity.all().find_map(Identity::key_id);
    span.record("auth.key_id", key_id.map(tracing::field::display))
        .record("auth.owner", identity.owner().as_str())
        .record("auth.placement", identity.placement().map(PlacementKind::as_str));
    for identity in identity.all() {
        tracing::debug!(
            target: "tower_webhook",
            event = "authn_login_success",
            auth.key_id = identity.key_id().map(tracing::field::display),
            auth.owner = identity.owner().as_str(),
            auth.placement = identity.placement().map(PlacementKind::as_str),
            hook.name = hook,
            "request accepted",
        );
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn accepted(_identity: Option<&Identity>, _hook: Option<&str>) {}

#[cfg(feature = "tracing")]
pub(crate) fn refused(rejection: &Rejection, hook: Option<&str>) {
    use crate::rejection::RejectionKind;

    tracing::Span::current()
        .record("auth.key_id", rejection.key_id().map(tracing::field::display))
        .record("auth.owner", rejection.owner().map(Owner::as_str))
        .record("auth.reason", rejection.kind().as_str())
        .record("hook.name", hook);

    macro_rules! refusal {
        ($level:ident, $event:literal) => {
            tracing::event!(
                target: "tower_webhook",
                tracing::Level::$level,
                event = $event,
                auth.reason = rejection.kind().as_str(),
                auth.key_id = rejection.key_id().map(tracing::field::display),
                auth.owner = rejection.owner().map(Owner::as_str),
                auth.required_scope = rejection.required_scope().map(tracing::field::display),
                http.response.status_code = rejection.status().as_u16(),
                hook.name = hook,
                error = rejection.source().map(|error| tracing::field::display(ErrorChain(error))),
                "request refused",
            )
        };
    }

    match rejection.kind() {
        // `failed` has logged it.
        _ if rejection.is_logged() => refusal!(DEBUG, "request_refused"),
        RejectionKind::Missing => refusal!(INFO, "authn_login_fail"),
        kind if kind.is_unauthorized() => refusal!(WARN, "authn_login_fail"),
        RejectionKind::Forbidden => refusal!(WARN, "authz_fail"),
        RejectionKind::RateLimited => refusal!(WARN, "excess_rate_limit_exceeded"),
        RejectionKind::Ambiguous
        | RejectionKind::NoSubprotocol
        | RejectionKind::BodyTooLarge
        | RejectionKind::BodyTimeout
        | RejectionKind::MalformedBody => refusal!(WARN, "input_validation_fail"),
        RejectionKind::Answered | RejectionKind::NotFound | RejectionKind::MethodNotAllowed => {
            refusal!(DEBUG, "request_refused");
        }
        RejectionKind::TooManyFields
        | RejectionKind::InvalidUtf8
        | RejectionKind::Invalid
        | RejectionKind::TargetTooLong
        | RejectionKind::UnsupportedMediaType
        | RejectionKind::UnsupportedContentCoding => refusal!(INFO, "input_validation_fail"),
        RejectionKind::Conflict | RejectionKind::AlreadyRevoked | RejectionKind::InFlight => {
            refusal!(INFO, "request_refused");
        }
        RejectionKind::AtCapacity => refusal!(WARN, "request_refused"),
        _ => refusal!(ERROR, "sys_fault"),
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn refused(_rejection: &Rejection, _hook: Option<&str>) {}

/// One event for a call that was let in although the limiter did not count it.
#[cfg(feature = "tracing")]
pub(crate) fn not_counted(fault: &Rejection) {
    tracing::error!(
        target: "tower_webhook",
        event = "sys_fault",
        auth.reason = fault.kind().as_str(),
        error = fault.source().map(|error| tracing::field::display(ErrorChain(error))),
        "call not counted",
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn not_counted(_fault: &Rejection) {}

/// One event for an execution that did not end well: at the level info if the input is wrong, warn if the executor is
/// busy, and error otherwise. What the executor said is in `error`: the text of a public error, or the error behind the
/// failure with its causes. What a panic said is not known.
#[cfg(feature = "tracing")]
pub(crate) fn failed(hook: Option<&str>, failure: &crate::hook::Failure) {
    use crate::hook::FailureKind;

    macro_rules! failed {
        ($level:ident) => {
            tracing::event!(
                target: "tower_webhook",
                tracing::Level::$level,
                event = "executor_fail",
                hook.name = hook,
                executor.reason = failure.kind().as_str(),
                executor.message =
                    failure.error().and_then(crate::hook::ExecutorError::public_text),
                error = cause(failure),
                "execution failed",
            )
        };
    }

    match failure.kind() {
        FailureKind::Invalid | FailureKind::InputTooLarge => failed!(INFO),
        FailureKind::Busy => failed!(WARN),
        _ => failed!(ERROR),
    }
}

/// The error behind a failure, with its causes.
#[cfg(feature = "tracing")]
fn cause(failure: &crate::hook::Failure) -> Option<impl tracing::Value> {
    let source = failure.error().and_then(crate::hook::ExecutorError::source);
    source.map(|error| tracing::field::display(ErrorChain(error)))
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn failed(_hook: Option<&str>, _failure: &crate::hook::Failure) {}

/// One event for a delivery of which it is not known whether its claim has ended.
#[cfg(all(feature = "signature", feature = "tracing"))]
pub(crate) fn unsettled(error: &(dyn std::error::Error + 'static)) {
    tracing::error!(
        target: "tower_webhook",
        event = "sys_fault",
        error = tracing::field::display(ErrorChain(error)),
        "the replay guard cannot say whether a delivery is settled",
    );
}

#[cfg(all(feature = "signature", not(feature = "tracing")))]
pub(crate) const fn unsettled(_error: &(dyn std::error::Error + 'static)) {}

/// What was done to a key.
#[cfg(feature = "management")]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Generate,
    Update,
    Extend,
    Rotate,
    Revoke,
    Delete,
}

/// One event for a key that was changed: which, how and by whom.
#[cfg(all(feature = "management", feature = "tracing"))]
pub(crate) fn changed(change: Change, key: &crate::key::KeyId, caller: &Identity) {
    let change = match change {
        Change::Generate => "generate",
        Change::Update => "update",
        Change::Extend => "extend",
        Change::Rotate => "rotate",
        Change::Revoke => "revoke",
        Change::Delete => "delete",
    };
    tracing::info!(
        target: "tower_webhook",
        event = "key_changed",
        key.change = change,
        key.id = tracing::field::display(key),
        auth.key_id = caller.key_id().map(tracing::field::display),
        auth.owner = caller.owner().as_str(),
        "key changed",
    );
}

#[cfg(all(feature = "management", not(feature = "tracing")))]
pub(crate) const fn changed(_change: Change, _key: &crate::key::KeyId, _caller: &Identity) {}

/// The file of a `FileKeyStore` had other keys.
#[cfg(all(feature = "file", feature = "tracing"))]
pub(crate) fn keys_loaded(count: usize) {
    tracing::info!(target: "tower_webhook", event = "keys_loaded", key.count = count, "keys loaded");
}

#[cfg(all(feature = "file", not(feature = "tracing")))]
pub(crate) const fn keys_loaded(_count: usize) {}

/// The file of a `FileKeyStore` cannot be read. The error names the file and the line.
#[cfg(all(feature = "file", feature = "tracing"))]
pub(crate) fn keys_stale(error: &crate::store::FileStoreError) {
    tracing::error!(
        target: "tower_webhook",
        event = "keys_stale",
        error = tracing::field::display(ErrorChain(error)),
        "keys not loaded",
    );
}

#[cfg(all(feature = "file", not(feature = "tracing")))]
pub(crate) const fn keys_stale(_error: &crate::store::FileStoreError) {}
