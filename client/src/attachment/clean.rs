//! Takes out of an image what it says beside the picture: where, when and with what it was made,
//! comments, edits, thumbnails of what was cut off, further images behind the first, colour
//! profiles (which name devices and hold free text). Nothing is encoded anew: the picture's own
//! bytes stay as they are. Only the way it is turned is kept, as the one entry of a fresh EXIF block.
//!
//! Works by lists of what may stay: a block of a kind that is not known is left out. Refuses what
//! it cannot read to the end. Existing libraries keep what follows the picture, so the four
//! containers are walked here.

mod gif;
mod jpeg;
mod png;
mod webp;

use super::kind::Kind;

/// The largest image that is cleaned, in bytes: it is held in memory.
pub(crate) const IMAGE_BYTES_MAX: u64 = 128 << 20;

/// Why an image could not be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CleanError {
    /// It ends early, or is not built as its kind says.
    #[error("the image is damaged, so what it says about you could not be taken out")]
    Damaged,
    /// Nothing here knows how.
    #[error(
        "images of this kind may say where and when they were made, and that cannot be taken out here; convert it to JPEG, PNG, WebP or GIF"
    )]
    Unsupported,
}

/// The image without metadata; `None` for what is no image, or has no place for any.
///
/// # Errors
/// See [`CleanError`]; the sender may still choose to send the file as it is.
pub fn clean(kind: Kind, bytes: &[u8]) -> Result<Option<Vec<u8>>, CleanError> {
    let cleaned = match kind {
        Kind::Jpeg => jpeg::clean(bytes),
        Kind::Png => png::clean(bytes),
        Kind::Webp => webp::clean(bytes),
        Kind::Gif => gif::clean(bytes),
        Kind::OtherImage => return Err(CleanError::Unsupported),
        Kind::Program | Kind::Other => return Ok(None),
    };
    cleaned.map(Some).ok_or(CleanError::Damaged)
}

/// How an image is to be turned, as EXIF counts: 1 (upright) to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    pub(super) const UPRIGHT: Self = Self(1);

    /// From an EXIF block (a TIFF header and its first directory); upright when it does not say.
    pub(super) fn of_exif(tiff: &[u8]) -> Self {
        Self::find(tiff).unwrap_or(Self::UPRIGHT)
    }

    fn find(tiff: &[u8]) -> Option<Self> {
        let big = match tiff.get(..4)? {
            b"MM\0*" => true,
            b"II*\0" => false,
            _ => return None,
        };
        let short = |at: usize| -> Option<u16> {
            let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
            Some(if big {
                u16::from_be_bytes(bytes)
            } else {
                u16::from_le_bytes(bytes)
            })
        };
        let offset: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
        let offset = if big {
            u32::from_be_bytes(offset)
        } else {
            u32::from_le_bytes(offset)
        };
        let directory = usize::try_from(offset).ok()?;
        let count = usize::from(short(directory)?);
        (0..count.min(512)).find_map(|entry| {
            let at = directory.checked_add(2 + entry * 12)?;
            if short(at)? != 0x0112 || short(at + 2)? != 3 {
                return None;
            }
            let value = u8::try_from(short(at + 8)?).ok()?;
            (1..=8).contains(&value).then_some(Self(value))
        })
    }

    /// An EXIF block with this one entry.
    pub(super) const fn to_exif(self) -> [u8; 26] {
        let mut exif = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
        exif[19] = self.0;
        exif
    }

    /// The number that EXIF uses.
    pub(super) const fn number(self) -> u8 {
        self.0
    }
}

/// How a picture of a kind is to be turned.
pub(super) fn orientation(kind: Kind, bytes: &[u8]) -> Orientation {
    let found = match kind {
        Kind::Jpeg => jpeg::orientation(bytes),
        Kind::Png => png::orientation(bytes),
        Kind::Webp => webp::orientation(bytes),
        _ => None,
    };
    found.unwrap_or(Orientation::UPRIGHT)
}

#[cfg(test)]
mod tests;
