//! Load generator and measurements for Sotto: `sotto-bench SCENARIO`.
//!
//! Speaks the raw protocol over TLS 1.3 through the balancer, against a deployment that it starts
//! or one that it is pointed at. It measures and judges; it is never a test of time: the verdict
//! is about messages, and the figures are printed beside the machine's own.

mod alarm;
mod args;
mod balancers;
mod chart;
mod checker;
mod clock;
mod comparison;
mod connection;
mod cpu;
mod crowd;
mod deployment;
mod error;
mod files_limit;
mod lane;
mod latency;
mod member;
mod pace;
mod pair;
mod postgres;
mod processes;
mod procfs;
mod report;
mod scenarios;
mod server_metrics;
mod target;
mod tls_peer;
mod xmpp;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Cli, Other};
use deployment::Deployment;
use error::BenchError;
use report::Report;
use scenarios::Context;

/// Done, and every message arrived once.
const EXIT_HOLDS: u8 = 0;
/// It could not be measured, or a message was lost, duplicated or reordered.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Other::Chart { results }) = &cli.other {
        return draw(results);
    }
    // The command line was refused where there is neither.
    let Some(mut args) = cli.args else {
        return ExitCode::from(EXIT_FAILED);
    };
    let mut report = Report {
        scenario: args.scenario.name(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        ..Report::default()
    };
    if let Err(error) = measure(&mut args, &mut report) {
        report.failures.push(error.to_string());
    }
    let text = if args.json {
        serde_json::to_string(&report).unwrap_or_else(|error| error.to_string()) + "\n"
    } else {
        report.to_text()
    };
    let written = std::io::stdout().write_all(text.as_bytes());
    if written.is_ok() && report.holds() {
        ExitCode::from(EXIT_HOLDS)
    } else {
        ExitCode::from(EXIT_FAILED)
    }
}

/// Draws results that `--json` printed.
fn draw(results: &[std::path::PathBuf]) -> ExitCode {
    let drawn = chart::of_files(results).and_then(|svg| {
        let written = std::io::stdout().write_all(svg.as_bytes());
        written.map_err(BenchError::io("writing the chart"))
    });
    match drawn {
        Ok(()) => ExitCode::from(EXIT_HOLDS),
        Err(error) => {
            // Nobody is left to tell where this fails too.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn measure(args: &mut Args, report: &mut Report) -> Result<(), BenchError> {
    fit(args, report);
    if !scenarios::needs_deployment(args.scenario) {
        return scenarios::run_alone(args, report);
    }
    let deployment = Deployment::open(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("starting the runtime"))?;
    let context = Context {
        args,
        deployment: &deployment,
    };
    runtime.block_on(scenarios::run(&context, report))
}

/// Takes fewer clients than wanted where the system does not let processes open enough files.
fn fit(args: &mut Args, report: &mut Report) {
    let wanted = args.clients();
    let spare = scenarios::CONNECTIONS_BESIDE;
    let room = files_limit::raise(wanted.saturating_add(spare)).saturating_sub(spare);
    if room < wanted {
        args.clients = Some(room);
        report.notes.push(format!(
            "{room} clients instead of {wanted}: more do not fit the limit of open files (ulimit -n)"
        ));
    }
}
