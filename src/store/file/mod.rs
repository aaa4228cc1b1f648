mod error;
mod format;
mod invalidations;
mod key_file;
mod status;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::sleep;

pub use self::error::{FileStoreError, FileStoreErrorKind};
pub use self::invalidations::FileInvalidations;
pub use self::key_file::KeyFile;
pub use self::status::FileStatus;
use super::task::StoreTasks;
use super::{KeyScan, MemoryKeyStore};
use crate::key::{KeyId, KeyRecord, KeyStore, Owner, PageCursor, StoreError, WriteOutcome};
use crate::{BoxError, Clock, ConfigError, trace};

/// A store in one JSON file, which is read again while the server runs: for keys that are part of an app's
/// configuration, up to some ten thousand.
///
/// # The file
///
/// A JSON array of records, each in the text of [`KeyRecord::encode`]. This store writes one record on each line. No key
/// is in the file, only digests. Two records with one id, and a record that cannot be read, are a fault of the whole
/// file; the error names the line.
///
/// It is read on [`open`](Self::open), on [`reload`](Self::reload) and, as a task, at [an interval](Self::watch). All
/// keys change at once: a look-up sees the old ones or the new ones. A file that is missing, broken, half written or
/// that [others can write to](KeyFile::new) changes nothing: the keys stay those of before, and
/// [`status`](Self::status) says since when.
///
/// # How soon a change counts
///
/// | who changes the file | counts |
/// |---|---|
/// | this process, through this store or a [`KeyManager`](crate::key::KeyManager) with it | when the call returns |
/// | another process, or an editor | after the next [`reload`](Self::reload), or the interval of [`watch`](Self::watch) |
/// | Kubernetes, which mounts a Secret | as above, after the kubelet has updated the mount, which takes up to some minutes. A mount with `subPath` is never updated |
///
/// A key that is taken out of the file opens until then. A `CachedKeyStore` in front has to follow
/// [`invalidations`](Self::invalidations); this store answers from memory and needs no cache.
///
/// # Changing the file
///
/// Write a new file in the same folder and rename it over the old one (`mv`), as this store does, or swap a symbolic
/// link, as Kubernetes does. A file that is written in place is refused while it is cut short, since a beginning of a
/// JSON array is none. Changes through this store take a lock on the folder (`flock`), so that several processes can
/// make them; programs that do not take it may undo each other's changes. The whole file is written for each change,
/// synced, and given the mode and owner of the old one. Where the path is a symbolic link, or the folder is read-only,
/// a change is an error. The command line of `examples/keys` makes and revokes keys in a file, by
/// `--store file:PATH`.
///
/// This store needs Rust 1.89 and a tokio runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::key::{KeyManager, NewKey, Owner};
/// use tower_webhook::store::FileKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("tower-webhook-file-{}", std::process::id()));
/// # std::fs::DirBuilder::new().create(&folder)?;
/// # #[cfg(unix)]
/// # std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
/// # let path = folder.join("keys.json");
/// // The server.
/// let store = FileKeyStore::create(&path).await?;
/// tokio::spawn(store.watch(Duration::from_secs(5))?);
/// let verifier = KeyManager::new(store.clone()).verifier();
///
/// // Another process.
/// let keys = KeyManager::new(FileKeyStore::open(&path).await?);
/// let (_, secret) = keys.generate(&Owner::new("ann")?, NewKey::new("laptop")).await?.into_parts();
///
/// // The server again, without waiting for the interval.
/// assert!(store.reload().await?);
/// verifier.verify(secret.expose_secret().as_bytes()).await?;
/// assert_eq!(store.status().stale_since(), None);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
///
/// Reading the file when the process gets a SIGHUP:
///
/// ```
/// # #[cfg(unix)]
/// async fn reload_on_hangup(store: tower_webhook::store::FileKeyStore) -> std::io::Result<()> {
///     use tokio::signal::unix::{SignalKind, signal};
///
///     let mut hangups = signal(SignalKind::hangup())?;
///     while hangups.recv().await.is_some() {
///         if let Err(error) = store.reload().await {
///             eprintln!("the keys are those of before: {error}");
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct FileKeyStore {
    tasks: StoreTasks,
    shared: Arc<Shared>,
}

struct Shared {
    file: KeyFile,
    /// Its lock serializes reads and changes of the file, so that older keys never replace newer ones.
    loaded: Arc<tokio::sync::Mutex<ContentDigest>>,
    /// Replaced as a whole.
    keys: watch::Sender<Arc<MemoryKeyStore>>,
    status: Mutex<FileStatus>,
}

/// Of the content that was read last. Times and lengths of files miss changes: two of them within one tick.
type ContentDigest = [u8; 32];

impl FileKeyStore {
    /// The largest file that is read, in bytes: about 150,000 records.
    pub const MAX_LEN: u64 = key_file::MAX_LEN;

    /// Opens the file at a path, or a [`KeyFile`], and reads it.
    ///
    /// # Errors
    ///
    /// See [`FileStoreErrorKind`]. A missing file is one.
    ///
    /// # Security
    ///
    /// Every user who can write to the file, or can put another one in its place, can make keys: see [`KeyFile::new`].
    pub async fn open(file: impl Into<KeyFile>) -> Result<Self, FileStoreError> {
        let file = file.into().absolute()?;
        run_blocking(file.path().to_owned(), || Self::load(file)).await
    }

    /// Opens the file as [`open`](Self::open) does, and creates one without keys if it is missing, for its owner alone.
    /// Its folder has to be there.
    ///
    /// # Errors
    ///
    /// See [`FileStoreErrorKind`].
    pub async fn create(file: impl Into<KeyFile>) -> Result<Self, FileStoreError> {
        let file = file.into().absolute()?;
        let path = file.path().to_owned();
        let create = || {
            file.create(&format::write(&MemoryKeyStore::new()))?;
            Self::load(file)
        };
        run_blocking(path, create).await
    }

    fn load(file: KeyFile) -> Result<Self, FileStoreError> {
        let bytes = file.read()?;
        let keys =
            format::parse(&bytes).map_err(|fault| FileStoreError::content(fault, file.path()))?;
        let shared = Shared {
            loaded: Arc::new(tokio::sync::Mutex::new(digest_of(&bytes))),
            keys: watch::Sender::new(Arc::new(keys)),
            status: Mutex::new(FileStatus::new(Clock::system().now())),
            file,
        };
        Ok(Self { tasks: StoreTasks::new(), shared: Arc::new(shared) })
    }

    /// Sets how long a change may take. The default is five seconds. Look-ups and lists answer from memory.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.tasks = self.tasks.with_deadline(deadline);
        self
    }

    /// Sets how many changes can be under way at once, those that wait for their turn included. One more fails. The
    /// default is 1,024; zero counts as one.
    #[must_use]
    pub fn with_max_calls(mut self, limit: usize) -> Self {
        self.tasks = self.tasks.with_limit(limit);
        self
    }

    /// Reads the file, and takes its keys in the place of those of before. `false`: the file is as it was.
    ///
    /// The call goes on when its caller leaves. No deadline ends it.
    ///
    /// # Errors
    ///
    /// The file cannot be read: see [`FileStoreErrorKind`]. The keys are those of before.
    pub async fn reload(&self) -> Result<bool, FileStoreError> {
        Arc::clone(&self.shared).read_again().await
    }

    /// Reads the file again at an interval, such as five seconds, until all clones of this store are gone. Spawn it as
    /// a task. An unchanged file costs a read and a hash of its bytes. What went wrong is in
    /// [`status`](Self::status) and in the [log](crate::trace).
    ///
    /// # Errors
    ///
    /// Refuses an interval of zero.
    pub fn watch(
        &self,
        interval: Duration,
    ) -> Result<impl Future<Output = ()> + Send + 'static + use<>, ConfigError> {
        if interval.is_zero() {
            return Err(ConfigError::new("a key file is read at an interval of more than zero"));
        }
        let shared = Arc::downgrade(&self.shared);
        Ok(async move {
            loop {
                sleep(interval).await;
                let Some(shared) = shared.upgrade() else { return };
                // The error is in the status.
                let _ = shared.read_again().await;
            }
        })
    }

    /// When the file was last read, and since when it cannot be.
    #[must_use]
    pub fn status(&self) -> FileStatus {
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A subscription to all changes of the keys from now on, for a `CachedKeyStore` in front to follow.
    #[must_use]
    pub fn invalidations(&self) -> FileInvalidations {
        FileInvalidations(self.shared.keys.subscribe())
    }

    fn keys(&self) -> Arc<MemoryKeyStore> {
        Arc::clone(&self.shared.keys.borrow())
    }

    /// Read, modify, write: under the lock of the file, on the keys that are in it.
    async fn change(
        &self,
        change: impl FnOnce(&MemoryKeyStore) -> WriteOutcome + Send + 'static,
    ) -> Result<WriteOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        let turn = Arc::clone(&shared.loaded).lock_owned();
        let call = |loaded: OwnedMutexGuard<ContentDigest>| async {
            let changed = run_blocking(shared.path(), move || shared.change(loaded, change)).await;
            changed.map_err(StoreError::new)
        };
        self.tasks.spawn_with(async { Ok(turn.await) }, call).await
    }
}

impl Shared {
    fn path(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    async fn read_again(self: Arc<Self>) -> Result<bool, FileStoreError> {
        let mut loaded = Arc::clone(&self.loaded).lock_owned().await;
        run_blocking(self.path(), move || self.reload(&mut loaded)).await
    }

    fn reload(&self, loaded: &mut ContentDigest) -> Result<bool, FileStoreError> {
        let read = self.read_changed(loaded);
        let fault = read.as_ref().err();
        let is_known = self.note(fault.map(FileStoreError::kind));
        match &read {
            Err(error) if !is_known => trace::keys_stale(error),
            Ok(Some(keys)) => trace::keys_loaded(keys.len()),
            _ => {}
        }
        read.map(|keys| keys.is_some())
    }

    fn read_changed(
        &self,
        loaded: &mut ContentDigest,
    ) -> Result<Option<Arc<MemoryKeyStore>>, FileStoreError> {
        let bytes = self.file.read()?;
        if digest_of(&bytes) == *loaded {
            return Ok(None);
        }
        let keys = Arc::new(self.parse(&bytes)?);
        self.publish(Arc::clone(&keys), &bytes, loaded);
        Ok(Some(keys))
    }

    fn change(
        &self,
        mut loaded: OwnedMutexGuard<ContentDigest>,
        change: impl FnOnce(&MemoryKeyStore) -> WriteOutcome,
    ) -> Result<WriteOutcome, FileStoreError> {
        let _lock = self.file.lock()?;
        let mut bytes = self.file.read()?;
        let keys = self.parse(&bytes)?;
        let outcome = change(&keys);
        if outcome == WriteOutcome::Applied {
            bytes = format::write(&keys);
            self.file.replace(&bytes)?;
        }
        self.publish(Arc::new(keys), &bytes, &mut loaded);
        self.note(None);
        Ok(outcome)
    }

    fn parse(&self, bytes: &[u8]) -> Result<MemoryKeyStore, FileStoreError> {
        format::parse(bytes).map_err(|fault| FileStoreError::content(fault, self.file.path()))
    }

    fn publish(&self, keys: Arc<MemoryKeyStore>, bytes: &[u8], loaded: &mut ContentDigest) {
        let digest = digest_of(bytes);
        if digest != *loaded {
            *loaded = digest;
            self.keys.send_replace(keys);
        }
    }

    /// Notes whether the file could be read. Returns whether the fault is that of the last time.
    fn note(&self, fault: Option<FileStoreErrorKind>) -> bool {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = fault.is_some() && status.fault() == fault;
        *status = status.after(Clock::system().now(), fault);
        is_known
    }
}

#[async_trait]
impl KeyStore for FileKeyStore {
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.keys().find_by_id(id))
    }

    async fn insert(&self, record: KeyRecord) -> Result<WriteOutcome, StoreError> {
        self.change(|keys| keys.insert_new(record)).await
    }

    async fn replace(&self, record: KeyRecord, expected: u64) -> Result<WriteOutcome, StoreError> {
        self.change(move |keys| keys.replace_version(record, expected)).await
    }

    async fn remove(&self, owner: &Owner, ids: &[KeyId]) -> Result<WriteOutcome, StoreError> {
        let (owner, ids) = (owner.clone(), ids.to_vec());
        self.change(move |keys| keys.remove_all(&owner, &ids)).await
    }

    async fn list(
        &self,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        Ok(self.keys().page(owner, after, limit))
    }

    fn try_find_now(&self, id: &KeyId, visit: &mut dyn FnMut(Option<&KeyRecord>)) -> bool {
        self.keys().try_find_now(id, visit)
    }
}

#[async_trait]
impl KeyScan for FileKeyStore {
    async fn scan(&self, visit: &mut (dyn FnMut(KeyRecord) + Send)) -> Result<(), StoreError> {
        self.keys().scan(visit).await
    }
}

impl fmt::Debug for FileKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKeyStore")
            .field("file", &self.shared.file)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

fn digest_of(bytes: &[u8]) -> ContentDigest {
    Sha256::digest(bytes).into()
}

/// Runs a call about the file at `path` on a thread for blocking work, to its end.
async fn run_blocking<T: Send + 'static>(
    path: PathBuf,
    call: impl FnOnce() -> Result<T, FileStoreError> + Send + 'static,
) -> Result<T, FileStoreError> {
    let stopped = |cause| FileStoreError::stopped(cause, &path);
    let runtime = Handle::try_current().map_err(|error| stopped(BoxError::from(error)))?;
    let ended = runtime.spawn_blocking(call).await;
    ended.unwrap_or_else(|error| Err(stopped(error.into())))
}

#[cfg(all(test, feature = "tracing"))]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::io;

    use super::*;
    use crate::key::fixtures::plain;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Without a runtime: events are those of the thread that reads the file.
    #[test]
    fn a_fault_of_the_file_is_logged_once_for_each_reason() {
        let path =
            std::env::temp_dir().join(format!("tower-webhook-file-log-{}", std::process::id()));
        let file = KeyFile::new(&path).with_insecure_permissions();
        std::fs::write(&path, "[]").unwrap();
        let store = FileKeyStore::load(file).unwrap();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let mut loaded = store.shared.loaded.try_lock().unwrap();
        let mut reload = |content: &str| {
            std::fs::write(&path, content).unwrap();
            store.shared.reload(&mut loaded).is_ok()
        };

        let record = plain().encode();
        for _ in 0..3 {
            assert!(!reload("CANARY"));
        }
        assert!(!reload(&format!("[{record},\n{record}]")));
        assert!(reload(&format!("[{record}]")));
        assert!(reload(&format!("[{record}]")));
        std::fs::remove_file(&path).unwrap();

        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("keys_stale").count(), 2, "{text}");
        assert_eq!(text.matches("keys_loaded").count(), 1, "{text}");
        assert!(text.contains("line 2: two records of the key file have the same id"), "{text}");
        assert!(!text.contains("CANARY"), "{text}");
    }
}
