//! Opening: sealed bytes in as they come, verified file bytes out.

use aead_stream::StreamPrimitive as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::seal::seal_chunk;
use super::{AttachmentError, COMMITMENT_BYTES, FileKey, HEADER_BYTES, Layout, Parts, TAG_BYTES};

/// What the sealed message says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Size of the file, in bytes.
    pub size: u64,
    /// Size of the sealed file, in bytes.
    pub sealed_size: u64,
    /// SHA-256 of the file.
    pub plain_hash: [u8; 32],
    /// SHA-256 of the sealed file.
    pub sealed_hash: [u8; 32],
}

/// Opens a sealed file as its bytes come in. After an error it is of no use.
pub struct Opener {
    parts: Parts,
    layout: Layout,
    expected: Expected,
    /// The commitment, or a chunk, as far as it has come; at most 64 KiB and a tag.
    arrived: Vec<u8>,
    commitment_seen: bool,
    next: u32,
    received: u64,
    plain_hash: Sha256,
    sealed_hash: Sha256,
}

impl Opener {
    /// Ready for the first byte.
    ///
    /// # Errors
    /// `Mismatch` when the sizes do not belong together.
    pub fn new(key: &FileKey, expected: Expected) -> Result<Self, AttachmentError> {
        let layout = Layout::of(expected.size).map_err(|_| AttachmentError::Mismatch)?;
        if layout.sealed_size() != expected.sealed_size {
            return Err(AttachmentError::Mismatch);
        }
        Ok(Self {
            parts: key.parts(),
            layout,
            expected,
            arrived: Vec::new(),
            commitment_seen: false,
            next: 0,
            received: 0,
            plain_hash: Sha256::new(),
            sealed_hash: Sha256::new(),
        })
    }

    /// How many sealed bytes were taken: where a download goes on.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Whether every byte has come.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.received == self.expected.sealed_size
    }

    /// Bytes of the file in the chunk that comes next; `None` after the last. For [`Self::replay`].
    #[must_use]
    pub fn wants(&self) -> Option<usize> {
        if self.next >= self.layout.chunks() {
            return None;
        }
        let range = self.layout.file_range(self.next);
        usize::try_from(range.end - range.start).ok()
    }

    /// Takes a chunk that an earlier run opened and wrote down. If it is not what was sent after
    /// all, `finish` says so.
    ///
    /// # Errors
    /// `Mismatch` when it has not the length of the next chunk, or sealed bytes wait.
    pub fn replay(&mut self, file: &[u8]) -> Result<(), AttachmentError> {
        if self.wants() != Some(file.len()) || !self.arrived.is_empty() {
            return Err(AttachmentError::Mismatch);
        }
        let mut sealed = Vec::new();
        if !self.commitment_seen {
            sealed.extend_from_slice(&self.parts.commitment);
            self.commitment_seen = true;
        }
        seal_chunk(&self.parts, self.layout, self.next, file, &mut sealed)?;
        self.sealed_hash.update(&sealed);
        self.plain_hash.update(file);
        self.received += sealed.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// Takes the next sealed bytes, as many as there are; appends what they open to `out`.
    ///
    /// # Errors
    /// `Mismatch` when they are not what was sent.
    pub fn push(&mut self, mut sealed: &[u8], out: &mut Vec<u8>) -> Result<(), AttachmentError> {
        self.received = self
            .received
            .checked_add(sealed.len() as u64)
            .filter(|received| *received <= self.expected.sealed_size)
            .ok_or(AttachmentError::Mismatch)?;
        self.sealed_hash.update(sealed);
        while !sealed.is_empty() {
            let room = self.part_len() - self.arrived.len();
            let (now, later) = sealed.split_at(sealed.len().min(room));
            self.arrived.extend_from_slice(now);
            sealed = later;
            if self.arrived.len() == self.part_len() {
                self.take_part(out)?;
            }
        }
        Ok(())
    }

    /// Length of what comes next: the commitment, or a sealed chunk.
    fn part_len(&self) -> usize {
        if self.commitment_seen {
            self.layout.plain_len(self.next) + TAG_BYTES
        } else {
            COMMITMENT_BYTES
        }
    }

    fn take_part(&mut self, out: &mut Vec<u8>) -> Result<(), AttachmentError> {
        let mut part = std::mem::take(&mut self.arrived);
        if !self.commitment_seen {
            if !bool::from(part.as_slice().ct_eq(&self.parts.commitment)) {
                return Err(AttachmentError::Mismatch);
            }
            self.commitment_seen = true;
            return Ok(());
        }
        let last = self.layout.is_last(self.next);
        self.parts
            .stream
            .decrypt_in_place(self.next, last, &[], &mut part)
            .map_err(|_| AttachmentError::Mismatch)?;
        let file = self.file_part(&part).ok_or(AttachmentError::Mismatch)?;
        self.plain_hash.update(file);
        out.extend_from_slice(file);
        self.next += 1;
        Ok(())
    }

    /// The file's bytes in an opened chunk; `None` when the length or the padding is wrong.
    fn file_part<'a>(&self, plain: &'a [u8]) -> Option<&'a [u8]> {
        let rest = if self.next == 0 {
            let (header, rest) = plain.split_first_chunk::<HEADER_BYTES>()?;
            (u64::from_be_bytes(*header) == self.expected.size).then_some(rest)?
        } else {
            plain
        };
        let (file, padding) = rest.split_at_checked(self.wants()?)?;
        padding.iter().all(|byte| *byte == 0).then_some(file)
    }

    /// Says whether the whole was what the message describes. Until then nothing of it is to be used.
    ///
    /// # Errors
    /// `Mismatch`.
    pub fn finish(self) -> Result<(), AttachmentError> {
        let same = self.is_complete()
            && self.next == self.layout.chunks()
            && self.plain_hash.finalize().as_slice() == self.expected.plain_hash
            && self.sealed_hash.finalize().as_slice() == self.expected.sealed_hash;
        same.then_some(()).ok_or(AttachmentError::Mismatch)
    }
}
