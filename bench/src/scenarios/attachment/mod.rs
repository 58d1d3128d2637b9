//! A large file by the real client's own code: sealed, sent through balancer, server and store,
//! fetched, opened, checked and kept; beside what the same TLS stack moves raw over one connection,
//! and beside what sealing and opening take alone. Then texts of others at a rate, without and with
//! files that move all the time.
//!
//! Each side works on one thread, as a client is one process.

mod local;
mod raw;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sotto_client::bulk::Courier;
use tokio::task::spawn_blocking;

use super::Context;
use super::one_to_one;
use crate::clock::now;
use crate::cpu::CpuMeter;
use crate::error::BenchError;
use crate::lane::{self, Plan};
use crate::latency::Percentiles;
use crate::member::Member;
use crate::report::{Report, Run, Table};

/// Texts a second over all pairs, when not said.
const TEXTS_PER_S: u32 = 100;
/// Not measured: the first texts of every connection.
const WARM_UP: Duration = Duration::from_secs(1);
/// A text that has not arrived so long after the last one was sent is lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the file that are made at once.
const MAKE_BYTES: usize = 1 << 20;

/// Transfers beside the raw connection, then texts beside transfers.
pub(crate) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let folder = Folder::make()?;
    let file = folder.file(context.args.file_bytes, context.args.seed)?;
    let target = context.deployment.target();
    let (sender, sending) = Member::register(target, 1).await?;
    let (receiver, receiving) = Member::register(target, 2).await?;
    drop((sending, receiving));
    let (server, ca) = context.deployment.door();
    let work = Arc::new(Work {
        server: server.to_owned(),
        ca: ca.to_owned(),
        sender,
        receiver,
        file,
        folder: folder.0.clone(),
    });
    alone(context, report, &work).await?;
    beside_texts(context, report, work).await
}

/// What transfers need; shared with the thread that makes them.
struct Work {
    server: String,
    ca: PathBuf,
    sender: Member,
    receiver: Member,
    file: PathBuf,
    folder: PathBuf,
}

/// Seconds of one transfer there and back.
#[derive(Debug, Default, Clone, Copy)]
struct Seconds {
    up: f64,
    down: f64,
}

impl Work {
    /// Sends the file and fetches it, on this thread alone.
    fn transfer(&self) -> Result<Seconds, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("starting a runtime"))?;
        runtime.block_on(async {
            let sender = Courier::new(&self.server, &self.ca, self.sender.device())
                .map_err(BenchError::Client)?;
            let receiver = Courier::new(&self.server, &self.ca, self.receiver.device())
                .map_err(BenchError::Client)?;
            let started = now();
            let sent = sender.send(&self.file).await.map_err(BenchError::Client)?;
            let up = (now() - started).as_secs_f64();
            let started = now();
            // Checks every byte against what the sender said of it.
            let kept = receiver.fetch(&sent, &self.folder).await;
            let kept = kept.map_err(BenchError::Client)?;
            let down = (now() - started).as_secs_f64();
            std::fs::remove_file(&kept).map_err(BenchError::io("removing a file"))?;
            sender.delete(&sent).await;
            Ok(Seconds { up, down })
        })
    }
}

async fn alone(
    context: &Context<'_>,
    report: &mut Report,
    work: &Arc<Work>,
) -> Result<(), BenchError> {
    let bytes = context.args.file_bytes;
    let (mut ours, mut bare, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    let mut run = Run {
        name: "file there and back, bytes a second".to_owned(),
        clients: 2,
        ..Run::default()
    };
    let mut cpu = Run::default();
    for _ in 0..context.args.rounds {
        bare.push(raw::measure(bytes, &work.folder).await?);
        let meter = CpuMeter::start(context.deployment);
        let one = Arc::clone(work);
        ours.push(spawn_blocking(move || one.transfer()).await??);
        meter.finish(&mut cpu, 1);
        let path = work.file.clone();
        steps.push(spawn_blocking(move || local::measure(&path)).await??);
    }
    let ours = middle(&ours, |one| one.up, |one| one.down);
    let bare = middle(&bare, |one| one.up, |one| one.down);
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds.max(1e-9);
    let title = format!(
        "a file of {} MB, medians of {}",
        bytes / 1_000_000,
        context.args.rounds
    );
    let mut table = Table::new(title, &["MB/s up", "MB/s down"]);
    table.row("raw, the same TLS stack", &[rate(bare.up), rate(bare.down)]);
    table.row("Sotto", &[rate(ours.up), rate(ours.down)]);
    table.row("Sotto to raw", &[bare.up / ours.up, bare.down / ours.down]);
    let alone = middle(&steps, local::Steps::up, local::Steps::down);
    table.row(
        "reading and sealing alone; opening alone",
        &[rate(alone.up), rate(alone.down)],
    );
    let survey = median(steps.iter().map(|one| one.survey));
    table.row(
        "of it the first look at the file",
        &[rate(survey), f64::NAN],
    );
    report.tables.push(table);
    run.seconds = ours.up + ours.down;
    run.per_s = 2.0 * bytes as f64 / run.seconds;
    let rounds = f64::from(context.args.rounds);
    for (process, us) in cpu.cpu_us_each {
        let gb = bytes as f64 / 1e9;
        run.cpu_cores
            .insert(process, us / 1e6 / rounds / run.seconds);
        let name = match process {
            "servers" => "CPU seconds a GB, both ways: servers",
            "balancer" => "CPU seconds a GB, both ways: balancer",
            "postgres" => "CPU seconds a GB, both ways: postgres",
            _ => "CPU seconds a GB, both ways: client and its checks",
        };
        run.figures.insert(name, us / 1e6 / rounds / gb);
    }
    let ratio = (bare.up + bare.down) / run.seconds;
    run.figures.insert("ratio to raw, both ways", ratio);
    report.runs.push(run);
    Ok(())
}

async fn beside_texts(
    context: &Context<'_>,
    report: &mut Report,
    work: Arc<Work>,
) -> Result<(), BenchError> {
    let pairs = (context.args.clients() / 2).max(1);
    let mut lanes = lane::set_up(context.deployment.target(), pairs).await?;
    let payload = context.payload()?;
    let mut p99 = Vec::new();
    for name in ["texts alone", "texts while files move"] {
        let stop = Arc::new(AtomicBool::new(name == "texts alone"));
        let moving = tokio::spawn(move_files(Arc::clone(&work), Arc::clone(&stop)));
        let times = [WARM_UP, context.args.length(), PATIENCE];
        let plan = Plan::from(now(), times, (1, payload.clone()));
        let rate = context.args.rate.unwrap_or(TEXTS_PER_S).max(1);
        let rhythm = (rate, context.args.arrivals, context.args.seed);
        let meter = CpuMeter::start(context.deployment);
        let (outcome, mut run);
        (lanes, outcome, run) = one_to_one::measure(meter, lanes, &plan, Some(rhythm)).await?;
        stop.store(true, Ordering::Relaxed);
        let moved = moving.await??;
        run.name = format!("{name}, {rate} a second");
        let files = moved as f64;
        run.figures.insert("files sent and fetched", files);
        let delivered: Percentiles = outcome.delivery.percentiles();
        p99.push(delivered.p99_us as f64);
        report
            .failures
            .extend(outcome.failure.map(|error| error.to_string()));
        report.runs.push(run);
    }
    if let ([alone, with], Some(run)) = (p99.as_slice(), report.runs.last_mut()) {
        let ratio = with / alone.max(1.0);
        run.figures.insert("p99 with files to p99 without", ratio);
    }
    Ok(())
}

/// Sends and fetches one file after another until told to stop; how many.
async fn move_files(work: Arc<Work>, stop: Arc<AtomicBool>) -> Result<u32, BenchError> {
    let mut moved = 0;
    while !stop.load(Ordering::Relaxed) {
        let one = Arc::clone(&work);
        spawn_blocking(move || one.transfer()).await??;
        moved += 1;
    }
    Ok(moved)
}

fn middle<T>(all: &[T], up: impl Fn(&T) -> f64, down: impl Fn(&T) -> f64) -> Seconds {
    Seconds {
        up: median(all.iter().map(up)),
        down: median(all.iter().map(down)),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    crate::comparison::median(&values).unwrap_or(f64::NAN)
}

/// A folder for the run, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, BenchError> {
        let name = format!("sotto-bench-files-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).map_err(BenchError::io("making a folder"))?;
        Ok(Self(folder))
    }

    /// A file of random bytes, which nothing can make smaller.
    fn file(&self, bytes: u64, seed: u64) -> Result<PathBuf, BenchError> {
        let path: &Path = &self.0;
        let path = path.join("file.bin");
        let writing = BenchError::io;
        let mut file = std::fs::File::create(&path).map_err(writing("making a file"))?;
        let mut random = StdRng::seed_from_u64(seed);
        let mut buffer = vec![0; MAKE_BYTES];
        let mut left = bytes;
        while left > 0 {
            random.fill_bytes(&mut buffer);
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(MAKE_BYTES);
            let part = buffer.get(..now).unwrap_or_default();
            file.write_all(part).map_err(writing("making a file"))?;
            left -= now as u64;
        }
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
