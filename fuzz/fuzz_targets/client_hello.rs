//! What the balancer reads of a connection before it picks a server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sotto_balancer::hello::examine(bytes);
});
