//! The commands `up`, `demo`, `status` and `down`: arguments, what people read, exit codes.
//!
//! Exit codes: 0 done; 1 something failed or, for `demo`, does not hold; 2 usage; 6 `status` when nothing runs; 69 no Postgres
//! to be had; 130 interrupted.

mod demo;
mod down;
mod signals;
mod status;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

pub use demo::demo;
pub use down::down;
pub use status::status;
pub use up::up;
pub(crate) use up::{describe, process_table};

use crate::deployment::{DatabaseError, DeploymentError};
use crate::postgres::PostgresError;

/// The deployment's folder when nothing is said.
pub const DEFAULT_DIR: &str = ".sotto";

/// Exit code: something failed.
const FAILED: u8 = 1;

/// Exit code: `status` found nothing running.
const NOT_RUNNING: u8 = 6;

/// Exit code: no Postgres to be had (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;

/// Exit code: interrupted by the person.
const INTERRUPTED: u8 = 130;

/// Start a private Postgres, servers and a balancer on this machine.
///
/// Stays until Ctrl-C and starts again what dies. Uses the database of SOTTO_DATABASE_URL if that
/// is set, else a private Postgres from SOTTO_PG_BIN, PATH or the usual places, installing it with
/// apt when run as root on a machine that has none.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    /// The deployment's folder; everything it needs lies there
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// How many servers
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(crate::deployment::SERVERS_MAX)))]
    servers: u16,
    /// Where clients connect; 0 means 7443, the port of the last time or the next free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Return as soon as everything is ready, leaving it running
    #[arg(long)]
    detach: bool,
    /// Never install Postgres
    #[arg(long)]
    no_install: bool,
}

/// Show everything at work: two people, a deployment, a killed server. Cleans up after itself.
///
/// Exits with 0 only if every message arrived exactly once and in order, and Postgres held no
/// plaintext.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Never install Postgres
    #[arg(long)]
    no_install: bool,
}

/// Show what runs where, whether it is well and how many clients each server has.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// The deployment's folder
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Stop a deployment, wherever it was started.
#[derive(Clone, Debug, clap::Args)]
pub struct DownArgs {
    /// The deployment's folder
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
}

/// Says what failed, and with which exit code.
pub(crate) fn fail(error: &DeploymentError) -> ExitCode {
    eprintln!("sotto: {error}");
    ExitCode::from(match error {
        DeploymentError::Database(DatabaseError::Postgres(PostgresError::NotFound { .. })) => {
            UNAVAILABLE
        }
        DeploymentError::Cancelled => INTERRUPTED,
        _ => FAILED,
    })
}
