use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row, query, raw_sql};

use super::super::sql::sortable;
use super::Failure;
use super::lease::{Connections, Lease};
use super::tables::Tables;
use crate::key::{KeyId, KeyRecord, Owner, PageCursor, StoreError, WriteOutcome};

/// The statements of a store, one trial each.
///
/// A look-up is a single message, with the id in its text: a [`KeyId`] has no character that means
/// anything in a literal. In everything else the values are bound. sqlx sends such a statement in two
/// parts, and a pooler may give either part another connection: the transaction around it keeps them
/// together. The statements have no name and leave nothing behind in the connection.
pub(super) struct Statements {
    find: String,
    insert: String,
    replace: String,
    remove: String,
    list: String,
    write_usage: String,
    read_usage: String,
}

impl Statements {
    pub(super) fn new(tables: &Tables) -> Self {
        let (keys, usage) = (tables.keys(), tables.usage());
        Self {
            find: format!("SELECT record FROM {keys} WHERE id = "),
            insert: format!(
                "INSERT INTO {keys} (id, record) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"
            ),
            replace: format!(
                "UPDATE {keys} SET record = $2 WHERE id = $1 AND version = $3::numeric"
            ),
            remove: format!("DELETE FROM {keys} WHERE owner = $1 AND id = ANY($2)"),
            list: format!(
                "SELECT record FROM {keys} WHERE owner = $1 AND (created_at, id) > ($2, $3) \
                 ORDER BY created_at, id LIMIT $4"
            ),
            // A key that is being deleted is waited for, and then left out. The order keeps two that
            // write from waiting for each other.
            write_usage: format!(
                "WITH known AS (
    SELECT id FROM {keys} WHERE id = ANY($1) ORDER BY id FOR KEY SHARE
)
INSERT INTO {usage} AS kept (id, last_used)
SELECT id, to_timestamp(max(second)) FROM unnest($1::text[], $2::bigint[]) AS used (id, second)
    JOIN known USING (id) GROUP BY id ORDER BY id
ON CONFLICT (id) DO UPDATE SET last_used = excluded.last_used
    WHERE kept.last_used < excluded.last_used"
            ),
            read_usage: format!(
                "SELECT id, extract(epoch FROM last_used)::bigint AS second FROM {usage} \
                 WHERE id = ANY($1)"
            ),
        }
    }

    pub(super) async fn find(
        &self,
        connections: &Arc<Connections>,
        id: &KeyId,
    ) -> Result<Option<KeyRecord>, Failure> {
        let mut lease = connections.take_for_look_up().await?;
        let find = raw_sql(AssertSqlSafe(format!("{}'{id}'", self.find)));
        let row = find.fetch_optional(lease.connection()?).await?;
        let record = row.as_ref().map(read).transpose()?;
        if record.as_ref().is_some_and(|record| record.id() != id) {
            return Err(other_record());
        }
        lease.give_on();
        Ok(record)
    }

    pub(super) async fn insert(
        &self,
        connections: &Arc<Connections>,
        id: &KeyId,
        text: &str,
    ) -> Result<WriteOutcome, Failure> {
        let insert = bind(&self.insert).bind(id.as_str()).bind(text);
        self.change_one(connections, insert).await
    }

    pub(super) async fn replace(
        &self,
        connections: &Arc<Connections>,
        id: &KeyId,
        text: &str,
        expected_version: u64,
    ) -> Result<WriteOutcome, Failure> {
        let replace = bind(&self.replace).bind(id.as_str()).bind(text);
        self.change_one(connections, replace.bind(expected_version.to_string())).await
    }

    pub(super) async fn remove(
        &self,
        connections: &Arc<Connections>,
        owner: &Owner,
        ids: &[String],
    ) -> Result<WriteOutcome, Failure> {
        let mut lease = begin(connections, "BEGIN").await?;
        let remove = bind(&self.remove).bind(owner.as_str()).bind(ids);
        let removed = remove.execute(lease.connection()?).await?.rows_affected();
        let (end, write) = if usize::try_from(removed) == Ok(ids.len()) {
            ("COMMIT", WriteOutcome::Applied)
        } else {
            ("ROLLBACK", WriteOutcome::Conflict)
        };
        raw_sql(end).execute(lease.connection()?).await?;
        lease.give_back();
        Ok(write)
    }

    pub(super) async fn list(
        &self,
        connections: &Arc<Connections>,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, Failure> {
        // Every text is greater than the empty one.
        let created_at = after.map(|after| sortable(after.created_at())).unwrap_or_default();
        let id = after.map(|after| after.id().as_str()).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut lease = begin(connections, "BEGIN READ ONLY").await?;
        let list = bind(&self.list).bind(owner.as_str()).bind(created_at).bind(id).bind(limit);
        let rows = list.fetch_all(lease.connection()?).await?;
        raw_sql("COMMIT").execute(lease.connection()?).await?;
        let records = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if records.iter().any(|record| record.owner() != owner) {
            return Err(other_record());
        }
        lease.give_back();
        Ok(records)
    }

    pub(super) async fn write_usage(
        &self,
        connections: &Arc<Connections>,
        ids: &[String],
        seconds: &[i64],
    ) -> Result<(), Failure> {
        let write = bind(&self.write_usage).bind(ids).bind(seconds);
        self.change_one(connections, write).await.map(drop)
    }

    /// The seconds since 1970 of the last use, by id.
    pub(super) async fn read_usage(
        &self,
        connections: &Arc<Connections>,
        ids: &[String],
    ) -> Result<HashMap<String, i64>, Failure> {
        let mut lease = begin(connections, "BEGIN READ ONLY").await?;
        let rows = bind(&self.read_usage).bind(ids).fetch_all(lease.connection()?).await?;
        raw_sql("COMMIT").execute(lease.connection()?).await?;
        let pair = |row: &PgRow| Ok((row.try_get("id")?, row.try_get("second")?));
        let seconds = rows.iter().map(pair).collect::<Result<_, sqlx::Error>>()?;
        lease.give_back();
        Ok(seconds)
    }

    async fn change_one(
        &self,
        connections: &Arc<Connections>,
        change: Query<'_, Postgres, PgArguments>,
    ) -> Result<WriteOutcome, Failure> {
        let mut lease = begin(connections, "BEGIN").await?;
        let changed = change.execute(lease.connection()?).await?.rows_affected();
        raw_sql("COMMIT").execute(lease.connection()?).await?;
        lease.give_back();
        Ok(if changed == 0 { WriteOutcome::Conflict } else { WriteOutcome::Applied })
    }
}

async fn begin(connections: &Arc<Connections>, statement: &'static str) -> Result<Lease, Failure> {
    let mut lease = connections.take().await?;
    raw_sql(statement).execute(lease.connection()?).await?;
    Ok(lease)
}

/// A statement without a name.
fn bind(statement: &str) -> Query<'static, Postgres, PgArguments> {
    query(AssertSqlSafe(statement)).persistent(false)
}

fn read(row: &PgRow) -> Result<KeyRecord, Failure> {
    Ok(KeyRecord::decode(row.try_get::<&str, _>("record")?)?)
}

fn other_record() -> Failure {
    Failure::Answer(StoreError::new("the database answered with another record"))
}
