//! What a message costs the client: sealing and storing, opening and storing, each in one
//! transaction of an encrypted database on disk, with the tables and settings of the client's own
//! history. No network and no deployment.

mod side;

use std::time::{Duration, Instant};

use sotto_protocol::{ClientMessageId, DeploymentId};

use self::side::{Side, acquaint};
use crate::args::Args;
use crate::clock::now;
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
    let result = run_in(&folder, args.length);
    // What stays is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    report.runs.extend(result?);
    Ok(())
}

fn run_in(folder: &std::path::Path, length: Duration) -> Result<Vec<Run>, BenchError> {
    let deployment = DeploymentId::from_bytes(rand::random());
    let names = (make_device(deployment, 1)?, make_device(deployment, 2)?);
    let (mut writer, mut reader) = acquaint(
        &folder.join("writer.db"),
        names.0,
        &folder.join("reader.db"),
        names.1,
    )?;
    let mut times = Times::new();
    let until = now() + length;
    let mut counter = 0;
    while now() < until && counter < MESSAGES_MAX {
        times.batch(&mut writer, &mut reader, counter)?;
        counter += BATCH;
    }
    Ok(times.runs(length))
}

struct Times {
    bare: Latencies,
    seal: Latencies,
    settle: Latencies,
    open: Latencies,
    open_together: Latencies,
}

impl Times {
    fn new() -> Self {
        Self {
            bare: Latencies::new(),
            seal: Latencies::new(),
            settle: Latencies::new(),
            open: Latencies::new(),
            open_together: Latencies::new(),
        }
    }

    fn batch(
        &mut self,
        writer: &mut Side,
        reader: &mut Side,
        before: u64,
    ) -> Result<(), BenchError> {
        let mut sealed = Vec::new();
        for counter in before + 1..=before + BATCH {
            let client_id = ClientMessageId::from_bytes(rand::random());
            let payload = timed(&mut self.seal, || writer.seal(&client_id, counter))?;
            timed(&mut self.settle, || writer.settle(&client_id, counter))?;
            sealed.push((client_id, counter, payload));
        }
        timed(&mut self.bare, || reader.bare_commit())?;
        // Half arrive one at a time, half as one delivery.
        let (single, together) = sealed.split_at(sealed.len() / 2);
        for message in single {
            timed(&mut self.open, || {
                reader.open(std::slice::from_ref(message))
            })?;
        }
        let started = now();
        reader.open(together)?;
        let each = since(started) / u32::try_from(together.len()).unwrap_or(1).max(1);
        self.open_together.record(each);
        Ok(())
    }

    fn runs(self, length: Duration) -> Vec<Run> {
        let all = [
            (
                "a commit of one row in the local database, for comparison",
                self.bare,
            ),
            ("seal and store (one transaction)", self.seal),
            (
                "store as sent, after the acknowledgement (one transaction)",
                self.settle,
            ),
            ("open and store (one transaction)", self.open),
            (
                "open and store, 32 in one transaction, each",
                self.open_together,
            ),
        ];
        all.into_iter()
            .map(|(name, latencies)| {
                let mut run = Run {
                    name: name.to_owned(),
                    clients: 2,
                    seconds: length.as_secs_f64(),
                    ..Run::default()
                };
                let figures = latencies.percentiles();
                run.per_s = 1e6 / figures.p50_us.max(1) as f64;
                run.latency.insert("each", figures);
                run
            })
            .collect()
    }
}

fn timed<T>(
    latencies: &mut Latencies,
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let started = now();
    let result = work()?;
    latencies.record(since(started));
    Ok(result)
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
