//! One-command local deployment of Sotto: a private Postgres, development certificates, server
//! and balancer processes, and their supervision.
//!
//! Everything here is for one machine and one person: development, demonstrations, tests. It
//! refuses to run Postgres as root, to listen beyond loopback, and to touch a database cluster
//! that it did not create. Nothing here knows the protocol or opens a message.

pub mod certs;
pub mod cli;
pub mod demo;
pub mod deployment;
mod files;
pub mod packages;
pub mod postgres;
pub mod process;
pub mod sql;
mod terminal;
pub mod testing;
