//! Sotto's client: what a person or a script runs.
//!
//! `engine` decides (no sockets, no terminal), `history` and `profile` keep,
//! `net` connects, `runtime` joins them, `cli` speaks to people and scripts.
//! Whatever came from somebody else reaches a terminal through
//! [`safe_text::SafeText`] only.

use std::ffi::OsString;
use std::process::ExitCode;

pub mod attachment;
pub mod bulk;
pub mod cli;

mod daemon;
mod desk;
pub mod engine;
pub mod exit;
mod history;
pub mod invite_link;
mod net;
mod notice;
mod password_prompt;
mod process;
pub mod profile;
mod runtime;
pub mod safe_text;
pub mod talk;
mod tui;
mod wording;

pub use tui::rehearsal;

/// Runs the client: `args` are the arguments after the program's name.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(args)
}
