//! The affinity key: what of a client's address decides where it lands.
//!
//! Nothing new travels on the wire for it, and nothing finer than what one subscriber is
//! commonly given: a whole IPv4 address, the upper 64 bits of an IPv6 one. The same key
//! serves the limits per prefix.

use std::net::IpAddr;

/// A client's network prefix: /32 for IPv4, /64 for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AffinityKey {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl AffinityKey {
    /// The key of a client at `address`; an IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }

    /// Nine bytes, different for different keys, the same on every machine.
    pub(crate) fn to_bytes(self) -> [u8; 9] {
        match self {
            Self::V4([a, b, c, d]) => [4, a, b, c, d, 0, 0, 0, 0],
            Self::V6([a, b, c, d, e, f, g, h]) => [6, a, b, c, d, e, f, g, h],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> AffinityKey {
        AffinityKey::of(address.parse().unwrap())
    }

    #[test]
    fn one_subscriber_is_one_key() {
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("1.2.3.4").to_bytes(), key("102:304::").to_bytes());
    }
}
