//! What the kernel counts for a process: CPU time and memory, read from `/proc`.
//!
//! Linux only; elsewhere every figure is absent. Sockets' kernel buffers belong to no process and
//! are not in these figures.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// The unit of `/proc/PID/stat` times: USER_HZ, 100 a second on every Linux architecture Rust
/// supports.
const TICK: Duration = Duration::from_millis(10);

/// Memory of one process, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    /// Resident set.
    pub(crate) rss_bytes: u64,
    /// Proportional set: pages shared with other processes count by their share.
    pub(crate) pss_bytes: u64,
}

/// The memory of a process; nothing when it is gone.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(Memory {
        rss_bytes: kib_line(&rollup, "Rss:")? * 1024,
        pss_bytes: kib_line(&rollup, "Pss:")? * 1024,
    })
}

fn kib_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time of a process and of its children that ended, user and system together.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    Stat::read(pid).map(|stat| TICK.saturating_mul(stat.ticks))
}

/// CPU time of the threads that a process has now, as exact as the scheduler counts; where it does
/// not tell, as [`cpu`]. What threads used that ended is missing, so it fits processes that keep
/// theirs.
pub(crate) fn cpu_exact(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut sum = None;
    for thread in threads.filter_map(Result::ok) {
        let Ok(counted) = fs::read_to_string(thread.path().join("schedstat")) else {
            continue;
        };
        let nanos = counted.split_whitespace().next()?.parse::<u64>().ok()?;
        *sum.get_or_insert(Duration::ZERO) += Duration::from_nanos(nanos);
    }
    sum.or_else(|| cpu(pid))
}

/// CPU time of a process and all that descend from it.
pub(crate) fn cpu_tree(root: u32) -> Duration {
    let all = table();
    let family = family(root, &all);
    let ticks = all
        .iter()
        .filter(|stat| family.contains(&stat.pid))
        .map(|stat| stat.ticks)
        .fold(0, u32::saturating_add);
    TICK.saturating_mul(ticks)
}

/// Resident memory of a process and all that descend from it.
pub(crate) fn memory_tree(root: u32) -> u64 {
    let family = family(root, &table());
    let memory = family.into_iter().filter_map(memory);
    memory.map(|memory| memory.rss_bytes).sum()
}

/// A process and all that descend from it.
fn family(root: u32, all: &[Stat]) -> Vec<u32> {
    let mut family = vec![root];
    // Each round finds the children of those found; a process has one parent, so this ends.
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(
            all.iter()
                .filter(|stat| stat.parent == parent)
                .map(|s| s.pid),
        );
        next += 1;
    }
    family
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    ticks: u32,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `PID (NAME) STATE PPID … utime stime cutime cstime …`; the name may hold anything, so what
    /// follows is counted from its last bracket.
    fn parse(line: &str) -> Option<Self> {
        let (head, tail) = line.rsplit_once(')')?;
        let pid = head.split_whitespace().next()?.parse().ok()?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks = fields
            .get(11..15)?
            .iter()
            .filter_map(|field| field.parse::<u32>().ok())
            .fold(0, u32::saturating_add);
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            ticks,
        })
    }
}

fn table() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Stat::read)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_fields() {
        let line = "12 (a) b (c) S 7 1 1 0 -1 4 5 6 7 8 100 20 3 4 20 0 1 0 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.ticks), (12, 7, 127));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn exact_time_is_there_and_grows() {
        let own = std::process::id();
        let before = cpu_exact(own).unwrap();
        assert!(before > Duration::ZERO);
        assert!(cpu(own).is_some() && cpu_exact(own).unwrap() >= before);
    }

    #[test]
    fn memory_lines_are_kib() {
        let text = "Rss:                1234 kB\nPss:  99 kB\n";
        assert_eq!(kib_line(text, "Rss:"), Some(1234));
        assert_eq!(kib_line(text, "Swap:"), None);
    }
}
