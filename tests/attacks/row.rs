//! A row of the table: a request, a configuration, and the required outcome.

use std::time::Duration;

use http::Method;
use tower_webhook::auth::{AuthLayer, Policy};
use tower_webhook::credential::{IntoCredentials, Placement};
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopePart};

use super::fixture::Fixture;
use super::request::Sent;
use super::run::Seen;

/// The outcome of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Code {
    Ok,
    /// 200, by the layer: the inner service is not called.
    Probe,
    /// 401, nothing was presented.
    Missing,
    /// 401, what was presented is not good.
    Invalid,
    /// 400, more than one credential.
    Ambiguous,
    /// 400, a key alone among the protocols of a WebSocket.
    NoSubprotocol,
    Forbidden,
    NotFound,
    /// 405, with what `Allow` has to say.
    Method(&'static str),
    /// 400, the body.
    Malformed,
    /// 400, too many fields.
    TooMany,
    /// 400, a name or value that is not UTF-8.
    InvalidUtf8,
    Timeout,
    TooLarge,
    MediaType,
    Coding,
    Unavailable,
    Internal,
}

impl Code {
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Ok | Self::Probe => 200,
            Self::Missing | Self::Invalid => 401,
            Self::Ambiguous
            | Self::NoSubprotocol
            | Self::Malformed
            | Self::TooMany
            | Self::InvalidUtf8 => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Method(_) => 405,
            Self::Timeout => 408,
            Self::TooLarge => 413,
            Self::MediaType | Self::Coding => 415,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// The `code` member of the problem document.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Ok | Self::Probe => "",
            Self::Missing | Self::Invalid => "unauthorized",
            Self::Ambiguous => "invalid_request",
            Self::NoSubprotocol => "no_subprotocol",
            Self::Malformed => "malformed_body",
            Self::TooMany => "too_many_fields",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::Timeout => "request_timeout",
            Self::TooLarge => "content_too_large",
            Self::MediaType => "unsupported_media_type",
            Self::Coding => "unsupported_content_encoding",
            Self::Unavailable => "temporarily_unavailable",
            Self::Internal => "internal",
        }
    }

    pub(super) const fn is_refusal(self) -> bool {
        self.status() != 200
    }

    /// Whether the head alone decides, so that the body is not polled.
    pub(super) const fn is_early(self) -> bool {
        matches!(
            self,
            Self::Probe
                | Self::Missing
                | Self::Invalid
                | Self::Ambiguous
                | Self::NoSubprotocol
                | Self::Forbidden
                | Self::NotFound
                | Self::Method(_)
                | Self::Unavailable
        )
    }
}

/// The services that a row runs through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Via {
    Hooks,
    Layer,
    /// The layer with the body buffered.
    Buffered,
}

/// How a row goes over a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OnWire {
    /// With the outcome that it has in process.
    Same,
    /// It cannot be expressed.
    Skip,
    /// The server in front refuses it by itself, with a 4xx or the end of the connection or stream.
    Refused,
}

/// The configuration of a row.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) name: &'static str,
    pub(super) layer: fn(&Fixture) -> AuthLayer,
    pub(super) envelope: fn() -> EnvelopeBuilder,
    pub(super) max_body: usize,
    pub(super) pre_auth: usize,
    pub(super) deadline: Duration,
    /// Whether a placement is in the body, so that the body comes before the verdict.
    pub(super) in_body: bool,
}

impl Setup {
    pub(super) const fn new(name: &'static str, layer: fn(&Fixture) -> AuthLayer) -> Self {
        Self {
            name,
            layer,
            envelope: EnvelopeBuilder::new,
            max_body: 256 * 1024,
            pre_auth: 16 * 1024,
            deadline: Duration::from_secs(10),
            in_body: false,
        }
    }

    pub(super) const fn in_body(self) -> Self {
        Self { in_body: true, ..self }
    }

    pub(super) const fn with_max_body(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    pub(super) const fn with_pre_auth(self, pre_auth: usize) -> Self {
        Self { pre_auth, ..self }
    }

    pub(super) const fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    pub(super) const fn with_envelope(self, envelope: fn() -> EnvelopeBuilder) -> Self {
        Self { envelope, ..self }
    }
}

/// The header of most rows, alone.
pub(super) const HEADER: Setup = Setup::new("header", |f| token(f, [header()]));

/// The same, with opaque bodies in the envelope.
pub(super) const WITH_BODY: Setup =
    HEADER.with_envelope(|| EnvelopeBuilder::new().with_part(EnvelopePart::Body, "BODY").unwrap());

pub(super) fn header() -> Placement {
    Placement::header("X-Api-Key").unwrap()
}

/// A layer for keys in these places, for the methods that rows use.
pub(super) fn token(fixture: &Fixture, placements: impl IntoCredentials) -> AuthLayer {
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    let policy = Policy::token().with_methods(methods);
    AuthLayer::new(policy).unwrap().with_keys(&fixture.manager, placements).unwrap()
}

/// Looks at what came through, and panics if it is not as it has to be.
type Check = Box<dyn Fn(&Seen)>;

pub(super) struct Row {
    pub(super) id: String,
    pub(super) setup: Setup,
    pub(super) sent: Sent,
    pub(super) expected: Code,
    /// How often the store is asked for a record.
    pub(super) finds: usize,
    pub(super) vias: &'static [Via],
    pub(super) h1: OnWire,
    pub(super) h2: OnWire,
    /// A key is in a place that is not configured. The layer passes such places on; hooks redact them.
    pub(super) is_stray: bool,
    /// The body is not polled, although it is part of the reason.
    pub(super) is_unread: bool,
    pub(super) check: Option<Check>,
}

pub(super) fn row(
    id: impl Into<String>,
    setup: Setup,
    sent: Sent,
    expected: Code,
    finds: usize,
) -> Row {
    let vias: &[Via] = match setup.in_body {
        true => &[Via::Hooks, Via::Buffered],
        false => &[Via::Hooks, Via::Layer, Via::Buffered],
    };
    let (h1, h2) = (OnWire::Same, OnWire::Same);
    Row {
        id: id.into(),
        setup,
        sent,
        expected,
        finds,
        vias,
        h1,
        h2,
        is_stray: false,
        is_unread: false,
        check: None,
    }
}

impl Row {
    pub(super) fn via(self, vias: &'static [Via]) -> Self {
        Self { vias, ..self }
    }

    pub(super) fn hooks_only(self) -> Self {
        self.via(&[Via::Hooks])
    }

    pub(super) fn h1(self, h1: OnWire) -> Self {
        Self { h1, ..self }
    }

    pub(super) fn h2(self, h2: OnWire) -> Self {
        Self { h2, ..self }
    }

    pub(super) fn in_process(self) -> Self {
        self.h1(OnWire::Skip).h2(OnWire::Skip)
    }

    pub(super) fn stray(self) -> Self {
        Self { is_stray: true, ..self }
    }

    pub(super) fn unread(self) -> Self {
        Self { is_unread: true, ..self }
    }

    /// Looks at what came through.
    pub(super) fn check(self, check: impl Fn(&Seen) + 'static) -> Self {
        Self { check: Some(Box::new(check)), ..self }
    }
}
