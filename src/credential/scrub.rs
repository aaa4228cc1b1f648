use std::borrow::Cow;
use std::mem;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Request, Uri};

use super::Credentials;
use super::find::cookie_value;
use super::path::with_path_and_query;
use super::placement::Place;
use crate::body::{self, BufferedBody};
use crate::content::{ContentLimits, MediaType, form, remove_field};
use crate::head::HeadMut;

impl Credentials {
    /// Removes whatever stands in the configured places, credential or not, from a request.
    pub fn scrub<B>(&self, request: &mut Request<B>) {
        self.scrub_head(request);
    }

    pub(crate) fn scrub_head(&self, head: &mut impl HeadMut) {
        for placement in &self.placements {
            match &placement.place {
                Place::Header(name) => {
                    head.headers_mut().remove(name);
                }
                Place::Bearer | Place::Basic => {
                    head.headers_mut().remove(AUTHORIZATION);
                }
                Place::Cookie(name) => remove_cookie(head.headers_mut(), name.as_bytes()),
                Place::Query(name) => rewrite_targets(head, |uri| without_parameter(uri, name)),
                Place::Path(template) => {
                    let path = head.uri_mut().path().to_owned();
                    rewrite_targets(head, |uri| template.scrub(uri, &path));
                }
                Place::Body(name) => scrub_body(head, name),
                Place::Custom(custom) => {
                    if let Some(scrub) = &custom.scrub {
                        scrub_custom(head, scrub.as_ref());
                    }
                }
            }
        }
    }

    /// Marks header values in configured places as sensitive, before code of the app sees them.
    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        for placement in &self.placements {
            let name = match &placement.place {
                Place::Header(name) => name,
                Place::Bearer | Place::Basic => &AUTHORIZATION,
                Place::Cookie(_) => &COOKIE,
                _ => continue,
            };
            if let http::header::Entry::Occupied(mut entry) = headers.entry(name) {
                entry.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }
}

fn remove_cookie(headers: &mut HeaderMap, name: &[u8]) {
    let is_credential = |pair: &[u8]| cookie_value(pair, name).is_some();
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    if !lines.iter().any(|line| line.as_bytes().split(|byte| *byte == b';').any(is_credential)) {
        return;
    }
    headers.remove(COOKIE);
    for line in lines {
        let kept: Vec<&[u8]> = line
            .as_bytes()
            .split(|byte| *byte == b';')
            .filter(|pair| !is_credential(pair))
            .map(<[u8]>::trim_ascii)
            .filter(|pair| !pair.is_empty())
            .collect();
        if let (false, Ok(value)) =
            (kept.is_empty(), HeaderValue::from_bytes(&kept.join(b"; ".as_slice())))
        {
            headers.append(COOKIE, value);
        }
    }
}

/// Applies a change to `uri()` and to every copy of the target that is known to be in the extensions.
fn rewrite_targets(head: &mut impl HeadMut, scrub: impl Fn(&Uri) -> Option<Uri>) {
    let scrubbed = scrub(head.uri_mut());
    #[cfg(feature = "axum-original-uri")]
    {
        let change = scrubbed.as_ref().map(|new| (head.uri_mut().clone(), new));
        if let Some(original) = head.extensions_mut().get_mut::<axum::extract::OriginalUri>() {
            let nested = change.and_then(|(old, new)| with_prefix_of(original, &old, new));
            if let Some(scrubbed) = nested.or_else(|| scrub(original)) {
                original.0 = scrubbed;
            }
        }
    }
    if let Some(scrubbed) = scrubbed {
        *head.uri_mut() = scrubbed;
    }
}

/// The new target behind the prefix that a nested router has taken off.
#[cfg(feature = "axum-original-uri")]
fn with_prefix_of(original: &Uri, old: &Uri, new: &Uri) -> Option<Uri> {
    let prefix = original.path().strip_suffix(old.path())?;
    with_path_and_query(original, format!("{prefix}{}", new.path_and_query()?))
}

/// Takes credentials out of the target that stand in a place where nobody looked for them.
pub(crate) fn redact_target(head: &mut impl HeadMut, redact: &dyn Fn(&str) -> Option<String>) {
    rewrite_targets(head, |uri| with_path_and_query(uri, redact(uri.path_and_query()?.as_str())?));
}

fn without_parameter(uri: &Uri, name: &str) -> Option<Uri> {
    let query = uri.query()?;
    let Cow::Owned(kept) = form::remove(query, name) else { return None };
    let target = match kept.as_str() {
        "" => uri.path().to_owned(),
        kept => format!("{}?{kept}", uri.path()),
    };
    with_path_and_query(uri, target)
}

/// Lends the head to a closure, as a request without a body.
fn scrub_custom(head: &mut impl HeadMut, scrub: &dyn Fn(&mut Request<()>)) {
    let mut request = Request::new(());
    mem::swap(request.headers_mut(), head.headers_mut());
    mem::swap(request.uri_mut(), head.uri_mut());
    mem::swap(request.extensions_mut(), head.extensions_mut());
    scrub(&mut request);
    mem::swap(request.headers_mut(), head.headers_mut());
    mem::swap(request.uri_mut(), head.uri_mut());
    mem::swap(request.extensions_mut(), head.extensions_mut());
}

fn scrub_body(head: &mut impl HeadMut, name: &str) {
    let Some(buffered) = head.extensions_mut().get::<BufferedBody>().cloned() else { return };
    let Ok(media) = MediaType::from_headers(head.headers_mut()) else { return };
    let bytes = buffered.bytes();
    // Under no limits: a body that is within those of somebody further in must not keep its credential.
    // One that is malformed was refused where it mattered, and on a public route is passed on.
    let limits = ContentLimits::unlimited();
    let Ok(kept) = remove_field(&media, &bytes, name, &limits) else { return };
    if kept.len() != bytes.len() {
        body::rewrite(head.headers_mut(), &buffered, kept);
    }
}
