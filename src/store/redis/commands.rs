//! What is sent to the server, and how its answers are read.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Pipeline, Script, ServerErrorKind, ToRedisArgs, Value};

use super::link::Link;
use super::names::LAYOUT;
use super::{RedisStoreError, RedisStoreErrorKind};

/// What the scripts that change records have in common: `KEYS[1]` is the sentinel, `ARGV[1]` its expected value, `ARGV[2]` the
/// channel of changes. Commands that can fail come before the first write: a script is not rolled back.
const HEAD: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'sentinel' end
";

/// `KEYS`: sentinel, record, index. `ARGV`: .., id, record, member.
const INSERT: &str = "
redis.call('ZCARD', KEYS[3])
if redis.call('GET', KEYS[2]) then return 'mismatch' end
redis.call('PUBLISH', ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4])
redis.call('ZADD', KEYS[3], 0, ARGV[5])
return 'done'
";

/// Compare-and-set. `KEYS`: sentinel, record, old index, new index. `ARGV`: .., id, old record, new record, old
/// member, new member.
const REPLACE: &str = "
redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
if redis.call('GET', KEYS[2]) ~= ARGV[4] then return 'mismatch' end
redis.call('PUBLISH', ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], ARGV[5])
redis.call('ZREM', KEYS[3], ARGV[6])
redis.call('ZADD', KEYS[4], 0, ARGV[7])
return 'done'
";

/// `KEYS`: sentinel, index, usage, and every record. `ARGV`: .., and id, record and member of each of
/// them.
const REMOVE: &str = "
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[3])
for i = 4, #KEYS do
  if redis.call('GET', KEYS[i]) ~= ARGV[i * 3 - 8] then return 'mismatch' end
end
for i = 4, #KEYS do redis.call('PUBLISH', ARGV[2], ARGV[i * 3 - 9]) end
for i = 4, #KEYS do
  redis.call('DEL', KEYS[i])
  redis.call('ZREM', KEYS[2], ARGV[i * 3 - 7])
  redis.call('ZREM', KEYS[3], ARGV[i * 3 - 9])
end
return 'done'
";

/// `KEYS`: sentinel, usage, and every record. `ARGV`: .., and the second and id of each of them.
const USAGE: &str = "
redis.call('ZCARD', KEYS[2])
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('ZADD', KEYS[2], 'GT', ARGV[i * 2 - 3], ARGV[i * 2 - 2])
  end
end
return 'done'
";

static INSERT_SCRIPT: LazyLock<Lua> = LazyLock::new(|| Lua::change(INSERT));
static REPLACE_SCRIPT: LazyLock<Lua> = LazyLock::new(|| Lua::change(REPLACE));
static REMOVE_SCRIPT: LazyLock<Lua> = LazyLock::new(|| Lua::change(REMOVE));
static USAGE_SCRIPT: LazyLock<Lua> = LazyLock::new(|| Lua::change(USAGE));

/// A script, which a server runs as one command.
pub(super) struct Lua {
    code: String,
    script: Script,
}

impl Lua {
    pub(super) fn insert() -> &'static Self {
        &INSERT_SCRIPT
    }

    pub(super) fn replace() -> &'static Self {
        &REPLACE_SCRIPT
    }

    pub(super) fn remove() -> &'static Self {
        &REMOVE_SCRIPT
    }

    pub(super) fn usage() -> &'static Self {
        &USAGE_SCRIPT
    }

    pub(super) fn new(code: String) -> Self {
        Self { script: Script::new(&code), code }
    }

    /// A script that changes records, or when they were used: all of them or none.
    fn change(body: &str) -> Self {
        Self::new([HEAD, body].concat())
    }
}

/// What a script did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    Done,
    /// A stored record is not the expected one. Nothing was changed.
    Mismatch,
}

/// How many replicas must have a change, and how long the server waits for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) replicas: usize,
    pub(super) timeout: Duration,
}

/// Commands that only read, followed by a `GET` of the sentinel.
///
/// The sentinel comes last: if it is there, no record that a command before it did not find was lost.
pub(super) struct ReadPipeline {
    commands: Pipeline,
    sentinel: String,
}

impl ReadPipeline {
    pub(super) fn new(sentinel: String) -> Self {
        // A look-up is two commands.
        Self { commands: Pipeline::with_capacity(2), sentinel }
    }

    pub(super) fn arg(&mut self, name: &str, arguments: impl ToRedisArgs) {
        let mut command = Cmd::with_capacity(2, 128);
        command.arg(name).arg(arguments);
        self.commands.add_command(command);
    }

    /// The answers to the commands, if the sentinel is in order.
    pub(super) async fn query(self, link: &Link) -> Result<Vec<Value>, RedisStoreError> {
        let (answers, sentinel) = self.query_with_sentinel(link).await?;
        match sentinel.as_deref() {
            Some(layout) if layout == LAYOUT.as_bytes() => Ok(answers),
            Some(_) => Err(RedisStoreErrorKind::UnsupportedLayout.into()),
            None => Err(RedisStoreErrorKind::NotInitialized.into()),
        }
    }

    /// The answers to the commands, and the sentinel.
    pub(super) async fn query_with_sentinel(
        mut self,
        link: &Link,
    ) -> Result<(Vec<Value>, Option<Vec<u8>>), RedisStoreError> {
        let sentinel = std::mem::take(&mut self.sentinel);
        self.arg("GET", sentinel);
        let expected = self.commands.len();
        let mut answers = link.query(&self.commands).await?;
        if answers.len() != expected {
            return Err(RedisStoreErrorKind::UnexpectedReply.into());
        }
        let sentinel = text(answers.pop().unwrap_or_default())?;
        Ok((answers, sentinel))
    }
}

/// A call of a script.
pub(super) struct ScriptCall {
    script: &'static Lua,
    keys: Vec<String>,
    arguments: Vec<String>,
    is_repeatable: bool,
}

impl ScriptCall {
    pub(super) fn new(script: &'static Lua) -> Self {
        Self { script, keys: Vec::new(), arguments: Vec::new(), is_repeatable: false }
    }

    pub(super) fn keys(mut self, keys: impl IntoIterator<Item = String>) -> Self {
        self.keys.extend(keys);
        self
    }

    pub(super) fn arguments(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// Lets the script be run again if the connection breaks.
    pub(super) fn repeatable(self) -> Self {
        Self { is_repeatable: true, ..self }
    }

    /// Runs a script that changes records.
    pub(super) async fn execute(
        self,
        link: &Link,
        wait: Option<Wait>,
    ) -> Result<Written, RedisStoreError> {
        let mut values = self.run(link, wait).await?.into_iter();
        let unexpected = || RedisStoreErrorKind::UnexpectedReply;
        let written = text(values.next().unwrap_or_default())?;
        let written = match written.as_deref() {
            Some(b"done") => Written::Done,
            Some(b"mismatch") => Written::Mismatch,
            Some(b"sentinel") => return Err(RedisStoreErrorKind::NotInitialized.into()),
            _ => return Err(unexpected().into()),
        };
        if let (Written::Done, Some(wait)) = (written, wait) {
            let Value::Int(replicas) = values.next().unwrap_or_default().extract_error()? else {
                return Err(unexpected().into());
            };
            if usize::try_from(replicas).is_ok_and(|replicas| replicas < wait.replicas) {
                return Err(RedisStoreErrorKind::NotDurable.into());
            }
        }
        Ok(written)
    }

    /// What the script returns.
    pub(super) async fn query(self, link: &Link) -> Result<Value, RedisStoreError> {
        Ok(self.run(link, None).await?.pop().unwrap_or_default().extract_error()?)
    }

    /// Sends the hash of the script, and its code to a server that does not know it.
    async fn run(&self, link: &Link, wait: Option<Wait>) -> Result<Vec<Value>, RedisStoreError> {
        let by_hash = self.commands("EVALSHA", self.script.script.get_hash(), wait);
        let values = self.send(link, &by_hash).await?;
        if !matches!(values.first(), Some(answer) if is_unknown_script(answer)) {
            return Ok(values);
        }
        let by_code = self.commands("EVAL", &self.script.code, wait);
        self.send(link, &by_code).await
    }

    async fn send(&self, link: &Link, commands: &Pipeline) -> Result<Vec<Value>, RedisStoreError> {
        match self.is_repeatable {
            true => link.query(commands).await,
            false => link.execute(commands).await,
        }
    }

    fn commands(&self, name: &str, script: &str, wait: Option<Wait>) -> Pipeline {
        let mut commands = Pipeline::new();
        commands.cmd(name).arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        if let Some(wait) = wait {
            let milliseconds = u64::try_from(wait.timeout.as_millis()).unwrap_or(u64::MAX);
            commands.cmd("WAIT").arg(wait.replicas).arg(milliseconds.max(1));
        }
        commands
    }
}

/// A text, or nothing where there is none.
pub(super) fn text(answer: Value) -> Result<Option<Vec<u8>>, RedisStoreError> {
    match answer.extract_error()? {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(RedisStoreErrorKind::UnexpectedReply.into()),
    }
}

/// A list.
pub(super) fn list(answer: Value) -> Result<Vec<Value>, RedisStoreError> {
    match answer.extract_error()? {
        Value::Array(values) => Ok(values),
        _ => Err(RedisStoreErrorKind::UnexpectedReply.into()),
    }
}

fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}
