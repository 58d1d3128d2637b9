//! WebP: RIFF chunks of a stated length; what follows is left out. Animations stay, without
//! what stands beside the picture in their frames.

use super::Orientation;

/// Flags of VP8X.
const ANIMATION: u8 = 0x02;
const EXIF: u8 = 0x08;
const ALPHA: u8 = 0x10;
/// What precedes the chunks of a frame.
const FRAME_HEADER_BYTES: usize = 16;

/// The next chunk's kind and contents, and what follows.
fn chunk(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let contents = rest.get(..length)?;
    // Chunks are padded to an even length; the last one's padding is forgotten by some.
    let after = rest.get(length + length % 2..).unwrap_or_default();
    Some((*kind, contents, after))
}

/// The chunks of the file.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (kind, contents, _) = chunk(bytes)?;
    (&kind == b"RIFF")
        .then_some(contents)?
        .strip_prefix(b"WEBP")
}

pub(super) fn clean(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = body(bytes)?;
    let turned = orientation(bytes).filter(|turned| *turned != Orientation::UPRIGHT);
    let mut kept = b"WEBP".to_vec();
    let mut pictures = 0_u32;
    while !rest.is_empty() {
        let (kind, contents, later) = chunk(rest)?;
        rest = later;
        match &kind {
            b"VP8X" => {
                let mut header: [u8; 10] = contents.get(..10)?.try_into().ok()?;
                header[0] &= ANIMATION | ALPHA;
                if turned.is_some() {
                    header[0] |= EXIF;
                }
                push(&mut kept, kind, &header)?;
            }
            b"ANMF" => {
                push(&mut kept, kind, &frame(contents)?)?;
                pictures += 1;
            }
            b"VP8 " | b"VP8L" => {
                push(&mut kept, kind, contents)?;
                pictures += 1;
            }
            b"ALPH" | b"ANIM" => push(&mut kept, kind, contents)?,
            _ => {}
        }
    }
    if let Some(turned) = turned {
        push(&mut kept, *b"EXIF", &turned.to_exif())?;
    }
    let mut out = Vec::with_capacity(kept.len() + 8);
    push(&mut out, *b"RIFF", &kept)?;
    (pictures > 0).then_some(out)
}

fn frame(contents: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = contents.split_at_checked(FRAME_HEADER_BYTES)?;
    let mut kept = header.to_vec();
    while !rest.is_empty() {
        let (kind, contents, later) = chunk(rest)?;
        rest = later;
        if matches!(&kind, b"ALPH" | b"VP8 " | b"VP8L") {
            push(&mut kept, kind, contents)?;
        }
    }
    Some(kept)
}

pub(super) fn orientation(bytes: &[u8]) -> Option<Orientation> {
    let mut rest = body(bytes)?;
    while !rest.is_empty() {
        let (kind, contents, later) = chunk(rest)?;
        rest = later;
        if &kind == b"EXIF" {
            // Some writers put JPEG's prefix in front.
            let tiff = contents.strip_prefix(b"Exif\0\0").unwrap_or(contents);
            return Some(Orientation::of_exif(tiff));
        }
    }
    None
}

fn push(out: &mut Vec<u8>, kind: [u8; 4], contents: &[u8]) -> Option<()> {
    out.extend(kind);
    out.extend(u32::try_from(contents.len()).ok()?.to_le_bytes());
    out.extend_from_slice(contents);
    if contents.len() % 2 == 1 {
        out.push(0);
    }
    Some(())
}
