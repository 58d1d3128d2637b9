//! What the deployment's Postgres counts of itself over a stretch: commits, write-ahead log,
//! deadlocks, cache; and which of its processes does what.
//!
//! Its sessions hand in their counts at most once a second, so a little more than that is waited
//! before each look.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use crate::error::BenchError;
use crate::report::Table;

/// Longer than sessions keep counts to themselves.
const COUNTS_SETTLE: Duration = Duration::from_millis(1_200);

const DATABASE: &str = "SELECT sum(xact_commit)::bigint, sum(xact_rollback)::bigint,
        sum(deadlocks)::bigint, sum(blks_hit)::bigint, sum(blks_read)::bigint
    FROM pg_stat_database";
const WAL: &str = "SELECT wal_records::bigint, wal_bytes::bigint FROM pg_stat_wal";
/// Not there since Postgres 18.
const SYNCS: &str = "SELECT wal_sync::bigint, wal_sync_time::float8 FROM pg_stat_wal";
const PROCESSES: &str = "SELECT pid, backend_type, coalesce(query, '') FROM pg_stat_activity
    WHERE pid <> pg_backend_pid()";

/// Counts since the database was made.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    commits: i64,
    rollbacks: i64,
    deadlocks: i64,
    hits: i64,
    reads: i64,
    wal_records: i64,
    wal_bytes: i64,
    syncs: Option<(i64, f64)>,
}

/// What was counted over a stretch.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counted {
    of: Counts,
    seconds: f64,
}

/// A connection for looking, and the first look.
pub(crate) struct PostgresMeter {
    client: Client,
    before: Counts,
}

impl PostgresMeter {
    /// Connects and takes the first look.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn start(url: &str) -> Result<Self, BenchError> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // Ends with its client; an error shows in the client's next statement.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut meter = Self {
            client,
            before: Counts::default(),
        };
        meter.again().await?;
        Ok(meter)
    }

    /// Lets Postgres time its syncs, which costs it a little: in a deployment of our own only.
    /// Where it does not let us, their time is not shown.
    pub(crate) async fn time_syncs(&self) {
        let wanted = "ALTER SYSTEM SET track_wal_io_timing = on";
        if self.client.batch_execute(wanted).await.is_ok() {
            let _ = self.client.batch_execute("SELECT pg_reload_conf()").await;
        }
    }

    /// Takes the first look once more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn again(&mut self) -> Result<(), BenchError> {
        sleep(COUNTS_SETTLE).await;
        self.before = self.look().await?;
        Ok(())
    }

    /// What was counted since the first look, over a stretch of so many seconds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn finish(&self, seconds: f64) -> Result<Counted, BenchError> {
        sleep(COUNTS_SETTLE).await;
        let after = self.look().await?;
        let before = self.before;
        Ok(Counted {
            of: Counts {
                commits: after.commits - before.commits,
                rollbacks: after.rollbacks - before.rollbacks,
                deadlocks: after.deadlocks - before.deadlocks,
                hits: after.hits - before.hits,
                reads: after.reads - before.reads,
                wal_records: after.wal_records - before.wal_records,
                wal_bytes: after.wal_bytes - before.wal_bytes,
                syncs: after
                    .syncs
                    .zip(before.syncs)
                    .map(|(after, before)| (after.0 - before.0, after.1 - before.1)),
            },
            seconds,
        })
    }

    async fn look(&self) -> Result<Counts, BenchError> {
        let database = self.client.query_one(DATABASE, &[]).await?;
        let wal = self.client.query_one(WAL, &[]).await?;
        let syncs = match self.client.query_one(SYNCS, &[]).await {
            Ok(row) => Some((row.try_get(0)?, row.try_get(1)?)),
            Err(_) => None,
        };
        Ok(Counts {
            commits: database.try_get(0)?,
            rollbacks: database.try_get(1)?,
            deadlocks: database.try_get(2)?,
            hits: database.try_get(3)?,
            reads: database.try_get(4)?,
            wal_records: wal.try_get(0)?,
            wal_bytes: wal.try_get(1)?,
            syncs,
        })
    }

    /// Its processes by what they do, as their last statement tells: the servers keep a connection
    /// for each frequent purpose.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn processes(&self) -> Result<Vec<(u32, &'static str)>, BenchError> {
        let rows = self.client.query(PROCESSES, &[]).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let pid: i32 = row.try_get(0)?;
            let purpose = purpose(row.try_get(1)?, row.try_get(2)?);
            if let Ok(pid) = u32::try_from(pid) {
                found.push((pid, purpose));
            }
        }
        Ok(found)
    }
}

/// What a process of Postgres is for.
fn purpose(kind: &str, statement: &str) -> &'static str {
    const STATEMENTS: [(&str, &str); 6] = [
        ("append_", "postgres: appends"),
        (
            "WITH ORDINALITY AS i (conversation_id, after",
            "postgres: reads",
        ),
        ("pg_notify", "postgres: hints"),
        ("SELECT id, head FROM conversation", "postgres: hints"),
        ("UPDATE member", "postgres: cursors and presence"),
        ("node", "postgres: cursors and presence"),
    ];
    if kind != "client backend" {
        return "postgres: its own chores";
    }
    STATEMENTS
        .iter()
        .find(|(words, _)| statement.contains(words))
        .map_or("postgres: the rest", |(_, purpose)| purpose)
}

impl Counted {
    /// Mean time of a sync of the write-ahead log, in microseconds, where Postgres timed them.
    pub(crate) fn sync_us(&self) -> Option<f64> {
        let (count, ms) = self.of.syncs?;
        (count > 0 && ms > 0.0).then(|| ms * 1e3 / count as f64)
    }

    /// For the report; `messages` were sent meanwhile.
    pub(crate) fn table(&self, messages: u64) -> Table {
        let mut table = Table::new("Postgres", &["a second", "for each message"]);
        let each = messages.max(1) as f64;
        let mut row = |name: &str, count: f64| {
            table.row(name, &[count / self.seconds.max(1e-9), count / each]);
        };
        row("commits", self.of.commits as f64);
        row("rollbacks", self.of.rollbacks as f64);
        row("deadlocks", self.of.deadlocks as f64);
        row("records of write-ahead log", self.of.wal_records as f64);
        row("bytes of write-ahead log", self.of.wal_bytes as f64);
        if let Some((syncs, _)) = self.of.syncs {
            row("syncs of write-ahead log", syncs as f64);
        }
        row("pages not found in its cache", self.of.reads as f64);
        table
    }

    /// Deadlocks.
    pub(crate) fn deadlocks(&self) -> i64 {
        self.of.deadlocks
    }

    /// Share of pages that were found in its cache.
    pub(crate) fn cache_hits(&self) -> f64 {
        let all = self.of.hits + self.of.reads;
        self.of.hits as f64 / all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_by_what_they_do() {
        let fresh = "SELECT heads, stored_at_ms FROM append_fresh($1, $2)";
        assert_eq!(purpose("client backend", fresh), "postgres: appends");
        assert_eq!(purpose("walwriter", ""), "postgres: its own chores");
        assert_eq!(purpose("client backend", ""), "postgres: the rest");
    }
}
