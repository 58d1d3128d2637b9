//! What the process does for its own secrets before it has any: no core dump,
//! no reading of its memory by other processes of the same person.

use rustix::process::{Resource, Rlimit};

/// Turns core dumps and foreign reading of memory off. Failing is not fatal:
/// a kernel without these calls still runs the client.
pub(crate) fn keep_memory_private() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        tracing::debug!(%error, "core dumps stay possible");
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::debug!(%error, "memory stays readable by this account");
    }
}
