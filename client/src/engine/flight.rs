//! Requests that wait for their answers: what each was for, and until when.
//! Bounded; a full table makes callers try again later.

use std::collections::BTreeMap;

use sotto_protocol::{BlobId, ClientMessageId, ConversationId, Username};

use super::api::CommandId;
use super::commands::ServerCommand;
use crate::talk::Talk;

/// The most requests that wait at a time.
const FLIGHTS_MAX: usize = 128;
/// How long an answer may take, in milliseconds. A registration or password
/// login waits behind others for its bcrypt run.
const ANSWER_MS_MAX: u64 = 30_000;

/// What a request was for.
pub(super) enum Purpose {
    Login(LoginStep),
    Publish,
    Sync,
    Resume,
    /// A log is read again from an earlier place.
    Reread(ConversationId),
    Account(Username),
    /// Whether somebody's identity is the pinned one still, apart from what is to be sent.
    Identity(Username),
    /// The file of a message that was taken back.
    DropBlob(BlobId),
    OwnDevices,
    Backup,
    Pair(Username),
    Claim {
        peer: Username,
        generation: u32,
    },
    GroupClaim {
        talk: Talk,
        name: Username,
    },
    GroupInfo(Talk),
    /// The tree that a welcome leads to.
    Tree {
        conversation: ConversationId,
        generation: u32,
        epoch: u64,
    },
    /// The server's account of a conversation, against this epoch's.
    Compare {
        talk: Talk,
        epoch: u64,
    },
    Commit {
        talk: Talk,
        conversation: ConversationId,
        client_id: ClientMessageId,
    },
    Append {
        talk: Talk,
        client_id: ClientMessageId,
    },
    Command(CommandId, ServerCommand),
}

/// Which way of logging in waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginStep {
    Device,
    Register,
    /// The name was taken: perhaps by this very profile, whose first answer was lost.
    DeviceAfterRegister,
    Password,
}

/// The table.
#[derive(Default)]
pub(super) struct Flight {
    last_id: u64,
    waiting: BTreeMap<u64, (Purpose, u64)>,
}

impl Flight {
    /// Whether there is room for another request.
    pub(super) fn room(&self) -> Room {
        if self.waiting.len() < FLIGHTS_MAX {
            Room::Some
        } else {
            Room::None
        }
    }

    /// Takes a request up; gives its id.
    pub(super) fn launch(&mut self, purpose: Purpose, now_ms: u64) -> u64 {
        self.last_id += 1;
        self.waiting
            .insert(self.last_id, (purpose, now_ms + ANSWER_MS_MAX));
        self.last_id
    }

    /// What an answer is for, if anybody waits for it.
    pub(super) fn land(&mut self, id: u64) -> Option<Purpose> {
        self.waiting.remove(&id).map(|(purpose, _)| purpose)
    }

    /// Ends all waiting.
    pub(super) fn clear(&mut self) -> Vec<Purpose> {
        std::mem::take(&mut self.waiting)
            .into_values()
            .map(|(purpose, _)| purpose)
            .collect()
    }

    /// Whether a log is still to be set back to an earlier place: what comes of it meanwhile may be
    /// from further on.
    pub(super) fn is_rereading(&self, conversation: &ConversationId) -> bool {
        let mut purposes = self.waiting.values();
        purposes.any(|(purpose, _)| matches!(purpose, Purpose::Reread(id) if id == conversation))
    }

    /// The first deadline.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.waiting.values().map(|(_, deadline)| *deadline).min()
    }
}

/// Whether something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Some,
    None,
}
