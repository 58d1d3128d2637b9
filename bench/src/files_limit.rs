//! Open files: one for each connection, here and in every process started from here.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the connections: libraries, logs, the runtime's own.
const SPARE: u64 = 512;

/// Raises the limit to hold `wanted` connections, here and in children started later, and says how
/// many connections fit. The hard limit is raised too where the system lets us (as root).
pub(crate) fn raise(wanted: u64) -> u64 {
    // The balancer holds two sockets for each client.
    let files = wanted.saturating_mul(2).saturating_add(2 * SPARE);
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
    now.saturating_sub(SPARE)
}
