use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use time::{Duration, OffsetDateTime};
use tower_webhook::key::{KeyHasher, KeyId, KeyRecord, KeyStore, Owner, ParsedKey, WriteOutcome};
use tower_webhook::store::SqliteKeyStore;

/// A folder that is gone when the test ends.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tower-webhook-sqlite-{}-{count}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("keys.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

pub(crate) fn id(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

pub(crate) fn owner(text: &str) -> Owner {
    Owner::new(text).unwrap()
}

pub(crate) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(second)
}

pub(crate) fn record(key: &str, of: &str, second: i64) -> KeyRecord {
    let key = id(key);
    let digest = KeyHasher::sha256().digest(&ParsedKey::new(key.clone(), "secret"));
    KeyRecord::new(key, owner(of), "laptop", digest, at(second)).unwrap()
}

/// What the store has under this id, as text.
pub(crate) async fn found(store: &SqliteKeyStore, key: &str) -> Option<String> {
    store.find(&id(key)).await.unwrap().map(|record| record.encode())
}

pub(crate) async fn insert(store: &SqliteKeyStore, record: &KeyRecord) {
    assert_eq!(store.insert(record.clone()).await.unwrap(), WriteOutcome::Applied);
}

/// A connection of another program.
pub(crate) async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// The checksum of a row, computed in the slowest way.
pub(crate) fn crc32(text: &str) -> i64 {
    let step = |state: u32, byte: &u8| {
        (0..8).fold(state ^ u32::from(*byte), |state, _| {
            (state >> 1) ^ (0xedb8_8320 & (state & 1).wrapping_neg())
        })
    };
    (!text.as_bytes().iter().fold(u32::MAX, step)).into()
}

/// This program again, as a process that runs only the test `name` and does what it does when `file`
/// is given to it.
pub(crate) fn child(name: &str, file: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("TOWER_WEBHOOK_FILE", file).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The file that a parent process gave to this one.
pub(crate) fn given_file() -> Option<PathBuf> {
    env::var_os("TOWER_WEBHOOK_FILE").map(PathBuf::from)
}

/// Ends a process when the test ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
