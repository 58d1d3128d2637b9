//! The picture of the demonstration: painted here, of no file.

use sotto_crypto::SecretBytes;
use sotto_crypto::content::Attachment;

use crate::attachment::preview::Pixels;
use crate::tui::ask::{Look, News, Seen};

const SKY: [u8; 3] = [126, 184, 232];
const SUN: [u8; 3] = [250, 214, 90];
const HEDGE: [u8; 3] = [48, 110, 58];
const GRASS: [u8; 3] = [112, 168, 74];
const PATH: [u8; 3] = [206, 186, 150];

/// The message's file, which is nowhere.
pub(super) fn file() -> Attachment {
    Attachment {
        blob_id: [0; 16],
        key: SecretBytes::from_slice(&[0; 32]).unwrap_or_else(|| unreachable!("32 bytes")),
        sealed_size: 98_304,
        size: 91_648,
        plain_hash: [0; 32],
        sealed_hash: [0; 32],
        name: "garden.jpg".to_owned(),
        media_type: "image/jpeg".to_owned(),
        // Nobody decodes it.
        thumbnail: vec![0],
        width: 640,
        height: 400,
        caption: "the garden from the kitchen window".to_owned(),
        reply_to: None,
        expires_after_s: 0,
        forwarded: false,
    }
}

/// A garden under a sun, in the proportions of the file.
fn paint(width: u32, height: u32) -> Option<Pixels> {
    let width = width.min(height * 8 / 5).max(1);
    let height = height.min(width * 5 / 8).max(1);
    let colour = |x: u32, y: u32| {
        // In hundredths of the height.
        let (x, y) = (i64::from(x) * 100, i64::from(y) * 100);
        let (x, y) = (x / i64::from(height), y / i64::from(height));
        let sun = (x - 120).pow(2) + (y - 25).pow(2) < 15_i64.pow(2);
        let path = y >= 60 && (x - 70).abs() < 8 + (y - 60) / 2;
        match y {
            _ if sun => SUN,
            ..40 => SKY,
            40..60 => HEDGE,
            _ if path => PATH,
            _ => GRASS,
        }
    };
    let rows = (0..height).flat_map(|y| (0..width).flat_map(move |x| colour(x, y)));
    Pixels::new(width, height, rows.collect())
}

/// What is seen of it.
pub(super) fn look(look: &Look) -> News {
    let (width, height) = look.pictures.pixels(look.room);
    let pixels = paint(width, height);
    let picture = pixels.and_then(|pixels| look.pictures.encode(&pixels, 1));
    News::Seen {
        which: look.which,
        seen: picture.map_or(Seen::Nothing, |it| Seen::Picture(Box::new(it))),
    }
}
