//! Ports on loopback that nobody uses, and that stay the same from one start to the next.

use std::net::{Ipv4Addr, TcpListener};

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

/// Whether a listener could have this port now.
pub(crate) fn is_free(port: u16) -> bool {
    port != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Chooses the public port; `last` is what it was before. `None` when it is taken.
pub(crate) fn choose_public(wish: PublicPort, last: Option<u16>) -> Option<u16> {
    match wish {
        PublicPort::Exactly(port) => is_free(port).then_some(port),
        PublicPort::Any => last
            .filter(|port| is_free(*port))
            .or_else(|| choose_private(&[])),
        PublicPort::Default => {
            let after = PUBLIC_DEFAULT..PUBLIC_DEFAULT + PUBLIC_CANDIDATES;
            last.into_iter().chain(after).find(|port| is_free(*port))
        }
    }
}

/// Chooses a free port for a server that is none of `taken`.
pub(crate) fn choose_private(taken: &[u16]) -> Option<u16> {
    (0..PRIVATE_ATTEMPTS)
        .map(|_| rand::random_range(PRIVATE_RANGE))
        .find(|port| !taken.contains(port) && is_free(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_seen_and_avoided() {
        let port = choose_private(&[]).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        assert_eq!(choose_public(PublicPort::Exactly(port), None), None);
        let other = choose_public(PublicPort::Any, Some(port)).unwrap();
        assert_ne!(other, port);
        drop(listener);
        assert_eq!(choose_public(PublicPort::Any, Some(port)), Some(port));
    }
}
