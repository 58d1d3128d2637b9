//! Which servers a profile was last logged in over, so that they need not be
//! given each time. Not secret; whoever changes it can only make the client
//! knock elsewhere, where certificate and deployment will not match.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::profile::Location;

/// The most bytes of the file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// How a deployment is reached.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// As given with `--server`.
    pub(crate) server: String,
    /// As given with `--ca`, as an absolute path.
    pub(crate) ca: Option<PathBuf>,
}

/// The file is there and of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is damaged: it should say which servers this profile uses; delete it, and give --server HOST:PORT and --ca FILE with the next sotto login",
    .path.display()
)]
pub(crate) struct Damaged {
    path: PathBuf,
}

impl Reach {
    /// What was kept; `None` when nothing was.
    ///
    /// # Errors
    /// When the file is there and cannot be read or makes no sense.
    pub(crate) fn recall(location: &Location) -> Result<Option<Self>, Damaged> {
        let path = file(location);
        let damaged = || Damaged { path: path.clone() };
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(damaged()),
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|_| damaged())?;
        serde_json::from_str(&text).map(Some).map_err(|_| damaged())
    }

    /// Keeps it beside the profile.
    pub(crate) fn remember(&self, location: &Location) -> io::Result<()> {
        let unfinished = location.directory().join("servers.json.new");
        let mut target = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        target.write_all(serde_json::to_string(self)?.as_bytes())?;
        target.sync_all()?;
        std::fs::rename(unfinished, file(location))
    }
}

fn file(location: &Location) -> PathBuf {
    location.directory().join("servers.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location {
            home: folder.path().to_owned(),
            name: "p".to_owned(),
            runtime: folder.path().to_owned(),
        };
        assert_eq!(Reach::recall(&location), Ok(None));
        std::fs::create_dir(location.directory()).unwrap();
        let reach = Reach {
            server: "chat.example:1".to_owned(),
            ca: Some(PathBuf::from("/ca.pem")),
        };
        reach.remember(&location).unwrap();
        assert_eq!(Reach::recall(&location), Ok(Some(reach)));
        std::fs::write(file(&location), "{").unwrap();
        let damaged = Reach::recall(&location).unwrap_err().to_string();
        assert!(damaged.contains("servers.json is damaged"), "{damaged}");
    }
}
