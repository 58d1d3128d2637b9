//! Hints of this server that wait to be said to others. Bounded; putting one never waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sotto_protocol::ConversationId;
use tokio::sync::Notify;

use super::subscriptions::Signal;

/// Signals that may wait; more are forgotten.
pub(super) const SIGNALS_MAX: usize = 256;
/// Hints that may wait; beyond it everybody is woken instead.
const WAITING_MAX: usize = 50_000;

/// Hints that wait to be sent.
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

/// What was taken out of an outbox.
#[derive(Default)]
pub(super) struct Waiting {
    /// Logs, and how far they have grown where that is known.
    pub(super) heads: HashMap<ConversationId, Option<u64>>,
    pub(super) signals: Vec<Arc<Signal>>,
    /// There were more: everything may have grown.
    pub(super) overflowed: bool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, conversation: ConversationId, head: Option<u64>) {
        let mut waiting = self.lock();
        if let Some(known) = waiting.heads.get_mut(&conversation) {
            *known = known.zip(head).map(|(known, head)| known.max(head));
        } else if waiting.heads.len() < WAITING_MAX {
            waiting.heads.insert(conversation, head);
        } else {
            waiting.overflowed = true;
        }
        drop(waiting);
        self.filled.notify_one();
    }

    pub(super) fn put_signal(&self, signal: Arc<Signal>) {
        let mut waiting = self.lock();
        if waiting.signals.len() < SIGNALS_MAX {
            waiting.signals.push(signal);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits until something was put since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn take(&self) -> Waiting {
        std::mem::take(&mut *self.lock())
    }

    pub(super) fn forget_signals(&self) {
        self.lock().signals.clear();
    }
}
