//! Parsing of bodies and queries.
//!
//! All violations are reported together, with their places and fixed texts.

use time::{Duration, OffsetDateTime};

use self::value::{
    Violations, member, read_boolean, read_integer, read_interval, read_metadata, read_name,
    read_object, read_scopes, read_texts, read_time,
};
use crate::content::form;
use crate::key::{KeyId, KeyRecord, KeyUpdate, NewKey, PageCursor, Scopes, later};
use crate::rejection::{Place, Rejection, RejectionKind};

pub(super) mod schema;
mod value;

const DEFAULT_PAGE_LEN: usize = 50;
const MAX_PAGE_LEN: usize = 200;
/// The maximum number of ids of one batch.
const MAX_IDS: usize = 200;

/// The reason for an unknown member. A typing error is easier to find beside the names that exist.
macro_rules! unknown_member {
    ($members:literal) => {
        concat!("an unknown member; those of this call: ", $members)
    };
}

/// The body of a call that makes a key.
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
    /// Refuses a body that is not JSON, and values outside their limits, including scopes that `holder` does
    /// not have.
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
        let mut violations = read_object(
            body,
            unknown_member!("name, scopes, expires_in, not_before, metadata"),
            |member, violations| {
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
            },
        )?;
        if name.is_none() {
            violations.add(member("name"), "the member is missing");
        }
        let expires_in = expires_in.flatten();
        if let Some(interval) = expires_in {
            match later(now, interval) {
                Err(_) => violations.add(member("expires_in"), "the time is beyond the year 9999"),
                Ok(expiry) if not_before.is_some_and(|start| start >= expiry) => {
                    violations.add(member("not_before"), "the start of a key is before its expiry");
                }
                Ok(_) => {}
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

    /// Whether the record matches this input. The expiry is left out: it depends on the time of the request.
    pub(super) fn describes(&self, record: &KeyRecord) -> bool {
        self.name == record.name()
            && self.scopes == *record.scopes()
            && self.not_before == record.not_before()
            && self.metadata.as_deref() == record.metadata()
    }
}

/// The body of an update.
#[derive(Debug)]
pub(super) struct UpdateInput {
    pub(super) update: KeyUpdate,
    /// Whether the update enables the key.
    pub(super) enables: bool,
}

impl UpdateInput {
    /// Reads `{"name"?, "scopes"?, "metadata"?, "disabled"?}`, with at least one member.
    ///
    /// # Errors
    ///
    /// As [`NewKeyInput::read`].
    pub(super) fn read(body: &[u8], holder: &Scopes) -> Result<Self, Rejection> {
        let mut update = KeyUpdate::new();
        let mut is_empty = true;
        let mut enables = false;
        let mut violations = read_object(
            body,
            unknown_member!("name, scopes, metadata, disabled"),
            |member, violations| {
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
            },
        )?;
        if is_empty && violations.is_empty() {
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
    let mut violations = read_object(body, unknown_member!("by"), |member, violations| {
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
    read_object(body, unknown_member!("overlap"), |member, violations| {
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
    read_object(body, unknown_member!("none"), |_, _| false)?.into_result()
}

/// Reads `{"ids"}`. An invalid id is not found, like one that does not exist.
///
/// # Errors
///
/// As [`NewKeyInput::read`].
pub(super) fn read_ids(body: &[u8]) -> Result<Vec<KeyId>, Rejection> {
    let mut ids = None;
    let mut violations = read_object(body, unknown_member!("ids"), |member, violations| {
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

/// The query of a list.
#[derive(Debug)]
pub(super) struct PageInput {
    pub(super) after: Option<PageCursor>,
    pub(super) limit: usize,
}

impl PageInput {
    /// Reads `limit` and `after`, and ignores other parameters.
    ///
    /// # Errors
    ///
    /// Refuses a repeated parameter, a limit that is not 1 to 200, and an invalid cursor.
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
                    violations.add(Place::Parameter("after"), "the `next` of an earlier response");
                }
            }
        }
        violations.into_result()?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
