//! Where the records of keys are kept: implementations of [`KeyStore`](crate::key::KeyStore).
//!
//! | store | feature | keeps records |
//! |---|---|---|
//! | [`MemoryKeyStore`] | | in the process: for tests, and for apps that make their keys at start |
//! | `FileKeyStore` | `file` | in a JSON file, which is read again while the server runs |
//! | `SqliteKeyStore` | `sqlite` | in a file, which two processes may share |
//! | `PostgresKeyStore` | `postgres` | in a table |
//! | `RedisKeyStore` | `redis` | in Redis or Valkey |
//! | `CachedKeyStore` | `cache` | in another store, and for a short while in the process |
//!
//! Retries end at the deadline of a call, and then the call is an error. `PostgresKeyStore` tries every call up to
//! three times more, with backoff, after a broken connection, a deadlock or a serialization failure.
//! `RedisKeyStore` sends a look-up up to three times if the connection breaks, and a change once. `SqliteKeyStore` and
//! `FileKeyStore` wait up to four seconds for another writer. The cache does not retry a call.
//!
//! [`LastUsedTracker`] writes when keys were last used, outside of the request path. [`KeyScan`] visits the keys of all
//! owners. A store of your
//! own implements five methods, and one line in a test checks it against the rules: see `conformance`, with the
//! feature of that name.

#[cfg(feature = "cache")]
mod cache;
#[cfg(any(test, feature = "conformance"))]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
#[cfg(any(feature = "file", feature = "sqlite"))]
mod disk;
#[cfg(feature = "file")]
mod file;
mod invalidation;
mod last_used;
mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod scan;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(any(
    feature = "cache",
    feature = "file",
    feature = "sqlite",
    feature = "postgres",
    feature = "redis"
))]
pub(crate) mod task;

#[cfg(test)]
#[cfg_attr(
    not(feature = "cache"),
    expect(dead_code, reason = "only the tests of the cache use all of it")
)]
pub(crate) mod fault_store;

#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub use self::cache::{CacheStats, CachedKeyStore, InvalidationChannel, InvalidationReceiver};
#[cfg(feature = "file")]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub use self::file::{
    FileInvalidations, FileKeyStore, FileStatus, FileStoreError, FileStoreErrorKind, KeyFile,
};
pub use self::invalidation::{Invalidation, InvalidationStream};
pub use self::last_used::{LastUsedSink, LastUsedSource, LastUsedStats, LastUsedTracker};
pub use self::memory::MemoryKeyStore;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use self::postgres::{PostgresInvalidations, PostgresKeyStore};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{RedisInvalidations, RedisKeyStore, RedisStoreError, RedisStoreErrorKind};
pub use self::scan::KeyScan;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use self::sqlite::{SqliteFile, SqliteKeyStore, SqliteOpenError, SqliteOpenErrorKind};
