//! What the tests of several stores have in common. Each store uses a part of it.

#![allow(dead_code, unused_imports)]

#[cfg(all(feature = "cache", any(feature = "postgres", feature = "redis")))]
pub(crate) mod cached;
mod fixtures;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) mod invalidations;
pub(crate) mod records;
#[cfg(all(feature = "cache", any(feature = "postgres", feature = "redis")))]
pub(crate) mod revocation;
pub(crate) mod scan;
pub(crate) mod usage;

pub(crate) use self::fixtures::{at, found, id, insert, owner, record, record_at, setting};
pub(crate) use crate::support::folder::Folder;
