//! What a sealed payload holds, and its padding.
//!
//! Texts of up to 4 KiB fall into six sizes, whatever they quote and whomever
//! they name, so that lengths tell little. A body that this version does not
//! know survives as its bytes; one that breaks a limit is refused.

mod body;
mod emoji;
mod wire_form;

use prost::Message as _;
use sotto_protocol::wire;

pub use body::{
    Attachment, Body, Edit, GroupInfo, JoinLink, MessageRef, Pin, Profile, Reaction, Reply, Text,
};
pub use emoji::{EMOJI_BYTES_MAX, Emoji};
pub use wire_form::{
    CAPTION_BYTES_MAX, DESCRIPTION_BYTES_MAX, EXPIRES_AFTER_S_MAX, FILE_NAME_BYTES_MAX, LINKS_MAX,
    MEDIA_TYPE_BYTES_MAX, MENTIONS_MAX, QUOTE_BYTES_MAX, TEXT_BYTES_MAX, THUMBNAIL_BYTES_MAX,
    TITLE_BYTES_MAX,
};

/// Plaintext sizes of messages with a text of up to 4,096 bytes. A text alone
/// fits the first five; the last has room for a quotation and 64 names.
pub const SIZE_CLASSES: [usize; 6] = [256, 512, 1024, 2048, 4352, 8192];
/// Larger plaintexts are padded to a multiple of this.
pub const LARGE_STEP_BYTES: usize = 4096;
/// The largest plaintext after padding.
pub const PLAINTEXT_BYTES_MAX: usize = 96 * 1024;

/// Key of the padding field: number 1000, bytes.
const PADDING_KEY: [u8; 2] = [0xc2, 0x3e];
/// The key and a length that is always written in three bytes.
const PADDING_HEAD_BYTES: usize = 5;

/// A plaintext that could not be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Something is longer or more than the format allows.
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

impl Content {
    /// The padded plaintext.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`]; [`ContentError::Malformed`] for an unknown body, which cannot be sent.
    pub fn encode_padded(&self) -> Result<Vec<u8>, ContentError> {
        let plain = wire::Content {
            sender_counter: self.sender_counter,
            highest_seq_seen: self.highest_seq_seen,
            last_commit_hash: self.last_commit_hash.map(Vec::from).unwrap_or_default(),
            sent_at_ms: self.sent_at_ms,
            body: Some(self.body.to_wire()?),
            padding: Vec::new(),
        };
        pad(plain.encode_to_vec())
    }

    /// Reads a plaintext.
    ///
    /// # Errors
    /// See [`ContentError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let plain = read(bytes)?;
        let last_commit_hash = match plain.last_commit_hash.as_slice() {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| ContentError::Malformed)?),
        };
        let body = match plain.body {
            Some(body) => Body::from_wire(body)?,
            None => Body::Unknown(unpadded(bytes, plain.padding.len()).to_vec()),
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

/// For the local store, where bodies lie without counters and padding.
impl Body {
    /// The body alone, not padded.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, ContentError> {
        if let Self::Unknown(bytes) = self {
            return Ok(bytes.clone());
        }
        let plain = wire::Content {
            body: Some(self.to_wire()?),
            ..wire::Content::default()
        };
        Ok(plain.encode_to_vec())
    }

    /// Reads what [`Self::to_bytes`] wrote, of this version or an older one.
    ///
    /// # Errors
    /// See [`ContentError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ContentError> {
        match read(bytes)?.body {
            Some(body) => Self::from_wire(body),
            None => Ok(Self::Unknown(bytes.to_vec())),
        }
    }
}

fn read(bytes: &[u8]) -> Result<wire::Content, ContentError> {
    if bytes.len() > PLAINTEXT_BYTES_MAX {
        return Err(ContentError::TooLarge);
    }
    wire::Content::decode(bytes).map_err(|_| ContentError::Malformed)
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
mod tests;
