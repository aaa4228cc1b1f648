//! What more than one module needs.

mod catch_panic;
mod unique_id;

pub(crate) use self::catch_panic::{CatchPanic, Panicked, catch_panic};
pub(crate) use self::unique_id::UniqueId;
