//! Programs of the distribution's packages: found, or installed.
//!
//! Installing happens only as root, only with apt, and never silently: each command is said before
//! it runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::process::{find_in_path, is_executable};

/// Where distributions put programs of services, which not everybody has in `PATH`.
const SERVICES: &str = "/usr/sbin";

/// A program that is not there and could not be installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "{program} is missing. tried:\n{}\ntype: apt-get install {package} (as root)",
    .tried.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n")
)]
pub struct MissingProgram {
    program: &'static str,
    package: &'static str,
    tried: Vec<String>,
}

/// The path of a program, which is installed with its package if it is missing and that is possible.
///
/// # Errors
/// With what was tried, and what to type.
pub fn find_or_install(
    program: &'static str,
    package: &'static str,
) -> Result<PathBuf, MissingProgram> {
    // Tests of one process want the same program at the same time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = find(program) {
        return Ok(found);
    }
    let mut tried = vec![format!("PATH and {SERVICES}: no {program}")];
    if let Some(apt) = Apt::find(&mut tried) {
        eprintln!("No {program} on this machine: installing the distribution's package with apt.");
        apt.update(&mut tried);
        apt.install(package, &mut tried);
    }
    find(program).ok_or(MissingProgram {
        program,
        package,
        tried,
    })
}

fn find(program: &str) -> Option<PathBuf> {
    let service = Path::new(SERVICES).join(program);
    find_in_path(program).or_else(|| is_executable(&service).then_some(service))
}

/// The package manager, where it may be used.
pub(crate) struct Apt(PathBuf);

impl Apt {
    /// apt, if it is there and this process may use it.
    pub(crate) fn find(tried: &mut Vec<String>) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            tried.push("installing with apt: needs root".to_owned());
            return None;
        }
        let found = find_in_path("apt-get").map(Self);
        if found.is_none() {
            tried.push("installing with apt: no apt-get on this machine".to_owned());
        }
        found
    }

    /// Learns what there is to install.
    pub(crate) fn update(&self, tried: &mut Vec<String>) {
        self.run(&["update", "-q"], tried);
    }

    /// Installs a package without what it only recommends.
    pub(crate) fn install(&self, package: &str, tried: &mut Vec<String>) {
        let arguments = ["install", "-q", "-y", "--no-install-recommends", package];
        self.run(&arguments, tried);
    }

    fn run(&self, arguments: &[&str], tried: &mut Vec<String>) {
        let line = format!("apt-get {}", arguments.join(" "));
        eprintln!("  {line}");
        let status = Command::new(&self.0)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => tried.push(format!("{line}: {status}")),
            Err(error) => tried.push(format!("{line}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_there_is_found_and_another_is_not() {
        assert!(find_or_install("sh", "dash").is_ok());
        assert_eq!(find("no-such-program-of-anybody"), None);
    }
}
