//! CPU by kind of process over a stretch of time.

use std::time::{Duration, Instant};

use crate::clock::now;
use crate::deployment::{Deployment, Kind};
use crate::procfs;
use crate::report::Run;

/// Taken at the start of a stretch.
pub(crate) struct CpuMeter {
    started: Instant,
    before: Vec<Used>,
}

/// What one process, or one family of them, had used.
struct Used {
    kind: &'static str,
    pid: u32,
    family: Family,
    time: Duration,
}

/// Whose time counts.
#[derive(Clone, Copy)]
enum Family {
    /// The process alone.
    Alone,
    /// All that descend from it too.
    Tree,
}

impl Used {
    fn now(kind: &'static str, pid: u32, family: Family) -> Self {
        let time = match family {
            Family::Alone => procfs::cpu(pid).unwrap_or_default(),
            Family::Tree => procfs::cpu_tree(pid),
        };
        Self {
            kind,
            pid,
            family,
            time,
        }
    }
}

impl CpuMeter {
    /// Begins. A process that ends meanwhile counts nothing, nor does one that takes its place.
    pub(crate) fn start(deployment: &Deployment) -> Self {
        let mut before = vec![Used::now(
            "load generator",
            std::process::id(),
            Family::Alone,
        )];
        for process in deployment.processes() {
            let Some(pid) = process.pid else { continue };
            before.push(match process.kind {
                Kind::Server => Used::now("servers", pid, Family::Alone),
                Kind::Balancer => Used::now("balancer", pid, Family::Alone),
                Kind::Postgres => Used::now("postgres", pid, Family::Tree),
            });
        }
        Self {
            started: now(),
            before,
        }
    }

    /// Begins for one process of another chat server, and ourselves.
    pub(crate) fn of_peer(kind: &'static str, pid: u32) -> Self {
        let before = vec![
            Used::now("load generator", std::process::id(), Family::Alone),
            Used::now(kind, pid, Family::Alone),
        ];
        Self {
            started: now(),
            before,
        }
    }

    /// Ends, and writes cores kept busy and, for `messages` of them, microseconds each into `run`.
    pub(crate) fn finish(self, run: &mut Run, messages: u64) {
        let span = (now() - self.started).as_secs_f64();
        for before in &self.before {
            let after = Used::now(before.kind, before.pid, before.family);
            let busy = after.time.saturating_sub(before.time).as_secs_f64();
            *run.cpu_cores.entry(before.kind).or_default() += busy / span;
            if messages > 0 {
                *run.cpu_us_each.entry(before.kind).or_default() += busy * 1e6 / messages as f64;
            }
        }
    }
}
