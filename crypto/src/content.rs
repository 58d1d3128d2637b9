//! What a sealed payload holds, and its padding.
//!
//! Texts of up to 4 KiB fall into six sizes, so that lengths tell little. A
//! body that this version does not know survives as its bytes.

use prost::Message as _;
use sotto_protocol::wire;

/// Plaintext sizes of messages with a text of up to 4,096 bytes.
pub const SIZE_CLASSES: [usize; 6] = [256, 512, 1024, 2048, 3072, 4352];
/// Larger plaintexts are padded to a multiple of this.
pub const LARGE_STEP_BYTES: usize = 4096;
/// The longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 65_536;
/// The largest plaintext after padding.
pub const PLAINTEXT_BYTES_MAX: usize = 96 * 1024;

/// Key of the padding field: number 1000, bytes.
const PADDING_KEY: [u8; 2] = [0xc2, 0x3e];
/// The key and a length that is always written in three bytes.
const PADDING_HEAD_BYTES: usize = 5;

/// A plaintext that could not be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The text is longer than 65,536 bytes, or the plaintext too large.
    #[error("message is too large")]
    TooLarge,
    /// Not a message of ours.
    #[error("message is malformed")]
    Malformed,
}

/// One message between devices, without what the envelope already says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Dense counter of the sending device in this conversation, from 1.
    pub sender_counter: u64,
    /// The highest seq of the log that the sender had processed.
    pub highest_seq_seen: u64,
    /// SHA-256 of the last commit that the sender had merged.
    pub last_commit_hash: Option<[u8; 32]>,
    /// The sender's clock, in milliseconds since 1970 UTC.
    pub sent_at_ms: u64,
    /// What it says.
    pub body: Body,
}

/// The kinds of messages.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// Written text.
    Text(String),
    /// Person-to-person receipt.
    Receipt {
        /// Everything up to this seq reached the sender's device.
        delivered_up_to: u64,
        /// Everything up to this seq was shown to the person.
        read_up_to: u64,
    },
    /// A kind that a newer version knows: the whole plaintext without padding.
    Unknown(Vec<u8>),
}

/// The kind only: what people write is not for logs.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(…)",
            Self::Receipt { .. } => "Receipt(…)",
            Self::Unknown(_) => "Unknown(…)",
        })
    }
}

impl Content {
    /// The padded plaintext.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`]; [`ContentError::Malformed`] for an unknown body, which cannot be sent.
    pub fn encode_padded(&self) -> Result<Vec<u8>, ContentError> {
        let body = match &self.body {
            Body::Text(text) if text.len() > TEXT_BYTES_MAX => return Err(ContentError::TooLarge),
            Body::Text(text) => wire::content::Body::Text(wire::TextBody {
                text: text.clone(),
                ..wire::TextBody::default()
            }),
            Body::Receipt {
                delivered_up_to,
                read_up_to,
            } => wire::content::Body::Receipt(wire::ReceiptBody {
                delivered_up_to: *delivered_up_to,
                read_up_to: *read_up_to,
            }),
            Body::Unknown(_) => return Err(ContentError::Malformed),
        };
        let plain = wire::Content {
            sender_counter: self.sender_counter,
            highest_seq_seen: self.highest_seq_seen,
            last_commit_hash: self.last_commit_hash.map(Vec::from).unwrap_or_default(),
            sent_at_ms: self.sent_at_ms,
            body: Some(body),
            padding: Vec::new(),
        };
        pad(plain.encode_to_vec())
    }

    /// Reads a plaintext.
    ///
    /// # Errors
    /// See [`ContentError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        if bytes.len() > PLAINTEXT_BYTES_MAX {
            return Err(ContentError::TooLarge);
        }
        let plain = wire::Content::decode(bytes).map_err(|_| ContentError::Malformed)?;
        let last_commit_hash = match plain.last_commit_hash.as_slice() {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| ContentError::Malformed)?),
        };
        let body = match plain.body {
            Some(wire::content::Body::Text(text)) if text.text.len() > TEXT_BYTES_MAX => {
                return Err(ContentError::TooLarge);
            }
            Some(wire::content::Body::Text(text)) => Body::Text(text.text),
            Some(wire::content::Body::Receipt(receipt)) => Body::Receipt {
                delivered_up_to: receipt.delivered_up_to,
                read_up_to: receipt.read_up_to,
            },
            Some(_) | None => Body::Unknown(unpadded(bytes, plain.padding.len()).to_vec()),
        };
        Ok(Self {
            sender_counter: plain.sender_counter,
            highest_seq_seen: plain.highest_seq_seen,
            last_commit_hash,
            sent_at_ms: plain.sent_at_ms,
            body,
        })
    }
}

/// The bytes without the padding that ends them.
fn unpadded(bytes: &[u8], padding: usize) -> &[u8] {
    let end = bytes.len().saturating_sub(padding + PADDING_HEAD_BYTES);
    match bytes.split_at_checked(end) {
        Some((plain, tail)) if tail.starts_with(&PADDING_KEY) => plain,
        _ => bytes,
    }
}

/// Appends the padding field. Its length is written in three bytes whatever it
/// is, so that every size can be hit; protobuf readers accept that.
fn pad(mut plain: Vec<u8>) -> Result<Vec<u8>, ContentError> {
    let needed = plain.len() + PADDING_HEAD_BYTES;
    let size = SIZE_CLASSES
        .into_iter()
        .find(|class| needed <= *class)
        .unwrap_or_else(|| needed.div_ceil(LARGE_STEP_BYTES) * LARGE_STEP_BYTES);
    if size > PLAINTEXT_BYTES_MAX {
        return Err(ContentError::TooLarge);
    }
    let zeros = size - needed;
    plain.extend_from_slice(&PADDING_KEY);
    for (shift, more) in [(0, 0x80), (7, 0x80), (14, 0)] {
        plain.push(u8::try_from((zeros >> shift) & 0x7f).unwrap_or(0) | more);
    }
    plain.resize(size, 0);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn text(length: usize) -> Content {
        Content {
            sender_counter: u64::MAX,
            highest_seq_seen: u64::MAX,
            last_commit_hash: Some([9; 32]),
            sent_at_ms: 1_800_000_000_000,
            body: Body::Text("x".repeat(length)),
        }
    }

    #[test]
    fn texts_up_to_four_kib_have_at_most_six_sizes() {
        let sizes: BTreeSet<_> = (1..=4096)
            .map(|length| text(length).encode_padded().unwrap().len())
            .collect();
        assert_eq!(sizes, BTreeSet::from(SIZE_CLASSES));
    }

    #[test]
    fn yes_and_no_are_alike() {
        let size = |word: &str| {
            let content = Content {
                body: Body::Text(word.to_owned()),
                ..text(0)
            };
            content.encode_padded().unwrap().len()
        };
        assert_eq!(size("yes"), size("no"));
    }

    #[test]
    fn a_newer_kind_survives() {
        // Field 99, bytes "new", which this version does not know.
        let mut plain = vec![0x08, 1, 0x9a, 0x06, 3, b'n', b'e', b'w'];
        let original = plain.clone();
        plain = pad(plain).unwrap();
        let read = Content::decode(&plain).unwrap();
        assert_eq!(read.body, Body::Unknown(original));
        assert_eq!(read.sender_counter, 1);
    }

    #[test]
    fn an_encoding_is_this() {
        let content = Content {
            sender_counter: 7,
            highest_seq_seen: 9,
            ..text(2)
        };
        let bytes = content.encode_padded().unwrap();
        let shown: String = bytes[..64]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn too_long_a_text_is_refused() {
        assert_eq!(
            text(TEXT_BYTES_MAX + 1).encode_padded(),
            Err(ContentError::TooLarge)
        );
        assert!(text(TEXT_BYTES_MAX).encode_padded().is_ok());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read(
            sender_counter: u64, highest_seq_seen: u64, sent_at_ms: u64,
            last_commit_hash: Option<[u8; 32]>, written in ".{0,3000}",
        ) {
            let content = Content {
                sender_counter, highest_seq_seen, last_commit_hash, sent_at_ms,
                body: Body::Text(written),
            };
            prop_assert_eq!(Content::decode(&content.encode_padded().unwrap()), Ok(content));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Content::decode(&bytes);
        }
    }
}
