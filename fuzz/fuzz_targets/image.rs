//! Images as a camera, a program or an attacker made them: what is taken out stays out, and what
//! is left is an image of the same kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_client::attachment::{Kind, Sniffed, clean};

/// The fresh EXIF block that says how an image is turned, with its container's frame, at most.
const FRESH_BYTES_MAX: usize = 128;

fuzz_target!(|bytes: &[u8]| {
    for kind in [Kind::Jpeg, Kind::Png, Kind::Webp, Kind::Gif] {
        let Ok(Some(cleaned)) = clean(kind, bytes) else {
            continue;
        };
        assert!(cleaned.len() <= bytes.len() + FRESH_BYTES_MAX);
        assert_eq!(clean(kind, &cleaned), Ok(Some(cleaned.clone())), "{kind:?}");
        assert_eq!(Sniffed::of(&cleaned).kind, kind);
    }
});
