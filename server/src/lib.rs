//! Sotto's server: orders, stores and forwards sealed payloads; it can open none of them.
//!
//! Nothing in a process must survive it: Postgres is the only truth, every
//! other state can be lost at any moment without losing an acknowledged
//! message. `listener` and `session` speak with clients, `service` answers
//! requests, `delivery` reads logs past the devices' cursors, `store` holds
//! every SQL statement, `bus` carries hints between servers.

use std::path::PathBuf;
use std::process::ExitCode;

mod admin;
mod blob_store;
pub mod bus;
mod clock;
pub mod config;
mod delivery;
mod health;
mod listener;
mod metrics;
pub mod migrate;
mod orders;
mod password;
mod refusal;
mod run;
mod server;
mod service;
mod session;
pub mod store;
mod tls;
mod trust;

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
    /// Work on accounts, invites, limits and servers, through the database.
    Admin(AdminArgs),
}

pub use admin::AdminArgs;

/// What can be done with a configuration.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration can be used and where each value came from, then end.
    Check(ConfigCheck),
}

/// What `config check` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigCheck {
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object per key.
    #[arg(long)]
    json: bool,
}

/// Which configuration to read.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigFile {
    /// A TOML file. Every key can also be given as `SOTTO_SERVER_<KEY>`.
    #[arg(long, value_name = "FILE", env = "SOTTO_SERVER_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Runs the server. The exit code is 0 when it ended as asked, 2 for a wrong
/// command line, configuration, certificate or address, 69 when the database
/// did not answer, 70 when it has another schema version, 1 for anything else.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    let args = match args.command {
        Some(Command::Admin(admin)) => return administer(admin, args.config),
        Some(Command::Config(ConfigCommand::Check(check))) => {
            return check_config(check, args.config);
        }
        _ => args,
    };
    let (action, file) = args.into_action();
    let config = match config::Config::load(file.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let code = match action {
        Action::Migrate => runtime.block_on(migrate_schema(&config)),
        Action::Run => match runtime.block_on(run::run(config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.exit_code(), &error),
        },
    };
    // What still waits for a database that is away is not waited for.
    runtime.shutdown_background();
    code
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Run,
    Migrate,
}

impl Args {
    fn into_action(self) -> (Action, Option<PathBuf>) {
        let (action, file) = match self.command {
            None | Some(Command::Config(_) | Command::Admin(_)) => (Action::Run, None),
            Some(Command::Run(file)) => (Action::Run, file.config),
            Some(Command::Migrate(file)) => (Action::Migrate, file.config),
        };
        (action, file.or(self.config))
    }
}

/// Shows every key with its value and where that came from.
fn check_config(check: ConfigCheck, file: Option<PathBuf>) -> ExitCode {
    let file = check.file.config.or(file);
    let read = config::Config::load(file.as_deref()).and_then(|config| {
        let settings = config.settings(file.as_deref())?;
        Ok((config, settings))
    });
    let (config, settings) = match read {
        Ok(read) => read,
        Err(error) => return fail(2, &error),
    };
    for config::Setting { key, value, origin } in settings {
        if check.json {
            let origin = origin.to_string();
            let object = serde_json::json!({ "key": key, "value": value, "origin": origin });
            println!("{object}");
        } else {
            let value = value.as_deref().unwrap_or("(not set)");
            println!("{key:24} {value}  [{origin}]");
        }
    }
    if !check.json {
        println!("The configuration of {} can be used.", config.name);
    }
    ExitCode::SUCCESS
}

/// Carries out what an operator asks for. Exit codes: 0 done, 1 unexpected, 2 wrong command line
/// or configuration, 4 not found, 5 refused, 69 no database, 70 another schema version.
fn administer(mut args: AdminArgs, file: Option<PathBuf>) -> ExitCode {
    let file = args.file.config.take().or(file);
    let config = match config::Config::load(file.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => ExitCode::from(runtime.block_on(admin::run(args, config))),
        Err(error) => fail(1, &error),
    }
}

async fn migrate_schema(config: &config::Config) -> ExitCode {
    match migrate::migrate(config.database()).await {
        Ok(found) => {
            println!(
                "The schema is at version {}; it was at {found}.",
                migrate::SCHEMA_VERSION
            );
            ExitCode::SUCCESS
        }
        Err(error @ store::StoreError::Unavailable(_)) => fail(69, &error),
        Err(error @ store::StoreError::Tls(_)) => fail(2, &error),
        Err(error @ store::StoreError::SchemaVersion { .. }) => fail(70, &error),
        Err(error) => fail(1, &error),
    }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("sotto-server: {error}");
    ExitCode::from(code)
}

/// Logs to standard error, at INFO unless `RUST_LOG` says otherwise. What the library of NATS does
/// is said by `bus`.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,async_nats=off"));
    // A program that set up its own logging before keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
