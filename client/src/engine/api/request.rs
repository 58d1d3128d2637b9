//! Who asks to talk, before anything is agreed to. Nothing here answers.

use sotto_protocol::{ConversationId, Username};

/// A stranger wants to talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The conversation that the stranger made.
    pub conversation: ConversationId,
    /// Who, as signed in the welcome.
    pub from: Username,
    /// When the server stored it; milliseconds since 1970 UTC.
    pub received_at_ms: u64,
    /// What is known of them here.
    pub asker: Asker,
}

/// Who asks to talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Nobody else by this name is known here.
    New,
    /// Somebody is, under another identity: to accept the request is to accept that one.
    Changed,
}

impl Asker {
    /// What is to be said of somebody who asks, after who they are.
    pub(crate) const fn warning(self) -> &'static str {
        match self {
            Self::New => "",
            Self::Changed => {
                ", under another identity than the one you know (compare numbers first)"
            }
        }
    }
}
