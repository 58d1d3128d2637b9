//! Sotto's balancer beside HAProxy and nginx: private instances in front of the same backends.
//!
//! Clients send a real ClientHello and nothing else of TLS, so that what is measured is the
//! relaying and not somebody's cryptography. The backends live in this process; a front's own CPU
//! and memory are what the kernel counts for its processes.

mod backend;
mod front;
mod front_config;
mod measures;
mod visitor;

pub(crate) use backend::{Backend, Manner, Preface};
pub(crate) use front::{Front, FrontKind};
pub(crate) use measures::{bulk, connections, hung, idle, moved, paced, trips};
pub(crate) use visitor::{Hello, Visitors, hello};
