//! Servers killed, Postgres away, the balancer gone: nothing acknowledged is
//! lost, doubled or reordered. Each test has a deployment of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not recognise as such"
)]

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod failover;
mod kills;
