//! What a message costs the client: sealing and storing, opening and storing, each in one
//! transaction of an encrypted database on disk, with the tables and settings of the client's own
//! history. No network and no deployment.

mod side;

use std::time::{Duration, Instant};

use sotto_protocol::{ClientMessageId, DeploymentId};

use self::side::{Side, acquaint};
use crate::args::Args;
use crate::clock::{now, thread_cpu};
use crate::error::BenchError;
use crate::latency::Latencies;
use crate::member::make_device;
use crate::report::{Report, Run};

/// Messages sealed before the peer opens them.
const BATCH: u64 = 64;
/// No run seals more, however long it may take.
const MESSAGES_MAX: u64 = 500_000;

/// Seals and opens for as long as asked.
pub(crate) fn run(args: &Args, report: &mut Report) -> Result<(), BenchError> {
    let folder = std::env::temp_dir().join(format!("sotto-bench-sealing-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(BenchError::io("making a folder"))?;
    let result = run_in(&folder, args.length());
    // What stays is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    report.runs.extend(result?);
    Ok(())
}

/// What a message costs its sender's and its receiver's client: mean time and CPU time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Costs {
    /// Sealed and stored, before it leaves.
    pub(super) seal_us: (f64, f64),
    /// Stored as sent, after the acknowledgement: in nobody's way.
    pub(super) settle_us: (f64, f64),
    /// Opened and stored by the receiver.
    pub(super) open_us: (f64, f64),
}

/// Measures both sides for so long.
///
/// # Errors
/// When the client's part of it fails.
pub(super) fn costs(length: Duration) -> Result<Costs, BenchError> {
    let folder = std::env::temp_dir().join(format!("sotto-bench-costs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(BenchError::io("making a folder"))?;
    let times = times_in(&folder, length);
    // What stays is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    let times = times?;
    Ok(Costs {
        seal_us: times.seal.means_us(),
        settle_us: times.settle.means_us(),
        open_us: times.open.means_us(),
    })
}

fn run_in(folder: &std::path::Path, length: Duration) -> Result<Vec<Run>, BenchError> {
    Ok(times_in(folder, length)?.runs(length))
}

fn times_in(folder: &std::path::Path, length: Duration) -> Result<Times, BenchError> {
    let deployment = DeploymentId::from_bytes(rand::random());
    let names = (make_device(deployment, 1)?, make_device(deployment, 2)?);
    let (mut writer, mut reader) = acquaint(
        &folder.join("writer.db"),
        names.0,
        &folder.join("reader.db"),
        names.1,
    )?;
    let mut times = Times::default();
    let until = now() + length;
    let mut counter = 0;
    while now() < until && counter < MESSAGES_MAX {
        times.batch(&mut writer, &mut reader, counter)?;
        counter += BATCH;
    }
    Ok(times)
}

#[derive(Default)]
struct Times {
    bare: Latencies,
    seal: Steps,
    settle: Steps,
    open: Steps,
    open_together: Steps,
}

/// One transaction, apart and as a whole.
#[derive(Default)]
struct Steps {
    work: Latencies,
    whole: Latencies,
    cpu: Duration,
}

impl Times {
    fn batch(
        &mut self,
        writer: &mut Side,
        reader: &mut Side,
        before: u64,
    ) -> Result<(), BenchError> {
        let mut sealed = Vec::new();
        for counter in before + 1..=before + BATCH {
            let client_id = ClientMessageId::from_bytes(rand::random());
            let payload = self
                .seal
                .time(writer, 1, |writer| writer.seal(&client_id, counter))?;
            self.settle
                .time(writer, 1, |writer| writer.settle(&client_id, counter))?;
            sealed.push((client_id, counter, payload));
        }
        let started = now();
        reader.bare_commit()?;
        self.bare.record(since(started));
        // Half arrive one at a time, half as one delivery.
        let (single, together) = sealed.split_at(sealed.len() / 2);
        for message in single {
            let message = std::slice::from_ref(message);
            self.open.time(reader, 1, |reader| reader.open(message))?;
        }
        let count = u32::try_from(together.len()).unwrap_or(1);
        self.open_together
            .time(reader, count.max(1), |reader| reader.open(together))
    }

    fn runs(self, length: Duration) -> Vec<Run> {
        let bare = Steps {
            work: Latencies::default(),
            whole: self.bare,
            cpu: Duration::ZERO,
        };
        let all = [
            (
                "a commit of one row in the local database, for comparison",
                bare,
            ),
            ("seal and store, one transaction", self.seal),
            (
                "store as sent after the acknowledgement, one transaction",
                self.settle,
            ),
            ("open and store, one transaction", self.open),
            (
                "open and store, 32 in one transaction, each",
                self.open_together,
            ),
        ];
        all.into_iter()
            .map(|(name, steps)| steps.run(name, length))
            .collect()
    }
}

impl Steps {
    /// Times work on `messages` messages and the commit after it; each message counts its share.
    fn time<T>(
        &mut self,
        side: &mut Side,
        messages: u32,
        work: impl FnOnce(&mut Side) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let (started, cpu) = (now(), thread_cpu());
        let result = work(side)?;
        self.work.record(since(started) / messages);
        side.commit()?;
        self.whole.record(since(started) / messages);
        self.cpu += thread_cpu().saturating_sub(cpu) / messages;
        Ok(result)
    }

    /// Mean time and mean CPU time, in microseconds.
    fn means_us(&self) -> (f64, f64) {
        let times = self.whole.total().max(1) as f64;
        (self.whole.mean_us(), self.cpu.as_secs_f64() * 1e6 / times)
    }

    fn run(&self, name: &str, length: Duration) -> Run {
        let mut run = Run {
            name: name.to_owned(),
            clients: 2,
            seconds: length.as_secs_f64(),
            ..Run::default()
        };
        let whole = self.whole.percentiles();
        run.per_s = 1e6 / whole.p50_us.max(1) as f64;
        if self.work.total() > 0 {
            let work = self.work.percentiles();
            run.latency.insert("each before its commit", work);
        }
        run.latency.insert("each", whole);
        run
    }
}

fn since(started: Instant) -> Duration {
    now().saturating_duration_since(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_is_stored() {
        let name = format!("sotto-bench-test-{:016x}", rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let runs = run_in(&folder, Duration::from_millis(1));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(runs.unwrap().len(), 5);
    }
}
