//! What claims to be a device certificate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_protocol::DeploymentId;
use sotto_roster::DeviceCertificate;

fuzz_target!(|bytes: &[u8]| {
    let _ = DeviceCertificate::verify(bytes, &DeploymentId::from_bytes([7; 16]));
});
