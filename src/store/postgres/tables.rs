use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row, query, raw_sql};

use super::retry::{Attempt, Failure};
use super::schema;
use super::statements::acquire;
use crate::ConfigError;
use crate::key::StoreError;
use crate::store::sql::Checkout;

/// Where the tables are. Every name is a checked identifier, and quoted because it may be a word of SQL.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    schema: String,
    prefix: String,
}

/// The key of an advisory lock: the migrations of a database wait for each other.
const MIGRATION_LOCK: i64 = 0x7477_6877_6b65_7973;

impl Default for Tables {
    fn default() -> Self {
        Self { schema: "public".to_owned(), prefix: "webhook_".to_owned() }
    }
}

impl Tables {
    pub(crate) fn with_schema(mut self, schema: &str) -> Result<Self, ConfigError> {
        schema.clone_into(&mut self.schema);
        if is_identifier(schema) { Ok(self) } else { Err(ConfigError::new(INVALID_SCHEMA)) }
    }

    pub(crate) fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        prefix.clone_into(&mut self.prefix);
        if is_identifier(prefix) { Ok(self) } else { Err(ConfigError::new(INVALID_PREFIX)) }
    }

    /// The table of the keys.
    pub(super) fn keys(&self) -> String {
        self.named("keys")
    }

    /// The table of the times of last use.
    pub(super) fn usage(&self) -> String {
        self.named("key_usage")
    }

    /// The table with the version of the schema.
    pub(super) fn version(&self) -> String {
        self.named("keys_schema")
    }

    /// The name of something that belongs to the tables, in their schema.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("\"{}\".\"{}{name}\"", self.schema, self.prefix)
    }

    /// What the names of things begin with that have no schema of their own, such as indexes.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The channel of notifications about the table of the keys: a hash of its name, which can be longer than
    /// the 63 bytes of a channel's.
    pub(super) fn channel(&self) -> String {
        let table = format!("{}.{}keys", self.schema, self.prefix);
        let hash = Sha256::digest(table.as_bytes());
        let hash =
            hash.iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        format!("{}{hash}", schema::CHANNEL_PREFIX)
    }

    /// Makes the table of deliveries, if it is missing.
    #[cfg(feature = "signature")]
    pub(super) async fn make_replays(
        &self,
        pool: &PgPool,
        attempt: Attempt,
    ) -> Result<(), Failure> {
        let mut checkout = self.begin_migration(pool, attempt).await?;
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (
    key bytea PRIMARY KEY,
    claim bytea NOT NULL,
    until timestamptz NOT NULL,
    response text
);
CREATE INDEX IF NOT EXISTS \"{prefix}replays_by_end\" ON {table} (until);
COMMIT",
            table = self.named("replays"),
            prefix = self.prefix(),
        );
        raw_sql(AssertSqlSafe(create)).execute(checkout.connection()?).await?;
        checkout.finish();
        Ok(())
    }

    /// A transaction in which migrations wait for each other, with the schema in place.
    pub(crate) async fn begin_migration(
        &self,
        pool: &PgPool,
        attempt: Attempt,
    ) -> Result<Checkout<Postgres>, Failure> {
        let mut checkout = acquire(pool, attempt).await?;
        // Not in a transaction that is read-only because the session is, and without a notice of each table that is there.
        let begin = format!(
            "BEGIN READ WRITE; SET LOCAL client_min_messages = warning;
SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        );
        raw_sql(AssertSqlSafe(begin)).fetch_all(checkout.connection()?).await?;

        // `CREATE SCHEMA IF NOT EXISTS` asks for the permission before it looks.
        let schema = query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(&self.schema);
        let schema = schema.persistent(false).fetch_optional(checkout.connection()?).await?;
        if schema.is_none() {
            let create = format!("CREATE SCHEMA \"{}\"", self.schema);
            raw_sql(AssertSqlSafe(create)).execute(checkout.connection()?).await?;
        }
        Ok(checkout)
    }

    pub(super) async fn migrate(&self, pool: &PgPool, attempt: Attempt) -> Result<(), Failure> {
        let mut checkout = self.begin_migration(pool, attempt).await?;
        let exists = query("SELECT to_regclass($1) IS NOT NULL AS found").bind(self.version());
        let exists = exists.persistent(false).fetch_one(checkout.connection()?).await?;
        let found = exists.try_get("found")?;
        let version = if found { self.read_version(&mut checkout).await? } else { 0 };
        let steps = schema::steps_from(version, self).ok_or_else(other_version)?;
        for step in steps {
            raw_sql(AssertSqlSafe(step)).execute(checkout.connection()?).await?;
        }
        raw_sql("COMMIT").execute(checkout.connection()?).await?;
        checkout.finish();
        Ok(())
    }

    pub(super) async fn check(&self, pool: &PgPool, attempt: Attempt) -> Result<(), Failure> {
        let mut checkout = acquire(pool, attempt).await?;
        if self.read_version(&mut checkout).await? != schema::VERSION {
            return Err(other_version());
        }
        let columns = format!("SELECT record FROM {} WHERE id = ''", self.keys());
        raw_sql(AssertSqlSafe(columns)).fetch_optional(checkout.connection()?).await?;
        checkout.finish();
        Ok(())
    }

    async fn read_version(&self, checkout: &mut Checkout<Postgres>) -> Result<i32, Failure> {
        let version = format!("SELECT version FROM {}", self.version());
        let rows = raw_sql(AssertSqlSafe(version)).fetch_all(checkout.connection()?).await?;
        let [row] = &*rows else {
            return Err(Failure::Answer(StoreError::new("the key tables have no version")));
        };
        Ok(row.try_get("version")?)
    }
}

fn other_version() -> Failure {
    Failure::Answer(StoreError::new("the key tables are of another version"))
}

const INVALID_SCHEMA: &str =
    "a schema is 1 to 40 lower case letters, digits and underscores, and starts with no digit";
const INVALID_PREFIX: &str = "a table prefix is 1 to 40 lower case letters, digits and underscores, and starts with no digit";

/// 40 bytes and the longest name behind a prefix are less than the 63 that PostgreSQL keeps.
fn is_identifier(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=40).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_identifier_or_refused() {
        for name in ["a", "_", "select", "app_keys", "a1", &"a".repeat(40)] {
            assert!(Tables::default().with_schema(name).is_ok(), "{name}");
            assert!(Tables::default().with_prefix(name).is_ok(), "{name}");
        }
        for name in ["", "A", "1a", "a b", "a\"", "a'", "a;", "a.b", "ä", "a\0", &"a".repeat(41)] {
            assert!(Tables::default().with_schema(name).is_err(), "{name}");
            assert!(Tables::default().with_prefix(name).is_err(), "{name}");
        }
    }
}
