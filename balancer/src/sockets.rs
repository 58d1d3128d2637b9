//! Socket options and the open-file limit.

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};

/// Silence after which a peer is asked for a sign of life.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// With the above: a peer that vanished is noticed 20 + 4 × 5 = 40 s after its last byte.
const KEEPALIVE_PROBES: u32 = 4;
/// Sent bytes that stay unacknowledged for so long end the connection, in milliseconds.
const USER_TIMEOUT_MS: u32 = 30_000;
/// What the system may queue before we accept (it caps this itself).
const BACKLOG: u32 = 4_096;
/// Descriptors that are not connections: listeners, probes, the admin port, files.
const DESCRIPTORS_RESERVED: u64 = 256;
/// What is asked for where the system's limit is lower and may be raised.
const DESCRIPTORS_WANTED: u64 = 65_536;

/// Small writes leave at once; dead peers are noticed within 45 s.
pub(crate) fn tune(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
    #[cfg(not(target_os = "macos"))]
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    sockopt::set_tcp_user_timeout(&socket, USER_TIMEOUT_MS)?;
    Ok(())
}

/// Listens; an IPv6 address takes no IPv4 clients, so that both can be given side by side.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    // What is accepted there takes these after it: one call instead of one for each client.
    tune(&socket)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listening sockets that a supervisor opened and handed over (`LISTEN_FDS`); none without one.
///
/// # Errors
/// When what was handed over are no TCP sockets.
pub(crate) fn inherited() -> io::Result<Vec<std::net::TcpListener>> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::with_capacity(handed.len());
    for place in 0..handed.len() {
        if let Some(socket) = handed.take_tcp_listener(place)? {
            socket.set_nonblocking(true)?;
            tune(&socket)?;
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

/// Raises the open-file limit as far as the system lets us; failing is no error.
pub(crate) fn raise_descriptor_limit() {
    let current = getrlimit(Resource::Nofile);
    let Some(hard) = current.maximum else { return };
    // A privileged process may raise the hard limit too; otherwise the soft one must do.
    let wished = hard.max(DESCRIPTORS_WANTED);
    for limit in [wished, hard] {
        let raised = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return;
        }
    }
}

/// How many clients there can be: each takes two descriptors.
pub(crate) fn connections_possible() -> u32 {
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .unwrap_or(DESCRIPTORS_WANTED);
    let connections = descriptors.saturating_sub(DESCRIPTORS_RESERVED) / 2;
    u32::try_from(connections)
        .unwrap_or(u32::MAX)
        .clamp(1, 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn dead_peers_are_noticed_within_forty_five_seconds() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let backend = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        tune(&backend).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        for socket in [backend, accepted] {
            assert!(sockopt::tcp_nodelay(&socket).unwrap());
            assert!(sockopt::socket_keepalive(&socket).unwrap());
            let interval = sockopt::tcp_keepintvl(&socket).unwrap();
            let idle = sockopt::tcp_keepidle(&socket).unwrap();
            let noticed = idle + interval * sockopt::tcp_keepcnt(&socket).unwrap();
            assert!(noticed <= Duration::from_secs(45), "{noticed:?}");
            #[cfg(target_os = "linux")]
            assert!((1..=45_000).contains(&sockopt::tcp_user_timeout(&socket).unwrap()));
        }
    }

    #[tokio::test]
    async fn both_families_share_a_port() {
        let four = listen("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = four.local_addr().unwrap().port();
        // A machine without IPv6 has nothing to share.
        if let Err(error) = listen(format!("[::]:{port}").parse().unwrap()) {
            assert_ne!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
