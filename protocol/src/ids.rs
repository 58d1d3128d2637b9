//! Identifiers: one type each, so that none is taken for another.
//!
//! Fixed-size ids are random bytes chosen by their owner. They refuse to be
//! built from bytes of another length, and their `Debug` shows four bytes only.

use std::fmt;

/// Bytes that were not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes for {name}, found {found}")]
pub struct IdError {
    name: &'static str,
    expected: usize,
    found: usize,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps the 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads 16 bytes.
            ///
            /// # Errors
            /// When there are more or fewer than 16.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError {
                    name: stringify!($name),
                    expected: 16,
                    found: bytes.len(),
                })
            }

            /// Reads 32 hexadecimal digits.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                hex_16(text).map(Self)
            }

            /// The bytes for a protobuf field.
            #[must_use]
            pub fn to_vec(self) -> Vec<u8> {
                self.0.to_vec()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, "{}({a:02x}{b:02x}{c:02x}{d:02x}…)", stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

byte_id!(
    /// A deployment: the servers that share one database.
    DeploymentId
);
byte_id!(
    /// A device: one installation of the client under one account; also the id of its mailbox.
    DeviceId
);
byte_id!(
    /// A conversation: one log of envelopes, backed by one MLS group at a time.
    ConversationId
);
byte_id!(
    /// A blob: the sealed bytes of a file. Whoever knows it may read the blob.
    BlobId
);
byte_id!(
    /// The sender's own id of a message, by which a repeated append is known.
    ClientMessageId
);

impl DeviceId {
    /// The log that holds what was sent to this device alone.
    #[must_use]
    pub const fn mailbox(self) -> ConversationId {
        ConversationId(self.0)
    }
}

fn hex_16(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(place * 2..place * 2 + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hex_round_trips(bytes: [u8; 16]) {
            let id = ConversationId::from_bytes(bytes);
            prop_assert_eq!(ConversationId::from_hex(&id.to_string()), Some(id));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = ConversationId::from_hex(&text);
        }
    }

    #[test]
    fn debug_shows_little() {
        let shown = format!("{:?}", DeviceId::from_bytes([0xab; 16]));
        assert_eq!(shown, "DeviceId(abababab…)");
    }
}
