//! H17: nothing of what cameras and programs write beside a picture is left, and the picture is.

use super::*;
use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;
use std::io::Cursor;

const CANARY: &[u8] = b"canary-5d1f0c77 48.2082N 16.3738E";

fn picture() -> DynamicImage {
    RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 4, y as u8 * 5, 90])).into()
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// EXIF with an orientation, a comment, a GPS block and a canary behind.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x03\0".to_vec();
    for (tag, kind, count, value) in [
        (0x010f_u16, 2_u16, 8_u32, 60_u32),
        (0x0112, 3, 1, u32::from(orientation)),
        (0x8825, 4, 1, 60),
    ] {
        tiff.extend(tag.to_le_bytes());
        tiff.extend(kind.to_le_bytes());
        tiff.extend(count.to_le_bytes());
        tiff.extend(value.to_le_bytes());
    }
    tiff.extend([0; 16]);
    tiff.extend_from_slice(CANARY);
    tiff
}

fn segment(marker: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len() + 2).unwrap();
    [&[0xff, marker], &length.to_be_bytes()[..], contents].concat()
}

/// A JPEG as the worst of cameras writes it.
fn talkative_jpeg(orientation: u8) -> Vec<u8> {
    let plain = encoded(ImageFormat::Jpeg);
    let mut out = vec![0xff, 0xd8];
    out.extend(segment(
        0xe1,
        &[b"Exif\0\0", &exif(orientation)[..]].concat(),
    ));
    out.extend(segment(
        0xe1,
        &[b"http://ns.adobe.com/xap/1.0/\0", CANARY].concat(),
    ));
    out.extend(segment(0xe2, &[b"ICC_PROFILE\0\x01\x01", CANARY].concat()));
    out.extend(segment(0xe2, &[b"MPF\0", CANARY].concat()));
    out.extend(segment(0xed, &[b"Photoshop 3.0\0", CANARY].concat()));
    out.extend(segment(0xe0, &[b"JFXX\0\x13", CANARY].concat()));
    out.extend(segment(
        0xee,
        &[b"Adobe\0\x64\0\0\0\0\x01", CANARY].concat(),
    ));
    out.extend(segment(0xef, CANARY));
    out.extend(segment(0xfe, CANARY));
    out.extend_from_slice(&plain[2..]);
    // A second image, as in MPO, and a film, as in living photos.
    out.extend([0xff, 0xd8]);
    out.extend(segment(0xe1, &[b"Exif\0\0", &exif(6)[..]].concat()));
    out.extend_from_slice(&plain[2..]);
    out.extend_from_slice(b"\0\0\0\x18ftypmp42");
    out.extend_from_slice(CANARY);
    out
}

fn png_chunk(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
    // Readers do not look at the sums of what they pass over; the cleaner copies them.
    [&length[..], kind, contents, &[0; 4]].concat()
}

fn talkative_png(orientation: u8) -> Vec<u8> {
    let plain = encoded(ImageFormat::Png);
    let (front, rest) = plain.split_at(8 + 25);
    let mut out = front.to_vec();
    for (kind, contents) in [
        (b"tEXt", [b"Comment\0", CANARY].concat()),
        (b"zTXt", [b"GPS\0\0", CANARY].concat()),
        (b"iTXt", [b"XML:com.adobe.xmp\0\0\0\0\0", CANARY].concat()),
        (b"iCCP", [b"profile\0\0", CANARY].concat()),
        (b"tIME", vec![7, 0xea, 1, 1, 1, 1, 1]),
        (b"eXIf", exif(orientation)),
        (b"caBX", CANARY.to_vec()),
    ] {
        out.extend(png_chunk(kind, &contents));
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(CANARY);
    out
}

fn riff_chunk(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_le_bytes();
    let padding = &[0][..contents.len() % 2];
    [&kind[..], &length, contents, padding].concat()
}

fn talkative_webp(orientation: u8) -> Vec<u8> {
    let plain = encoded(ImageFormat::WebP);
    let mut body = b"WEBP".to_vec();
    let mut header = vec![0x20 | 0x08 | 0x04, 0, 0, 0];
    header.extend([63, 0, 0, 47, 0, 0]);
    body.extend(riff_chunk(b"VP8X", &header));
    body.extend(riff_chunk(b"ICCP", CANARY));
    body.extend_from_slice(&plain[12..]);
    body.extend(riff_chunk(b"EXIF", &exif(orientation)));
    body.extend(riff_chunk(b"XMP ", CANARY));
    body.extend(riff_chunk(b"C2PA", CANARY));
    let mut out = riff_chunk(b"RIFF", &body);
    out.extend_from_slice(CANARY);
    out
}

fn samples(orientation: u8) -> [(Kind, Vec<u8>); 3] {
    [
        (Kind::Jpeg, talkative_jpeg(orientation)),
        (Kind::Png, talkative_png(orientation)),
        (Kind::Webp, talkative_webp(orientation)),
    ]
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn pixels(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).unwrap()
}

#[test]
fn nothing_is_told_and_the_picture_stays() {
    for (kind, bytes) in samples(1) {
        assert!(holds(&bytes, CANARY));
        let cleaned = clean(kind, &bytes).unwrap().unwrap();
        assert!(!holds(&cleaned, &CANARY[..15]), "{kind:?}");
        assert!(!holds(&cleaned, b"Exif"), "{kind:?}");
        assert!(!holds(&cleaned, b"ftyp"), "{kind:?}");
        let format = match kind {
            Kind::Jpeg => ImageFormat::Jpeg,
            Kind::Png => ImageFormat::Png,
            _ => ImageFormat::WebP,
        };
        assert_eq!(pixels(&cleaned), pixels(&encoded(format)), "{kind:?}");
        assert_eq!(crate::attachment::Sniffed::of(&cleaned).kind, kind);
        // Cleaning again finds nothing to do.
        assert_eq!(clean(kind, &cleaned).unwrap().unwrap(), cleaned, "{kind:?}");
    }
}

#[test]
fn how_a_picture_is_turned_is_all_that_is_kept() {
    for turned in 2..=8 {
        for (kind, bytes) in samples(turned) {
            assert_eq!(orientation(kind, &bytes).number(), turned);
            let cleaned = clean(kind, &bytes).unwrap().unwrap();
            assert_eq!(orientation(kind, &cleaned).number(), turned, "{kind:?}");
            assert!(!holds(&cleaned, &CANARY[..15]), "{kind:?}");
            assert!(pixels(&cleaned).width() == 64, "it still decodes");
            assert_eq!(clean(kind, &cleaned).unwrap().unwrap(), cleaned, "{kind:?}");
        }
    }
}

#[test]
fn frames_of_an_animation_are_cleaned_too() {
    let still = encoded(ImageFormat::WebP);
    let mut frame = vec![0; 16];
    frame.extend(riff_chunk(b"junk", CANARY));
    frame.extend_from_slice(&still[12..]);
    let mut body = b"WEBP".to_vec();
    body.extend(riff_chunk(b"VP8X", &[0x02, 0, 0, 0, 63, 0, 0, 47, 0, 0]));
    body.extend(riff_chunk(b"ANIM", &[0; 6]));
    body.extend(riff_chunk(b"ANMF", &frame));
    let cleaned = clean(Kind::Webp, &riff_chunk(b"RIFF", &body))
        .unwrap()
        .unwrap();
    assert!(!holds(&cleaned, &CANARY[..15]) && holds(&cleaned, &still[12..]));
}

#[test]
fn what_cannot_be_cleaned_is_told() {
    for (kind, bytes) in samples(1) {
        assert_eq!(
            clean(kind, &bytes[..40]),
            Err(CleanError::Damaged),
            "{kind:?}"
        );
        assert_eq!(clean(kind, b"something else"), Err(CleanError::Damaged));
    }
    assert_eq!(clean(Kind::OtherImage, b""), Err(CleanError::Unsupported));
    assert_eq!(clean(Kind::Other, b"words"), Ok(None));
    // Only the end of the picture's data is missing: as good as it was.
    let jpeg = encoded(ImageFormat::Jpeg);
    assert!(clean(Kind::Jpeg, &jpeg[..jpeg.len() - 2]).is_ok());
}

proptest! {
    #[test]
    fn damage_never_lets_metadata_through(place in 0usize..3, at: prop::sample::Index, value: u8) {
        let (kind, mut bytes) = samples(6)[place].clone();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(Some(cleaned)) = clean(kind, &bytes) {
            prop_assert!(cleaned.len() <= bytes.len() + 64);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for kind in [Kind::Jpeg, Kind::Png, Kind::Webp] {
            let _ = clean(kind, &bytes);
            let _ = orientation(kind, &bytes);
        }
        let _ = Orientation::of_exif(&bytes);
    }
}

/// An animation with a loop, a comment, what a program says, and something behind the end.
fn talkative_gif() -> Vec<u8> {
    let plain = encoded(ImageFormat::Gif);
    let first = plain.iter().position(|byte| *byte == 0x21).unwrap();
    let (head, rest) = plain.split_at(first);
    let comment = [&[0x21, 0xfe, 6][..], b"SECRET", &[0]].concat();
    let program = [&[0x21, 0xff, 11][..], b"XMP DataXMP", &[6], b"SECRET", &[0]].concat();
    let looped = [&[0x21, 0xff, 11][..], b"NETSCAPE2.0", &[3, 1, 0, 0, 0]].concat();
    [head, &comment, &program, &looped, rest, b"SECRET"].concat()
}

#[test]
fn a_gif_tells_nothing_but_its_frames() {
    let talkative = talkative_gif();
    let cleaned = clean(Kind::Gif, &talkative).unwrap().unwrap();
    assert!(!holds(&cleaned, b"SECRET") && holds(&cleaned, b"NETSCAPE2.0"));
    assert_eq!(pixels(&cleaned), pixels(&talkative));
    assert_eq!(clean(Kind::Gif, &cleaned).unwrap().unwrap(), cleaned);
    for end in 0..cleaned.len() {
        assert!(clean(Kind::Gif, &cleaned[..end]).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn damage_in_a_gif_is_read_or_refused(at: prop::sample::Index, value: u8) {
        let mut bytes = talkative_gif();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = clean(Kind::Gif, &bytes);
    }
}
