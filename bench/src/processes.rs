//! CPU and memory of every process of a deployment, and of the generator, over a stretch.

use std::time::{Duration, Instant};

use crate::clock::now;
use crate::deployment::{Deployment, Kind};
use crate::procfs;
use crate::report::Table;

/// Taken at the start of a stretch.
pub(crate) struct ProcessMeter {
    started: Instant,
    before: Vec<Process>,
}

struct Process {
    name: String,
    pid: u32,
    kind: Option<Kind>,
    cpu: Duration,
    rss_bytes: u64,
}

impl Process {
    fn look(name: &str, pid: u32, kind: Option<Kind>) -> Self {
        let (cpu, rss_bytes) = match kind {
            Some(Kind::Postgres) => (procfs::cpu_tree(pid), procfs::memory_tree(pid)),
            _ => (
                procfs::cpu_exact(pid).unwrap_or_default(),
                procfs::memory(pid).map_or(0, |memory| memory.rss_bytes),
            ),
        };
        Self {
            name: name.to_owned(),
            pid,
            kind,
            cpu,
            rss_bytes,
        }
    }
}

impl ProcessMeter {
    /// Begins.
    pub(crate) fn start(deployment: &Deployment) -> Self {
        let own = Process::look("load generator", std::process::id(), None);
        let others = deployment.processes();
        let others = others
            .iter()
            .filter_map(|one| Some(Process::look(&one.name, one.pid?, Some(one.kind))));
        Self {
            started: now(),
            before: std::iter::once(own).chain(others).collect(),
        }
    }

    /// Ends. Postgres's memory counts pages that its processes share once for each of them.
    pub(crate) fn finish(self) -> Table {
        let span = (now() - self.started).as_secs_f64();
        let columns = ["CPU cores", "MB resident before", "and after"];
        let mut table = Table::new("processes", &columns);
        for before in &self.before {
            let after = Process::look(&before.name, before.pid, before.kind);
            let busy = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            table.row(
                before.name.clone(),
                &[
                    busy / span.max(1e-9),
                    before.rss_bytes as f64 / 1e6,
                    after.rss_bytes as f64 / 1e6,
                ],
            );
        }
        table
    }
}
