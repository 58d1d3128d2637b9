//! Hints between servers: "this log has grown". They carry no data and may be lost.

mod subscriptions;

pub use subscriptions::{Subscription, Wake};

use sotto_protocol::ConversationId;
use std::sync::Arc;

/// Hints between servers. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    subscriptions: Arc<subscriptions::Subscriptions>,
}

impl Bus {
    /// Wakes `wake` whenever the log may have grown, until the guard is dropped.
    /// Subscribe first, then read: a hint between the two is then not lost.
    #[must_use]
    pub fn subscribe(&self, conversation: ConversationId, wake: Arc<dyn Wake>) -> Subscription {
        subscriptions::Subscriptions::subscribe(&self.subscriptions, conversation, wake)
    }

    /// Tells all servers that a log has grown. Never waits. The store calls it after each commit.
    pub fn publish(&self, conversation: ConversationId) {
        self.subscriptions.wake(conversation);
    }
}
