//! Decodes one image, in a process of its own: the client's program run again, with 64 MiB of
//! memory beside the program itself, one second of processor time, no new files, nothing to
//! write but the answer. Whatever a file does to a decoder, only this process ends.
//!
//! stdin: the image. stdout: width and height of the image as it is to be shown, then a JPEG
//! thumbnail, or pixels in RGB behind their own width and height; numbers of 4 bytes, big-endian.
//! Without an answer there is no preview; nobody asks why.

use std::ffi::OsString;
use std::io::{BufReader, Cursor, Read};
use std::process::ExitCode;

use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation as Turn;
use image::{DynamicImage, GrayImage, ImageReader, Limits, RgbImage, imageops::FilterType};
use rustix::process::{Resource, Rlimit, setrlimit};
// The parent reads it; no terminal ever does.
use rustix::stdio::stdout as answer_pipe;

use super::clean::{Orientation, orientation};
use super::kind::{Kind, Sniffed};

/// The word that starts a worker; no command of the client's grammar.
pub(crate) const WORD: &str = "preview-worker";
/// The largest thumbnail, in bytes: what a message has room for.
pub(crate) const THUMBNAIL_BYTES_MAX: usize = 16_384;
/// Memory beside the program's own, in bytes.
const MEMORY_BYTES: u64 = 64 << 20;
/// Of it, what decoded images may take, in bytes.
const DECODED_BYTES: u64 = 44 << 20;
/// What a decoder that needs the whole file may be given, in bytes.
const FILE_BYTES_MAX: u64 = 12 << 20;
/// Processor time, in seconds.
const CPU_S: u64 = 1;
/// Pixels of a side that no real picture exceeds.
const SIDE_MAX: u32 = 32_000;
/// A thumbnail fits into a square of this many pixels.
const THUMBNAIL_SIDE: u32 = 320;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A small JPEG.
    Thumbnail,
    /// RGB pixels that fit into this width and height.
    Pixels(u32, u32),
}

impl Wish {
    /// As arguments of the worker.
    pub(crate) fn to_args(self) -> Vec<String> {
        match self {
            Self::Thumbnail => vec![WORD.to_owned()],
            Self::Pixels(width, height) => {
                vec![WORD.to_owned(), width.to_string(), height.to_string()]
            }
        }
    }

    fn of_args(args: &[OsString]) -> Option<Self> {
        let number = |arg: &OsString| arg.to_str()?.parse().ok().filter(|n| *n > 0);
        match args {
            [] => Some(Self::Thumbnail),
            [width, height] => Some(Self::Pixels(number(width)?, number(height)?)),
            _ => None,
        }
    }
}

/// The worker's process. Says nothing but its answer.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let Some(wish) = Wish::of_args(args) else {
        return ExitCode::from(2);
    };
    // A worker without its limits does not begin.
    if confine().is_none() {
        return ExitCode::FAILURE;
    }
    let answer = answer(wish, std::io::stdin().lock());
    match answer.and_then(|answer| write(&answer)) {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn confine() -> Option<()> {
    let limit = |resource, most: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).ok()
    };
    limit(Resource::As, own_memory()?.checked_add(MEMORY_BYTES)?)?;
    limit(Resource::Cpu, CPU_S)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nofile, 0)
}

/// What the program itself takes of the address space.
#[cfg(target_os = "linux")]
fn own_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').next()?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// Elsewhere programs map little of their own that counts.
#[cfg(not(target_os = "linux"))]
fn own_memory() -> Option<u64> {
    Some(512 << 20)
}

fn write(mut answer: &[u8]) -> Option<()> {
    while !answer.is_empty() {
        let written = rustix::io::write(answer_pipe(), answer).ok()?;
        answer = answer.get(written..)?;
    }
    Some(())
}

/// Carries out a wish; `None` when the image cannot be had within the limits.
pub(crate) fn answer(wish: Wish, image: impl Read) -> Option<Vec<u8>> {
    let mut image = BufReader::new(image);
    let mut head = Vec::new();
    let most = u64::try_from(super::kind::HEAD_BYTES).ok()?;
    image.by_ref().take(most).read_to_end(&mut head).ok()?;
    let kind = Sniffed::of(&head).kind;
    let whole = Cursor::new(head.clone()).chain(image);
    let side = match wish {
        Wish::Thumbnail => (THUMBNAIL_SIDE, THUMBNAIL_SIDE),
        Wish::Pixels(width, height) => (width, height),
    };
    let (picture, size, turned) = match kind {
        Kind::Jpeg => {
            let (picture, size) = jpeg(whole, side)?;
            // What is sent from here has EXIF in front; of anything else it is only looked at.
            (picture, size, orientation(kind, &head))
        }
        Kind::Png | Kind::Webp | Kind::Gif => {
            let mut bytes = Vec::new();
            whole
                .take(FILE_BYTES_MAX + 1)
                .read_to_end(&mut bytes)
                .ok()?;
            if u64::try_from(bytes.len()).ok()? > FILE_BYTES_MAX {
                return None;
            }
            let turned = orientation(kind, &bytes);
            let picture = decode(bytes)?;
            let size = (picture.width(), picture.height());
            (picture, size, turned)
        }
        Kind::OtherImage | Kind::Program | Kind::Other => return None,
    };
    let small = fit(picture, side);
    finish(wish, small, size, turned)
}

/// JPEG is decoded at an eighth, a quarter or half of its size where that is enough.
fn jpeg(bytes: impl Read, (width, height): (u32, u32)) -> Option<(DynamicImage, (u32, u32))> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(DECODED_BYTES).ok()?);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    let size = (u32::from(info.width), u32::from(info.height));
    if size.0 > SIDE_MAX || size.1 > SIDE_MAX {
        return None;
    }
    // Turned by a quarter, the sides change places: ask for enough either way.
    let most = u16::try_from(width.max(height)).unwrap_or(u16::MAX);
    let (width, height) = decoder.scale(most, most).ok()?;
    let pixels = decoder.decode().ok()?;
    let (width, height) = (u32::from(width), u32::from(height));
    let picture = match info.pixel_format {
        jpeg_decoder::PixelFormat::L8 => GrayImage::from_raw(width, height, pixels)?.into(),
        jpeg_decoder::PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels)?.into(),
        jpeg_decoder::PixelFormat::CMYK32 => {
            let mixed = pixels.chunks_exact(4).flat_map(|cmyk| {
                let [c, m, y, k] = [0, 1, 2, 3].map(|at| cmyk.get(at).copied().unwrap_or(0));
                [c, m, y].map(|ink| mix(ink, k))
            });
            RgbImage::from_raw(width, height, mixed.collect())?.into()
        }
        jpeg_decoder::PixelFormat::L16 => return None,
    };
    Some((picture, size))
}

/// One ink of an inverted CMYK picture, as all cameras and programs write them, under its black.
fn mix(ink: u8, black: u8) -> u8 {
    u8::try_from(u16::from(ink) * u16::from(black) / 255).unwrap_or(u8::MAX)
}

fn decode(bytes: Vec<u8>) -> Option<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .ok()?;
    reader.limits(limits);
    reader.decode().ok()
}

fn fit(picture: DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    let most = width.max(height);
    if picture.width() <= most && picture.height() <= most {
        return picture;
    }
    picture.thumbnail(most, most)
}

fn finish(
    wish: Wish,
    picture: DynamicImage,
    size: (u32, u32),
    turned: Orientation,
) -> Option<Vec<u8>> {
    let mut picture = on_white(&picture);
    let mut size = size;
    if let Some(turn) = Turn::from_exif(turned.number()) {
        let mut turning = DynamicImage::from(picture);
        turning.apply_orientation(turn);
        picture = turning.into_rgb8();
        if turned.number() >= 5 {
            size = (size.1, size.0);
        }
    }
    let mut answer = Vec::new();
    answer.extend(size.0.to_be_bytes());
    answer.extend(size.1.to_be_bytes());
    match wish {
        Wish::Thumbnail => answer.extend(thumbnail(picture)?),
        Wish::Pixels(width, height) => {
            if picture.width() > width || picture.height() > height {
                let large = DynamicImage::from(picture);
                picture = large
                    .resize(width, height, FilterType::Triangle)
                    .into_rgb8();
            }
            answer.extend(picture.width().to_be_bytes());
            answer.extend(picture.height().to_be_bytes());
            answer.extend(picture.into_raw());
        }
    }
    Some(answer)
}

/// What shows through is white, as on most pages.
fn on_white(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let with_alpha = picture.to_rgba8();
    RgbImage::from_fn(with_alpha.width(), with_alpha.height(), |x, y| {
        let [r, g, b, a] = with_alpha.get_pixel(x, y).0;
        let over = |c: u8| {
            let mixed = u16::from(c) * u16::from(a) + 255 * (255 - u16::from(a));
            u8::try_from(mixed / 255).unwrap_or(u8::MAX)
        };
        image::Rgb([over(r), over(g), over(b)])
    })
}

/// As good as fits.
fn thumbnail(mut picture: RgbImage) -> Option<Vec<u8>> {
    for quality in [80, 65, 50, 35, 25, 20, 20, 20] {
        let mut jpeg = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
        picture.write_with_encoder(encoder).ok()?;
        if jpeg.len() <= THUMBNAIL_BYTES_MAX {
            return Some(jpeg);
        }
        if quality <= 35 {
            let (width, height) = (picture.width() * 3 / 4, picture.height() * 3 / 4);
            picture = DynamicImage::from(picture)
                .thumbnail(width.max(1), height.max(1))
                .into_rgb8();
        }
    }
    None
}

#[cfg(test)]
mod tests;
