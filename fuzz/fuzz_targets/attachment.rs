//! A sealed file, as whoever stores it may have changed it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_crypto::attachment::{Expected, FileKey, Layout, Opener};

fuzz_target!(|input: (u32, u16, Vec<u8>)| {
    let (size, step, sealed) = input;
    let Ok(layout) = Layout::of(u64::from(size)) else {
        return;
    };
    let expected = Expected {
        size: layout.size(),
        sealed_size: layout.sealed_size(),
        plain_hash: [0; 32],
        sealed_hash: [0; 32],
    };
    let Some(key) = FileKey::from_slice(&[7; 32]) else {
        return;
    };
    let Ok(mut opener) = Opener::new(&key, expected) else {
        return;
    };
    let mut out = Vec::new();
    for bytes in sealed.chunks(usize::from(step).max(1)) {
        if opener.push(bytes, &mut out).is_err() {
            assert!(out.is_empty(), "nobody without the key makes a chunk");
            return;
        }
    }
    assert!(opener.finish().is_err());
});
