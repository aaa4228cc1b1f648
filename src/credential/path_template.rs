use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;

use super::{ExtractError, ExtractErrorKind};
use crate::content::percent_decoded;
use crate::error::ConfigError;

/// The text that replaces a credential in the path.
pub(super) const REDACTED: &str = "redacted";

/// A path template with one parameter that is a credential.
#[derive(Clone)]
pub(super) struct PathTemplate(Arc<Template>);

struct Template {
    text: Box<str>,
    parameter: Box<str>,
    router: matchit::Router<()>,
}

impl PathTemplate {
    pub(super) fn new(template: &str) -> Result<Self, ConfigError> {
        if !template.starts_with('/') {
            return Err(ConfigError::new("the template of a path placement starts with a slash"));
        }
        let parameter = credential_parameter(template)?;
        let mut router = matchit::Router::new();
        router
            .insert(template, ())
            .map_err(|_| ConfigError::new("the template of a path placement is malformed"))?;
        Ok(Self(Arc::new(Template { text: template.into(), parameter, router })))
    }

    /// The credential in a path, percent-decoded once. What a layer around this one has left in its place is
    /// none.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<Cow<'p, [u8]>> {
        self.raw(path).filter(|raw| *raw != REDACTED).map(|raw| percent_decoded(raw.as_bytes()))
    }

    /// The name of the parameter.
    pub(super) fn parameter(&self) -> &str {
        &self.0.parameter
    }

    /// The target with the credential replaced; `None` if there is none in it.
    ///
    /// `path` is the path of the request. A target from before a router took a prefix away ends with it.
    pub(super) fn scrub(&self, uri: &Uri, path: &str) -> Result<Option<Uri>, ExtractError> {
        let Some(mut target) = self.redacted(uri.path(), path) else { return Ok(None) };
        if let Some(query) = uri.query() {
            target.push('?');
            target.push_str(query);
        }
        with_path_and_query(uri, target).map(Some)
    }

    /// The path `whole`, which ends with `path`, with the credential replaced.
    fn redacted(&self, whole: &str, path: &str) -> Option<String> {
        let raw = whole.strip_suffix(path).and_then(|prefix| self.raw(whole.get(prefix.len()..)?));
        let raw = raw.or_else(|| self.raw(whole))?;
        // `raw` is a part of `whole`, so its place follows from the two addresses.
        let start = raw.as_ptr() as usize - whole.as_ptr() as usize;
        let before = whole.get(..start)?;
        let after = whole.get(start.checked_add(raw.len())?..)?;
        Some(format!("{before}{REDACTED}{after}"))
    }

    /// The credential in a path as it was sent.
    pub(super) fn raw<'p>(&self, path: &'p str) -> Option<&'p str> {
        let params = self.0.router.at(path).ok()?.params;
        // An empty segment is not the same as a segment.
        let is_complete = params.iter().all(|(_, value)| !value.is_empty());
        params.get(&self.0.parameter).filter(|_| is_complete)
    }
}

impl PartialEq for PathTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl fmt::Debug for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text.fmt(f)
    }
}

/// The same target with another path and query.
///
/// # Errors
///
/// Returns an error if it is longer than a target can be.
pub(super) fn with_path_and_query(uri: &Uri, target: String) -> Result<Uri, ExtractError> {
    let too_long = |()| ExtractError::new(ExtractErrorKind::TargetTooLong);
    let mut parts = uri.clone().into_parts();
    let target = PathAndQuery::try_from(target).map_err(drop).map_err(too_long)?;
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).map_err(drop).map_err(too_long)
}

/// The parameter `key`, or the only one.
fn credential_parameter(template: &str) -> Result<Box<str>, ConfigError> {
    let names: Vec<&str> = template
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
        .collect();
    if names.iter().any(|name| name.starts_with('*')) {
        return Err(ConfigError::new("a path placement has no catch-all parameter"));
    }
    match names.as_slice() {
        [only] => Ok((*only).into()),
        several if several.contains(&"key") => Ok("key".into()),
        _ => Err(ConfigError::new(
            "the template of a path placement has one parameter, or one that is named `key`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_found_and_decoded_once() {
        let template = PathTemplate::new("/hook/{id}/{key}").unwrap();
        let cases: [(&str, Option<&[u8]>); 10] = [
            ("/hook/1/abc", Some(b"abc")),
            ("/hook/1/%61bc", Some(b"abc")),
            ("/hook/1/%2561bc", Some(b"%61bc")),
            ("/hook/1/a%2Fb", Some(b"a/b")),
            ("/hook/1/%FF", Some(b"\xff")),
            ("/hook/1/", None),
            ("/hook/1/redacted", None),
            ("/hook/1/abc/", None),
            ("/hook//abc", None),
            ("/Hook/1/abc", None),
        ];
        for (path, expected) in cases {
            assert_eq!(template.find(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn only_the_credential_is_replaced() {
        let template = PathTemplate::new("/hook/{key}/run").unwrap();
        let cases = [
            ("/hook/abc/run?b=2&a=%31", "/hook/abc/run", Some("/hook/redacted/run?b=2&a=%31")),
            (
                "http://host:1/hook/abc/run",
                "/hook/abc/run",
                Some("http://host:1/hook/redacted/run"),
            ),
            ("/api/v1/hook/abc/run?b", "/hook/abc/run", Some("/api/v1/hook/redacted/run?b")),
            ("/hook/abc/run", "/run", Some("/hook/redacted/run")),
            ("/hook/abc/run", "/elsewhere", Some("/hook/redacted/run")),
            ("/api/v1/hook/abc/run", "/elsewhere", None),
            ("/other", "/other", None),
        ];
        for (uri, path, expected) in cases {
            let scrubbed = template.scrub(&uri.parse().unwrap(), path).unwrap();
            assert_eq!(scrubbed.map(|uri| uri.to_string()).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn the_only_parameter_may_have_any_name() {
        assert!(PathTemplate::new("/{token}").unwrap().find("/abc").is_some());
        assert!(PathTemplate::new("/{*rest}").is_err());
    }
}
