use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::BoxError;

/// An answer that is kept, to be given again.
#[derive(Clone, Eq, PartialEq)]
pub struct StoredResponse {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// The form in a store. A later version reads this one.
#[derive(Deserialize, Serialize)]
struct Version1 {
    v: u8,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl StoredResponse {
    /// A copy of a response.
    #[must_use]
    pub fn of(response: &Response<Bytes>) -> Self {
        let headers = response.headers().iter();
        Self {
            status: response.status(),
            headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
            body: response.body().clone(),
        }
    }

    /// The response, as it was.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }

    /// How many bytes a store holds for it, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        headers + self.body.len()
    }

    /// A JSON text, for a store.
    #[must_use]
    pub fn encode(&self) -> String {
        let text = |value: &HeaderValue| STANDARD.encode(value.as_bytes());
        let headers = self.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        let version = Version1 {
            v: 1,
            status: self.status.as_u16(),
            headers: headers.collect(),
            body: STANDARD.encode(&self.body),
        };
        serde_json::to_string(&version).unwrap_or_default()
    }

    /// Reads what [`encode`](Self::encode) has written.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not of this version, or damaged.
    pub fn decode(text: &str) -> Result<Self, BoxError> {
        let Version1 { v, status, headers, body } = serde_json::from_str(text)?;
        if v != 1 {
            return Err("a stored response has a version that is not known".into());
        }
        let headers = headers.into_iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(&STANDARD.decode(value)?)?;
            Ok::<_, BoxError>((HeaderName::try_from(name)?, value))
        });
        Ok(Self {
            status: StatusCode::from_u16(status)?,
            headers: headers.collect::<Result<_, _>>()?,
            body: STANDARD.decode(body)?.into(),
        })
    }
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut response = Response::new(Bytes::from_static(b"\xff\0"));
        *response.status_mut() = StatusCode::CREATED;
        for value in [&b"a"[..], b"\xe9"] {
            let value = HeaderValue::from_bytes(value).unwrap();
            response.headers_mut().append("x-a", value);
        }
        let stored = StoredResponse::of(&response);

        let read = StoredResponse::decode(&stored.encode()).unwrap();
        assert_eq!(read, stored);
        let again = read.into_response();
        assert_eq!(again.headers(), response.headers());
        assert_eq!((again.status(), again.body()), (response.status(), response.body()));
    }

    #[test]
    fn a_text_of_this_version_is_read_in_every_later_one() {
        let text =
            r#"{"v":1,"status":200,"headers":[["content-type","dGV4dC9wbGFpbg=="]],"body":"b2s="}"#;
        let response = StoredResponse::decode(text).unwrap().into_response();
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.body(), "ok");
        for text in ["", "{}", &text.replace(":1", ":2"), &text.replace("200", "1"), &text[1..]] {
            assert!(StoredResponse::decode(text).is_err(), "{text}");
        }
    }
}
