use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::BoxError;

/// A file that cannot be opened. `Display` names its path, and the cause is the [`source`](Error::source).
#[derive(Debug)]
pub struct SqliteOpenError {
    kind: SqliteOpenErrorKind,
    /// What the file should be.
    file: &'static str,
    path: Option<PathBuf>,
    cause: Option<BoxError>,
    refused: Option<Refused>,
}

/// What the permissions of a file or folder are refused for.
#[derive(Debug)]
enum Refused {
    Writable(PathBuf),
    OtherOwner(PathBuf),
}

/// Why a file cannot be opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SqliteOpenErrorKind {
    /// The folder is missing and cannot be made, or the file or folder cannot be read and written.
    Inaccessible,
    /// There is no file, and it is not to be created: see
    /// [`open_existing`](super::SqliteKeyStore::open_existing).
    Missing,
    /// The path leads to a symbolic link or to something that is no file.
    NotAFile,
    /// The group or others can write to the file, to its folder or to a file that SQLite keeps next to it,
    /// or the latter has another owner. `Display` says which one, and what to do.
    Permissions,
    /// No SQLite file, or one of another application.
    Foreign,
    /// Written by a later version of this crate.
    NewerSchema,
    /// The file or a record in it is damaged.
    Damaged,
    /// Another process holds the file for itself.
    Busy,
    /// Any other failure of SQLite.
    Database,
}

impl SqliteOpenError {
    pub(crate) fn new(kind: SqliteOpenErrorKind) -> Self {
        Self { kind, file: "file", path: None, cause: None, refused: None }
    }

    pub(super) fn permissions(path: &Path) -> Self {
        let refused = Some(Refused::Writable(path.to_owned()));
        Self { refused, ..Self::new(SqliteOpenErrorKind::Permissions) }
    }

    pub(super) fn other_owner(path: &Path) -> Self {
        let refused = Some(Refused::OtherOwner(path.to_owned()));
        Self { refused, ..Self::new(SqliteOpenErrorKind::Permissions) }
    }

    pub(super) fn with_cause(kind: SqliteOpenErrorKind, cause: impl Into<BoxError>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(kind) }
    }

    /// The path of the file, and what it should be.
    pub(crate) fn at(self, path: &Path, file: &'static str) -> Self {
        Self { path: Some(path.to_owned()), file, ..self }
    }

    /// Why the file cannot be opened.
    #[must_use]
    pub fn kind(&self) -> SqliteOpenErrorKind {
        self.kind
    }
}

impl fmt::Display for SqliteOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use SqliteOpenErrorKind as Kind;

        let file = self.file;
        if let Some(path) = &self.path {
            write!(f, "{path:?}: ")?;
        }
        match &self.refused {
            Some(Refused::Writable(path)) => {
                return write!(
                    f,
                    "the group or others can write to {path:?}: take that right away (chmod go-w), \
                     or open the {file} with SqliteFile::with_insecure_permissions"
                );
            }
            Some(Refused::OtherOwner(path)) => {
                return write!(
                    f,
                    "{path:?} has another owner than the {file}: give both to one user, or remove it"
                );
            }
            None => {}
        }
        match self.kind {
            Kind::Inaccessible => {
                write!(f, "the {file} or its folder is missing or not accessible")
            }
            Kind::Missing => write!(f, "the {file} does not exist"),
            Kind::NotAFile => write!(f, "the {file} is a symbolic link or no regular file"),
            Kind::Permissions => write!(f, "others can write to the {file}"),
            Kind::Foreign => write!(f, "the file is no {file}"),
            Kind::NewerSchema => write!(f, "the {file} was written by a later version"),
            Kind::Damaged => write!(f, "the {file} is damaged"),
            Kind::Busy => write!(f, "the {file} is held by another process"),
            Kind::Database => write!(f, "the {file} cannot be opened"),
        }
    }
}

impl Error for SqliteOpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<io::Error> for SqliteOpenError {
    fn from(error: io::Error) -> Self {
        Self::with_cause(SqliteOpenErrorKind::Inaccessible, error)
    }
}

impl From<sqlx::Error> for SqliteOpenError {
    fn from(error: sqlx::Error) -> Self {
        use SqliteOpenErrorKind as Kind;

        let kind = match primary_code(&error) {
            // SQLITE_PERM, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
            Some(3 | 8 | 10 | 13 | 14) => Kind::Inaccessible,
            // SQLITE_BUSY, SQLITE_LOCKED
            Some(5 | 6) => Kind::Busy,
            // SQLITE_CORRUPT
            Some(11) => Kind::Damaged,
            // SQLITE_NOTADB
            Some(26) => Kind::Foreign,
            _ => Kind::Database,
        };
        Self::with_cause(kind, error)
    }
}

/// SQLite's result code, without what it says in more detail.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}
