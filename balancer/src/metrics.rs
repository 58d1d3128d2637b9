//! Metrics, declared once. Labels come from closed sets: reasons here, and the backends of
//! the configuration.

use crate::health::{ProbeOutcome, State};
use crate::limits::PrefixRefusal;
use crate::pool::BackendStatus;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Label = [(&'static str, &'static str); 1];
type BackendLabel = [(&'static str, String); 1];

/// Why a client was closed without a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    PrefixConnections,
    PrefixRate,
    ClientLeft,
    HelloTimeout,
    NotAHello,
    Busy,
    RetryBudget,
    NoBackend,
}

impl Refusal {
    const ALL: [Self; 8] = [
        Self::PrefixConnections,
        Self::PrefixRate,
        Self::ClientLeft,
        Self::HelloTimeout,
        Self::NotAHello,
        Self::Busy,
        Self::RetryBudget,
        Self::NoBackend,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PrefixConnections => "prefix_connections",
            Self::PrefixRate => "prefix_rate",
            Self::ClientLeft => "client_left",
            Self::HelloTimeout => "hello_timeout",
            Self::NotAHello => "not_a_hello",
            Self::Busy => "busy",
            Self::RetryBudget => "retry_budget",
            Self::NoBackend => "no_backend",
        }
    }
}

impl From<PrefixRefusal> for Refusal {
    fn from(refusal: PrefixRefusal) -> Self {
        match refusal {
            PrefixRefusal::TooMany => Self::PrefixConnections,
            PrefixRefusal::TooFast => Self::PrefixRate,
        }
    }
}

/// How an attempt at a backend failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptFailure {
    Refused,
    Closed,
    Silent,
}

impl AttemptFailure {
    const ALL: [Self; 3] = [Self::Refused, Self::Closed, Self::Silent];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Silent => "silent",
        }
    }
}

/// Everything that is counted as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    refused: Family<Label, Counter>,
    attempt_failures: Family<Label, Counter>,
    probes: Family<Label, Counter>,
    pub(crate) retries: Counter,
    pub(crate) ejections: Counter,
    pub(crate) closed_by_health: Counter,
    pub(crate) bytes_to_servers: Counter,
    pub(crate) bytes_to_clients: Counter,
    pub(crate) reloads: Counter,
    pub(crate) connect_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            accepted: Counter::default(),
            refused: Family::default(),
            attempt_failures: Family::default(),
            probes: Family::default(),
            retries: Counter::default(),
            ejections: Counter::default(),
            closed_by_health: Counter::default(),
            bytes_to_servers: Counter::default(),
            bytes_to_clients: Counter::default(),
            reloads: Counter::default(),
            connect_seconds: Histogram::new([
                0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
            ]),
        };
        // From zero: the first of a kind is a growth, too.
        for refusal in Refusal::ALL {
            let reason = refusal.as_str();
            metrics
                .refused
                .get_or_create(&[("reason", reason)])
                .inc_by(0);
        }
        for failure in AttemptFailure::ALL {
            let cause = failure.as_str();
            metrics
                .attempt_failures
                .get_or_create(&[("cause", cause)])
                .inc_by(0);
        }
        metrics
    }
}

impl Metrics {
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.refused
            .get_or_create(&[("reason", refusal.as_str())])
            .inc();
    }

    /// How many clients were closed for each reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.into_iter().map(|refusal| {
            let reason = refusal.as_str();
            (
                reason,
                self.refused.get_or_create(&[("reason", reason)]).get(),
            )
        })
    }

    pub(crate) fn fail(&self, failure: AttemptFailure) {
        self.attempt_failures
            .get_or_create(&[("cause", failure.as_str())])
            .inc();
    }

    pub(crate) fn probe(&self, outcome: ProbeOutcome) {
        let outcome = match outcome {
            ProbeOutcome::Ready => "ready",
            ProbeOutcome::NotReady => "not_ready",
            ProbeOutcome::Failed => "failed",
        };
        self.probes.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn moved(counter: &Counter, bytes: usize) {
        if bytes > 0 {
            counter.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }

    /// The text that Prometheus reads.
    pub(crate) fn render(
        &self,
        connections: u32,
        backends: &[BackendStatus],
    ) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("sotto_balancer");
        self.register(&mut registry);
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::from(connections));
        registry.register("connections", "Clients that are there now", gauge);
        register_backends(&mut registry, backends);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register(&self, registry: &mut Registry) {
        let counters = [
            ("connections_accepted", "Clients accepted", &self.accepted),
            (
                "retries",
                "Attempts after a client's first one",
                &self.retries,
            ),
            ("ejections", "Ejections of a backend", &self.ejections),
            (
                "connections_closed_by_health",
                "Clients closed because their backend went down",
                &self.closed_by_health,
            ),
            (
                "to_server_bytes",
                "Bytes relayed to servers",
                &self.bytes_to_servers,
            ),
            (
                "to_client_bytes",
                "Bytes relayed to clients",
                &self.bytes_to_clients,
            ),
            ("reloads", "Configurations taken over", &self.reloads),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let families = [
            (
                "connections_refused",
                "Clients closed without a server",
                &self.refused,
            ),
            (
                "attempt_failures",
                "Attempts at a backend that failed",
                &self.attempt_failures,
            ),
            ("probes", "Answers to health probes", &self.probes),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        let help = "From a whole ClientHello to the server's first byte";
        registry.register("connect_seconds", help, self.connect_seconds.clone());
    }
}

fn register_backends(registry: &mut Registry, backends: &[BackendStatus]) {
    let up: Family<BackendLabel, Gauge> = Family::default();
    let connections: Family<BackendLabel, Gauge> = Family::default();
    let handshakes: Family<BackendLabel, Gauge> = Family::default();
    let total: Family<BackendLabel, Counter> = Family::default();
    let failures: Family<BackendLabel, Counter> = Family::default();
    for backend in backends {
        let label = [("backend", backend.id.clone())];
        up.get_or_create(&label)
            .inc_by(i64::from(backend.state == State::Up));
        connections
            .get_or_create(&label)
            .inc_by(i64::from(backend.connections));
        handshakes
            .get_or_create(&label)
            .inc_by(i64::from(backend.handshakes));
        total.get_or_create(&label).inc_by(backend.total);
        failures.get_or_create(&label).inc_by(backend.failures);
    }
    registry.register("backend_up", "Whether the backend is given clients", up);
    registry.register("backend_connections", "Clients at the backend", connections);
    registry.register(
        "backend_handshakes",
        "Attempts without a first byte",
        handshakes,
    );
    registry.register("backend_clients", "Clients that the backend served", total);
    registry.register(
        "backend_failures",
        "Attempts at the backend that failed",
        failures,
    );
}
