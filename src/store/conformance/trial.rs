use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::describe::{cut, described, difference, ids, listed, written};
use super::{Rule, Violation};
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
use crate::util::ErrorChain;
use crate::util::conformance::{Call, dropped_after, pause, within};

/// A rule that was seen broken.
pub(super) struct Mismatch {
    rule: Rule,
    expected: String,
    actual: String,
}

pub(super) type Checked<T = ()> = Result<T, Mismatch>;

/// A store on trial, and what was done to it.
pub(super) struct Trial {
    store: Box<dyn KeyStore>,
    call_timeout: Duration,
    history: Mutex<Vec<String>>,
}

/// How long a call of the suite waits for a store.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How many of the latest calls an explanation shows.
const SHOWN: usize = 8;

impl Trial {
    pub(super) fn new(store: Box<dyn KeyStore>, call_timeout: Duration) -> Self {
        Self { store, call_timeout, history: Mutex::default() }
    }

    /// The calls that a check makes for the sake of this rule.
    pub(super) fn under(&self, rule: Rule) -> RuleScope<'_> {
        RuleScope { trial: self, rule }
    }

    /// Keeps records that a check starts from.
    pub(super) async fn keep(&self, records: &[KeyRecord]) -> Checked {
        for record in records {
            self.under(Rule::InsertNeverOverwrites)
                .insert_is(record, WriteOutcome::Applied)
                .await?;
        }
        Ok(())
    }

    pub(super) fn store(&self) -> &dyn KeyStore {
        self.store.as_ref()
    }

    pub(super) fn note(&self, text: String) {
        self.history().push(text);
    }

    pub(super) fn violation(&self, check: String, mismatch: Mismatch) -> Violation {
        let history = self.history();
        let start = history.len().saturating_sub(SHOWN);
        let mut done: Vec<_> = history.iter().skip(start).cloned().collect();
        if start > 0 {
            done.insert(0, format!("({start} calls before)"));
        }
        let Mismatch { rule, expected, actual } = mismatch;
        Violation { rule, check, done, expected, actual }
    }

    pub(super) fn panicked(text: &str) -> Mismatch {
        Mismatch {
            rule: Rule::FaultIsAnError,
            expected: "an answer or an error".to_owned(),
            actual: format!("a panic: {}", cut(text, 400)),
        }
    }

    /// Takes the place of another store, and goes on with its history.
    pub(super) fn reopened(&mut self, store: Box<dyn KeyStore>) {
        self.store = store;
        self.note("(closed and opened again)".to_owned());
    }

    /// Closes the store. What is left answers nothing.
    pub(super) fn close(&mut self) {
        self.store = Box::new(super::durable::Closed);
    }

    fn history(&self) -> MutexGuard<'_, Vec<String>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy)]
pub(super) struct RuleScope<'a> {
    trial: &'a Trial,
    rule: Rule,
}

/// Calls, and what they answer.
impl<'a> RuleScope<'a> {
    pub(super) fn rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    pub(super) fn mismatch(
        self,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Mismatch {
        Mismatch { rule: self.rule, expected: expected.into(), actual: actual.into() }
    }

    /// Passes if `kept`.
    pub(super) fn ensure(
        self,
        kept: bool,
        expected: impl Into<String>,
        actual: impl FnOnce() -> String,
    ) -> Checked {
        if kept { Ok(()) } else { Err(self.mismatch(expected, actual())) }
    }

    pub(super) async fn find(self, id: &KeyId) -> Checked<Option<KeyRecord>> {
        let text = format!("find({})", cut(id.as_str(), 40));
        let found = self.trial.store.find(id);
        self.answer(text, found, |found| found.as_ref().map_or("None".to_owned(), described)).await
    }

    pub(super) async fn insert(self, record: &KeyRecord) -> Checked<WriteOutcome> {
        let text = format!("insert({})", described(record));
        self.answer(text, self.trial.store.insert(record.clone()), written).await
    }

    pub(super) async fn replace(self, record: &KeyRecord, expected: u64) -> Checked<WriteOutcome> {
        let text = replace_text(record, expected);
        self.answer(text, self.trial.store.replace(record.clone(), expected), written).await
    }

    pub(super) async fn remove(self, owner: &Owner, ids: &[KeyId]) -> Checked<WriteOutcome> {
        let text = remove_text(owner, ids);
        self.answer(text, self.trial.store.remove(owner, ids), written).await
    }

    pub(super) async fn list(
        self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Checked<Vec<KeyRecord>> {
        let text = list_text(owner, after, limit);
        self.answer(text, self.trial.store.list(owner, after, limit), |page| listed(page)).await
    }

    /// Makes the call, polls it so many times and drops it.
    pub(super) async fn dropped_find(self, polls: usize, id: &KeyId) -> Checked<bool> {
        let text = format!("find({})", cut(id.as_str(), 40));
        Ok(self.dropped(polls, text, self.trial.store.find(id)).await?.is_some())
    }

    pub(super) async fn dropped_list(self, polls: usize, owner: &Owner) -> Checked<bool> {
        let text = list_text(owner, None, 10);
        Ok(self.dropped(polls, text, self.trial.store.list(owner, None, 10)).await?.is_some())
    }

    pub(super) async fn dropped_insert(
        self,
        polls: usize,
        record: &KeyRecord,
    ) -> Checked<Option<WriteOutcome>> {
        let text = format!("insert({})", described(record));
        self.dropped(polls, text, self.trial.store.insert(record.clone())).await
    }

    pub(super) async fn dropped_replace(
        self,
        polls: usize,
        record: &KeyRecord,
        expected: u64,
    ) -> Checked<Option<WriteOutcome>> {
        let text = replace_text(record, expected);
        self.dropped(polls, text, self.trial.store.replace(record.clone(), expected)).await
    }

    pub(super) async fn dropped_remove(
        self,
        polls: usize,
        owner: &Owner,
        ids: &[KeyId],
    ) -> Checked<Option<WriteOutcome>> {
        let text = remove_text(owner, ids);
        self.dropped(polls, text, self.trial.store.remove(owner, ids)).await
    }

    /// Takes an error for an answer.
    pub(super) async fn raw<T>(
        self,
        text: &str,
        call: Call<'_, Result<T, StoreError>>,
        tell: impl FnOnce(&T) -> String,
    ) -> Checked<Result<T, StoreError>> {
        let answer = self.wait(text, call).await?;
        let written = match &answer {
            Ok(value) => tell(value),
            Err(error) => format!("an error: {}", ErrorChain(error)),
        };
        self.trial.note(format!("{text} -> {written}"));
        Ok(answer)
    }

    /// What `try_find_now` shows. `None`: it says that it cannot tell.
    pub(super) fn try_find_now(self, id: &KeyId) -> Checked<Option<Option<KeyRecord>>> {
        let mut visits: Vec<Option<KeyRecord>> = Vec::new();
        let answered =
            self.trial.store.try_find_now(id, &mut |record| visits.push(record.cloned()));
        let under = self.rule(Rule::TryFindNowAgreesWithFind);
        let expected = if answered { 1 } else { 0 };
        under.ensure(
            visits.len() == expected,
            format!("try_find_now that returns {answered} visits {expected} times"),
            || format!("{} visits", visits.len()),
        )?;
        Ok(visits.pop())
    }

    async fn answer<T>(
        self,
        text: String,
        call: Call<'_, Result<T, StoreError>>,
        tell: impl FnOnce(&T) -> String,
    ) -> Checked<T> {
        match self.wait(&text, call).await? {
            Ok(value) => {
                self.trial.note(format!("{text} -> {}", tell(&value)));
                Ok(value)
            }
            Err(error) => {
                let actual = format!("an error: {}", ErrorChain(&error));
                self.trial.note(format!("{text} -> {actual}"));
                Err(self.mismatch("an answer: the store is there and the call is valid", actual))
            }
        }
    }

    async fn wait<T>(self, text: &str, call: impl Future<Output = T>) -> Checked<T> {
        let call_timeout = self.trial.call_timeout;
        let answer = within(call_timeout, call).await;
        answer.ok_or_else(|| {
            self.trial.note(format!("{text} -> no answer"));
            self.mismatch("an answer or an error", format!("nothing within {call_timeout:?}"))
        })
    }

    async fn dropped<T>(
        self,
        polls: usize,
        text: String,
        call: Call<'_, Result<T, StoreError>>,
    ) -> Checked<Option<T>> {
        let answer = self.wait(&text, dropped_after(polls, call)).await?;
        let written = match &answer {
            None => format!("dropped after {polls} polls"),
            Some(Ok(_)) => format!("over before poll {}", polls + 1),
            Some(Err(error)) => format!("an error: {}", ErrorChain(error)),
        };
        self.trial.note(format!("{text} -> {written}"));
        match answer.transpose() {
            Ok(answer) => Ok(answer),
            Err(_) => {
                Err(self.mismatch("an answer: the store is there and the call is valid", written))
            }
        }
    }
}

/// Calls whose answer the rule decides.
impl RuleScope<'_> {
    pub(super) async fn insert_is(self, record: &KeyRecord, expected: WriteOutcome) -> Checked {
        let actual = self.insert(record).await?;
        self.write_is("insert", actual, expected)
    }

    pub(super) async fn replace_is(
        self,
        record: &KeyRecord,
        version: u64,
        expected: WriteOutcome,
    ) -> Checked {
        let actual = self.replace(record, version).await?;
        self.write_is("replace", actual, expected)
    }

    pub(super) async fn remove_is(
        self,
        owner: &Owner,
        ids: &[KeyId],
        expected: WriteOutcome,
    ) -> Checked {
        let actual = self.remove(owner, ids).await?;
        self.write_is("remove", actual, expected)
    }

    /// `find` and, if it answers, `try_find_now` before and after it.
    pub(super) async fn find_is(self, id: &KeyId, expected: Option<&KeyRecord>) -> Checked {
        let before = self.try_find_now(id)?;
        let found = self.find(id).await?;
        self.record_is("find", found.as_ref(), expected)?;
        let after = self.try_find_now(id)?;
        for ready in [before, after].into_iter().flatten() {
            let under = self.rule(Rule::TryFindNowAgreesWithFind);
            under.record_is("try_find_now", ready.as_ref(), expected)?;
        }
        Ok(())
    }

    pub(super) async fn list_is(
        self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
        expected: &[&KeyRecord],
    ) -> Checked {
        let page = self.list(owner, after, limit).await?;
        self.page_is(&page, expected)
    }

    /// Whether these records are all of the owner, in any order.
    pub(super) async fn owner_has(self, owner: &Owner, expected: &[&KeyRecord]) -> Checked {
        let limit = expected.len() + 10;
        let mut page = self.list(owner, None, limit).await?;
        let mut expected = expected.to_vec();
        if (10..expected.len()).contains(&page.len()) {
            let actual = format!("{} records", page.len());
            let expected = format!("{} records under a limit of {limit}", expected.len());
            return Err(self.rule(Rule::ListKeepsToTheLimit).mismatch(expected, actual));
        }
        page.sort_by_key(PageCursor::of);
        expected.sort_by_key(|record| PageCursor::of(record));
        self.page_is(&page, &expected)
    }

    pub(super) fn page_is(self, page: &[KeyRecord], expected: &[&KeyRecord]) -> Checked {
        let same = page.iter().map(KeyRecord::id).eq(expected.iter().map(|record| record.id()));
        if !same {
            let expected = ids(expected.iter().copied());
            return Err(self.mismatch(format!("list shows {expected}"), ids(page)));
        }
        for (record, expected) in page.iter().zip(expected) {
            self.record_is("list", Some(record), Some(expected))?;
        }
        Ok(())
    }

    pub(super) fn record_is(
        self,
        method: &str,
        found: Option<&KeyRecord>,
        expected: Option<&KeyRecord>,
    ) -> Checked {
        match (found, expected) {
            (None, None) => Ok(()),
            (Some(found), None) => Err(self.mismatch(format!("{method}: None"), described(found))),
            (None, Some(expected)) => {
                Err(self.mismatch(format!("{method}: {}", described(expected)), "None"))
            }
            (Some(found), Some(expected)) => match difference(expected, found) {
                None => Ok(()),
                Some((wanted, actual)) => Err(self.mismatch(
                    format!("{method}: {} with {wanted}", described(expected)),
                    format!("{} with {actual}", described(found)),
                )),
            },
        }
    }

    /// Tries until it passes, for a second: what a dropped call has begun may take effect late.
    pub(super) async fn settles<'a>(self, check: impl Fn() -> Call<'a, Checked>) -> Checked {
        for _ in 0..100 {
            let mark = self.trial.history().len();
            if check().await.is_ok() {
                return Ok(());
            }
            self.trial.history().truncate(mark);
            pause(Duration::from_millis(10)).await;
        }
        check().await
    }

    fn write_is(self, method: &str, actual: WriteOutcome, expected: WriteOutcome) -> Checked {
        self.ensure(actual == expected, format!("{method}: {expected:?}"), || format!("{actual:?}"))
    }
}

fn replace_text(record: &KeyRecord, expected: u64) -> String {
    format!("replace({}, expected version {expected})", described(record))
}

fn remove_text(owner: &Owner, removed: &[KeyId]) -> String {
    let shown: Vec<_> = removed.iter().take(6).map(|id| cut(id.as_str(), 40)).collect();
    let more = if removed.len() > 6 { ", .." } else { "" };
    format!("remove({}, [{}{more}])", cut(owner.as_str(), 40), shown.join(", "))
}

fn list_text(owner: &Owner, after: Option<&PageCursor>, limit: usize) -> String {
    let after = after.map_or("the start".to_owned(), |after| {
        format!("{} at {}", cut(after.id().as_str(), 40), after.created_at())
    });
    format!("list({}, from {after}, limit {limit})", cut(owner.as_str(), 40))
}
