//! Where a caller's secret is read.

mod secret;

pub use self::secret::Secret;
