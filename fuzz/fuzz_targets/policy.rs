//! The policy in a group context.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = sotto_roster::Policy::decode(bytes) {
        assert_eq!(policy.encode(), bytes, "one policy has one encoding");
    }
});
