//! Sealing: a survey of the file first, then chunk after chunk.

use aead_stream::StreamPrimitive as _;
use sha2::{Digest as _, Sha256};

use super::{AttachmentError, CHUNK_BYTES, FileKey, HEADER_BYTES, Layout, Parts};

/// Reads a file once, to know what is going to be sealed.
pub struct Survey {
    whole: Sha256,
    chunk: Sha256,
    /// How much the present chunk still takes.
    room: usize,
    chunks: Vec<[u8; 32]>,
    size: u64,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            whole: Sha256::new(),
            chunk: Sha256::new(),
            room: CHUNK_BYTES - HEADER_BYTES,
            chunks: Vec::new(),
            size: 0,
        }
    }
}

impl Survey {
    /// Takes the next bytes of the file, as many as there are.
    ///
    /// # Errors
    /// Above 16 GiB.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), AttachmentError> {
        self.size += bytes.len() as u64;
        Layout::of(self.size)?;
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.room));
            self.chunk.update(now);
            self.room -= now.len();
            bytes = later;
            if self.room == 0 {
                self.end_chunk();
            }
        }
        Ok(())
    }

    fn end_chunk(&mut self) {
        self.chunks.push(self.chunk.finalize_reset().into());
        self.room = CHUNK_BYTES;
    }

    /// The plan to seal by.
    ///
    /// # Errors
    /// Above 16 GiB.
    pub fn finish(mut self) -> Result<Plan, AttachmentError> {
        let layout = Layout::of(self.size)?;
        self.end_chunk();
        Ok(Plan {
            layout,
            plain_hash: self.whole.finalize().into(),
            chunks: self.chunks,
        })
    }
}

/// What a file held when it was surveyed. 32 bytes of memory for 64 KiB of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    layout: Layout,
    plain_hash: [u8; 32],
    /// SHA-256 of each chunk's part of the file; what is beyond has none of it.
    chunks: Vec<[u8; 32]>,
}

impl Plan {
    /// Surveys bytes that are in memory.
    ///
    /// # Errors
    /// Above 16 GiB.
    pub fn of(bytes: &[u8]) -> Result<Self, AttachmentError> {
        let mut survey = Survey::default();
        survey.update(bytes)?;
        survey.finish()
    }

    /// The sizes.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// SHA-256 of the file.
    #[must_use]
    pub const fn plain_hash(&self) -> &[u8; 32] {
        &self.plain_hash
    }

    fn is_as_surveyed(&self, chunk: u32, file: &[u8]) -> bool {
        let known = usize::try_from(chunk)
            .ok()
            .and_then(|chunk| self.chunks.get(chunk));
        match known {
            Some(hash) => Sha256::digest(file).as_slice() == hash,
            None => file.is_empty(),
        }
    }
}

/// Seals a file, chunk after chunk.
pub struct Sealer {
    parts: Parts,
    plan: Plan,
    next: u32,
    sealed_hash: Sha256,
}

impl Sealer {
    /// Seals by a plan. The key must never have been used with another file.
    #[must_use]
    pub fn new(key: &FileKey, plan: Plan) -> Self {
        Self {
            parts: key.parts(),
            plan,
            next: 0,
            sealed_hash: Sha256::new(),
        }
    }

    /// How many bytes of the file the next chunk takes; `None` after the last one.
    #[must_use]
    pub fn wants(&self) -> Option<usize> {
        if self.next >= self.plan.layout.chunks() {
            return None;
        }
        let range = self.plan.layout.file_range(self.next);
        usize::try_from(range.end - range.start).ok()
    }

    /// Seals the next chunk, of exactly as many bytes as it wants; appends to `out`.
    ///
    /// # Errors
    /// `FileChanged` when these are not the bytes that were surveyed; nothing is sealed then.
    pub fn seal(&mut self, file: &[u8], out: &mut Vec<u8>) -> Result<(), AttachmentError> {
        let layout = self.plan.layout;
        if self.wants() != Some(file.len()) || !self.plan.is_as_surveyed(self.next, file) {
            return Err(AttachmentError::FileChanged);
        }
        let begin = out.len();
        if self.next == 0 {
            out.extend_from_slice(&self.parts.commitment);
        }
        seal_chunk(&self.parts, layout, self.next, file, out)?;
        self.sealed_hash
            .update(out.get(begin..).unwrap_or_default());
        self.next += 1;
        Ok(())
    }

    /// SHA-256 of the sealed file, once all of it is sealed.
    ///
    /// # Errors
    /// `FileChanged` when there are chunks left.
    pub fn finish(self) -> Result<[u8; 32], AttachmentError> {
        match self.wants() {
            None => Ok(self.sealed_hash.finalize().into()),
            Some(_) => Err(AttachmentError::FileChanged),
        }
    }
}

/// One chunk of a layout, appended.
pub(super) fn seal_chunk(
    parts: &Parts,
    layout: Layout,
    chunk: u32,
    file: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), AttachmentError> {
    let mut plain = Vec::with_capacity(CHUNK_BYTES + super::TAG_BYTES);
    if chunk == 0 {
        plain.extend_from_slice(&layout.size().to_be_bytes());
    }
    plain.extend_from_slice(file);
    plain.resize(layout.plain_len(chunk), 0);
    parts
        .stream
        .encrypt_in_place(chunk, layout.is_last(chunk), &[], &mut plain)
        .map_err(|_| AttachmentError::TooLarge)?;
    out.extend_from_slice(&plain);
    Ok(())
}
