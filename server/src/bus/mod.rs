//! Hints between servers: "this log has grown". They carry no data and may be lost.
//!
//! A hint wakes by key whoever waits for that log, on this server at once, on others by one
//! message for all hints that gathered while the last one was on its way. What carries it is
//! chosen by the operator ([`BusAddress`]): the database, by `NOTIFY` outside the transactions that
//! append (Postgres serialises commits that notify), or NATS. What may be lost is found otherwise:
//! a lost or lagging connection wakes everybody, and every few seconds the heads of the logs that
//! somebody waits for are compared with the database.

mod address;
mod heads;
mod hub;
mod nats;
mod outbox;
mod payload;
mod postgres;
mod subscriptions;

use std::sync::Arc;

use sotto_protocol::{ConversationId, DeploymentId};

use crate::store::connect::{Database, Task};
use hub::Hub;
use subscriptions::Subscriptions;

pub(crate) use address::shown;
pub use address::{BusAddress, NatsAddress};
pub use subscriptions::{Signal, Subscription, Wake};

/// Hints between servers. Cheap to clone; its tasks end with the last clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Arc<Hub>,
    kind: &'static str,
    _tasks: Vec<Task>,
}

impl Bus {
    /// Starts publishing, listening and polling, over connections that are opened again whenever
    /// they are lost.
    pub(crate) fn start(
        database: Arc<Database>,
        address: BusAddress,
        deployment: DeploymentId,
    ) -> Self {
        let hub = Arc::new(Hub::new());
        let kind = address.kind();
        let tasks = match address {
            BusAddress::Postgres => {
                let carrier = postgres::Postgres(database);
                vec![Task::spawn(hub::run(carrier, Arc::clone(&hub)))]
            }
            BusAddress::Nats(nats) => {
                let carrier = nats::Nats::new(nats, deployment);
                vec![
                    Task::spawn(hub::run(carrier, Arc::clone(&hub))),
                    Task::spawn(heads::run(database, Arc::clone(&hub))),
                ]
            }
        };
        Self {
            inner: Arc::new(Inner {
                hub,
                kind,
                _tasks: tasks,
            }),
        }
    }

    /// What carries hints to other servers: `postgres` or `nats`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.inner.kind
    }

    /// Whether hints reach other servers now. While they do not, messages come by polling.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.hub.is_connected()
    }

    /// How often the connection that carries hints was lost since the start.
    #[must_use]
    pub fn interruptions(&self) -> u64 {
        self.inner.hub.interruptions()
    }

    /// Messages that left for other servers since the start; each holds up to 200 hints.
    #[must_use]
    pub fn said(&self) -> u64 {
        self.inner.hub.said()
    }

    /// Messages that came since the start: over Postgres its own among them.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.inner.hub.heard()
    }

    /// Wakes `wake` whenever the log may have grown, until the guard is dropped.
    /// Subscribe first, then read: so a hint between the two is not lost.
    pub fn subscribe(&self, conversation: ConversationId, wake: Arc<dyn Wake>) -> Subscription {
        Subscriptions::subscribe(&self.inner.hub.subscriptions, conversation, wake)
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
        self.inner.hub.subscriptions.contains(conversation)
    }

    /// Passes a signal on to the sessions that read its log now, on all servers. Never waits; a
    /// signal may be lost, and nothing looks for it.
    pub(crate) fn signal(&self, signal: Signal) {
        let signal = Arc::new(signal);
        self.inner.hub.subscriptions.signal(&signal);
        self.inner.hub.outbox.put_signal(signal);
    }

    fn tell(&self, conversation: ConversationId, head: Option<u64>) {
        self.inner.hub.subscriptions.wake(conversation, head);
        self.inner.hub.outbox.put(conversation, head);
    }
}
