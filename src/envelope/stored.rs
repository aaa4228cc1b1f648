//! The form in which a queue keeps an envelope.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Envelope, EnvelopePart, Inner};

/// The text, and where its parts are in it, in bytes.
#[derive(Deserialize, Serialize)]
pub(crate) struct StoredEnvelope<'a> {
    text: Cow<'a, str>,
    get: Option<Range<usize>>,
    post: Option<Range<usize>>,
    json: Option<Range<usize>>,
    headers: Option<Range<usize>>,
    body: Option<Range<usize>>,
    members: Vec<(Cow<'a, str>, Range<usize>)>,
}

impl Envelope {
    pub(crate) fn stored(&self) -> StoredEnvelope<'_> {
        let Inner { text, parts, members } = &*self.0;
        let part = |part: EnvelopePart| parts.get(part.index()).cloned().flatten();
        StoredEnvelope {
            text: text.into(),
            get: part(EnvelopePart::Get),
            post: part(EnvelopePart::Post),
            json: part(EnvelopePart::Json),
            headers: part(EnvelopePart::Headers),
            body: part(EnvelopePart::Body),
            members: members.iter().map(|(name, span)| (name.into(), span.clone())).collect(),
        }
    }

    /// `None`: a part is not in the text.
    pub(crate) fn restored(stored: StoredEnvelope<'_>) -> Option<Self> {
        let StoredEnvelope { text, get, post, json, headers, body, members } = stored;
        // In the order of the enum.
        let parts = [get, post, json, headers, body];
        let members: Vec<_> =
            members.into_iter().map(|(name, span)| (name.into_owned(), span)).collect();
        let spans = parts.iter().flatten().chain(members.iter().map(|(_, span)| span));
        let mut spans = spans.cloned();
        if !spans.all(|span| text.get(span).is_some()) {
            return None;
        }
        Some(Self(Arc::new(Inner { text: text.into_owned(), parts, members })))
    }
}
