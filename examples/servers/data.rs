//! The folder with everything that a server keeps.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::Error;

/// The folder with everything that a server keeps. A new one, and every file that is made in it, can be read by
/// its own user only.
#[derive(Debug)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be made.
    pub fn open(path: &Path) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// The path of a file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// How to open an SQLite file in the folder, in which a change is on the disk before it is acknowledged.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be made.
    pub fn database(&self, name: &str) -> Result<SqliteConnectOptions, Error> {
        let path = self.file(name);
        // SQLite gives its other files the mode of this one.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5)))
    }

    /// 32 random bytes that are made at the first start and stay the same: the key under which secrets are
    /// sealed, or a pepper.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or made, or has been damaged.
    pub fn key_material(&self, name: &str) -> Result<[u8; 32], Error> {
        let path = self.file(name);
        let fail = |error: std::io::Error| format!("{}: {error}", path.display());
        match File::open(&path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(33).read_to_end(&mut bytes).map_err(fail)?;
                let length = bytes.len();
                return bytes.try_into().map_err(|_| {
                    format!("{}: holds {length} bytes instead of 32", path.display()).into()
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error).into()),
        }
        let mut material = [0; 32];
        getrandom::fill(&mut material)?;
        // Complete or not there: a kill in between leaves a file of another name.
        let draft = self.file(&format!("{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(fail)?;
        file.write_all(&material).and_then(|()| file.sync_all()).map_err(fail)?;
        fs::rename(&draft, &path).map_err(fail)?;
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(fail)?;
        Ok(material)
    }
}
