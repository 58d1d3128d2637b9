//! Files that only their owner can read, replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::ProfileError;

/// The largest file that is read here, in bytes: key files are small.
const READ_BYTES_MAX: u64 = 4096;

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ProfileError {
    let what = path.display().to_string();
    move |source| ProfileError::Io { what, source }
}

/// Makes a directory and its parents, for the owner alone.
pub(super) fn make_private_directory(path: &Path) -> Result<(), ProfileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed(path))
}

/// Whether a directory belongs to this user and is closed to all others; a
/// symbolic link is not followed.
pub(super) fn check_private_directory(path: &Path) -> Result<(), ProfileError> {
    let metadata = fs::symlink_metadata(path).map_err(failed(path))?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if metadata.is_dir() && own && metadata.mode() & 0o077 == 0 {
        Ok(())
    } else {
        let reason = io::Error::new(io::ErrorKind::PermissionDenied, "not a private directory");
        Err(failed(path)(reason))
    }
}

/// Opens a file for locking, made when it is not there.
pub(super) fn open_private(path: &Path) -> Result<File, ProfileError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed(path))
}

/// Writes a file so that after a crash there is the old one or the new one.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ProfileError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = Path::new(&unfinished);
    remove(unfinished)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(unfinished)
        .map_err(failed(unfinished))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed(unfinished))?;
    rename(unfinished, path)
}

/// Reads a small file, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, ProfileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed(path))?;
    Ok(Some(bytes))
}

/// Renames a file and makes that durable.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), ProfileError> {
    fs::rename(from, to).map_err(failed(to))?;
    match to.parent() {
        Some(directory) => File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed(to)),
        None => Ok(()),
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), ProfileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a profile's directory with what is left in it.
pub(super) fn remove_directory(path: &Path) -> Result<(), ProfileError> {
    fs::remove_dir_all(path).map_err(failed(path))
}
