use std::borrow::Cow;
use std::mem;

use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use zeroize::Zeroizing;

use super::extract::{BodyReading, cookie_value, is_broken_json, readable_body};
use super::path_template::with_path_and_query;
use super::placement::Place;
use super::{Credentials, ExtractError, websocket};
use crate::body::{self, BufferedBody};
use crate::content::{form, remove_field};
use crate::request_head::HeadMut;

impl Credentials {
    /// Removes what the configured places hold, credential or not, from a request.
    ///
    /// # Errors
    ///
    /// Returns an error if a place cannot be cleaned: a body that cannot be read or is over the
    /// [limits](Self::with_content_limits), one that is not buffered, or a target that would become too long.
    /// The request must then go no further. JSON that does not parse has no place in it.
    pub fn scrub<B>(&self, request: &mut Request<B>) -> Result<(), ExtractError> {
        self.scrub_head(request, BodyReading::default())
    }

    pub(crate) fn scrub_head(
        &self,
        head: &mut impl HeadMut,
        reading: BodyReading<'_>,
    ) -> Result<(), ExtractError> {
        self.scrub_outside_body(head)?;
        for placement in &self.placements {
            if let Place::Body(name) = &placement.place {
                self.scrub_body(head, name, reading)?;
            }
        }
        Ok(())
    }

    /// The same for a head that is shown without its body.
    pub(crate) fn scrub_outside_body(&self, head: &mut impl HeadMut) -> Result<(), ExtractError> {
        for placement in &self.placements {
            match &placement.place {
                Place::Header(name) => {
                    head.headers_mut().remove(name);
                    // A trailer field of that name is merged into the header by some readers.
                    if let Some(body) = head.extensions_mut().get::<BufferedBody>() {
                        body.remove_trailer(name);
                    }
                }
                Place::Authorization(_) => {
                    head.headers_mut().remove(AUTHORIZATION);
                }
                Place::WebSocketProtocol => {
                    let name = &SEC_WEBSOCKET_PROTOCOL;
                    remove_elements(head.headers_mut(), name, b", ", websocket::is_key);
                }
                Place::Cookie(name) => {
                    remove_elements(head.headers_mut(), &COOKIE, b"; ", |pair| {
                        cookie_value(pair, name.as_bytes()).is_some()
                    })
                }
                Place::Query(name) => rewrite_targets(head, |uri| without_parameter(uri, name))?,
                Place::Path(template) => {
                    let path = Zeroizing::new(head.uri_mut().path().to_owned());
                    rewrite_targets(head, |uri| template.scrub(uri, &path))?;
                }
                Place::Body(_) | Place::Custom(_) => {}
            }
            placement.scrubs.iter().for_each(|scrub| lend(head, scrub.as_ref()));
        }
        Ok(())
    }

    fn scrub_body(
        &self,
        head: &mut impl HeadMut,
        name: &str,
        reading: BodyReading<'_>,
    ) -> Result<(), ExtractError> {
        let (headers, extensions) = (head.headers_mut().clone(), head.extensions_mut());
        let Some((media, body)) = readable_body(&headers, extensions, reading)? else {
            return Ok(());
        };
        let (body, bytes) = (body.clone(), body.bytes());
        match remove_field(&media, &bytes, name, &self.limits) {
            Ok(kept) if kept.len() != bytes.len() => body::rewrite(head.headers_mut(), &body, kept),
            Err(error) if !is_broken_json(&error) => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    /// Marks header values in configured places as sensitive, before code of the app sees them.
    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        for placement in &self.placements {
            let name = match &placement.place {
                Place::Header(name) => name,
                Place::Authorization(_) => &AUTHORIZATION,
                Place::WebSocketProtocol => &SEC_WEBSOCKET_PROTOCOL,
                Place::Cookie(_) => &COOKIE,
                Place::Query(_) | Place::Path(_) | Place::Body(_) | Place::Custom(_) => continue,
            };
            if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
                entry.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }
}

/// Removes elements of a list that may be in several fields. Fields in which there is none stay as they are.
fn remove_elements(
    headers: &mut HeaderMap,
    name: &HeaderName,
    separator: &'static [u8; 2],
    is_credential: impl Fn(&[u8]) -> bool,
) {
    let has_credential = |line: &HeaderValue| elements(line, separator).any(&is_credential);
    if !headers.get_all(name).iter().any(has_credential) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    for line in lines {
        if !has_credential(&line) {
            headers.append(name, line);
            continue;
        }
        let kept = elements(&line, separator).filter(|piece| !is_credential(piece));
        let kept: Vec<&[u8]> = kept.collect();
        if let (false, Ok(value)) =
            (kept.is_empty(), HeaderValue::from_bytes(&kept.join(separator.as_slice())))
        {
            headers.append(name, value);
        }
    }
}

fn elements<'a>(
    line: &'a HeaderValue,
    [delimiter, _]: &'static [u8; 2],
) -> impl Iterator<Item = &'a [u8]> {
    let pieces = line.as_bytes().split(move |byte| byte == delimiter);
    pieces.map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
}

/// What a change of a target comes to: `None` if there is nothing to change in it.
type Changed = Result<Option<Uri>, ExtractError>;

/// Applies a change to `uri()` and to every copy of the target that is known to be in the extensions.
fn rewrite_targets(
    head: &mut impl HeadMut,
    scrub: impl Fn(&Uri) -> Changed,
) -> Result<(), ExtractError> {
    let scrubbed = scrub(head.uri_mut())?;
    #[cfg(feature = "axum")]
    {
        let change = scrubbed.as_ref().map(|new| (head.uri_mut().clone(), new));
        if let Some(original) = head.extensions_mut().get_mut::<axum::extract::OriginalUri>() {
            let nested = match change {
                Some((old, new)) => with_prefix_of(original, &old, new)?,
                None => None,
            };
            let scrubbed = match nested {
                None => scrub(original)?,
                nested => nested,
            };
            if let Some(scrubbed) = scrubbed {
                original.0 = scrubbed;
            }
        }
    }
    if let Some(scrubbed) = scrubbed {
        *head.uri_mut() = scrubbed;
    }
    Ok(())
}

/// The new target behind the prefix that a nested router has taken off.
#[cfg(feature = "axum")]
fn with_prefix_of(original: &Uri, old: &Uri, new: &Uri) -> Changed {
    let prefix = original.path().strip_suffix(old.path());
    match (prefix, new.path_and_query()) {
        (Some(prefix), Some(rest)) => {
            with_path_and_query(original, format!("{prefix}{rest}")).map(Some)
        }
        _ => Ok(None),
    }
}

/// Takes credentials out of the target that are in a place that no placement reads.
pub(crate) fn redact_target(
    head: &mut impl HeadMut,
    redact: &dyn Fn(&str) -> Option<String>,
) -> Result<(), ExtractError> {
    rewrite_targets(head, |uri| {
        let redacted = uri.path_and_query().and_then(|target| redact(target.as_str()));
        redacted.map(|target| with_path_and_query(uri, target)).transpose()
    })
}

fn without_parameter(uri: &Uri, name: &str) -> Changed {
    let Some(Cow::Owned(kept)) = uri.query().map(|query| form::remove(query, name)) else {
        return Ok(None);
    };
    let target = match kept.as_str() {
        "" => uri.path().to_owned(),
        kept => format!("{}?{kept}", uri.path()),
    };
    with_path_and_query(uri, target).map(Some)
}

/// Lends the head to a closure, as a request without a body.
fn lend(head: &mut impl HeadMut, scrub: &dyn Fn(&mut Request<()>)) {
    let mut request = Request::new(());
    *request.method_mut() = head.head().method().clone();
    *request.version_mut() = head.head().version();
    mem::swap(request.headers_mut(), head.headers_mut());
    mem::swap(request.uri_mut(), head.uri_mut());
    mem::swap(request.extensions_mut(), head.extensions_mut());
    scrub(&mut request);
    mem::swap(request.headers_mut(), head.headers_mut());
    mem::swap(request.uri_mut(), head.uri_mut());
    mem::swap(request.extensions_mut(), head.extensions_mut());
}
