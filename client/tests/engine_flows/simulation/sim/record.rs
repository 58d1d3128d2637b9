//! What is written down while a simulation runs, for its judgement.

use sotto_client::talk::Talk;
use sotto_protocol::ConversationId;

/// What somebody asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum What {
    Message,
    /// Something about a message or a conversation.
    Change,
}

/// A receipt, and how much was on screens when it came.
pub(in crate::simulation) struct Told {
    pub(in crate::simulation) shown_before: usize,
    pub(in crate::simulation) conversation: ConversationId,
    pub(in crate::simulation) by: String,
    pub(in crate::simulation) up_to: u64,
}

/// A message, or a change of one, that somebody asked for.
pub(in crate::simulation) struct Asked {
    pub(in crate::simulation) who: usize,
    pub(in crate::simulation) number: u32,
    pub(in crate::simulation) to: Talk,
    pub(in crate::simulation) what: What,
    /// The engine said that it cannot be sent.
    pub(in crate::simulation) failed: bool,
}

/// A message on a screen.
pub(in crate::simulation) struct Shown {
    pub(in crate::simulation) who: usize,
    pub(in crate::simulation) life: u32,
    pub(in crate::simulation) conversation: ConversationId,
    pub(in crate::simulation) seq: u64,
    pub(in crate::simulation) id: [u8; 16],
}

/// A stay in a conversation, by the server's record.
pub(in crate::simulation) struct Stay {
    /// It begins behind this place.
    pub(in crate::simulation) after: u64,
    /// The last place of it, once it is over.
    pub(in crate::simulation) end: Option<u64>,
    /// The epoch that it began with.
    pub(in crate::simulation) epoch: u64,
}

impl Stay {
    pub(in crate::simulation) fn has(&self, seq: u64) -> bool {
        self.after < seq && self.end.is_none_or(|end| seq <= end)
    }

    pub(in crate::simulation) fn is_over(&self) -> bool {
        self.end.is_some()
    }
}
