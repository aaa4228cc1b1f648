use std::collections::HashMap;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, PgPool, Postgres, Row, query, raw_sql};

use super::retry::{Attempt, Failure};
use super::tables::Tables;
use crate::key::{KeyId, KeyRecord, Owner, PageCursor, StoreError, WriteOutcome};
use crate::store::sql::{Checkout, SCAN_PAGE_LEN, sortable};

/// The statements of a store, one attempt each. Every value is bound.
///
/// A look-up is one prepared statement, which each connection keeps. Everything else is a transaction with a
/// statement without a name, which leaves nothing behind in the connection. sqlx sends such a statement in two
/// parts, and the transaction keeps both on one connection of a pooler.
pub(super) struct Statements {
    pool: PgPool,
    transaction_pooling: bool,
    find: String,
    insert: String,
    replace: String,
    remove: String,
    list: String,
    scan: String,
    write_usage: String,
    read_usage: String,
}

impl Statements {
    pub(super) fn new(pool: PgPool, tables: &Tables, transaction_pooling: bool) -> Self {
        let (keys, usage) = (tables.keys(), tables.usage());
        Self {
            pool,
            transaction_pooling,
            find: format!("SELECT record FROM {keys} WHERE id = $1"),
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
            scan: format!(
                "SELECT id, record FROM {keys} WHERE id > $1 ORDER BY id LIMIT {SCAN_PAGE_LEN}"
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
        attempt: Attempt,
        id: &KeyId,
    ) -> Result<Option<KeyRecord>, Failure> {
        let row = if self.transaction_pooling {
            let mut checkout = self.begin(attempt, "BEGIN READ ONLY").await?;
            let find = bind(&self.find).bind(id.as_str());
            let row = find.fetch_optional(checkout.connection()?).await?;
            commit(checkout).await?;
            row
        } else {
            let mut checkout = acquire(&self.pool, attempt).await?;
            let find = query(AssertSqlSafe(self.find.as_str())).bind(id.as_str());
            let row = find.fetch_optional(checkout.connection()?).await?;
            checkout.finish();
            row
        };
        let record = row.as_ref().map(read).transpose()?;
        if record.as_ref().is_some_and(|record| record.id() != id) {
            return Err(other_record());
        }
        Ok(record)
    }

    pub(super) async fn insert(
        &self,
        attempt: Attempt,
        id: &KeyId,
        text: &str,
    ) -> Result<WriteOutcome, Failure> {
        let insert = bind(&self.insert).bind(id.as_str()).bind(text);
        match self.change_one(attempt, insert).await? {
            WriteOutcome::Conflict if attempt.outcome_unknown => {
                self.resolve_unknown_outcome(id, text).await
            }
            write => Ok(write),
        }
    }

    pub(super) async fn replace(
        &self,
        attempt: Attempt,
        id: &KeyId,
        text: &str,
        expected_version: u64,
    ) -> Result<WriteOutcome, Failure> {
        let replace = bind(&self.replace).bind(id.as_str()).bind(text);
        match self.change_one(attempt, replace.bind(expected_version.to_string())).await? {
            WriteOutcome::Conflict if attempt.outcome_unknown => {
                self.resolve_unknown_outcome(id, text).await
            }
            write => Ok(write),
        }
    }

    /// Whether the conflict of a retry is with the change of an earlier attempt.
    async fn resolve_unknown_outcome(
        &self,
        id: &KeyId,
        text: &str,
    ) -> Result<WriteOutcome, Failure> {
        let stored = self.find(Attempt::default(), id).await?;
        if stored.is_some_and(|stored| stored.encode() == text) {
            return Ok(WriteOutcome::Applied);
        }
        Err(unknown_outcome())
    }

    pub(super) async fn remove(
        &self,
        attempt: Attempt,
        owner: &Owner,
        ids: &[String],
    ) -> Result<WriteOutcome, Failure> {
        let mut checkout = self.begin(attempt, "BEGIN").await?;
        let remove = bind(&self.remove).bind(owner.as_str()).bind(ids);
        let removed = remove.execute(checkout.connection()?).await?.rows_affected();
        if usize::try_from(removed) == Ok(ids.len()) {
            commit(checkout).await?;
            return Ok(WriteOutcome::Applied);
        }
        raw_sql("ROLLBACK").execute(checkout.connection()?).await?;
        checkout.finish();
        // The records may be gone because of an earlier attempt.
        if attempt.outcome_unknown { Err(unknown_outcome()) } else { Ok(WriteOutcome::Conflict) }
    }

    pub(super) async fn list(
        &self,
        attempt: Attempt,
        owner: &Owner,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, Failure> {
        // Every text is greater than the empty one.
        let created_at = after.map(|after| sortable(after.created_at())).unwrap_or_default();
        let id = after.map(|after| after.id().as_str()).unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut checkout = self.begin(attempt, "BEGIN READ ONLY").await?;
        let list = bind(&self.list).bind(owner.as_str()).bind(created_at).bind(id).bind(limit);
        let rows = list.fetch_all(checkout.connection()?).await?;
        commit(checkout).await?;
        let records = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if records.iter().any(|record| record.owner() != owner) {
            return Err(other_record());
        }
        Ok(records)
    }

    /// The next records of a scan over all owners.
    pub(super) async fn scan(
        &self,
        attempt: Attempt,
        after: &str,
    ) -> Result<Vec<KeyRecord>, Failure> {
        let mut checkout = self.begin(attempt, "BEGIN READ ONLY").await?;
        let rows = bind(&self.scan).bind(after).fetch_all(checkout.connection()?).await?;
        commit(checkout).await?;
        let read_own = |row: &PgRow| {
            let record = read(row)?;
            let is_own = record.id().as_str() == row.try_get::<&str, _>("id")?;
            if is_own { Ok(record) } else { Err(other_record()) }
        };
        rows.iter().map(read_own).collect()
    }

    pub(super) async fn write_usage(
        &self,
        attempt: Attempt,
        ids: &[String],
        seconds: &[i64],
    ) -> Result<(), Failure> {
        let write = bind(&self.write_usage).bind(ids).bind(seconds);
        self.change_one(attempt, write).await.map(drop)
    }

    /// The seconds since 1970 of the last use, by id.
    pub(super) async fn read_usage(
        &self,
        attempt: Attempt,
        ids: &[String],
    ) -> Result<HashMap<String, i64>, Failure> {
        let mut checkout = self.begin(attempt, "BEGIN READ ONLY").await?;
        let rows = bind(&self.read_usage).bind(ids).fetch_all(checkout.connection()?).await?;
        commit(checkout).await?;
        let pair = |row: &PgRow| Ok((row.try_get("id")?, row.try_get("second")?));
        Ok(rows.iter().map(pair).collect::<Result<_, sqlx::Error>>()?)
    }

    async fn change_one(
        &self,
        attempt: Attempt,
        change: Query<'_, Postgres, PgArguments>,
    ) -> Result<WriteOutcome, Failure> {
        let mut checkout = self.begin(attempt, "BEGIN").await?;
        let changed = change.execute(checkout.connection()?).await?.rows_affected();
        commit(checkout).await?;
        Ok(if changed == 0 { WriteOutcome::Conflict } else { WriteOutcome::Applied })
    }

    async fn begin(
        &self,
        attempt: Attempt,
        statement: &'static str,
    ) -> Result<Checkout<Postgres>, Failure> {
        let mut checkout = acquire(&self.pool, attempt).await?;
        raw_sql(statement).execute(checkout.connection()?).await?;
        Ok(checkout)
    }
}

/// A connection of the pool. A retry pings it first: when one connection is broken, others may be.
pub(crate) async fn acquire(
    pool: &PgPool,
    attempt: Attempt,
) -> Result<Checkout<Postgres>, Failure> {
    loop {
        let mut checkout = Checkout::acquire(pool).await.map_err(Failure::Acquire)?;
        if attempt.failed == 0 || checkout.connection()?.ping().await.is_ok() {
            return Ok(checkout);
        }
    }
}

async fn commit(mut checkout: Checkout<Postgres>) -> Result<(), Failure> {
    raw_sql("COMMIT").execute(checkout.connection()?).await?;
    checkout.finish();
    Ok(())
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

fn unknown_outcome() -> Failure {
    Failure::Answer(StoreError::new(
        "a connection broke, and it is not known whether the change was made",
    ))
}
