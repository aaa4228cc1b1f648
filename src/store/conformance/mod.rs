//! The contract of [`KeyStore`] as checks that the author of a store calls from their tests.
//!
//! [`check`] is all it takes. It panics at the first rule that the store breaks, and explains which
//! one that is, what was done, what was expected and what happened instead. The rules and their numbers
//! are in the docs of [`KeyStore`].
//!
//! 1. Every check gets a store of its own from the closure, about 70 of them in a run, one at a time:
//!    the store before has been dropped. The closure returns an empty store, or empties the one place
//!    that there is.
//! 2. The future starts no task and no thread. It needs a tokio runtime if an answer of the store is not ready at
//!    once: the runtime measures how long the store takes.
//! 3. Calls at the same time are futures that are polled in turn. What can happen between two polls of
//!    a call is tried systematically; what happens within one poll, between threads, is not. A
//!    store without a runtime that shares memory between threads has tests of its own for that.
//! 4. Up to 40 calls are under way at once, and a store has ten seconds for an answer. One that
//!    blocks the thread blocks the test.
//! 5. A run makes several thousand calls: a second in memory, up to a minute over a network.
//!
//! [`check_durable`] is for stores whose records outlive the process, and [`check_outage`] for those
//! that can fail.
//!
//! # Examples
//!
//! ```
//! use tower_webhook::key::{self};
//! use tower_webhook::store::MemoryKeyStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! tower_webhook::store::conformance::check(async || MemoryKeyStore::new()).await;
//! # }
//! ```
//!
//! A store that breaks a rule:
//!
//! ```should_panic
//! # use async_trait::async_trait;
//! use tower_webhook::store::conformance;
//! # use tower_webhook::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
//! # use tower_webhook::store::MemoryKeyStore;
//!
//! /// Removes records of every owner.
//! struct Careless(MemoryKeyStore);
//!
//! #[async_trait]
//! impl KeyStore for Careless {
//!     async fn remove(&self, _: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
//!         for id in ids {
//!             if let Some(record) = self.0.find(id).await? {
//!                 let _ = self.0.remove(record.owner(), &[id.clone()]).await?;
//!             }
//!         }
//!         Ok(WriteOutcome::Applied)
//!     }
//!     // ..
//! #    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
//! #        self.0.find(id).await
//! #    }
//! #    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
//! #        self.0.insert(record).await
//! #    }
//! #    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
//! #        self.0.replace(record, expected).await
//! #    }
//! #    async fn list(
//! #        &self,
//! #        owner: &Owner,
//! #        after: Option<&PageCursor>,
//! #        limit: usize,
//! #    ) -> Result<Vec<KeyRecord>, StoreError> {
//! #        self.0.list(owner, after, limit).await
//! #    }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::check(async || Careless(MemoryKeyStore::new())).await;
//! # }
//! ```
//!
//! panics with
//!
//! ```text
//! The key store breaks rule 9 (`remove` checks the owner).
//!   check:    owners: remove of another owners record is a conflict
//!   done:     insert("a" of "ann", version 1) -> Applied
//!             insert("b" of "bob", version 1) -> Applied
//!             remove("bob", ["a"]) -> Applied
//!   expected: remove: Conflict
//!   actual:   Applied
//!   see:      number 9 under "Rules" in the docs of `tower_webhook::key::KeyStore`
//! ```

mod batches;
mod cancellation;
mod crud;
mod describe;
mod durable;
mod group;
mod histories;
mod outage;
mod owners;
mod paging;
mod races;
mod ready;
mod records;
mod rule;
mod sample;
mod trial;

use self::group::{Group, run};
use self::rule::Rule;
use self::trial::CALL_TIMEOUT;
use crate::key::KeyStore;
use crate::util::conformance::fail;

type Violation = crate::util::conformance::Violation<Rule>;

/// Checks a store against all rules of [`KeyStore`] but rule 18, which [`check_durable`] checks.
///
/// `fresh` returns an empty store: an `async fn() -> Store` or an `async || ..`.
///
/// # Panics
///
/// With an explanation, at the first rule that the store breaks.
///
/// # Examples
///
/// See the [module docs](self).
pub async fn check<S: KeyStore>(fresh: impl AsyncFn() -> S) {
    assert_kept(run(&group::ALL, fresh, CALL_TIMEOUT).await);
}

/// Checks that everything a store has acknowledged is there after it was opened again, in an order
/// and with conflicts as before (rules 17 and 18).
///
/// `open` opens the same place every time, about 30 times, each time after the store before was
/// dropped. The place is empty at first.
///
/// # Panics
///
/// With an explanation, at the first rule that the store breaks.
///
/// # Examples
///
/// The place is a variable here, in the place of a file:
///
/// ```
/// use std::sync::Arc;
///
/// use tower_webhook::key::{self};
/// use tower_webhook::store::MemoryKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let place = Arc::new(MemoryKeyStore::new());
/// tower_webhook::store::conformance::check_durable(async || Arc::clone(&place)).await;
/// # }
/// ```
pub async fn check_durable<S: KeyStore>(open: impl AsyncFn() -> S) {
    assert_kept(durable::run(open, CALL_TIMEOUT).await);
}

/// Checks that a store which cannot answer says so (rule 3): every call is an error, and not `None`,
/// an empty list or [`Conflict`](crate::key::WriteOutcome::Conflict).
///
/// `broken` returns a store that cannot reach its place: its server is gone, its file is no
/// database. It has ten seconds to notice.
///
/// # Panics
///
/// With an explanation, at the first call that is no error.
pub async fn check_outage<S: KeyStore>(broken: impl AsyncFn() -> S) {
    assert_kept(run(&[OUTAGE], broken, CALL_TIMEOUT).await);
}

const OUTAGE: Group = Group { name: "outage", checks: outage::CHECKS };

#[track_caller]
fn assert_kept(outcome: Result<(), Violation>) {
    if let Err(violation) = outcome {
        fail(&format!("\n{violation}"));
    }
}

#[cfg(test)]
mod tests;
