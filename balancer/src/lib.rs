//! Sotto's balancer: TCP connections from clients to servers, and nothing else.
//!
//! It holds no TLS key, no user table and no state that another balancer would need. It reads
//! a client's ClientHello, picks a server for the client's network prefix, says who the client
//! is by a PROXY v2 header, and relays bytes; if the server refuses, closes or stays silent
//! before its first byte, the same hello is replayed to the next one. It never terminates TLS,
//! never reads a name out of the hello, and cannot open anything.
//!
//! Pure modules decide (`affinity`, `hash`, `pool`, `health`, `limits`, `hello`, `config`);
//! the others move bytes and time (`listener`, `connect`, `relay`, `bulk`, `probe`, `admin`).

mod admin;
mod affinity;
mod balancer;
mod bulk;
mod cli;
pub mod config;
mod connect;
mod core;
mod hash;
mod health;
pub mod hello;
mod limits;
mod listener;
mod metrics;
mod pool;
mod probe;
mod registry;
mod relay;
mod sockets;

pub use balancer::{Balancer, Drained, ReloadError, StartError};
pub use cli::{Args, main};
