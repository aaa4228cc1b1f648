use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{Fault, FaultKind};
use crate::BoxError;

/// Why the file of a [`FileKeyStore`](super::FileKeyStore) cannot be read or changed. `Display` names its path and the
/// line, and never what is in it. The cause is the [`source`](Error::source).
#[derive(Debug)]
pub struct FileStoreError {
    kind: FileStoreErrorKind,
    path: PathBuf,
    line: Option<usize>,
    cause: Option<BoxError>,
}

/// The reasons of a [`FileStoreError`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FileStoreErrorKind {
    /// The file or its folder is missing, or cannot be read or written.
    Inaccessible,
    /// The path leads to something that is no regular file.
    NotAFile,
    /// The group or others can write to the file, or put another one in its place.
    Permissions,
    /// The file is larger than [`FileKeyStore::MAX_LEN`](super::FileKeyStore::MAX_LEN).
    TooLarge,
    /// No JSON array, or only the beginning of one: a file that is half written, cut short or empty.
    Malformed,
    /// A record cannot be read, or was written by a later version of this crate.
    InvalidRecord,
    /// Two records have the same id.
    DuplicateId,
    /// A change of a path that is a symbolic link: what it leads to is someone else's to change.
    ReadOnly,
    /// Another process did not finish its change in time.
    Busy,
    /// A task was stopped: by the end of the runtime, or by a panic.
    Stopped,
}

impl FileStoreError {
    pub(super) fn new(kind: FileStoreErrorKind, path: &Path) -> Self {
        Self { kind, path: path.to_owned(), line: None, cause: None }
    }

    pub(super) fn io(error: io::Error, path: &Path) -> Self {
        Self { cause: Some(error.into()), ..Self::new(FileStoreErrorKind::Inaccessible, path) }
    }

    pub(super) fn stopped(cause: impl Into<BoxError>, path: &Path) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(FileStoreErrorKind::Stopped, path) }
    }

    pub(super) fn content(fault: Fault, path: &Path) -> Self {
        let (kind, cause) = match fault.kind {
            FaultKind::Malformed => (FileStoreErrorKind::Malformed, None),
            FaultKind::DuplicateId => (FileStoreErrorKind::DuplicateId, None),
            FaultKind::InvalidRecord(error) => {
                (FileStoreErrorKind::InvalidRecord, error.map(BoxError::from))
            }
        };
        Self { kind, path: path.to_owned(), line: Some(fault.line), cause }
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> FileStoreErrorKind {
        self.kind
    }

    /// The line of the file, from 1 on, for a fault of its content: where reading ended. Of a record that has several
    /// lines it is one of them.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for FileStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FileStoreErrorKind as Kind;

        write!(f, "{:?}", self.path)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        f.write_str(match self.kind {
            Kind::Inaccessible => ": the key file or its folder is missing or not accessible",
            Kind::NotAFile => ": the key file is no regular file",
            Kind::Permissions => {
                ": the group or others can write to it: take that right away (chmod go-w), or open the \
                 key file with KeyFile::with_insecure_permissions"
            }
            Kind::TooLarge => ": the key file is larger than 64 MiB",
            Kind::Malformed => ": the key file is no complete JSON array of records",
            Kind::InvalidRecord => ": a record of the key file cannot be read",
            Kind::DuplicateId => ": two records of the key file have the same id",
            Kind::ReadOnly => ": the path is a symbolic link, and the file is not changed through it",
            Kind::Busy => ": another process is changing the key file",
            Kind::Stopped => ": the work on the key file was stopped",
        })
    }
}

impl Error for FileStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
