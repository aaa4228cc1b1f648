//! What is sent to the server, and how its answers are read.

use std::mem;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Pipeline, Script, ServerErrorKind, ToRedisArgs, Value};

use super::link::{Answers, Link};
use super::names::LAYOUT;
use super::{RedisStoreError, RedisStoreErrorKind};

/// What the scripts have in common: `KEYS[1]` is the sentinel, `ARGV[1]` names the call, `ARGV[2]` is
/// what the sentinel says, `ARGV[3]` is the channel of changes. Whatever can fail comes before the
/// first write, since what a script has written stays.
const HEAD: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return {ARGV[1], 'sentinel'} end
";

/// `KEYS`: sentinel, record, index. `ARGV`: .., id, record, member.
const INSERT: &str = "
redis.call('ZCARD', KEYS[3])
if redis.call('GET', KEYS[2]) then return {ARGV[1], 'other'} end
redis.call('PUBLISH', ARGV[3], ARGV[4])
redis.call('SET', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[3], 0, ARGV[6])
return {ARGV[1], 'done'}
";

/// `KEYS`: sentinel, record, old index, new index. `ARGV`: .., id, old record, new record, old member,
/// new member.
const REPLACE: &str = "
redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
if redis.call('GET', KEYS[2]) ~= ARGV[5] then return {ARGV[1], 'other'} end
redis.call('PUBLISH', ARGV[3], ARGV[4])
redis.call('SET', KEYS[2], ARGV[6])
redis.call('ZREM', KEYS[3], ARGV[7])
redis.call('ZADD', KEYS[4], 0, ARGV[8])
return {ARGV[1], 'done'}
";

/// `KEYS`: sentinel, index, usage, and every record. `ARGV`: .., and id, record and member of each of
/// them.
const REMOVE: &str = "
redis.call('ZCARD', KEYS[2])
redis.call('ZCARD', KEYS[3])
for i = 4, #KEYS do
  if redis.call('GET', KEYS[i]) ~= ARGV[i * 3 - 7] then return {ARGV[1], 'other'} end
end
for i = 4, #KEYS do redis.call('PUBLISH', ARGV[3], ARGV[i * 3 - 8]) end
for i = 4, #KEYS do
  redis.call('DEL', KEYS[i])
  redis.call('ZREM', KEYS[2], ARGV[i * 3 - 6])
  redis.call('ZREM', KEYS[3], ARGV[i * 3 - 8])
end
return {ARGV[1], 'done'}
";

/// `KEYS`: sentinel, usage, and every record. `ARGV`: .., and the second and id of each of them.
const USAGE: &str = "
redis.call('ZCARD', KEYS[2])
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('ZADD', KEYS[2], 'GT', ARGV[i * 2 - 2], ARGV[i * 2 - 1])
  end
end
return {ARGV[1], 'done'}
";

static INSERT_SCRIPT: LazyLock<WriteScript> = LazyLock::new(|| WriteScript::new(INSERT));
static REPLACE_SCRIPT: LazyLock<WriteScript> = LazyLock::new(|| WriteScript::new(REPLACE));
static REMOVE_SCRIPT: LazyLock<WriteScript> = LazyLock::new(|| WriteScript::new(REMOVE));
static USAGE_SCRIPT: LazyLock<WriteScript> = LazyLock::new(|| WriteScript::new(USAGE));

/// A script that changes records, or when they were used: all of them or none.
pub(super) struct WriteScript {
    code: String,
    script: Script,
}

impl WriteScript {
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

    fn new(body: &str) -> Self {
        let code = [HEAD, body].concat();
        Self { script: Script::new(&code), code }
    }
}

/// What a script did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    Done,
    /// A record is not the one that the script was told of. Nothing was changed.
    Other,
}

/// How many replicas must have a change, and how long the server waits for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) replicas: usize,
    pub(super) timeout: Duration,
}

/// Commands that change nothing, followed by a look at the sentinel.
///
/// The sentinel comes last: if it is there, so was everything that a command before it did not find.
pub(super) struct Question {
    commands: Pipeline,
    token: String,
    sentinel: String,
}

impl Question {
    pub(super) fn new(sentinel: String) -> Self {
        let token = token();
        // A look-up is three commands.
        let mut question = Self { commands: Pipeline::with_capacity(3), token, sentinel };
        let token = question.token.clone();
        question.arg("ECHO", token);
        question
    }

    pub(super) fn arg(&mut self, name: &str, arguments: impl ToRedisArgs) {
        let mut command = Cmd::with_capacity(2, 128);
        command.arg(name).arg(arguments);
        self.commands.add_command(command);
    }

    /// The answers to the commands, if the sentinel is in order.
    pub(super) async fn ask(self, link: &Link) -> Result<Vec<Value>, RedisStoreError> {
        let (answers, sentinel) = self.look(link).await?;
        match sentinel.as_deref() {
            Some(layout) if layout == LAYOUT.as_bytes() => Ok(answers),
            Some(_) => Err(RedisStoreErrorKind::UnsupportedLayout.into()),
            None => Err(RedisStoreErrorKind::NotInitialized.into()),
        }
    }

    /// The answers to the commands, and the sentinel.
    pub(super) async fn look(
        mut self,
        link: &Link,
    ) -> Result<(Vec<Value>, Option<Vec<u8>>), RedisStoreError> {
        let sentinel = mem::take(&mut self.sentinel);
        self.arg("GET", sentinel);
        let expected = self.commands.len();
        let answers = link.ask(&self.commands).await?;
        let mut answers = bound(link, answers, &self.token, expected)?;
        let sentinel = answers.pop().unwrap_or_default();
        let sentinel = text(sentinel)?;
        Ok((answers, sentinel))
    }
}

/// A call of a script.
pub(super) struct Change {
    script: &'static WriteScript,
    token: String,
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl Change {
    pub(super) fn new(script: &'static WriteScript, sentinel: String, channel: String) -> Self {
        let token = token();
        let arguments = vec![token.clone(), LAYOUT.to_owned(), channel];
        Self { script, token, keys: vec![sentinel], arguments }
    }

    pub(super) fn keys(mut self, keys: impl IntoIterator<Item = String>) -> Self {
        self.keys.extend(keys);
        self
    }

    pub(super) fn arguments(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// Runs the script once.
    pub(super) async fn make(
        self,
        link: &Link,
        wait: Option<Wait>,
    ) -> Result<Written, RedisStoreError> {
        let by_hash = self.commands("EVALSHA", self.script.script.get_hash(), wait);
        let mut answers = link.tell(&by_hash).await?;
        if matches!(answers.values.first(), Some(answer) if is_unknown_script(answer)) {
            let by_code = self.commands("EVAL", &self.script.code, wait);
            answers = link.tell(&by_code).await?;
        }
        let Answers { values, generation } = answers;
        let mut values = values.into_iter();
        let written = self.written(values.next().unwrap_or_default())?;
        let written = written.ok_or_else(|| link.unexpected(generation))?;
        if let (Written::Done, Some(wait)) = (written, wait) {
            let Value::Int(replicas) = values.next().unwrap_or_default().extract_error()? else {
                return Err(link.unexpected(generation));
            };
            if usize::try_from(replicas).is_ok_and(|replicas| replicas < wait.replicas) {
                return Err(RedisStoreErrorKind::NotDurable.into());
            }
        }
        Ok(written)
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

    /// What the script did, if it is the answer to this very call.
    fn written(&self, answer: Value) -> Result<Option<Written>, RedisStoreError> {
        let Value::Array(parts) = answer.extract_error()? else {
            return Ok(None);
        };
        Ok(match parts.as_slice() {
            [Value::BulkString(token), Value::BulkString(outcome)]
                if token == self.token.as_bytes() =>
            {
                match outcome.as_slice() {
                    b"done" => Some(Written::Done),
                    b"other" => Some(Written::Other),
                    b"sentinel" => return Err(RedisStoreErrorKind::NotInitialized.into()),
                    _ => None,
                }
            }
            _ => None,
        })
    }
}

/// The answers behind the one to `ECHO`, if that is the answer to this very call.
///
/// A client or a proxy that has lost count hands out the answers of another call. An answer of "not
/// there" has nothing in it that would tell.
fn bound(
    link: &Link,
    answers: Answers,
    token: &str,
    expected: usize,
) -> Result<Vec<Value>, RedisStoreError> {
    let Answers { mut values, generation } = answers;
    if values.len() != expected || values.is_empty() {
        return Err(link.unexpected(generation));
    }
    match values.remove(0).extract_error()? {
        Value::BulkString(bytes) if bytes == token.as_bytes() => Ok(values),
        _ => Err(link.unexpected(generation)),
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

/// A name for one call that no other call of this process has.
fn token() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
