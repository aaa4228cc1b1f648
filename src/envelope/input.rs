use std::fmt;

use http::HeaderName;
use http::request::Parts;

/// Finds a key in a text and gives the text without it.
pub(super) type Redact<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What an envelope is built from: the request, and what the caller knows about it.
#[derive(Clone)]
pub struct EnvelopeInput<'a> {
    pub(super) head: &'a Parts,
    pub(super) body: &'a [u8],
    pub(super) members: Vec<(&'a str, &'a str)>,
    pub(super) left_out_headers: &'a [HeaderName],
    pub(super) left_out_query: &'a [String],
    pub(super) redact: Option<Redact<'a>>,
}

impl<'a> EnvelopeInput<'a> {
    /// Takes a request with its whole body.
    ///
    /// # Security
    ///
    /// A credential that was in the body must be gone already:
    /// [`remove_field`](crate::content::remove_field) takes it out.
    #[must_use]
    pub const fn new(head: &'a Parts, body: &'a [u8]) -> Self {
        Self {
            head,
            body,
            members: Vec::new(),
            left_out_headers: &[],
            left_out_query: &[],
            redact: None,
        }
    }

    /// Adds a member behind the parts of the request, for instance who sent it or which parts its
    /// signature covers. Its value is a JSON text.
    #[must_use]
    pub fn with_member(mut self, name: &'a str, json: &'a str) -> Self {
        self.members.push((name, json));
        self
    }

    /// Leaves these headers out, beside those that the builder leaves out.
    #[must_use]
    pub const fn with_excluded_headers(mut self, names: &'a [HeaderName]) -> Self {
        self.left_out_headers = names;
        self
    }

    /// Leaves out the fields of the query with these decoded names, beside those that the builder
    /// leaves out.
    #[must_use]
    pub const fn with_excluded_query_parameters(mut self, names: &'a [String]) -> Self {
        self.left_out_query = names;
        self
    }

    /// Hides keys that are where they do not belong. The function gets each value of a header,
    /// and each name and value of the query, and returns what is to be written in its place, or
    /// `None` to leave it as it is. Where bytes are not UTF-8 it gets U+FFFD for them.
    #[must_use]
    pub const fn with_redaction(mut self, redact: &'a dyn Fn(&str) -> Option<String>) -> Self {
        self.redact = Some(redact);
        self
    }
}

impl fmt::Debug for EnvelopeInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeInput")
            .field("body_length", &self.body.len())
            .finish_non_exhaustive()
    }
}
