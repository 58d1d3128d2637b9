//! Cursors that were acknowledged and are not yet written. Losing them causes redelivery only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sotto_protocol::{ConversationId, DeviceId};
use tokio::sync::Notify;
use tokio::time::Instant;
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
    to_sweep: Mutex<HashMap<ConversationId, Sweep>>,
    /// How long an entry stays after every device has it.
    linger: Duration,
    nudge: OnceLock<Arc<Notify>>,
}

/// When to look for entries of a log that everybody has.
struct Sweep {
    at: Instant,
    /// Whether devices have got further since that was set: then once more afterwards.
    grown: Grown,
}

#[derive(PartialEq, Eq)]
enum Grown {
    No,
    Since,
}

impl Store {
    /// Notes that a device has a log up to `seq` in its own store. Written within 100 ms or so;
    /// never goes back. The caller has checked that the device was sent that much.
    pub fn advance(&self, device: DeviceId, conversation: ConversationId, seq: u64) {
        self.inner.cursors.advance((conversation, device), seq);
    }
}

impl Cursors {
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            linger,
            ..Self::default()
        }
    }

    pub(super) fn wake_with(&self, nudge: Arc<Notify>) {
        let _ = self.nudge.set(nudge);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Place, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to_sweep(&self) -> MutexGuard<'_, HashMap<ConversationId, Sweep>> {
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
        let at = Instant::now() + self.linger;
        let mut to_sweep = self.to_sweep();
        for log in logs {
            if let Some(sweep) = to_sweep.get_mut(&log) {
                sweep.grown = Grown::Since;
            } else if to_sweep.len() < TO_SWEEP_MAX {
                let grown = Grown::No;
                to_sweep.insert(log, Sweep { at, grown });
            }
        }
    }

    /// Takes up to `most` of those logs whose time has come.
    pub(super) fn take_to_sweep(&self, most: usize) -> Vec<ConversationId> {
        let now = Instant::now();
        let mut to_sweep = self.to_sweep();
        let due = to_sweep.iter().filter(|(_, sweep)| sweep.at <= now);
        let taken: Vec<ConversationId> = due.take(most).map(|(log, _)| *log).collect();
        for log in &taken {
            match to_sweep.get_mut(log) {
                Some(sweep) if sweep.grown == Grown::Since && !self.linger.is_zero() => {
                    sweep.at = now + self.linger;
                    sweep.grown = Grown::No;
                }
                _ => drop(to_sweep.remove(log)),
            }
        }
        taken
    }
}
