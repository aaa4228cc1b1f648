//! Stores, records, and what is said about errors.

use std::error::Error;
use std::time::{Duration, Instant};

use tower_webhook::key::{KeyRecord, KeyStore, StoreError, WriteOutcome};
use tower_webhook::store::{RedisKeyStore, RedisStoreError, RedisStoreErrorKind};

use super::server::Server;
use crate::shared::record_at;
pub(crate) use crate::shared::{at, id, owner};

/// The deadline of stores in tests of faults.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);

/// The version 1 of a record of ann.
pub(crate) fn record(text: &str) -> KeyRecord {
    record_of("ann", text, 0)
}

pub(crate) fn record_of(name: &str, text: &str, nanosecond: i64) -> KeyRecord {
    record_at(text, name, at(0) + time::Duration::nanoseconds(nanosecond))
}

/// A server and a store in an initialized namespace of it.
pub(crate) async fn fresh() -> (Server, RedisKeyStore) {
    let server = Server::start();
    let store = RedisKeyStore::connect(&server.url()).await.unwrap();
    store.initialize().await.unwrap();
    (server, store)
}

pub(crate) fn done(write: Result<WriteOutcome, StoreError>) {
    assert_eq!(write.unwrap(), WriteOutcome::Applied);
}

pub(crate) fn conflict(write: Result<WriteOutcome, StoreError>) {
    assert_eq!(write.unwrap(), WriteOutcome::Conflict);
}

/// The cause of an error, if it is one of the store in Redis and not of the deadline.
pub(crate) fn cause(error: &StoreError) -> Option<&RedisStoreError> {
    error.source()?.downcast_ref()
}

#[track_caller]
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> RedisStoreErrorKind {
    let error = result.unwrap_err();
    cause(&error).unwrap_or_else(|| panic!("{error:?}")).kind()
}

#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    let error = result.unwrap_err();
    let cause = cause(&error).unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(cause.kind(), RedisStoreErrorKind::Server, "{error:?}");
    cause.code().unwrap().to_owned()
}

/// Asks until there is an answer, which is to come within two seconds, and never a wrong one.
#[track_caller]
pub(crate) fn recovers(
    store: &RedisKeyStore,
    text: &str,
) -> impl Future<Output = Duration> + use<> {
    let (store, id) = (store.clone(), id(text));
    async move {
        let started = Instant::now();
        loop {
            match store.find(&id).await {
                Ok(found) => {
                    assert_eq!(found.expect("the record is there").id(), &id);
                    return started.elapsed();
                }
                Err(error) => {
                    let elapsed = started.elapsed();
                    assert!(elapsed < Duration::from_secs(3), "{elapsed:?} {error:?}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

/// Numbers that look random and are the same every time.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
