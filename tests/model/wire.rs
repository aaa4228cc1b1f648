//! Requests as they are sent. The same function makes the request that a caller sends and the one that the service
//! inside has to see.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    COOKIE, ORIGIN, SEC_WEBSOCKET_PROTOCOL,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request, Uri};

use crate::cases::{Body, Call, Method, Owner, Place, Secret};

pub(crate) const HEADER: &str = "x-key";
pub(crate) const OTHER_HEADER: &str = "x-other-key";
pub(crate) const SCHEME: &str = "Token";
pub(crate) const COOKIE_NAME: &str = "session";
pub(crate) const PARAMETER: &str = "token";
pub(crate) const TEMPLATE: &str = "/h/{key}";
pub(crate) const FIELD: &str = "api_key";
/// By this header, resolvers pick a hook.
pub(crate) const HOOK: &str = "x-hook";
/// By this one, authenticators know who is logged in.
pub(crate) const SESSION: &str = "x-logged-in";

const FORM: &str = "application/x-www-form-urlencoded";

/// The request of a call, with a text for each secret.
pub(crate) fn request(call: &Call, text: &dyn Fn(Secret) -> String) -> Request<Bytes> {
    let texts = |place: Place| -> Vec<String> {
        let at = call.copies.iter().filter(|(at, _)| *at == place);
        at.map(|(_, secret)| text(*secret)).collect()
    };
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: String| {
        let name = HeaderName::try_from(name).unwrap();
        headers.append(name, HeaderValue::try_from(value).unwrap());
    };
    let authorization = |(place, secret): &(Place, Secret)| {
        let (scheme, credential) = match place {
            Place::Bearer => ("Bearer", text(*secret)),
            Place::Basic => ("Basic", STANDARD.encode(format!("user:{}", text(*secret)))),
            Place::Scheme => (SCHEME, text(*secret)),
            _ => return None,
        };
        let is_bare = *secret == Secret::Empty;
        Some(if is_bare { scheme.to_owned() } else { format!("{scheme} {credential}") })
    };
    // What is joined has something in it.
    let sent = call.copies.iter().filter(|(_, secret)| !call.joined || *secret != Secret::Empty);
    let values = |place: Place| -> Vec<String> {
        let at = sent.clone().filter(|(at, _)| *at == place);
        at.map(|(_, secret)| text(*secret)).collect()
    };
    for (name, values) in [
        (HEADER, values(Place::Header)),
        (OTHER_HEADER, values(Place::OtherHeader)),
        (AUTHORIZATION.as_str(), sent.clone().filter_map(authorization).collect()),
    ] {
        match call.joined && !values.is_empty() {
            true => add(name, values.join(", ")),
            false => values.into_iter().for_each(|value| add(name, value)),
        }
    }
    let protocols = texts(Place::WebSocket).into_iter().map(|text| format!("key.{text}"));
    let offered = call.offers.then(|| "chat".to_owned());
    let protocols: Vec<_> = offered.into_iter().chain(protocols).collect();
    if !protocols.is_empty() {
        add(SEC_WEBSOCKET_PROTOCOL.as_str(), protocols.join(", "));
    }
    if call.preflight {
        add(ORIGIN.as_str(), "https://app.example".to_owned());
        add(ACCESS_CONTROL_REQUEST_METHOD.as_str(), "POST".to_owned());
    }
    let cookies = texts(Place::Cookie).into_iter().map(|text| format!("{COOKIE_NAME}={text}"));
    let cookies: Vec<_> = ["lang=en".to_owned()].into_iter().chain(cookies).collect();
    add(COOKIE.as_str(), cookies.join("; "));
    add(HOOK, call.hook.to_string());
    if let Some(owner) = call.session {
        add(SESSION, if owner == Owner::Alice { "alice" } else { "bob" }.to_owned());
    }
    labels(call.body).iter().for_each(|label| add(CONTENT_TYPE.as_str(), (*label).to_owned()));
    if call.body == Body::Coded {
        add(CONTENT_ENCODING.as_str(), "gzip".to_owned());
    }
    let body = body(call.body, &texts(Place::Body));
    if call.body != Body::Empty {
        add(CONTENT_LENGTH.as_str(), body.len().to_string());
    }

    let path = texts(Place::Path).pop().map_or("/x".to_owned(), |text| format!("/h/{text}"));
    let parameters = texts(Place::Query).into_iter().map(|text| format!("&{PARAMETER}={text}"));
    let target = format!("{path}?n=1{}", String::from_iter(parameters));
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = method(call.method);
    *request.uri_mut() = Uri::try_from(target).unwrap();
    *request.headers_mut() = headers;
    request
}

pub(crate) fn method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::GET,
        Method::Head => HttpMethod::HEAD,
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
        Method::Options => HttpMethod::OPTIONS,
    }
}

fn labels(body: Body) -> &'static [&'static str] {
    match body {
        Body::Empty | Body::Unlabelled => &[],
        Body::Json | Body::Coded | Body::BrokenJson | Body::TwiceJson | Body::DeepJson => {
            &["application/json"]
        }
        Body::JsonSuffix => &["application/hook+json; charset=utf-8"],
        Body::Form | Body::LongForm => &[FORM],
        Body::LatinForm => &["application/x-www-form-urlencoded; charset=iso-8859-1"],
        Body::Multipart | Body::BrokenMultipart => &["multipart/form-data; boundary=b"],
        Body::Text => &["text/plain"],
        Body::TwoLabels => &["application/json", "text/plain"],
        Body::ListedLabels => &["application/json, text/plain"],
        Body::UnreadableLabel => &["json"],
    }
}

fn body(body: Body, texts: &[String]) -> String {
    let form = || -> String { texts.iter().map(|text| format!("&{FIELD}={text}")).collect() };
    let members =
        || -> String { texts.iter().map(|text| format!("\"{FIELD}\":\"{text}\",")).collect() };
    let parts = || -> String {
        let part = |name: &str, text: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        texts.iter().map(|text| part(FIELD, text)).chain([part("n", "1")]).collect()
    };
    match body {
        Body::Empty => String::new(),
        Body::Form | Body::LatinForm | Body::Text | Body::Unlabelled => format!("n=1{}", form()),
        Body::LongForm => format!("n=1{}{}", form(), "&n=1".repeat(300)),
        Body::Multipart => format!("{}--b--\r\n", parts()),
        Body::BrokenMultipart => parts(),
        Body::BrokenJson => format!("{{{}\"n\":", members()),
        Body::TwiceJson => format!("{{{}\"n\":1,\"n\":2}}", members()),
        Body::DeepJson => format!("{{{}\"n\":{}{}}}", members(), "[".repeat(200), "]".repeat(200)),
        _ => format!("{{{}\"n\":1.0}}", members()),
    }
}
