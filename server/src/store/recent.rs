//! What this server stored a moment ago, so that its own sessions need not read it back.
//!
//! Only entries whose commit is known come in, and only where somebody on this server follows the
//! log. Nothing depends on an entry being here: what is absent is read from the database. An
//! answer is whole or none: every entry from the one asked for up to the head that was hinted at.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sotto_protocol::ConversationId;
use sotto_protocol::wire::EnvelopeKind;

use super::Store;
use super::types::{AppendMessage, Appended, StoredEnvelope};

/// Entries kept.
const ENTRIES_MAX: usize = 8 * 1024;
/// Payload bytes kept.
const BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Default)]
struct Kept {
    logs: HashMap<ConversationId, VecDeque<StoredEnvelope>>,
    /// The log of each entry, the oldest first.
    order: VecDeque<ConversationId>,
    bytes: usize,
}

/// The last entries.
#[derive(Default)]
pub(super) struct Recent {
    kept: Mutex<Kept>,
}

impl Store {
    /// All entries after `after_seq` up to `head`, `limit` at most, if this server stored them a
    /// moment ago and still has them.
    pub(crate) fn recent(
        &self,
        conversation: ConversationId,
        after_seq: u64,
        head: u64,
        limit: u32,
    ) -> Option<Arc<[StoredEnvelope]>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.inner.recent.get(conversation, after_seq, head, limit)
    }
}

impl Recent {
    /// Keeps an entry whose commit is known.
    pub(super) fn put(&self, message: &AppendMessage, appended: &Appended) {
        // A copy: the original is a part of the buffer that it arrived in.
        let payload = Bytes::copy_from_slice(&message.payload);
        let entry = StoredEnvelope {
            seq: appended.seq,
            generation: message.generation,
            epoch: message.epoch,
            kind: EnvelopeKind::Application,
            sender_device: message.sender_device,
            client_id: message.client_id,
            payload,
            stored_at_ms: appended.stored_at_ms,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += entry.payload.len();
        kept.order.push_back(message.conversation);
        kept.logs
            .entry(message.conversation)
            .or_default()
            .push_back(entry);
        while kept.order.len() > ENTRIES_MAX || kept.bytes > BYTES_MAX {
            kept.forget_oldest();
        }
    }

    fn get(
        &self,
        conversation: ConversationId,
        after: u64,
        head: u64,
        limit: usize,
    ) -> Option<Arc<[StoredEnvelope]>> {
        if after >= head {
            return None;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let log = kept.logs.get(&conversation)?;
        let first = log.partition_point(|entry| entry.seq <= after);
        let found = log.iter().skip(first);
        let dense = found
            .clone()
            .zip(after + 1..)
            .take_while(|(e, seq)| e.seq == *seq);
        let count = dense.take_while(|(e, _)| e.seq <= head).count();
        let reached = after.checked_add(u64::try_from(count).ok()?)?;
        (count > 0 && reached >= head).then(|| found.take(count.min(limit)).cloned().collect())
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        let Some(conversation) = self.order.pop_front() else {
            return;
        };
        let Some(log) = self.logs.get_mut(&conversation) else {
            return;
        };
        if let Some(entry) = log.pop_front() {
            self.bytes -= entry.payload.len();
        }
        if log.is_empty() {
            self.logs.remove(&conversation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotto_protocol::{ClientMessageId, DeviceId};

    fn id(number: u8) -> ConversationId {
        ConversationId::from_bytes([number; 16])
    }

    fn put(recent: &Recent, log: u8, seq: u64, bytes: usize) {
        let message = AppendMessage {
            conversation: id(log),
            generation: 0,
            epoch: 1,
            sender_device: DeviceId::from_bytes([1; 16]),
            client_id: ClientMessageId::from_bytes([2; 16]),
            payload: vec![3; bytes].into(),
        };
        let (epoch, stored_at_ms) = (1, 0);
        let appended = Appended {
            seq,
            epoch,
            stored_at_ms,
        };
        recent.put(&message, &appended);
    }

    fn got(recent: &Recent, log: u8, after: u64, head: u64) -> Option<Vec<u64>> {
        let entries = recent.get(id(log), after, head, 64)?;
        Some(entries.iter().map(|entry| entry.seq).collect())
    }

    #[test]
    fn an_answer_is_whole_or_none() {
        let recent = Recent::default();
        // Number 6 was stored by another server.
        for seq in [3, 4, 5, 7, 8] {
            put(&recent, 1, seq, 10);
        }
        assert_eq!(got(&recent, 1, 3, 5), Some(vec![4, 5]));
        assert_eq!(got(&recent, 1, 6, 8), Some(vec![7, 8]));
        assert_eq!(got(&recent, 1, 3, 4), Some(vec![4]));
        for (after, head) in [
            (1, 5),
            (3, 7),
            (5, 8),
            (7, 9),
            (8, 8),
            (8, 9),
            (u64::MAX, 9),
        ] {
            assert_eq!(got(&recent, 1, after, head), None, "{after} to {head}");
        }
        assert_eq!(got(&recent, 2, 3, 5), None);
        assert_eq!(
            recent.get(id(1), 3, 5, 1).map(|entries| entries.len()),
            Some(1)
        );
    }

    #[test]
    fn the_oldest_go_first_and_bounds_hold() {
        let recent = Recent::default();
        for seq in 1..=ENTRIES_MAX as u64 + 5 {
            put(&recent, 1, seq, 1);
        }
        assert_eq!(got(&recent, 1, 4, 6), None);
        assert_eq!(got(&recent, 1, 5, 6), Some(vec![6]));
        put(&recent, 2, 1, BYTES_MAX);
        assert_eq!(got(&recent, 2, 0, 1), Some(vec![1]));
        assert_eq!(recent.kept.lock().unwrap().order.len(), 1);
        put(&recent, 3, 1, BYTES_MAX + 1);
        let kept = recent.kept.lock().unwrap();
        assert_eq!((kept.order.len(), kept.logs.len(), kept.bytes), (0, 0, 0));
    }
}
