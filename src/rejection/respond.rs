use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};

use super::asked::{self, Asked, Scrub};
use super::{Challenges, Rejection, RejectionKind, ResponseBody, grpc};
use crate::rate_limit::whole_seconds;
use crate::request_head::RequestHead;
use crate::trace;

/// Makes responses of rejections: the challenges of a layer, and the closure that replaces the body.
#[derive(Clone)]
pub(crate) struct Respond {
    challenges: SharedChallenges,
    body: Option<Arc<BodyFn>>,
    /// Whether gRPC calls are refused in the form of gRPC.
    grpc: bool,
    /// `None`: everything that this crate reads.
    accept: Option<&'static str>,
    /// The headers of a default 401, made once: junk is answered more often than anything else.
    unauthorized: Unauthorized,
}

/// By [`Audience`]. An identity has those of its layer, for refusals of stages behind it.
pub(crate) type SharedChallenges = Arc<[Challenges; 3]>;

/// By [`Audience`], and by whether a bearer token was presented.
type Unauthorized = [[HeaderMap; 2]; 3];

/// Whose challenges a 401 has.
#[derive(Clone, Copy)]
pub(crate) enum Audience {
    Keys,
    Users,
    /// Both, where a policy takes both, or a layer conceals which of them a hook asks for.
    All,
}

impl Audience {
    const fn of(rejection: &Rejection) -> Self {
        match rejection {
            Rejection { concealed: true, .. } => Self::All,
            Rejection { audience, .. } => *audience,
        }
    }

    fn pick<T>(self, [keys, users, all]: &[T; 3]) -> &T {
        match self {
            Self::Keys => keys,
            Self::Users => users,
            Self::All => all,
        }
    }
}

type BodyFn = dyn Fn(&Rejection, RequestHead<'_>) -> Response<Bytes> + Send + Sync;

impl Respond {
    /// For a stage that asks for no credential.
    pub(crate) fn new() -> Self {
        let mut respond = Self {
            challenges: Default::default(),
            body: None,
            grpc: false,
            accept: None,
            unauthorized: Unauthorized::default(),
        };
        respond.set_challenges(SharedChallenges::default());
        respond
    }

    #[cfg(feature = "management")]
    pub(crate) fn challenges(&self) -> SharedChallenges {
        Arc::clone(&self.challenges)
    }

    /// For a stage that reads these media types only.
    #[cfg(feature = "management")]
    pub(crate) fn set_accept(&mut self, media_types: &'static str) {
        self.accept = Some(media_types);
    }

    /// The challenges for keys, for users, and for both.
    pub(crate) fn set_challenges(&mut self, challenges: impl Into<SharedChallenges>) {
        self.challenges = challenges.into();
        let headers = |rejection: Rejection| {
            [false, true].map(|by_bearer| {
                let rejection = rejection.clone().by_bearer(by_bearer);
                let mut response = default_response(&rejection);
                self.set_headers(&rejection, response.headers_mut());
                std::mem::take(response.headers_mut())
            })
        };
        let unknown = || Rejection::new(RejectionKind::Unknown);
        self.unauthorized =
            [unknown(), unknown().with_audience(Audience::Users), unknown().concealed()]
                .map(headers);
    }

    pub(crate) fn set_body(
        &mut self,
        body: impl Fn(&Rejection, RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) {
        self.body = Some(Arc::new(body));
    }

    #[cfg(feature = "management")]
    pub(crate) const fn replaces_bodies(&self) -> bool {
        self.body.is_some()
    }

    pub(crate) const fn refuses_in_grpc(&self) -> bool {
        self.grpc
    }

    pub(crate) const fn set_grpc(&mut self) {
        self.grpc = true;
    }

    /// What a refusal of this request needs of it. Only a closure that replaces bodies makes that a copy.
    pub(crate) fn asked(&self, head: RequestHead<'_>, scrub: &dyn Scrub) -> Asked {
        let mut asked = Asked::new(head);
        if self.grpc {
            asked.grpc = grpc::media_type(head);
        }
        if self.body.is_some() && asked.grpc.is_none() {
            asked.view = Some(Box::new(asked::view(head, scrub)));
        }
        asked
    }

    /// The response, as a body type that the inner service's responses fit into as well.
    pub(crate) fn refuse<B>(
        &self,
        rejection: &Rejection,
        asked: &Asked,
    ) -> Response<ResponseBody<B>> {
        self.make(rejection, asked, ResponseBody::refusal)
    }

    /// The response.
    pub(crate) fn response(&self, rejection: &Rejection, asked: &Asked) -> Response<Bytes> {
        self.make(rejection, asked, |content| content)
    }

    /// The one way out. What protects the caller is set last, so that no closure can drop it.
    fn make<T>(
        &self,
        rejection: &Rejection,
        asked: &Asked,
        wrap: impl FnOnce(Bytes) -> T,
    ) -> Response<T> {
        trace::refused(rejection, asked.hook());
        let whole = rejection;
        let rejection = &*whole.shown();
        if let Some(answer) = rejection.answer() {
            let mut response = answer.clone();
            response.extensions_mut().insert(whole.clone());
            return if asked.by_head { without_content(response) } else { response }.map(wrap);
        }
        if let Some((headers, content)) = self.prepared(rejection, asked) {
            let mut response = Response::new(wrap(Bytes::from_static(content.as_bytes())));
            *response.status_mut() = rejection.status();
            *response.headers_mut() = headers.clone();
            response.extensions_mut().insert(whole.clone());
            return response;
        }
        let mut response = match asked {
            Asked { grpc: Some(media_type), .. } => {
                let may_retry = asks_to_retry(rejection.kind());
                let retry = may_retry.then(|| retry_seconds(rejection));
                grpc::response(rejection, media_type, retry)
            }
            Asked { view, .. } => self.http_response(rejection, view.as_deref()),
        };
        response.extensions_mut().insert(whole.clone());
        if asked.by_head { without_content(response) } else { response }.map(wrap)
    }

    fn http_response(&self, rejection: &Rejection, view: Option<&Parts>) -> Response<Bytes> {
        let mut response = match (&self.body, view) {
            (Some(body), Some(view)) => body(rejection, view.into()),
            (None, _) | (_, None) => default_response(rejection),
        };
        *response.status_mut() = rejection.status();
        self.set_headers(rejection, response.headers_mut());
        response
    }

    /// Headers and content of the refusals that every client can cause at any rate.
    fn prepared(&self, rejection: &Rejection, asked: &Asked) -> Option<(&HeaderMap, &'static str)> {
        let has_usual_form = self.body.is_none() && asked.grpc.is_none();
        if !has_usual_form
            || asked.by_head
            || rejection.close()
            || rejection.rate_limit().is_some()
            || !rejection.kind().is_unauthorized()
        {
            return None;
        }
        let [plain, by_bearer] = Audience::of(rejection).pick(&self.unauthorized);
        let invalid_token = rejection.by_bearer && rejection.kind() != RejectionKind::Missing;
        let headers = if invalid_token { by_bearer } else { plain };
        Some((headers, rejection.kind().problem().document))
    }

    fn set_headers(&self, rejection: &Rejection, headers: &mut HeaderMap) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.remove(WWW_AUTHENTICATE);
        match rejection.kind() {
            kind if kind.is_unauthorized() => {
                let invalid_token = rejection.by_bearer && kind != RejectionKind::Missing;
                let challenges = Audience::of(rejection).pick(&self.challenges);
                for challenge in challenges.values(invalid_token) {
                    headers.append(WWW_AUTHENTICATE, challenge.clone());
                }
            }
            RejectionKind::MethodNotAllowed => {
                let allow = rejection.allow().cloned();
                headers.insert(ALLOW, allow.unwrap_or(HeaderValue::from_static("")));
            }
            kind if asks_to_retry(kind) => {
                headers.insert(RETRY_AFTER, retry_seconds(rejection).into());
            }
            RejectionKind::UnsupportedMediaType => {
                let own = || HeaderValue::from_static(self.accept.unwrap_or(READ_MEDIA_TYPES));
                headers.insert(ACCEPT, rejection.accept().cloned().unwrap_or_else(own));
            }
            RejectionKind::UnsupportedContentCoding => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            _ => {}
        }
        if let Some(fields) = rejection.rate_limit() {
            fields.append_to(headers);
        }
        if rejection.close() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl fmt::Debug for Respond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Respond")
            .field("challenges", &self.challenges)
            .field("body", &self.body.as_ref().map(|_| "<fn>"))
            .finish()
    }
}

#[cfg(feature = "multipart")]
const READ_MEDIA_TYPES: &str =
    "application/json, application/x-www-form-urlencoded, multipart/form-data";
#[cfg(not(feature = "multipart"))]
const READ_MEDIA_TYPES: &str = "application/json, application/x-www-form-urlencoded";

/// The same response without its content, for `HEAD`. Servers of HTTP/2 leave this to the service.
pub(crate) fn without_content(mut response: Response<Bytes>) -> Response<Bytes> {
    let length = HeaderValue::from(response.body().len());
    response.headers_mut().entry(CONTENT_LENGTH).or_insert(length);
    response.map(|_| Bytes::new())
}

fn default_response(rejection: &Rejection) -> Response<Bytes> {
    let document = rejection.kind().problem().with_members(rejection);
    let mut response = Response::new(document);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// Whether a refusal says when to come back.
const fn asks_to_retry(kind: RejectionKind) -> bool {
    matches!(
        kind,
        RejectionKind::Unavailable
            | RejectionKind::AtCapacity
            | RejectionKind::InFlight
            | RejectionKind::RateLimited
    )
}

/// After how many seconds a caller may try again.
fn retry_seconds(rejection: &Rejection) -> u64 {
    rejection.retry_after().map_or_else(random_seconds, whole_seconds)
}

/// 1 to 5 seconds at random, so that callers who were refused together do not come back together.
fn random_seconds() -> u64 {
    RandomState::new().build_hasher().finish() % 5 + 1
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};

    use super::super::{ChallengeScheme, NoPlacements};
    use super::*;

    fn respond() -> Respond {
        let schemes = [ChallengeScheme::ApiKey(None), ChallengeScheme::Bearer];
        let keys = Challenges::new(&schemes, "r").unwrap();
        let users = Challenges::new(&[ChallengeScheme::Basic], "r").unwrap();
        let mut respond = Respond::new();
        respond.set_challenges([keys.clone(), users, keys]);
        respond
    }

    #[test]
    fn every_kind_keeps_the_rules_of_the_table() {
        for kind in RejectionKind::ALL {
            let response = respond().response(&Rejection::new(kind), &Asked::default());
            let headers = response.headers();
            let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();

            assert_eq!(response.status(), kind.status(), "{kind:?}");
            let is_success = response.status().is_success();
            assert_eq!(is_success, kind == RejectionKind::Answered, "{kind:?}");
            assert_eq!(document["status"], kind.status().as_u16(), "{kind:?}");
            assert_eq!(document["code"], kind.code(), "{kind:?}");
            assert_eq!(headers[CACHE_CONTROL], "no-store", "{kind:?}");
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{kind:?}");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{kind:?}");
            assert_eq!(
                headers.contains_key(WWW_AUTHENTICATE),
                response.status() == StatusCode::UNAUTHORIZED,
                "{kind:?}"
            );
            assert_eq!(
                headers.contains_key(ALLOW),
                response.status() == StatusCode::METHOD_NOT_ALLOWED,
                "{kind:?}"
            );
            assert_eq!(
                headers.contains_key(RETRY_AFTER),
                matches!(response.status().as_u16(), 429 | 503) || kind == RejectionKind::InFlight,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn all_kinds_of_a_bad_credential_look_the_same() {
        let bodies: Vec<_> = RejectionKind::ALL
            .into_iter()
            .filter(|kind| kind.is_unauthorized() && *kind != RejectionKind::Missing)
            .map(|kind| {
                let response = respond().response(&Rejection::new(kind), &Asked::default());
                (response.headers().clone(), response.into_body())
            })
            .collect();

        assert!(bodies.len() > 7);
        assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_bearer_error_code_needs_a_bearer_credential() {
        let cases = [
            (Rejection::new(RejectionKind::Missing).by_bearer(true), r#"Bearer realm="r""#),
            (Rejection::new(RejectionKind::Unknown), r#"Bearer realm="r""#),
            (
                Rejection::new(RejectionKind::Unknown).by_bearer(true),
                r#"Bearer realm="r", error="invalid_token""#,
            ),
        ];
        for (rejection, expected) in cases {
            let response = respond().response(&rejection, &Asked::default());
            let challenges: Vec<_> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();

            assert_eq!(challenges, [r#"ApiKey realm="r""#, expected]);
        }
    }

    #[test]
    fn a_closure_replaces_the_body_and_nothing_else() {
        let mut respond = respond();
        respond.set_body(|rejection, head| {
            assert_eq!(rejection.kind(), RejectionKind::Expired);
            assert_eq!(head.uri(), "/path");
            Response::builder()
                .status(200)
                .header(CACHE_CONTROL, "public")
                .header(WWW_AUTHENTICATE, "None")
                .header("x-own", "1")
                .body(Bytes::from_static(b"own"))
                .unwrap()
        });

        let request = Request::get("/path?query").body(()).unwrap();
        let asked = respond.asked((&request).into(), &NoPlacements);
        let response = respond.response(&Rejection::new(RejectionKind::Expired), &asked);

        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.body(), "own");
        assert_eq!(response.headers()["x-own"], "1");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"ApiKey realm="r""#);
    }

    #[test]
    fn a_user_route_has_the_challenges_of_the_authenticator() {
        let response = respond().response(
            &Rejection::new(RejectionKind::Missing).with_audience(Audience::Users),
            &Asked::default(),
        );

        assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"Basic realm="r", charset="UTF-8""#);
    }

    #[test]
    fn an_answer_to_head_has_headers_only() {
        let rejection = Rejection::new(RejectionKind::NotFound);
        let answer = |method: &str| {
            let request = Request::builder().method(method).body(()).unwrap();
            respond().response(&rejection, &respond().asked((&request).into(), &NoPlacements))
        };
        let length = answer("GET").body().len();
        assert!(length > 0);

        let response = answer("HEAD");
        assert_eq!(response.headers()[CONTENT_LENGTH], length.to_string());
        assert!(response.body().is_empty());
    }

    #[test]
    fn every_kind_has_a_form_in_grpc() {
        let mut respond = respond();
        respond.set_grpc();
        respond.set_body(|_, _| panic!("gRPC has no body"));
        let request = Request::post("/echo.Echo/Unary").header(CONTENT_TYPE, "application/grpc");
        let asked = respond.asked((&request.body(()).unwrap()).into(), &NoPlacements);
        for kind in RejectionKind::ALL {
            let response = respond.response(&Rejection::new(kind), &asked);
            let headers = response.headers();

            assert_eq!(response.status(), StatusCode::OK, "{kind:?}");
            assert!(response.body().is_empty(), "{kind:?}");
            assert_eq!(headers[CONTENT_TYPE], "application/grpc", "{kind:?}");
            assert_eq!(headers["grpc-status"], grpc::code(kind.status()).to_string(), "{kind:?}");
            assert_eq!(headers["grpc-message"], kind.problem().title, "{kind:?}");
            assert_eq!(headers[CACHE_CONTROL], "no-store", "{kind:?}");
            let pushback = headers.contains_key("grpc-retry-pushback-ms");
            let says_when =
                matches!(kind.status().as_u16(), 429 | 503) || kind == RejectionKind::InFlight;
            assert_eq!(pushback, says_when, "{kind:?}");
            for name in [WWW_AUTHENTICATE, ALLOW, ACCEPT, RETRY_AFTER] {
                assert!(!headers.contains_key(name), "{kind:?}");
            }
            let inner = response.extensions().get::<Rejection>().unwrap();
            assert_eq!(inner.kind(), kind);
        }
    }

    #[test]
    fn a_random_time_is_one_to_five_seconds() {
        for _ in 0..100 {
            assert!((1..=5).contains(&random_seconds()));
        }
    }
}
