//! Members of a body, one by one.

use std::borrow::Cow;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::clock::Timestamp;
use crate::content::json::{self, JsonKind, JsonLimits, Member};
use crate::content::{ContentError, without_mark};
use crate::key::{Scope, Scopes, checked_name};
use crate::rejection::{Place, Rejection, RejectionKind, Step, Violation};

/// The maximum number of reported violations, which bounds the response.
pub(super) const MAX_VIOLATIONS: usize = 32;
/// 10,000 years.
pub(super) const MAX_SECONDS: i64 = 315_576_000_000;
/// The units of an interval, in seconds. Months and years have no fixed length.
pub(super) const UNITS: [(&str, i64); 5] = [
    ("seconds", 1),
    ("minutes", 60),
    ("hours", 60 * 60),
    ("days", 24 * 60 * 60),
    ("weeks", 7 * 24 * 60 * 60),
];

/// The violations found so far.
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

/// Visits the members of an object. `visit` returns `false` for an unknown member, which is reported with the
/// reason `unknown`. An empty body is an object without members.
pub(super) fn read_object(
    body: &[u8],
    unknown: &'static str,
    mut visit: impl FnMut(&Member<'_>, &mut Violations) -> bool,
) -> Result<Violations, Rejection> {
    let mut violations = Violations::default();
    if body.is_empty() {
        return Ok(violations);
    }
    let text = json::visit_members(without_mark(body), &JsonLimits::new(), |member| {
        if !visit(&member, &mut violations) {
            violations.add(Place::BODY, unknown);
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
    let time = found.as_text().and_then(|text| Timestamp::decode(&text)).map(Timestamp::time);
    if time.is_none() {
        violations.add(member(name), "a time such as \"2030-01-31T00:00:00Z\" (RFC 3339)");
    }
    time
}

/// Any value, byte for byte. `null` is none.
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
            // Already reported by `read_texts`.
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
    let Ok(elements) = serde_json::from_str::<Vec<Value>>(found.value()) else {
        violations.add(member(name), form);
        return None;
    };
    let text = |(index, element)| match element {
        Value::String(text) => Some(text),
        _ => {
            violations.add(Place::Member(name, Step::Element(index)), "a text");
            None
        }
    };
    Some(elements.into_iter().enumerate().map(text).collect())
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
    if found.kind() != JsonKind::Object {
        let seconds = read_integer(found.value()).filter(in_range);
        if seconds.is_none() {
            violations.add(member(name), FORM);
        }
        return seconds.map(Duration::seconds);
    }
    let (mut count, mut unit, mut is_known) = (None, None, true);
    let limits = JsonLimits::new();
    let read = json::visit_members(found.value().as_bytes(), &limits, |part| match &*part.name() {
        "count" => count = read_integer(part.value()).filter(|count| *count >= least),
        "unit" => unit = part.as_text().and_then(|unit| seconds_of(&unit)),
        _ => is_known = false,
    });
    if read.is_err() || !is_known {
        violations.add(member(name), FORM);
        return None;
    }
    if unit.is_none() {
        violations.add(
            Place::Member(name, Step::Member("unit")),
            "\"seconds\", \"minutes\", \"hours\", \"days\" or \"weeks\"",
        );
    }
    let seconds = count.and_then(|count| count.checked_mul(unit.unwrap_or(1))).filter(in_range);
    if seconds.is_none() {
        violations.add(Place::Member(name, Step::Member("count")), "an integer in its range");
    }
    seconds.filter(|_| unit.is_some()).map(Duration::seconds)
}

fn seconds_of(unit: &str) -> Option<i64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds)
}

/// An integer without fraction and exponent.
pub(super) fn read_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| text.parse().ok()).flatten()
}
