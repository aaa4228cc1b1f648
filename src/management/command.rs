//! The calls of the API, parsed and executed.

use http::HeaderMap;
use time::{Duration, OffsetDateTime};

use super::caller::Caller;
use super::idempotency;
use super::input::{self, NewKeyInput, PageInput, UpdateInput};
use super::route::Route;
use crate::key::{
    IssuedKey, KeyId, KeyManager, KeyRecord, ManageError, ManageErrorKind, Owner, Page, StoreError,
};
use crate::rejection::{Rejection, RejectionKind, Violation};
use crate::store::LastUsedSource;
use crate::trace::{self, Change};

/// A call with its input.
#[derive(Debug)]
pub(super) enum Command {
    Generate { input: NewKeyInput, idempotent_id: Option<KeyId> },
    List(PageInput),
    Show(KeyId),
    Update(KeyId, UpdateInput),
    Extend(KeyId, Duration),
    Rotate(KeyId, Duration),
    Revoke(KeyId),
    Delete(Vec<KeyId>),
}

/// The result of a call.
#[derive(Debug)]
pub(super) enum Effect {
    Generated(IssuedKey),
    /// An earlier call with the same `Idempotency-Key` created the key.
    Replayed(KeyRecord),
    Listed(Page, Option<LastUsed>),
    Found(KeyRecord, Option<LastUsed>),
    Shown(KeyRecord),
    Rotated(IssuedKey),
    Deleted,
}

/// When each key of a response was last used, in their order.
type LastUsed = Vec<Option<OffsetDateTime>>;

impl Command {
    /// Reads the input of a route.
    ///
    /// # Errors
    ///
    /// Refuses a body that is not JSON, and values outside their limits.
    pub(super) fn read(
        route: Route,
        headers: &HeaderMap,
        query: Option<&str>,
        body: &[u8],
        caller: &Caller,
        now: OffsetDateTime,
    ) -> Result<Self, Rejection> {
        Ok(match route {
            Route::Generate => {
                let input = NewKeyInput::read(body, caller.scopes(), now)?;
                let idempotent_id =
                    idempotency::key_id(headers, caller.owner()).map_err(invalid)?;
                Self::Generate { input, idempotent_id }
            }
            Route::List => Self::List(PageInput::read(query)?),
            Route::DeleteMany => Self::Delete(input::read_ids(body)?),
            Route::Show(id) => Self::Show(id),
            Route::Update(id) => Self::Update(id, UpdateInput::read(body, caller.scopes())?),
            Route::Delete(id) => Self::Delete(vec![id]),
            Route::Extend(id) => Self::Extend(id, input::read_extension(body)?),
            Route::Rotate(id) => Self::Rotate(id, input::read_rotation(body)?),
            Route::Revoke(id) => {
                input::read_nothing(body)?;
                Self::Revoke(id)
            }
        })
    }

    /// Executes the call, and logs every change.
    ///
    /// # Errors
    ///
    /// Refuses what the manager refuses, and scopes that the caller does not hold.
    pub(super) async fn execute(
        self,
        keys: &KeyManager,
        usage: Option<&dyn LastUsedSource>,
        caller: &Caller,
    ) -> Result<Effect, Rejection> {
        let owner = caller.owner();
        Ok(match self {
            Self::Generate { input, idempotent_id } => {
                generate(keys, caller, &input, idempotent_id).await?
            }
            Self::List(page) => {
                let page = keys.list(owner, page.after, page.limit).await?;
                let last_used = last_used(usage, page.keys()).await?;
                Effect::Listed(page, last_used)
            }
            Self::Show(id) => {
                let record = keys.get(owner, &id).await?;
                let last_used = last_used(usage, std::slice::from_ref(&record)).await?;
                Effect::Found(record, last_used)
            }
            Self::Update(id, input) => {
                let mut before = None;
                let updated = keys.update_if(owner, &id, input.update, |record| {
                    before = Some(record.version());
                    if input.enables { check_scopes(record, caller) } else { Ok(()) }
                });
                let after = updated.await?;
                shown(Change::Update, before, after, caller)
            }
            Self::Extend(id, by) => {
                let mut before = None;
                let extended = keys.extend_if(owner, &id, by, |record| {
                    before = Some(record.version());
                    check_scopes(record, caller)
                });
                let after = extended.await?;
                shown(Change::Extend, before, after, caller)
            }
            Self::Rotate(id, overlap) => {
                let guard = |record: &KeyRecord| check_scopes(record, caller);
                let issued = keys.rotate_if(owner, &id, overlap, guard).await?;
                trace::changed(Change::Rotate, issued.record().id(), caller.identity());
                Effect::Rotated(issued)
            }
            Self::Revoke(id) => {
                let before = keys.get(owner, &id).await?;
                let after = keys.revoke(owner, &id).await?;
                shown(Change::Revoke, Some(before.version()), after, caller)
            }
            Self::Delete(ids) => {
                keys.delete(owner, &ids).await?;
                ids.iter().for_each(|id| trace::changed(Change::Delete, id, caller.identity()));
                Effect::Deleted
            }
        })
    }
}

async fn generate(
    keys: &KeyManager,
    caller: &Caller,
    input: &NewKeyInput,
    idempotent_id: Option<KeyId>,
) -> Result<Effect, Rejection> {
    let owner = caller.owner();
    let draft = match caller.rate_limit() {
        Some(quota) => input.draft().with_rate_limit(quota),
        None => input.draft(),
    };
    let Some(id) = idempotent_id else {
        let issued = keys.generate(owner, draft).await?;
        trace::changed(Change::Generate, issued.record().id(), caller.identity());
        return Ok(Effect::Generated(issued));
    };
    let error = match keys.generate(owner, draft.with_id(id.clone())).await {
        Ok(issued) => {
            trace::changed(Change::Generate, &id, caller.identity());
            return Ok(Effect::Generated(issued));
        }
        Err(error) => error,
    };
    match error.kind() {
        ManageErrorKind::Conflict => match found(keys, owner, &id).await? {
            Some(record) if input.describes(&record) => Ok(Effect::Replayed(record)),
            Some(_) => {
                Err(invalid(Violation::new(idempotency::PLACE, "it was used for another key")))
            }
            None => Err(error.into()),
        },
        // All other limits were checked by `NewKeyInput`.
        ManageErrorKind::Invalid => Err(invalid(Violation::new(idempotency::PLACE, error.text()))),
        _ => Err(error.into()),
    }
}

/// # Errors
///
/// Refuses a source that fails, or does not answer for each key.
async fn last_used(
    usage: Option<&dyn LastUsedSource>,
    records: &[KeyRecord],
) -> Result<Option<LastUsed>, Rejection> {
    let Some(usage) = usage else { return Ok(None) };
    let ids: Vec<KeyId> = records.iter().map(|record| record.id().clone()).collect();
    let times = usage.last_used(&ids).await.map_err(ManageError::from)?;
    if times.len() != ids.len() {
        let fault = StoreError::new("the source has another number of times than ids");
        return Err(ManageError::from(fault).into());
    }
    Ok(Some(times))
}

/// Logs the change if the version has changed.
fn shown(change: Change, before: Option<u64>, after: KeyRecord, caller: &Caller) -> Effect {
    if Some(after.version()) != before {
        trace::changed(change, after.id(), caller.identity());
    }
    Effect::Shown(after)
}

async fn found(
    keys: &KeyManager,
    owner: &Owner,
    id: &KeyId,
) -> Result<Option<KeyRecord>, Rejection> {
    match keys.get(owner, id).await {
        Ok(record) => Ok(Some(record)),
        Err(error) if error.kind() == ManageErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Callers can extend, enable and rotate only keys whose scopes they hold.
fn check_scopes(record: &KeyRecord, caller: &Caller) -> Result<(), Rejection> {
    if caller.scopes().covers(record.scopes()) {
        return Ok(());
    }
    let rejection = Rejection::new(RejectionKind::Forbidden).with_owner(caller.owner().clone());
    let missing = record.scopes().iter().find(|scope| !caller.has_scope(scope));
    Err(match missing {
        Some(scope) => rejection.with_required_scope(scope.clone()),
        None => rejection,
    })
}

fn invalid(violation: Violation) -> Rejection {
    Rejection::new(RejectionKind::Invalid).with_violations([violation])
}
