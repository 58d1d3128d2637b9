//! Which protocol versions exist, and which one two sides speak.

/// The lowest version that this code speaks.
pub const VERSION_MIN: u32 = 1;
/// The highest version that this code speaks.
pub const VERSION_MAX: u32 = 1;
/// The TLS application protocol (ALPN, RFC 7301).
pub const ALPN: &[u8] = b"sotto/1";

/// The highest version that both sides speak.
#[must_use]
pub fn negotiate(client_min: u32, client_max: u32) -> Option<u32> {
    let highest = client_max.min(VERSION_MAX);
    (highest >= client_min.max(VERSION_MIN)).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::negotiate;

    #[test]
    fn picks_the_highest_common_version() {
        assert_eq!(negotiate(1, 1), Some(1));
        assert_eq!(negotiate(1, 9), Some(1));
        assert_eq!(negotiate(2, 9), None);
        assert_eq!(negotiate(0, 0), None);
        assert_eq!(negotiate(5, 1), Some(1).filter(|_| false));
    }
}
