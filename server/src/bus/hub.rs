//! What a bus is made of whatever carries its hints: who waits, what waits to be said, and whether
//! the line is up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::outbox::Outbox;
use super::payload;
use super::subscriptions::Subscriptions;
use crate::store::connect::Backoff;

/// A line that held this long was a good one: the next attempt comes at once. Whoever takes
/// connections and drops them again is not asked, and nobody woken, twenty times a second.
const STEADY: Duration = Duration::from_secs(5);

/// The parts that subscribers, publishers and carriers share.
pub(super) struct Hub {
    pub(super) subscriptions: std::sync::Arc<Subscriptions>,
    pub(super) outbox: Outbox,
    /// 8 random bytes in hexadecimal: this server among those that speak here.
    pub(super) name: String,
    connected: AtomicBool,
    interruptions: AtomicU64,
    said: AtomicU64,
    heard: AtomicU64,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self {
            subscriptions: std::sync::Arc::new(Subscriptions::new()),
            outbox: Outbox::new(),
            name: format!("{:016x}", rand::random::<u64>()),
            connected: AtomicBool::new(false),
            interruptions: AtomicU64::new(0),
            said: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// How often the line was lost.
    pub(super) fn interruptions(&self) -> u64 {
        self.interruptions.load(Ordering::Relaxed)
    }

    /// Messages that left for other servers.
    pub(super) fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }

    /// Messages that came, its own among them where the carrier echoes.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The line is up and not allowed to carry: what is said on it is not heard.
    pub(super) fn refused(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    /// So many messages left.
    pub(super) fn count_said(&self, messages: u64) {
        self.said.fetch_add(messages, Ordering::Relaxed);
    }

    /// Takes in what somebody said.
    pub(super) fn hear(&self, payload: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        payload::hear(payload, &self.subscriptions, &self.name);
    }

    /// What waits to be said now, in the form in which others hear it.
    pub(super) fn take_payloads(&self) -> Vec<String> {
        payload::payloads(&self.outbox.take(), &self.name)
    }
}

/// One way to carry hints between servers. What it loses costs time and nothing else.
pub(super) trait Carrier: Send + Sync + 'static {
    /// A connection.
    type Line: Send;
    /// Why there is none.
    type Error: std::fmt::Display + Send;

    /// Opens a connection that hears what others say from now on. Bounded in time.
    fn open(&self) -> impl Future<Output = Result<Self::Line, Self::Error>> + Send;

    /// Carries hints both ways. Returns when the connection is of no more use.
    fn carry(&self, line: Self::Line, hub: &Hub) -> impl Future<Output = ()> + Send;
}

/// Keeps hints going for ever, over a connection that is opened again whenever it is lost.
pub(super) async fn run(carrier: impl Carrier, hub: std::sync::Arc<Hub>) {
    let mut backoff = Backoff::new();
    let mut said = false;
    loop {
        backoff.wait().await;
        match carrier.open().await {
            Ok(line) => {
                said = false;
                hub.connected.store(true, Ordering::Relaxed);
                // What was said for a moment is over.
                hub.outbox.forget_signals();
                // Whatever was said since the last connection was not heard.
                hub.subscriptions.wake_all();
                let opened = Instant::now();
                carrier.carry(line, &hub).await;
                if opened.elapsed() >= STEADY {
                    backoff.succeeded();
                }
                hub.connected.store(false, Ordering::Relaxed);
                hub.interruptions.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("hints interrupted; logs are polled meanwhile");
            }
            Err(error) if said => tracing::debug!(%error, "no connection for hints"),
            Err(error) => {
                said = true;
                tracing::warn!(%error, "no connection for hints; logs are polled meanwhile");
            }
        }
        backoff.failed();
    }
}
