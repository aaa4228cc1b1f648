//! Who can write to a file, and what is on the disk.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// Whether the group or others can write to a file or folder.
#[cfg(unix)]
pub(super) fn others_can_write(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o022 != 0
}

#[cfg(not(unix))]
pub(super) fn others_can_write(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
pub(super) fn have_one_owner(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    one.uid() == other.uid()
}

#[cfg(not(unix))]
pub(super) fn have_one_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// A file or folder whose name is not on the disk is gone after a loss of power.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
