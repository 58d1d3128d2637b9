//! What all sessions of a process share.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sotto_protocol::{DeploymentId, DeviceId, ErrorCode};
use tokio::sync::Semaphore;

use crate::blob_store::BlobStore;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::password::{PasswordError, PasswordPool};
use crate::refusal::Refusal;
use crate::session::bell::{Bell, Wish};
use crate::store::{Store, Taken};

/// What all sessions of a process share.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) passwords: PasswordPool,
    pub(crate) metrics: Metrics,
    pub(crate) sessions: Sessions,
    pub(crate) deployment: DeploymentId,
    /// Judging commits and key packages is work for the processor: as many at once as there are cores.
    judges: Semaphore,
    draining: AtomicBool,
}

impl Server {
    /// Puts the parts together.
    pub(crate) fn new(
        config: Config,
        store: Store,
        blobs: Arc<BlobStore>,
    ) -> Result<Arc<Self>, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = config.password_workers.unwrap_or(cores);
        Ok(Arc::new(Self {
            passwords: PasswordPool::start(workers, config.bcrypt_cost)?,
            metrics: Metrics::new(store.timings()),
            sessions: Sessions::default(),
            deployment: store.deployment_id(),
            judges: Semaphore::new(cores),
            draining: AtomicBool::new(false),
            config,
            store,
            blobs,
        }))
    }

    /// Whether the server is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From here on the server is about to stop, or has been told to stand aside.
    pub(crate) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.metrics.draining.set(1);
    }

    /// The server takes clients again.
    pub(crate) fn end_draining(&self) {
        self.draining.store(false, Ordering::Relaxed);
        self.metrics.draining.set(0);
    }

    /// Runs `work` where it keeps no session waiting but the one that asked.
    pub(crate) async fn judge<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Refusal> + Send + 'static,
    {
        let _permit = self
            .judges
            .acquire()
            .await
            .map_err(|_| Refusal::unavailable())?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Refusal::new(ErrorCode::Internal))?
    }

    /// Takes one of `limit` uses in `window`, counted over all servers.
    pub(crate) async fn take(
        &self,
        key: &[&[u8]],
        window: Duration,
        limit: u32,
    ) -> Result<(), Refusal> {
        match self.store.take(key, window, limit).await? {
            Taken::Allowed => Ok(()),
            Taken::RetryAfter(retry_after_ms) => Err(Refusal::rate_limited(retry_after_ms)),
        }
    }
}

/// The network that an address belongs to, as limits count it: the address
/// itself for IPv4, the first 64 bits for IPv6.
pub(crate) fn network_prefix(address: IpAddr) -> [u8; 9] {
    let mut prefix = [0; 9];
    match address.to_canonical() {
        IpAddr::V4(address) => {
            prefix[0] = 4;
            prefix[1..5].copy_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            prefix[0] = 6;
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            prefix[1..].copy_from_slice(&[a, b, c, d, e, f, g, h]);
        }
    }
    prefix
}

/// The sessions of a process, to be told something all at once.
#[derive(Default)]
pub(crate) struct Sessions {
    next: AtomicU64,
    bells: Mutex<HashMap<u64, Arc<Bell>>>,
}

impl Sessions {
    fn bells(&self) -> MutexGuard<'_, HashMap<u64, Arc<Bell>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session in; returns its number.
    pub(crate) fn enter(&self, bell: Arc<Bell>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.bells().insert(number, bell);
        number
    }

    /// Lets a session go.
    pub(crate) fn leave(&self, number: u64) {
        self.bells().remove(&number);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.bells().len()
    }

    /// Ends the sessions of these devices.
    pub(crate) fn end(&self, devices: &HashSet<DeviceId>) {
        let ended: Vec<_> = self
            .bells()
            .values()
            .filter(|bell| bell.device().is_some_and(|device| devices.contains(device)))
            .map(Arc::clone)
            .collect();
        for bell in ended {
            bell.wish(Wish::Close);
        }
    }

    /// Tells all what the server wants.
    pub(crate) fn wish(&self, wish: Wish) {
        let bells: Vec<_> = self.bells().values().map(Arc::clone).collect();
        for bell in bells {
            bell.wish(wish);
        }
    }
}
