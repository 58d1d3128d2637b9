//! What a worker answers. Its limits are tested where it is a process.

use super::*;
use image::{DynamicImage, ImageFormat};

fn picture(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([
            (x * 255 / width) as u8,
            (y * 255 / height) as u8,
            (x * y % 251) as u8,
        ])
    })
    .into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn numbers(answer: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(answer[at..at + 4].try_into().unwrap());
    (number(0), number(4))
}

#[test]
fn thumbnails_fit_into_a_message() {
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ] {
        for (width, height) in [(1, 1), (900, 600), (50, 1200)] {
            let bytes = encoded(&picture(width, height), format);
            let answer = answer(Wish::Thumbnail, bytes.as_slice()).unwrap();
            assert_eq!(numbers(&answer), (width, height));
            let jpeg = &answer[8..];
            assert!(jpeg.len() <= THUMBNAIL_BYTES_MAX);
            let small = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg).unwrap();
            assert!(small.width() <= THUMBNAIL_SIDE && small.height() <= THUMBNAIL_SIDE);
        }
    }
}

#[test]
fn noise_fits_too() {
    let mut state = 1_u32;
    let noise = RgbImage::from_fn(400, 400, |_, _| {
        image::Rgb([0; 3].map(|_: u8| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    let bytes = encoded(&noise.into(), ImageFormat::Png);
    let answer = answer(Wish::Thumbnail, bytes.as_slice()).unwrap();
    assert!(answer.len() <= 8 + THUMBNAIL_BYTES_MAX);
}

#[test]
fn pixels_fit_where_they_are_drawn() {
    let bytes = encoded(&picture(300, 100), ImageFormat::Png);
    let answer = answer(Wish::Pixels(40, 40), bytes.as_slice()).unwrap();
    assert_eq!(numbers(&answer), (300, 100));
    let (width, height) = numbers(&answer[8..]);
    assert!(width == 40 && height <= 40, "{width} {height}");
    assert_eq!(answer.len(), 16 + (width * height * 3) as usize);
}

#[test]
fn a_picture_is_turned_as_it_says() {
    let plain = encoded(&picture(60, 20), ImageFormat::Jpeg);
    let mut turned = vec![0xff, 0xd8, 0xff, 0xe1, 0, 34];
    turned.extend_from_slice(
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
    );
    turned.extend_from_slice(&plain[2..]);
    let answer = answer(Wish::Pixels(100, 100), turned.as_slice()).unwrap();
    assert_eq!(numbers(&answer), (20, 60));
    assert_eq!(numbers(&answer[8..]), (20, 60));
}

#[test]
fn what_is_no_picture_has_no_preview() {
    let jpeg = encoded(&picture(60, 20), ImageFormat::Jpeg);
    for bytes in [
        b"".as_slice(),
        b"words",
        &jpeg[..100],
        b"\x89PNG\r\n\x1a\nxxxxxxxxxxxx",
    ] {
        assert!(answer(Wish::Thumbnail, bytes).is_none());
    }
}

#[test]
fn wishes_survive_the_way_as_arguments() {
    for wish in [Wish::Thumbnail, Wish::Pixels(3, 4)] {
        let args: Vec<OsString> = wish.to_args().into_iter().map(Into::into).collect();
        assert_eq!(args[0], WORD);
        assert_eq!(Wish::of_args(&args[1..]), Some(wish));
    }
    for odd in [["0", "1"], ["x", "1"], ["-1", "1"]] {
        assert_eq!(Wish::of_args(&odd.map(OsString::from)), None);
    }
}
