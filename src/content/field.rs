use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

#[cfg(feature = "multipart")]
use super::multipart;
use super::{ContentError, ContentErrorKind, ContentLimits, MediaType, form, json, without_mark};

/// The value of a field of a body.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// A text, decoded without loss. JSON's `null` is the empty text.
    Text(Cow<'a, str>),
    /// Something else: a JSON value of another type, a file, or bytes that are not UTF-8.
    NotText,
}

impl fmt::Debug for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(..)",
            Self::NotText => "NotText",
        })
    }
}

/// Every occurrence of a field at the top level of a body, in order: a member of a JSON object,
/// pairs of a form, parts of a multipart form.
///
/// An empty body has no fields under any label, and neither has JSON that is no object. The whole body is
/// checked, also behind the field. One byte order mark in front of JSON or a form is skipped.
///
/// # Errors
///
/// * [`UnsupportedMediaType`](ContentErrorKind::UnsupportedMediaType): a body that is not empty and
///   has no media type, one that is none of the three, or multipart without the feature
///   `multipart`;
/// * [`Malformed`](ContentErrorKind::Malformed) and
///   [`TooManyFields`](ContentErrorKind::TooManyFields): the body breaks the syntax of its media
///   type or a limit.
pub fn find_field<'a>(
    media: &MediaType,
    body: &'a [u8],
    name: &str,
    limits: &ContentLimits,
) -> Result<Vec<FieldValue<'a>>, ContentError> {
    let mut values = Vec::new();
    visit_field(media, body, name, limits, &mut |value| values.push(value))?;
    Ok(values)
}

/// [`find_field`], one value after the other. They count only after `Ok`.
pub(crate) fn visit_field<'a>(
    media: &MediaType,
    body: &'a [u8],
    name: &str,
    limits: &ContentLimits,
    visit: &mut dyn FnMut(FieldValue<'a>),
) -> Result<(), ContentError> {
    if body.is_empty() {
        return Ok(());
    }
    match media {
        MediaType::Json => {
            json::visit_members(without_mark(body), limits.json(), |member| {
                if member.name() == name {
                    visit(match (member.kind(), member.as_text()) {
                        (json::JsonKind::Null, _) => FieldValue::Text(Cow::Borrowed("")),
                        (_, Some(text)) => FieldValue::Text(text),
                        (_, None) => FieldValue::NotText,
                    });
                }
            })?;
        }
        MediaType::Form => {
            for pair in form::pairs_up_to(without_mark(body), limits.fields())? {
                if pair.is_named(name) {
                    visit(pair.value_text().map_or(FieldValue::NotText, FieldValue::Text));
                }
            }
        }
        #[cfg(feature = "multipart")]
        MediaType::Multipart { boundary } => {
            for part in multipart::parts(body, boundary, limits.parts())? {
                if part.name() == name {
                    let text = part.text().map(Cow::Borrowed);
                    visit(text.map_or(FieldValue::NotText, FieldValue::Text));
                }
            }
        }
        _ => return Err(ContentError::new(ContentErrorKind::UnsupportedMediaType)),
    }
    Ok(())
}

/// The body without that field. Everything else stays as it was sent, a byte order mark as well, and a body
/// without the field is returned as it is, without a copy.
///
/// # Errors
///
/// As [`find_field`]: a body that cannot be read is not passed on as if it had been cleaned.
pub fn remove_field(
    media: &MediaType,
    body: &Bytes,
    name: &str,
    limits: &ContentLimits,
) -> Result<Bytes, ContentError> {
    if body.is_empty() {
        return Ok(body.clone());
    }
    let text = without_mark(body);
    let mark = body.len() - text.len();
    let with_mark = |rest: &[u8]| [body.get(..mark).unwrap_or_default(), rest].concat();
    let rest = match media {
        MediaType::Json => match json::remove(text, name, limits.json())? {
            Cow::Borrowed(_) => None,
            Cow::Owned(rest) => Some(with_mark(rest.as_bytes())),
        },
        MediaType::Form => {
            form::pairs_up_to(text, limits.fields())?;
            match form::remove_bytes(text, name) {
                Cow::Borrowed(_) => None,
                Cow::Owned(rest) => Some(with_mark(&rest)),
            }
        }
        #[cfg(feature = "multipart")]
        MediaType::Multipart { boundary } => {
            match multipart::remove(body, boundary, name, limits.parts())? {
                Cow::Borrowed(_) => None,
                Cow::Owned(rest) => Some(rest),
            }
        }
        _ => return Err(ContentError::new(ContentErrorKind::UnsupportedMediaType)),
    };
    Ok(rest.map_or_else(|| body.clone(), Bytes::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(media: &MediaType, body: &[u8]) -> Result<Vec<FieldValue<'static>>, ContentErrorKind> {
        match find_field(media, body, "k", &ContentLimits::new()) {
            Ok(values) => Ok(values
                .into_iter()
                .map(|value| match value {
                    FieldValue::Text(text) => FieldValue::Text(Cow::Owned(text.into_owned())),
                    FieldValue::NotText => FieldValue::NotText,
                })
                .collect()),
            Err(error) => Err(error.kind()),
        }
    }

    fn remove(media: &MediaType, body: &'static [u8]) -> Result<Bytes, ContentErrorKind> {
        let body = Bytes::from_static(body);
        remove_field(media, &body, "k", &ContentLimits::new()).map_err(|error| error.kind())
    }

    fn text(text: &str) -> FieldValue<'_> {
        FieldValue::Text(text.into())
    }

    fn multipart() -> MediaType {
        MediaType::Multipart { boundary: "b".into() }
    }

    #[test]
    fn a_member_at_the_top_of_a_json_object_is_a_field() {
        for (body, values) in [
            (r#"{"k":"x"}"#, vec![text("x")]),
            (r#"{"\u006b":"\u0078"}"#, vec![text("x")]),
            (r#"{"k":""}"#, vec![text("")]),
            (r#"{"k":null}"#, vec![text("")]),
            (r#"{"k":1}"#, vec![FieldValue::NotText]),
            (r#"{"k":["x"]}"#, vec![FieldValue::NotText]),
            (r#"{"k":true,"a":1}"#, vec![FieldValue::NotText]),
            (r#"{"a":{"k":"x"},"K":"x","k ":"x","k\u0000":"x"}"#, vec![]),
            (r#"[{"k":"x"}]"#, vec![]),
            (r#""k""#, vec![]),
            ("null", vec![]),
        ] {
            assert_eq!(find(&MediaType::Json, body.as_bytes()), Ok(values), "{body}");
        }
    }

    #[test]
    fn a_blank_json_body_is_malformed() {
        for body in [&b" \r\n\t"[..], b"\xef\xbb\xbf", b"\xef\xbb\xbf "] {
            assert_eq!(find(&MediaType::Json, body), Err(ContentErrorKind::Malformed));
        }
    }

    #[test]
    fn one_byte_order_mark_is_skipped_and_kept() {
        for (media, body, rest) in [
            (MediaType::Json, "\u{feff}{\"k\":\"x\",\"a\":1}", "\u{feff}{\"a\":1}"),
            (MediaType::Form, "\u{feff}k=x&a=1", "\u{feff}a=1"),
            (MediaType::Form, "\u{feff}k=x", "\u{feff}"),
        ] {
            assert_eq!(find(&media, body.as_bytes()), Ok(vec![text("x")]), "{body}");
            assert_eq!(remove(&media, body.as_bytes()).unwrap(), rest, "{body}");
            assert_eq!(remove(&media, rest.as_bytes()).unwrap(), rest, "{body}");
        }
        let twice = "\u{feff}\u{feff}{\"k\":\"x\"}".as_bytes();
        assert_eq!(find(&MediaType::Json, twice), Err(ContentErrorKind::Malformed));
        assert_eq!(find(&MediaType::Form, "\u{feff}\u{feff}k=x".as_bytes()), Ok(vec![]));
    }

    #[test]
    fn json_is_checked_behind_the_field_too() {
        for body in [
            r#"{"k":"x","a":}"#,
            r#"{"k":"x","k":"x"}"#,
            r#"{"k":"J","\u006b":"K"}"#,
            r#"{"k":"x","a":{"b":1,"b":1}}"#,
            r#"{"k":"x"} "#.trim_end_matches(['}', ' ']),
            "k=x",
        ] {
            let malformed = Err(ContentErrorKind::Malformed);
            assert_eq!(find(&MediaType::Json, body.as_bytes()), malformed, "{body}");
        }
        let error = find_field(&MediaType::Json, b"[1,]", "k", &ContentLimits::new()).unwrap_err();
        assert_eq!(error.offset(), Some(3));
    }

    #[test]
    fn every_pair_of_a_form_is_a_field() {
        for (body, values) in [
            ("a=1&k=x", vec![text("x")]),
            ("%6b=x+%31", vec![text("x 1")]),
            ("k=x&k=&k", vec![text("x"), text(""), text("")]),
            ("k=%FF", vec![FieldValue::NotText]),
            ("k[]=x&K=x", vec![]),
            (r#"{"k":"x"}"#, vec![]),
        ] {
            assert_eq!(find(&MediaType::Form, body.as_bytes()), Ok(values), "{body}");
        }
        let many = "a&".repeat(257);
        assert_eq!(find(&MediaType::Form, many.as_bytes()), Err(ContentErrorKind::TooManyFields));
    }

    #[test]
    fn an_empty_body_has_no_fields_under_any_label() {
        for media in
            [MediaType::Json, MediaType::Form, multipart(), MediaType::Other, MediaType::Absent]
        {
            assert_eq!(find(&media, b""), Ok(vec![]));
            assert_eq!(remove(&media, b""), Ok(Bytes::new()));
        }
    }

    #[test]
    fn a_body_that_cannot_be_read_is_refused() {
        let unsupported = ContentErrorKind::UnsupportedMediaType;
        for media in [MediaType::Other, MediaType::Absent] {
            assert_eq!(find(&media, b"k=x"), Err(unsupported));
            assert_eq!(remove(&media, b"k=x"), Err(unsupported));
        }
        assert_eq!(remove(&MediaType::Json, b"k=x"), Err(ContentErrorKind::Malformed));
    }

    #[cfg(not(feature = "multipart"))]
    #[test]
    fn multipart_needs_the_feature() {
        let unsupported = ContentErrorKind::UnsupportedMediaType;
        assert_eq!(find(&multipart(), b"--b--"), Err(unsupported));
        assert_eq!(remove(&multipart(), b"--b--"), Err(unsupported));
    }

    #[cfg(feature = "multipart")]
    #[test]
    fn a_text_part_is_a_field_and_a_file_is_no_text() {
        const BODY: &[u8] = b"--b\r\nContent-Disposition: form-data; name=k\r\n\r\nx\r\n\
            --b\r\nContent-Disposition: form-data; name=k; filename=f\r\n\r\nx\r\n\
            --b\r\nContent-Disposition: form-data; name=k\r\n\r\n\xff\r\n\
            --b\r\nContent-Disposition: form-data; name=K\r\n\r\nx\r\n--b--";

        let values = vec![text("x"), FieldValue::NotText, FieldValue::NotText];
        assert_eq!(find(&multipart(), BODY), Ok(values));
        let rest = &b"--b\r\nContent-Disposition: form-data; name=K\r\n\r\nx\r\n--b--"[..];
        assert_eq!(remove(&multipart(), BODY).unwrap(), rest);
        assert_eq!(find(&multipart(), br#"{"k":1}"#), Err(ContentErrorKind::Malformed));
    }

    #[test]
    fn removal_copies_only_what_it_changes() {
        assert_eq!(remove(&MediaType::Json, br#"{"k":1,"a":1e400}"#).unwrap(), r#"{"a":1e400}"#);
        assert_eq!(remove(&MediaType::Form, b"k=1&a=%31&k").unwrap(), "a=%31");

        for (media, body) in [
            (MediaType::Json, &br#" {"a":1} "#[..]),
            (MediaType::Form, b"&a=%6b&"),
            (multipart(), b""),
        ] {
            let kept = remove(&media, body).unwrap();
            assert_eq!((kept.as_ptr(), kept.len()), (body.as_ptr(), body.len()));
        }
    }

    #[test]
    fn debug_hides_the_value() {
        assert_eq!(format!("{:?}", text("hunter2")), "Text(..)");
    }
}
