//! Where everything lies in a sealed file, from the size of the file alone.

use std::ops::Range;

use super::{
    AttachmentError, CHUNK_BYTES, COMMITMENT_BYTES, FILE_BYTES_MAX, HEADER_BYTES, PADDED_BYTES_MIN,
    TAG_BYTES,
};

/// The sizes of one sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    size: u64,
}

impl Layout {
    /// The layout of a file of `size` bytes.
    ///
    /// # Errors
    /// Above 16 GiB.
    pub const fn of(size: u64) -> Result<Self, AttachmentError> {
        if size > FILE_BYTES_MAX {
            return Err(AttachmentError::TooLarge);
        }
        Ok(Self { size })
    }

    /// Size of the file, in bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Plaintext with length and padding, in bytes.
    pub(super) const fn padded(self) -> u64 {
        let padded = padme(self.size + HEADER_BYTES as u64);
        if padded < PADDED_BYTES_MIN {
            PADDED_BYTES_MIN
        } else {
            padded
        }
    }

    /// How many chunks there are; at least one.
    #[must_use]
    pub const fn chunks(self) -> u32 {
        // At most 2^34 * 9/8 bytes in chunks of 2^16.
        #[allow(clippy::cast_possible_truncation, reason = "at most 294,912")]
        let chunks = self.padded().div_ceil(CHUNK_BYTES as u64) as u32;
        chunks
    }

    /// Size of the sealed file, in bytes.
    #[must_use]
    pub const fn sealed_size(self) -> u64 {
        COMMITMENT_BYTES as u64 + self.padded() + self.chunks() as u64 * TAG_BYTES as u64
    }

    /// Which bytes of the file are in a chunk; none in one of padding alone.
    #[must_use]
    pub fn file_range(self, chunk: u32) -> Range<u64> {
        let at = |plain: u64| plain.saturating_sub(HEADER_BYTES as u64).min(self.size);
        let begin = u64::from(chunk) * CHUNK_BYTES as u64;
        at(begin)..at(begin + CHUNK_BYTES as u64)
    }

    /// Plaintext of a chunk, in bytes.
    pub(super) fn plain_len(self, chunk: u32) -> usize {
        let begin = u64::from(chunk) * CHUNK_BYTES as u64;
        let left = self.padded().saturating_sub(begin);
        usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))
    }

    /// Whether a chunk is the last one.
    pub(super) const fn is_last(self, chunk: u32) -> bool {
        chunk + 1 == self.chunks()
    }

    /// The largest file whose sealed form has at most `sealed_bytes`.
    #[must_use]
    pub fn largest_within(sealed_bytes: u64) -> u64 {
        let (mut fits, mut exceeds) = (0, FILE_BYTES_MAX + 1);
        while exceeds - fits > 1 {
            let middle = fits + (exceeds - fits) / 2;
            if (Self { size: middle }).sealed_size() <= sealed_bytes {
                fits = middle;
            } else {
                exceeds = middle;
            }
        }
        fits
    }
}

/// Padmé: rounds up so that only the leading bits of a length stay; at most 12% more.
const fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1_u64 << exponent.saturating_sub(kept)) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn sizes_are_these() {
        let sealed = |size| Layout::of(size).unwrap().sealed_size();
        assert_eq!(sealed(0), 32 + 4096 + 16);
        assert_eq!(sealed(4088), 32 + 4096 + 16);
        assert_eq!(sealed(4089), 32 + 4352 + 16);
        assert!(Layout::of(FILE_BYTES_MAX).is_ok());
        assert!(Layout::of(FILE_BYTES_MAX + 1).is_err());
    }

    #[test]
    fn sizes_up_to_a_mebibyte_fall_into_few_classes() {
        let sizes: BTreeSet<_> = (0..1 << 20)
            .step_by(64)
            .map(|size| Layout::of(size).unwrap().sealed_size())
            .collect();
        assert!(sizes.len() < 200, "{}", sizes.len());
    }

    proptest! {
        #[test]
        fn the_chunks_cover_the_file_once(size in 0u64..40_000_000) {
            let layout = Layout::of(size).unwrap();
            let mut at = 0;
            let mut plain = 0;
            for chunk in 0..layout.chunks() {
                let range = layout.file_range(chunk);
                prop_assert_eq!(range.start, at);
                at = range.end;
                let length = layout.plain_len(chunk);
                prop_assert!(length > 0 && length <= CHUNK_BYTES);
                plain += length as u64;
            }
            prop_assert_eq!(at, size);
            prop_assert_eq!(plain, layout.padded());
            prop_assert!(layout.padded() <= (size + 8) * 9 / 8 + PADDED_BYTES_MIN);
        }

        #[test]
        fn the_largest_that_fits_is_found(sealed in 5000u64..100_000_000) {
            let size = Layout::largest_within(sealed);
            prop_assert!(Layout::of(size).unwrap().sealed_size() <= sealed);
            prop_assert!(Layout::of(size + 1).unwrap().sealed_size() > sealed);
        }
    }
}
