//! Writing small files so that a reader, or a crash, never sees half of one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The owner only: keys, addresses of databases.
    Private,
    /// Everybody.
    Public,
}

/// Writes a file under a temporary name, flushes it to the disk and moves it into place.
///
/// # Errors
/// The system's reason, with the path in its text.
pub(crate) fn write(path: &Path, content: &str, access: Access) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_new(&temporary, content, access)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| naming(path, error));
    if written.is_err() {
        // What could not be moved into place is of no use to anybody.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, content: &str, access: Access) -> io::Result<()> {
    let mode = match access {
        Access::Private => 0o600,
        Access::Public => 0o644,
    };
    // A leftover of a crashed process with our id; its mode would win over ours.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Makes a directory and its parents; those that exist are left as they are.
///
/// # Errors
/// The system's reason, with the path in its text.
pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| naming(path, error))
}

/// Puts the path into the text of an error, which the system leaves out.
pub(crate) fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
