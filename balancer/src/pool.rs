//! The pool: which backend a client is sent to, and what is known of each.
//!
//! A pick walks the rendezvous order of the client's key and takes the first backend that is
//! available, below its bounded-load capacity and below its limit of handshakes in flight.
//! When none is available at all, the order alone decides: a wrong guess costs a retry, a
//! refusal would cost the client. Counts are this balancer's own; two balancers with the same
//! configuration and like health place a client alike as long as no bound bites.
//!
//! Pure: no sockets, no clock. Whoever picks reports failures by [`Pool::handle_failure`] and
//! the attempt's end by one of [`Pool::handle_answered`] and [`Pool::handle_ended`]; after an
//! answer, [`Pool::handle_closed`] says that the connection is over.

use crate::affinity::AffinityKey;
use crate::config::{BackendConfig, Endpoint};
use crate::hash::{self, Candidate, Place, Seed, capacity};
use crate::health::{
    Availability, EjectionRoom, Health, HealthSettings, ProbeOutcome, State, Transition,
};
use std::time::Duration;

/// One backend during one stay in the configuration; never used again after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Serial(u64);

/// Settings that every backend shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolSettings {
    pub(crate) health: HealthSettings,
    /// Attempts without a first byte that one backend may have at a time.
    pub(crate) handshakes_max: u32,
}

/// Where to send a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) serial: Serial,
    pub(crate) address: Endpoint,
}

/// Why there is nowhere to send a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PickError {
    #[error("every backend was tried")]
    Exhausted,
    #[error("every backend has too many handshakes in flight")]
    Busy,
}

/// What people and metrics are told about a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendStatus {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) state: State,
    pub(crate) weight: u32,
    /// Clients there now, attempts included.
    pub(crate) connections: u32,
    /// Attempts that have had no first byte yet.
    pub(crate) handshakes: u32,
    /// Clients ever served.
    pub(crate) total: u64,
    /// Attempts that were refused, closed or met silence.
    pub(crate) failures: u64,
}

#[derive(Debug)]
struct Backend {
    serial: Serial,
    config: BackendConfig,
    seed: Seed,
    health: Health,
    connections: u32,
    handshakes: u32,
    total: u64,
    failures: u64,
}

/// All backends.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: PoolSettings,
    /// Sorted by id, so that equal configurations give equal pools.
    backends: Vec<Backend>,
    /// Removed from the configuration while they still had clients.
    leaving: Vec<Backend>,
    next_serial: u64,
}

impl Pool {
    pub(crate) fn new(settings: PoolSettings, backends: &[BackendConfig]) -> Self {
        let mut pool = Self {
            settings,
            backends: Vec::new(),
            leaving: Vec::new(),
            next_serial: 0,
        };
        pool.apply(settings, backends);
        pool
    }

    /// Takes over a new configuration. Backends that stay keep their health and their
    /// clients; one whose address or health address changed counts as another backend.
    /// Returns the backends that left.
    pub(crate) fn apply(
        &mut self,
        settings: PoolSettings,
        configs: &[BackendConfig],
    ) -> Vec<Serial> {
        self.settings = settings;
        let mut old = std::mem::take(&mut self.backends);
        for config in configs {
            let kept = old
                .iter()
                .position(|backend| backend.config.is_same_place(config));
            let backend = match kept {
                Some(index) => Backend {
                    config: config.clone(),
                    ..old.swap_remove(index)
                },
                None => self.join(config),
            };
            self.backends.push(backend);
        }
        self.backends.sort_by(|a, b| a.config.id.cmp(&b.config.id));
        let left = old.iter().map(|backend| backend.serial).collect();
        self.leaving
            .extend(old.into_iter().filter(|backend| backend.connections > 0));
        left
    }

    fn join(&mut self, config: &BackendConfig) -> Backend {
        let serial = Serial(self.next_serial);
        self.next_serial += 1;
        let health = if config.health.is_some() {
            Health::checked()
        } else {
            Health::assumed()
        };
        Backend {
            serial,
            seed: Seed::of(&config.id),
            config: config.clone(),
            health,
            connections: 0,
            handshakes: 0,
            total: 0,
            failures: 0,
        }
    }

    /// Chooses a backend that is not among `tried` and counts the attempt in.
    pub(crate) fn pick(
        &mut self,
        key: AffinityKey,
        now: Duration,
        tried: &[Serial],
    ) -> Result<Pick, PickError> {
        let index = self.choose(key, now, tried)?;
        let backend = self.backends.get_mut(index).ok_or(PickError::Exhausted)?;
        if backend.health.availability(now) == Availability::Trial {
            backend.health.begin_trial();
        }
        backend.connections += 1;
        backend.handshakes += 1;
        Ok(Pick {
            serial: backend.serial,
            address: backend.config.address.clone(),
        })
    }

    fn choose(
        &self,
        key: AffinityKey,
        now: Duration,
        tried: &[Serial],
    ) -> Result<usize, PickError> {
        let place = Place::of(key);
        let (mut total, mut weights) = (1_u64, 0_u64);
        for backend in self
            .backends
            .iter()
            .filter(|backend| backend.is_available(now))
        {
            total += u64::from(backend.connections);
            weights += u64::from(backend.config.weight);
        }
        let roomy = |backend: &Backend| {
            let room = capacity(total, backend.config.weight, weights);
            backend.is_available(now) && u64::from(backend.connections) < room
        };
        let untried = |backend: &Backend| !tried.contains(&backend.serial);
        if !self.backends.iter().any(untried) {
            return Err(PickError::Exhausted);
        }
        let idle = |backend: &Backend| {
            untried(backend) && backend.handshakes < self.settings.handshakes_max
        };
        // Below its bound; else any available one (retries only); else by order alone.
        self.nearest(place, |backend| idle(backend) && roomy(backend))
            .or_else(|| self.nearest(place, |backend| idle(backend) && backend.is_available(now)))
            .or_else(|| self.nearest(place, idle))
            .ok_or(PickError::Busy)
    }

    fn nearest(&self, place: Place, eligible: impl Fn(&Backend) -> bool) -> Option<usize> {
        let candidates = self.backends.iter().enumerate();
        hash::nearest(
            place,
            candidates
                .filter(|(_, backend)| eligible(backend))
                .map(|(index, backend)| Candidate {
                    index,
                    seed: backend.seed,
                    weight: backend.config.weight,
                }),
        )
    }

    /// The backend sent its first byte: the client is served there.
    pub(crate) fn handle_answered(&mut self, serial: Serial) {
        if let Some(backend) = self.find(serial) {
            backend.handshakes = backend.handshakes.saturating_sub(1);
            backend.total += 1;
            backend.health.handle_answered();
        }
    }

    /// The backend refused, closed or stayed silent; the attempt is over only with
    /// [`Pool::handle_ended`]. Returns the backend's id and for how long it is ejected, if
    /// this was one failure too many.
    pub(crate) fn handle_failure(
        &mut self,
        serial: Serial,
        now: Duration,
    ) -> Option<(String, Duration)> {
        let room = self.ejection_room(serial, now);
        let settings = self.settings.health;
        let backend = self.find(serial)?;
        backend.failures += 1;
        let span = backend.health.handle_attempt_failed(now, room, &settings)?;
        Some((backend.config.id.clone(), span))
    }

    /// The attempt ended without an answer, failed or not.
    pub(crate) fn handle_ended(&mut self, serial: Serial, now: Duration) {
        if let Some(backend) = self.find(serial) {
            backend.handshakes = backend.handshakes.saturating_sub(1);
            backend.health.handle_abandoned(now);
        }
        self.handle_closed(serial);
    }

    /// A client that was served there is gone.
    pub(crate) fn handle_closed(&mut self, serial: Serial) {
        if let Some(backend) = self.find(serial) {
            backend.connections = backend.connections.saturating_sub(1);
        }
        self.leaving.retain(|backend| backend.connections > 0);
    }

    /// A probe has spoken. Returns the backend's id with what changed.
    pub(crate) fn handle_probe(
        &mut self,
        serial: Serial,
        outcome: ProbeOutcome,
    ) -> Option<(String, Transition)> {
        let settings = self.settings.health;
        let backend = self
            .backends
            .iter_mut()
            .find(|backend| backend.serial == serial)?;
        let transition = backend.health.handle_probe(outcome, &settings)?;
        Some((backend.config.id.clone(), transition))
    }

    /// What has to be probed.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Serial, &BackendConfig)> {
        self.backends
            .iter()
            .map(|backend| (backend.serial, &backend.config))
    }

    /// Backends that may be given clients now.
    pub(crate) fn available(&self, now: Duration) -> usize {
        self.backends
            .iter()
            .filter(|backend| backend.is_available(now))
            .count()
    }

    pub(crate) fn status(&self, now: Duration) -> Vec<BackendStatus> {
        let stays = self
            .backends
            .iter()
            .map(|backend| backend.status(backend.health.state(now)));
        let leaves = self
            .leaving
            .iter()
            .map(|backend| backend.status(State::Draining));
        stays.chain(leaves).collect()
    }

    fn ejection_room(&self, serial: Serial, now: Duration) -> EjectionRoom {
        let out = self
            .backends
            .iter()
            .filter(|backend| backend.serial != serial && !backend.is_available(now))
            .count();
        if (out + 1) * 2 <= self.backends.len() {
            EjectionRoom::Available
        } else {
            EjectionRoom::Exhausted
        }
    }

    fn find(&mut self, serial: Serial) -> Option<&mut Backend> {
        let mut all = self.backends.iter_mut().chain(&mut self.leaving);
        all.find(|backend| backend.serial == serial)
    }
}

impl Backend {
    fn is_available(&self, now: Duration) -> bool {
        self.health.availability(now) != Availability::Closed
    }

    fn status(&self, state: State) -> BackendStatus {
        BackendStatus {
            id: self.config.id.clone(),
            address: self.config.address.to_string(),
            state,
            weight: self.config.weight,
            connections: self.connections,
            handshakes: self.handshakes,
            total: self.total,
            failures: self.failures,
        }
    }
}

#[cfg(test)]
mod tests;
