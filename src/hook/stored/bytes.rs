use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::StoredError;

/// Bytes in JSON: a text if they are UTF-8, and `{"base64":".."}` otherwise.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum StoredBytes<'a> {
    Text(Cow<'a, str>),
    Other { base64: String },
}

impl<'a> StoredBytes<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Other { base64: STANDARD.encode(bytes) },
        }
    }

    pub(super) fn into_bytes(self) -> Result<Vec<u8>, StoredError> {
        match self {
            Self::Text(text) => Ok(text.into_owned().into_bytes()),
            Self::Other { base64 } => STANDARD.decode(base64).map_err(|_| StoredError::MALFORMED),
        }
    }
}

/// The lines of a header section.
#[derive(Deserialize, Serialize)]
pub(super) struct StoredHeaders<'a>(Vec<(Cow<'a, str>, StoredBytes<'a>)>);

impl<'a> StoredHeaders<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let line = |(name, value): (&'a HeaderName, &'a HeaderValue)| {
            (name.as_str().into(), StoredBytes::of(value.as_bytes()))
        };
        Self(headers.iter().map(line).collect())
    }

    pub(super) fn into_headers(self) -> Result<HeaderMap, StoredError> {
        let line = |(name, value): (Cow<'_, str>, StoredBytes<'_>)| {
            let name = HeaderName::try_from(&*name).map_err(|_| StoredError::MALFORMED)?;
            let value = HeaderValue::from_bytes(&value.into_bytes()?);
            Ok((name, value.map_err(|_| StoredError::MALFORMED)?))
        };
        let lines: Vec<_> = self.0.into_iter().map(line).collect::<Result<_, _>>()?;
        let mut headers = HeaderMap::with_capacity(lines.len());
        for (name, value) in lines {
            headers.append(name, value);
        }
        Ok(headers)
    }
}
