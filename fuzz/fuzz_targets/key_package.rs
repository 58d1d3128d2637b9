//! What claims to be a key package.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_protocol::DeploymentId;

fuzz_target!(|bytes: &[u8]| {
    let _ = sotto_roster::inspect_key_package(bytes, &DeploymentId::from_bytes([7; 16]), 1_800_000_000_000);
});
