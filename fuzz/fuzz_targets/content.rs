//! What was inside a sealed payload.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sotto_crypto::Content::decode(bytes);
});
