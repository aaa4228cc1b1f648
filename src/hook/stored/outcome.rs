use std::borrow::Cow;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::bytes::{StoredBytes, StoredHeaders};
use super::{StoredError, VERSION, read};
use crate::hook::Outcome;
use crate::hook::outcome::Content;

#[derive(Deserialize, Serialize)]
struct StoredOutcome<'a> {
    v: u32,
    content: StoredContent<'a>,
    status: Option<u16>,
    headers: StoredHeaders<'a>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum StoredContent<'a> {
    /// The JSON text as a string, so that its digits and the order of its members stay.
    Json(Cow<'a, str>),
    Accepted,
    Raw(StoredBytes<'a>),
}

impl Outcome {
    /// The outcome as a JSON text with a version, for a store.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::hook::Outcome;
    ///
    /// let stored = Outcome::json(&[1, 2])?.encode();
    /// assert_eq!(Outcome::decode(&stored).unwrap().as_json(), Some("[1,2]"));
    /// # Ok::<(), tower_webhook::hook::ExecutorError>(())
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "queue")))]
    #[must_use]
    pub fn encode(&self) -> String {
        let stored = StoredOutcome {
            v: VERSION,
            content: match &self.content {
                Content::Json(text) => StoredContent::Json(text.into()),
                Content::Accepted => StoredContent::Accepted,
                Content::Raw(bytes) => StoredContent::Raw(StoredBytes::of(bytes)),
            },
            status: self.status.map(|status| status.as_u16()),
            headers: StoredHeaders::of(&self.headers),
        };
        // Texts and numbers are always JSON.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`encode`](Self::encode) has written.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is damaged or of a later version, or is an outcome that cannot be made, such as one
    /// whose status is 401.
    #[cfg_attr(docsrs, doc(cfg(feature = "queue")))]
    pub fn decode(text: &str) -> Result<Self, StoredError> {
        let stored: StoredOutcome<'_> = read(text)?;
        let mut outcome = match stored.content {
            StoredContent::Json(text) => {
                Self::json_text(text).map_err(|_| StoredError::MALFORMED)?
            }
            StoredContent::Accepted => Self::accepted(),
            StoredContent::Raw(bytes) => Self::raw(bytes.into_bytes()?),
        };
        if let Some(status) = stored.status {
            let status = StatusCode::from_u16(status).map_err(|_| StoredError::MALFORMED)?;
            outcome = outcome.with_status(status).map_err(|_| StoredError::MALFORMED)?;
        }
        for (name, value) in &stored.headers.into_headers()? {
            let added = outcome.with_header(name.clone(), value.clone());
            outcome = added.map_err(|_| StoredError::MALFORMED)?;
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// The value as a JSON text, for people: `null` if the work goes on elsewhere, and a body as a text or
    /// `{"base64":".."}`.
    pub(crate) fn shown(&self) -> String {
        match &self.content {
            Content::Json(text) => text.clone(),
            Content::Accepted => "null".to_owned(),
            // Texts are always JSON.
            Content::Raw(bytes) => {
                serde_json::to_string(&StoredBytes::of(bytes)).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::hook::stored::StoredErrorKind;

    fn round_trip(outcome: &Outcome) -> Outcome {
        let text = outcome.encode();
        let decoded = Outcome::decode(&text).unwrap();
        assert_eq!(decoded.encode(), text);
        decoded
    }

    #[test]
    fn every_outcome_comes_back() {
        let digits = "[1e400,0.10,123456789012345678901234567890]";
        assert_eq!(round_trip(&Outcome::json_text(digits).unwrap()).as_json(), Some(digits));
        assert!(matches!(round_trip(&Outcome::accepted()).content, Content::Accepted));
        let raw = Outcome::raw(Vec::from_iter(0..=255))
            .with_status(StatusCode::CREATED)
            .and_then(|raw| raw.with_header(CONTENT_TYPE, HeaderValue::from_static("image/png")))
            .and_then(|raw| {
                raw.with_header(CONTENT_TYPE, HeaderValue::from_bytes(b"\xe9").unwrap())
            })
            .unwrap();
        let decoded = round_trip(&raw);
        assert_eq!(decoded.status, Some(StatusCode::CREATED));
        assert_eq!(decoded.headers, raw.headers);
        let Content::Raw(bytes) = decoded.content else { panic!() };
        assert_eq!(bytes, Vec::from_iter(0..=255));
    }

    #[test]
    fn a_text_that_is_no_outcome_is_refused() {
        let later = r#"{"v":2,"anything":1}"#;
        let kind = Outcome::decode(later).unwrap_err().kind();
        assert_eq!(kind, StoredErrorKind::UnsupportedVersion);
        for text in [
            "",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"content":{"json":"{"},"status":null,"headers":[]}"#,
            r#"{"v":1,"content":"accepted","status":401,"headers":[]}"#,
            r#"{"v":1,"content":"accepted","status":null,"headers":[["set-cookie","a=b"]]}"#,
            r#"{"v":1,"content":{"raw":{"base64":"?"}},"status":null,"headers":[]}"#,
        ] {
            let kind = Outcome::decode(text).unwrap_err().kind();
            assert_eq!(kind, StoredErrorKind::Malformed, "{text}");
        }
    }
}
