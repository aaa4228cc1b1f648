//! Who can write to the file, checked before SQLite sees it.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{SqliteOpenError, SqliteOpenErrorKind};

/// The file's absolute path without links, after it was checked or created.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, SqliteOpenError> {
    // An absolute path, because SQLite takes one that starts with `file:` for a URI.
    let path = std::path::absolute(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SqliteOpenError::new(SqliteOpenErrorKind::NotAFile));
    };
    let folder = folder.canonicalize()?;
    check_folder(&fs::metadata(&folder)?)?;
    let path = folder.join(name);
    let file = match fs::symlink_metadata(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(&path, &folder)?;
            fs::symlink_metadata(&path)?
        }
        Err(error) => return Err(error.into()),
    };
    check_file(&file, &file)?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = OsString::from(&path);
        name.push(suffix);
        match fs::symlink_metadata(name) {
            Ok(companion) => check_file(&companion, &file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(path)
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
    // A file whose name is not on the disk is gone after a loss of power.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
fn check_folder(folder: &Metadata) -> Result<(), SqliteOpenError> {
    use std::os::unix::fs::MetadataExt;

    let (others_write, sticky) = (folder.mode() & 0o002 != 0, folder.mode() & 0o1000 != 0);
    if others_write && !sticky {
        return Err(SqliteOpenError::new(SqliteOpenErrorKind::Permissions));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_folder(_: &Metadata) -> Result<(), SqliteOpenError> {
    Ok(())
}

/// `main` is the file that `file` belongs to.
#[cfg_attr(not(unix), expect(unused_variables))]
fn check_file(file: &Metadata, main: &Metadata) -> Result<(), SqliteOpenError> {
    if !file.is_file() {
        return Err(SqliteOpenError::new(SqliteOpenErrorKind::NotAFile));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        if file.mode() & 0o022 != 0 || file.uid() != main.uid() {
            return Err(SqliteOpenError::new(SqliteOpenErrorKind::Permissions));
        }
    }
    Ok(())
}
