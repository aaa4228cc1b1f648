//! Helpers of several modules.

mod catch_panic;
mod timeout;
mod unique_id;

pub(crate) use self::catch_panic::{CatchPanic, Panicked, catch_panic};
pub(crate) use self::timeout::timeout;
pub(crate) use self::unique_id::UniqueId;
