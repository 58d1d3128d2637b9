//! What is counted, with units, declared once. Labels come from closed enums:
//! no metric ever names a person, an address or a conversation.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sotto_protocol::ErrorCode;

use crate::bus::Bus;
use crate::store::timings::{self, Timings};

/// Which refusals are counted together.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Refused {
    /// The error code's name.
    code: String,
}

/// Which bus is meant.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Carried {
    /// `postgres` or `nats`.
    bus: String,
}

/// All counters of a process.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) connections: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) logins: Counter,
    pub(crate) password_checks: Counter,
    pub(crate) appends: Counter,
    pub(crate) envelopes_delivered: Counter,
    pub(crate) slow_readers_dropped: Counter,
    pub(crate) peers_lost: Counter,
    pub(crate) draining: Gauge,
    pub(crate) blob_bytes_stored: Counter,
    pub(crate) blob_bytes_served: Counter,
    pub(crate) delivery: Histogram,
    refused: Family<Refused, Counter>,
    bus: BusMetrics,
}

/// How hints fare.
struct BusMetrics {
    connected: Family<Carried, Gauge>,
    interruptions: Counter,
    said: Counter,
    heard: Counter,
}

impl Metrics {
    /// Every counter at zero, with what the store counts.
    pub(crate) fn new(store: &Timings) -> Self {
        let mut registry = Registry::with_prefix("sotto_server");
        register_store(&mut registry, store);
        let metrics = Self {
            connections: gauge(&mut registry, "connections", "TCP connections held now"),
            sessions: gauge(&mut registry, "sessions", "Logged-in sessions held now"),
            draining: gauge(
                &mut registry,
                "draining",
                "1 while the server is about to stop",
            ),
            connections_accepted: counter(
                &mut registry,
                "connections_accepted",
                "TCP connections accepted",
            ),
            connections_refused: counter(
                &mut registry,
                "connections_refused",
                "TCP connections closed at once for a limit",
            ),
            handshakes_failed: counter(
                &mut registry,
                "handshakes_failed",
                "Connections that ended before TLS was up",
            ),
            logins: counter(&mut registry, "logins", "Successful logins"),
            password_checks: counter(&mut registry, "password_checks", "bcrypt runs"),
            appends: counter(&mut registry, "appends", "Entries stored and acknowledged"),
            envelopes_delivered: counter(
                &mut registry,
                "envelopes_delivered",
                "Envelopes handed to sessions",
            ),
            slow_readers_dropped: counter(
                &mut registry,
                "slow_readers_dropped",
                "Sessions ended because the peer took nothing for 45 s",
            ),
            peers_lost: counter(
                &mut registry,
                "peers_lost",
                "Sessions ended because the peer said nothing for 45 s",
            ),
            blob_bytes_stored: counter(
                &mut registry,
                "blob_bytes_stored",
                "Bytes of sealed files stored",
            ),
            blob_bytes_served: counter(
                &mut registry,
                "blob_bytes_served",
                "Bytes of sealed files handed out",
            ),
            delivery: delivery(&mut registry),
            bus: BusMetrics::new(&mut registry),
            refused: refusals(&mut registry),
            registry: Registry::default(),
        };
        Self {
            registry,
            ..metrics
        }
    }

    /// Counts a refused request.
    pub(crate) fn count_refused(&self, code: ErrorCode) {
        let code = code.name().to_owned();
        self.refused.get_or_create(&Refused { code }).inc();
    }

    /// Takes in how the bus is now.
    pub(crate) fn show_bus(&self, bus: &Bus) {
        self.bus.show(bus);
    }

    /// Everything in the format that Prometheus reads.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn refusals(registry: &mut Registry) -> Family<Refused, Counter> {
    let refused: Family<Refused, Counter> = Family::default();
    registry.register(
        "requests_refused",
        "Requests refused, by error code",
        refused.clone(),
    );
    // From zero: the first refusal of a kind is a growth, too.
    for code in ErrorCode::ALL {
        let code = code.name().to_owned();
        refused.get_or_create(&Refused { code }).inc_by(0);
    }
    refused
}

impl BusMetrics {
    fn new(registry: &mut Registry) -> Self {
        let connected: Family<Carried, Gauge> = Family::default();
        registry.register(
            "bus_connected",
            "1 while hints reach other servers; otherwise messages come by polling",
            connected.clone(),
        );
        Self {
            connected,
            interruptions: counter(
                registry,
                "bus_interruptions",
                "Times that the connection which carries hints was lost",
            ),
            said: counter(
                registry,
                "bus_messages_said",
                "Messages with hints that left for other servers",
            ),
            heard: counter(
                registry,
                "bus_messages_heard",
                "Messages with hints that came; over Postgres a server hears its own too",
            ),
        }
    }

    fn show(&self, bus: &Bus) {
        let kind = bus.kind().to_owned();
        let connected = self.connected.get_or_create(&Carried { bus: kind });
        connected.set(i64::from(bus.is_connected()));
        for (counter, count) in [
            (&self.interruptions, bus.interruptions()),
            (&self.said, bus.said()),
            (&self.heard, bus.heard()),
        ] {
            counter.inner().store(count, Ordering::Relaxed);
        }
    }
}

fn delivery(registry: &mut Registry) -> Histogram {
    let delivery = timings::seconds();
    registry.register(
        "delivery_seconds",
        "From a hint to a session until entries of a log are handed to it",
        delivery.clone(),
    );
    delivery
}

/// What the store counts of messages' steps.
fn register_store(registry: &mut Registry, store: &Timings) {
    registry.register(
        "append_wait_seconds",
        "A message waits for its transaction to begin",
        store.append_wait.clone(),
    );
    registry.register(
        "append_transaction_seconds",
        "The transaction that a message went into",
        store.append_transaction.clone(),
    );
    registry.register(
        "append_batches",
        "Transactions of messages",
        store.append_batches.clone(),
    );
    registry.register(
        "read_seconds",
        "From asking for entries of a log until they are there",
        store.read.clone(),
    );
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}
