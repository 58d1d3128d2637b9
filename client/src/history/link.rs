//! Invite links of groups, people who ask to come in by one, and the groups
//! that this account asked to be let into.

use rusqlite::{OptionalExtension as _, Row};
use sotto_crypto::SecretBytes;
use sotto_crypto::content::JoinLink;
use sotto_protocol::{ConversationId, Username};
use zeroize::Zeroizing;

use super::{History, HistoryError, codec};

/// Links of one group that are kept; further ones take the place of those that end first.
const LINKS_KEPT_MAX: u32 = 128;
/// People of one group who wait to be let in; further ones are not heard.
pub(crate) const JOIN_REQUESTS_MAX: u64 = 256;
/// Groups that this account waits to be let into; the oldest are forgotten.
const JOINING_MAX: u32 = 256;

/// Somebody who holds a link and wants to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRequestRow {
    pub(crate) name: Username,
    pub(crate) identity: [u8; 32],
    /// Whether an admin here has to agree first.
    pub(crate) waits: bool,
    pub(crate) received_at_ms: u64,
}

impl History {
    /// Keeps a link. One that was revoked stays so.
    pub(crate) fn put_link(
        &self,
        conversation: &ConversationId,
        link: &JoinLink,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT INTO group_link (conversation, link, secret, expires_at_ms, approval, revoked)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (conversation, link) DO UPDATE SET revoked = max(revoked, ?6)",
            (
                conversation.as_bytes(),
                link.link_id,
                link.secret.expose(),
                link.expires_at_ms,
                link.approval,
                link.revoked,
            ),
        )?;
        self.connection().execute(
            "DELETE FROM group_link WHERE conversation = ?1 AND link IN
                 (SELECT link FROM group_link WHERE conversation = ?1
                  ORDER BY expires_at_ms DESC, link LIMIT -1 OFFSET ?2)",
            (conversation.as_bytes(), LINKS_KEPT_MAX),
        )?;
        Ok(())
    }

    /// A link of a group, also one that counts no longer.
    pub(crate) fn link(
        &self,
        conversation: &ConversationId,
        link: &[u8; 16],
    ) -> Result<Option<JoinLink>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM group_link WHERE conversation = ?1 AND link = ?2")?;
        statement
            .query_row((conversation.as_bytes(), link), |row| Ok(read_link(row)))
            .optional()?
            .transpose()
    }

    /// The links of a group that are neither revoked nor over, those that end last first.
    pub(crate) fn live_links(
        &self,
        conversation: &ConversationId,
        now_ms: u64,
    ) -> Result<Vec<JoinLink>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM group_link
             WHERE conversation = ?1 AND revoked = 0 AND expires_at_ms > ?2
             ORDER BY expires_at_ms DESC, link",
        )?;
        let rows =
            statement.query_map((conversation.as_bytes(), now_ms), |row| Ok(read_link(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Forgets links that are over, everywhere.
    pub(crate) fn forget_links(&self, now_ms: u64) -> Result<(), HistoryError> {
        self.connection()
            .execute("DELETE FROM group_link WHERE expires_at_ms < ?1", [now_ms])?;
        Ok(())
    }

    /// Somebody wants to come in.
    pub(crate) fn put_join_request(
        &self,
        conversation: &ConversationId,
        row: &JoinRequestRow,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO join_request (conversation, name, identity, waits, received_at_ms)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE
                 (SELECT count(*) FROM join_request WHERE conversation = ?1) < ?6",
            (
                conversation.as_bytes(),
                row.name.as_str(),
                row.identity,
                row.waits,
                row.received_at_ms,
                JOIN_REQUESTS_MAX,
            ),
        )?;
        Ok(())
    }

    /// Who wants to come into a group, oldest first.
    pub(crate) fn join_requests(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<JoinRequestRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT * FROM join_request WHERE conversation = ?1 ORDER BY received_at_ms, name",
        )?;
        let rows = statement.query_map([conversation.as_bytes()], |row| Ok(read_request(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Somebody came in, or is not wanted; whether anything was there.
    pub(crate) fn remove_join_request(
        &self,
        conversation: &ConversationId,
        name: &Username,
    ) -> Result<bool, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("DELETE FROM join_request WHERE conversation = ?1 AND name = ?2")?;
        Ok(statement.execute((conversation.as_bytes(), name.as_str()))? > 0)
    }

    /// The groups that can be written in and that a person is in.
    pub(crate) fn groups_of(&self, name: &Username) -> Result<Vec<ConversationId>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT conversation FROM group_member JOIN conversation ON id = conversation
             WHERE name = ?1 AND state = 1",
        )?;
        let rows = statement.query_map([name.as_str()], |row| {
            Ok(codec::conversation(row, "conversation"))
        })?;
        rows.map(|row| row?).collect()
    }

    /// Groups with something that an admin's client has still to do, by itself.
    pub(crate) fn groups_with_chores(&self) -> Result<Vec<ConversationId>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT conversation FROM join_request WHERE waits = 0
             UNION SELECT conversation FROM greeting_due",
        )?;
        let rows = statement.query_map([], |row| Ok(codec::conversation(row, "conversation")))?;
        rows.map(|row| row?).collect()
    }

    /// Newcomers of a group have to be told what it is called.
    pub(crate) fn put_greeting(&self, conversation: &ConversationId) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR IGNORE INTO greeting_due (conversation) VALUES (?1)",
            [conversation.as_bytes()],
        )?;
        Ok(())
    }

    /// They were told; whether there was anybody to be told.
    pub(crate) fn take_greeting(
        &self,
        conversation: &ConversationId,
    ) -> Result<bool, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("DELETE FROM greeting_due WHERE conversation = ?1")?;
        Ok(statement.execute([conversation.as_bytes()])? > 0)
    }

    /// This account asked to be let into a group.
    pub(crate) fn put_joining(
        &self,
        conversation: &ConversationId,
        now_ms: u64,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO joining (conversation, asked_at_ms) VALUES (?1, ?2)",
            (conversation.as_bytes(), now_ms),
        )?;
        self.connection().execute(
            "DELETE FROM joining WHERE conversation IN
                 (SELECT conversation FROM joining ORDER BY asked_at_ms DESC LIMIT -1 OFFSET ?1)",
            [JOINING_MAX],
        )?;
        Ok(())
    }

    /// Whether this account asked to be let into a group and is not in yet.
    pub(crate) fn is_joining(&self, conversation: &ConversationId) -> Result<bool, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT 1 FROM joining WHERE conversation = ?1")?;
        Ok(statement.exists([conversation.as_bytes()])?)
    }

    /// It is in, or does not want to come in any more.
    pub(crate) fn remove_joining(
        &self,
        conversation: &ConversationId,
    ) -> Result<bool, HistoryError> {
        let removed = self.connection().execute(
            "DELETE FROM joining WHERE conversation = ?1",
            [conversation.as_bytes()],
        )?;
        Ok(removed > 0)
    }

    /// Keeps a group's policy as its last commit left it.
    pub(crate) fn put_policy(
        &self,
        conversation: &ConversationId,
        policy: &[u8],
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT OR REPLACE INTO group_policy (conversation, policy) VALUES (?1, ?2)",
        )?;
        statement.execute((conversation.as_bytes(), policy))?;
        Ok(())
    }

    /// A group's policy as its last commit here left it.
    pub(crate) fn policy(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<Vec<u8>>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT policy FROM group_policy WHERE conversation = ?1")?;
        Ok(statement
            .query_row([conversation.as_bytes()], |row| row.get(0))
            .optional()?)
    }
}

fn read_link(row: &Row<'_>) -> Result<JoinLink, HistoryError> {
    let secret = Zeroizing::new(row.get::<_, [u8; 32]>("secret")?);
    Ok(JoinLink {
        link_id: row.get("link")?,
        secret: SecretBytes::from_slice(secret.as_ref()).ok_or(HistoryError::Invalid("link"))?,
        expires_at_ms: row.get("expires_at_ms")?,
        approval: row.get("approval")?,
        revoked: row.get("revoked")?,
    })
}

fn read_request(row: &Row<'_>) -> Result<JoinRequestRow, HistoryError> {
    Ok(JoinRequestRow {
        name: codec::name(row, "name")?,
        identity: row.get("identity")?,
        waits: row.get("waits")?,
        received_at_ms: row.get("received_at_ms")?,
    })
}
