//! Cursors that were acknowledged and are not yet written. Losing them causes redelivery only.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sotto_protocol::{ConversationId, DeviceId};
use tokio::sync::Notify;
use tokio_postgres::types::ToSql;

use super::connect::Link;
use super::error::StoreError;
use super::{Store, column, fixed, signed};

/// Cursors that may wait; beyond it new ones are forgotten (the device acknowledges more later).
const WAITING_MAX: usize = 200_000;
/// Logs that may wait for the sweeper; beyond it the walk over all logs finds them.
const TO_SWEEP_MAX: usize = 100_000;
/// Cursors of one statement.
const BATCH_MAX: usize = 5_000;

const WRITE: &str = "\
    UPDATE member m SET cursor = i.seq
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS i (conversation_id, device_id, seq)
    WHERE m.conversation_id = i.conversation_id AND m.device_id = i.device_id AND m.cursor < i.seq
    RETURNING m.conversation_id";

type Place = (ConversationId, DeviceId);

/// The buffer.
#[derive(Default)]
pub(super) struct Cursors {
    waiting: Mutex<HashMap<Place, u64>>,
    to_sweep: Mutex<HashSet<ConversationId>>,
    nudge: OnceLock<Arc<Notify>>,
}

impl Store {
    /// Notes that a device has a log up to `seq` in its own store. Written within 100 ms or so;
    /// never goes back. The caller has checked that the device was sent that much.
    pub fn advance(&self, device: DeviceId, conversation: ConversationId, seq: u64) {
        self.inner.cursors.advance((conversation, device), seq);
    }
}

impl Cursors {
    pub(super) fn wake_with(&self, nudge: Arc<Notify>) {
        let _ = self.nudge.set(nudge);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Place, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to_sweep(&self) -> MutexGuard<'_, HashSet<ConversationId>> {
        self.to_sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, place: Place, seq: u64) {
        let mut waiting = self.waiting();
        if waiting.len() < WAITING_MAX || waiting.contains_key(&place) {
            let known = waiting.entry(place).or_default();
            *known = (*known).max(seq);
        }
        drop(waiting);
        if let Some(nudge) = self.nudge.get() {
            nudge.notify_one();
        }
    }

    /// The cursor that waits to be written, or 0.
    pub(super) fn unwritten(&self, conversation: ConversationId, device: DeviceId) -> u64 {
        let waiting = self.waiting();
        waiting.get(&(conversation, device)).copied().unwrap_or(0)
    }

    /// Writes what waits. On an error it waits on.
    pub(super) async fn write(&self, link: &mut Link) -> Result<(), StoreError> {
        let mut all: Vec<(Place, u64)> = self.waiting().iter().map(|(p, seq)| (*p, *seq)).collect();
        // One order for all servers, so that they seldom lock rows against each other.
        all.sort_unstable();
        for batch in all.chunks(BATCH_MAX) {
            self.write_batch(link, batch).await?;
        }
        Ok(())
    }

    async fn write_batch(&self, link: &mut Link, batch: &[(Place, u64)]) -> Result<(), StoreError> {
        let statement = link.prepare(WRITE).await?;
        let conversations: Vec<&[u8]> = batch
            .iter()
            .map(|((c, _), _)| c.as_bytes().as_slice())
            .collect();
        let devices: Vec<&[u8]> = batch
            .iter()
            .map(|((_, d), _)| d.as_bytes().as_slice())
            .collect();
        let seqs: Vec<i64> = batch.iter().map(|(_, seq)| signed(*seq)).collect();
        let params: [&(dyn ToSql + Sync); 3] = [&conversations, &devices, &seqs];
        let rows = link
            .client()
            .query(&statement, &params)
            .await
            .map_err(StoreError::from_db)?;
        let mut grown = Vec::with_capacity(rows.len());
        for row in &rows {
            grown.push(ConversationId::from_bytes(fixed(column(row, 0)?)?));
        }
        self.sweep_later(grown);
        let mut waiting = self.waiting();
        for (place, seq) in batch {
            // What went on in the meantime stays.
            if waiting.get(place).is_some_and(|now| now <= seq) {
                waiting.remove(place);
            }
        }
        if waiting.is_empty() && waiting.capacity() > 4096 {
            waiting.shrink_to_fit();
        }
        Ok(())
    }

    /// Notes logs that may have entries which everybody has.
    pub(super) fn sweep_later(&self, logs: impl IntoIterator<Item = ConversationId>) {
        let mut to_sweep = self.to_sweep();
        for log in logs {
            if to_sweep.len() >= TO_SWEEP_MAX {
                return;
            }
            to_sweep.insert(log);
        }
    }

    /// Takes up to `most` of those logs.
    pub(super) fn take_to_sweep(&self, most: usize) -> Vec<ConversationId> {
        let mut to_sweep = self.to_sweep();
        let taken: Vec<ConversationId> = to_sweep.iter().take(most).copied().collect();
        for log in &taken {
            to_sweep.remove(log);
        }
        taken
    }
}
