//! The command line: grammar, commands, output.

use std::ffi::OsString;
use std::process::ExitCode;

/// The grammar, for a program that lists this client's commands among its own.
#[must_use]
pub fn command() -> clap::Command {
    clap::Command::new("sotto")
}

pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    drop(args);
    ExitCode::FAILURE
}
