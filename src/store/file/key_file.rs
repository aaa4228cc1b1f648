//! A file that is replaced as a whole: write a new one, sync, rename.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::{FileStoreError, FileStoreErrorKind};
use crate::store::disk::{have_one_owner, others_can_write, sync_folder};

/// The largest file that is read.
pub(super) const MAX_LEN: u64 = 64 * 1024 * 1024;

/// A key file that is to be opened. A path alone will do where nothing else is said.
///
/// # Examples
///
/// A mount that others can write to, as far as its mode says:
///
/// ```no_run
/// use tower_webhook::store::{FileKeyStore, KeyFile};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::store::FileStoreError> {
/// let file = KeyFile::new("/etc/app/keys.json").with_insecure_permissions();
/// let store = FileKeyStore::open(file).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    insecure_permissions: bool,
}

impl KeyFile {
    /// The file at this path. It is refused if its group or others can write to it or to its folder. A folder with
    /// the sticky bit, such as the mount of a Kubernetes Secret, is accepted if file and folder have one owner: there,
    /// no other user can replace the file.
    ///
    /// Of a symbolic link, its folder is checked, and the file that it leads to with the folder of that.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), insecure_permissions: false }
    }

    /// Accepts a file and a folder that their group or others can write to.
    ///
    /// # Security
    ///
    /// Every user who can write to the file, or can put another one in its place, can make keys, and can switch
    /// revoked ones on.
    #[must_use]
    pub fn with_insecure_permissions(mut self) -> Self {
        self.insecure_permissions = true;
        self
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The same file, wherever the process changes its folder to.
    pub(super) fn absolute(self) -> Result<Self, FileStoreError> {
        match std::path::absolute(&self.path) {
            Ok(path) => Ok(Self { path, ..self }),
            Err(error) => Err(FileStoreError::io(error, &self.path)),
        }
    }

    /// The content, after a look at who can change it.
    pub(super) fn read(&self) -> Result<Vec<u8>, FileStoreError> {
        let inaccessible = |error| FileStoreError::io(error, &self.path);
        let target = self.path.canonicalize().map_err(inaccessible)?;
        self.check_folder(&self.path)?;
        self.check_folder(&target)?;
        // Before it is opened: a pipe would wait for its writer.
        self.check_file(&target, &fs::metadata(&target).map_err(inaccessible)?)?;
        let file = File::open(&target).map_err(inaccessible)?;
        self.check_file(&target, &file.metadata().map_err(inaccessible)?)?;
        let mut bytes = Vec::new();
        file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(inaccessible)?;
        if bytes.len() as u64 > MAX_LEN {
            return Err(FileStoreError::new(FileStoreErrorKind::TooLarge, &self.path));
        }
        Ok(bytes)
    }

    fn check_file(&self, path: &Path, file: &Metadata) -> Result<(), FileStoreError> {
        if !file.is_file() {
            return Err(FileStoreError::new(FileStoreErrorKind::NotAFile, &self.path));
        }
        if !self.insecure_permissions && others_can_write(file) {
            return Err(FileStoreError::new(FileStoreErrorKind::Permissions, path));
        }
        Ok(())
    }

    fn check_folder(&self, path: &Path) -> Result<(), FileStoreError> {
        let inaccessible = |error| FileStoreError::io(error, &self.path);
        let folder = folder_of(path);
        let metadata = fs::metadata(folder).map_err(inaccessible)?;
        if self.insecure_permissions || !others_can_write(&metadata) {
            return Ok(());
        }
        let entry = fs::symlink_metadata(path).map_err(inaccessible)?;
        if is_sticky(&metadata) && have_one_owner(&entry, &metadata) {
            return Ok(());
        }
        Err(FileStoreError::new(FileStoreErrorKind::Permissions, folder))
    }

    /// Keeps other processes from changing files of this folder until it is dropped.
    pub(super) fn lock(&self) -> Result<Lock, FileStoreError> {
        lock(folder_of(&self.path)).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => FileStoreError::new(FileStoreErrorKind::Busy, &self.path),
            _ => FileStoreError::io(error, &self.path),
        })
    }

    /// Creates the file with this content, unless it is there.
    pub(super) fn create(&self, content: &[u8]) -> Result<(), FileStoreError> {
        let _lock = self.lock()?;
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.put(content, None),
            _ => Ok(()),
        }
    }

    /// Puts a new file in the place of the old one, with its mode and owner.
    pub(super) fn replace(&self, content: &[u8]) -> Result<(), FileStoreError> {
        let old = fs::symlink_metadata(&self.path);
        let old = old.map_err(|error| FileStoreError::io(error, &self.path))?;
        if old.is_symlink() {
            return Err(FileStoreError::new(FileStoreErrorKind::ReadOnly, &self.path));
        }
        if content.len() as u64 > MAX_LEN {
            return Err(FileStoreError::new(FileStoreErrorKind::TooLarge, &self.path));
        }
        self.put(content, Some(&old))
    }

    fn put(&self, content: &[u8], old: Option<&Metadata>) -> Result<(), FileStoreError> {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        let new = self.path.with_file_name(name);
        let put = || {
            remove_left_over(&new)?;
            write_new(&new, content, old)?;
            fs::rename(&new, &self.path)
        };
        put().map_err(|error| {
            // The first error says more than one of the removal.
            let _ = fs::remove_file(&new);
            FileStoreError::io(error, &self.path)
        })?;
        sync_folder(folder_of(&self.path)).map_err(|error| FileStoreError::io(error, &self.path))
    }
}

impl<P: AsRef<Path>> From<P> for KeyFile {
    fn from(path: P) -> Self {
        Self::new(path.as_ref())
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A process that was killed may have left it.
fn remove_left_over(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file that is not there, for its owner alone or else as the old one was, and waits for the disk.
fn write_new(path: &Path, content: &[u8], old: Option<&Metadata>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    if let Some(old) = old {
        keep_owner(&file, old)?;
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()
}

/// A server could not read a file that root has put in the place of its own.
#[cfg(unix)]
fn keep_owner(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(file, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_sticky(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o1000 != 0
}

#[cfg(not(unix))]
fn is_sticky(_: &Metadata) -> bool {
    false
}

/// An advisory lock on the folder: the file itself is another one after each change.
#[cfg(unix)]
pub(super) type Lock = File;

#[cfg(not(unix))]
pub(super) type Lock = ();

#[cfg(unix)]
#[expect(clippy::incompatible_msrv, reason = "the feature `file` needs Rust 1.89")]
fn lock(folder: &Path) -> io::Result<Lock> {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    let folder = File::open(folder)?;
    // Less than the deadline of a call, so that the error says what is wrong.
    let deadline = Instant::now() + Duration::from_secs(4);
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(unix))]
fn lock(_: &Path) -> io::Result<Lock> {
    Ok(())
}
