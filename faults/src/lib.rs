//! Breaks a real deployment of Sotto under a random workload and judges what its clients saw.
//!
//! Real servers, a real balancer, a real Postgres with a standby, and a `sotto daemon` for each
//! device, with a link of our own between any two of them. One seed decides what people do and what
//! breaks. The verdict is independent of what it judges: this crate knows the programs by their
//! sockets only, and imports neither the protocol nor the client.

mod checker;
mod clock;
mod database;
mod device;
mod dice;
mod error;
mod history;
mod link;
mod nemesis;
mod people;
mod report;
mod rpc;
mod run;
mod site;
mod workload;

pub use checker::{FaultFigures, Tally};
pub use error::FaultsError;
pub use nemesis::Fault;
pub use report::Report;
pub use run::{Options, run};
