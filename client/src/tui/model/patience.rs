//! How long the server keeps one waiting for a word about what was sent: while the connection seems
//! to stand, a path on which nothing moves looks like one on which nobody says anything.
//!
//! It counts time alone; whether the connection lives is found out elsewhere.

use std::collections::BTreeMap;

use sotto_protocol::ClientMessageId;

/// Waits that are told of, in milliseconds.
const LONG_MS: u64 = 5_000;
/// Texts that are waited for; of more, some are not.
const WAITING_MAX: usize = 1_024;

/// What was sent over the connection that stands, and not acknowledged yet.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when; monotonic milliseconds.
    waiting: BTreeMap<[u8; 16], u64>,
    /// When something was acknowledged last.
    heard_ms: u64,
}

impl Patience {
    /// A text leaves.
    pub(super) fn sent(&mut self, id: &ClientMessageId, now_ms: u64) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(*id.as_bytes(), now_ms);
        }
    }

    /// It is at the server, or waits for something else.
    pub(super) fn answered(&mut self, id: &ClientMessageId, now_ms: u64) {
        self.waiting.remove(id.as_bytes());
        self.heard_ms = now_ms;
    }

    /// There is another connection, or none: what waits is sent again over the next.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    fn since(&self) -> Option<u64> {
        let first = self.waiting.values().min()?;
        Some((*first).max(self.heard_ms))
    }

    /// For how many seconds there has been no answer, where that is long.
    pub(super) fn seconds(&self, now_ms: u64) -> Option<u64> {
        let ms = now_ms.saturating_sub(self.since()?);
        (ms >= LONG_MS).then_some(ms / 1_000)
    }

    /// When [`Self::seconds`] says something else; monotonic milliseconds.
    pub(super) fn wakes_at(&self, now_ms: u64) -> Option<u64> {
        let since = self.since()?;
        let whole = now_ms.saturating_sub(since) / 1_000 + 1;
        Some(since + (whole * 1_000).max(LONG_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_told_second_by_second_and_ends_with_the_answer() {
        let id = ClientMessageId::from_bytes([1; 16]);
        let mut patience = Patience::default();
        assert_eq!(
            (patience.seconds(9_000), patience.wakes_at(9_000)),
            (None, None)
        );
        patience.sent(&id, 1_000);
        assert_eq!(patience.seconds(5_999), None);
        assert_eq!(patience.wakes_at(1_500), Some(6_000));
        assert_eq!(patience.seconds(6_000), Some(5));
        assert_eq!(patience.wakes_at(6_000), Some(7_000));
        assert_eq!(patience.seconds(7_900), Some(6));
        // Whatever is acknowledged shows that somebody answers.
        patience.answered(&ClientMessageId::from_bytes([2; 16]), 8_000);
        assert_eq!(patience.seconds(9_000), None);
        assert_eq!(patience.seconds(13_000), Some(5));
        patience.answered(&id, 13_500);
        assert_eq!(patience.seconds(99_000), None);
    }
}
