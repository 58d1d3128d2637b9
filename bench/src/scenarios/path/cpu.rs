//! CPU by what it is used for, as exact as the scheduler counts: the servers, the balancer, this
//! process, and each purpose that Postgres has a process for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clock::now;
use crate::deployment::{Deployment, Kind};
use crate::error::BenchError;
use crate::postgres::PostgresMeter;
use crate::procfs;

/// What this process is called: the clients' sockets and TLS, and the bookkeeping.
pub(super) const GENERATOR: &str = "clients' sockets and TLS (load generator)";
/// All servers together.
const SERVERS: &str = "servers";
/// The balancer.
const BALANCER: &str = "balancer";

/// What everything had used at one moment.
pub(super) struct Look {
    at: Instant,
    used: BTreeMap<u32, (&'static str, Duration)>,
}

/// Looks once.
///
/// # Errors
/// When Postgres does not tell what its processes do.
pub(super) async fn look(
    deployment: &Deployment,
    postgres: &PostgresMeter,
) -> Result<Look, BenchError> {
    let mut processes = postgres.processes().await?;
    processes.push((std::process::id(), GENERATOR));
    for process in deployment.processes() {
        let name = match process.kind {
            Kind::Server => SERVERS,
            Kind::Balancer => BALANCER,
            Kind::Postgres => continue,
        };
        processes.extend(process.pid.map(|pid| (pid, name)));
    }
    let used = processes
        .into_iter()
        .filter_map(|(pid, name)| Some((pid, (name, procfs::cpu_exact(pid)?))));
    Ok(Look {
        at: now(),
        used: used.collect(),
    })
}

impl Look {
    /// Cores kept busy since an earlier look, by purpose as it is now. Processes that came or went
    /// meanwhile are left out.
    pub(super) fn since(&self, before: &Self) -> BTreeMap<&'static str, f64> {
        let span = self.at.saturating_duration_since(before.at).as_secs_f64();
        let mut cores = BTreeMap::new();
        for (pid, (name, used)) in &self.used {
            if let Some((_, earlier)) = before.used.get(pid) {
                let busy = used.saturating_sub(*earlier).as_secs_f64();
                *cores.entry(*name).or_default() += busy / span.max(1e-9);
            }
        }
        cores
    }
}
