//! A running balancer: start, reload, drain.

use crate::config::Config;
use crate::core::{Core, Phase, lock};
use crate::pool::Serial;
use crate::{admin, listener, probe, sockets};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A balancer that runs in the current Tokio runtime. Dropping it ends its tasks, the
/// relayed connections aside; [`Balancer::drain`] ends those too.
#[derive(Debug)]
pub struct Balancer {
    core: Arc<Core>,
    listen: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    probes: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a balancer could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("a socket that the supervisor handed over cannot be used: {0}")]
    Inherited(#[source] io::Error),
}

/// Why a new configuration was not taken over; the old one stays in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// A key that only a new process can follow.
    #[error("`{0}` cannot change without a restart")]
    NeedsRestart(&'static str),
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every client left by itself.
    Completely,
    /// The time was over; so many connections were closed.
    Closed(usize),
}

impl Balancer {
    /// Listens and begins to serve. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if an address cannot be bound.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, Vec::new())
    }

    /// As [`Self::start`], on sockets that listen already; with any, `listen` is not bound.
    ///
    /// # Errors
    /// [`StartError`] if an address cannot be bound or a socket cannot be used.
    pub fn start_on(
        config: Config,
        inherited: Vec<std::net::TcpListener>,
    ) -> Result<Self, StartError> {
        let bind = |address: SocketAddr| {
            let bound = sockets::listen(address)
                .and_then(|listener| Ok((listener.local_addr()?, listener)));
            bound.map_err(|source| StartError::Listen { address, source })
        };
        let adopt = |socket: std::net::TcpListener| {
            let adopted = socket
                .local_addr()
                .and_then(|address| Ok((address, TcpListener::from_std(socket)?)));
            adopted.map_err(StartError::Inherited)
        };
        let listeners = if inherited.is_empty() {
            let bound = config.listen.iter().copied().map(bind);
            bound.collect::<Result<Vec<_>, _>>()?
        } else {
            let adopted = inherited.into_iter().map(adopt);
            adopted.collect::<Result<Vec<_>, _>>()?
        };
        let admin = config.admin.map(bind).transpose()?;
        let connections_max = match config.limits.connections_max {
            0 => sockets::connections_possible(),
            given => given,
        };
        let core = Core::new(config, connections_max);
        let mut balancer = Self {
            core,
            listen: listeners.iter().map(|(address, _)| *address).collect(),
            admin: admin.as_ref().map(|(address, _)| *address),
            tasks: Vec::new(),
            probes: Mutex::default(),
        };
        balancer.start_probes();
        for (_, socket) in listeners {
            let task = listener::run(Arc::clone(&balancer.core), socket);
            balancer.tasks.push(tokio::spawn(task));
        }
        if let Some((_, socket)) = admin {
            balancer
                .tasks
                .push(tokio::spawn(admin::run(Arc::clone(&balancer.core), socket)));
        }
        Ok(balancer)
    }

    /// Where clients connect, with the ports that the system chose.
    #[must_use]
    pub fn listen_addresses(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Where status and metrics are, if anywhere.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Takes over a checked configuration. Connections stay; those of removed backends may
    /// finish for `timeouts.backend_drain_ms`.
    ///
    /// # Errors
    /// [`ReloadError`] if a key changed that needs a new process; nothing changes then.
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let old = self.core.config.load();
        let changed = |name, differs: bool| {
            if differs {
                Err(ReloadError::NeedsRestart(name))
            } else {
                Ok(())
            }
        };
        changed("listen", old.listen != config.listen)?;
        changed("admin", old.admin != config.admin)?;
        let limit = (old.limits.connections_max, config.limits.connections_max);
        changed("limits.connections_max", limit.0 != limit.1)?;
        if old.limits.retry_reserve != config.limits.retry_reserve {
            self.core.set_retry_reserve(config.limits.retry_reserve);
        }
        let drain = Duration::from_millis(config.timeouts.backend_drain_ms);
        let left = self
            .core
            .pool()
            .apply(config.pool_settings(), &config.backends);
        self.core.config.store(Arc::new(config));
        self.start_probes();
        self.core.metrics.reloads.inc();
        for serial in left {
            tokio::spawn(close_later(Arc::clone(&self.core), serial, drain));
        }
        Ok(())
    }

    /// Stops accepting, waits for the clients to leave for at most `timeouts.drain_ms`, then
    /// closes the rest.
    pub async fn drain(self) -> Drained {
        self.core.phase.send_replace(Phase::Draining);
        let span = Duration::from_millis(self.core.config.load().timeouts.drain_ms);
        let empty = self.core.permits.acquire_many(self.core.connections_max);
        if timeout(span, empty).await.is_ok() {
            return Drained::Completely;
        }
        Drained::Closed(self.core.registry.close_all())
    }

    fn start_probes(&self) {
        let mut probes = lock(&self.probes);
        for task in probes.drain(..) {
            task.abort();
        }
        for (serial, backend) in self.core.pool().members() {
            if let Some(url) = backend.health.clone() {
                probes.push(tokio::spawn(probe::run(
                    Arc::clone(&self.core),
                    serial,
                    url,
                )));
            }
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        for task in self.tasks.iter().chain(lock(&self.probes).iter()) {
            task.abort();
        }
    }
}

async fn close_later(core: Arc<Core>, serial: Serial, span: Duration) {
    tokio::time::sleep(span).await;
    let closed = core.registry.close(serial);
    if closed > 0 {
        tracing::info!(closed, "a removed backend's last connections are closed");
    }
}
