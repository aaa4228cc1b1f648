//! Stores that break the contract in one way each, and what the conformance suite says about them.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::FutureExt;
use time::OffsetDateTime;
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tower_webhook::key::{
    KeyId, KeyRecord, KeyStore, Owner, PageCursor, Scopes, StoreError, WriteOutcome,
};
use tower_webhook::store::MemoryKeyStore;
use tower_webhook::store::conformance;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Nothing,
    InsertOverwrites,
    InsertOverwritesAndSaysConflict,
    InsertFindsAnIdTakenByItsOwnerOnly,
    ReplaceIgnoresTheVersion,
    ReplaceInserts,
    ReplaceCounts,
    ReplaceKeepsMetadataThatGoes,
    ReplaceKeepsTheOwner,
    RemoveIsPartial,
    RemoveCountsRepeats,
    RemoveSaysDoneForWhatIsMissing,
    RemoveIgnoresTheOwner,
    ListLeaksEverybody,
    ListLeaksOwnersInAnotherCase,
    ListMatchesOwnersAsPatterns,
    ListIsInTheOrderOfIds,
    ListOrdersBySeconds,
    ListOrdersTimesAsTexts,
    ListIgnoresCaseInIds,
    ListSkipsTheNext,
    ListShowsTheCursorAgain,
    ListStartsAgainWithoutTheCursor,
    ListIgnoresTheLimit,
    ListTakesTheLimitForSigned,
    ListHasALimitOfItsOwn,
    TruncatesNanoseconds,
    MicrosecondsOnly,
    LowersIds,
    TrimsNames,
    ComposesNames,
    LosesMetadata,
    ReadsNullAsNoMetadata,
    RewritesMetadata,
    LosesThePreviousDigest,
    LosesNotBefore,
    LosesThePepper,
    EmptyScopesBecomeAll,
    JoinsScopesByCommas,
    VersionsAsFloats,
    VersionsAsSigned,
    FindAnswersWithAnother,
    TryFindNowIsStale,
    TryFindNowVisitsTwice,
    TryFindNowVisitsAndSaysNo,
    Panics,
    TwoInsertsAreDone,
    TwoReplacesAreDone,
    ReplaceBringsBack,
    ReplaceGoesThroughNothing,
    ReplaceRemembersEarlierRecords,
    ReplaceHitsTheNextRecord,
    RemoveHitsTheNextOwner,
    WritesInTwoSteps,
    RemovesInTwoSteps,
    KeepsTheLockOfADroppedCall,
    LosesAConnectionPerDroppedCall,
    AnswersWithTheReplyOfADroppedCall,
    CachesWhatAChangeOvertook,
}

use Fault::*;

/// Keeps the contract, except for its fault. Every call can wait.
struct Broken {
    fault: Fault,
    records: Mutex<BTreeMap<KeyId, KeyRecord>>,
    /// The order in which the records are listed, where that is kept apart.
    index: Mutex<BTreeMap<KeyId, Owner>>,
    cache: Mutex<HashMap<KeyId, Option<KeyRecord>>>,
    /// The last versions of records that are gone.
    removed: Mutex<HashMap<KeyId, u64>>,
    locked: AtomicBool,
    /// The holder of the lock is gone, and it is never released.
    lost: AtomicBool,
    connections: Arc<tokio::sync::Semaphore>,
    unread: Mutex<Vec<Option<KeyRecord>>>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            records: Mutex::default(),
            index: Mutex::default(),
            cache: Mutex::default(),
            removed: Mutex::default(),
            locked: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            connections: Arc::new(tokio::sync::Semaphore::new(64)),
            unread: Mutex::default(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<KeyId, KeyRecord>> {
        self.records.lock().unwrap()
    }

    fn id(&self, id: &KeyId) -> KeyId {
        if self.has(LowersIds) {
            return KeyId::new(id.as_str().to_ascii_lowercase()).unwrap();
        }
        id.clone()
    }

    fn put(&self, record: KeyRecord) {
        let record = self.kept(record);
        let id = self.id(record.id());
        self.index.lock().unwrap().insert(id.clone(), record.owner().clone());
        self.records().insert(id, record);
    }

    fn take(&self, id: &KeyId) {
        if let Some(record) = self.records().remove(id) {
            self.removed.lock().unwrap().insert(id.clone(), record.version());
        }
        self.index.lock().unwrap().remove(id);
    }

    fn was_removed(&self, id: &KeyId, version: u64) -> bool {
        self.removed.lock().unwrap().get(id) == Some(&version)
    }

    /// What becomes of a record when it is kept.
    fn kept(&self, record: KeyRecord) -> KeyRecord {
        let cut = |time: OffsetDateTime, unit: u32| {
            time.replace_nanosecond(time.nanosecond() / unit * unit).unwrap()
        };
        let name = record.name().to_owned();
        let metadata = record.metadata().map(str::to_owned);
        match self.fault {
            TruncatesNanoseconds => {
                let expires_at = record.expires_at().map(|time| cut(time, 1_000_000_000));
                record.with_expires_at(expires_at)
            }
            MicrosecondsOnly => {
                let revoked_at = record.revoked_at().map(|time| cut(time, 1_000));
                record.with_revoked_at(revoked_at)
            }
            TrimsNames if !name.trim().is_empty() => record.with_name(name.trim()).unwrap(),
            ComposesNames => record.with_name(name.replace("e\u{301}", "\u{e9}")).unwrap(),
            LosesMetadata => record.with_metadata(None::<&str>).unwrap(),
            ReadsNullAsNoMetadata if metadata.as_deref() == Some("null") => {
                record.with_metadata(None::<&str>).unwrap()
            }
            RewritesMetadata => {
                let value = metadata.and_then(|text| serde_json::from_str(&text).ok());
                let text = value.map(|value: serde_json::Value| value.to_string());
                record.with_metadata(text).unwrap()
            }
            LosesThePreviousDigest => record.with_previous_digest(None),
            LosesNotBefore => record.with_not_before(None),
            LosesThePepper => {
                let bytes = *record.digest().expose_bytes();
                let digest =
                    tower_webhook::key::KeyDigest::from_parts("sha256", None, &bytes).unwrap();
                record.with_digest(digest)
            }
            EmptyScopesBecomeAll if record.scopes().is_none() => record.with_scopes(Scopes::ALL),
            JoinsScopesByCommas if !record.scopes().is_all() => {
                let scopes: Vec<_> =
                    record.scopes().iter().map(|scope| scope.as_str().to_owned()).collect();
                let joined = scopes.join(",");
                let texts = joined.split(',').filter(|text| !text.is_empty());
                record.with_scopes(Scopes::parse(texts).unwrap())
            }
            VersionsAsFloats => {
                let version = record.version() as f64 as u64;
                record.with_version(version)
            }
            VersionsAsSigned => {
                let version = i64::try_from(record.version()).unwrap_or(i64::MAX);
                record.with_version(version.unsigned_abs())
            }
            _ => record,
        }
    }

    /// Goes through the cache, if the fault is in it.
    fn fresh(&self, id: &KeyId) {
        if !self.has(TryFindNowIsStale) {
            self.cache.lock().unwrap().remove(id);
        }
    }

    async fn begin(&self) -> Result<Busy<'_>, StoreError> {
        if self.has(KeepsTheLockOfADroppedCall) {
            while self.locked.swap(true, Ordering::SeqCst) {
                if self.lost.load(Ordering::SeqCst) {
                    return Err(StoreError::new("locked"));
                }
                yield_now().await;
            }
            let busy = Busy(self);
            yield_now().await;
            return Ok(busy);
        }
        if self.has(LosesAConnectionPerDroppedCall) {
            let permit = self.connections.try_acquire();
            permit.map_err(|_| StoreError::new("no connection is left"))?.forget();
            yield_now().await;
            self.connections.add_permits(1);
            return Ok(Busy(self));
        }
        yield_now().await;
        Ok(Busy(self))
    }
}

/// Gives the lock back at the end of a call, but not when it is dropped before.
struct Busy<'a>(&'a Broken);

impl Busy<'_> {
    async fn end(self) {
        yield_now().await;
        self.0.locked.store(false, Ordering::SeqCst);
        std::mem::forget(self);
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lost.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl KeyStore for Broken {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        assert!(!self.has(Panics) || id.as_str() != "abc", "index out of bounds");
        let id = self.id(id);
        let busy = self.begin().await?;
        let mut found = self.records().get(&id).cloned();
        if self.has(AnswersWithTheReplyOfADroppedCall) {
            self.unread.lock().unwrap().push(found);
            yield_now().await;
            found = self.unread.lock().unwrap().remove(0);
        }
        if self.has(FindAnswersWithAnother) && found.is_none() {
            found = self.records().values().next().cloned();
        }
        if self.has(TryFindNowIsStale) {
            self.cache.lock().unwrap().entry(id.clone()).or_insert(found.clone());
        }
        busy.end().await;
        if self.has(CachesWhatAChangeOvertook) {
            self.cache.lock().unwrap().insert(id, found.clone());
        }
        Ok(found)
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let busy = self.begin().await?;
        let id = self.id(record.id());
        let taken = self.records().get(&id).cloned();
        if let Some(taken) = taken {
            let overwrites = match self.fault {
                InsertFindsAnIdTakenByItsOwnerOnly => taken.owner() != record.owner(),
                fault => fault == InsertOverwrites,
            };
            if overwrites || self.has(InsertOverwritesAndSaysConflict) {
                self.put(record);
                self.fresh(&id);
            }
            busy.end().await;
            return Ok(if overwrites { WriteOutcome::Applied } else { WriteOutcome::Conflict });
        }
        match self.fault {
            TwoInsertsAreDone => yield_now().await,
            WritesInTwoSteps => {
                self.records().insert(id.clone(), record.clone());
                yield_now().await;
            }
            _ => {}
        }
        self.put(record);
        self.fresh(&id);
        busy.end().await;
        Ok(WriteOutcome::Applied)
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        let busy = self.begin().await?;
        let id = self.id(record.id());
        let stored = self.records().get(&id).cloned();
        let fits = match &stored {
            None => self.has(ReplaceInserts),
            Some(_) if self.has(ReplaceIgnoresTheVersion) => true,
            Some(stored) if self.has(VersionsAsFloats) => {
                stored.version() as f64 == expected as f64
            }
            Some(_)
                if self.has(ReplaceRemembersEarlierRecords) && self.was_removed(&id, expected) =>
            {
                true
            }
            Some(stored) => stored.version() == expected,
        };
        if !fits {
            busy.end().await;
            return Ok(WriteOutcome::Conflict);
        }
        let mut record = record;
        match (self.fault, &stored) {
            (ReplaceCounts, _) => record = record.with_version(expected + 1),
            (ReplaceKeepsMetadataThatGoes, Some(stored)) if record.metadata().is_none() => {
                record = record.with_metadata(stored.metadata()).unwrap();
            }
            (ReplaceKeepsTheOwner, Some(stored)) => {
                let mut text: serde_json::Value = serde_json::from_str(&record.encode()).unwrap();
                text["owner"] = stored.owner().as_str().into();
                record = KeyRecord::decode(text.to_string()).unwrap();
            }
            (TwoReplacesAreDone, _) => {
                yield_now().await;
                if !self.records().contains_key(&id) {
                    return Ok(WriteOutcome::Conflict);
                }
            }
            (ReplaceBringsBack, _) => {
                yield_now().await;
                let overtaken = self.records().get(&id).map(KeyRecord::version);
                if overtaken.is_some_and(|version| version != expected) {
                    return Ok(WriteOutcome::Conflict);
                }
            }
            // Versions rise, so a change in between has left a higher one.
            (ReplaceHitsTheNextRecord, _) => {
                yield_now().await;
                let overtaken = self.records().get(&id).map(KeyRecord::version);
                if overtaken.is_none_or(|version| version > expected) {
                    return Ok(WriteOutcome::Conflict);
                }
            }
            (ReplaceGoesThroughNothing, _) => {
                self.take(&id);
                yield_now().await;
            }
            _ => {}
        }
        self.put(record);
        self.fresh(&id);
        busy.end().await;
        Ok(WriteOutcome::Applied)
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let busy = self.begin().await?;
        let ids: Vec<_> = ids.iter().map(|id| self.id(id)).collect();
        let fits = |id: &KeyId| match self.records().get(id) {
            None => self.has(RemoveSaysDoneForWhatIsMissing),
            Some(_) if self.has(RemoveIgnoresTheOwner) => true,
            Some(record) => record.owner() == owner,
        };
        let fitting: Vec<_> = ids.iter().filter(|id| fits(id)).cloned().collect();
        let mut all = fitting.len() == ids.len();
        if self.has(RemoveCountsRepeats) {
            let distinct: std::collections::BTreeSet<_> = fitting.iter().collect();
            all &= distinct.len() == ids.len();
        }
        if !all && !self.has(RemoveIsPartial) {
            busy.end().await;
            return Ok(WriteOutcome::Conflict);
        }
        if self.has(RemoveHitsTheNextOwner) {
            yield_now().await;
            if !fitting.iter().all(|id| self.records().contains_key(id)) {
                return Ok(WriteOutcome::Conflict);
            }
        }
        for id in &fitting {
            self.take(id);
            self.fresh(id);
            if self.has(RemovesInTwoSteps) {
                yield_now().await;
            }
        }
        busy.end().await;
        Ok(if all { WriteOutcome::Applied } else { WriteOutcome::Conflict })
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let busy = self.begin().await?;
        let is_owned = |id: &KeyId, record: &KeyRecord| match self.fault {
            ListLeaksEverybody => true,
            ListLeaksOwnersInAnotherCase => {
                record.owner().as_str().eq_ignore_ascii_case(owner.as_str())
            }
            ListMatchesOwnersAsPatterns if owner.as_str() == "%" => true,
            WritesInTwoSteps => self.index.lock().unwrap().get(id) == Some(owner),
            _ => record.owner() == owner,
        };
        let mut found: Vec<KeyRecord> = self
            .records()
            .iter()
            .filter(|(id, record)| is_owned(id, record))
            .map(|(_, record)| record.clone())
            .collect();
        let second = |record: &KeyRecord| record.created_at().unix_timestamp();
        match self.fault {
            ListIsInTheOrderOfIds => found.sort_by_key(|record| record.id().clone()),
            ListOrdersBySeconds => {
                found.sort_by_key(|record| (second(record), record.id().clone()));
            }
            ListOrdersTimesAsTexts => found.sort_by_key(|record| {
                let time = record.created_at();
                let format = &time::format_description::well_known::Rfc3339;
                (time.format(format).unwrap(), record.id().clone())
            }),
            ListIgnoresCaseInIds => found.sort_by_key(|record| {
                (record.created_at(), record.id().as_str().to_ascii_lowercase())
            }),
            _ => found.sort_by_key(PageCursor::of),
        }
        if let Some(after) = after {
            match self.fault {
                ListShowsTheCursorAgain => found.retain(|record| PageCursor::of(record) >= *after),
                ListStartsAgainWithoutTheCursor => {
                    let place = found.iter().position(|record| PageCursor::of(record) == *after);
                    found.drain(..place.map_or(0, |place| place + 1));
                }
                _ => found.retain(|record| PageCursor::of(record) > *after),
            }
            if self.has(ListSkipsTheNext) && !found.is_empty() {
                found.remove(0);
            }
        }
        match self.fault {
            ListIgnoresTheLimit => {}
            ListTakesTheLimitForSigned => found.truncate((limit as i32).max(0) as usize),
            ListHasALimitOfItsOwn => found.truncate(limit.min(100)),
            _ => found.truncate(limit),
        }
        busy.end().await;
        Ok(found)
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        match self.fault {
            TryFindNowIsStale | CachesWhatAChangeOvertook => {
                let cache = self.cache.lock().unwrap();
                cache.get(id).inspect(|record| visit(record.as_ref())).is_some()
            }
            TryFindNowVisitsTwice => {
                visit(self.records().get(id));
                visit(self.records().get(id));
                true
            }
            TryFindNowVisitsAndSaysNo => {
                visit(self.records().get(id));
                false
            }
            _ => false,
        }
    }
}

/// What a panic of `check` says.
async fn verdict(check: impl Future<Output = ()>) -> Result<(), String> {
    let outcome = AssertUnwindSafe(check).catch_unwind().await;
    outcome.map_err(|panic| *panic.downcast::<String>().unwrap())
}

async fn check(fault: Fault) -> Result<(), String> {
    verdict(conformance::check(async || Broken::new(fault))).await
}

macro_rules! faults {
    ($($name:ident: $fault:ident breaks $rule:literal;)*) => {
        /// What keeps the contract passes, and so the fault alone is what fails below.
        const FAULTS: &[(Fault, usize)] = &[$(($fault, $rule)),*];

        $(#[tokio::test]
        async fn $name() {
            let text = check($fault).await.expect_err("the fault was not seen");
            println!("{text}");
            let expected = format!("breaks rule {} (", $rule);
            assert!(text.contains(&expected), "expected {expected:?} in {text}");
        })*
    };
}

faults! {
    insert_overwrites: InsertOverwrites breaks 6;
    insert_overwrites_and_says_conflict: InsertOverwritesAndSaysConflict breaks 2;
    insert_knows_an_id_per_owner: InsertFindsAnIdTakenByItsOwnerOnly breaks 6;
    replace_ignores_the_version: ReplaceIgnoresTheVersion breaks 7;
    replace_inserts_a_missing_record: ReplaceInserts breaks 7;
    replace_counts_by_itself: ReplaceCounts breaks 7;
    replace_keeps_metadata_that_goes: ReplaceKeepsMetadataThatGoes breaks 5;
    replace_keeps_the_owner: ReplaceKeepsTheOwner breaks 7;
    remove_is_partial: RemoveIsPartial breaks 8;
    remove_counts_repeats: RemoveCountsRepeats breaks 8;
    remove_is_done_without_a_record: RemoveSaysDoneForWhatIsMissing breaks 8;
    remove_ignores_the_owner: RemoveIgnoresTheOwner breaks 9;
    list_leaks_everybody: ListLeaksEverybody breaks 10;
    list_leaks_owners_in_another_case: ListLeaksOwnersInAnotherCase breaks 10;
    list_matches_owners_as_patterns: ListMatchesOwnersAsPatterns breaks 10;
    list_is_in_the_order_of_ids: ListIsInTheOrderOfIds breaks 11;
    list_orders_by_seconds: ListOrdersBySeconds breaks 11;
    list_orders_times_as_texts: ListOrdersTimesAsTexts breaks 11;
    list_ignores_case_in_ids: ListIgnoresCaseInIds breaks 11;
    list_skips_the_record_after_the_cursor: ListSkipsTheNext breaks 12;
    list_shows_the_cursors_record_again: ListShowsTheCursorAgain breaks 12;
    list_starts_again_without_the_cursors_record:
        ListStartsAgainWithoutTheCursor breaks 12;
    list_ignores_the_limit: ListIgnoresTheLimit breaks 13;
    list_takes_a_high_limit_for_a_negative_one:
        ListTakesTheLimitForSigned breaks 13;
    list_has_a_limit_of_its_own: ListHasALimitOfItsOwn breaks 13;
    nanoseconds_are_cut: TruncatesNanoseconds breaks 5;
    times_have_microseconds_only: MicrosecondsOnly breaks 5;
    ids_are_lowered: LowersIds breaks 4;
    names_are_trimmed: TrimsNames breaks 5;
    names_are_composed: ComposesNames breaks 5;
    metadata_is_lost: LosesMetadata breaks 5;
    metadata_null_is_none: ReadsNullAsNoMetadata breaks 5;
    metadata_is_rewritten: RewritesMetadata breaks 5;
    the_previous_digest_is_lost: LosesThePreviousDigest breaks 5;
    the_start_is_lost: LosesNotBefore breaks 5;
    the_name_of_the_pepper_is_lost: LosesThePepper breaks 5;
    an_empty_set_of_scopes_becomes_all: EmptyScopesBecomeAll breaks 5;
    scopes_are_joined_by_commas: JoinsScopesByCommas breaks 5;
    versions_are_floats: VersionsAsFloats breaks 5;
    versions_are_signed: VersionsAsSigned breaks 5;
    find_answers_with_another_record: FindAnswersWithAnother breaks 4;
    try_find_now_is_stale: TryFindNowIsStale breaks 16;
    try_find_now_visits_twice: TryFindNowVisitsTwice breaks 16;
    try_find_now_visits_and_says_no: TryFindNowVisitsAndSaysNo breaks 16;
    a_cache_keeps_what_a_change_overtook:
        CachesWhatAChangeOvertook breaks 16;
    a_call_panics: Panics breaks 3;
    two_inserts_are_done: TwoInsertsAreDone breaks 15;
    two_replaces_of_one_version_are_done: TwoReplacesAreDone breaks 15;
    replace_brings_back_what_is_removed: ReplaceBringsBack breaks 15;
    replace_removes_before_it_writes: ReplaceGoesThroughNothing breaks 15;
    replace_remembers_earlier_records:
        ReplaceRemembersEarlierRecords breaks 19;
    replace_hits_the_next_record: ReplaceHitsTheNextRecord breaks 19;
    remove_hits_the_next_owner: RemoveHitsTheNextOwner breaks 15;
    a_dropped_insert_is_half_done: WritesInTwoSteps breaks 17;
    a_dropped_call_keeps_its_lock: KeepsTheLockOfADroppedCall breaks 17;
    a_dropped_call_loses_its_connection:
        LosesAConnectionPerDroppedCall breaks 17;
    a_reply_reaches_another_call:
        AnswersWithTheReplyOfADroppedCall breaks 17;
}

#[tokio::test]
async fn a_removal_in_two_steps_breaks_a_rule() {
    let text = check(RemovesInTwoSteps).await.unwrap_err();
    assert!(text.contains("breaks rule 15 (") || text.contains("breaks rule 17 ("), "{text}");
}

#[tokio::test]
async fn a_store_without_a_fault_passes() {
    check(Nothing).await.unwrap();
}

#[test]
fn every_rule_is_broken_by_some_fault() {
    let seen: std::collections::BTreeSet<_> = FAULTS.iter().map(|(_, rule)| *rule).collect();

    // These have tests of their own below.
    let missing: Vec<_> = (1..=19).filter(|number| !seen.contains(number)).collect();
    assert_eq!(missing, [1, 14, 18]);
}

/// Shares a memory, except for its fault.
struct Shared<F> {
    memory: Arc<MemoryKeyStore>,
    list: F,
}

#[async_trait]
impl<F> KeyStore for Shared<F>
where
    F: Fn(&mut Vec<KeyRecord>) + Send + Sync + 'static,
{
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.memory.find(id).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.memory.insert(record).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        self.memory.replace(record, expected).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.memory.remove(owner, ids).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let mut page = self.memory.list(owner, after, limit).await?;
        (self.list)(&mut page);
        Ok(page)
    }
}

#[tokio::test]
async fn a_list_without_the_last_changes_is_a_violation() {
    let text = verdict(conformance::check(async || Shared {
        memory: Arc::default(),
        list: |page: &mut Vec<KeyRecord>| page.clear(),
    }))
    .await
    .unwrap_err();

    assert!(text.contains("breaks rule 1 "), "{text}");
}

/// One lock for everything, held across every wait of a call, and changes that are rolled back when a
/// call is dropped: slow, and right.
#[derive(Default)]
struct OneByOne(tokio::sync::Mutex<()>, MemoryKeyStore);

impl OneByOne {
    async fn begin(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let guard = self.0.lock().await;
        yield_now().await;
        yield_now().await;
        guard
    }
}

#[async_trait]
impl KeyStore for OneByOne {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let _guard = self.begin().await;
        self.1.find(id).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let _guard = self.begin().await;
        let write = self.1.insert(record).await;
        yield_now().await;
        write
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        let _guard = self.begin().await;
        let write = self.1.replace(record, expected).await;
        yield_now().await;
        write
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let _guard = self.begin().await;
        let write = self.1.remove(owner, ids).await;
        yield_now().await;
        write
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let _guard = self.begin().await;
        self.1.list(owner, after, limit).await
    }
}

#[tokio::test]
async fn a_store_that_serves_one_call_at_a_time_passes() {
    conformance::check(async || OneByOne::default()).await;
}

/// Every call is a task that goes on when the call is dropped, as a server does: at once, or when so
/// many later calls have begun.
#[derive(Clone, Default)]
struct Detached {
    store: Arc<MemoryKeyStore>,
    late: usize,
    begun: watch::Sender<usize>,
}

impl Detached {
    async fn spawn<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.begun.send_modify(|begun| *begun += 1);
        let (mut begun, late) = (self.begun.subscribe(), self.late);
        let (sender, answer) = oneshot::channel();
        tokio::spawn(async move {
            for _ in 0..4 {
                yield_now().await;
            }
            if sender.is_closed() {
                let due = *begun.borrow() + late;
                let _ = begun.wait_for(|&begun| begun >= due).await;
            }
            let _ = sender.send(call.await);
        });
        answer.await.map_err(StoreError::new)?
    }
}

#[async_trait]
impl KeyStore for Detached {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let (store, id) = (self.clone(), id.clone());
        self.spawn(async move { store.store.find(&id).await }).await
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        let store = self.clone();
        self.spawn(async move { store.store.insert(record).await }).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        let store = self.clone();
        self.spawn(async move { store.store.replace(record, expected).await }).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let (store, owner, ids) = (self.clone(), owner.clone(), ids.to_vec());
        self.spawn(async move { store.store.remove(&owner, &ids).await }).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let (store, owner, after) = (self.clone(), owner.clone(), after.cloned());
        self.spawn(async move { store.store.list(&owner, after.as_ref(), limit).await }).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_dropped_calls_go_on_passes() {
    conformance::check(async || Detached::default()).await;
}

#[tokio::test]
async fn a_store_whose_dropped_calls_come_late_passes() {
    for late in 1..=24 {
        conformance::check(async || Detached { late, ..Detached::default() }).await;
    }
}

/// A server that is gone, by a client that takes errors for answers.
struct Swallows(&'static str);

impl Swallows {
    fn answer<T>(&self, method: &str, answer: T) -> Result<T, StoreError> {
        if self.0 == method { Ok(answer) } else { Err(StoreError::new("connection refused")) }
    }
}

#[async_trait]
impl KeyStore for Swallows {
    async fn find(&self, _: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.answer("find", None)
    }

    async fn insert(&self, _: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.answer("insert", WriteOutcome::Conflict)
    }

    async fn replace(&self, _: KeyRecord, _: u64) -> Result<WriteOutcome, StoreError> {
        self.answer("replace", WriteOutcome::Conflict)
    }

    async fn remove(&self, _: &Owner, _: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.answer("remove", WriteOutcome::Applied)
    }

    async fn list(
        &self,
        _: &Owner,
        _: Option<&PageCursor>,
        _: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.answer("list", Vec::new())
    }

    fn try_find_now(&self, _: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        let answers = self.0 == "try_find_now";
        if answers {
            visit(None);
        }
        answers
    }
}

#[tokio::test]
async fn an_error_turned_into_an_answer_is_a_violation() {
    for method in ["find", "try_find_now", "insert", "replace", "remove", "list"] {
        let text = verdict(conformance::check_outage(async || Swallows(method))).await.unwrap_err();
        assert!(text.contains("breaks rule 3 (A fault is an error)"), "{text}");
        assert!(text.contains(method), "{method}: {text}");
    }
    conformance::check_outage(async || Swallows("nothing")).await;
}

#[tokio::test]
async fn a_place_that_forgets_is_a_violation() {
    let text =
        verdict(conformance::check_durable(async || MemoryKeyStore::new())).await.unwrap_err();

    assert!(text.contains("breaks rule 18 (`Applied` is durable)"), "{text}");
    assert!(text.contains("(closed and opened again)"), "{text}");
}

#[tokio::test]
async fn a_place_that_forgets_the_last_change_is_a_violation() {
    // Every second opening finds what was there one opening ago.
    let places = Mutex::new(vec![Arc::new(MemoryKeyStore::new())]);
    let open = async || {
        let place = Arc::clone(places.lock().unwrap().last().unwrap());
        let empty = place.is_empty();
        if !empty {
            places.lock().unwrap().push(Arc::default());
        }
        place
    };
    let text = verdict(conformance::check_durable(open)).await.unwrap_err();
    assert!(text.contains("breaks rule 17 (") || text.contains("breaks rule 18 ("), "{text}");
}

#[tokio::test]
async fn a_durable_place_passes() {
    let place = Arc::new(Broken::new(Nothing));

    conformance::check_durable(async || Arc::clone(&place)).await;
}

#[tokio::test]
async fn a_violation_is_explained() {
    let text = check(LosesNotBefore).await.unwrap_err();
    for part in [
        "The key store breaks rule 5 (Records round-trip).",
        "check:    records: every part comes back",
        "done:     insert(\"key-0000\" of \"ann\", version 1) -> Applied",
        "expected: find: \"key-0000\" of \"ann\", version 1 with not_before Some(2026-01-01",
        "actual:   \"key-0000\" of \"ann\", version 1 with not_before None",
        "number 5 under \"Rules\" in the docs of `tower_webhook::key::KeyStore`",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn the_suite_runs_without_a_runtime() {
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    let mut check = Box::pin(conformance::check(async || MemoryKeyStore::new()));
    // It waits for nothing but a memory, and still yields now and then.
    for _ in 0..10_000 {
        if check.as_mut().poll(&mut context).is_ready() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("not over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_can_be_spawned() {
    let check = conformance::check(async || MemoryKeyStore::new());
    tokio::spawn(check).await.unwrap();
}
