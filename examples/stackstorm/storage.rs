//! What is kept beside the digests of tokens and keys: rules, hooks, events, and what is known about API keys.
//!
//! One SQLite file, in which a change is on the disk before it is acknowledged. One connection serves everybody, so
//! changes come one after the other.

use std::collections::HashMap;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{FromRow, Row, SqliteConnection, query, query_as, query_scalar, raw_sql};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::json::{Object, array, quoted};
use crate::query::Page;
use crate::rules::{Rule, WEBHOOK};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS rules (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,
        pack TEXT NOT NULL, description TEXT NOT NULL, enabled INTEGER NOT NULL,
        trigger_type TEXT NOT NULL, parameters TEXT NOT NULL, hook TEXT, criteria TEXT, action TEXT
    ) STRICT;
    CREATE INDEX IF NOT EXISTS rules_by_hook ON rules (hook);
    CREATE TABLE IF NOT EXISTS hooks (url TEXT PRIMARY KEY, id TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS api_keys (
        id TEXT PRIMARY KEY, metadata TEXT NOT NULL, scopes TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, trigger TEXT NOT NULL, payload TEXT,
        trace_tag TEXT NOT NULL, occurrence_time TEXT NOT NULL
    ) STRICT;";

/// Changes take turns.
const BEGIN: &str = "BEGIN IMMEDIATE";

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Storage(SqlitePool);

/// A hook that at least one rule has registered.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    /// Stays the same as long as the hook is there.
    pub(crate) id: String,
    pub(crate) url: String,
    /// That of its oldest rule.
    pub(crate) description: String,
}

/// What is known about an API key beyond its record in the key store.
#[derive(Clone, Debug)]
pub(crate) struct KeyDetails {
    /// A JSON object, as it was sent.
    pub(crate) metadata: String,
    /// A JSON array, as it was sent; `None` for a key that may do everything.
    pub(crate) scopes: Option<String>,
}

/// Something that a hook has dispatched.
#[derive(Clone, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) trigger: &'a str,
    /// A JSON text.
    pub(crate) payload: Option<&'a str>,
    pub(crate) trace_tag: &'a str,
}

/// The end of a change to a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Saved {
    Done,
    /// The name belongs to the rule with this id, and nothing was changed.
    Taken(String),
}

impl Storage {
    pub(crate) async fn open(options: SqliteConnectOptions) -> Result<Self> {
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self(pool))
    }

    /// Whether the records of a configuration are here already.
    pub(crate) async fn is_filled(&self) -> Result<bool> {
        let version: i64 = query_scalar("PRAGMA user_version").fetch_one(&self.0).await?;
        Ok(version > 0)
    }

    /// Takes over the records of a configuration, all of them at once.
    pub(crate) async fn fill(&self, rules: &[Rule], keys: &[(String, KeyDetails)]) -> Result<()> {
        let mut transaction = self.0.begin_with(BEGIN).await?;
        for rule in rules {
            save(&mut transaction, rule).await?;
        }
        for (id, details) in keys {
            save_details(&mut transaction, id, details).await?;
        }
        raw_sql("PRAGMA user_version = 1").execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// Makes these rules, or replaces those of the same names, which keep their ids.
    pub(crate) async fn put_rules(&self, rules: &[Rule]) -> Result<()> {
        let mut transaction = self.0.begin_with(BEGIN).await?;
        for rule in rules {
            let id = query_scalar("SELECT id FROM rules WHERE name = ?1").bind(&rule.name);
            let id: Option<String> = id.fetch_optional(&mut *transaction).await?;
            let id = id.unwrap_or_else(|| rule.id.clone());
            save(&mut transaction, &Rule { id, ..rule.clone() }).await?;
        }
        drop_unused_hooks(&mut transaction).await?;
        transaction.commit().await
    }

    /// All rules, by pack and name.
    pub(crate) async fn rules(&self) -> Result<Vec<Rule>> {
        query_as("SELECT * FROM rules ORDER BY pack, name").fetch_all(&self.0).await
    }

    /// The rule with this id, ref or name.
    pub(crate) async fn rule(&self, reference: &str) -> Result<Option<Rule>> {
        find_rule(&mut *self.0.acquire().await?, reference).await
    }

    pub(crate) async fn create_rule(&self, rule: &Rule) -> Result<Saved> {
        let mut transaction = self.0.begin_with(BEGIN).await?;
        let saved = save_if_free(&mut transaction, rule).await?;
        transaction.commit().await?;
        Ok(saved)
    }

    /// Puts what `change` makes of a rule in its place. No other change comes in between.
    pub(crate) async fn change_rule<E: From<sqlx::Error>>(
        &self,
        reference: &str,
        change: impl FnOnce(Option<Rule>) -> std::result::Result<Rule, E>,
    ) -> std::result::Result<(Rule, Saved), E> {
        let mut transaction = self.0.begin_with(BEGIN).await?;
        let rule = change(find_rule(&mut transaction, reference).await?)?;
        let saved = save_if_free(&mut transaction, &rule).await?;
        transaction.commit().await?;
        Ok((rule, saved))
    }

    /// `false` if there is no such rule.
    pub(crate) async fn delete_rule(&self, reference: &str) -> Result<bool> {
        let mut transaction = self.0.begin_with(BEGIN).await?;
        let Some(rule) = find_rule(&mut transaction, reference).await? else { return Ok(false) };
        query("DELETE FROM rules WHERE id = ?1").bind(rule.id).execute(&mut *transaction).await?;
        drop_unused_hooks(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// All hooks, by url.
    pub(crate) async fn hooks(&self) -> Result<Vec<Hook>> {
        query_as(HOOKS).bind(None::<&str>).fetch_all(&self.0).await
    }

    /// The hook with this url.
    pub(crate) async fn hook(&self, url: &str) -> Result<Option<Hook>> {
        query_as(HOOKS).bind(url).fetch_optional(&self.0).await
    }

    pub(crate) async fn add_event(&self, event: &Event<'_>) -> Result<()> {
        query(
            "INSERT INTO events (id, trigger, payload, trace_tag, occurrence_time)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(Uuid::new_v4().simple().to_string())
        .bind(event.trigger)
        .bind(event.payload)
        .bind(event.trace_tag)
        .bind(timestamp(OffsetDateTime::now_utc()))
        .execute(&self.0)
        .await?;
        Ok(())
    }

    /// How many events have all of these triggers, and a page of their records, newest first.
    pub(crate) async fn events(
        &self,
        triggers: &[String],
        page: Page,
    ) -> Result<(usize, Vec<String>)> {
        let triggers = array(triggers.iter().map(|trigger| quoted(trigger)));
        let mut connection = self.0.acquire().await?;
        let total: i64 = query_scalar(
            "SELECT count(*) FROM events
             WHERE NOT EXISTS (SELECT 1 FROM json_each(?1) WHERE value <> trigger)",
        )
        .bind(&triggers)
        .fetch_one(&mut *connection)
        .await?;
        let rows = query(
            "SELECT * FROM events
             WHERE NOT EXISTS (SELECT 1 FROM json_each(?1) WHERE value <> trigger)
             ORDER BY seq DESC LIMIT ?2 OFFSET ?3",
        )
        .bind(&triggers)
        // A negative limit is none.
        .bind(page.limit.map_or(-1, saturated))
        .bind(saturated(page.offset))
        .fetch_all(&mut *connection)
        .await?;
        let records = rows.iter().map(event_record).collect::<Result<Vec<_>>>()?;
        Ok((total.try_into().unwrap_or_default(), records))
    }

    pub(crate) async fn key_details(&self, id: &str) -> Result<Option<KeyDetails>> {
        query_as("SELECT metadata, scopes FROM api_keys WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.0)
            .await
    }

    /// Those of several API keys, by id.
    pub(crate) async fn details_of_keys<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<String, KeyDetails>> {
        let rows = query("SELECT * FROM api_keys WHERE id IN (SELECT value FROM json_each(?1))")
            .bind(array(ids.map(quoted)))
            .fetch_all(&self.0)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("id")?, KeyDetails::from_row(row)?))).collect()
    }

    pub(crate) async fn put_key_details(&self, id: &str, details: &KeyDetails) -> Result<()> {
        save_details(&mut *self.0.acquire().await?, id, details).await
    }

    pub(crate) async fn delete_key_details(&self, id: &str) -> Result<()> {
        query("DELETE FROM api_keys WHERE id = ?1").bind(id).execute(&self.0).await?;
        Ok(())
    }
}

/// ISO 8601 in UTC, with microseconds.
pub(crate) fn timestamp(time: OffsetDateTime) -> String {
    let (date, microsecond) = (time.date(), time.microsecond());
    let (hour, minute, second) = time.time().as_hms();
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{microsecond:06}Z")
}

/// All hooks, or the one with the url ?1.
const HOOKS: &str = "
    SELECT id, url, (SELECT description FROM rules WHERE hook = url ORDER BY seq LIMIT 1) AS description
    FROM hooks WHERE ?1 IS NULL OR url = ?1 ORDER BY url";

async fn find_rule(connection: &mut SqliteConnection, reference: &str) -> Result<Option<Rule>> {
    query_as(
        "SELECT * FROM rules WHERE ?1 IN (id, pack || '.' || name, name)
         ORDER BY id = ?1 DESC, pack || '.' || name = ?1 DESC, seq LIMIT 1",
    )
    .bind(reference)
    .fetch_optional(connection)
    .await
}

async fn save_if_free(connection: &mut SqliteConnection, rule: &Rule) -> Result<Saved> {
    let other = query_scalar("SELECT id FROM rules WHERE name = ?1 AND id <> ?2");
    let other = other.bind(&rule.name).bind(&rule.id).fetch_optional(&mut *connection).await?;
    if let Some(other) = other {
        return Ok(Saved::Taken(other));
    }
    save(connection, rule).await?;
    drop_unused_hooks(connection).await?;
    Ok(Saved::Done)
}

/// Writes a rule in the place of the one with its id, and makes its hook.
async fn save(connection: &mut SqliteConnection, rule: &Rule) -> Result<()> {
    query(
        "INSERT INTO rules (id, name, pack, description, enabled, trigger_type, parameters, hook, criteria, action)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET name = ?2, pack = ?3, description = ?4, enabled = ?5,
             trigger_type = ?6, parameters = ?7, hook = ?8, criteria = ?9, action = ?10",
    )
    .bind(&rule.id)
    .bind(&rule.name)
    .bind(&rule.pack)
    .bind(&rule.description)
    .bind(rule.enabled)
    .bind(&rule.trigger_type)
    .bind(&rule.parameters)
    .bind(&rule.hook)
    .bind(&rule.criteria)
    .bind(&rule.action)
    .execute(&mut *connection)
    .await?;
    if let Some(hook) = &rule.hook {
        query("INSERT OR IGNORE INTO hooks (url, id) VALUES (?1, ?2)")
            .bind(hook)
            .bind(Uuid::new_v4().simple().to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A hook is there as long as a rule has its url.
async fn drop_unused_hooks(connection: &mut SqliteConnection) -> Result<()> {
    query("DELETE FROM hooks WHERE url NOT IN (SELECT hook FROM rules WHERE hook IS NOT NULL)")
        .execute(connection)
        .await?;
    Ok(())
}

async fn save_details(
    connection: &mut SqliteConnection,
    id: &str,
    details: &KeyDetails,
) -> Result<()> {
    query("INSERT OR REPLACE INTO api_keys (id, metadata, scopes) VALUES (?1, ?2, ?3)")
        .bind(id)
        .bind(&details.metadata)
        .bind(&details.scopes)
        .execute(connection)
        .await?;
    Ok(())
}

fn event_record(row: &SqliteRow) -> Result<String> {
    let payload: Option<&str> = row.try_get("payload")?;
    Ok(Object::new()
        .text("id", row.try_get("id")?)
        .text("trigger", row.try_get("trigger")?)
        .raw("payload", payload.unwrap_or("null"))
        .text("trace_tag", row.try_get("trace_tag")?)
        .text("occurrence_time", row.try_get("occurrence_time")?)
        .finish())
}

fn saturated(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Hook {
    pub(crate) fn reference(&self) -> String {
        format!("core.{}", self.id)
    }

    /// The hook as a JSON text.
    pub(crate) fn record(&self) -> String {
        Object::new()
            .text("id", &self.id)
            .text("uid", &format!("trigger:core:{}", self.id))
            .text("ref", &self.reference())
            .text("name", &self.id)
            .text("pack", "core")
            .text("type", WEBHOOK)
            .raw("parameters", &Object::new().text("url", &self.url).finish())
            .text("description", &self.description)
            .finish()
    }
}

impl FromRow<'_, SqliteRow> for Hook {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            url: row.try_get("url")?,
            description: row.try_get("description")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for KeyDetails {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self { metadata: row.try_get("metadata")?, scopes: row.try_get("scopes")? })
    }
}

impl FromRow<'_, SqliteRow> for Rule {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            pack: row.try_get("pack")?,
            description: row.try_get("description")?,
            enabled: row.try_get("enabled")?,
            trigger_type: row.try_get("trigger_type")?,
            parameters: row.try_get("parameters")?,
            hook: row.try_get("hook")?,
            criteria: row.try_get("criteria")?,
            action: row.try_get("action")?,
        })
    }
}
