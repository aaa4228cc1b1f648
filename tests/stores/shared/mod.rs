//! What the tests of several stores have in common.

#[cfg(all(feature = "cache", any(feature = "postgres", feature = "redis")))]
pub(crate) mod revocation;
pub(crate) mod usage;
