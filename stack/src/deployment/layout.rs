//! Where the files of one deployment lie, and the lock that says that it runs.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::files;

/// The folder of a deployment, by absolute path.
///
/// ```text
/// DIR/env         what a shell sources to reach the deployment; written when all is ready
/// DIR/state.json  what runs where; written whenever that changes
/// DIR/lock        locked while a launcher runs, with its process id inside
/// DIR/settings.json  ports and places that stay the same from one start to the next
/// DIR/certs/ DIR/config/ DIR/log/ DIR/run/ DIR/home/ DIR/postgres/
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of a folder, which need not exist; a relative path is below the current one.
    ///
    /// # Errors
    /// Fails when the current folder is unknown.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let dir = std::path::absolute(dir)?;
        // Two names of one folder must not become two deployments.
        Ok(Self {
            dir: dir.canonicalize().unwrap_or(dir),
        })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The development certificates.
    #[must_use]
    pub fn certs(&self) -> PathBuf {
        self.dir.join("certs")
    }

    /// What a shell sources.
    #[must_use]
    pub fn env(&self) -> PathBuf {
        self.dir.join("env")
    }

    /// The default home of clients of this deployment.
    #[must_use]
    pub fn client_home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// What runs where.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// The log of one process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.dir.join("settings.json")
    }

    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.dir.join("config").join(format!("{name}.toml"))
    }

    pub(crate) fn ready_file(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(format!("{name}.ready.json"))
    }

    /// Makes the folders. Others may pass through, because Postgres runs as another user below;
    /// what is secret is protected file by file.
    pub(crate) fn create(dir: &Path) -> io::Result<Self> {
        files::make_dir(dir, 0o711)?;
        let layout = Self::new(dir)?;
        for folder in ["config", "log", "run", "home"] {
            files::make_dir(&layout.dir.join(folder), 0o700)?;
        }
        Ok(layout)
    }

    fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Takes the deployment for this process. `None` when another launcher has it.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let path = self.lock_path();
        let options = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = options.map_err(|error| files::naming(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(files::naming(&path, error)),
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(Some(file))
    }

    /// The process id of the launcher that runs this deployment now. Only a live launcher holds
    /// the lock, so the id cannot be that of a stranger who got a used number.
    ///
    /// # Errors
    /// Fails when the lock file is there but cannot be read.
    pub fn launcher(&self) -> io::Result<Option<u32>> {
        let path = self.lock_path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::naming(&path, error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(text.trim().parse().ok())
            }
            Err(TryLockError::Error(error)) => Err(files::naming(&path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_launcher_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(&folder.path().join("deployment")).unwrap();
        assert_eq!(layout.launcher().unwrap(), None);
        let lock = layout.lock().unwrap().unwrap();
        assert!(layout.lock().unwrap().is_none());
        assert_eq!(layout.launcher().unwrap(), Some(std::process::id()));
        drop(lock);
        assert_eq!(layout.launcher().unwrap(), None);
        assert!(layout.lock().unwrap().is_some());
    }
}
