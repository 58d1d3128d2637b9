//! Sotto's server: orders, stores and forwards sealed payloads; it can open none of them.
//!
//! Nothing in a process must survive it: Postgres is the only truth, every
//! other state can be lost at any moment without losing an acknowledged
//! message. `listener` and `session` speak with clients, `service` answers
//! requests, `delivery` reads logs past the devices' cursors, `store` holds
//! every SQL statement, `bus` carries hints between servers.

use std::path::PathBuf;
use std::process::ExitCode;

pub mod bus;
pub mod config;
pub mod migrate;
pub mod store;

/// What the command line of a server says.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The configuration file of `run`.
    #[arg(long, value_name = "FILE", env = "SOTTO_SERVER_CONFIG")]
    pub config: Option<PathBuf>,
}

/// What a server can be told to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Serve clients until SIGTERM.
    Run(ConfigFile),
    /// Bring the database to this program's schema, then end.
    Migrate(ConfigFile),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What can be done with a configuration.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration can be used, then end.
    Check(ConfigFile),
}

/// Which configuration to read.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigFile {
    /// A TOML file. Every key can also be given as `SOTTO_SERVER_<KEY>`.
    #[arg(long, value_name = "FILE", env = "SOTTO_SERVER_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Runs the server. The exit code is 0 when it ended as asked, 2 for a wrong
/// command line or configuration, 69 when the database did not answer, 70
/// when the database has another schema version, 1 for anything else.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let (command, file) = match args.command {
        None => ("run", args.config),
        Some(Command::Run(file)) => ("run", file.config.or(args.config)),
        Some(Command::Migrate(file)) => ("migrate", file.config.or(args.config)),
        Some(Command::Config(ConfigCommand::Check(file))) => ("check", file.config.or(args.config)),
    };
    let config = match config::Config::load(file.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("sotto-server: {error}");
            return ExitCode::from(2);
        }
    };
    match command {
        "check" => {
            println!("the configuration of {} can be used", config.name);
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}
