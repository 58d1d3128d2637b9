//! Requests of strangers: welcomes kept until the person consents.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_protocol::{ConversationId, Username};

use super::codec::stored_enum;
use super::{History, HistoryError, codec};

/// The most requests that are kept; further strangers are not heard until some are answered.
pub(crate) const REQUESTS_MAX: u64 = 256;
/// Sealed entries kept for one request.
const REQUEST_ENTRIES_MAX: u64 = 128;
/// Bytes of sealed entries kept for one request.
const REQUEST_BYTES_MAX: u64 = 256 * 1024;

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestStanding {
    /// It waits for an answer.
    Waits,
    /// It was declined, or its writer is blocked: nothing of it is shown.
    TurnedAway,
    /// Its writer wrote again.
    WaitsAgain,
}

stored_enum!(RequestStanding {
    Waits = 0,
    TurnedAway = 1,
    WaitsAgain = 2
});

/// A welcome that waits.
#[derive(Clone)]
pub(crate) struct RequestRow {
    pub(crate) inviter: Username,
    pub(crate) conversation: ConversationId,
    pub(crate) generation: u32,
    /// The seq of the commit that added this device.
    pub(crate) seq: u64,
    /// Under which the inviter signs.
    pub(crate) identity: [u8; 32],
    pub(crate) welcome: Vec<u8>,
    /// The ratchet tree, where it is not inside; never with two people.
    pub(crate) tree: Vec<u8>,
    /// What is sealed beside the welcome about the group; never with two people.
    pub(crate) note: Vec<u8>,
    /// When it came; of one that was turned away, when that was.
    pub(crate) received_at_ms: u64,
    pub(crate) standing: RequestStanding,
}

/// Welcomes without their trees that are kept: the newest.
const TREELESS_MAX: u32 = 256;

impl History {
    /// Keeps a welcome until its tree is here.
    pub(crate) fn put_treeless(&self, row: &RequestRow, epoch: u64) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO treeless_welcome
                 (conversation, generation, epoch, seq, inviter, welcome, received_at_ms, note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                row.conversation.as_bytes(),
                row.generation,
                epoch,
                row.seq,
                row.inviter.as_str(),
                &row.welcome,
                row.received_at_ms,
                &row.note,
            ),
        )?;
        self.connection().execute(
            "DELETE FROM treeless_welcome WHERE rowid IN (SELECT rowid FROM treeless_welcome
                 ORDER BY received_at_ms DESC, rowid DESC LIMIT -1 OFFSET ?1)",
            [TREELESS_MAX],
        )?;
        Ok(())
    }

    /// The welcomes that wait for their trees, with the epochs that they lead to.
    pub(crate) fn treeless(&self) -> Result<Vec<(RequestRow, u64)>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM treeless_welcome ORDER BY received_at_ms")?;
        let rows = statement.query_map([], |row| Ok(read_treeless(row)))?;
        rows.map(|row| row?).collect()
    }

    /// A welcome has its tree now, or will not get one.
    pub(crate) fn remove_treeless(&self, row: &RequestRow, epoch: u64) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM treeless_welcome
             WHERE conversation = ?1 AND generation = ?2 AND epoch = ?3",
            (row.conversation.as_bytes(), row.generation, epoch),
        )?;
        Ok(())
    }

    /// Keeps a request; a newer one of the same person takes the older one's place.
    pub(crate) fn put_request(&self, row: &RequestRow) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO request
                 (inviter, conversation, generation, seq, identity, welcome, received_at_ms, standing)
             VALUES (:inviter, :conversation, :generation, :seq, :identity, :welcome, :received,
                 :standing)",
            named_params! {
                ":inviter": row.inviter.as_str(),
                ":conversation": row.conversation.as_bytes(),
                ":generation": row.generation,
                ":seq": row.seq,
                ":identity": row.identity,
                ":welcome": row.welcome,
                ":received": row.received_at_ms,
                ":standing": row.standing.number(),
            },
        )?;
        // Those who were turned away are remembered as far as there is room.
        self.connection().execute(
            "DELETE FROM request WHERE rowid IN (SELECT rowid FROM request WHERE standing = 1
                 ORDER BY received_at_ms DESC LIMIT -1 OFFSET ?1)",
            [REQUESTS_MAX],
        )?;
        Ok(())
    }

    /// The request of a person, also one that was turned away.
    pub(crate) fn request(&self, inviter: &Username) -> Result<Option<RequestRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM request WHERE inviter = ?1")?;
        statement
            .query_row([inviter.as_str()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// The requests that wait for an answer, oldest first.
    pub(crate) fn requests(&self) -> Result<Vec<RequestRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM request WHERE standing <> 1 ORDER BY received_at_ms, inviter",
        )?;
        let rows = statement.query_map([], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// How many requests wait.
    pub(crate) fn requests_len(&self) -> Result<u64, HistoryError> {
        Ok(self.connection().query_row(
            "SELECT count(*) FROM request WHERE standing <> 1",
            [],
            |row| row.get(0),
        )?)
    }

    /// Forgets a request. What was kept of its conversation stays until taken.
    pub(crate) fn remove_request(&self, inviter: &Username) -> Result<(), HistoryError> {
        self.connection()
            .execute("DELETE FROM request WHERE inviter = ?1", [inviter.as_str()])?;
        Ok(())
    }

    /// Keeps a sealed entry of a requested conversation, while there is room:
    /// [`REQUEST_ENTRIES_MAX`] entries of together [`REQUEST_BYTES_MAX`].
    pub(crate) fn put_request_entry(
        &self,
        conversation: &ConversationId,
        seq: u64,
        envelope: &[u8],
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT OR IGNORE INTO request_entry (conversation, seq, envelope)
             SELECT ?1, ?2, ?3 WHERE
                 (SELECT count(*) FROM request_entry WHERE conversation = ?1) < ?4
                 AND (SELECT coalesce(sum(length(envelope)), 0) FROM request_entry
                      WHERE conversation = ?1) + length(?3) <= ?5",
        )?;
        statement.execute((
            conversation.as_bytes(),
            seq,
            envelope,
            REQUEST_ENTRIES_MAX,
            REQUEST_BYTES_MAX,
        ))?;
        Ok(())
    }

    /// The last entry of a requested conversation that was kept, or passed over; 0 without any.
    pub(crate) fn last_request_entry(
        &self,
        conversation: &ConversationId,
    ) -> Result<u64, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT coalesce(max(seq), 0) FROM request_entry WHERE conversation = ?1",
        )?;
        Ok(statement.query_row([conversation.as_bytes()], |row| row.get(0))?)
    }

    /// Takes out what was kept of a requested conversation, in log order. An empty entry was
    /// passed over: what stood there is nobody's to read.
    pub(crate) fn take_request_entries(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<(u64, Vec<u8>)>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT seq, envelope FROM request_entry WHERE conversation = ?1 ORDER BY seq",
        )?;
        let rows = statement.query_map([conversation.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        let entries = rows.collect::<Result<Vec<_>, _>>()?;
        self.connection().execute(
            "DELETE FROM request_entry WHERE conversation = ?1",
            [conversation.as_bytes()],
        )?;
        Ok(entries)
    }

    /// The request for a conversation, also one that was turned away.
    pub(crate) fn request_for(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<RequestRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM request WHERE conversation = ?1 LIMIT 1")?;
        statement
            .query_row([conversation.as_bytes()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }
}

fn read_treeless(row: &Row<'_>) -> Result<(RequestRow, u64), HistoryError> {
    let request = RequestRow {
        inviter: codec::name(row, "inviter")?,
        conversation: codec::conversation(row, "conversation")?,
        generation: row.get("generation")?,
        seq: row.get("seq")?,
        identity: [0; 32],
        welcome: row.get("welcome")?,
        tree: Vec::new(),
        note: row.get("note")?,
        received_at_ms: row.get("received_at_ms")?,
        standing: RequestStanding::Waits,
    };
    Ok((request, row.get("epoch")?))
}

fn read(row: &Row<'_>) -> Result<RequestRow, HistoryError> {
    Ok(RequestRow {
        inviter: codec::name(row, "inviter")?,
        conversation: codec::conversation(row, "conversation")?,
        generation: row.get("generation")?,
        seq: row.get("seq")?,
        identity: row.get("identity")?,
        welcome: row.get("welcome")?,
        tree: Vec::new(),
        note: Vec::new(),
        received_at_ms: row.get("received_at_ms")?,
        standing: RequestStanding::from_number(row.get("standing")?)?,
    })
}
