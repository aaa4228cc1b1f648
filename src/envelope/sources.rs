use std::borrow::Cow;
use std::cmp::Ordering;

use super::body::{JsonField, JsonFields};
use super::fields::{Fields, Groups, push_fields};
use super::text::{Sink, push_chars, push_string};
use crate::content::{ContentError, ContentErrorKind, form};

/// A query or an urlencoded form, which stays as it was sent until it is written.
pub(super) struct Form<'a> {
    raw: Cow<'a, [u8]>,
    groups: Groups,
    json: JsonFields<'a>,
}

impl<'a> Form<'a> {
    /// Takes a text with at most `limit` pieces.
    pub(super) fn new(
        raw: Cow<'a, [u8]>,
        limit: usize,
        json: JsonFields<'a>,
    ) -> Result<Self, ContentError> {
        let count = form::pairs_up_to(&raw, limit)?.count();
        if raw.len() >= Groups::END as usize {
            return Err(ContentError::new(ContentErrorKind::TooManyFields));
        }
        let mut fields = Vec::with_capacity(count);
        let mut position = 0;
        for piece in raw.split(|byte| *byte == b'&') {
            if !piece.is_empty() {
                fields.push(position);
            }
            // Below `Groups::END`, since the text is shorter.
            position += piece.len() as u32 + 1;
        }
        let source = Pairs { raw: &raw, json };
        let counts = form::pairs(&raw).map(|pair| source.json_of(&pair).map(|field| field.nodes));
        let json = json.within_limit(counts);
        let groups = Groups::new(fields, &source);
        Ok(Self { raw, groups, json })
    }

    /// Whether every name and value is UTF-8.
    pub(super) fn is_utf8(&self) -> bool {
        form::pairs(&self.raw).all(|pair| pair.is_utf8())
    }

    pub(super) fn push(&self, out: &mut impl Sink) {
        let pairs = Pairs { raw: &self.raw, json: self.json };
        push_fields(out, &pairs, &self.groups);
    }
}

/// Pairs by the place where they begin.
struct Pairs<'a> {
    raw: &'a [u8],
    json: JsonFields<'a>,
}

impl<'a> Pairs<'a> {
    fn pair(&self, field: u32) -> Option<form::Pair<'a>> {
        form::pairs(self.raw.get(field as usize..)?).next()
    }

    fn json_of<'t>(&self, pair: &form::Pair<'t>) -> Option<JsonField<'t>> {
        self.json.find(|name| pair.is_named(name), || pair.value_text())
    }
}

impl Fields for Pairs<'_> {
    fn compare(&self, a: u32, b: u32) -> Ordering {
        match (self.pair(a), self.pair(b)) {
            (Some(a), Some(b)) => a.compare_names(&b),
            // Every field has a pair.
            _ => Ordering::Equal,
        }
    }

    fn push_name(&self, out: &mut impl Sink, field: u32) {
        let Some(pair) = self.pair(field) else { return };
        match pair.plain_name() {
            Some(name) => push_string(out, name),
            None => push_chars(out, pair.name_chars()),
        }
    }

    fn push_value(&self, out: &mut impl Sink, field: u32) {
        let Some(pair) = self.pair(field) else { return };
        if let Some(json) = self.json_of(&pair) {
            out.push_str(&json.text);
            return;
        }
        match pair.plain_value() {
            Some(value) => push_string(out, value),
            None => push_chars(out, pair.value_chars()),
        }
    }
}

#[cfg(feature = "multipart")]
pub(super) use self::parts::Parts;

#[cfg(feature = "multipart")]
mod parts {
    use super::*;
    use crate::content::multipart::{self, Part};
    use crate::envelope::text::ObjectWriter;

    /// A multipart form.
    pub(in crate::envelope) struct Parts<'a> {
        source: Source<'a>,
        groups: Groups,
    }

    struct Source<'a> {
        parts: Vec<Part<'a>>,
        json: JsonFields<'a>,
    }

    impl<'a> Parts<'a> {
        pub(in crate::envelope) fn new(
            body: &'a [u8],
            boundary: &str,
            limit: usize,
            json: JsonFields<'a>,
        ) -> Result<Self, ContentError> {
            let parts = multipart::parts(body, boundary, limit)?;
            let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
            if count > Groups::END {
                return Err(ContentError::new(ContentErrorKind::TooManyFields));
            }
            let mut fields = Vec::with_capacity(parts.len());
            fields.extend(0..count);
            let mut source = Source { parts, json };
            let counts =
                source.parts.iter().map(|part| source.json_of(part).map(|field| field.nodes));
            source.json = json.within_limit(counts);
            let groups = Groups::new(fields, &source);
            Ok(Self { source, groups })
        }

        /// Whether every name and text is UTF-8.
        pub(in crate::envelope) fn is_utf8(&self) -> bool {
            self.source.parts.iter().all(Part::is_utf8)
        }

        pub(in crate::envelope) fn push(&self, out: &mut impl Sink) {
            push_fields(out, &self.source, &self.groups);
        }
    }

    impl<'a> Source<'a> {
        fn part(&self, field: u32) -> Option<&Part<'a>> {
            self.parts.get(field as usize)
        }

        fn json_of(&self, part: &Part<'a>) -> Option<JsonField<'a>> {
            self.json.find(|name| part.name() == name, || part.text().map(Cow::Borrowed))
        }
    }

    impl Fields for Source<'_> {
        fn compare(&self, a: u32, b: u32) -> Ordering {
            let [a, b] = [a, b].map(|field| self.part(field).map(Part::name));
            a.cmp(&b)
        }

        fn push_name(&self, out: &mut impl Sink, field: u32) {
            push_string(out, self.part(field).map_or("", Part::name));
        }

        fn push_value(&self, out: &mut impl Sink, field: u32) {
            let Some(part) = self.part(field) else { return };
            if let Some(json) = self.json_of(part) {
                out.push_str(&json.text);
                return;
            }
            let Some(file_name) = part.file_name() else {
                match part.text() {
                    Some(text) => push_string(out, text),
                    None => push_chars(out, form::lossy_chars(part.content())),
                }
                return;
            };
            let content_type = part.content_type().unwrap_or("application/octet-stream");
            let mut object = ObjectWriter::new(out);
            object.member("filename", |out| push_string(out, file_name));
            object.member("content_type", |out| push_string(out, content_type));
            object.member("size", |out| out.push_str(&part.content().len().to_string()));
            object.finish();
        }
    }
}
