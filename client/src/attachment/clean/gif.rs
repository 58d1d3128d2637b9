//! GIF: blocks of sub-blocks up to a trailer; what follows it is left out. Frames, their timing and
//! the loop of an animation stay; comments, text and what programs put beside them (XMP among it) go.

/// Header and logical screen descriptor.
const HEADER_BYTES: usize = 13;
/// Of an image, with its separator.
const IMAGE_BYTES: usize = 10;
const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const GRAPHIC_CONTROL: u8 = 0xf9;
const APPLICATION: u8 = 0xff;
/// Applications that say how often an animation is shown.
const LOOPS: [&[u8]; 2] = [b"NETSCAPE2.0", b"ANIMEXTS1.0"];

pub(super) fn clean(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = bytes.get(..HEADER_BYTES)?;
    if !header.starts_with(b"GIF87a") && !header.starts_with(b"GIF89a") {
        return None;
    }
    let mut at = HEADER_BYTES + colours(*header.get(10)?);
    let mut kept = bytes.get(..at)?.to_vec();
    let mut pictures = 0_u32;
    loop {
        let begin = at;
        match *bytes.get(at)? {
            TRAILER => break,
            IMAGE => {
                let descriptor = bytes.get(at..at + IMAGE_BYTES)?;
                // The colours, and the smallest size of a code, precede the sub-blocks.
                let head = IMAGE_BYTES + colours(*descriptor.last()?) + 1;
                at = after(bytes, at.checked_add(head)?)?;
                kept.extend_from_slice(bytes.get(begin..at)?);
                pictures += 1;
            }
            EXTENSION => {
                let label = *bytes.get(at + 1)?;
                at = after(bytes, at + 2)?;
                let block = bytes.get(begin..at)?;
                let name = block.get(3..14).unwrap_or_default();
                let stays =
                    label == GRAPHIC_CONTROL || (label == APPLICATION && LOOPS.contains(&name));
                if stays {
                    kept.extend_from_slice(block);
                }
            }
            _ => return None,
        }
    }
    kept.push(TRAILER);
    (pictures > 0).then_some(kept)
}

/// Bytes of the table of colours that these flags promise.
const fn colours(flags: u8) -> usize {
    match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 0x07) + 1),
    }
}

/// Where the sub-blocks end that begin here.
fn after(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
