use time::OffsetDateTime;

use super::FileStoreErrorKind;

/// How a [`FileKeyStore`](super::FileKeyStore) and its file agree, for health checks.
#[derive(Clone, Copy, Debug)]
pub struct FileStatus {
    checked_at: OffsetDateTime,
    fault: Option<(OffsetDateTime, FileStoreErrorKind)>,
}

impl FileStatus {
    pub(super) fn new(now: OffsetDateTime) -> Self {
        Self { checked_at: now, fault: None }
    }

    /// The status after the file was read.
    pub(super) fn after(self, now: OffsetDateTime, fault: Option<FileStoreErrorKind>) -> Self {
        match (fault, self.fault) {
            (None, _) => Self::new(now),
            (Some(kind), None) => Self { fault: Some((now, kind)), ..self },
            (Some(kind), Some((since, _))) => Self { fault: Some((since, kind)), ..self },
        }
    }

    /// When the keys were last known to be those of the file. Where the file is [watched](super::FileKeyStore::watch),
    /// a time that is further back than a few intervals says that it cannot be read, or that the task has ended.
    #[must_use]
    pub fn checked_at(&self) -> OffsetDateTime {
        self.checked_at
    }

    /// When the file was first found unreadable, if it still is: since then, the keys are those of before.
    #[must_use]
    pub fn stale_since(&self) -> Option<OffsetDateTime> {
        self.fault.map(|(since, _)| since)
    }

    /// Why the file could not be read the last time.
    #[must_use]
    pub fn fault(&self) -> Option<FileStoreErrorKind> {
        self.fault.map(|(_, kind)| kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixtures::at;

    #[test]
    fn a_file_is_stale_since_its_first_fault() {
        use FileStoreErrorKind::{Inaccessible, Malformed};

        let shown =
            |status: FileStatus| (status.checked_at(), status.stale_since(), status.fault());
        let status = FileStatus::new(at(1)).after(at(2), None);
        assert_eq!(shown(status), (at(2), None, None));
        let status = status.after(at(3), Some(Malformed)).after(at(4), Some(Inaccessible));
        assert_eq!(shown(status), (at(2), Some(at(3)), Some(Inaccessible)));
        assert_eq!(shown(status.after(at(5), None)), (at(5), None, None));
    }
}
