//! What a body or a query asks for, checked member by member.
//!
//! Everything that is wrong is reported at once, by place and in fixed texts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::content::json::{self, JsonKind, JsonLimits, Member};
use crate::content::{ContentError, form};
use crate::key::{KeyId, KeyRecord, KeyUpdate, NewKey, PageCursor, Scope, Scopes, checked_name};
use crate::rejection::{Place, Rejection, RejectionKind, Step, Violation};

const DEFAULT_PAGE_LEN: usize = 50;
const MAX_PAGE_LEN: usize = 200;
/// The most ids of one batch.
const MAX_IDS: usize = 200;
/// More are not reported, so that an answer is not much longer than its question.
const MAX_VIOLATIONS: usize = 32;
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

/// A key that is asked for.
#[derive(Clone, Debug)]
pub(super) struct NewKeyInput {
    name: String,
    scopes: Scopes,
    expires_in: Option<Duration>,
    not_before: Option<OffsetDateTime>,
    metadata: Option<Box<str>>,
}

impl NewKeyInput {
    /// Reads `{"name", "scopes"?, "expires_in"?, "not_before"?, "metadata"?}`.
    ///
    /// # Errors
    ///
    /// Refuses what is no JSON, and what is outside its limits, scopes that `holder` does not have
    /// included.
    pub(super) fn read(
        body: &[u8],
        holder: &Scopes,
        now: OffsetDateTime,
    ) -> Result<Self, Rejection> {
        let mut name = None;
        let mut scopes = Scopes::NONE;
        let mut expires_in = None;
        let mut not_before = None;
        let mut metadata = None;
        let mut violations = read_object(body, |member, violations| {
            match &*member.name() {
                "name" => name = Some(read_name(member, violations)),
                "scopes" => scopes = read_scopes(member, holder, violations),
                "expires_in" => {
                    expires_in = Some(read_interval("expires_in", 1, member, violations));
                }
                "not_before" => not_before = read_time("not_before", member, violations),
                "metadata" => metadata = read_metadata(member),
                _ => return false,
            }
            true
        })?;
        if name.is_none() {
            violations.add(member("name"), "the member is missing");
        }
        let expires_in = expires_in.flatten();
        if let Some(interval) = expires_in {
            match expiry(now, interval) {
                None => violations.add(member("expires_in"), "the time is beyond the year 9999"),
                Some(expiry) if not_before.is_some_and(|start| start >= expiry) => {
                    violations.add(member("not_before"), "a key starts to work before it expires");
                }
                Some(_) => {}
            }
        }
        violations.into_result()?;
        let name = name.flatten().unwrap_or_default();
        Ok(Self { name, scopes, expires_in, not_before, metadata })
    }

    pub(super) fn draft(&self) -> NewKey {
        let mut new = NewKey::new(&self.name).with_scopes(self.scopes.clone());
        if let Some(interval) = self.expires_in {
            new = new.with_expires_in(interval);
        }
        if let Some(time) = self.not_before {
            new = new.with_not_before(time);
        }
        if let Some(metadata) = &self.metadata {
            new = new.with_metadata(metadata.clone());
        }
        new
    }

    /// Whether the record can be the one of a key that was asked for like this. The expiry is left
    /// out: it depends on the time of the request.
    pub(super) fn describes(&self, record: &KeyRecord) -> bool {
        self.name == record.name()
            && self.scopes == *record.scopes()
            && self.not_before == record.not_before()
            && self.metadata.as_deref() == record.metadata()
    }
}

/// A change that is asked for.
#[derive(Debug)]
pub(super) struct UpdateInput {
    pub(super) update: KeyUpdate,
    /// Whether the key is to be switched on.
    pub(super) enables: bool,
}

impl UpdateInput {
    /// Reads `{"name"?, "scopes"?, "metadata"?, "disabled"?}`, of which one is there.
    ///
    /// # Errors
    ///
    /// As [`NewKeyInput::read`].
    pub(super) fn read(body: &[u8], holder: &Scopes) -> Result<Self, Rejection> {
        let mut update = KeyUpdate::new();
        let mut is_empty = true;
        let mut enables = false;
        let mut violations = read_object(body, |member, violations| {
            let known = std::mem::take(&mut update);
            update = match &*member.name() {
                "name" => known.with_name(read_name(member, violations).unwrap_or_default()),
                "scopes" => known.with_scopes(read_scopes(member, holder, violations)),
                "metadata" => known.with_metadata(read_metadata(member)),
                "disabled" => {
                    let disabled = read_boolean("disabled", member, violations);
                    enables = disabled == Some(false);
                    known.with_disabled(disabled.unwrap_or_default())
                }
                _ => {
                    update = known;
                    return false;
                }
            };
            is_empty = false;
            true
        })?;
        if is_empty && violations.0.is_empty() {
            violations.add(Place::BODY, "there is nothing to change");
        }
        violations.into_result()?;
        Ok(Self { update, enables })
    }
}

/// Reads `{"by"}`.
///
/// # Errors
///
/// As [`NewKeyInput::read`].
pub(super) fn read_extension(body: &[u8]) -> Result<Duration, Rejection> {
    let mut by = None;
    let mut violations = read_object(body, |member, violations| {
        let known = member.name() == "by";
        if known {
            by = Some(read_interval("by", 1, member, violations));
        }
        known
    })?;
    if by.is_none() {
        violations.add(member("by"), "the member is missing");
    }
    violations.into_result()?;
    Ok(by.flatten().unwrap_or_default())
}

/// Reads `{"overlap"?}`. Without it there is none.
///
/// # Errors
///
/// As [`NewKeyInput::read`].
pub(super) fn read_rotation(body: &[u8]) -> Result<Duration, Rejection> {
    let mut overlap = None;
    read_object(body, |member, violations| {
        let known = member.name() == "overlap";
        if known {
            overlap = read_interval("overlap", 0, member, violations);
        }
        known
    })?
    .into_result()?;
    Ok(overlap.unwrap_or_default())
}

/// Reads `{}`.
///
/// # Errors
///
/// As [`NewKeyInput::read`].
pub(super) fn read_nothing(body: &[u8]) -> Result<(), Rejection> {
    read_object(body, |_, _| false)?.into_result()
}

/// Reads `{"ids"}`. An id that can be none is kept for last: it is not found, like one that is none.
///
/// # Errors
///
/// As [`NewKeyInput::read`].
pub(super) fn read_ids(body: &[u8]) -> Result<Vec<KeyId>, Rejection> {
    let mut ids = None;
    let mut violations = read_object(body, |member, violations| {
        let known = member.name() == "ids";
        if known {
            ids = Some(read_texts("ids", "a list of 1 to 200 texts", member, violations));
        }
        known
    })?;
    match &ids {
        None => violations.add(member("ids"), "the member is missing"),
        Some(Some(ids)) if !(1..=MAX_IDS).contains(&ids.len()) => {
            violations.add(member("ids"), "a list of 1 to 200 texts");
        }
        Some(_) => {}
    }
    violations.into_result()?;
    let texts = ids.flatten().unwrap_or_default();
    let ids = texts.into_iter().flatten().map(KeyId::new).collect::<Result<_, _>>();
    ids.map_err(|_| Rejection::new(RejectionKind::NotFound))
}

/// Which part of the list is asked for.
#[derive(Debug)]
pub(super) struct PageInput {
    pub(super) after: Option<PageCursor>,
    pub(super) limit: usize,
}

impl PageInput {
    /// Reads `limit` and `after`. Other parameters are somebody else's.
    ///
    /// # Errors
    ///
    /// Refuses a parameter that is there twice, a limit that is not 1 to 200, and a place that is none.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Rejection> {
        let mut page = Self { after: None, limit: DEFAULT_PAGE_LEN };
        let mut violations = Violations::default();
        let single = |name, violations: &mut Violations| {
            let mut pairs = form::pairs(query.unwrap_or_default().as_bytes())
                .filter(|pair| *pair.name() == *str::as_bytes(name));
            let value = pairs.next()?.value_lossy().into_owned();
            if pairs.next().is_some() {
                violations.add(Place::Parameter(name), "the parameter is there more than once");
            }
            Some(value)
        };
        if let Some(text) = single("limit", &mut violations) {
            match read_integer(&text).and_then(|limit| usize::try_from(limit).ok()) {
                Some(limit @ 1..=MAX_PAGE_LEN) => page.limit = limit,
                _ => violations.add(Place::Parameter("limit"), "an integer from 1 to 200"),
            }
        }
        if let Some(text) = single("after", &mut violations) {
            match text.parse() {
                Ok(after) => page.after = Some(after),
                Err(_) => {
                    violations.add(Place::Parameter("after"), "the `next` of an earlier answer");
                }
            }
        }
        violations.into_result()?;
        Ok(page)
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn add(&mut self, place: Place, reason: &'static str) {
        let violation = Violation::new(place, reason);
        if self.0.len() < MAX_VIOLATIONS && !self.0.contains(&violation) {
            self.0.push(violation);
        }
    }

    fn into_result(self) -> Result<(), Rejection> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Rejection::new(RejectionKind::Invalid).with_violations(self.0))
    }
}

const fn member(name: &'static str) -> Place {
    Place::Member(name, Step::Here)
}

/// Shows the members of a body. `false` means that the member is not one of this call. A body without
/// a byte is an object without members.
fn read_object(
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

fn read_name(found: &Member<'_>, violations: &mut Violations) -> Option<String> {
    let name = found.as_text().filter(|name| checked_name(name).is_ok()).map(Cow::into_owned);
    if name.is_none() {
        violations.add(member("name"), "a text of 1 to 128 characters without control characters");
    }
    name
}

fn read_boolean(
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

fn read_time(
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
fn read_metadata(found: &Member<'_>) -> Option<Box<str>> {
    (found.kind() != JsonKind::Null).then(|| found.value().into())
}

/// `"all"`, or a list of scopes, all of which the caller has.
fn read_scopes(found: &Member<'_>, holder: &Scopes, violations: &mut Violations) -> Scopes {
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
fn read_texts(
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
fn read_interval(
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
fn read_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| text.parse().ok()).flatten()
}

fn expiry(now: OffsetDateTime, interval: Duration) -> Option<OffsetDateTime> {
    now.checked_add(interval).filter(|time| time.year() <= 9999)
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

#[cfg(test)]
mod tests;
