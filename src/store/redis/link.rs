//! The connection: made lazily, shared by all calls, and replaced when it goes silent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Pipeline, RedisError, Value};

use super::{RedisStoreError, RedisStoreErrorKind};

/// A connection manager, which reconnects with backoff when its connection closes.
///
/// It keeps a connection whose other end has gone silent. So it is replaced here after a response timeout.
pub(super) struct Link {
    source: Source,
    state: Mutex<State>,
}

enum Source {
    /// A connection of the application, which is never replaced.
    Given(ConnectionManager),
    Own(Client, Box<ConnectionManagerConfig>),
}

#[derive(Default)]
struct State {
    manager: Option<ConnectionManager>,
    generation: u64,
}

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// A jitter of up to the same again is added to every delay.
const MIN_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 6;
/// How often commands that can be repeated are sent at most.
const MAX_QUERIES: usize = 3;

impl Link {
    pub(super) fn given(manager: ConnectionManager) -> Self {
        Self { source: Source::Given(manager), state: Mutex::default() }
    }

    /// The response timeout ends a little before the deadline of a call.
    pub(super) fn own(client: Client, deadline: Duration) -> Self {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(deadline - deadline / 10))
            .set_min_delay(MIN_DELAY)
            .set_max_delay(MAX_DELAY)
            .set_number_of_retries(ATTEMPTS);
        Self { source: Source::Own(client, Box::new(config)), state: Mutex::default() }
    }

    /// What further connections to the same server are made with.
    pub(super) fn client(&self) -> Option<&Client> {
        match &self.source {
            Source::Given(_) => None,
            Source::Own(client, _) => Some(client),
        }
    }

    /// Sends commands that can be repeated, again if the connection breaks.
    pub(super) async fn query(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisStoreError> {
        let mut queries = 1;
        loop {
            match self.send(commands).await {
                Err(error)
                    if queries < MAX_QUERIES && error.is_io_error() && !error.is_timeout() =>
                {
                    queries += 1;
                }
                values => return Ok(values?),
            }
        }
    }

    /// Sends commands at most once. After an error it is not known whether they were executed.
    pub(super) async fn execute(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisStoreError> {
        Ok(self.send(commands).await?)
    }

    async fn send(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let (mut manager, generation) = self.manager()?;
        let result = manager.req_packed_commands(commands, 0, commands.len()).await;
        let is_lost = match &result {
            // A primary that has become a replica keeps its connections. Its name may lead elsewhere.
            Ok(values) => values.iter().any(is_read_only),
            Err(error) => error.is_timeout(),
        };
        if is_lost {
            let mut state = self.state();
            if state.generation == generation {
                state.manager = None;
            }
        }
        result
    }

    /// The manager to use. A call makes it, so that it belongs to the runtime of the call.
    fn manager(&self) -> Result<(ConnectionManager, u64), RedisError> {
        let (client, config) = match &self.source {
            Source::Given(manager) => return Ok((manager.clone(), 0)),
            Source::Own(client, config) => (client, config),
        };
        let mut state = self.state();
        if let Some(manager) = &state.manager {
            return Ok((manager.clone(), state.generation));
        }
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), (**config).clone())?;
        state.generation += 1;
        state.manager = Some(manager.clone());
        Ok((manager, state.generation))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_read_only(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "READONLY")
}

/// A client for this URL.
pub(super) fn client(url: &str) -> Result<Client, RedisStoreError> {
    use redis::IntoConnectionInfo;

    let invalid = |_| RedisStoreError::new(RedisStoreErrorKind::InvalidUrl);
    let info = url.into_connection_info().map_err(invalid)?;
    // Commands are small, and a caller waits for each of them.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp)).map_err(invalid)
}
