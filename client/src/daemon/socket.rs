//! The socket of a daemon: beside the key of the unlocked profile, for its owner alone.
//!
//! Refuses a folder that others can write to, and peers of other users.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tokio::net::{UnixListener, UnixStream};

use crate::exit::{Failure, cause};
use crate::profile::Location;

/// The longest path of a socket, in bytes: the system's own bound.
const PATH_BYTES_MAX: usize = 107;

/// Listens. The caller holds the profile's lock: a socket that is there already is nobody's.
pub(super) fn listen(location: &Location) -> Result<(UnixListener, PathBuf), Failure> {
    let path = location.socket();
    let failed = |error: &io::Error| {
        let message = format!("{}: {}", path.display(), cause(error));
        Failure::named("internal", message)
    };
    if path.as_os_str().len() > PATH_BYTES_MAX {
        let message = format!(
            "{} is too long for a socket; set XDG_RUNTIME_DIR to a shorter folder",
            path.display()
        );
        return Err(Failure::named("usage", message));
    }
    location.make_runtime()?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(|error| failed(&error))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| failed(&error))?;
    Ok((listener, path))
}

/// Whether the peer is a program of this user.
pub(super) fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

/// Connects to the daemon of a profile; `None` when there is none.
pub(crate) async fn connect(location: &Location) -> Option<UnixStream> {
    let stream = UnixStream::connect(location.socket()).await.ok()?;
    is_own(&stream).then_some(stream)
}
