//! Open files: one for each connection here, two for each in a balancer started from here.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a balancer keeps for itself, and more than this program needs.
const SPARE: u64 = 256;

/// Raises the limit to hold `wanted` connections, here and in children started later, and says how
/// many fit. The hard limit is raised too where the system lets us.
pub(crate) fn raise(wanted: u32) -> u32 {
    // The balancer holds two sockets for each client.
    let files = u64::from(wanted).saturating_mul(2).saturating_add(SPARE);
    let present = getrlimit(Resource::Nofile);
    let hard = present.maximum.unwrap_or(u64::MAX);
    let both = Rlimit {
        current: Some(files.max(present.current.unwrap_or(0))),
        maximum: Some(files.max(hard)),
    };
    if setrlimit(Resource::Nofile, both).is_err() {
        let within = Rlimit {
            current: Some(files.min(hard)),
            maximum: present.maximum,
        };
        // A refusal shows in the figure returned.
        let _ = setrlimit(Resource::Nofile, within);
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u32::try_from(now.saturating_sub(SPARE) / 2).unwrap_or(u32::MAX)
}
