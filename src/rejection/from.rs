//! How the error of each stage becomes a rejection. The errors of [`body`](crate::body) and of the
//! verification of keys need more than themselves for it (the version of the request, the placement) and
//! are turned into one where that is known.

use super::{Place, Rejection, RejectionKind, Violation};
use crate::content::json::JsonErrorKind;
use crate::content::{ContentError, ContentErrorKind};
use crate::credential::{ExtractError, ExtractErrorKind};
use crate::envelope::BuildError;
use crate::key::{ManageError, ManageErrorKind, VerifyError, VerifyErrorKind};

impl Rejection {
    /// The refusal of a key that was presented.
    pub(crate) fn of_key(error: VerifyError, by_bearer: bool) -> Self {
        let kind = match error.kind() {
            VerifyErrorKind::Malformed => RejectionKind::Malformed,
            VerifyErrorKind::Unknown => RejectionKind::Unknown,
            VerifyErrorKind::WrongSecret => RejectionKind::WrongSecret,
            VerifyErrorKind::NotYetValid => RejectionKind::NotYetValid,
            VerifyErrorKind::Expired => RejectionKind::Expired,
            VerifyErrorKind::Disabled => RejectionKind::Disabled,
            VerifyErrorKind::Revoked => RejectionKind::Revoked,
            VerifyErrorKind::StoreUnavailable => RejectionKind::Unavailable,
        };
        let rejection = Self::new(kind).by_bearer(by_bearer);
        match kind {
            RejectionKind::Unavailable => {
                rejection.with_key_id(error.key_id().cloned()).with_source(error)
            }
            _ => rejection.with_key_id(error.into_key_id()),
        }
    }
}

impl From<ExtractError> for Rejection {
    fn from(error: ExtractError) -> Self {
        match (error.kind(), error.content_error()) {
            (ExtractErrorKind::Ambiguous, _) if error.are_copies() => {
                Self::new(RejectionKind::Ambiguous).with_source(error)
            }
            (ExtractErrorKind::Ambiguous, _) => Self::new(RejectionKind::Ambiguous),
            (ExtractErrorKind::Unreadable, Some(source)) => source.into(),
            (ExtractErrorKind::Unreadable, None) => Self::new(RejectionKind::MalformedBody),
            (ExtractErrorKind::NoSubprotocol, _) => Self::new(RejectionKind::NoSubprotocol),
            (ExtractErrorKind::TargetTooLong, _) => Self::new(RejectionKind::TargetTooLong),
            (ExtractErrorKind::NotBuffered, _) => {
                Self::new(RejectionKind::Misconfigured).with_source(error)
            }
        }
    }
}

impl From<BuildError> for Rejection {
    fn from(error: BuildError) -> Self {
        match error.content() {
            Some(content) => {
                let rejection = Self::from(content);
                match error.accepted_media_types() {
                    Some(types) => rejection.with_accept(types),
                    None => rejection,
                }
            }
            // A member that the app has added does not fit: the sender has no part in it.
            None => Self::new(RejectionKind::Internal).with_source(error),
        }
    }
}

impl From<&ContentError> for Rejection {
    fn from(error: &ContentError) -> Self {
        let rejection = Self::new(match error.kind() {
            ContentErrorKind::RepeatedContentType
            | ContentErrorKind::ByteOrderMark
            | ContentErrorKind::Malformed => RejectionKind::MalformedBody,
            ContentErrorKind::InvalidUtf8 => RejectionKind::InvalidUtf8,
            ContentErrorKind::UnsupportedMediaType | ContentErrorKind::UnsupportedCharset => {
                RejectionKind::UnsupportedMediaType
            }
            ContentErrorKind::TooManyFields => RejectionKind::TooManyFields,
        })
        .with_source(error.clone());
        let has_mark = error.kind() == ContentErrorKind::ByteOrderMark
            || error.json().is_some_and(|json| json.kind() == JsonErrorKind::ByteOrderMark);
        match error.kind() {
            // Editors show no trace of it.
            _ if has_mark => rejection.with_detail("the body begins with a byte order mark"),
            ContentErrorKind::UnsupportedCharset => {
                rejection.with_detail("the charset of JSON and forms is UTF-8")
            }
            _ => rejection,
        }
    }
}

impl From<ManageError> for Rejection {
    fn from(error: ManageError) -> Self {
        match error.kind() {
            ManageErrorKind::NotFound | ManageErrorKind::NotRecoverable => {
                Self::new(RejectionKind::NotFound)
            }
            ManageErrorKind::Conflict => Self::new(RejectionKind::Conflict),
            ManageErrorKind::Revoked => Self::new(RejectionKind::AlreadyRevoked),
            ManageErrorKind::Invalid => Self::new(RejectionKind::Invalid)
                .with_violations([Violation::new(Place::BODY, error.text())]),
            ManageErrorKind::Random
            | ManageErrorKind::WrongPepper
            | ManageErrorKind::Unavailable => {
                Self::new(RejectionKind::Unavailable).with_source(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::json::{self, JsonLimits};

    #[test]
    fn a_refused_body_keeps_what_was_wrong_with_it() {
        let json = json::validate(b"{", &JsonLimits::new()).unwrap_err();
        let other = ContentError::new(ContentErrorKind::Malformed);
        for (error, offset) in [(ContentError::from(json), Some(1)), (other, None)] {
            let rejection = Rejection::from(&error);
            let source = rejection.source().and_then(|source| source.downcast_ref());
            assert_eq!(source.map(ContentError::offset), Some(offset));
        }
    }
}
