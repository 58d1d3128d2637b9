//! Things among the messages of a conversation, in their order: messages, the lines of days, the
//! line above what is new, and lines of the client's own.

use std::rc::Rc;

use sotto_crypto::content::MessageRef;

use super::piece::{Row, Tone};
use crate::engine::api::Message;

/// Where an item stands: its seq, and its kind beside others of the same seq. What waits to be
/// sent comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u64, pub(super) u32);

pub(super) const DAY: u32 = 0;
pub(super) const NEW: u32 = 1;
pub(super) const MESSAGE: u32 = 2;
pub(super) const SYSTEM: u32 = 3;

impl Key {
    pub(super) fn of(message: &Message, place: usize) -> Self {
        match message.seq {
            0 => Self(
                u64::MAX,
                MESSAGE + u32::try_from(place).unwrap_or(u32::MAX - MESSAGE),
            ),
            seq => Self(seq, MESSAGE),
        }
    }

    /// Whether it is a message's.
    pub(super) const fn is_message(&self) -> bool {
        self.1 == MESSAGE || self.0 == u64::MAX && self.1 > MESSAGE
    }
}

/// One thing among the messages, with its rows.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) rows: Rc<[Row]>,
    /// The message, where it holds a file.
    pub(super) file: Option<MessageRef>,
}

/// Something of one row.
pub(super) fn item(key: Key, row: Row) -> Item {
    Item {
        key,
        rows: Rc::from(vec![row]),
        file: None,
    }
}

/// A line across with words in it.
pub(super) fn line(words: &str, tone: Tone, width: usize) -> Row {
    let rest = width.saturating_sub(words.len() + 4);
    Row::of(tone, format!("── {words} {}", "─".repeat(rest)))
}
