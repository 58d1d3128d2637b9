//! The slim `sotto-server` program: the library behind a command line.

use std::process::ExitCode;

use clap::Parser;

/// Sotto's stateless server.
#[derive(Parser)]
#[command(name = "sotto-server", version, about)]
struct Cli {
    #[command(flatten)]
    args: sotto_server::Args,
}

fn main() -> ExitCode {
    sotto_server::main(Cli::parse().args)
}
