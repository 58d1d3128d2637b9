//! People talking through a real deployment: balancer, three servers,
//! Postgres, TLS and the real client. One deployment serves all tests here.

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod conversations;
mod leaks;
mod network;
mod requests;
