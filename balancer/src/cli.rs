//! The command line: `sotto-balancer`, and `sotto balancer` of the multi-call binary.
//!
//! Exit codes: 0 done (after SIGTERM or SIGINT too), 1 cannot run, 2 the configuration or
//! the command line is wrong.

use crate::balancer::{Balancer, Drained};
use crate::config::Config;
use crate::sockets;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

const EXIT_FAILURE: u8 = 1;
const EXIT_CONFIG: u8 = 2;

/// What the command line says.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration (TOML); without it, everything comes from SOTTO_BALANCER_* variables
    #[arg(long, value_name = "FILE", env = "SOTTO_BALANCER_CONFIG")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
    /// Write the bound addresses to this file, as JSON, once clients can connect
    #[arg(long, value_name = "PATH", env = "SOTTO_BALANCER_READY_FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs a balancer until it is told to stop.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let config = match Config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            complain(&format!("the balancer's configuration is wrong: {error}"));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if args.check {
        complain(&format!(
            "the configuration is fine: {} backends",
            config.backends.len()
        ));
        return ExitCode::SUCCESS;
    }
    start_log();
    sockets::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&args, config));
            // A name lookup that hangs must not hold up the exit.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("the balancer cannot run: {error}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Writes a line for the person at the terminal; a closed stderr is not a reason to fail.
fn complain(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stderr(), "{line}");
}

fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("SOTTO_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start in one process (tests) keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .try_init();
}

async fn run(args: &Args, config: Config) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let inherited = sockets::inherited()
        .map_err(|error| format!("what the supervisor handed over (LISTEN_FDS): {error}"))?;
    let balancer = Balancer::start_on(config, inherited).map_err(|error| error.to_string())?;
    tracing::info!(
        listen = ?balancer.listen_addresses(),
        admin = ?balancer.admin_address(),
        "balancer is listening"
    );
    if let Some(path) = &args.ready_file {
        write_ready_file(path, &balancer)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    tell_supervisor(&sd_notify::NotifyState::Ready);
    while signals.next().await == Told::Reload {
        reload(&balancer, args.config.as_deref());
    }
    tracing::info!("balancer stops accepting and waits for its clients");
    tell_supervisor(&sd_notify::NotifyState::Stopping);
    tokio::select! {
        drained = balancer.drain() => match drained {
            Drained::Completely => tracing::info!("all clients have left"),
            Drained::Closed(closed) => tracing::info!(closed, "the rest was closed"),
        },
        () = signals.stopped_again() => tracing::info!("told to stop at once"),
    }
    Ok(())
}

/// Says how far the balancer is to whoever started it (`NOTIFY_SOCKET`, as systemd does); to
/// nobody where nobody asked.
fn tell_supervisor(state: &sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, ?state, "the supervisor was not told");
    }
}

fn reload(balancer: &Balancer, path: Option<&Path>) {
    let taken = Config::load(path)
        .map_err(|error| error.to_string())
        .and_then(|config| balancer.reload(config).map_err(|error| error.to_string()));
    match taken {
        Ok(()) => tracing::info!("configuration reloaded"),
        Err(error) => tracing::error!(error, "configuration not reloaded; the old one stays"),
    }
}

/// Written aside and renamed, so that a reader never sees half of it.
fn write_ready_file(path: &Path, balancer: &Balancer) -> io::Result<()> {
    let ready = serde_json::json!({
        "listen": balancer.listen_addresses(),
        "admin": balancer.admin_address(),
    });
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    std::fs::write(&aside, format!("{ready}\n"))?;
    std::fs::rename(&aside, path)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
        }
    }

    async fn stopped_again(&mut self) {
        while self.next().await == Told::Reload {}
    }
}
