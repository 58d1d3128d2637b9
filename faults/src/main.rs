//! `sotto-faults`: one fault run by one command, with a verdict.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use sotto_faults::{Fault, Options, run};

/// Everything held.
const EXIT_HOLDS: u8 = 0;
/// Something was lost, doubled, reordered, or otherwise wrong.
const EXIT_VIOLATED: u8 = 1;
/// There is no verdict.
const EXIT_FAILED: u8 = 2;

/// Breaks a deployment of its own under a random workload and judges what its clients saw.
///
/// Starts Postgres, servers, balancer and clients in a temporary folder, with the `sotto` program
/// beside this one. Exits 1 when anything was lost, duplicated, reordered, read by the wrong people or
/// kept differently by two devices, 2 when there is no verdict.
#[derive(Debug, Parser)]
#[command(name = "sotto-faults", version)]
struct Args {
    /// How long things break, as 90s, 10m or 2h
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    length: Duration,
    /// Decides what people do and what breaks; another one each time when not said
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What may break; may be given several times; everything when not said
    #[arg(long = "fault", value_name = "NAME", value_parser = fault)]
    faults: Vec<Fault>,
    /// Servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    servers: u16,
    /// People, of whom two have two devices
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(3..=8))]
    people: u16,
    /// Where to write what happened [default: sotto-faults-SEED.jsonl]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// The `sotto` program; the one beside this program when not said
    #[arg(long)]
    sotto: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(any_seed);
    let sotto = args.sotto.clone().or_else(beside);
    let Some(sotto) = sotto.filter(|path| path.is_file()) else {
        say(
            "no sotto beside this program; build it first: cargo build --release -p sotto -p sotto-faults",
        );
        return ExitCode::from(EXIT_FAILED);
    };
    let named = || PathBuf::from(format!("sotto-faults-{seed}.jsonl"));
    let options = Options {
        sotto,
        length: args.length,
        seed,
        servers: args.servers,
        people: args.people,
        faults: match args.faults.as_slice() {
            [] => Fault::ALL.to_vec(),
            some => some.to_vec(),
        },
        strikes_max: None,
        history: args.history.clone().unwrap_or_else(named),
    };
    say(&format!("seed {seed}"));
    let report = match run(&options, &mut say) {
        Ok(report) => report,
        Err(error) => {
            say(&format!("no verdict with seed {seed}: {error}"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let text = match args.json {
        true => serde_json::to_string(&report).unwrap_or_default() + "\n",
        false => report.to_text(),
    };
    let written = std::io::stdout().write_all(text.as_bytes());
    match report.holds() && written.is_ok() {
        true => ExitCode::from(EXIT_HOLDS),
        false => ExitCode::from(EXIT_VIOLATED),
    }
}

/// A line on stderr.
fn say(line: &str) {
    // Who closed it does not want it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The program beside this one.
fn beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name("sotto"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a run without a seed gets one that is new each time, and prints it"
)]
fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::from(since.subsec_nanos()) ^ since.as_secs())
}

fn fault(text: &str) -> Result<Fault, String> {
    Fault::named(text).ok_or_else(|| {
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is not a time such as 90s, 10m or 2h");
    let unit_at = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
        let line = "f --for 60m --seed 7 --fault server-killed --fault disk-full --people 4";
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(args.length, Duration::from_secs(3_600));
        assert_eq!(args.faults, [Fault::ServerKilled, Fault::DiskFull]);
        for bad in [
            "f --for soon",
            "f --fault rain",
            "f --people 2",
            "f --for 1d",
        ] {
            assert!(Args::try_parse_from(bad.split(' ')).is_err(), "{bad}");
        }
    }
}
