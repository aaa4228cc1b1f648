use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// One thing in a request that is outside its limits.
///
/// In JSON it is `{"pointer":"/scopes/0","reason":".."}`, with a JSON pointer (RFC 6901) into the body,
/// or has a member `parameter` or `header` in place of `pointer`. Both texts are made of constants and of
/// places in lists: nothing that was sent is in them. A member whose name is not known is reported for
/// the whole object, whose pointer is empty.
#[derive(Clone, Eq, PartialEq)]
pub struct Violation {
    place: Place,
    reason: &'static str,
}

/// Where a [`Violation`] is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    not(any(feature = "management", test)),
    expect(dead_code, reason = "for the management API")
)]
pub(crate) enum Place {
    /// In the body: a member of the object, and where in that.
    Member(&'static str, Step),
    Parameter(&'static str),
    Header(&'static str),
}

/// Where in a member of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    not(any(feature = "management", test)),
    expect(dead_code, reason = "for the management API")
)]
pub(crate) enum Step {
    Here,
    Element(usize),
    Member(&'static str),
}

impl Place {
    /// The body as a whole.
    pub(crate) const BODY: Self = Self::Member("", Step::Here);

    /// The place as JSON has it: what it is in, and the text.
    fn text(self) -> (&'static str, String) {
        match self {
            Self::Member("", _) => ("pointer", String::new()),
            Self::Member(name, Step::Here) => ("pointer", format!("/{name}")),
            Self::Member(name, Step::Element(index)) => ("pointer", format!("/{name}/{index}")),
            Self::Member(name, Step::Member(inner)) => ("pointer", format!("/{name}/{inner}")),
            Self::Parameter(name) => ("parameter", name.to_owned()),
            Self::Header(name) => ("header", name.to_owned()),
        }
    }
}

impl Violation {
    pub(crate) const fn new(place: Place, reason: &'static str) -> Self {
        Self { place, reason }
    }

    /// What is wrong, in a fixed text.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl Serialize for Violation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, text) = self.place.text();
        let mut object = serializer.serialize_struct("Violation", 2)?;
        object.serialize_field(kind, &text)?;
        object.serialize_field("reason", self.reason)?;
        object.end()
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, text) = self.place.text();
        f.debug_struct("Violation").field(kind, &text).field("reason", &self.reason).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_pointer_a_parameter_or_a_header() {
        let cases = [
            (Place::BODY, r#"{"pointer":"","reason":"r"}"#),
            (Place::Member("a", Step::Here), r#"{"pointer":"/a","reason":"r"}"#),
            (Place::Member("a", Step::Element(3)), r#"{"pointer":"/a/3","reason":"r"}"#),
            (Place::Member("a", Step::Member("b")), r#"{"pointer":"/a/b","reason":"r"}"#),
            (Place::Parameter("limit"), r#"{"parameter":"limit","reason":"r"}"#),
            (Place::Header("Idempotency-Key"), r#"{"header":"Idempotency-Key","reason":"r"}"#),
        ];
        for (place, expected) in cases {
            assert_eq!(serde_json::to_string(&Violation::new(place, "r")).unwrap(), expected);
        }
    }
}
