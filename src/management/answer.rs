//! Responses of the API.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;

use super::KeyView;
use super::command::Effect;
use crate::key::IssuedKey;

/// The response, with the base path in `Location`.
pub(super) fn response(done: &Effect, base: &str, now: OffsetDateTime) -> Response<Bytes> {
    let (status, text, made) = match done {
        Effect::Generated(issued) => {
            (StatusCode::CREATED, with_secret(issued, now), Some(issued.record()))
        }
        Effect::Replayed(record) => {
            let key = KeyView::new(record, now).to_json();
            (StatusCode::OK, format!(r#"{{"key":{key},"replayed":true}}"#), Some(record))
        }
        Effect::Rotated(issued) => (StatusCode::OK, with_secret(issued, now), None),
        Effect::Shown(record) => (StatusCode::OK, KeyView::new(record, now).to_json(), None),
        Effect::Found(record, last_used) => {
            let view = KeyView::new(record, now);
            (StatusCode::OK, with_last_used(view, last_used.as_deref(), 0).to_json(), None)
        }
        Effect::Listed(page, last_used) => {
            let views = page.keys().iter().map(|record| KeyView::new(record, now)).enumerate();
            let views =
                views.map(|(index, view)| with_last_used(view, last_used.as_deref(), index));
            let keys: Vec<_> = views.map(|view| view.to_json()).collect();
            let next = json(&page.next().map(ToString::to_string));
            (StatusCode::OK, format!(r#"{{"keys":[{}],"next":{next}}}"#, keys.join(",")), None)
        }
        Effect::Deleted => (StatusCode::NO_CONTENT, String::new(), None),
    };
    let has_text = !text.is_empty();
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if has_text {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // The characters of ids need no escaping in a path.
    let location = made.map(|record| HeaderValue::try_from(format!("{base}/{}", record.id())));
    if let Some(Ok(location)) = location {
        headers.insert(LOCATION, location);
    }
    response
}

/// With the time at this place of the list, if there is one.
fn with_last_used<'a>(
    view: KeyView<'a>,
    times: Option<&[Option<OffsetDateTime>]>,
    index: usize,
) -> KeyView<'a> {
    match times.and_then(|times| times.get(index)) {
        Some(time) => view.with_last_used(*time),
        None => view,
    }
}

fn with_secret(issued: &IssuedKey, now: OffsetDateTime) -> String {
    let key = KeyView::new(issued.record(), now).to_json();
    let secret = json(issued.secret().expose_secret());
    format!(r#"{{"key":{key},"secret":{secret}}}"#)
}

/// Cannot fail for texts.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
