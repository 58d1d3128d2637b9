//! JPEG: a row of segments, scans among them, up to the end of the image. What follows it
//! (further images of an MPO file, videos of a living photo) is left out.

use super::Orientation;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;
const EXIF: &[u8] = b"Exif\0\0";

/// One step through the file.
enum Step<'a> {
    /// A segment: its marker and contents.
    Segment(u8, &'a [u8]),
    /// Entropy-coded data of the scan before.
    Scan(&'a [u8]),
    End,
}

struct Walk<'a> {
    rest: &'a [u8],
    in_scan: InScan,
}

#[derive(PartialEq, Eq)]
enum InScan {
    Yes,
    No,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            rest: bytes.strip_prefix(&[0xff, SOI])?,
            in_scan: InScan::No,
        })
    }

    fn step(&mut self) -> Option<Step<'a>> {
        if self.in_scan == InScan::Yes {
            self.in_scan = InScan::No;
            let (scan, rest) = self.rest.split_at_checked(scan_len(self.rest))?;
            self.rest = rest;
            return Some(Step::Scan(scan));
        }
        // Files that were cut at the very end still show.
        let Some(after) = self.rest.strip_prefix(&[0xff]) else {
            return self.rest.is_empty().then_some(Step::End);
        };
        let fill = after.iter().take_while(|byte| **byte == 0xff).count();
        let (marker, rest) = after.get(fill..)?.split_first()?;
        match *marker {
            EOI => Some(Step::End),
            0 | 1 | 0xd0..=SOI => None,
            marker => {
                let (length, _) = rest.split_first_chunk::<2>()?;
                let length = usize::from(u16::from_be_bytes(*length));
                let contents = rest.get(2..length)?;
                self.rest = rest.get(length..)?;
                if marker == SOS {
                    self.in_scan = InScan::Yes;
                }
                Some(Step::Segment(marker, contents))
            }
        }
    }
}

/// Up to the next marker that is no part of the scan.
fn scan_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Some(found) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|b| *b == 0xff))
        else {
            return bytes.len();
        };
        at += found;
        match bytes.get(at + 1) {
            Some(0 | 0xd0..=0xd7) => at += 2,
            Some(0xff) => at += 1,
            Some(_) => return at,
            None => return bytes.len(),
        }
    }
}

pub(super) fn clean(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut walk = Walk::new(bytes)?;
    let mut out = Vec::with_capacity(bytes.len());
    out.extend([0xff, SOI]);
    let turned = orientation(bytes).filter(|turned| *turned != Orientation::UPRIGHT);
    let mut exif = turned.map(|turned| [EXIF, &turned.to_exif()].concat());
    let mut scans = 0_u32;
    loop {
        match walk.step()? {
            Step::Segment(APP0, contents) => {
                if let Some(header) = jfif(contents) {
                    push(&mut out, APP0, &header)?;
                }
            }
            Step::Segment(marker, contents) => {
                // Readers look for EXIF in front, after JFIF at most.
                if let Some(exif) = exif.take() {
                    push(&mut out, APP1, &exif)?;
                }
                match marker {
                    // Frames, tables, restarts, scans.
                    0xc0..=0xc7 | 0xc9..=0xcf | 0xda..=0xdd => push(&mut out, marker, contents)?,
                    // How colours are coded.
                    APP14 if contents.starts_with(b"Adobe") => {
                        push(&mut out, APP14, contents.get(..12)?)?;
                    }
                    _ => {}
                }
            }
            Step::Scan(scan) => {
                out.extend_from_slice(scan);
                scans += 1;
            }
            Step::End => break,
        }
    }
    out.extend([0xff, EOI]);
    (scans > 0).then_some(out)
}

/// The JFIF header without its thumbnail.
fn jfif(contents: &[u8]) -> Option<Vec<u8>> {
    let fixed = contents.strip_prefix(b"JFIF\0")?.get(..7)?;
    Some([b"JFIF\0", fixed, &[0, 0]].concat())
}

fn push(out: &mut Vec<u8>, marker: u8, contents: &[u8]) -> Option<()> {
    let length = u16::try_from(contents.len() + 2).ok()?;
    out.extend([0xff, marker]);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(contents);
    Some(())
}

pub(super) fn orientation(bytes: &[u8]) -> Option<Orientation> {
    let mut walk = Walk::new(bytes)?;
    loop {
        match walk.step()? {
            Step::Segment(APP1, contents) => {
                if let Some(tiff) = contents.strip_prefix(EXIF) {
                    return Some(Orientation::of_exif(tiff));
                }
            }
            Step::Segment(..) => {}
            Step::Scan(_) | Step::End => return None,
        }
    }
}
