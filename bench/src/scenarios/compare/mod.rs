//! The same scenarios beside ejabberd and Prosody, in turns, on this machine.
//!
//! All servers run all the time and are loaded one after another, in another order each round, so
//! that what else the machine does meets all of them. Only instances started here are loaded, never
//! one that somebody uses.

mod idle;
mod offline;
mod storm;

use std::path::PathBuf;

use bytes::Bytes;

use super::{Context, machine, one_to_one};
use crate::args::{Args, Compared, Scenario};
use crate::checker::Tally;
use crate::comparison::{Gathering, OURS};
use crate::cpu::CpuMeter;
use crate::error::BenchError;
use crate::report::{Report, Run};
use crate::xmpp::{self, Peer, PeerKind};

/// What the echo is called in the table.
const ECHO: &str = "echo";
/// Connected clients whose memory is compared.
const IDLE_CLIENTS: u32 = 2_000;
/// Clients of a peer that is killed as a whole.
const STORM_CLIENTS: u32 = 1_000;
/// Clients of Sotto, of whose three servers one is killed.
const STORM_CLIENTS_OURS: u32 = 3 * STORM_CLIENTS;

/// What all comparisons share.
struct Compare<'a> {
    context: &'a Context<'a>,
    peers: Vec<Peer>,
    gathering: Gathering,
    failures: Vec<String>,
    notes: Vec<String>,
}

/// Runs what was asked for, round by round.
///
/// # Errors
/// When a server cannot be started or loaded.
pub(super) async fn run(context: &Context<'_>, report: &mut Report) -> Result<(), BenchError> {
    let args = context.args;
    let folder = Folder::make()?;
    let mut peers = Vec::new();
    for kind in [PeerKind::Ejabberd, PeerKind::Prosody] {
        if kind.is_installed() {
            peers.push(Peer::start(kind, &folder.0)?);
        } else {
            let name = kind.name();
            let note = format!("{name} is not installed; apt-get install {name}");
            report.notes.push(note);
        }
    }
    if peers.is_empty() {
        let reason = "neither ejabberd nor Prosody is installed: there is nothing to compare with";
        return Err(BenchError::Peer(reason.to_owned()));
    }
    let mut compare = Compare {
        context,
        peers,
        gathering: Gathering::default(),
        failures: Vec::new(),
        notes: Vec::new(),
    };
    let done = compare.rounds(args).await;
    report.failures.append(&mut compare.failures);
    report.notes.append(&mut compare.notes);
    report.compared = compare.gathering.finish();
    done
}

impl Compare<'_> {
    async fn rounds(&mut self, args: &Args) -> Result<(), BenchError> {
        let wanted = args.compared.unwrap_or(Compared::All);
        let is_wanted = |one| wanted == one || wanted == Compared::All;
        // Memory first, and once: what was given back by earlier connections would be used again.
        if is_wanted(Compared::Idle) {
            self.idle().await?;
        }
        for round in 0..args.rounds {
            if is_wanted(Compared::OneToOne) {
                self.in_turns(round, Compared::OneToOne).await?;
            }
            if is_wanted(Compared::Offline) {
                self.in_turns(round, Compared::Offline).await?;
            }
            // A storm takes long to prepare; among others one has to do.
            if wanted == Compared::Storm || (is_wanted(Compared::Storm) && round + 1 == args.rounds)
            {
                self.in_turns(round, Compared::Storm).await?;
            }
        }
        Ok(())
    }

    /// Every server once, each round beginning with another.
    async fn in_turns(&mut self, round: u32, what: Compared) -> Result<(), BenchError> {
        let turns = self.peers.len() + 1;
        let first = usize::try_from(round).unwrap_or(0) % turns;
        if what == Compared::OneToOne && !self.context.args.no_machine {
            let echo = machine::echo(self.context.payload()?.len(), machine::span()).await?;
            self.gathering
                .add(ECHO, &delivered(1), "messages/s", echo.per_s);
        }
        for turn in 0..turns {
            match ((first + turn) % turns).checked_sub(1) {
                None => self.ours(what).await?,
                Some(place) => self.theirs(place, what).await?,
            }
        }
        Ok(())
    }

    /// Sotto's own scenario, as it runs alone.
    async fn ours(&mut self, what: Compared) -> Result<(), BenchError> {
        let mut args = self.context.args.clone();
        args.length = Some(args.length());
        args.no_machine = true;
        args.scenario = match what {
            Compared::Offline => Scenario::Offline,
            Compared::Storm => Scenario::Storm,
            Compared::Idle => Scenario::Idle,
            Compared::OneToOne | Compared::All => Scenario::OneToOne,
        };
        args.clients = match what {
            Compared::Storm => Some(self.clients(STORM_CLIENTS_OURS)),
            Compared::Idle => Some(self.clients(IDLE_CLIENTS)),
            _ => args.clients,
        };
        let context = Context {
            args: &args,
            deployment: self.context.deployment,
        };
        let mut report = Report::default();
        Box::pin(super::run(&context, &mut report)).await?;
        self.take(OURS, report);
        Ok(())
    }

    async fn theirs(&mut self, place: usize, what: Compared) -> Result<(), BenchError> {
        let args = self.context.args;
        let storm_clients = self.clients(STORM_CLIENTS);
        let Some(peer) = self.peers.get_mut(place) else {
            return Ok(());
        };
        let name = peer.kind().name();
        let mut report = Report::default();
        let done = match what {
            Compared::OneToOne | Compared::All => online(args, peer, &mut report).await,
            Compared::Offline => offline::run(args, peer, &mut report).await,
            Compared::Storm => storm::run(storm_clients, peer, &mut report).await,
            Compared::Idle => Ok(()),
        };
        self.take(name, report);
        done.map_err(|error| BenchError::Peer(format!("{name}: {error}")))
    }

    async fn idle(&mut self) -> Result<(), BenchError> {
        let clients = self.clients(IDLE_CLIENTS);
        for peer in &self.peers {
            let name = peer.kind().name();
            let each = idle::bytes_each(peer, clients).await?;
            self.gathering
                .add(name, "memory of an idle connection", "bytes", each);
        }
        self.ours(Compared::Idle).await
    }

    /// As many as wanted, or as were asked for where that is fewer.
    fn clients(&self, wanted: u32) -> u32 {
        self.context
            .args
            .clients
            .map_or(wanted, |asked| asked.min(wanted))
    }

    /// Takes the figures of a run over; a run that does not hold is a failure of the whole.
    fn take(&mut self, server: &'static str, report: Report) {
        self.notes.extend(report.notes);
        let failures = report.failures.into_iter();
        self.failures
            .extend(failures.map(|failure| format!("{server}: {failure}")));
        for run in &report.runs {
            if let Some(tally) = run.messages.filter(|tally| !tally.holds()) {
                self.failures.push(broken(server, &run.name, tally));
            }
            self.figures(server, run);
        }
    }

    fn figures(&mut self, server: &'static str, run: &Run) {
        let mut add = |figure: &str, unit, value| self.gathering.add(server, figure, unit, value);
        if run.name.starts_with("idle") {
            let balancer = run.figures.get("balancer bytes per connection");
            let each = run.figures.get("server bytes per connection");
            let sum = each.copied().unwrap_or(f64::NAN) + balancer.copied().unwrap_or(0.0);
            return add("memory of an idle connection", "bytes", sum);
        }
        if let Some(back) = run.latency.get("kill to back and receiving") {
            let millis = |us: u64| us as f64 / 1e3;
            add(
                "storm: back and receiving, median",
                "ms",
                millis(back.p50_us),
            );
            let all = match back.max_us {
                u64::MAX => f64::NAN,
                max_us => millis(max_us),
            };
            return add("storm: all back and receiving", "ms", all);
        }
        if let (true, Some(delivered)) =
            (run.name.ends_with("a second"), run.latency.get("delivered"))
        {
            add(
                &format!("{}, p50", run.name),
                "ms",
                delivered.p50_us as f64 / 1e3,
            );
            return add(
                &format!("{}, p99", run.name),
                "ms",
                delivered.p99_us as f64 / 1e3,
            );
        }
        add(&run.name, "messages/s", run.per_s);
        let cpu: f64 = run
            .cpu_cores
            .iter()
            .filter(|(process, _)| **process != "load generator")
            .map(|(_, cores)| cores)
            .sum();
        let figure = format!("{}: CPU beside the load generator, each", run.name);
        add(&figure, "µs", cpu * 1e6 / run.per_s);
    }
}

fn delivered(in_flight: u64) -> String {
    one_to_one::name(in_flight)
}

fn broken(server: &str, run: &str, tally: Tally) -> String {
    format!(
        "{server}: {run}: sent {}, delivered {}, lost {}, duplicated {}, reordered {}",
        tally.sent, tally.delivered, tally.lost, tally.duplicated, tally.reordered
    )
}

async fn online(args: &Args, peer: &Peer, report: &mut Report) -> Result<(), BenchError> {
    let pairs = (args.clients() / 2).max(1);
    let lanes = xmpp::set_up(peer.target(), pairs).await?;
    let (name, pid) = (peer.kind().name(), peer.pid());
    let meter = || CpuMeter::of_peer(name, pid);
    one_to_one::over(args, lanes, Bytes::new(), meter, report).await
}

/// A temporary folder, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, BenchError> {
        let folder = std::env::temp_dir().join(format!("sotto-bench-peers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(BenchError::io("making the peers' folder"))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
