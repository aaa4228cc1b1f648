use std::time::Duration;

use async_trait::async_trait;

use super::group::sentence;
use super::sample::{
    at, changed, id, metadata, owner, record, record_at, scopes, stamped, times, valid,
};
use super::trial::{Checked, Trial};
use super::{Rule, Violation};
use crate::key::WriteOutcome::{self, Applied, Conflict};
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError};
use crate::util::conformance::contained;

/// A place that is opened again and again.
struct Place<F> {
    open: F,
    trial: Trial,
}

impl<S: KeyStore, F: AsyncFn() -> S> Place<F> {
    async fn open(open: F, call_timeout: Duration) -> Self {
        let store = Box::new(open().await);
        Self { open, trial: Trial::new(store, call_timeout) }
    }

    /// Closes the store first: only one has the place at a time.
    async fn reopen(&mut self) {
        self.trial.close();
        let store = (self.open)().await;
        self.trial.reopened(Box::new(store));
    }
}

pub(super) async fn run<S: KeyStore>(
    open: impl AsyncFn() -> S,
    call_timeout: Duration,
) -> Result<(), Violation> {
    let mut place = Place::open(open, call_timeout).await;
    macro_rules! run {
        ($($check:ident),*) => {$({
            let outcome = match contained($check(&mut place)).await {
                Ok(outcome) => outcome,
                Err(text) => Err(Trial::panicked(&text)),
            };
            let name = || sentence("durable", stringify!($check));
            outcome.map_err(|mismatch| place.trial.violation(name(), mismatch))?;
            place.reopen().await;
        })*};
    }
    run!(
        what_was_inserted_is_there,
        what_was_replaced_is_there_and_what_was_removed_is_not,
        conflicts_outlive_the_store,
        the_order_outlives_the_store,
        a_dropped_call_is_whole_after_reopening
    );
    Ok(())
}

/// Records with everything that is easily lost on the way to a disk and back.
fn records() -> Vec<KeyRecord> {
    let plain = |index: usize| record(&format!("kept-{index:03}"), "keeper");
    let stamped = (1..=4).map(|number| stamped(&format!("kept-s{number}"), "keeper", number));
    let times = times().into_iter().step_by(9).enumerate().map(|(index, time)| {
        record_at(&format!("kept-t{index:03}"), "keeper", time).with_expires_at(Some(time))
    });
    let scopes = scopes().into_iter().enumerate();
    let scopes = scopes.map(|(index, scopes)| plain(index).with_scopes(scopes));
    let metadata = metadata().into_iter().enumerate();
    let metadata =
        metadata.map(|(index, text)| valid(plain(100 + index).with_metadata(text.as_deref())));
    stamped.chain(times).chain(scopes).chain(metadata).collect()
}

async fn what_was_inserted_is_there<S, F>(place: &mut Place<F>) -> Checked
where
    S: KeyStore,
    F: AsyncFn() -> S,
{
    let records = records();
    place.trial.under(Rule::AppliedOutlivesTheStore).owner_has(&owner("keeper"), &[]).await?;
    place.trial.keep(&records).await?;
    // Twice: what opens the place must not lose what is in it.
    for _ in 0..2 {
        place.reopen().await;
        let under = place.trial.under(Rule::AppliedOutlivesTheStore);
        for record in &records {
            under.find_is(record.id(), Some(record)).await?;
        }
        under.owner_has(&owner("keeper"), &Vec::from_iter(&records)).await?;
    }
    Ok(())
}

async fn what_was_replaced_is_there_and_what_was_removed_is_not<S, F>(
    place: &mut Place<F>,
) -> Checked
where
    S: KeyStore,
    F: AsyncFn() -> S,
{
    let [old, gone, also_gone] = ["a", "b", "c"].map(|name| record(&format!("re-{name}"), "ann"));
    place.trial.keep(&[old.clone(), gone.clone(), also_gone.clone()]).await?;
    let new = changed(&old, 2);
    let under = place.trial.under(Rule::ReplaceComparesVersions);
    under.replace_is(&new, 1, Applied).await?;
    place.reopen().await;
    let under = place.trial.under(Rule::AppliedOutlivesTheStore);
    under.find_is(new.id(), Some(&new)).await?;
    under.owner_has(new.owner(), &[&new, &gone, &also_gone]).await?;
    let ids = [also_gone.id().clone(), gone.id().clone()];
    place.trial.under(Rule::RemoveIsAllOrNothing).remove_is(gone.owner(), &ids, Applied).await?;
    place.reopen().await;
    let under = place.trial.under(Rule::AppliedOutlivesTheStore);
    under.find_is(gone.id(), None).await?;
    under.find_is(also_gone.id(), None).await?;
    under.owner_has(new.owner(), &[&new]).await
}

async fn conflicts_outlive_the_store<S, F>(place: &mut Place<F>) -> Checked
where
    S: KeyStore,
    F: AsyncFn() -> S,
{
    let old = record("co-a", "con");
    place.trial.keep(std::slice::from_ref(&old)).await?;
    let new = changed(&old, 2);
    place.trial.under(Rule::ReplaceComparesVersions).replace_is(&new, 1, Applied).await?;
    place.reopen().await;
    let under = place.trial.under(Rule::AppliedOutlivesTheStore);
    under.insert_is(&old, Conflict).await?;
    under.insert_is(&record("co-a", "bob"), Conflict).await?;
    under.replace_is(&changed(&old, 3), 1, Conflict).await?;
    under.remove_is(&owner("bob"), &[old.id().clone()], Conflict).await?;
    under.find_is(new.id(), Some(&new)).await?;
    under.remove_is(new.owner(), &[new.id().clone()], Applied).await?;
    place.reopen().await;
    let under = place.trial.under(Rule::AppliedOutlivesTheStore);
    under.replace_is(&changed(&old, 3), 2, Conflict).await?;
    under.insert_is(&old, Applied).await?;
    place.reopen().await;
    place.trial.under(Rule::AppliedOutlivesTheStore).find_is(old.id(), Some(&old)).await
}

async fn the_order_outlives_the_store<S, F>(place: &mut Place<F>) -> Checked
where
    S: KeyStore,
    F: AsyncFn() -> S,
{
    let made = (0..9_i64).map(|n| record_at(&format!("or-{}", n * 5 % 9), "ord", at(n / 3)));
    let mut records: Vec<_> = made.collect();
    place.trial.keep(&records).await?;
    records.sort_by_key(PageCursor::of);
    let mut walked: Vec<KeyRecord> = Vec::new();
    for _ in 0..6 {
        place.reopen().await;
        let under = place.trial.under(Rule::AppliedOutlivesTheStore);
        let after = walked.last().map(PageCursor::of);
        walked.extend(under.list(&owner("ord"), after.as_ref(), 2).await?);
    }
    let under = place.trial.under(Rule::AppliedOutlivesTheStore);
    under.page_is(&walked, &Vec::from_iter(&records))
}

async fn a_dropped_call_is_whole_after_reopening<S, F>(place: &mut Place<F>) -> Checked
where
    S: KeyStore,
    F: AsyncFn() -> S,
{
    for polls in 0..12 {
        let names = ["a", "b", "c"].map(|name| format!("dr-{name}-{polls}"));
        let owner_name = format!("dro-{polls}");
        let [a, b, new] = names.map(|name| stamped(&name, &owner_name, 1));
        let changed = stamped(&format!("dr-x-{polls}"), &owner_name, 2);
        let old = stamped(&format!("dr-x-{polls}"), &owner_name, 1);
        place.trial.keep(&[a.clone(), b.clone(), old.clone()]).await?;
        let under = place.trial.under(Rule::DroppedCallIsWholeOrNothing);
        let ids = [a.id().clone(), b.id().clone()];
        let over = [
            under.dropped_remove(polls, a.owner(), &ids).await?.is_some(),
            under.dropped_insert(polls, &new).await?.is_some(),
            under.dropped_replace(polls, &changed, 1).await?.is_some(),
        ];
        place.reopen().await;
        let under = place.trial.under(Rule::DroppedCallIsWholeOrNothing);
        under
            .settles(|| {
                Box::pin(async {
                    let mut expected = Vec::new();
                    let pair = under.find(a.id()).await?.is_some();
                    for record in [&a, &b] {
                        under.find_is(record.id(), Some(record).filter(|_| pair)).await?;
                        expected.extend(Some(record).filter(|_| pair));
                    }
                    let inserted = under.find(new.id()).await?.is_some();
                    under.find_is(new.id(), Some(&new).filter(|_| inserted)).await?;
                    expected.extend(Some(&new).filter(|_| inserted));
                    let replaced =
                        under.find(old.id()).await?.is_some_and(|record| record.version() > 1);
                    let last = if replaced { &changed } else { &old };
                    under.find_is(old.id(), Some(last)).await?;
                    expected.push(last);
                    under.owner_has(a.owner(), &expected).await
                })
            })
            .await?;
        if over == [true; 3] {
            let under = place.trial.under(Rule::AppliedOutlivesTheStore);
            under.find_is(&id(a.id().as_str()), None).await?;
            under.find_is(new.id(), Some(&new)).await?;
            under.find_is(changed.id(), Some(&changed)).await?;
            break;
        }
    }
    Ok(())
}

/// Placeholder of a store that was closed.
pub(super) struct Closed;

impl Closed {
    fn error<T>() -> Result<T, StoreError> {
        Err(StoreError::new("the store is closed"))
    }
}

#[async_trait]
impl KeyStore for Closed {
    async fn find(&self, _: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Self::error()
    }

    async fn insert(&self, _: KeyRecord) -> Result<WriteOutcome, StoreError> {
        Self::error()
    }

    async fn replace(&self, _: KeyRecord, _: u64) -> Result<WriteOutcome, StoreError> {
        Self::error()
    }

    async fn remove(&self, _: &Owner, _: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        Self::error()
    }

    async fn list(
        &self,
        _: &Owner,
        _: Option<&PageCursor>,
        _: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        Self::error()
    }
}
