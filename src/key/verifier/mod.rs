use std::cell::LazyCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;

use self::error::Fault;
pub use self::error::{VerifyError, VerifyErrorKind};
pub(crate) use self::proof::KeyProof;
pub use self::verification::{PendingLookup, Verification};
use super::digest::PresentedDigests;
use super::{
    KeyDigest, KeyFormat, KeyHasher, KeyId, KeyRecord, KeyState, KeyStore, LastUsedObserver, Owner,
    ParsedKey, PrefixedFormat, Scopes,
};
use crate::Clock;
use crate::util::{CatchPanic, Panicked, UniqueId, catch_panic, timeout};

mod error;
mod proof;
mod verification;

/// The maximum length of a key in bytes, for every format.
pub(crate) const MAX_KEY_LEN: usize = 256;

/// Verifies presented keys.
///
/// 1. A text that is too long, not UTF-8 or not of the [`KeyFormat`] is refused without a look-up.
/// 2. The store looks up the record. An error, a panic, a timeout and the record of another id are
///    [faults of the store](VerifyErrorKind::StoreUnavailable), not properties of the key.
/// 3. The digest of the presented key is computed with or without a record, and compared in constant
///    time. The verifier keeps no copy of the secret while it waits for the store.
/// 4. The clock is read at most once, after the secret has matched, and decides about every deadline.
///
/// Clones share everything. A store that does not answer at once needs a tokio runtime with timers.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyManager, NewKey, Owner, VerifyErrorKind};
/// use tower_webhook::store::MemoryKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyManager::new(MemoryKeyStore::new());
/// let verifier = keys.verifier();
/// let issued = keys.generate(&Owner::new("ann")?, NewKey::new("laptop")).await?;
///
/// let verified = verifier.verify(issued.secret().expose_secret().as_bytes()).await?;
/// assert_eq!(verified.owner().as_str(), "ann");
///
/// let refused = verifier.verify(b"opensesame").await;
/// assert_eq!(refused.map_err(|error| error.kind()).err(), Some(VerifyErrorKind::Malformed));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyVerifier(Arc<Parts>);

/// What a verifier and its manager share.
#[derive(Clone)]
pub(super) struct Parts {
    /// Clones have the same id. Each changed setting draws a new one, so that a proof of one verifier does not
    /// count under other rules.
    verifier_id: UniqueId,
    pub(super) store: Arc<dyn KeyStore>,
    pub(super) format: Arc<dyn KeyFormat>,
    pub(super) hasher: KeyHasher,
    pub(super) clock: Clock,
    store_deadline: Duration,
    last_used: Option<Arc<dyn LastUsedObserver>>,
}

/// The record that a presented key is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LookupTarget<'a> {
    /// The one that the key names.
    Named,
    /// This one. A key that names another one is malformed.
    Only(&'a KeyId),
    /// The one that the key names, else this one: every key of the format costs a look-up, so that its time
    /// does not depend on the hook.
    Concealed(&'a KeyId),
}

impl KeyVerifier {
    /// A verifier of keys in the [default format](PrefixedFormat::default), with digests by
    /// [SHA-256](KeyHasher::sha256), on the [system's clock](Clock::system).
    #[must_use]
    pub fn new(store: impl KeyStore) -> Self {
        Self(Arc::new(Parts {
            verifier_id: UniqueId::new(),
            store: Arc::new(store),
            format: Arc::new(PrefixedFormat::default()),
            hasher: KeyHasher::sha256(),
            clock: Clock::system(),
            store_deadline: Duration::from_secs(1),
            last_used: None,
        }))
    }

    /// Sets the format of keys.
    #[must_use]
    pub fn with_format(self, format: impl KeyFormat) -> Self {
        self.with(|parts| parts.format = Arc::new(format))
    }

    /// Sets the hasher of digests.
    #[must_use]
    pub fn with_hasher(self, hasher: KeyHasher) -> Self {
        self.with(|parts| parts.hasher = hasher)
    }

    /// Sets the clock that deadlines of keys are compared with.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|parts| parts.clock = clock)
    }

    /// Sets the timeout of a look-up. The default is one second.
    ///
    /// The store's future is dropped at the deadline.
    #[must_use]
    pub fn with_store_deadline(self, deadline: Duration) -> Self {
        self.with(|parts| parts.store_deadline = deadline)
    }

    /// Reports every accepted key to an observer, such as [`LastUsedTracker`](crate::store::LastUsedTracker),
    /// before its scopes are compared with what the request needs.
    #[must_use]
    pub fn with_last_used(self, observer: impl LastUsedObserver) -> Self {
        self.with(|parts| parts.last_used = Some(Arc::new(observer)))
    }

    /// Starts to verify a presented key.
    ///
    /// The result is [`Ready`](Verification::Ready), without an allocation, if the text is no key or the
    /// store answers through [`try_find_now`](KeyStore::try_find_now).
    pub fn begin(&self, presented: &[u8]) -> Verification {
        self.begin_with(presented, LookupTarget::Named, |record, _| VerifiedKey::new(record))
    }

    /// Starts to verify a presented key that must be the one with this id. No other record is looked
    /// up, and a key that names another id is [`Malformed`](VerifyErrorKind::Malformed) here.
    pub fn begin_for(&self, id: &KeyId, presented: &[u8]) -> Verification {
        self.begin_with(presented, LookupTarget::Only(id), |record, _| VerifiedKey::new(record))
    }

    /// Starts to verify a presented key. `accept` turns the record of an accepted key, and the digest that
    /// matched, into the result.
    pub(crate) fn begin_with<T>(
        &self,
        presented: &[u8],
        target: LookupTarget<'_>,
        mut accept: impl FnMut(&KeyRecord, &KeyDigest) -> T,
    ) -> Verification<T> {
        let parts = &*self.0;
        let key = parts.parse(presented, target);
        let Some(key) = &key else {
            let kind = VerifyErrorKind::Malformed;
            return Verification::Ready(Err(VerifyError { kind, id: None, fault: None }));
        };
        let (id, digests) = (key.id(), parts.hasher.digests(key));
        let mut visits = 0_u32;
        let mut result = None;
        let mut visit = |record: Option<&KeyRecord>| {
            visits = visits.saturating_add(1);
            result = Some(parts.evaluate(id, &digests, record, &mut accept));
        };
        // After a panic nothing that the closure wrote is read.
        let answered = catch_panic(|| parts.store.try_find_now(id, &mut visit));
        match (answered, result) {
            (Ok(false), _) => Verification::Pending(PendingLookup::new(self, id, digests)),
            (Ok(true), Some(result)) if visits == 1 => Verification::Ready(result),
            (Ok(true), _) => {
                Verification::Ready(Err(VerifyError::fault(id.clone(), Fault::NoAnswer)))
            }
            (Err(_), _) => {
                Verification::Ready(Err(VerifyError::fault(id.clone(), Fault::Panicked)))
            }
        }
    }

    /// Verifies a presented key.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see [`VerifyErrorKind`].
    pub async fn verify(&self, presented: &[u8]) -> Result<VerifiedKey, VerifyError> {
        self.begin(presented).finish().await
    }

    /// Verifies a presented key that must be the one with this id.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see [`VerifyErrorKind`].
    pub async fn verify_for(
        &self,
        id: &KeyId,
        presented: &[u8],
    ) -> Result<VerifiedKey, VerifyError> {
        self.begin_for(id, presented).finish().await
    }

    /// Redacts keys in a text where none should be: see [`KeyFormat::redact`].
    #[must_use]
    pub fn redact(&self, text: &str) -> Option<String> {
        self.0.format.redact(text)
    }

    /// Whether a text could be a key. There is no look-up.
    pub(crate) fn can_parse(&self, text: &[u8], target: LookupTarget<'_>) -> bool {
        let target = match target {
            LookupTarget::Only(id) => LookupTarget::Concealed(id),
            target => target,
        };
        self.0.parse(text, target).is_some()
    }

    pub(crate) fn verifier_id(&self) -> UniqueId {
        self.0.verifier_id
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.0
    }

    fn with(mut self, set: impl FnOnce(&mut Parts)) -> Self {
        let parts = Arc::make_mut(&mut self.0);
        parts.verifier_id = UniqueId::new();
        set(parts);
        self
    }
}

impl fmt::Debug for KeyVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyVerifier")
            .field("hasher", &self.0.hasher)
            .field("clock", &self.0.clock)
            .field("store_deadline", &self.0.store_deadline)
            .finish_non_exhaustive()
    }
}

impl Parts {
    fn parse<'a>(&self, presented: &'a [u8], target: LookupTarget<'_>) -> Option<ParsedKey<'a>> {
        if presented.len() > MAX_KEY_LEN {
            return None;
        }
        let text = std::str::from_utf8(presented).ok()?;
        match target {
            LookupTarget::Named => self.format.parse(text),
            LookupTarget::Only(id) => self.format.parse_for(id, text),
            LookupTarget::Concealed(id) => {
                self.format.parse(text).or_else(|| self.format.parse_for(id, text))
            }
        }
    }

    /// Looks a record up, with a timeout.
    async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, Fault> {
        let find = CatchPanic::new(|| self.store.find(id));
        let mut find = find.map_err(|_| Fault::Panicked)?;
        match timeout(self.store_deadline, &mut find).await {
            None => Err(Fault::TimedOut),
            Some(Err(Panicked)) => Err(Fault::Panicked),
            Some(Ok(answer)) => answer.map_err(Fault::Store),
        }
    }

    /// Decides about a presented key. A wrong secret causes the same work with and without a record; the
    /// clock is read only after the secret has matched.
    fn evaluate<T>(
        &self,
        id: &KeyId,
        digests: &PresentedDigests,
        record: Option<&KeyRecord>,
        accept: impl FnOnce(&KeyRecord, &KeyDigest) -> T,
    ) -> Result<T, VerifyError> {
        let fault = |fault| Err(VerifyError::fault(id.clone(), fault));
        let refuse = |kind| Err(VerifyError::refused(id.clone(), kind));

        let Some(record) = record else {
            self.hasher.compare_decoy(digests);
            return refuse(VerifyErrorKind::Unknown);
        };
        let current = self.hasher.compare(record.digest(), digests);
        let previous = record.previous();
        let previous = previous.map(|(digest, _)| self.hasher.compare(digest, digests));
        if record.id() != id {
            return fault(Fault::OtherRecord);
        }
        let current = match current {
            Ok(current) => current,
            Err(error) => return fault(Fault::UnknownPepper(error)),
        };
        let now = LazyCell::new(|| self.clock.timestamp());
        let now = || *now;
        let mut matched = record.digest();
        if !bool::from(current) {
            // Only the digest from before a rotation is left, if it is still valid.
            let matches = previous.map(|previous| previous.map(bool::from));
            if let None | Some(Ok(false)) = matches {
                return refuse(VerifyErrorKind::WrongSecret);
            }
            match (record.usable_previous(now), matches) {
                (None, _) => return refuse(VerifyErrorKind::WrongSecret),
                (Some(_), Some(Err(error))) => return fault(Fault::UnknownPepper(error)),
                (Some(previous), _) => matched = previous,
            }
        }
        let state = record.state_by(now);
        if let Some(refusal) = refusal(state) {
            return refuse(refusal);
        }
        if let Some(observer) = &self.last_used {
            observer.record(record.id(), now().seconds());
        }
        Ok(accept(record, matched))
    }
}

/// The refusal of a key in this state. `None` for an active key.
const fn refusal(state: KeyState) -> Option<VerifyErrorKind> {
    match state {
        KeyState::Active => None,
        KeyState::NotYetValid => Some(VerifyErrorKind::NotYetValid),
        KeyState::Expired => Some(VerifyErrorKind::Expired),
        KeyState::Disabled => Some(VerifyErrorKind::Disabled),
        KeyState::Revoked => Some(VerifyErrorKind::Revoked),
    }
}

/// A verified key. Only a [`KeyVerifier`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedKey {
    id: KeyId,
    owner: Owner,
    name: SmolStr,
    scopes: Scopes,
}

impl VerifiedKey {
    fn new(record: &KeyRecord) -> Self {
        Self {
            id: record.id().clone(),
            owner: record.owner().clone(),
            name: record.shared_name(),
            scopes: record.scopes().clone(),
        }
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The owner of the key.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The granted scopes.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }
}

#[cfg(test)]
mod tests;
