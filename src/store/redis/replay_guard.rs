use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::ConnectionManager;

use super::commands::{Lua, ScriptCall, text};
use super::link::{self, Link};
use super::namespace::Namespace;
use super::{RedisStoreError, RedisStoreErrorKind};
use crate::key::StoreError;
use crate::replay::{Claim, ClaimId, ReplayGuard, ReplayKey, StoredResponse};
use crate::{BoxError, ConfigError};

/// Keeps deliveries in Redis (6.2 or later) or Valkey: each runs once, in whichever process.
///
/// Each call is one round trip, with one script. A call is sent again if the connection breaks: a claim belongs to the call
/// that makes it, so that a second try finds its own.
///
/// # Layout
///
/// | name | type | is |
/// |---|---|---|
/// | `{namespace}:replay:<key>` | string | `C` and the id of a claim, or `D` and the text of [`StoredResponse::encode`] |
///
/// A name has a time to live (`PX`): the lease of the claim, or how long the answer is kept.
///
/// # Security
///
/// A delivery that the server has lost is run again. That happens if it starts without its data, if a replica takes over
/// before it has the last writes, and if it evicts keys: the `maxmemory-policy` should be `noeviction`. Stored answers
/// are in the clear.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use tower_webhook::auth::AuthLayer;
/// use tower_webhook::hook::{Hooks, Invocation, Outcome};
/// use tower_webhook::replay::RedisReplayGuard;
/// use tower_webhook::signature::SignatureVerifier;
///
/// # async fn example(verifier: SignatureVerifier) -> Result<(), tower_webhook::BoxError> {
/// let guard = RedisReplayGuard::connect("redis://127.0.0.1/").await?.with_namespace("my-app")?;
/// let hooks = Hooks::new(AuthLayer::signed(verifier), |_: Invocation| async { Ok(Outcome::empty()) })
///     .with_replay_guard(guard, Duration::from_secs(24 * 60 * 60));
/// # let _ = hooks;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisReplayGuard {
    namespace: Namespace,
}

/// `KEYS`: the delivery. `ARGV`: what a claim of this call is, its lease in milliseconds. Returns what is there, or the
/// claim.
static CLAIM: LazyLock<Lua> = LazyLock::new(|| {
    let code = "
local stored = redis.call('GET', KEYS[1])
if stored then return stored end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
";
    Lua::new(code.to_owned())
});

/// Compare-and-set. `KEYS`: the delivery. `ARGV`: the claim, the answer, its time to live in milliseconds.
static COMMIT: LazyLock<Lua> = LazyLock::new(|| {
    let code = "
local stored = redis.call('GET', KEYS[1])
if stored == ARGV[2] then return 'done' end
if stored ~= ARGV[1] then return 'lost' end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 'done'
";
    Lua::new(code.to_owned())
});

/// `KEYS`: the delivery. `ARGV`: the claim.
static ABORT: LazyLock<Lua> = LazyLock::new(|| {
    let code = "
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 'done'
";
    Lua::new(code.to_owned())
});

impl RedisReplayGuard {
    /// Connects to the server at a URL: `redis://user:password@host:port/database`. Makes sure that it answers.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`, `Unreachable`, `TooSlow`, `Server`.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        let guard = Self::connect_lazy(url)?;
        let key = ReplayKey::new(&[]);
        let none = claim_text(ClaimId::NONE);
        let check = async { Ok(guard.query(&ABORT, &key, [none]).await) };
        let answer = guard.namespace.run(check).await;
        answer.unwrap_or_else(|_| Err(RedisStoreErrorKind::TooSlow.into()))?;
        Ok(guard)
    }

    /// Connects to the server at a URL when it is first needed. Until the server is there, calls fail.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`.
    pub fn connect_lazy(url: &str) -> Result<Self, RedisStoreError> {
        Ok(Self::from_client(link::client(url)?))
    }

    /// A guard on a client of your own. It connects when it is first needed.
    #[must_use]
    pub fn from_client(client: redis::Client) -> Self {
        Self { namespace: Namespace::from_client(client) }
    }

    /// A guard on a connection of your own, whose own settings decide how it is made again.
    #[must_use]
    pub fn new(manager: ConnectionManager) -> Self {
        Self { namespace: Namespace::new(Link::given(manager)) }
    }

    /// Sets the namespace. The default is `tower-webhook`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
    pub fn with_namespace(self, namespace: &str) -> Result<Self, ConfigError> {
        Ok(Self { namespace: self.namespace.with_name(namespace)? })
    }

    /// Sets how long a call may take. The default is one second.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { namespace: self.namespace.with_deadline(deadline) }
    }

    async fn query<const N: usize>(
        &self,
        script: &'static Lua,
        key: &ReplayKey,
        arguments: [String; N],
    ) -> Result<Vec<u8>, RedisStoreError> {
        let name = self.namespace.names().replay(key);
        let call = ScriptCall::new(script).keys([name]).arguments(arguments).repeatable();
        let answer = text(call.query(self.namespace.link()).await?)?;
        answer.ok_or_else(|| RedisStoreErrorKind::UnexpectedReply.into())
    }

    async fn run<const N: usize>(
        &self,
        script: &'static Lua,
        key: &ReplayKey,
        arguments: [String; N],
    ) -> Result<Vec<u8>, BoxError> {
        let call = self.query(script, key, arguments);
        self.namespace.run(call).await.map_err(StoreError::into_cause)
    }
}

fn claim_text(claim: ClaimId) -> String {
    format!("C{:032x}", claim.to_u128())
}

/// `PX` takes whole milliseconds, and not 0.
fn millis(time: Duration) -> String {
    time.as_millis().clamp(1, u128::from(u32::MAX) * 1000).to_string()
}

#[async_trait]
impl ReplayGuard for RedisReplayGuard {
    async fn claim(&self, key: &ReplayKey, lease: Duration) -> Result<Claim, BoxError> {
        let id = ClaimId::random()?;
        let own = claim_text(id);
        let stored = self.run(&CLAIM, key, [own.clone(), millis(lease)]).await?;
        match stored.split_first() {
            _ if stored == own.as_bytes() => Ok(Claim::New(id)),
            Some((b'C', _)) => Ok(Claim::InFlight),
            Some((b'D', text)) => Ok(Claim::Done(StoredResponse::decode(str::from_utf8(text)?)?)),
            _ => Err("a stored delivery is damaged".into()),
        }
    }

    async fn commit(
        &self,
        key: &ReplayKey,
        claim: ClaimId,
        response: &StoredResponse,
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let answer = format!("D{}", response.encode());
        let arguments = [claim_text(claim), answer, millis(time_to_live)];
        Ok(self.run(&COMMIT, key, arguments).await? == b"done")
    }

    async fn abort(&self, key: &ReplayKey, claim: ClaimId) -> Result<(), BoxError> {
        self.run(&ABORT, key, [claim_text(claim)]).await.map(drop)
    }
}

impl fmt::Debug for RedisReplayGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayGuard")
            .field("namespace", &self.namespace.names().namespace())
            .field("deadline", &self.namespace.deadline())
            .finish_non_exhaustive()
    }
}
