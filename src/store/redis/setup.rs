//! What is done once: a namespace is set up, and a server is checked.

use std::collections::HashMap;

use redis::{FromRedisValue, Pipeline, Value};

use super::names::LAYOUT;
use super::scan::{ScanCursor, scanned};
use super::{RedisKeyStore, RedisStoreError, RedisStoreErrorKind};

impl RedisKeyStore {
    /// Sets a new namespace up: writes its sentinel, which distinguishes an empty namespace from one that has lost
    /// its data.
    ///
    /// Do this once in the life of a namespace, when you set the server up. An application that does it at every
    /// start defeats its purpose.
    ///
    /// The whole server is scanned for records of the namespace.
    ///
    /// # Errors
    ///
    /// `AlreadyInitialized`; `RecordsWithoutSentinel` if records are there whose sentinel is lost, which
    /// is to be mended by hand; what [`check`](Self::check) says about the server.
    pub async fn initialize(&self) -> Result<(), RedisStoreError> {
        self.check_server().await?;
        let mut cursor = ScanCursor::start();
        while !cursor.is_end() {
            let mut pipeline = self.pipeline();
            pipeline.scan(&cursor, self.names());
            let step = async {
                let (answers, sentinel) = pipeline.query_with_sentinel(self.link()).await?;
                if sentinel.is_some() {
                    return Err(RedisStoreErrorKind::AlreadyInitialized.into());
                }
                scanned(answers)
            };
            let (next, found) = self.set_up(step).await?;
            if !found.is_empty() {
                return Err(RedisStoreErrorKind::RecordsWithoutSentinel.into());
            }
            cursor = next;
        }
        self.set_up(self.write_sentinel()).await
    }

    /// Checks that the server can be used: that it answers, that the namespace is initialized, and that
    /// the server evicts no records.
    ///
    /// The `maxmemory-policy` must be `noeviction`, or one of the `volatile-` policies, which evict only
    /// keys that have a time to live: those of this store have none. A server that shows its policy
    /// neither by `CONFIG GET` nor by `INFO` is trusted.
    ///
    /// # Errors
    ///
    /// `Unreachable`, `TooSlow`, `Server`, `NotInitialized`, `UnsupportedLayout`, `Eviction`.
    pub async fn check(&self) -> Result<(), RedisStoreError> {
        self.set_up(async {
            self.pipeline().query(self.link()).await?;
            self.check_eviction().await
        })
        .await
    }

    pub(super) async fn check_server(&self) -> Result<(), RedisStoreError> {
        self.set_up(self.check_eviction()).await
    }

    async fn check_eviction(&self) -> Result<(), RedisStoreError> {
        let evicts = self
            .policy()
            .await?
            .is_some_and(|policy| policy != "noeviction" && !policy.starts_with("volatile-"));
        if evicts { Err(RedisStoreErrorKind::Eviction.into()) } else { Ok(()) }
    }

    /// The server's policy, if it shows it.
    async fn policy(&self) -> Result<Option<String>, RedisStoreError> {
        let mut commands = Pipeline::new();
        commands.cmd("CONFIG").arg("GET").arg("maxmemory-policy");
        commands.cmd("INFO").arg("memory");
        let mut answers = self.link().query(&commands).await?.into_iter();
        let settings = shown(answers.next().unwrap_or_default())?;
        let memory = shown(answers.next().unwrap_or_default())?;
        let settings = settings.and_then(|value| HashMap::from_redis_value(value).ok());
        let setting = settings
            .and_then(|mut settings: HashMap<String, String>| settings.remove("maxmemory-policy"));
        let memory = memory.and_then(|value| String::from_redis_value(value).ok());
        Ok(setting.or_else(|| {
            let memory = memory?;
            let mut policies =
                memory.lines().filter_map(|line| line.strip_prefix("maxmemory_policy:"));
            policies.next().map(|policy| policy.trim().to_owned())
        }))
    }

    /// Writes the sentinel, unless another call was faster.
    async fn write_sentinel(&self) -> Result<(), RedisStoreError> {
        let mut commands = Pipeline::new();
        commands.cmd("SET").arg(self.names().sentinel()).arg(LAYOUT).arg("NX");
        let mut answers = self.link().execute(&commands).await?;
        match answers.pop().unwrap_or_default().extract_error()? {
            Value::Okay => Ok(()),
            Value::Nil => Err(RedisStoreErrorKind::AlreadyInitialized.into()),
            _ => Err(RedisStoreErrorKind::UnexpectedReply.into()),
        }
    }

    /// Runs one step under the deadline.
    async fn set_up<T>(
        &self,
        step: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, RedisStoreError> {
        let done = self.namespace.run(async { Ok(step.await) }).await;
        done.unwrap_or_else(|_| Err(RedisStoreErrorKind::TooSlow.into()))
    }
}

/// An answer that the server may refuse to give.
fn shown(answer: Value) -> Result<Option<Value>, RedisStoreError> {
    match answer {
        Value::ServerError(error) if matches!(error.code(), "ERR" | "NOPERM") => Ok(None),
        answer => Ok(Some(answer.extract_error()?)),
    }
}
