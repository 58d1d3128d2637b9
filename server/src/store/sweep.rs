//! The sweeper: deletes what every device has, and what nobody came for.
//!
//! Every server runs one; an advisory lock lets one work at a time. An entry goes when each
//! device that may read it has acknowledged it, and no copy of its append can come any more. The
//! sender's own device is one of those devices and acknowledges its entry only when it knows that
//! it was stored, so it does not send it again. But a copy may wait in a server that was stopped,
//! or behind a balancer that was: such a server ends sessions that were silent for 45 s before it
//! reads on, and appends nothing that queued for 30 s, so that an entry that lingers for two
//! minutes is always there when a late copy of it is. So `append` tells repeated messages for
//! ever. Keep that property.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Pool, Transaction};
use sotto_protocol::ConversationId;

use super::accounts::{execute, prepare};
use super::column;
use super::connect::Task;
use super::cursors::Cursors;
use super::error::StoreError;

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(3);
/// Every so many rounds, what has expired.
const EXPIRY_EVERY: u32 = 200;
/// Logs of one statement.
const LOGS_MAX: usize = 500;
/// Entries of one statement.
const ENTRIES_MAX: i64 = 10_000;
/// Statements of one round.
const STATEMENTS_MAX: usize = 40;

/// The advisory lock of the sweepers ("sotto" and a number, in ASCII).
const LOCK: &str = "SELECT pg_try_advisory_xact_lock(x'736f74746f02'::bigint)";

const SWEEP: &str = "\
    DELETE FROM envelope e USING (
        SELECT f.conversation_id, v.seq FROM (
            SELECT m.conversation_id, min(m.cursor) AS floor FROM member m
            WHERE m.conversation_id = ANY($1::bytea[]) AND NOT m.gone
              AND (m.left_at_seq IS NULL OR m.cursor < m.left_at_seq)
            GROUP BY m.conversation_id
        ) f CROSS JOIN LATERAL (
            SELECT x.seq FROM envelope x
            WHERE x.conversation_id = f.conversation_id AND x.seq <= f.floor
              AND x.stored_at <= now() - $3 * interval '1 second'
            ORDER BY x.seq LIMIT $2
        ) v LIMIT $2
    ) d WHERE e.conversation_id = d.conversation_id AND e.seq = d.seq";

const NEXT_LOGS: &str = "SELECT id FROM conversation WHERE id > $1 ORDER BY id LIMIT $2";

const OLD_ENVELOPES: &str = "\
    DELETE FROM envelope WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM envelope WHERE stored_at < now()
            - coalesce((SELECT retention_days * 86400.0 FROM deployment)::double precision, $1)
            * interval '1 second' LIMIT 10000))";

/// What else has expired, each statement bounded by what can pile up between two runs.
const EXPIRED: [&str; 10] = [
    "DELETE FROM key_package WHERE reference IN (
        SELECT reference FROM key_package WHERE not_after < now() LIMIT 10000)",
    "DELETE FROM rate_limit WHERE key IN (
        SELECT key FROM rate_limit WHERE resets_at < now() LIMIT 50000)",
    "DELETE FROM invite WHERE expires_at < now() - interval '30 days'",
    // Whoever left and has nothing more to read, because it was read or has expired.
    "DELETE FROM member m WHERE m.left_at_seq IS NOT NULL AND (
        m.gone OR m.cursor >= m.left_at_seq OR NOT EXISTS (
            SELECT FROM envelope e WHERE e.conversation_id = m.conversation_id
              AND e.seq > m.cursor AND e.seq <= m.left_at_seq))",
    "DELETE FROM join_link WHERE expires_at < now()",
    "DELETE FROM link_relay WHERE stored_at < now() - interval '10 minutes'",
    // A welcome expires with its mailbox; one that was read came with the tree soon.
    "DELETE FROM group_tree WHERE stored_at < now() - interval '14 days'",
    "DELETE FROM last_seen l WHERE NOT EXISTS (SELECT FROM account a WHERE a.id = l.account_id)",
    "DELETE FROM operator_order WHERE created_at < now() - interval '1 day'",
    "WITH dead AS (
        DELETE FROM node WHERE heartbeat_at < now() - interval '1 minute'
    )
    DELETE FROM session s WHERE NOT EXISTS (
        SELECT FROM node n
        WHERE n.id = s.node_id AND n.heartbeat_at >= now() - interval '1 minute')",
];

struct Sweeper {
    pool: Pool,
    cursors: Arc<Cursors>,
    retention: Duration,
    linger: Duration,
    /// Where the walk over all logs stands: it finds those whose readers used other servers.
    walked: Vec<u8>,
    /// Whether it is time to look for what has expired.
    expiry_due: bool,
}

/// Starts the task.
pub(super) fn start(
    pool: Pool,
    cursors: Arc<Cursors>,
    (retention, linger): (Duration, Duration),
) -> Task {
    let mut sweeper = Sweeper {
        pool,
        cursors,
        retention,
        linger,
        walked: Vec::new(),
        expiry_due: true,
    };
    Task::spawn(async move {
        let mut round: u32 = 0;
        loop {
            // Jittered, so that servers started together take turns.
            tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.7..1.3))).await;
            round = round.wrapping_add(1);
            if let Err(error) = sweeper.round(round).await {
                tracing::debug!(%error, "sweeping failed; it is tried again");
            }
        }
    })
}

impl Sweeper {
    async fn round(&mut self, round: u32) -> Result<(), StoreError> {
        for _ in 0..STATEMENTS_MAX {
            let logs = self.cursors.take_to_sweep(LOGS_MAX);
            if logs.is_empty() {
                break;
            }
            let outcome = self.sweep(&logs).await;
            if !matches!(&outcome, Ok(Some(deleted)) if *deleted < ENTRIES_MAX as u64) {
                self.cursors.sweep_later(logs);
            }
            // Another server is at it.
            if outcome?.is_none() {
                return Ok(());
            }
        }
        let logs = self.next_logs().await?;
        self.sweep(&logs).await?;
        self.expiry_due |= round.is_multiple_of(EXPIRY_EVERY);
        if self.expiry_due && self.expire().await?.is_some() {
            self.expiry_due = false;
        }
        Ok(())
    }

    /// Deletes what every device of these logs has; `None` when another server sweeps.
    async fn sweep(&self, logs: &[ConversationId]) -> Result<Option<u64>, StoreError> {
        let ids: Vec<&[u8]> = logs.iter().map(|id| id.as_bytes().as_slice()).collect();
        let linger = self.linger.as_secs_f64();
        self.locked(SWEEP, &[&ids, &ENTRIES_MAX, &linger]).await
    }

    async fn next_logs(&mut self) -> Result<Vec<ConversationId>, StoreError> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached(NEXT_LOGS)
            .await
            .map_err(StoreError::from_db)?;
        let most = i64::try_from(LOGS_MAX).unwrap_or(1);
        let rows = client
            .query(&statement, &[&self.walked, &most])
            .await
            .map_err(StoreError::from_db)?;
        let mut logs = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = ConversationId::from_slice(column(row, 0)?)
                .map_err(|_| StoreError::Corrupt("conversation id".into()))?;
            logs.push(id);
        }
        self.walked = if logs.len() < LOGS_MAX {
            Vec::new()
        } else {
            logs.last().map(|id| id.to_vec()).unwrap_or_default()
        };
        Ok(logs)
    }

    /// Deletes what nobody came for; `None` when another server sweeps.
    async fn expire(&self) -> Result<Option<()>, StoreError> {
        let age = self.retention.as_secs_f64();
        for _ in 0..STATEMENTS_MAX {
            match self.locked(OLD_ENVELOPES, &[&age]).await? {
                Some(deleted) if deleted >= 10_000 => {}
                Some(_) => break,
                None => return Ok(None),
            }
        }
        for sql in EXPIRED {
            if self.locked(sql, &[]).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    async fn client(&self) -> Result<deadpool_postgres::Client, StoreError> {
        self.pool
            .get()
            .await
            .map_err(|error| StoreError::Unavailable(format!("pool: {error}")))
    }

    /// Runs one statement as the only sweeper. Deletions lost in a crash are made again, so their
    /// commit does not wait for the disk.
    async fn locked(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Option<u64>, StoreError> {
        let mut client = self.client().await?;
        let transaction: Transaction<'_> =
            client.transaction().await.map_err(StoreError::from_db)?;
        transaction
            .batch_execute("SET LOCAL synchronous_commit = off")
            .await
            .map_err(StoreError::from_db)?;
        let statement = prepare(&transaction, LOCK).await?;
        let row = transaction
            .query_one(&statement, &[])
            .await
            .map_err(StoreError::from_db)?;
        if !column::<bool>(&row, 0)? {
            return Ok(None);
        }
        let count = execute(&transaction, sql, params).await?;
        transaction.commit().await.map_err(StoreError::from_db)?;
        Ok(Some(count))
    }
}
