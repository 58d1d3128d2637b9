//! Asks a worker for previews, and believes nothing of its answer but its form.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::worker::{THUMBNAIL_BYTES_MAX, Wish};

/// Wall time for a worker, which has one second of processor time: for machines with much to do.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pixels of a side that a picture for a terminal may have.
const SIDE_MAX: u32 = 2_000;

/// A small picture of an image.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Thumbnail {
    /// A JPEG of at most 16,384 bytes.
    pub(crate) jpeg: Vec<u8>,
    /// Size of the image itself, as it is to be shown, in pixels.
    pub(crate) width: u32,
    /// As `width`.
    pub(crate) height: u32,
}

/// Pixels from our own decoder: the only thing that terminals are given to draw.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pixels {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Pixels {
    /// `None` when the numbers do not belong together.
    pub(crate) fn new(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let sound = (1..=SIDE_MAX).contains(&width) && (1..=SIDE_MAX).contains(&height);
        let bytes = usize::try_from(width.checked_mul(height)?.checked_mul(3)?).ok()?;
        (sound && rgb.len() == bytes).then_some(Self { width, height, rgb })
    }

    /// In pixels.
    pub(crate) const fn width(&self) -> u32 {
        self.width
    }

    /// In pixels.
    pub(crate) const fn height(&self) -> u32 {
        self.height
    }

    /// Rows from the top, three bytes a pixel.
    pub(crate) fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// One pixel; black outside.
    pub(crate) fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let inside = x < self.width && y < self.height;
        let place = inside.then(|| (y as usize * self.width as usize + x as usize) * 3);
        place
            .and_then(|place| self.rgb.get(place..place + 3)?.try_into().ok())
            .unwrap_or([0; 3])
    }

    /// The mean brightness of 8 by 8 fields, to tell pictures apart.
    pub(crate) fn fields(&self) -> [u8; 64] {
        let mut fields = [0; 64];
        for (place, field) in (0_u32..).zip(&mut fields) {
            let (left, top) = (place % 8 * self.width / 8, place / 8 * self.height / 8);
            let right = ((place % 8 + 1) * self.width / 8).max(left + 1);
            let bottom = ((place / 8 + 1) * self.height / 8).max(top + 1);
            let (mut sum, mut count) = (0_u32, 0_u32);
            for (x, y) in (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y))) {
                sum += self.at(x, y).iter().map(|c| u32::from(*c)).sum::<u32>();
                count += 3;
            }
            *field = u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX);
        }
        fields
    }
}

/// A thumbnail of an image; `None` when there can be none within the worker's limits.
pub(crate) async fn thumbnail(image: &[u8]) -> Option<Thumbnail> {
    let answer = ask(Wish::Thumbnail, image, 8 + THUMBNAIL_BYTES_MAX).await?;
    let (width, rest) = number(&answer)?;
    let (height, jpeg) = number(rest)?;
    (!jpeg.is_empty()).then(|| Thumbnail {
        jpeg: jpeg.to_vec(),
        width,
        height,
    })
}

/// Pixels of an image that fit into `width` by `height`; `None` as for [`thumbnail`].
pub(crate) async fn pixels(image: &[u8], width: u32, height: u32) -> Option<Pixels> {
    let (width, height) = (width.clamp(1, SIDE_MAX), height.clamp(1, SIDE_MAX));
    let most = usize::try_from(width * height * 3).ok()? + 16;
    let answer = ask(Wish::Pixels(width, height), image, most).await?;
    let (_, rest) = number(&answer)?;
    let (_, rest) = number(rest)?;
    let (width, rest) = number(rest)?;
    let (height, rgb) = number(rest)?;
    Pixels::new(width, height, rgb.to_vec())
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

async fn ask(wish: Wish, image: &[u8], answer_bytes_max: usize) -> Option<Vec<u8>> {
    let program = std::env::current_exe().ok()?;
    let mut worker = Command::new(program)
        .args(wish.to_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let (mut input, output) = (worker.stdin.take()?, worker.stdout.take()?);
    let most = u64::try_from(answer_bytes_max).ok()?;
    let feed = async move {
        // A worker that has seen enough, or has ended, takes no more.
        let _ = input.write_all(image).await;
        drop(input);
    };
    let take = async move {
        let mut answer = Vec::new();
        output.take(most + 1).read_to_end(&mut answer).await.ok()?;
        Some(answer)
    };
    let talk = async {
        let (answer, ()) = tokio::join!(take, feed);
        let ended = worker.wait().await.ok()?;
        answer.filter(|answer| ended.success() && answer.len() <= answer_bytes_max)
    };
    tokio::time::timeout(PATIENCE, talk).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_tell_pictures_apart() {
        let of = |value: fn(u32, u32) -> u8| {
            let rgb = (0..20)
                .flat_map(|y| (0..30).flat_map(move |x| [value(x, y); 3]))
                .collect();
            Pixels::new(30, 20, rgb).unwrap().fields()
        };
        assert_eq!(of(|_, _| 7), [7; 64]);
        let left = of(|x, _| if x < 15 { 255 } else { 0 });
        assert_eq!((left[0], left[7]), (255, 0));
        assert!(Pixels::new(1, 1, vec![1, 2, 3]).unwrap().fields() == [2; 64]);
    }

    #[test]
    fn only_what_fits_together_is_pixels() {
        assert!(Pixels::new(2, 2, vec![0; 12]).is_some());
        for (width, height, bytes) in [
            (0, 2, 0),
            (2, 2, 11),
            (u32::MAX, u32::MAX, 3),
            (3000, 1, 9000),
        ] {
            assert!(Pixels::new(width, height, vec![0; bytes]).is_none());
        }
    }
}
