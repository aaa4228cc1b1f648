//! Leases under the limits of hooks: which hooks have jobs that are due, how many each may give, and the changes that
//! take jobs and extend leases.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, Sqlite, SqliteConnection, query, query_as};

use super::row::{after, read_claimed, read_id};
use super::{SqliteQueue, acquire, fault, statements, under};
use crate::key::StoreError;
use crate::queue::job::random_token;
use crate::queue::{ClaimedJob, End, HookLimits, JobId, Lease, LeaseState, QueueError};
use crate::store::sql::Checkout;
use crate::trace;

/// Loose index scan: the hooks that have jobs which have not ended, and of each when its first job is due, and how many
/// are under a lease. It takes time in proportion to the number of hooks, and not of their jobs.
pub(super) const HEADS: &str = "WITH RECURSIVE hooks (hook) AS (
    SELECT min(hook) FROM jobs WHERE ended_at IS NULL
    UNION ALL
    SELECT (SELECT min(jobs.hook) FROM jobs WHERE jobs.ended_at IS NULL AND jobs.hook > hooks.hook)
    FROM hooks WHERE hooks.hook IS NOT NULL
)
SELECT hook,
    (SELECT min(due_at) FROM jobs WHERE ended_at IS NULL AND jobs.hook = hooks.hook) AS due_at,
    (
        SELECT count(*) FROM jobs
        WHERE state = 'running' AND jobs.hook = hooks.hook AND jobs.due_at > ?1
    ) AS leased
FROM hooks WHERE hook IS NOT NULL";

/// A job under this token: whether its lease lasts, and how many of its hook are under a lease.
pub(super) const HELD: &str = "SELECT hook, due_at > ?3 AS lasts, (
    SELECT count(*) FROM jobs AS other
    WHERE other.state = 'running' AND other.hook = jobs.hook AND other.due_at > ?3
) AS leased FROM jobs WHERE id = ?1 AND token = ?2";

/// The first jobs of a hook that are due.
pub(super) const DUE: &str = "SELECT due_at, rowid FROM jobs INDEXED BY jobs_open
WHERE ended_at IS NULL AND hook = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3";

const TAKE: &str = "UPDATE jobs
SET state = 'running', token = ?2, due_at = ?3, attempts = attempts + 1, started_at = ?4
WHERE rowid = ?1 RETURNING id, hook, payload, attempts";

const BURY: &str = "UPDATE jobs
SET state = 'dead', token = NULL, ended_at = ?2, error = 'the stored job cannot be read' WHERE rowid = ?1";

/// The event of a job that is dead, with what can be read of it.
fn log_unreadable(row: &SqliteRow) {
    let end = End::Dead { error: "the stored job cannot be read".to_owned(), ran: true };
    let hook = row.try_get("hook").unwrap_or_default();
    let id = read_id(row).unwrap_or(JobId::from_bytes([0; 16]));
    trace::attempted(hook, &id, row.try_get("attempts").unwrap_or_default(), &end, None);
}

impl SqliteQueue {
    /// Whether a claim would get a job, and how long it is until the next one is due. Takes no lock.
    pub(super) async fn look(&self, max: usize) -> Result<(bool, Option<Duration>), QueueError> {
        let look = async {
            let mut checkout = acquire(&self.readers).await?;
            let connection = checkout.connection().map_err(StoreError::new)?;
            let now = self.now();
            let heads = heads(connection, now).await.map_err(StoreError::new)?;
            checkout.finish();
            let next = next_due(&heads, now);
            let next =
                next.map(|next| Duration::from_micros(next.saturating_sub(now).unsigned_abs()));
            Ok((!shares(heads, &self.limits, now, max).is_empty(), next))
        };
        self.tasks.run(look).await.map_err(fault)
    }

    /// The jobs that are due. If the caller leaves before the commit, none is taken.
    pub(super) async fn take(
        &self,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<ClaimedJob>, QueueError> {
        let take = async {
            let mut checkout = acquire(&self.writer).await?;
            let connection = checkout.connection().map_err(StoreError::new)?;
            let begin = connection.begin_with("BEGIN IMMEDIATE");
            let mut transaction = begin.await.map_err(StoreError::new)?;
            // Read under the lock, which may have taken seconds to get.
            let now = self.now();
            let heads = heads(&mut transaction, now).await.map_err(StoreError::new)?;
            let shares = shares(heads, &self.limits, now, max);
            let claimed = take(&mut transaction, shares, now, lease, max).await?;
            transaction.commit().await.map_err(StoreError::new)?;
            checkout.finish();
            Ok(claimed)
        };
        self.tasks.run(take).await.map_err(fault)
    }

    /// Extends a lease, if it lasts or if its hook has room.
    pub(super) async fn extend(
        &self,
        mut checkout: Checkout<Sqlite>,
        lease: &Lease,
        lasts: Duration,
    ) -> Result<LeaseState, sqlx::Error> {
        let mut transaction = checkout.connection()?.begin_with("BEGIN IMMEDIATE").await?;
        // Read under the lock, which may have taken seconds to get.
        let now = self.now();
        let may_go_on = may_go_on(&mut transaction, lease, &self.limits, now).await?;
        if may_go_on {
            let extend = under(statements::HEARTBEAT, lease).bind(after(now, lasts));
            extend.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        checkout.finish();
        self.bell.notify_waiters();
        Ok(if may_go_on { LeaseState::Held } else { LeaseState::Lost })
    }
}

/// What a claim knows about a hook.
#[derive(Clone, Debug)]
pub(super) struct Head {
    hook: String,
    /// When its first job is due.
    due_at: i64,
    /// How many of its jobs are under a lease.
    leased: u32,
}

/// How many jobs a hook may give.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Share {
    hook: String,
    room: usize,
}

/// One for each hook that has jobs which have not ended. A name that cannot be read stops no other hook.
pub(super) async fn heads(
    connection: &mut SqliteConnection,
    now: i64,
) -> Result<Vec<Head>, sqlx::Error> {
    let rows = query(HEADS).bind(now).fetch_all(connection).await?;
    let head = |row: &SqliteRow| {
        Some(Head {
            hook: row.try_get("hook").ok()?,
            due_at: row.try_get("due_at").ok()?,
            leased: row.try_get("leased").ok()?,
        })
    };
    Ok(rows.iter().filter_map(head).collect())
}

/// The hooks whose jobs are due and whose limits have room, the one that waits for the longest first. The first `max`
/// jobs of all are among theirs.
pub(super) fn shares(
    mut heads: Vec<Head>,
    limits: &HookLimits,
    now: i64,
    max: usize,
) -> Vec<Share> {
    heads.sort_by_key(|head| head.due_at);
    let due = heads.into_iter().take_while(|head| head.due_at <= now);
    let shares = due.map(|head| {
        let room =
            limits.of(&head.hook).map_or(u32::MAX, |limit| limit.saturating_sub(head.leased));
        Share { hook: head.hook, room: usize::try_from(room).unwrap_or(usize::MAX).min(max) }
    });
    shares.filter(|share| share.room > 0).take(max).collect()
}

/// When the next job is due that is not due now.
pub(super) fn next_due(heads: &[Head], now: i64) -> Option<i64> {
    heads.iter().map(|head| head.due_at).filter(|due_at| *due_at > now).min()
}

/// Whether a lease may be extended. One that has ended needs room.
pub(super) async fn may_go_on(
    connection: &mut SqliteConnection,
    lease: &Lease,
    limits: &HookLimits,
    now: i64,
) -> Result<bool, sqlx::Error> {
    let Some(row) = under(HELD, lease).bind(now).fetch_optional(connection).await? else {
        return Ok(false);
    };
    let (lasts, leased): (bool, u32) = (row.try_get("lasts")?, row.try_get("leased")?);
    Ok(lasts || limits.of(row.try_get("hook")?).is_none_or(|limit| leased < limit))
}

/// Takes the jobs that are due for the longest. `connection` is in a transaction that writes, so that no other claim
/// counts the same room.
///
/// A job that cannot be read is dead: it would be the first one of every claim.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    shares: Vec<Share>,
    now: i64,
    lease: Duration,
    max: usize,
) -> Result<Vec<ClaimedJob>, StoreError> {
    let mut due = Vec::new();
    for Share { hook, room } in shares {
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let first = query_as::<_, (i64, i64)>(DUE).bind(hook).bind(now).bind(room);
        due.extend(first.fetch_all(&mut *connection).await.map_err(StoreError::new)?);
    }
    due.sort_unstable();
    let mut claimed = Vec::new();
    for (_, row_id) in due.into_iter().take(max) {
        let token = random_token().map_err(StoreError::new)?;
        let take = query(TAKE).bind(row_id).bind(token.to_be_bytes().to_vec());
        let take = take.bind(after(now, lease)).bind(now).fetch_one(&mut *connection).await;
        let row = take.map_err(StoreError::new)?;
        match read_claimed(&row, token) {
            Some(job) => claimed.push(job),
            None => {
                let bury = query(BURY).bind(row_id).bind(now).execute(&mut *connection).await;
                bury.map_err(StoreError::new)?;
                log_unreadable(&row);
            }
        }
    }
    Ok(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(hook: &str, due_at: i64, leased: u32) -> Head {
        Head { hook: hook.to_owned(), due_at, leased }
    }

    fn shares_of(heads: &[Head], limits: &HookLimits, max: usize) -> Vec<(String, usize)> {
        let shares = shares(heads.to_vec(), limits, 10, max);
        shares.into_iter().map(|share| (share.hook, share.room)).collect()
    }

    #[test]
    fn hooks_give_in_the_order_of_their_first_jobs() {
        let heads = [head("later", 11, 0), head("b", 10, 0), head("a", 9, 7)];
        let share = |hook: &str, room| (hook.to_owned(), room);
        let none = HookLimits::new();
        assert_eq!(shares_of(&heads, &none, 5), [share("a", 5), share("b", 5)]);
        assert_eq!(shares_of(&heads, &none, 1), [share("a", 1)]);
        assert_eq!(shares_of(&heads, &none, 0), []);
        assert_eq!(next_due(&heads, 10), Some(11));
        assert_eq!(next_due(&heads, 11), None);
    }

    #[test]
    fn a_full_hook_gives_nothing_and_hides_no_other() {
        let heads =
            [head("full", 1, 2), head("over", 2, 9), head("room", 3, 1), head("free", 4, 0)];
        let limits = HookLimits::new().with("full", 2).unwrap();
        let limits = limits.with("over", 2).unwrap().with("room", 3).unwrap();
        let share = |hook: &str, room| (hook.to_owned(), room);
        assert_eq!(shares_of(&heads, &limits, 5), [share("room", 2), share("free", 5)]);
        assert_eq!(shares_of(&heads, &limits, 1), [share("room", 1)]);
    }
}
