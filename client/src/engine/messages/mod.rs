//! Messages as people expect them: answers, edits, deletions, reactions, pins,
//! timers, forwarding, drafts, silence, search.
//!
//! Everything travels as a message of the conversation's one log, and its
//! place there decides what counts, so that all devices agree. It refuses
//! what the sender may not do: only the author edits, the author or an admin
//! of a group takes back, in groups admins pin and set timers.

pub(super) mod api;

mod apply;
#[cfg(test)]
mod apply_tests;
mod commands;
mod contacts;
mod inbox;
mod json;
mod queries;
mod sweep;
mod typing;

pub(super) use commands::{OFF, RECEIPTS};
pub(super) use typing::Signals;
