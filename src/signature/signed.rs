//! The bytes that a sender signs.

use std::borrow::Cow;

use super::error::SignatureErrorKind::{self, Malformed};
use super::{Message, Part};
use crate::content::form;

/// A message and the values of it that are signed.
pub(super) struct SignedBytes<'a> {
    pub(super) parts: &'a [Part],
    pub(super) message: &'a Message<'a>,
    pub(super) url: &'a str,
    pub(super) timestamp: &'a str,
    pub(super) id: &'a str,
    /// Whether the parameters of a form are signed.
    pub(super) has_parameters: bool,
}

/// How many parameters of a form are sorted.
const MAX_PARAMETERS: usize = 10_000;

impl SignedBytes<'_> {
    /// Shows the signed bytes, piece by piece.
    pub(super) fn feed(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), SignatureErrorKind> {
        for part in self.parts {
            match part {
                Part::Text(text) => sink(text.as_bytes()),
                Part::Body => sink(self.message.body),
                Part::Timestamp => sink(self.timestamp.as_bytes()),
                Part::Id => sink(self.id.as_bytes()),
                Part::Url => sink(self.url.as_bytes()),
                Part::DecodedUrl => sink(decoded_url(self.url).as_bytes()),
                Part::Method => sink(self.message.method.as_str().as_bytes()),
                Part::Parameters if self.has_parameters => self.feed_parameters(sink)?,
                Part::Parameters => {}
            }
        }
        Ok(())
    }

    #[cfg(feature = "ed25519")]
    pub(super) fn to_vec(&self) -> Result<Vec<u8>, SignatureErrorKind> {
        let mut bytes = Vec::with_capacity(self.message.body.len() + 64);
        self.feed(&mut |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    fn feed_parameters(&self, sink: &mut dyn FnMut(&[u8])) -> Result<(), SignatureErrorKind> {
        if !self.message.is_form() {
            return Ok(());
        }
        let pairs = form::pairs_up_to(self.message.body, MAX_PARAMETERS).map_err(|_| Malformed)?;
        let mut pairs = pairs.map(|pair| (pair.name(), pair.value())).collect::<Vec<_>>();
        pairs.sort_unstable();
        pairs.dedup();
        for (name, value) in pairs {
            sink(&name);
            sink(&value);
        }
        Ok(())
    }
}

/// The value of a parameter of the query, if it is there once.
pub(super) fn query_parameter<'u>(
    url: &'u str,
    name: &str,
) -> Result<Option<Cow<'u, str>>, SignatureErrorKind> {
    let without_fragment = url.split_once('#').map_or(url, |(url, _)| url);
    let query = without_fragment.split_once('?').map_or("", |(_, query)| query);
    let mut pairs = form::pairs(query.as_bytes()).filter(|pair| pair.is_named(name));
    match (pairs.next(), pairs.next()) {
        (None, _) => Ok(None),
        (Some(pair), None) => pair.value_text().map(Some).ok_or(Malformed),
        _ => Err(Malformed),
    }
}

/// The address with its default port where it has none, and without its port where it has one.
pub(super) fn with_other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    match authority.get(end..).and_then(|behind| behind.find(':')) {
        Some(colon) => {
            let host = authority.get(..end + colon).unwrap_or_default();
            Some(format!("{scheme}://{host}{path}"))
        }
        None => Some(format!("{scheme}://{authority}{port}{path}")),
    }
}

/// Decodes what HubSpot decodes before it signs: the table in "Validate the v3 request signature" of
/// <https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation>.
fn decoded_url(url: &str) -> String {
    const DECODED: &[u8] = b":/?@!$'()*,;";
    let mut decoded = String::with_capacity(url.len());
    let mut pieces = url.split('%');
    decoded.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let byte = piece.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|byte| DECODED.contains(byte)) {
            Some(byte) => {
                decoded.push(byte.into());
                decoded.push_str(piece.get(2..).unwrap_or_default());
            }
            None => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_added_or_any_is_taken_away() {
        for (url, other) in [
            ("https://a.example/x?y", Some("https://a.example:443/x?y")),
            ("https://a.example:443/x", Some("https://a.example/x")),
            ("http://a.example", Some("http://a.example:80")),
            ("http://[::1]/x", Some("http://[::1]:80/x")),
            ("http://[::1]:80/x", Some("http://[::1]/x")),
            ("https://a.example:8443/x", Some("https://a.example/x")),
            ("https://[::1]:8443/x", Some("https://[::1]/x")),
            ("a.example/x", None),
        ] {
            assert_eq!(with_other_port(url).as_deref(), other, "{url}");
        }
    }

    #[test]
    fn only_the_listed_characters_are_decoded() {
        let url = "https://a.example/b%3Ac%2fd%20e%26f?g=%40%%3&h=%F0%9F%98%80%3B";
        assert_eq!(decoded_url(url), "https://a.example/b:c/d%20e%26f?g=@%%3&h=%F0%9F%98%80;");
        assert_eq!(decoded_url("%é%2"), "%é%2");
    }

    #[test]
    fn a_parameter_of_the_query_is_there_once() {
        let find = |url| query_parameter(url, "a").map(|value| value.map(Cow::into_owned));
        assert_eq!(find("https://h/?b=2&a=1%2B#a=3"), Ok(Some("1+".to_owned())));
        assert_eq!(find("https://h/a=1"), Ok(None));
        assert_eq!(find("https://h/?a=1&a=1"), Err(Malformed));
    }
}
