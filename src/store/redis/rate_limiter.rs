use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use redis::aio::ConnectionManager;

use super::commands::{Lua, ScriptCall};
use super::link::{self, Link};
use super::namespace::Namespace;
use super::{RedisStoreError, RedisStoreErrorKind};
use crate::key::StoreError;
use crate::rate_limit::{Decision, Limit, LimitState, RateLimiter};
use crate::{BoxError, ConfigError};

/// Counts calls in Redis (6.2 or later) or Valkey: one count for all processes.
///
/// A call is one round trip, with one script that decides on all its limits: it counts in all of their buckets, or in
/// none. The time is that of the server (`TIME`), so the clocks of the processes do not matter. The script does what
/// [`gcra`](crate::rate_limit::gcra) does, in microseconds. Its numbers are doubles, and whole ones are exact below
/// 2^53, which the time reaches in the year 2255.
///
/// # Layout
///
/// | name | type | is |
/// |---|---|---|
/// | `{namespace}:rate:<bucket>` | string | when the bucket is full, in microseconds since 1970 |
///
/// A bucket has a time to live (`PX`) until it is full: it is gone then. A refused call writes nothing. All names of a
/// namespace share the hash tag `{namespace}`, and with it one slot of a cluster. The namespace can be that of a
/// [`RedisKeyStore`](crate::store::RedisKeyStore), and need not be initialized.
///
/// # Servers
///
/// What is counted is worth little after a window has passed, so the server need not keep it on a disk. With
/// `appendfsync always`, every call that is counted waits for the disk. A store of keys wants that: give the limiter
/// another server.
///
/// # Outages
///
/// Without an answer within the [deadline](Self::with_deadline), a call is an error, and the caller of the limiter
/// decides what becomes of it. A call is sent again, up to three times in all, if the connection breaks: it may then
/// count more than once, and never less. So may one whose caller has left. The connection is made again as that of a
/// [`RedisKeyStore`](crate::store::RedisKeyStore). Nothing needs a restart.
///
/// # Security
///
/// A bucket that the server has lost is full again. That happens if it starts without its data, if a replica takes
/// over before it has the last calls, and if it evicts keys: the `maxmemory-policy` should be `noeviction`, since
/// every other one evicts buckets, the `volatile-` ones too. A server without memory is then an error. The clock of a
/// replica that takes over should agree with that of its primary: the difference is added to buckets, or taken out of
/// them.
///
/// The commands needed are `EVAL`, `EVALSHA`, `TIME`, `GET` and `SET`, on the keys above. Names of buckets have no
/// secret, and are seen in `MONITOR` and `SCAN`.
///
/// # Examples
///
/// ```no_run
/// use tower_webhook::rate_limit::{Limit, Quota, RateLimiter, RedisRateLimiter};
///
/// # async fn example() -> Result<(), tower_webhook::BoxError> {
/// let limiter = RedisRateLimiter::connect("redis://127.0.0.1/").await?.with_namespace("my-app")?;
/// let decision = limiter.check(&[Limit::new("ann", Quota::per_minute(60)?)]).await?;
/// assert!(decision.is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisRateLimiter {
    namespace: Namespace,
}

/// GCRA. `KEYS`: the bucket of each limit. `ARGV`: the period and window of each, in microseconds. Returns for each
/// limit whether it allows the call, and after how long its bucket is full if the call is counted.
///
/// A bucket can have several limits. A time that is further ahead than the window is written anew by a refused call.
static CHECK: LazyLock<Lua> = LazyLock::new(|| {
    let code = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored, counted, uncounted = {}, {}, {}
local is_allowed, answer = true, {}
for i, name in ipairs(KEYS) do
  local period, window = tonumber(ARGV[i * 2 - 1]), tonumber(ARGV[i * 2])
  if not stored[name] then
    local full_at = redis.call('GET', name) or '0'
    if not string.find(full_at, '^%d+$') then return 'invalid' end
    stored[name] = tonumber(full_at)
  end
  local reset = math.min(math.max((counted[name] or stored[name]) - now, 0), window)
  uncounted[name] = uncounted[name] or now + reset
  local fits = reset + period <= window
  if fits then reset = reset + period end
  counted[name] = now + reset
  is_allowed = is_allowed and fits
  answer[i * 2 - 1] = fits and 1 or 0
  answer[i * 2] = reset
end
for name, full_at in pairs(is_allowed and counted or uncounted) do
  if full_at ~= stored[name] and full_at > now then
    local millis = math.ceil((full_at - now) / 1000)
    redis.call('SET', name, string.format('%.0f', full_at), 'PX', millis)
  end
end
return answer
";
    Lua::new(code.to_owned())
});

impl RedisRateLimiter {
    /// Connects to the server at a URL: `redis://user:password@host:port/database`. Makes sure that it answers and
    /// runs the script.
    ///
    /// A `rediss://` URL needs a TLS feature of the `redis` crate.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`, `Unreachable`, `TooSlow`, `Server`.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        let limiter = Self::connect_lazy(url)?;
        let answer = limiter.namespace.run(async { Ok(limiter.decide(&[]).await) }).await;
        answer.unwrap_or_else(|_| Err(RedisStoreErrorKind::TooSlow.into()))?;
        Ok(limiter)
    }

    /// Connects to the server at a URL when it is first needed. Until the server is there, calls fail.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`.
    pub fn connect_lazy(url: &str) -> Result<Self, RedisStoreError> {
        Ok(Self::from_client(link::client(url)?))
    }

    /// A limiter on a client of your own. It connects when it is first needed.
    #[must_use]
    pub fn from_client(client: redis::Client) -> Self {
        Self::in_namespace(Namespace::from_client(client))
    }

    /// A limiter on a connection of your own, whose own settings decide how it is made again.
    #[must_use]
    pub fn new(manager: ConnectionManager) -> Self {
        Self::in_namespace(Namespace::new(Link::given(manager)))
    }

    /// Sets the namespace. The default is `tower-webhook`.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
    pub fn with_namespace(self, namespace: &str) -> Result<Self, ConfigError> {
        Ok(Self { namespace: self.namespace.with_name(namespace)? })
    }

    /// Sets how long a call may take. The default is one second. A connection that does not answer within nine
    /// tenths of it is replaced.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { namespace: self.namespace.with_deadline(deadline) }
    }

    /// Sets how many calls may be under way. One more fails at once. The default is 1024.
    #[must_use]
    pub fn with_max_calls(self, max_calls: usize) -> Self {
        Self { namespace: self.namespace.with_max_calls(max_calls) }
    }

    pub(super) fn in_namespace(namespace: Namespace) -> Self {
        Self { namespace }
    }

    async fn decide(&self, limits: &[Limit<'_>]) -> Result<Decision, RedisStoreError> {
        let micros = |time: Duration| time.as_micros().to_string();
        let quotas = limits.iter().map(Limit::quota);
        let call = ScriptCall::new(&CHECK)
            .keys(limits.iter().map(|limit| self.namespace.names().bucket(limit.bucket())))
            .arguments(quotas.flat_map(|quota| [micros(quota.period()), micros(quota.window())]))
            .repeatable();
        decision(limits, call.query(self.namespace.link()).await?)
    }
}

/// The decision that the answer of the script is.
fn decision(limits: &[Limit<'_>], answer: Value) -> Result<Decision, RedisStoreError> {
    let unexpected = || RedisStoreError::new(RedisStoreErrorKind::UnexpectedReply);
    let values = match answer {
        Value::Array(values) if values.len() == 2 * limits.len() => values,
        Value::BulkString(_) => return Err(RedisStoreErrorKind::InvalidRecord.into()),
        _ => return Err(unexpected()),
    };
    let state = |pair: &[Value]| match pair {
        [Value::Int(fits @ 0..=1), Value::Int(reset)] => {
            let reset = u64::try_from(*reset).map_err(|_| unexpected())?;
            Ok((*fits == 1, Duration::from_micros(reset)))
        }
        _ => Err(unexpected()),
    };
    let states = values.chunks_exact(2).map(state).collect::<Result<Vec<_>, _>>()?;
    let is_counted = states.iter().all(|(fits, _)| *fits);
    Ok(Decision::new(limits.iter().zip(states).map(|(limit, (fits, mut reset))| {
        if fits && !is_counted {
            reset = reset.saturating_sub(limit.quota().period());
        }
        LimitState::new(limit.quota(), fits, reset)
    })))
}

#[async_trait]
impl RateLimiter for RedisRateLimiter {
    /// # Errors
    ///
    /// A [`RedisStoreError`], or an error that says that there was no answer before the deadline, or that too many
    /// calls are under way.
    async fn check(&self, limits: &[Limit<'_>]) -> Result<Decision, BoxError> {
        self.namespace.run(self.decide(limits)).await.map_err(StoreError::into_cause)
    }
}

impl fmt::Debug for RedisRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRateLimiter")
            .field("namespace", &self.namespace.names().namespace())
            .field("deadline", &self.namespace.deadline())
            .finish_non_exhaustive()
    }
}
