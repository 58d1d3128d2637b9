//! Attacks on the whole system, one file for each family.
//! docs/attack-tests.md says which test holds which property.

mod injection;
mod links;
mod network;
mod secrets;
pub(crate) mod terminal;

use std::process::{Command, Stdio};

use crate::support::{Person, SOTTO};

/// The client for people rather than programs: no `--json`.
fn plain(person: &Person, arguments: &[&str]) -> Command {
    // Which also makes the folder for the keys of unlocked profiles.
    drop(person.command(arguments));
    let mut command = Command::new(SOTTO);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("XDG_RUNTIME_DIR", person.home().join("run"))
        .env("TZ", "UTC")
        .arg("--home")
        .arg(person.home().join("sotto"))
        .args(["--server", &person.server, "--ca", &person.ca])
        .arg("--password-file")
        .arg(&person.password_file)
        .args(arguments)
        .stdin(Stdio::null());
    command
}
