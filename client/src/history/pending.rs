//! Commits on their way to the server. One at most for each conversation; the
//! whole request is kept, so that a repetition is the same to the byte.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_protocol::{ClientMessageId, ConversationId};

use super::codec::stored_enum;
use super::{History, HistoryError, codec};

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PendingKind {
    /// Makes the conversation or a new generation of it.
    Create,
    /// Renews the own leaf's keys.
    Update,
    /// Comes back in from outside.
    Rejoin,
    /// Changes who is in a group or what they may do.
    Change,
}

stored_enum!(PendingKind {
    Create = 0,
    Update = 1,
    Rejoin = 2,
    Change = 3
});

/// A commit on its way.
#[derive(Clone)]
pub(crate) struct PendingCommitRow {
    pub(crate) conversation: ConversationId,
    pub(crate) client_id: ClientMessageId,
    pub(crate) kind: PendingKind,
    pub(crate) generation: u32,
    /// The epoch that it leaves.
    pub(crate) epoch: u64,
    /// SHA-256 of the commit.
    pub(crate) commit_hash: [u8; 32],
    /// The encoded `ClientFrame`, with request id 0.
    pub(crate) request: Vec<u8>,
}

impl History {
    /// Notes a commit before it leaves.
    pub(crate) fn put_pending(&self, row: &PendingCommitRow) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO pending_commit
                 (conversation, client_id, kind, generation, epoch, commit_hash, request)
             VALUES (:conversation, :id, :kind, :generation, :epoch, :hash, :request)",
            named_params! {
                ":conversation": row.conversation.as_bytes(),
                ":id": row.client_id.as_bytes(),
                ":kind": row.kind.number(),
                ":generation": row.generation,
                ":epoch": row.epoch,
                ":hash": row.commit_hash,
                ":request": row.request,
            },
        )?;
        Ok(())
    }

    /// The commit on its way in a conversation.
    pub(crate) fn pending(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<PendingCommitRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM pending_commit WHERE conversation = ?1")?;
        statement
            .query_row([conversation.as_bytes()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// Forgets a commit that arrived or was given up.
    pub(crate) fn remove_pending(&self, conversation: &ConversationId) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM pending_commit WHERE conversation = ?1",
            [conversation.as_bytes()],
        )?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> Result<PendingCommitRow, HistoryError> {
    Ok(PendingCommitRow {
        conversation: codec::conversation(row, "conversation")?,
        client_id: codec::client_id(row, "client_id")?,
        kind: PendingKind::from_number(row.get("kind")?)?,
        generation: row.get("generation")?,
        epoch: row.get("epoch")?,
        commit_hash: row.get("commit_hash")?,
        request: row.get("request")?,
    })
}
