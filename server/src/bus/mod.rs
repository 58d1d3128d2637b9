//! Hints between servers: "this log has grown". They carry no data and may be lost.
//!
//! A hint wakes by key whoever waits for that log, on this server at once, on others by one
//! `NOTIFY` for all hints that gathered while the last one was on its way, outside the transactions
//! that append (Postgres serialises commits that notify). What may be lost is found otherwise: a
//! lost or lagging LISTEN connection wakes everybody, and every few seconds the heads of the logs
//! that somebody waits for are compared.

mod postgres;
mod subscriptions;

use std::sync::Arc;

use sotto_protocol::ConversationId;
use tokio_postgres::Config;

use crate::store::connect::Task;
use postgres::Outbox;
use subscriptions::Subscriptions;

pub use subscriptions::{Signal, Subscription, Wake};

/// Hints between servers. Cheap to clone; its tasks end with the last clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    subscriptions: Arc<Subscriptions>,
    outbox: Arc<Outbox>,
    _task: Task,
}

impl Bus {
    /// Starts publishing, listening and polling, over a connection that is opened again whenever
    /// it is lost.
    pub(crate) fn start(config: Arc<Config>) -> Self {
        let subscriptions = Arc::new(Subscriptions::new());
        let outbox = Arc::new(Outbox::new());
        let work = postgres::run(config, Arc::clone(&subscriptions), Arc::clone(&outbox));
        Self {
            inner: Arc::new(Inner {
                subscriptions,
                outbox,
                _task: Task::spawn(work),
            }),
        }
    }

    /// Wakes `wake` whenever the log may have grown, until the guard is dropped.
    /// Subscribe first, then read: so a hint between the two is not lost.
    pub fn subscribe(&self, conversation: ConversationId, wake: Arc<dyn Wake>) -> Subscription {
        Subscriptions::subscribe(&self.inner.subscriptions, conversation, wake)
    }

    /// Tells all servers that a log may have grown. Never waits.
    pub fn publish(&self, conversation: ConversationId) {
        self.tell(conversation, None);
    }

    /// Tells all servers that a log has grown up to `head`. Never waits. The store calls it after
    /// each commit, once the senders have their answers: a session that sent the last entry itself
    /// then knows that there is nothing for it to read.
    pub(crate) fn publish_head(&self, conversation: ConversationId, head: u64) {
        self.tell(conversation, Some(head));
    }

    /// Whether anybody on this server waits for a log.
    pub(crate) fn is_awaited(&self, conversation: ConversationId) -> bool {
        self.inner.subscriptions.contains(conversation)
    }

    /// Passes a signal on to the sessions that read its log now, on all servers. Never waits; a
    /// signal may be lost, and nothing looks for it.
    pub(crate) fn signal(&self, signal: Signal) {
        let signal = Arc::new(signal);
        self.inner.subscriptions.signal(&signal);
        self.inner.outbox.put_signal(signal);
    }

    fn tell(&self, conversation: ConversationId, head: Option<u64>) {
        self.inner.subscriptions.wake(conversation, head);
        self.inner.outbox.put(conversation, head);
    }
}
