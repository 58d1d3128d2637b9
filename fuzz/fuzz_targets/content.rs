//! What was inside a sealed payload: read or refused, and what was read can
//! be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_crypto::{Body, Content};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(content) = Content::decode(bytes) {
        if let Ok(written) = content.encode_padded() {
            assert_eq!(Content::decode(&written), Ok(content));
        }
    }
    if let Ok(body) = Body::from_bytes(bytes) {
        if let Ok(written) = body.to_bytes() {
            assert_eq!(Body::from_bytes(&written), Ok(body));
        }
    }
});
