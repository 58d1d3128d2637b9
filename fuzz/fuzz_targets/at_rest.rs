//! The header of the local key.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sotto_crypto::at_rest::inspect(bytes);
});
