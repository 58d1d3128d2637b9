//! CPU by kind of process over a stretch of time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clock::now;
use crate::deployment::{Deployment, Kind, Process};
use crate::procfs;
use crate::report::Run;

/// Taken at the start of a stretch.
pub(crate) struct CpuMeter {
    processes: Vec<Process>,
    started: Instant,
    before: BTreeMap<&'static str, Duration>,
}

impl CpuMeter {
    /// Begins. A process that is restarted later counts as it was until then.
    pub(crate) fn start(deployment: &Deployment) -> Self {
        let processes = deployment.processes();
        Self {
            before: used(&processes),
            processes,
            started: now(),
        }
    }

    /// Ends, and writes cores kept busy and, for `messages` of them, microseconds each into `run`.
    pub(crate) fn finish(self, run: &mut Run, messages: u64) {
        let span = (now() - self.started).as_secs_f64();
        for (kind, after) in used(&self.processes) {
            let before = self.before.get(kind).copied().unwrap_or_default();
            let busy = after.saturating_sub(before).as_secs_f64();
            run.cpu_cores.insert(kind, busy / span);
            if messages > 0 {
                run.cpu_us_each.insert(kind, busy * 1e6 / messages as f64);
            }
        }
    }
}

fn used(processes: &[Process]) -> BTreeMap<&'static str, Duration> {
    let mut by_kind: BTreeMap<&'static str, Duration> = BTreeMap::new();
    by_kind.insert(
        "load generator",
        procfs::cpu(std::process::id()).unwrap_or_default(),
    );
    for process in processes {
        let Some(pid) = process.pid else { continue };
        let (kind, used) = match process.kind {
            Kind::Server => ("servers", procfs::cpu(pid).unwrap_or_default()),
            Kind::Balancer => ("balancer", procfs::cpu(pid).unwrap_or_default()),
            Kind::Postgres => ("postgres", procfs::cpu_tree(pid)),
        };
        *by_kind.entry(kind).or_default() += used;
    }
    by_kind
}
