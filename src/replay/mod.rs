//! Each delivery once: what a sender sends again gets the answer of the first time.
//!
//! Senders repeat a delivery whose answer they did not see, and an attacker can send a captured one again within the
//! tolerance of its timestamp. A [`ReplayGuard`] knows which deliveries were answered. A delivery is identified by what
//! its signature authenticates: the signed id, or the signature itself ([`ReplayKey`]).
//!
//! | a delivery that | gets |
//! |---|---|
//! | is new | is run, and its answer is stored if it is a success |
//! | was answered | the stored answer, with `X-Replayed: true` |
//! | is being run | 409 with `Retry-After` |
//! | failed, or was [refused by the executor](crate::hook::ExecutorError::invalid) | is run again |
//!
//! | guard | deliveries are |
//! |---|---|
//! | [`MemoryReplayGuard`] | in this process |
//! | `RedisReplayGuard` (feature `redis`) | in Redis or Valkey |
//! | `PostgresReplayGuard` (feature `postgres`) | in a table |
//!
//! [`Hooks::with_replay_guard`](crate::hook::Hooks::with_replay_guard) applies it, after the signature was verified: an
//! unsigned request claims nothing.
//!
//! # Guarantees
//!
//! 1. One claim of a key is held at a time. It ends by a commit, an abort or its lease.
//! 2. A holder whose lease has ended cannot commit over the claim of another one.
//! 3. An answer is kept for its time to live, which has to be longer than a sender goes on trying, and is at least
//!    twice the tolerance of the scheme.
//! 4. A guard that cannot answer is a 503: the sender tries again.

#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod key;
mod memory;
mod response;

use std::time::Duration;

use async_trait::async_trait;

pub use self::key::ReplayKey;
pub use self::memory::MemoryReplayGuard;
pub use self::response::StoredResponse;
use crate::BoxError;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use crate::store::postgres::PostgresReplayGuard;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::store::redis::RedisReplayGuard;

/// A memory of deliveries.
#[async_trait]
pub trait ReplayGuard: Send + Sync + 'static {
    /// Claims a delivery, for as long as the lease, unless it is claimed or was answered.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the claim is held. The delivery is a 503.
    async fn claim(&self, key: &ReplayKey, lease: Duration) -> Result<Claim, BoxError>;

    /// Ends a claim with the answer of the delivery. `false`: the claim is not held any more, and nothing is stored.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the answer is stored. The caller gets the answer nevertheless.
    async fn commit(
        &self,
        key: &ReplayKey,
        claim: ClaimId,
        response: &StoredResponse,
        time_to_live: Duration,
    ) -> Result<bool, BoxError>;

    /// Ends a claim without an answer, so that the delivery can be run again at once. Does nothing if the claim is not
    /// held any more.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not known whether the claim has ended. It ends with its lease.
    async fn abort(&self, key: &ReplayKey, claim: ClaimId) -> Result<(), BoxError>;
}

/// What a [`ReplayGuard`] says about a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// It is new, and claimed now.
    New(ClaimId),
    /// It is claimed by another request.
    InFlight,
    /// It was answered.
    Done(StoredResponse),
}

/// Tells one claim of a delivery from a later one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClaimId(u128);

impl ClaimId {
    /// The id of no claim.
    #[cfg(feature = "redis")]
    pub(crate) const NONE: Self = Self(0);

    /// An id that no other claim has: 128 random bits.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system has no random bits.
    pub fn random() -> Result<Self, BoxError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| "the operating system has no random bits")?;
        Ok(Self(u128::from_ne_bytes(bytes)))
    }

    /// The id as a number, for a store.
    #[must_use]
    pub const fn to_u128(self) -> u128 {
        self.0
    }
}
