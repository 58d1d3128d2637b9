//! People talking through a real deployment: balancer, three servers,
//! Postgres, TLS and the real client. One deployment serves all tests here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests, which clippy does not recognise as such"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../../server/tests/nats_support/mod.rs"]
mod nats_support;

mod accounts;
mod attacks;
mod bus;
mod conversations;
mod daemon;
mod devices;
mod files;
mod group_devices;
mod groups;
mod leaks;
mod links;
mod messages;
mod mistakes;
mod network;
mod people;
mod prompts;
mod receipts;
mod requests;
mod restore;
mod screen;
mod terminal;
mod tidying;
mod words;
