//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::pace::Arrivals;

/// A run, when its length is not said.
const LENGTH: Duration = Duration::from_secs(10);
/// A run of a comparison, of which there are many.
const COMPARED_LENGTH: Duration = Duration::from_secs(4);

/// A file that is transferred, when its size is not said.
const FILE_BYTES: u64 = 100_000_000;
/// What random runs come from, when it is not said.
const SEED: u64 = 1;

/// Load generator and measurements for Sotto.
///
/// Starts a deployment of its own with the `sotto` program beside this one, or measures the one it
/// is pointed at with --server and --ca. Exits 1 when a message was lost, duplicated or reordered.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "sotto-bench",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    /// Something else than a measurement.
    #[command(subcommand)]
    pub(crate) other: Option<Other>,
    /// A measurement.
    #[command(flatten)]
    pub(crate) args: Option<Args>,
}

/// What is done with figures afterwards.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Other {
    /// Draws what `--json` printed as SVG, on stdout.
    Chart {
        /// One file for each run.
        #[arg(required = true, num_args = 1..=16)]
        results: Vec<PathBuf>,
    },
}

/// A measurement.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What to measure.
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,
    /// With `compare`: what to measure beside other chat servers.
    #[arg(value_enum, required_if_eq("scenario", "compare"))]
    pub(crate) compared: Option<Compared>,
    /// With `compare` and `balancers`: how often each is measured, in turns; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) rounds: u32,
    /// Connected clients; each scenario has its own default.
    #[arg(long)]
    pub(crate) clients: Option<u32>,
    /// How long each run lasts, as 500ms, 10s or 2m; 10s when not said, 4s with `compare`.
    #[arg(long = "for", value_parser = parse_duration)]
    pub(crate) length: Option<Duration>,
    /// Messages of one sender on their way at the same time; several runs when given with commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) in_flight: Vec<u32>,
    /// With `screen`: messages of the conversation that is looked at.
    #[arg(long, default_value_t = 200_000)]
    pub(crate) messages: u64,
    /// Messages a second over all senders, instead of as many as possible; latency counts from when
    /// a message was due. With `screen` 1,000 when not said.
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// How messages at a rate are spread.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub(crate) arrivals: Arrivals,
    /// What random arrivals and `mixed-day` come from: the same seed plans the same.
    #[arg(long, default_value_t = SEED)]
    pub(crate) seed: u64,
    /// With `attachment-transfer`: size of the file.
    #[arg(long, default_value_t = FILE_BYTES, value_parser = clap::value_parser!(u64).range(1..=16 << 30))]
    pub(crate) file_bytes: u64,
    /// Size of a sealed payload; the size of a sealed short message when not said.
    #[arg(long)]
    pub(crate) payload_bytes: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Servers of a deployment started here.
    #[arg(long, default_value_t = 3, conflicts_with = "server")]
    pub(crate) servers: u32,
    /// The `sotto` program to start a deployment with; the one beside this program when not said.
    #[arg(long, conflicts_with = "server")]
    pub(crate) sotto: Option<PathBuf>,
    /// Measure this deployment (HOST:PORT) instead of starting one.
    #[arg(long, requires = "ca")]
    pub(crate) server: Option<String>,
    /// The certificate authorities that the deployment's certificate comes from, in PEM.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// The `state.json` of that deployment, where it was started by `sotto up`: for CPU, memory
    /// and faults by process.
    #[arg(long, requires = "server")]
    pub(crate) state: Option<PathBuf>,
    /// Let all clients come from one address, as behind one router.
    #[arg(long)]
    pub(crate) one_address: bool,
    /// Leave the machine's own measures out.
    #[arg(long)]
    pub(crate) no_machine: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Memory of authenticated connections that do nothing (10,000 of them).
    #[value(name = "idle-10k")]
    Idle,
    /// Messages between pairs that are both connected.
    #[value(name = "one-to-one-online")]
    OneToOne,
    /// Messages to people who are away, and their delivery on return.
    #[value(name = "offline-store")]
    Offline,
    /// Everybody comes back after one server was killed.
    #[value(name = "reconnect-storm")]
    Storm,
    /// One writes in a group of 100, everybody reads.
    #[value(name = "group-fanout-100")]
    Fanout100,
    /// The same in a group of 1,000.
    #[value(name = "group-fanout-1000")]
    Fanout1000,
    /// A large file through balancer, servers and store, beside the same TLS connection moving raw
    /// bytes; and what it does to the texts of others.
    #[value(name = "attachment-transfer")]
    Attachment,
    /// A team's day in a minute: texts, groups, files, presence, people who come and go.
    #[value(name = "mixed-day")]
    Day,
    /// Where the time and the CPU of one message go.
    #[value(name = "message-path")]
    Path,
    /// Sealing and opening with local storing, as a client does it; needs no deployment.
    #[value(name = "sealing")]
    Sealing,
    /// The full-screen client without a terminal: keys, frames and memory; needs no deployment.
    #[value(name = "screen")]
    Screen,
    /// The machine alone: an echo over the same TLS stack, and commits of Postgres.
    #[value(name = "machine")]
    Machine,
    /// The balancer beside HAProxy and nginx, in turns, on this machine; needs no deployment.
    #[value(name = "balancers")]
    Balancers,
    /// Scenarios beside ejabberd and Prosody, in turns, on this machine.
    #[value(name = "compare")]
    Compare,
}

/// What can be measured beside other chat servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compared {
    /// All of them.
    #[value(name = "all")]
    All,
    /// Memory of connections that do nothing.
    #[value(name = "idle")]
    Idle,
    /// Messages between pairs that are both connected.
    #[value(name = "one-to-one-online")]
    OneToOne,
    /// Messages to people who are away, and their delivery on return.
    #[value(name = "offline-store")]
    Offline,
    /// Everybody comes back after a kill.
    #[value(name = "reconnect-storm")]
    Storm,
}

impl Scenario {
    /// Connected clients when not said.
    pub(crate) const fn clients(self) -> u32 {
        match self {
            Self::Idle => 10_000,
            Self::Balancers => 4_000,
            Self::OneToOne | Self::Offline | Self::Machine | Self::Compare => 400,
            Self::Storm => 3_000,
            Self::Day => 2_000,
            Self::Attachment => 100,
            Self::Path => 60,
            Self::Fanout100 => 100,
            Self::Fanout1000 => 1_000,
            Self::Sealing | Self::Screen => 2,
        }
    }

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle-10k",
            Self::OneToOne => "one-to-one-online",
            Self::Offline => "offline-store",
            Self::Storm => "reconnect-storm",
            Self::Fanout100 => "group-fanout-100",
            Self::Fanout1000 => "group-fanout-1000",
            Self::Attachment => "attachment-transfer",
            Self::Day => "mixed-day",
            Self::Path => "message-path",
            Self::Sealing => "sealing",
            Self::Screen => "screen",
            Self::Machine => "machine",
            Self::Compare => "compare",
            Self::Balancers => "balancers",
        }
    }
}

impl Args {
    /// Connected clients, at least two.
    pub(crate) fn clients(&self) -> u32 {
        self.clients
            .unwrap_or_else(|| self.scenario.clients())
            .max(2)
    }

    /// How long each run lasts.
    pub(crate) fn length(&self) -> Duration {
        let usual = match self.scenario {
            Scenario::Compare => COMPARED_LENGTH,
            _ => LENGTH,
        };
        self.length.unwrap_or(usual)
    }

    /// Messages of one sender on their way at the same time, for each run.
    pub(crate) fn in_flight_or(&self, default: &[u32]) -> Vec<u64> {
        let wanted = if self.in_flight.is_empty() {
            default
        } else {
            &self.in_flight
        };
        wanted.iter().map(|one| u64::from((*one).max(1))).collect()
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is not a duration such as 500ms, 10s or 2m");
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("soon").is_err() && parse_duration("3h").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["b", "one-to-one-online", "--in-flight", "1,16"]);
        assert_eq!(cli.unwrap().args.unwrap().in_flight, [1, 16]);
        let cli = Cli::try_parse_from(["b", "chart", "a.json", "b.json"]).unwrap();
        assert!(matches!(cli.other, Some(Other::Chart { results }) if results.len() == 2));
        for wrong in [&["b"][..], &["b", "chart"], &["b", "compare"]] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
