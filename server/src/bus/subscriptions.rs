//! Who on this server waits for which log: a keyed map, so that a hint costs the same whatever
//! the number of sessions. Holds no data and no connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sotto_protocol::{ConversationId, DeviceId};

/// Shards of the map: neighbours seldom wait for each other's lock, and one shard a time is polled.
pub(super) const SHARDS: usize = 64;

/// Something that wants to know when a log has grown.
pub trait Wake: Send + Sync {
    /// The log may have entries past what was read. Called from the store's tasks, often without
    /// need: must return at once (note the id, notify a task). `head` is how far it has grown at
    /// least, where that is known: whoever has read up to there need not read again.
    fn wake(&self, conversation: ConversationId, head: Option<u64>);

    /// A member says something for now only. Must return at once, and may forget it.
    fn signal(&self, _signal: &Arc<Signal>) {}
}

/// Something that members say to those who are there at the moment: never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The log whose readers it is for.
    pub conversation: ConversationId,
    /// The sending device.
    pub device: DeviceId,
    /// Sealed; at most 1,024 bytes.
    pub payload: Bytes,
}

#[derive(Default)]
struct Entry {
    wakers: Vec<(u64, Arc<dyn Wake>)>,
    /// The head at the last poll.
    polled_head: i64,
}

#[derive(Default)]
struct Shard {
    next: u64,
    logs: HashMap<ConversationId, Entry>,
}

/// The map.
pub(super) struct Subscriptions {
    shards: Vec<Mutex<Shard>>,
}

/// A waker's place in the map; left when dropped.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    map: Arc<Subscriptions>,
    conversation: ConversationId,
    number: u64,
}

impl Subscription {
    /// Which log it is for.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut shard = self.map.shard(self.conversation);
        let Some(entry) = shard.logs.get_mut(&self.conversation) else {
            return;
        };
        entry.wakers.retain(|(number, _)| *number != self.number);
        if entry.wakers.is_empty() {
            shard.logs.remove(&self.conversation);
        }
    }
}

impl Subscriptions {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, conversation: ConversationId) -> MutexGuard<'_, Shard> {
        // Ids are random bytes chosen by clients; a skewed choice costs its chooser's shard only.
        let [.., last] = *conversation.as_bytes();
        self.lock(usize::from(last))
    }

    pub(super) fn subscribe(
        map: &Arc<Self>,
        conversation: ConversationId,
        wake: Arc<dyn Wake>,
    ) -> Subscription {
        let mut shard = map.shard(conversation);
        shard.next += 1;
        let number = shard.next;
        let entry = shard.logs.entry(conversation).or_default();
        entry.wakers.push((number, wake));
        drop(shard);
        Subscription {
            map: Arc::clone(map),
            conversation,
            number,
        }
    }

    /// Whether anybody waits for a log.
    pub(super) fn contains(&self, conversation: ConversationId) -> bool {
        self.shard(conversation).logs.contains_key(&conversation)
    }

    /// Wakes whoever waits for one log; outside the lock, so that a waker may let go of others.
    pub(super) fn wake(&self, conversation: ConversationId, head: Option<u64>) {
        for wake in self.wakers(conversation) {
            wake.wake(conversation, head);
        }
    }

    /// Passes a signal on to whoever waits for its log.
    pub(super) fn signal(&self, signal: &Arc<Signal>) {
        for wake in self.wakers(signal.conversation) {
            wake.signal(signal);
        }
    }

    fn wakers(&self, conversation: ConversationId) -> Vec<Arc<dyn Wake>> {
        let shard = self.shard(conversation);
        let entry = shard.logs.get(&conversation);
        entry.map_or_else(Vec::new, |entry| {
            let wakers = entry.wakers.iter();
            wakers.map(|(_, wake)| Arc::clone(wake)).collect()
        })
    }

    /// Wakes everybody: hints were or may have been lost.
    pub(super) fn wake_all(&self) {
        for number in 0..SHARDS {
            for conversation in self.logs(number) {
                self.wake(conversation, None);
            }
        }
    }

    /// The logs of one shard.
    pub(super) fn logs(&self, shard: usize) -> Vec<ConversationId> {
        self.lock(shard).logs.keys().copied().collect()
    }

    /// Wakes for a log if its head is past the one of the last poll.
    pub(super) fn polled(&self, conversation: ConversationId, head: i64) {
        let grown = match self.shard(conversation).logs.get_mut(&conversation) {
            Some(entry) if entry.polled_head < head => {
                entry.polled_head = head;
                true
            }
            _ => false,
        };
        if grown {
            self.wake(conversation, u64::try_from(head).ok());
        }
    }
}
