//! The slim balancer binary; see the library for what it does.

use clap::Parser as _;
use std::process::ExitCode;

/// Sotto's TCP balancer.
#[derive(clap::Parser)]
#[command(name = "sotto-balancer", version)]
struct Command {
    #[command(flatten)]
    args: sotto_balancer::Args,
}

fn main() -> ExitCode {
    sotto_balancer::main(Command::parse().args)
}
