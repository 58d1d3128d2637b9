//! Engines of several people against one relay: the flows that people rely on,
//! and the faults that must not break them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a failure is the test's"
)]

mod relay;
mod relay_devices;
mod relay_logs;
mod relay_rooms;
mod world;

mod attacks;
mod devices;
mod entering;
mod faults;
mod flows;
mod group_attacks;
mod group_messages;
mod group_repair;
mod group_returns;
mod groups;
mod links;
mod messages;
mod receipts;
mod repair;
mod screen;
mod simulation;
