//! The floor under all hints: the logs that somebody waits for are compared with the database
//! every few seconds, whatever carries the hints and whether it works.

use std::sync::Arc;
use std::time::Duration;

use sotto_protocol::ConversationId;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Statement};

use super::hub::Hub;
use super::subscriptions::{SHARDS, Subscriptions};
use crate::store::StoreError;
use crate::store::connect::{self, Backoff, Database, Profile};

/// Within this every log that somebody waits for is compared with the database.
const POLL: Duration = Duration::from_secs(4);
/// Logs of one comparison.
const POLL_BATCH: usize = 2_000;
/// How long a statement may take before the connection counts as dead; polls come often enough
/// to notice that.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

pub(super) const HEADS: &str = "SELECT id, head FROM conversation WHERE id = ANY($1::bytea[])";

/// Compares for ever, over a connection of its own: for carriers that are not the database.
pub(super) async fn run(database: Arc<Database>, hub: Arc<Hub>) {
    let mut backoff = Backoff::new();
    loop {
        backoff.wait().await;
        match connect::open(&database, Profile::Buffered).await {
            Ok(mut link) => {
                backoff.succeeded();
                let prepared = tokio::time::timeout(ANSWER_LIMIT, link.prepare(HEADS)).await;
                if let Ok(Ok(heads)) = prepared {
                    poll_all(link.client(), &heads, &hub.subscriptions).await;
                }
                tracing::warn!("polling interrupted");
            }
            Err(error) => tracing::debug!(%error, "polling waits for the database"),
        }
        backoff.failed();
    }
}

/// Returns when the connection is of no more use.
pub(super) async fn poll_all(client: &Client, heads: &Statement, subscriptions: &Subscriptions) {
    let mut poll = tokio::time::interval(POLL / u32::try_from(SHARDS).unwrap_or(1));
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for shard in (0..SHARDS).cycle() {
        poll.tick().await;
        if !in_time(compare(client, heads, subscriptions, shard)).await {
            return;
        }
    }
}

/// Whether something was done in time.
pub(super) async fn in_time<E>(work: impl Future<Output = Result<(), E>>) -> bool {
    matches!(tokio::time::timeout(ANSWER_LIMIT, work).await, Ok(Ok(())))
}

/// Asks for the heads of one shard's logs, and wakes for those that have grown. Also asks when
/// nobody waits for any: an answer shows that the connection lives.
async fn compare(
    client: &Client,
    heads: &Statement,
    subscriptions: &Subscriptions,
    shard: usize,
) -> Result<(), StoreError> {
    let logs = subscriptions.logs(shard);
    if logs.is_empty() && !shard.is_multiple_of(8) {
        return Ok(());
    }
    let batches = logs
        .chunks(POLL_BATCH)
        .chain(logs.is_empty().then_some(&[][..]));
    for batch in batches {
        let ids: Vec<&[u8]> = batch.iter().map(|id| id.as_bytes().as_slice()).collect();
        let rows = client
            .query(heads, &[&ids])
            .await
            .map_err(StoreError::from_db)?;
        for row in &rows {
            let id: &[u8] = row.try_get(0).map_err(StoreError::from_db)?;
            let head: i64 = row.try_get(1).map_err(StoreError::from_db)?;
            if let Ok(id) = ConversationId::from_slice(id) {
                subscriptions.polled(id, head);
            }
        }
    }
    Ok(())
}
