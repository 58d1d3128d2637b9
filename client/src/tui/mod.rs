//! The full-screen client: its parts, each of which is used and tested alone.
//!
//! `keys` says which key does what, `theme` how things look, `text` lays foreign words out in
//! rows of cells, `fuzzy` and `complete` find things by a few letters. None of them does I/O,
//! knows the engine's state or draws by itself.
#![allow(
    dead_code,
    reason = "the screens that use these parts are built on them"
)]

pub(crate) mod clipboard;
pub(crate) mod complete;
#[cfg(test)]
pub(crate) mod corpus;
pub(crate) mod emoji;
pub(crate) mod fuzzy;
pub(crate) mod keys;
pub(crate) mod lock;
pub(crate) mod picture;
pub(crate) mod qr;
pub(crate) mod settings;
pub(crate) mod text;
pub(crate) mod theme;
