use std::cell::LazyCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use smol_str::SmolStr;

use self::error::Fault;
pub use self::error::{VerifyError, VerifyErrorKind};
use super::digest::PresentedDigests;
use super::{
    KeyDigest, KeyFormat, KeyHasher, KeyId, KeyRecord, KeyState, KeyStore, LastUsedObserver, Owner,
    ParsedKey, PrefixedFormat, Scopes,
};
use crate::clock::Timestamp;
use crate::{Clock, SystemTimer, Timer};

mod error;

/// The most bytes of a key, whatever its format.
pub(crate) const MAX_KEY_LEN: usize = 256;

/// Decides whether a presented key is good.
///
/// 1. A text that is too long, not UTF-8 or not of the [`KeyFormat`] is refused, and the store is
///    not asked.
/// 2. The store is asked for the record of the id. An error, a panic, an answer after the deadline
///    and the record of another id are faults of the store and say nothing about the key.
/// 3. The digest of the presented key is computed whether or not there is a record, and compared in
///    constant time. No copy of the secret is kept while the store is asked.
/// 4. The time is read once at most, after the record has arrived and the secret is known to be right,
///    and decides about every deadline.
///
/// Clones share everything.
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

#[derive(Clone)]
struct Parts {
    realm: KeyRealm,
    store: Arc<dyn KeyStore>,
    format: Arc<dyn KeyFormat>,
    hasher: KeyHasher,
    clock: Clock,
    store_deadline: Duration,
    timer: Arc<dyn Timer>,
    last_used: Option<Arc<dyn LastUsedObserver>>,
}

/// The identity of a verifier within one process: equal for clones, and for nothing else. Every setting that
/// is changed makes another one, so what one verifier has proven is not taken for proven under other rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct KeyRealm(u64);

impl KeyRealm {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Which record a presented key is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    /// The one that the key names.
    Named,
    /// This one, or none.
    Only(&'a KeyId),
    /// The one that the key names. If its text names none, this one: a look-up is made for every key that has a
    /// form, so that the time which it takes says nothing about the hook.
    Concealed(&'a KeyId),
}

/// What proved an identity, so that it can be proven again without the secret.
#[derive(Clone)]
pub(crate) struct Proof {
    verifier: KeyVerifier,
    /// The digest of the record that matched.
    digest: KeyDigest,
    created: Timestamp,
}

impl Proof {
    pub(crate) fn realm(&self) -> KeyRealm {
        self.verifier.0.realm
    }
}

impl KeyVerifier {
    /// A verifier of keys in the [default format](PrefixedFormat::default), with digests by
    /// [SHA-256](KeyHasher::sha256), on the [system's clock](Clock::system).
    #[must_use]
    pub fn new(store: impl KeyStore) -> Self {
        Self(Arc::new(Parts {
            realm: KeyRealm::new(),
            store: Arc::new(store),
            format: Arc::new(PrefixedFormat::default()),
            hasher: KeyHasher::sha256(),
            clock: Clock::system(),
            store_deadline: Duration::from_secs(1),
            timer: Arc::new(SystemTimer::new()),
            last_used: None,
        }))
    }

    /// Sets how keys are read.
    #[must_use]
    pub fn with_format(self, format: impl KeyFormat) -> Self {
        self.with(|parts| parts.format = Arc::new(format))
    }

    /// Sets how keys are compared.
    #[must_use]
    pub fn with_hasher(self, hasher: KeyHasher) -> Self {
        self.with(|parts| parts.hasher = hasher)
    }

    /// Sets the clock that deadlines of keys are compared with.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.with(|parts| parts.clock = clock)
    }

    /// Sets how long the store may take. The default is one second.
    ///
    /// The store's future is dropped at the deadline.
    #[must_use]
    pub fn with_store_deadline(self, deadline: Duration) -> Self {
        self.with(|parts| parts.store_deadline = deadline)
    }

    /// Sets what measures the store's deadline. The default is [`SystemTimer`].
    #[must_use]
    pub fn with_timer(self, timer: impl Timer) -> Self {
        self.with(|parts| parts.timer = Arc::new(timer))
    }

    /// Informs an observer, such as [`UsageTracker`](crate::store::UsageTracker), of every key that is found
    /// good, whether or not its scopes are enough for what it was presented for.
    #[must_use]
    pub fn with_last_used(self, observer: impl LastUsedObserver) -> Self {
        self.with(|parts| parts.last_used = Some(Arc::new(observer)))
    }

    /// Starts to verify a presented key.
    ///
    /// The answer is there at once, without an allocation, if the text is refused unread or the
    /// store answers through [`try_find_now`](KeyStore::try_find_now).
    pub fn begin(&self, presented: &[u8]) -> Attempt {
        self.begin_as(presented, Asked::Named, |record, _| VerifiedKey::new(record)).into()
    }

    /// Starts to verify a presented key that has to be the one with this id. No other record is looked
    /// up, and a key that names another id is [`Malformed`](VerifyErrorKind::Malformed) here.
    pub fn begin_for(&self, id: &KeyId, presented: &[u8]) -> Attempt {
        self.begin_as(presented, Asked::Only(id), |record, _| VerifiedKey::new(record)).into()
    }

    /// Starts to verify a presented key, and makes of the record of a good one what is asked for.
    pub(crate) fn begin_as<T>(
        &self,
        presented: &[u8],
        asked: Asked<'_>,
        mut accept: impl FnMut(&KeyRecord, &KeyDigest) -> T,
    ) -> Begun<T> {
        let parts = &*self.0;
        let key = parts.parse(presented, asked);
        let Some(key) = &key else {
            let kind = VerifyErrorKind::Malformed;
            return Begun::Ready(Err(VerifyError { kind, id: None, fault: None }));
        };
        let (id, digests) = (key.id(), parts.hasher.digests(key));
        let mut visits = 0_u32;
        let mut verdict = None;
        let mut visit = |record: Option<&KeyRecord>| {
            visits = visits.saturating_add(1);
            verdict = Some(parts.judge(id, &digests, record, &mut accept));
        };
        // The closure's state is looked at only if nothing panicked.
        let asked = AssertUnwindSafe(|| parts.store.try_find_now(id, &mut visit));
        match (catch_unwind(asked), verdict) {
            (Ok(false), _) => {
                Begun::Pending(Asking { verifier: self.clone(), id: id.clone(), digests })
            }
            (Ok(true), Some(verdict)) if visits == 1 => Begun::Ready(verdict),
            (Ok(true), _) => Begun::Ready(Err(VerifyError::fault(id.clone(), Fault::NoAnswer))),
            (Err(_), _) => Begun::Ready(Err(VerifyError::fault(id.clone(), Fault::Panicked))),
        }
    }

    /// Verifies a presented key.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see [`VerifyErrorKind`].
    pub async fn verify(&self, presented: &[u8]) -> Result<VerifiedKey, VerifyError> {
        self.begin(presented).verdict().await
    }

    /// Verifies a presented key that has to be the one with this id.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see [`VerifyErrorKind`].
    pub async fn verify_for(
        &self,
        id: &KeyId,
        presented: &[u8],
    ) -> Result<VerifiedKey, VerifyError> {
        self.begin_for(id, presented).verdict().await
    }

    /// Takes keys out of a text that has them in the wrong place: see [`KeyFormat::redact`].
    #[must_use]
    pub fn redact(&self, text: &str) -> Option<String> {
        self.0.format.redact(text)
    }

    pub(crate) fn realm(&self) -> KeyRealm {
        self.0.realm
    }

    /// What is kept of a verification that went well.
    pub(crate) fn proof(&self, record: &KeyRecord, digest: &KeyDigest) -> Proof {
        Proof { verifier: self.clone(), digest: digest.clone(), created: record.creation() }
    }

    /// A verifier over parts that are shared with a manager.
    pub(super) fn from_parts(
        realm: KeyRealm,
        store: Arc<dyn KeyStore>,
        format: Arc<dyn KeyFormat>,
        hasher: KeyHasher,
        clock: Clock,
    ) -> Self {
        let parts = Parts {
            realm,
            store,
            format,
            hasher,
            clock,
            store_deadline: Duration::from_secs(1),
            timer: Arc::new(SystemTimer::new()),
            last_used: None,
        };
        Self(Arc::new(parts))
    }

    fn with(mut self, set: impl FnOnce(&mut Parts)) -> Self {
        let parts = Arc::make_mut(&mut self.0);
        parts.realm = KeyRealm::new();
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
    fn parse<'a>(&self, presented: &'a [u8], asked: Asked<'_>) -> Option<ParsedKey<'a>> {
        if presented.len() > MAX_KEY_LEN {
            return None;
        }
        let text = std::str::from_utf8(presented).ok()?;
        match asked {
            Asked::Named => self.format.parse(text),
            Asked::Only(id) => self.format.parse_for(id, text),
            Asked::Concealed(id) => {
                self.format.parse(text).or_else(|| self.format.parse_for(id, text))
            }
        }
    }

    /// Asks the store, for as long as it may take, and shows its answer.
    async fn find<T>(
        &self,
        id: &KeyId,
        mut visit: impl FnMut(Option<&KeyRecord>) -> T,
    ) -> Result<T, Fault> {
        // The store is not used again for this request, and neither is its future after a panic.
        let mut find =
            catch_unwind(AssertUnwindSafe(|| self.store.find(id))).map_err(|_| Fault::Panicked)?;
        let mut sleep = None;
        poll_fn(|context| {
            match catch_unwind(AssertUnwindSafe(|| find.as_mut().poll(context))) {
                Ok(Poll::Ready(Ok(record))) => return Poll::Ready(Ok(visit(record.as_ref()))),
                Ok(Poll::Ready(Err(error))) => return Poll::Ready(Err(Fault::Store(error))),
                Ok(Poll::Pending) => {}
                Err(_) => return Poll::Ready(Err(Fault::Panicked)),
            }
            let sleep = sleep.get_or_insert_with(|| self.timer.sleep(self.store_deadline));
            sleep.as_mut().poll(context).map(|()| Err(Fault::TooSlow))
        })
        .await
    }

    /// The verdict. Whoever does not know the secret causes the same work whether or not there is a
    /// record; the time is asked for only after the secret is known to be right.
    fn judge<T>(
        &self,
        id: &KeyId,
        digests: &PresentedDigests,
        record: Option<&KeyRecord>,
        accept: impl FnOnce(&KeyRecord, &KeyDigest) -> T,
    ) -> Result<T, VerifyError> {
        let fault = |fault| Err(VerifyError::fault(id.clone(), fault));
        let refuse = |kind| Err(VerifyError { kind, id: Some(id.clone()), fault: None });

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
        let Ok(current) = current else {
            return fault(Fault::UnknownPepper);
        };
        let now = LazyCell::new(|| self.clock.timestamp());
        let now = || *now;
        let mut matched = record.digest();
        if !bool::from(current) {
            // What is left is the digest from before a rotation, which has to count still.
            let matches = previous.map(|previous| previous.map(bool::from));
            if let None | Some(Ok(false)) = matches {
                return refuse(VerifyErrorKind::WrongSecret);
            }
            match (record.usable_previous(now), matches) {
                (None, _) => return refuse(VerifyErrorKind::WrongSecret),
                (Some(_), Some(Err(_))) => return fault(Fault::UnknownPepper),
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

/// Why a key in this state is refused, if it is.
const fn refusal(state: KeyState) -> Option<VerifyErrorKind> {
    match state {
        KeyState::Active => None,
        KeyState::NotYetValid => Some(VerifyErrorKind::NotYetValid),
        KeyState::Expired => Some(VerifyErrorKind::Expired),
        KeyState::Disabled => Some(VerifyErrorKind::Disabled),
        KeyState::Revoked => Some(VerifyErrorKind::Revoked),
    }
}

impl Proof {
    /// Looks the record up again, and makes of it what is asked for if the proof still holds: the record is
    /// of the same incarnation, the digest that matched is one of those that count, and the key is active.
    ///
    /// # Errors
    ///
    /// The key is refused, or the store cannot answer: see [`VerifyErrorKind`].
    pub(crate) async fn renew<T>(
        &self,
        id: &KeyId,
        accept: impl Fn(&KeyRecord) -> T + Send,
    ) -> Result<T, VerifyError> {
        let parts = &*self.verifier.0;
        let judge = |record: Option<&KeyRecord>| self.judge(id, record).map(&accept);
        match parts.find(id, judge).await {
            Ok(verdict) => verdict,
            Err(fault) => Err(VerifyError::fault(id.clone(), fault)),
        }
    }

    fn judge<'r>(
        &self,
        id: &KeyId,
        record: Option<&'r KeyRecord>,
    ) -> Result<&'r KeyRecord, VerifyError> {
        let refuse = |kind| Err(VerifyError { kind, id: Some(id.clone()), fault: None });
        let Some(record) = record else { return refuse(VerifyErrorKind::Unknown) };
        if record.id() != id {
            return Err(VerifyError::fault(id.clone(), Fault::OtherRecord));
        }
        if record.creation() != self.created {
            return refuse(VerifyErrorKind::Unknown);
        }
        let now = LazyCell::new(|| self.verifier.0.clock.timestamp());
        let now = || *now;
        let counts = record.digest().is(&self.digest)
            || record.usable_previous(now).is_some_and(|previous| previous.is(&self.digest));
        match refusal(record.state_by(now)) {
            _ if !counts => refuse(VerifyErrorKind::WrongSecret),
            Some(kind) => refuse(kind),
            None => Ok(record),
        }
    }
}

/// A verification for which the store has to be waited. What the secret hashes to stands for the key.
pub(crate) struct Asking {
    verifier: KeyVerifier,
    id: KeyId,
    digests: PresentedDigests,
}

impl Asking {
    /// Asks the store, waits for its answer and makes of the record of a good key what is asked for.
    pub(crate) fn verdict<T>(
        self,
        mut accept: impl FnMut(&KeyRecord, &KeyDigest) -> T + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<T, VerifyError>> + Send>> {
        let Self { verifier, id, digests } = self;
        Box::pin(async move {
            let parts = &*verifier.0;
            let judge =
                |record: Option<&KeyRecord>| parts.judge(&id, &digests, record, &mut accept);
            match parts.find(&id, judge).await {
                Ok(verdict) => verdict,
                Err(fault) => Err(VerifyError::fault(id, fault)),
            }
        })
    }
}

/// A verification that waits for the store. It keeps what it needs and borrows nothing.
pub type PendingVerification =
    Pin<Box<dyn Future<Output = Result<VerifiedKey, VerifyError>> + Send + 'static>>;

/// What [`KeyVerifier::begin`] has for an answer.
#[must_use]
pub enum Attempt {
    /// The verdict.
    Ready(Result<VerifiedKey, VerifyError>),
    /// The verdict comes when the store has answered.
    Pending(PendingVerification),
}

/// An [`Attempt`] whose verdict is made for a purpose.
pub(crate) enum Begun<T> {
    Ready(Result<T, VerifyError>),
    Pending(Asking),
}

impl From<Begun<VerifiedKey>> for Attempt {
    fn from(begun: Begun<VerifiedKey>) -> Self {
        match begun {
            Begun::Ready(verdict) => Self::Ready(verdict),
            Begun::Pending(asking) => {
                Self::Pending(asking.verdict(|record, _| VerifiedKey::new(record)))
            }
        }
    }
}

impl Attempt {
    async fn verdict(self) -> Result<VerifiedKey, VerifyError> {
        match self {
            Self::Ready(verdict) => verdict,
            Self::Pending(verdict) => verdict.await,
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(verdict) => f.debug_tuple("Ready").field(verdict).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
        }
    }
}

/// A key that was presented and is good. Only a [`KeyVerifier`] makes one.
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

    /// Whom the key belongs to.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What the owner calls the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key may do.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }
}

#[cfg(test)]
mod tests;
