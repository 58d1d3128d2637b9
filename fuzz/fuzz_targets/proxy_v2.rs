//! What a server reads in front of TLS.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sotto_protocol::proxy_v2::decode(bytes);
});
