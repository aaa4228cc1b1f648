//! Members of a body, one by one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::content::ContentError;
use crate::content::json::{self, JsonKind, JsonLimits, Member};
use crate::key::{Scope, Scopes, checked_name};
use crate::rejection::{Place, Rejection, RejectionKind, Step, Violation};

/// More are not reported, so that an answer is not much longer than its question.
pub(super) const MAX_VIOLATIONS: usize = 32;
/// 10,000 years.
const MAX_SECONDS: i64 = 315_576_000_000;

/// Names that are members of something here. Others are not repeated in an answer.
const KNOWN: [&str; 21] = [
    "by",
    "created_at",
    "digest",
    "disabled",
    "expires_at",
    "expires_in",
    "id",
    "ids",
    "metadata",
    "name",
    "not_before",
    "overlap",
    "owner",
    "previous_digest",
    "previous_until",
    "revoked_at",
    "schema",
    "scopes",
    "secret",
    "state",
    "version",
];

/// What is wrong so far.
#[derive(Default)]
pub(super) struct Violations(Vec<Violation>);

impl Violations {
    pub(super) fn add(&mut self, place: Place, reason: &'static str) {
        let violation = Violation::new(place, reason);
        if self.0.len() < MAX_VIOLATIONS && !self.0.contains(&violation) {
            self.0.push(violation);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_result(self) -> Result<(), Rejection> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Rejection::new(RejectionKind::Invalid).with_violations(self.0))
    }
}

pub(super) const fn member(name: &'static str) -> Place {
    Place::Member(name, Step::Here)
}

/// Shows the members of a body. `false` means that the member is not one of this call. A body without
/// a byte is an object without members.
pub(super) fn read_object(
    body: &[u8],
    mut visit: impl FnMut(&Member<'_>, &mut Violations) -> bool,
) -> Result<Violations, Rejection> {
    let mut violations = Violations::default();
    if body.is_empty() {
        return Ok(violations);
    }
    let text = json::visit_members(body, &JsonLimits::new(), |member| {
        if visit(&member, &mut violations) {
            return;
        }
        match KNOWN.iter().find(|known| **known == member.name()) {
            Some(known) => violations
                .add(Place::Member(known, Step::Here), "the member is not set by this call"),
            None => violations.add(Place::BODY, "there is a member that is not known"),
        }
    })
    .map_err(|error| Rejection::from(&ContentError::from(error)))?;
    if text.kind() != JsonKind::Object {
        violations.add(Place::BODY, "the body is an object");
    }
    Ok(violations)
}

pub(super) fn read_name(found: &Member<'_>, violations: &mut Violations) -> Option<String> {
    let name = found.as_text().filter(|name| checked_name(name).is_ok()).map(Cow::into_owned);
    if name.is_none() {
        violations.add(member("name"), "a text of 1 to 128 characters without control characters");
    }
    name
}

pub(super) fn read_boolean(
    name: &'static str,
    found: &Member<'_>,
    violations: &mut Violations,
) -> Option<bool> {
    match found.value() {
        "true" => Some(true),
        "false" => Some(false),
        _ => {
            violations.add(member(name), "true or false");
            None
        }
    }
}

pub(super) fn read_time(
    name: &'static str,
    found: &Member<'_>,
    violations: &mut Violations,
) -> Option<OffsetDateTime> {
    let time = found.as_text().and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
    // Of the years 0 to 9999 in UTC, too, which is how it is kept.
    let time = time
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .filter(|time| (0..=9999).contains(&time.year()));
    if time.is_none() {
        violations.add(member(name), "a time such as \"2030-01-31T00:00:00Z\" (RFC 3339)");
    }
    time
}

/// Any value, as it was written. `null` is none.
pub(super) fn read_metadata(found: &Member<'_>) -> Option<Box<str>> {
    (found.kind() != JsonKind::Null).then(|| found.value().into())
}

/// `"all"`, or a list of scopes, all of which the caller has.
pub(super) fn read_scopes(
    found: &Member<'_>,
    holder: &Scopes,
    violations: &mut Violations,
) -> Scopes {
    const FORM: &str = "\"all\", or a list of scopes";
    if found.kind() == JsonKind::String {
        if found.as_text().as_deref() != Some("all") {
            violations.add(member("scopes"), FORM);
        } else if !holder.is_all() {
            violations.add(member("scopes"), "the caller does not have every scope");
        }
        return Scopes::ALL;
    }
    let texts = read_texts("scopes", FORM, found, violations).unwrap_or_default();
    let mut scopes = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        let place = Place::Member("scopes", Step::Element(index));
        match text.map(Scope::new) {
            // Reported as no text already.
            None => {}
            Some(Err(_)) => violations
                .add(place, "1 to 128 visible ASCII characters without space, quote and backslash"),
            Some(Ok(scope)) if !holder.contains(&scope) => {
                violations.add(place, "the caller does not have this scope");
            }
            Some(Ok(scope)) => scopes.push(scope),
        }
    }
    Scopes::new(scopes)
}

/// The elements of a list of texts, with `None` for each that is no text.
pub(super) fn read_texts(
    name: &'static str,
    form: &'static str,
    found: &Member<'_>,
    violations: &mut Violations,
) -> Option<Vec<Option<String>>> {
    let elements = match found.kind() {
        JsonKind::Array => serde_json::from_str::<Vec<Element>>(found.value()).ok(),
        _ => None,
    };
    if elements.is_none() {
        violations.add(member(name), form);
    }
    let elements = elements?.into_iter().map(|Element(text)| text).collect::<Vec<_>>();
    for (index, _) in elements.iter().enumerate().filter(|(_, text)| text.is_none()) {
        violations.add(Place::Member(name, Step::Element(index)), "a text");
    }
    Some(elements)
}

/// A number of seconds, or `{"count", "unit"}`.
pub(super) fn read_interval(
    name: &'static str,
    least: i64,
    found: &Member<'_>,
    violations: &mut Violations,
) -> Option<Duration> {
    const FORM: &str = "an integer of seconds, or a count and a unit";
    let in_range = |seconds: &i64| (least..=MAX_SECONDS).contains(seconds);
    let seconds = match found.kind() {
        JsonKind::Number => read_integer(found.value()).filter(in_range),
        JsonKind::Object => {
            let (mut count, mut unit) = (None, None);
            let mut others = false;
            let inner =
                json::visit_members(found.value().as_bytes(), &JsonLimits::new(), |inner| {
                    match &*inner.name() {
                        "count" => count = read_integer(inner.value()),
                        "unit" => unit = inner.as_text().and_then(|unit| seconds_of(&unit)),
                        _ => others = true,
                    }
                });
            if inner.is_err() || others {
                violations.add(member(name), FORM);
                return None;
            }
            if unit.is_none() {
                violations.add(
                    Place::Member(name, Step::Member("unit")),
                    "\"seconds\", \"minutes\", \"hours\", \"days\" or \"weeks\"",
                );
            }
            let count = count.filter(|count| *count >= least);
            if count.is_none() {
                violations
                    .add(Place::Member(name, Step::Member("count")), "an integer in its range");
            }
            match count?.checked_mul(unit?).filter(in_range) {
                Some(seconds) => Some(seconds),
                None => {
                    violations
                        .add(Place::Member(name, Step::Member("count")), "an integer in its range");
                    return None;
                }
            }
        }
        _ => None,
    };
    if seconds.is_none() {
        violations.add(member(name), FORM);
    }
    seconds.map(Duration::seconds)
}

/// How many seconds a unit has. Months and years are not all of one length.
fn seconds_of(unit: &str) -> Option<i64> {
    Some(match unit {
        "seconds" => 1,
        "minutes" => 60,
        "hours" => 60 * 60,
        "days" => 24 * 60 * 60,
        "weeks" => 7 * 24 * 60 * 60,
        _ => return None,
    })
}

/// An integer that is written as one, without fraction and exponent.
pub(super) fn read_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| text.parse().ok()).flatten()
}

/// An element of a list: the text, or `None` for anything else.
struct Element(Option<String>);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;

        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Element, E> {
                Ok(Element(Some(text.to_owned())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Element, E> {
                Ok(Element(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Element, E> {
                Ok(Element(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Element, E> {
                Ok(Element(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Element, E> {
                Ok(Element(None))
            }

            fn visit_unit<E>(self) -> Result<Element, E> {
                Ok(Element(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Element(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Element(None))
            }
        }

        deserializer.deserialize_any(ElementVisitor)
    }
}
