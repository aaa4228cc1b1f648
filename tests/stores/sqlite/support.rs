pub(crate) use super::file::{connect, crc32, fill};
pub(crate) use crate::shared::{Folder, at, found, id, insert, owner, record, setting};
pub(crate) use crate::support::process::{Running, child, given_file};
