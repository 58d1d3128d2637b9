//! PROXY protocol version 2: how a balancer tells a server who the client is.
//!
//! [`encode`] is the balancer's side, [`decode`] the server's. Only what Sotto needs is
//! spoken: TCP over IPv4 or IPv6, and the `LOCAL` command that fronts use for their own
//! health checks. Everything else (version 1, UDP, UNIX sockets, unspecified families under
//! `PROXY`) is refused. Type-length-value extensions are skipped without being read.
//!
//! This module never decides *whether* a header may be believed: a server must call
//! [`decode`] only on connections from addresses that it was told are its balancers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The largest header that is read, in bytes: what the specification obliges receivers to
/// accept (536, the smallest TCP segment).
pub const HEADER_BYTES_MAX: usize = 536;

/// Bytes before the address block: signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// The twelve bytes that open every version 2 header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2: u8 = 0x20;
const COMMAND_LOCAL: u8 = 0x0;
const COMMAND_PROXY: u8 = 0x1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const IPV4_BLOCK_BYTES: u8 = 12;
const IPV6_BLOCK_BYTES: u8 = 36;

/// What a complete header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The front speaks for itself (a health check): the socket's own addresses are true.
    Local,
    /// The front relays a client.
    Proxied {
        /// The client's address as the front saw it.
        source: SocketAddr,
        /// The address of the front that the client connected to.
        destination: SocketAddr,
    },
}

/// The outcome of looking at the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Everything so far fits a header, which is not complete yet.
    NeedMore,
    /// A whole header stands at the beginning.
    Complete {
        /// How many bytes belong to the header, at most [`HEADER_BYTES_MAX`]; the client's
        /// own bytes follow.
        consumed: usize,
        /// What it says.
        header: Header,
    },
}

/// Why bytes are not a header that Sotto accepts. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The signature is missing: the peer does not speak PROXY version 2.
    #[error("no PROXY version 2 signature")]
    Signature,
    /// Another version than 2.
    #[error("unsupported PROXY version")]
    Version,
    /// A command other than `LOCAL` and `PROXY`.
    #[error("unknown PROXY command")]
    Command,
    /// Not TCP over IPv4 or IPv6.
    #[error("unsupported PROXY address family or transport")]
    Family,
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("PROXY header of {0} bytes is too long")]
    TooLong(usize),
    /// The address block is shorter than its family needs.
    #[error("PROXY address block is too short")]
    TooShort,
}

/// Encodes a `PROXY` header for a TCP connection from `source` to `destination`: 28 bytes if
/// both are IPv4, otherwise 52 (an IPv4 address among IPv6 ones is written in mapped form).
#[must_use]
pub fn encode(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED_BYTES + usize::from(IPV6_BLOCK_BYTES));
    out.extend_from_slice(&SIGNATURE);
    out.push(VERSION_2 | COMMAND_PROXY);
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[TCP_OVER_IPV4, 0, IPV4_BLOCK_BYTES]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[TCP_OVER_IPV6, 0, IPV6_BLOCK_BYTES]);
            out.extend_from_slice(&as_ipv6(from).octets());
            out.extend_from_slice(&as_ipv6(to).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    out
}

/// Looks for a header at the beginning of `bytes`. Wrong bytes are refused as soon as they
/// are seen, so that a peer which speaks something else is not waited for.
///
/// # Errors
/// [`ProxyError`] if `bytes` cannot become an acceptable header, however many more arrive.
pub fn decode(bytes: &[u8]) -> Result<Decoded, ProxyError> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes.get(..seen) != SIGNATURE.get(..seen) {
        return Err(ProxyError::Signature);
    }
    if let Some(version_and_command) = bytes.get(12) {
        check_version_and_command(*version_and_command)?;
    }
    let Some(&[version_and_command, family, high, low]) = bytes.get(12..FIXED_BYTES) else {
        return Ok(Decoded::NeedMore);
    };
    let consumed = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if consumed > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong(consumed));
    }
    let local = version_and_command & 0x0f == COMMAND_LOCAL;
    if !local {
        check_family(family, consumed - FIXED_BYTES)?;
    }
    let Some(block) = bytes.get(FIXED_BYTES..consumed) else {
        return Ok(Decoded::NeedMore);
    };
    let header = if local {
        Header::Local
    } else {
        addresses(family, block)?
    };
    Ok(Decoded::Complete { consumed, header })
}

fn check_version_and_command(byte: u8) -> Result<(), ProxyError> {
    if byte & 0xf0 != VERSION_2 {
        return Err(ProxyError::Version);
    }
    match byte & 0x0f {
        COMMAND_LOCAL | COMMAND_PROXY => Ok(()),
        _ => Err(ProxyError::Command),
    }
}

fn check_family(family: u8, block_bytes: usize) -> Result<(), ProxyError> {
    let needed = match family {
        TCP_OVER_IPV4 => IPV4_BLOCK_BYTES,
        TCP_OVER_IPV6 => IPV6_BLOCK_BYTES,
        _ => return Err(ProxyError::Family),
    };
    if block_bytes < usize::from(needed) {
        Err(ProxyError::TooShort)
    } else {
        Ok(())
    }
}

fn addresses(family: u8, block: &[u8]) -> Result<Header, ProxyError> {
    let mut rest = block;
    let (source, destination): (IpAddr, IpAddr) = if family == TCP_OVER_IPV4 {
        let (from, to): ([u8; 4], [u8; 4]) = (take(&mut rest)?, take(&mut rest)?);
        (Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into())
    } else {
        let (from, to): ([u8; 16], [u8; 16]) = (take(&mut rest)?, take(&mut rest)?);
        // Mapped addresses become plain IPv4, so that limits by prefix see one client once.
        (
            Ipv6Addr::from(from).to_canonical(),
            Ipv6Addr::from(to).to_canonical(),
        )
    };
    let source_port = u16::from_be_bytes(take(&mut rest)?);
    let destination_port = u16::from_be_bytes(take(&mut rest)?);
    Ok(Header::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ProxyError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(ProxyError::TooShort)?;
    *rest = tail;
    Ok(*head)
}

fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<u16>())
                .prop_map(|(ip, port)| SocketAddr::new(Ipv4Addr::from(ip).into(), port)),
            (any::<[u8; 16]>(), any::<u16>())
                .prop_map(|(ip, port)| SocketAddr::new(Ipv6Addr::from(ip).into(), port)),
        ]
    }

    #[test]
    fn writes_the_published_layout() {
        let header = encode(
            "192.0.2.1:1025".parse().unwrap(),
            "198.51.100.2:5222".parse().unwrap(),
        );
        assert_eq!(
            header,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x04\x01\x14\x66"
        );
    }

    #[test]
    fn skips_extensions_and_accepts_local() {
        let mut header = encode(
            "192.0.2.1:1".parse().unwrap(),
            "192.0.2.2:2".parse().unwrap(),
        );
        header[15] += 5;
        header.extend_from_slice(&[4, 0, 2, 9, 9]);
        let decoded = decode(&header).unwrap();
        assert!(matches!(
            decoded,
            Decoded::Complete {
                consumed: 33,
                header: Header::Proxied { .. }
            }
        ));

        let mut local = SIGNATURE.to_vec();
        local.extend_from_slice(&[0x20, 0, 0, 0]);
        let expected = Decoded::Complete {
            consumed: 16,
            header: Header::Local,
        };
        assert_eq!(decode(&local), Ok(expected));
    }

    #[test]
    fn refuses_what_it_does_not_speak() {
        let with = |tail: &[u8]| {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend_from_slice(tail);
            decode(&bytes)
        };
        assert_eq!(decode(b"PROXY TCP4 192.0.2.1"), Err(ProxyError::Signature));
        assert_eq!(decode(b"\x16\x03\x01"), Err(ProxyError::Signature));
        assert_eq!(with(&[0x11]), Err(ProxyError::Version));
        assert_eq!(with(&[0x22]), Err(ProxyError::Command));
        assert_eq!(with(&[0x21, 0x12, 0, 12]), Err(ProxyError::Family));
        assert_eq!(with(&[0x21, 0x31, 0, 216]), Err(ProxyError::Family));
        assert_eq!(with(&[0x21, 0x00, 0, 0]), Err(ProxyError::Family));
        assert_eq!(with(&[0x21, 0x11, 0, 11]), Err(ProxyError::TooShort));
        assert_eq!(with(&[0x21, 0x21, 0, 35]), Err(ProxyError::TooShort));
        assert_eq!(
            with(&[0x21, 0x11, 0xff, 0xff]),
            Err(ProxyError::TooLong(65_551))
        );
        assert_eq!(
            with(&[0x20, 0x00, 0x02, 0x09]),
            Err(ProxyError::TooLong(537))
        );
    }

    proptest! {
        #[test]
        fn round_trips(source in any_address(), destination in any_address(), tail: Vec<u8>) {
            let mut bytes = encode(source, destination);
            let whole = bytes.len();
            for cut in 0..whole {
                prop_assert_eq!(decode(&bytes[..cut]), Ok(Decoded::NeedMore));
            }
            bytes.extend_from_slice(&tail);
            let header = Header::Proxied {
                source: canonical(source),
                destination: canonical(destination),
            };
            prop_assert_eq!(decode(&bytes), Ok(Decoded::Complete { consumed: whole, header }));
        }

        #[test]
        fn survives_arbitrary_bytes(bytes: Vec<u8>) {
            if let Ok(Decoded::Complete { consumed, .. }) = decode(&bytes) {
                prop_assert!(consumed <= bytes.len() && consumed <= HEADER_BYTES_MAX);
            }
        }

        #[test]
        fn survives_arbitrary_bytes_behind_the_signature(tail in prop::collection::vec(any::<u8>(), 0..700)) {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend_from_slice(&tail);
            let whole = decode(&bytes);
            if let Ok(Decoded::Complete { consumed, .. }) = whole {
                prop_assert!(consumed <= bytes.len() && consumed <= HEADER_BYTES_MAX);
                // The answer depends on the header's own bytes only.
                prop_assert_eq!(decode(&bytes[..consumed]), whole);
            }
        }
    }
}
