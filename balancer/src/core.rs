//! What all connections share, and the guards that count them in and out.
//!
//! Every count is given back by a guard's `Drop`, so that a task may be ended anywhere.
//! Locks are held for the length of a computation, never over an await.

use crate::affinity::AffinityKey;
use crate::config::Config;
use crate::health::{ProbeOutcome, Transition};
use crate::limits::{LogGate, PrefixRefusal, PrefixTable, RetryBudget};
use crate::metrics::Metrics;
use crate::pool::{BackendStatus, Pick, PickError, Pool, Serial};
use crate::registry::{Registry, RelayId};
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Locks; a panic elsewhere does not make counts unreadable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the balancer as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// No new clients; those that are there may finish.
    Draining,
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Core {
    started: Instant,
    pub(crate) config: ArcSwap<Config>,
    pool: Mutex<Pool>,
    prefixes: Mutex<PrefixTable>,
    budget: Mutex<RetryBudget>,
    gate: Mutex<LogGate>,
    /// One permit per client that may be there; accepting waits for one.
    pub(crate) permits: Semaphore,
    pub(crate) connections_max: u32,
    connections: AtomicU32,
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) phase: watch::Sender<Phase>,
}

impl Core {
    pub(crate) fn new(config: Config, connections_max: u32) -> Arc<Self> {
        #[expect(clippy::disallowed_methods, reason = "the shell's clock starts here")]
        let started = Instant::now();
        let pool = Pool::new(config.pool_settings(), &config.backends);
        Arc::new(Self {
            started,
            pool: Mutex::new(pool),
            prefixes: Mutex::default(),
            budget: Mutex::new(RetryBudget::new(config.limits.retry_reserve)),
            gate: Mutex::default(),
            permits: Semaphore::new(usize::try_from(connections_max).unwrap_or(usize::MAX)),
            connections_max,
            connections: AtomicU32::new(0),
            registry: Registry::default(),
            metrics: Metrics::default(),
            phase: watch::Sender::new(Phase::Serving),
            config: ArcSwap::from_pointee(config),
        })
    }

    /// The time that pure modules are given: since the balancer started.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    /// Clients that are there now, those without a backend included.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn backends(&self) -> Vec<BackendStatus> {
        self.pool().status(self.now())
    }

    /// Whether clients should be sent to this balancer.
    pub(crate) fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Serving && self.pool().available(self.now()) > 0
    }

    /// Counts a client in. The caller has taken one of `permits`, which the guard gives back.
    pub(crate) fn admit(self: &Arc<Self>, key: AffinityKey) -> Result<Admission, PrefixRefusal> {
        let settings = self.config.load().prefix_settings();
        let admitted = lock(&self.prefixes).admit(key, self.now(), &settings);
        if let Err(refusal) = admitted {
            self.permits.add_permits(1);
            return Err(refusal);
        }
        lock(&self.budget).earn();
        self.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            core: Arc::clone(self),
            key,
        })
    }

    pub(crate) fn spend_retry(&self) -> Option<()> {
        lock(&self.budget).spend()
    }

    pub(crate) fn set_retry_reserve(&self, reserve: u32) {
        *lock(&self.budget) = RetryBudget::new(reserve);
    }

    /// How many lines about clients were kept back, if one may be logged now.
    pub(crate) fn may_log(&self) -> Option<u64> {
        lock(&self.gate).pass(self.now())
    }

    /// Picks a backend and counts the attempt in.
    pub(crate) fn attempt(
        self: &Arc<Self>,
        key: AffinityKey,
        tried: &[Serial],
    ) -> Result<(Pick, Attempt), PickError> {
        let pick = self.pool().pick(key, self.now(), tried)?;
        let core = Arc::clone(self);
        let attempt = Attempt {
            core,
            serial: pick.serial,
            settled: Settled::No,
        };
        Ok((pick, attempt))
    }

    /// Acts on a probe's outcome.
    pub(crate) fn handle_probe(&self, serial: Serial, outcome: ProbeOutcome) {
        let changed = self.pool().handle_probe(serial, outcome);
        let Some((backend, transition)) = changed else {
            return;
        };
        match transition {
            Transition::CameUp => tracing::info!(backend, "backend is up"),
            Transition::StoppedTaking => {
                tracing::info!(backend, "backend takes no new clients (it says not ready)");
            }
            Transition::WentDown => {
                let closed = self.registry.close(serial);
                self.metrics
                    .closed_by_health
                    .inc_by(u64::try_from(closed).unwrap_or(u64::MAX));
                tracing::warn!(
                    backend,
                    closed,
                    "backend is down; its connections are closed"
                );
            }
        }
    }
}

/// A client that is counted in.
#[derive(Debug)]
pub(crate) struct Admission {
    core: Arc<Core>,
    pub(crate) key: AffinityKey,
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.core.prefixes).release(self.key);
        self.core.connections.fetch_sub(1, Ordering::Relaxed);
        self.core.permits.add_permits(1);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    No,
    /// Its failure is counted; the connection may still answer.
    Silent,
    Yes,
}

/// A client's attempt at one backend, counted out when it is dropped without an answer.
#[derive(Debug)]
pub(crate) struct Attempt {
    core: Arc<Core>,
    serial: Serial,
    settled: Settled,
}

impl Attempt {
    /// The first byte came.
    pub(crate) fn answered(mut self) -> Lease {
        self.settled = Settled::Yes;
        self.core.pool().handle_answered(self.serial);
        let id = self.core.registry.reserve(self.serial);
        Lease {
            core: Arc::clone(&self.core),
            serial: self.serial,
            id,
        }
    }

    /// It was refused or closed.
    pub(crate) fn failed(mut self) {
        self.stayed_silent();
    }

    /// It met silence: a failure, once. The attempt goes on.
    pub(crate) fn stayed_silent(&mut self) {
        if self.settled != Settled::No {
            return;
        }
        self.settled = Settled::Silent;
        let now = self.core.now();
        let ejected = self.core.pool().handle_failure(self.serial, now);
        if let Some((backend, span)) = ejected {
            self.core.metrics.ejections.inc();
            let seconds = span.as_secs_f32();
            tracing::warn!(
                backend,
                seconds,
                "backend fails clients; ejected for a while"
            );
        }
    }

    pub(crate) fn serial(&self) -> Serial {
        self.serial
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.settled != Settled::Yes {
            let now = self.core.now();
            self.core.pool().handle_ended(self.serial, now);
        }
    }
}

/// A served client's place at its backend.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) core: Arc<Core>,
    pub(crate) serial: Serial,
    pub(crate) id: RelayId,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.core.registry.remove(self.serial, self.id);
        self.core.pool().handle_closed(self.serial);
    }
}
