//! Sizes that tell little: a length, the bytes, and zeros up to a power of two.
//! Refuses to give back what does not fit its own length.

use zeroize::Zeroizing;

/// The length in front, in bytes.
const LENGTH_BYTES: usize = 4;

/// What holds `bytes` in a plaintext that is, with `overhead` bytes of its
/// seal, a power of two from `least` to `most`; `None` when it does not fit.
pub(crate) fn pad(
    bytes: &[u8],
    overhead: usize,
    (least, most): (usize, usize),
) -> Option<Zeroizing<Vec<u8>>> {
    let needed = LENGTH_BYTES
        .checked_add(bytes.len())?
        .checked_add(overhead)?;
    let size = needed.checked_next_power_of_two()?.max(least);
    let length = u32::try_from(bytes.len()).ok()?;
    (size <= most).then(|| {
        let mut padded = Zeroizing::new(Vec::with_capacity(size - overhead));
        padded.extend_from_slice(&length.to_be_bytes());
        padded.extend_from_slice(bytes);
        padded.resize(size - overhead, 0);
        padded
    })
}

/// The bytes again.
pub(crate) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, zeros) = rest.split_at_checked(length)?;
    zeros.iter().all(|zero| *zero == 0).then_some(bytes)
}
