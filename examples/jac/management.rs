//! How users manage their keys: one handler for each address. The layers around it have found the user and
//! read the body.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower_webhook::body::BufferedBody;
use tower_webhook::content::MediaType;
use tower_webhook::identity::Identity;

use crate::answers::{Refusal, confidential, json};
use crate::json::quoted;
use crate::keys::{Keys, ShownKey};
use crate::labels::written;
use crate::routes::Named;
use crate::validation;

pub(crate) async fn generate(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
    Extension(body): Extension<BufferedBody>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let media = MediaType::from_headers_lenient(&headers).ok();
    let request = validation::key_request(media.as_ref(), &body.bytes(), keys.now())?;
    let ShownKey { record, label, key } = keys.generate(user.owner(), request).await?;
    let answer = format!(
        r#"{{"id":"{}","name":{},"key":{}}}"#,
        record.id(),
        quoted(&label.name),
        quoted(key.expose_secret()),
    );
    Ok(confidential(StatusCode::CREATED, answer))
}

pub(crate) async fn list(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
) -> Result<Response, Refusal> {
    let keys = keys.list(user.owner()).await?;
    let keys: Vec<String> = keys.iter().map(shown).collect();
    Ok(confidential(StatusCode::OK, format!(r#"{{"keys":[{}]}}"#, keys.join(","))))
}

pub(crate) async fn extend(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
    Extension(Named(id)): Extension<Named>,
    Extension(body): Extension<BufferedBody>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let media = MediaType::from_headers_lenient(&headers).ok();
    let interval = validation::extension(media.as_ref(), &body.bytes(), keys.now())?;
    keys.extend(user.owner(), &id.unwrap_or_default(), interval).await?;
    Ok(json(StatusCode::OK, r#"{"message":"Successfully Extended!"}"#))
}

pub(crate) async fn delete(
    State(keys): State<Keys>,
    Extension(user): Extension<Identity>,
    Extension(body): Extension<BufferedBody>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let media = MediaType::from_headers_lenient(&headers).ok();
    let ids = validation::ids(media.as_ref(), &body.bytes())?;
    keys.delete(user.owner(), &ids).await?;
    Ok(json(StatusCode::OK, r#"{"message":"Successfully Deleted!"}"#))
}

fn shown(ShownKey { record, label, key }: &ShownKey) -> String {
    format!(
        r#"{{"id":"{}","name":{},"root_id":{},"walkers":{},"nodes":{},"expiration":{},"key":{}}}"#,
        record.id(),
        quoted(&label.name),
        quoted(record.owner().as_str()),
        written(&label.walkers),
        written(&label.nodes),
        record.expires_at().map_or("null".to_owned(), |time| quoted(&moment(time))),
        quoted(key.expose_secret()),
    )
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`
fn moment(time: OffsetDateTime) -> String {
    let milliseconds = u32::from(time.millisecond()) * 1_000_000;
    let time = time.replace_nanosecond(milliseconds).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_utc_and_has_at_most_milliseconds() {
        let time = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        assert_eq!(moment(time), "2023-11-14T22:13:20Z");
        let time = time + time::Duration::nanoseconds(431_999_999);
        assert_eq!(moment(time), "2023-11-14T22:13:20.431Z");
    }
}
