//! A key store of your own: one `impl` of five methods, over any map, table or service that keeps records.
//!
//! ```text
//! cargo run --example custom_store --features conformance
//! ```
//!
//! prints `alice` and then `the key is refused: Revoked`. One line in the tests below, a call of
//! `store::conformance::check`, checks every rule in the docs of `KeyStore`. It covers each part of a record at its
//! limits, owners that look alike, pages, concurrent calls, and calls that are dropped at every poll. A failure names
//! the rule, the calls, what was expected and what the store returned. `check_durable` opens the same place again and
//! again, and `check_outage` makes sure that a store which cannot answer returns an error.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tower_webhook::key::{
    KeyId, KeyManager, KeyRecord, KeyStore, NewKey, Owner, PageCursor, StoreError, WriteOutcome,
};

/// Records as texts, as a table with the columns `id`, `owner`, `version` and `record` would keep them.
#[derive(Default)]
struct TextStore(Mutex<BTreeMap<KeyId, String>>);

impl TextStore {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<KeyId, String>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn decode(text: &String) -> Result<KeyRecord, StoreError> {
    KeyRecord::decode(text).map_err(StoreError::new)
}

#[async_trait]
impl KeyStore for TextStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.with(|records| records.get(id).map(decode).transpose())
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.with(|records| {
            if records.contains_key(record.id()) {
                return Ok(WriteOutcome::Conflict);
            }
            records.insert(record.id().clone(), record.encode());
            Ok(WriteOutcome::Applied)
        })
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        self.with(|records| match records.get(record.id()).map(decode).transpose()? {
            Some(old) if old.version() == expected => {
                records.insert(record.id().clone(), record.encode());
                Ok(WriteOutcome::Applied)
            }
            _ => Ok(WriteOutcome::Conflict),
        })
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        self.with(|records| {
            for id in ids {
                match records.get(id).map(decode).transpose()? {
                    Some(record) if record.owner() == owner => {}
                    _ => return Ok(WriteOutcome::Conflict),
                }
            }
            records.retain(|id, _| !ids.contains(id));
            Ok(WriteOutcome::Applied)
        })
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let all: Result<Vec<_>, _> = self.with(|records| records.values().map(decode).collect());
        let mut page = all?;
        page.retain(|record| {
            record.owner() == owner && after.is_none_or(|after| PageCursor::of(record) > *after)
        });
        page.sort_by_key(PageCursor::of);
        page.truncate(limit);
        Ok(page)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if env::args().len() > 1 {
        println!("usage: custom_store");
        return Ok(());
    }
    let keys = KeyManager::new(TextStore::default());
    let owner = Owner::new("alice")?;
    let issued = keys.generate(&owner, NewKey::new("example")).await?;
    let presented = issued.secret().expose_secret().as_bytes();

    println!("{}", keys.verifier().verify(presented).await?.owner());
    keys.revoke(&owner, issued.record().id()).await?;
    if let Err(error) = keys.verifier().verify(presented).await {
        println!("the key is refused: {:?}", error.kind());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tower_webhook::key::{ManageErrorKind, VerifyErrorKind};
    use tower_webhook::store;

    use super::*;

    #[tokio::test]
    async fn the_store_keeps_the_contract() {
        store::conformance::check(async || TextStore::default()).await;
    }

    #[tokio::test]
    async fn keys_live_in_the_store() {
        let keys = KeyManager::new(TextStore::default());
        let alice = Owner::new("alice").unwrap();
        let bob = Owner::new("bob").unwrap();
        let first = keys.generate(&alice, NewKey::new("first")).await.unwrap();
        let second = keys.generate(&alice, NewKey::new("second")).await.unwrap();
        let ids = [first.record().id().clone(), second.record().id().clone()];

        let page = keys.list(&alice, None, 1).await.unwrap();
        assert_eq!(page.keys().len(), 1);
        let rest = keys.list(&alice, page.next().cloned(), 10).await.unwrap();
        assert_eq!(rest.keys().len(), 1);
        assert_ne!(page.keys()[0].id(), rest.keys()[0].id());

        assert_eq!(keys.delete(&bob, &ids).await.unwrap_err().kind(), ManageErrorKind::NotFound);
        let presented = first.secret().expose_secret().as_bytes();
        assert!(keys.verifier().verify(presented).await.is_ok());
        keys.delete(&alice, &ids).await.unwrap();
        let error = keys.verifier().verify(presented).await.unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::Unknown);
    }
}
