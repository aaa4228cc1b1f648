//! The connection: which one is in use, and when it is given up.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Pipeline, RedisError, Value};

use super::{RedisStoreError, RedisStoreErrorKind};

/// A connection that is shared by all calls.
///
/// The connection manager replaces a connection that has closed. It keeps one whose other end has gone
/// silent, so that every call on it takes its whole deadline: such a connection is given up here.
pub(super) struct Link {
    source: Source,
    state: Mutex<State>,
}

enum Source {
    /// Somebody else's connection. It cannot be given up.
    Given(ConnectionManager),
    Own(Client),
}

struct State {
    manager: Option<ConnectionManager>,
    generation: u64,
    made: Instant,
    /// Whether there was an answer on this connection.
    answered: bool,
}

/// How long a connection that has not answered anything yet may take before it is given up: the
/// manager's own attempts, which it makes less and less often, come first.
const PATIENCE: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// A jitter of up to the same again is added to every delay.
const MIN_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 6;
/// How often a question is asked again after the connection broke.
const MAX_ASKS: usize = 3;

impl Link {
    pub(super) fn given(manager: ConnectionManager) -> Self {
        Self::new(Source::Given(manager))
    }

    pub(super) fn own(client: Client) -> Self {
        Self::new(Source::Own(client))
    }

    /// What further connections to the same server are made with.
    pub(super) fn client(&self) -> Option<&Client> {
        match &self.source {
            Source::Given(_) => None,
            Source::Own(client) => Some(client),
        }
    }

    /// Sends commands that change nothing, once more if the connection breaks.
    pub(super) async fn ask(&self, commands: &Pipeline) -> Result<Answers, RedisStoreError> {
        let mut asks = 1;
        loop {
            match self.send(commands).await {
                Err(error) if asks < MAX_ASKS && error.is_io_error() && !error.is_timeout() => {
                    asks += 1;
                }
                answers => return Ok(answers?),
            }
        }
    }

    /// Sends commands at most once. An error does not tell whether they were carried out.
    pub(super) async fn tell(&self, commands: &Pipeline) -> Result<Answers, RedisStoreError> {
        Ok(self.send(commands).await?)
    }

    /// Gives the connection up that these answers came from, and makes an error of them.
    pub(super) fn unexpected(&self, generation: u64) -> RedisStoreError {
        self.give_up(generation);
        RedisStoreErrorKind::UnexpectedReply.into()
    }

    async fn send(&self, commands: &Pipeline) -> Result<Answers, RedisError> {
        let (mut manager, generation) = self.manager()?;
        let mut watch = Watch { link: self, generation, answered: false };
        let values = manager.req_packed_commands(commands, 0, commands.len()).await?;
        watch.answered = true;
        if values.iter().any(is_read_only) {
            // A primary that has become a replica keeps its connections. Its name may lead elsewhere.
            self.give_up(generation);
        } else {
            let mut state = self.state();
            state.answered |= state.generation == generation;
        }
        Ok(Answers { values, generation })
    }

    /// The connection to use. It is made on the way, so that it belongs to the runtime of a call.
    fn manager(&self) -> Result<(ConnectionManager, u64), RedisError> {
        let client = match &self.source {
            Source::Given(manager) => return Ok((manager.clone(), 0)),
            Source::Own(client) => client,
        };
        let mut state = self.state();
        if let Some(manager) = &state.manager {
            return Ok((manager.clone(), state.generation));
        }
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config())?;
        let generation = state.generation.wrapping_add(1);
        *state = State::new(Some(manager.clone()), generation);
        Ok((manager, generation))
    }

    /// Closes a connection as soon as nobody waits on it any more. The next call makes another one.
    fn give_up(&self, generation: u64) {
        let mut state = self.state();
        let due = state.answered || state.made.elapsed() >= PATIENCE;
        if state.generation == generation && due {
            state.manager = None;
        }
    }

    fn new(source: Source) -> Self {
        Self { source, state: Mutex::new(State::new(None, 0)) }
    }

    /// Nothing that happens while the lock is held leaves the state half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(manager: Option<ConnectionManager>, generation: u64) -> Self {
        Self { manager, generation, made: Instant::now(), answered: false }
    }
}

/// What the server said, and on which connection.
pub(super) struct Answers {
    pub(super) values: Vec<Value>,
    pub(super) generation: u64,
}

/// Gives a connection up if a call on it ends without an answer, or is dropped at its deadline.
struct Watch<'a> {
    link: &'a Link,
    generation: u64,
    answered: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link.give_up(self.generation);
        }
    }
}

/// Deadlines of calls are kept elsewhere.
fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(None)
        .set_min_delay(MIN_DELAY)
        .set_max_delay(MAX_DELAY)
        .set_number_of_retries(ATTEMPTS)
}

fn is_read_only(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "READONLY")
}

/// A client for this URL.
pub(super) fn client(url: &str) -> Result<Client, RedisStoreError> {
    use redis::IntoConnectionInfo;

    let invalid = |_| RedisStoreError::new(RedisStoreErrorKind::InvalidUrl);
    let info = url.into_connection_info().map_err(invalid)?;
    // Commands are small, and somebody waits for each of them.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp)).map_err(invalid)
}
