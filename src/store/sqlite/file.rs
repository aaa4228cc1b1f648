//! Who can write to the file, checked before SQLite sees it.

use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{SqliteOpenError, SqliteOpenErrorKind};
use crate::store::disk::{have_one_owner, others_can_write, sync_folder};

/// A file that is to be opened, of keys or of jobs. A path alone will do where nothing else is said.
///
/// # Examples
///
/// A folder that a group shares, on a machine where every member of the group may make keys:
///
/// ```no_run
/// use tower_webhook::store::{SqliteFile, SqliteKeyStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_webhook::store::SqliteOpenError> {
/// let file = SqliteFile::new("/srv/shared/keys.db").with_insecure_permissions();
/// let store = SqliteKeyStore::open(file).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteFile {
    path: PathBuf,
    insecure_permissions: bool,
    must_exist: bool,
}

impl SqliteFile {
    /// The file at this path. It is refused if its group or others can write to it, to its folder or to a
    /// file that SQLite keeps next to it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), insecure_permissions: false, must_exist: false }
    }

    /// Accepts a file and a folder that their group or others can write to.
    ///
    /// # Security
    ///
    /// Every user who can write to the file, or can put another one in its place, can make keys and switch
    /// revoked ones on, or can have jobs run in the name of any caller.
    #[must_use]
    pub fn with_insecure_permissions(mut self) -> Self {
        self.insecure_permissions = true;
        self
    }

    /// Refuses a file that is missing, instead of creating it.
    pub(super) fn existing(self) -> Self {
        Self { must_exist: true, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's absolute path without links, after it was checked or created.
    pub(super) fn prepare(&self) -> Result<PathBuf, SqliteOpenError> {
        // An absolute path, because SQLite takes one that starts with `file:` for a URI.
        let path = std::path::absolute(&self.path)?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(SqliteOpenError::new(SqliteOpenErrorKind::NotAFile));
        };
        let missing = || SqliteOpenError::new(SqliteOpenErrorKind::Missing);
        let folder = match folder.canonicalize() {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound && self.must_exist => {
                return Err(missing());
            }
            Err(_) => find_folder(folder)?,
        };
        let path = folder.join(name);
        let found = match fs::symlink_metadata(&path) {
            Ok(file) if !file.is_file() => {
                return Err(SqliteOpenError::new(SqliteOpenErrorKind::NotAFile));
            }
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        self.check_mode(&folder, &fs::metadata(&folder)?)?;
        let file = match found {
            Some(file) => file,
            None if self.must_exist => return Err(missing()),
            None => {
                create(&path, &folder)?;
                fs::symlink_metadata(&path)?
            }
        };
        self.check_file(&path, &file, &file)?;
        for suffix in ["-wal", "-shm", "-journal"] {
            let mut name = OsString::from(&path);
            name.push(suffix);
            match fs::symlink_metadata(&name) {
                Ok(companion) => self.check_file(Path::new(&name), &companion, &file)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(path)
    }

    /// `main` is the file that `file` belongs to.
    fn check_file(
        &self,
        path: &Path,
        file: &Metadata,
        main: &Metadata,
    ) -> Result<(), SqliteOpenError> {
        if !file.is_file() {
            return Err(SqliteOpenError::new(SqliteOpenErrorKind::NotAFile));
        }
        if !have_one_owner(file, main) {
            return Err(SqliteOpenError::other_owner(path));
        }
        self.check_mode(path, file)
    }

    /// A sticky bit does not help: it does not keep others from making a companion of the file.
    fn check_mode(&self, path: &Path, metadata: &Metadata) -> Result<(), SqliteOpenError> {
        if !self.insecure_permissions && others_can_write(metadata) {
            return Err(SqliteOpenError::permissions(path));
        }
        Ok(())
    }
}

impl<P: AsRef<Path>> From<P> for SqliteFile {
    fn from(path: P) -> Self {
        Self::new(path.as_ref())
    }
}

/// The folder's path without links. If it is missing, and its own folder is not, it is made, for its owner
/// alone.
fn find_folder(folder: &Path) -> io::Result<PathBuf> {
    let missing = match folder.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => error,
        found => return found,
    };
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Ok(()) => {}
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(_) => return Err(missing),
    }
    let found = folder.canonicalize()?;
    if let Some(parent) = found.parent() {
        sync_folder(parent)?;
    }
    Ok(found)
}

/// Creates an empty file, for its owner alone. SQLite gives its companions the same mode.
fn create(path: &Path, folder: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => file.sync_all()?,
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    sync_folder(folder)
}
