//! Ports on loopback that nobody uses, and that stay the same from one start to the next.

use std::fs::{DirBuilder, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::PathBuf;

/// The public port when nothing is said, or the next free one.
pub const PUBLIC_DEFAULT: u16 = 7443;

/// How many ports after the default are looked at.
const PUBLIC_CANDIDATES: u16 = 200;

/// Servers' ports come from below the range from which systems take the local ports of outgoing
/// connections, so that a server that comes back finds its own port free.
const PRIVATE_RANGE: std::ops::Range<u16> = 20_000..30_000;

const PRIVATE_ATTEMPTS: u32 = 1_000;

/// The port that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicPort {
    /// [`PUBLIC_DEFAULT`], the port of the last time, or the next free one.
    Default,
    /// Any free one.
    Any,
    /// This one or none.
    Exactly(u16),
}

impl From<u16> for PublicPort {
    fn from(port: u16) -> Self {
        if port == 0 {
            Self::Default
        } else {
            Self::Exactly(port)
        }
    }
}

/// A port that no other launcher of this user chooses while this value lives. Between choosing a
/// port and a child listening on it lie seconds, in which a second deployment may be starting.
#[derive(Debug)]
pub(crate) struct Lease {
    port: u16,
    _lock: File,
}

impl Lease {
    /// Takes a port, if it is free and nobody else has taken it.
    fn take(port: u16) -> Option<Self> {
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lease_folder().ok()?.join(port.to_string()))
            .ok()?;
        lock.try_lock().ok()?;
        is_free(port).then_some(Self { port, _lock: lock })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// The folder of the lock files, one empty file for each port that was ever taken.
fn lease_folder() -> io::Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("sotto-ports-{uid}"));
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = std::fs::symlink_metadata(&folder)?;
    if meta.is_dir() && meta.uid() == uid {
        return Ok(folder);
    }
    Err(io::Error::other("the folder belongs to somebody else"))
}

/// Whether a listener could have this port now.
fn is_free(port: u16) -> bool {
    port != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Chooses the public port; `last` is what it was before. `None` when it is taken.
pub(crate) fn choose_public(wish: PublicPort, last: Option<u16>) -> Option<Lease> {
    match wish {
        PublicPort::Exactly(port) => Lease::take(port),
        PublicPort::Any => choose_private(last),
        PublicPort::Default => {
            let after = PUBLIC_DEFAULT..PUBLIC_DEFAULT + PUBLIC_CANDIDATES;
            last.into_iter().chain(after).find_map(Lease::take)
        }
    }
}

/// Chooses a port for a process: the one of the last time, or a free one.
pub(crate) fn choose_private(last: Option<u16>) -> Option<Lease> {
    let random = (0..PRIVATE_ATTEMPTS).map(|_| rand::random_range(PRIVATE_RANGE));
    last.into_iter().chain(random).find_map(Lease::take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_seen_and_avoided() {
        let port = choose_private(None).unwrap().port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        assert!(choose_public(PublicPort::Exactly(port), None).is_none());
        assert_ne!(
            choose_public(PublicPort::Any, Some(port)).unwrap().port(),
            port
        );
        drop(listener);
        assert_eq!(
            choose_public(PublicPort::Any, Some(port)).unwrap().port(),
            port
        );
    }

    #[test]
    fn two_launchers_do_not_choose_the_same_port() {
        let first = choose_public(PublicPort::Default, None).unwrap();
        let second = choose_public(PublicPort::Default, None).unwrap();
        assert_ne!(first.port(), second.port());
        assert!(choose_public(PublicPort::Exactly(first.port()), None).is_none());
    }
}
