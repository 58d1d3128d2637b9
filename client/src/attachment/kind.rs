//! What a file is, by its bytes. Names and claimed types are compared with that, never believed.

use std::path::Path;

/// How much of a file's beginning tells what it is, in bytes.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;

/// Kinds that are treated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image that can be cleaned and shown.
    Jpeg,
    /// An image that can be cleaned and shown.
    Png,
    /// An image that can be cleaned and shown.
    Webp,
    /// An image that can be cleaned and shown.
    Gif,
    /// An image that may say where it was made, and cannot be cleaned here.
    OtherImage,
    /// Runs, once somebody starts it.
    Program,
    /// Anything else.
    Other,
}

/// What the bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sniffed {
    /// How it is treated.
    pub kind: Kind,
    /// The media type.
    pub media_type: &'static str,
}

impl Sniffed {
    /// By the beginning of a file: 16 KiB, or all of it.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        let head = head.get(..HEAD_BYTES).unwrap_or(head);
        let Some(found) = infer::get(head) else {
            return Self {
                kind: Kind::Other,
                media_type: if is_text(head) {
                    "text/plain"
                } else {
                    "application/octet-stream"
                },
            };
        };
        let media_type = found.mime_type();
        let kind = match media_type {
            "image/jpeg" => Kind::Jpeg,
            "image/png" | "image/apng" => Kind::Png,
            "image/webp" => Kind::Webp,
            "image/gif" => Kind::Gif,
            _ if found.matcher_type() == infer::MatcherType::App => Kind::Program,
            "text/x-shellscript" => Kind::Program,
            _ if found.matcher_type() == infer::MatcherType::Image => Kind::OtherImage,
            _ => Kind::Other,
        };
        Self { kind, media_type }
    }

    /// Whether it can be shown as a picture.
    #[must_use]
    pub const fn is_picture(self) -> bool {
        matches!(self.kind, Kind::Jpeg | Kind::Png | Kind::Webp | Kind::Gif)
    }

    /// What is wrong with a file that calls itself `name` and claims to be of a type; one
    /// sentence, without either.
    #[must_use]
    pub fn objection(self, name: &str, claimed: &str) -> Option<&'static str> {
        let by_name = family_of_name(name);
        let found = family_of_type(self.media_type);
        // What has no signature may be anything, and such names stand for data as often.
        if self.kind == Kind::Other && by_name == Family::Program && is_vague(name) {
            return None;
        }
        if self.kind == Kind::Program && by_name != Family::Program {
            return Some("it is a program, and its name hides that: do not open it");
        }
        if self.kind == Kind::Program {
            return Some("it is a program: run it only if you know what it does");
        }
        let differs = |family| family != Family::Unknown && family != found;
        if differs(by_name) {
            return Some("its content is not what its name says");
        }
        let plain = ["", "application/octet-stream"].contains(&claimed);
        if !plain && differs(family_of_type(claimed)) {
            return Some("its content is not what the sender says it is");
        }
        None
    }
}

/// Kinds of kinds: files of one are opened by similar programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Image,
    Audio,
    Video,
    Text,
    Document,
    Archive,
    Program,
    Unknown,
}

fn family_of_type(media_type: &str) -> Family {
    match media_type.split('/').next() {
        Some("image") => Family::Image,
        Some("audio") => Family::Audio,
        Some("video") => Family::Video,
        _ if media_type == "text/x-shellscript" => Family::Program,
        Some("text") => Family::Text,
        _ => match media_type {
            "application/pdf"
            | "application/epub+zip"
            | "application/rtf"
            | "application/msword" => Family::Document,
            _ if media_type.contains("officedocument") || media_type.contains("opendocument") => {
                Family::Document
            }
            "application/zip"
            | "application/gzip"
            | "application/x-tar"
            | "application/zstd"
            | "application/x-7z-compressed"
            | "application/x-xz"
            | "application/x-bzip2"
            | "application/vnd.rar"
            | "application/x-rar-compressed" => Family::Archive,
            _ => Family::Unknown,
        },
    }
}

fn family_of_name(name: &str) -> Family {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    let Some(extension) = extension.map(str::to_ascii_lowercase) else {
        return Family::Unknown;
    };
    match extension.as_str() {
        "jpg" | "jpeg" | "jpe" | "png" | "gif" | "webp" | "heic" | "heif" | "avif" | "bmp"
        | "tif" | "tiff" | "ico" | "mpo" => Family::Image,
        "mp3" | "flac" | "wav" | "ogg" | "oga" | "opus" | "m4a" | "aac" => Family::Audio,
        "mp4" | "mkv" | "webm" | "mov" | "avi" | "m4v" => Family::Video,
        "txt" | "md" | "csv" | "log" => Family::Text,
        "pdf" | "doc" | "docx" | "odt" | "xls" | "xlsx" | "ods" | "ppt" | "pptx" | "odp"
        | "epub" | "rtf" => Family::Document,
        "zip" | "gz" | "tgz" | "tar" | "xz" | "bz2" | "7z" | "rar" | "zst" => Family::Archive,
        "exe" | "dll" | "com" | "scr" | "msi" | "bat" | "cmd" | "sh" | "so" | "dylib" | "elf"
        | "run" | "bin" | "app" | "apk" | "jar" | "class" | "wasm" | "deb" | "rpm" => {
            Family::Program
        }
        _ => Family::Unknown,
    }
}

/// Endings that programs and plain data share.
fn is_vague(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    extension
        .is_some_and(|extension| ["bin", "run"].contains(&extension.to_ascii_lowercase().as_str()))
}

/// UTF-8 without control characters but those of a text; a character may be cut at the end.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let whole = head.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    !valid.is_empty() && valid.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F'];
    const EXE: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0";
    const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn bytes_decide() {
        assert_eq!(Sniffed::of(PNG).kind, Kind::Png);
        assert_eq!(Sniffed::of(JPEG).media_type, "image/jpeg");
        assert_eq!(Sniffed::of(EXE).kind, Kind::Program);
        assert_eq!(Sniffed::of(ELF).kind, Kind::Program);
        assert_eq!(Sniffed::of(b"#!/bin/sh\nrm -rf ~\n").kind, Kind::Program);
        assert_eq!(
            Sniffed::of("gr\u{fc}\u{df}e".as_bytes()).media_type,
            "text/plain"
        );
        let cut = "\u{fc}".repeat(HEAD_BYTES);
        assert_eq!(
            Sniffed::of(&cut.as_bytes()[..HEAD_BYTES - 1]).media_type,
            "text/plain"
        );
        assert_eq!(
            Sniffed::of(&[0, 1, 2]).media_type,
            "application/octet-stream"
        );
        assert_eq!(Sniffed::of(b"").media_type, "application/octet-stream");
    }

    /// H12: what hides behind a name or a claimed type.
    #[test]
    fn lies_are_objected_to() {
        let objection = |bytes, name, claimed| Sniffed::of(bytes).objection(name, claimed);
        for (bytes, name, claimed) in [
            (EXE, "photo.jpg", "image/png"),
            (ELF, "notes.txt", "text/plain"),
            (EXE, "setup.exe", ""),
            (ELF, "firmware.bin", "application/octet-stream"),
            (&[0, 1, 2], "setup.exe", ""),
            (PNG, "song.mp3", "audio/mpeg"),
            (JPEG, "photo", "application/pdf"),
            (b"plain words".as_slice(), "photo.png", "image/png"),
            (
                b"<!DOCTYPE html><script>1</script>".as_slice(),
                "photo.png",
                "image/png",
            ),
        ] {
            assert!(objection(bytes, name, claimed).is_some(), "{name}");
        }
        for (bytes, name, claimed) in [
            (JPEG, "photo.jpg", "image/jpeg"),
            // As cameras name what they convert.
            (JPEG, "IMG_0001.HEIC", "image/heic"),
            (PNG, "picture", ""),
            (
                b"plain words".as_slice(),
                "README",
                "application/octet-stream",
            ),
            (b"plain words".as_slice(), "main.rs", "text/plain"),
            (&[0, 1, 2], "data.sqlite", "application/octet-stream"),
            (&[0, 1, 2], "noise.bin", "application/octet-stream"),
            // Pictures are opened by the same programs, whatever their format is called.
            (PNG, "photo.jpg", "image/png"),
        ] {
            assert_eq!(objection(bytes, name, claimed), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_kind(bytes: Vec<u8>, name: String, claimed: String) {
            let _ = Sniffed::of(&bytes).objection(&name, &claimed);
        }
    }
}
