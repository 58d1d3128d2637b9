//! PNG: chunks up to IEND; what follows is left out. Animations stay.

use super::Orientation;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What makes the picture.
const KEPT: [&[u8; 4]; 15] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD",
    b"pHYs", b"cICP", b"acTL", b"fcTL", b"fdAT",
];

/// One chunk.
struct Chunk<'a> {
    kind: [u8; 4],
    contents: &'a [u8],
    /// As it stands, with length and checksum.
    whole: &'a [u8],
}

/// The next chunk, and what follows.
fn chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let contents = rest.get(..length)?;
    let whole = bytes.get(..length.checked_add(12)?)?;
    let chunk = Chunk {
        kind: *kind,
        contents,
        whole,
    };
    Some((chunk, bytes.get(length + 12..)?))
}

pub(super) fn clean(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes.strip_prefix(SIGNATURE)?;
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(SIGNATURE);
    let turned = orientation(bytes).filter(|turned| *turned != Orientation::UPRIGHT);
    let mut data = 0_u32;
    loop {
        let (next, later) = chunk(rest)?;
        rest = later;
        if KEPT.contains(&&next.kind) {
            out.extend_from_slice(next.whole);
        }
        match &next.kind {
            b"IHDR" if next.contents.len() == 13 => {
                if let Some(turned) = turned {
                    push(&mut out, *b"eXIf", &turned.to_exif())?;
                }
            }
            b"IHDR" => return None,
            b"IDAT" => data += 1,
            b"IEND" => return (data > 0 && next.contents.is_empty()).then_some(out),
            _ => {}
        }
    }
}

pub(super) fn orientation(bytes: &[u8]) -> Option<Orientation> {
    let mut rest = bytes.strip_prefix(SIGNATURE)?;
    loop {
        let (next, later) = chunk(rest)?;
        rest = later;
        match &next.kind {
            b"eXIf" => return Some(Orientation::of_exif(next.contents)),
            b"IEND" => return None,
            _ => {}
        }
    }
}

fn push(out: &mut Vec<u8>, kind: [u8; 4], contents: &[u8]) -> Option<()> {
    out.extend(u32::try_from(contents.len()).ok()?.to_be_bytes());
    let begin = out.len();
    out.extend(kind);
    out.extend_from_slice(contents);
    let sum = crc32(out.get(begin..)?);
    out.extend(sum.to_be_bytes());
    Some(())
}

/// The checksum of chunks; only short ones are made here.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1));
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), step)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b"IEND"), 0xae42_6082);
    }
}
