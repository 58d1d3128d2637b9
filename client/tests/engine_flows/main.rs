//! Engines of several people against one relay: the flows that people rely on,
//! and the faults that must not break them.

mod relay;
mod relay_logs;
mod world;

mod faults;
mod flows;
mod repair;
