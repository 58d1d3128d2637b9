//! Clocks of single processes that can be put forward and back while they run, by libfaketime.
//!
//! Only the time of day is shifted: what is measured with the monotonic clock goes on evenly, as it
//! does when an operator or a time server sets a clock.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::FaultsError;

/// How long a process may go on with the time that it knows, in seconds.
const CACHE_SECS: &str = "1";

/// The files that say how far each process' clock is off.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    library: PathBuf,
    dir: PathBuf,
}

impl Clocks {
    /// With the library, if this machine has it.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(dir: &Path) -> Result<Option<Self>, FaultsError> {
        let Some(library) = library() else {
            return Ok(None);
        };
        fs::create_dir_all(dir).map_err(FaultsError::file(dir))?;
        let dir = dir.to_owned();
        Ok(Some(Self { library, dir }))
    }

    /// Puts a process' clock forward by so many seconds, or back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn set(&self, name: &str, seconds: i64) -> Result<(), FaultsError> {
        let path = self.dir.join(name);
        let new = self.dir.join(format!("{name}.new"));
        fs::write(&new, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(FaultsError::file(&path))
    }

    /// What a process needs in its environment.
    pub(crate) fn variables(&self, name: &str) -> Vec<(String, PathBuf)> {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.dir.join(name)),
            ("FAKETIME_CACHE_DURATION", CACHE_SECS.into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    /// A program that is `sotto` with the clock that belongs to its configuration file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn wrap(&self, sotto: &Path) -> Result<PathBuf, FaultsError> {
        let path = self.dir.join("sotto.sh");
        let script = format!(
            "#!/bin/sh\n\
             for word; do case $word in */config/*.toml) name=$(basename \"$word\" .toml);; esac; done\n\
             export LD_PRELOAD='{}' FAKETIME_TIMESTAMP_FILE='{}'/\"$name\"\n\
             export FAKETIME_CACHE_DURATION={CACHE_SECS} FAKETIME_DONT_FAKE_MONOTONIC=1\n\
             exec '{}' \"$@\"\n",
            self.library.display(),
            self.dir.display(),
            sotto.display(),
        );
        fs::write(&path, script)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .map_err(FaultsError::file(&path))?;
        Ok(path)
    }
}

/// Where Debian and its kin put it.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let candidates = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    candidates
        .chain([PathBuf::from("/usr/lib/faketime/libfaketimeMT.so.1")])
        .find(|path| path.is_file())
}
