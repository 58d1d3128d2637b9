//! Sotto's balancer beside HAProxy and nginx, in turns, on this machine.
//!
//! Figures are Sotto's as a multiple of the others' medians. The verdict is about clients only: one
//! that Sotto's balancer does not serve while a backend hangs makes the scenario fail.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::args::Args;
use crate::balancers::{
    self, Backend, Front, FrontKind, Hello, Manner, Visitors, bulk, connections, hung, idle, moved,
    paced, trips,
};
use crate::comparison::Gathering;
use crate::deployment;
use crate::error::BenchError;
use crate::report::Report;

/// Backends behind each front.
const BACKENDS: u8 = 3;
/// Flows of the two bulk measures.
const FLOWS: [u32; 2] = [4, 100];
/// Connections whose memory is compared.
const IDLE_CLIENTS: u32 = 4_000;
/// Clients that are looked for after a backend was added.
const MOVING_CLIENTS: u32 = 1_000;
/// Each measure, when no length is said.
const LENGTH: Duration = Duration::from_secs(3);
/// What no front is called in the table.
const DIRECT: &str = "no front";

/// Measures all fronts that are installed, round by round.
///
/// # Errors
/// When one cannot be started or does not relay.
pub(super) fn run(args: &Args, report: &mut Report) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("starting the runtime"))?;
    let checking = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(BenchError::io("starting the runtime"))?;
    let outcome = runtime.block_on(rounds(args, checking.handle().clone(), report));
    checking.shutdown_background();
    outcome
}

/// What all rounds share.
struct Bench {
    sotto: PathBuf,
    folder: PathBuf,
    length: Duration,
    idle_clients: u32,
    checking: Handle,
    gathering: Gathering,
    failures: Vec<String>,
}

async fn rounds(args: &Args, checking: Handle, report: &mut Report) -> Result<(), BenchError> {
    let name = format!("sotto-bench-fronts-{}", std::process::id());
    let mut bench = Bench {
        sotto: deployment::program(args)?,
        folder: std::env::temp_dir().join(name),
        length: args.length.unwrap_or(LENGTH),
        idle_clients: args.clients.unwrap_or(IDLE_CLIENTS).min(IDLE_CLIENTS),
        checking,
        gathering: Gathering::default(),
        failures: Vec::new(),
    };
    let mut kinds = Vec::new();
    for kind in FrontKind::ALL {
        if kind.is_installed() {
            kinds.push(kind);
        } else {
            let note = format!("{} is not installed", kind.name());
            report.notes.push(note);
        }
    }
    let mut done = Ok(());
    'rounds: for round in 0..args.rounds {
        for turn in 0..kinds.len() {
            let place = (turn + round as usize) % kinds.len();
            if let Some(kind) = kinds.get(place) {
                done = bench.front(*kind).await;
            }
            if done.is_err() {
                break 'rounds;
            }
        }
    }
    report.failures.append(&mut bench.failures);
    report.compared = bench.gathering.finish();
    // What stays is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(&bench.folder);
    done
}

impl Bench {
    /// One front, once.
    async fn front(&mut self, kind: FrontKind) -> Result<(), BenchError> {
        let named = |error| BenchError::Peer(format!("{}: {error}", kind.name()));
        let hello = balancers::hello()?;
        let mut backends = Vec::new();
        for number in 0..BACKENDS {
            backends.push(self.backend(number, kind, &hello)?);
        }
        let (sotto, folder) = (self.sotto.clone(), self.folder.clone());
        let start = |backends: &[Backend]| front(kind, &sotto, &folder, backends);
        let front = start(&backends)?;
        let visitors = Visitors::new(front.address, hello.clone());
        self.memory(kind, &visitors, &front).await.map_err(named)?;
        self.load(kind.name(), &visitors, Some(&front))
            .await
            .map_err(named)?;
        if let Some(first) = backends.first() {
            self.silence(kind, &visitors, first).await.map_err(named)?;
        }
        drop(front);
        if kind.preface() == balancers::Preface::None && kind == FrontKind::Nginx {
            // Its backends take clients without a header, so they can be asked directly too.
            if let Some(first) = backends.first() {
                let direct = Visitors::new(first.address, hello.clone());
                self.load(DIRECT, &direct, None).await?;
            }
        }
        let few = start(&backends)?;
        let visiting_few = Visitors::new(few.address, hello.clone());
        backends.push(self.backend(BACKENDS, kind, &hello)?);
        let many = start(&backends)?;
        let visiting_many = Visitors::new(many.address, hello);
        let parts = moved(&visiting_few, &visiting_many, MOVING_CLIENTS, BACKENDS).await;
        let (to_new, between_old) = parts.map_err(named)?;
        self.add(
            kind.name(),
            "fourth backend: clients that move to it",
            "%",
            to_new * 100.0,
        );
        self.add(
            kind.name(),
            "fourth backend: clients that move between the others",
            "%",
            between_old * 100.0,
        );
        Ok(())
    }

    fn backend(&self, number: u8, kind: FrontKind, hello: &Hello) -> Result<Backend, BenchError> {
        Backend::start(number, kind.preface(), hello, &self.checking)
    }

    fn add(&mut self, front: &'static str, figure: &str, unit: &'static str, value: f64) {
        self.gathering.add(front, figure, unit, value);
    }

    async fn memory(
        &mut self,
        kind: FrontKind,
        visitors: &Visitors,
        front: &Front,
    ) -> Result<(), BenchError> {
        let each = idle(visitors, front, self.idle_clients).await?;
        self.add(kind.name(), "memory of an idle connection", "bytes", each);
        Ok(())
    }

    async fn load(
        &mut self,
        name: &'static str,
        visitors: &Visitors,
        front: Option<&Front>,
    ) -> Result<(), BenchError> {
        let length = self.length;
        let cost = connections(visitors, front, length).await?;
        self.add(name, "new connections", "a second", cost.per_s);
        self.cpu(name, front, "CPU of a new connection", "µs", cost.cpu_us);
        let cost = trips(visitors, front, length).await?;
        self.add(name, "small round trips", "a second", cost.per_s);
        self.cpu(name, front, "CPU of a small round trip", "µs", cost.cpu_us);
        let latency = paced(visitors, length).await?;
        let millis = |us: u64| us as f64 / 1e3;
        self.add(
            name,
            "1,000 round trips a second, p50",
            "ms",
            millis(latency.p50_us),
        );
        self.add(
            name,
            "1,000 round trips a second, p99",
            "ms",
            millis(latency.p99_us),
        );
        for flows in FLOWS {
            let (gb_per_s, cpu) = bulk(visitors, front, flows, length).await?;
            self.add(name, &format!("bulk over {flows} flows"), "GB/s", gb_per_s);
            let figure = format!("CPU of a GB over {flows} flows");
            self.cpu(name, front, &figure, "s", cpu);
        }
        Ok(())
    }

    /// No front uses no CPU, which is no figure.
    fn cpu(
        &mut self,
        name: &'static str,
        front: Option<&Front>,
        figure: &str,
        unit: &'static str,
        value: f64,
    ) {
        if front.is_some() {
            self.add(name, figure, unit, value);
        }
    }

    async fn silence(
        &mut self,
        kind: FrontKind,
        visitors: &Visitors,
        victim: &Backend,
    ) -> Result<(), BenchError> {
        let outcome = hung(visitors, victim).await;
        victim.behave(Manner::Serve);
        let hung = outcome?;
        let name = kind.name();
        self.add(
            name,
            "silent backend: new clients of 1,500 that fail",
            "clients",
            f64::from(hung.failed),
        );
        self.add(
            name,
            "silent backend: a new client waits, p99",
            "ms",
            hung.waited.p99_us as f64 / 1e3,
        );
        if let Some(ms) = hung.released_ms {
            self.add(name, "silent backend: its old clients are let go", "ms", ms);
        }
        if kind == FrontKind::Sotto && (hung.failed > 0 || hung.released_ms.is_none()) {
            self.failures.push(format!(
                "{} new clients failed while a backend was silent; old ones were let go: {:?} ms",
                hung.failed, hung.released_ms
            ));
        }
        Ok(())
    }
}

fn front(
    kind: FrontKind,
    sotto: &Path,
    folder: &Path,
    backends: &[Backend],
) -> Result<Front, BenchError> {
    // Two of a kind may run at once, each in a folder of its own.
    let folder = folder.join(backends.len().to_string());
    Front::start(kind, sotto, &folder, backends)
}
