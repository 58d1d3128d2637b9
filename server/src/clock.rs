//! The one place where the server reads the wall clock.

use std::time::UNIX_EPOCH;

/// Milliseconds since 1970 UTC; 0 on a machine that believes to be before.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's reading; everything else takes time as a parameter"
)]
pub(crate) fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
