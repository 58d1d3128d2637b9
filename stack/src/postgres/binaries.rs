//! Where the Postgres programs are, and how they get onto a machine that has none.
//!
//! Looks, never guesses: a folder counts when `postgres` and `initdb` in it are executable and
//! `postgres --version` names a major version that Sotto supports. Installing happens only as
//! root, only with apt, and never silently.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::PostgresError;
use crate::packages::Apt;
use crate::process::{find_in_path, is_executable};

/// The oldest major version that the schema works on.
pub const MAJOR_MIN: u32 = 14;

/// Folders on macOS (Homebrew, Postgres.app), newest version last in each.
const MACOS_FOLDERS: [&str; 3] = [
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/Applications/Postgres.app/Contents/Versions",
];

/// Whether missing programs may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Install {
    /// With the system's package manager, as root, after saying so.
    Allowed,
    /// Never.
    Refused,
}

/// A folder with Postgres programs that were found to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// Finds the programs, or installs them if that is allowed and possible.
    ///
    /// # Errors
    /// [`PostgresError::NotFound`] with everything that was tried and what to type.
    pub fn find_or_install(install: Install) -> Result<Self, PostgresError> {
        let mut tried = Vec::new();
        if let Some(found) = Self::find(&mut tried) {
            return Ok(found);
        }
        match install {
            Install::Refused => tried.push("installing: refused by --no-install".to_owned()),
            Install::Allowed => {
                install_with_apt(&mut tried);
                if let Some(found) = Self::find(&mut Vec::new()) {
                    return Ok(found);
                }
            }
        }
        Err(PostgresError::NotFound { tried })
    }

    fn find(tried: &mut Vec<String>) -> Option<Self> {
        if let Some(folder) = std::env::var_os("SOTTO_PG_BIN") {
            // An explicit wish is not overruled by something else that happens to be there.
            return Self::examine(Path::new(&folder), "SOTTO_PG_BIN", tried);
        }
        if let Some(program) = find_in_path("initdb") {
            // Distributions link single programs into PATH; the rest lies beside the real file.
            let real = program.canonicalize().unwrap_or(program);
            if let Some(found) = real
                .parent()
                .and_then(|folder| Self::examine(folder, "PATH", tried))
            {
                return Some(found);
            }
        } else {
            tried.push("PATH: no initdb".to_owned());
        }
        Self::newest_under(Path::new("/usr/lib/postgresql"), tried).or_else(|| {
            MACOS_FOLDERS
                .iter()
                .find_map(|folder| Self::newest_under(Path::new(folder), tried))
        })
    }

    /// The newest usable version among `parent/*/bin`.
    fn newest_under(parent: &Path, tried: &mut Vec<String>) -> Option<Self> {
        let Ok(entries) = parent.read_dir() else {
            tried.push(format!("{}: not there", parent.display()));
            return None;
        };
        let label = parent.display().to_string();
        entries
            .filter_map(Result::ok)
            .map(|entry| entry.path().join("bin"))
            .filter(|folder| folder.join("initdb").exists())
            .filter_map(|folder| Self::examine(&folder, &label, tried))
            .max_by_key(|found| found.major)
    }

    fn examine(folder: &Path, label: &str, tried: &mut Vec<String>) -> Option<Self> {
        match major_version(folder) {
            Ok(major) => Some(Self {
                folder: folder.to_owned(),
                major,
            }),
            Err(reason) => {
                tried.push(format!("{label}: {}: {reason}", folder.display()));
                None
            }
        }
    }

    /// The path of one of the programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The major version, such as 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }
}

fn major_version(folder: &Path) -> Result<u32, String> {
    for name in ["initdb", "postgres"] {
        if !is_executable(&folder.join(name)) {
            return Err(format!("no executable {name}"));
        }
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("postgres --version: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match parse_major(&text) {
        Some(major) if major >= MAJOR_MIN => Ok(major),
        Some(major) => Err(format!("version {major} is older than {MAJOR_MIN}")),
        None => Err("postgres --version gave no version".to_owned()),
    }
}

/// Reads the major version out of `postgres (PostgreSQL) 15.18 (Debian …)` or `… 18beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL)")?.1.trim_start();
    let digits = version
        .find(|c: char| !c.is_ascii_digit())
        .map_or(version, |end| &version[..end]);
    digits.parse().ok()
}

/// Installs the distribution's Postgres as root with apt, saying each command before it runs.
fn install_with_apt(tried: &mut Vec<String>) {
    let Some(apt) = Apt::find(tried) else { return };
    eprintln!("No Postgres on this machine: installing the distribution's package with apt.");
    apt.update(tried);
    apt.install("postgresql-common", tried);
    refuse_system_cluster();
    apt.install("postgresql", tried);
}

/// Debian's package creates and starts a cluster of the system's own on port 5432, which nobody
/// asked for; its helper package has a switch against that. Left alone when somebody has set it.
fn refuse_system_cluster() {
    let config = Path::new("/etc/postgresql-common/createcluster.conf");
    let Ok(text) = std::fs::read_to_string(config) else {
        return;
    };
    let is_set = text
        .lines()
        .any(|line| line.trim_start().starts_with("create_main_cluster"));
    if !is_set {
        // Failing leaves the package's default: an idle cluster, a nuisance and not an error.
        let _ = std::fs::write(config, format!("{text}\ncreate_main_cluster = false\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_prints() {
        assert_eq!(
            parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) 17"), Some(17));
        assert_eq!(parse_major("mysqld 8"), None);
        assert_eq!(parse_major(""), None);
    }

    #[test]
    fn an_empty_folder_is_reported_with_its_label() {
        let folder = tempfile::tempdir().unwrap();
        let mut tried = Vec::new();
        assert_eq!(
            Binaries::examine(folder.path(), "SOTTO_PG_BIN", &mut tried),
            None
        );
        assert!(tried[0].starts_with("SOTTO_PG_BIN: "), "{tried:?}");
        assert!(tried[0].ends_with("no executable initdb"), "{tried:?}");
    }
}
