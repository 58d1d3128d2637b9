//! Groups: who is in, what is said about them, and invitations that wait.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_protocol::{ConversationId, Username};
use sotto_roster::{Access, Role};

use super::{History, HistoryError, codec};

/// The most invitations that are kept; further ones are not heard until some are answered.
pub(crate) const INVITATIONS_MAX: u64 = 256;

/// Somebody in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) name: Username,
    pub(crate) role: Role,
    /// Whether anything of this person's devices was seen since they came in.
    pub(crate) seen: bool,
    /// Whether they said that they leave.
    pub(crate) leaving: bool,
}

/// A welcome to a group that waits for consent.
#[derive(Clone)]
pub(crate) struct InvitationRow {
    pub(crate) conversation: ConversationId,
    pub(crate) inviter: Username,
    pub(crate) generation: u32,
    /// The seq of the commit that added this device.
    pub(crate) seq: u64,
    /// Under which the inviter signs.
    pub(crate) identity: [u8; 32],
    /// Accounts in the group at that time.
    pub(crate) members: u64,
    pub(crate) access: Access,
    pub(crate) welcome: Vec<u8>,
    /// The ratchet tree, where it is not inside the welcome.
    pub(crate) tree: Vec<u8>,
    /// What the inviter calls the group; empty where nothing was said.
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) received_at_ms: u64,
}

pub(super) const fn role_number(role: Role) -> i64 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}

pub(super) const fn role_of(number: i64) -> Result<Role, HistoryError> {
    match number {
        0 => Ok(Role::Member),
        1 => Ok(Role::Admin),
        2 => Ok(Role::Owner),
        _ => Err(HistoryError::Invalid("role")),
    }
}

impl History {
    /// Somebody is in a group with this role; what else is known of them stays.
    pub(crate) fn put_member(
        &self,
        conversation: &ConversationId,
        name: &Username,
        role: Role,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO group_member (conversation, name, role) VALUES (?1, ?2, ?3)
             ON CONFLICT (conversation, name) DO UPDATE SET role = ?3",
        )?;
        statement.execute((conversation.as_bytes(), name.as_str(), role_number(role)))?;
        Ok(())
    }

    /// Somebody is no longer in a group.
    pub(crate) fn remove_member(
        &self,
        conversation: &ConversationId,
        name: &Username,
    ) -> Result<(), HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("DELETE FROM group_member WHERE conversation = ?1 AND name = ?2")?;
        statement.execute((conversation.as_bytes(), name.as_str()))?;
        Ok(())
    }

    /// Somebody of a group wrote or renewed keys: they did come in.
    pub(crate) fn mark_seen(
        &self,
        conversation: &ConversationId,
        name: &Username,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "UPDATE group_member SET seen = 1 WHERE conversation = ?1 AND name = ?2 AND seen = 0",
        )?;
        statement.execute((conversation.as_bytes(), name.as_str()))?;
        Ok(())
    }

    /// Somebody of a group said that they leave.
    pub(crate) fn mark_leaving(
        &self,
        conversation: &ConversationId,
        name: &Username,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "UPDATE group_member SET leaving = 1 WHERE conversation = ?1 AND name = ?2",
            (conversation.as_bytes(), name.as_str()),
        )?;
        Ok(())
    }

    /// Everybody in a group, by name.
    pub(crate) fn members(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<MemberRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM group_member WHERE conversation = ?1 ORDER BY name")?;
        let rows = statement.query_map([conversation.as_bytes()], |row| Ok(read_member(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Somebody in a group.
    pub(crate) fn member(
        &self,
        conversation: &ConversationId,
        name: &Username,
    ) -> Result<Option<MemberRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM group_member WHERE conversation = ?1 AND name = ?2")?;
        statement
            .query_row((conversation.as_bytes(), name.as_str()), |row| {
                Ok(read_member(row))
            })
            .optional()?
            .transpose()
    }

    /// How many people are in a group.
    pub(crate) fn members_len(&self, conversation: &ConversationId) -> Result<u64, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT count(*) FROM group_member WHERE conversation = ?1")?;
        Ok(statement.query_row([conversation.as_bytes()], |row| row.get(0))?)
    }

    /// Keeps what an admin said about a group.
    pub(crate) fn put_group_detail(
        &self,
        conversation: &ConversationId,
        body: &[u8],
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO group_detail (conversation, body) VALUES (?1, ?2)",
            (conversation.as_bytes(), body),
        )?;
        Ok(())
    }

    /// What an admin said last about a group.
    pub(crate) fn group_detail(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<Vec<u8>>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT body FROM group_detail WHERE conversation = ?1")?;
        Ok(statement
            .query_row([conversation.as_bytes()], |row| row.get(0))
            .optional()?)
    }

    /// Keeps an invitation; a newer one to the same group takes the older one's place.
    pub(crate) fn put_invitation(&self, row: &InvitationRow) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO invitation (conversation, inviter, generation, seq, identity,
                 members, access, welcome, tree, title, description, received_at_ms)
             VALUES (:conversation, :inviter, :generation, :seq, :identity, :members, :access,
                 :welcome, :tree, :title, :description, :received)",
            named_params! {
                ":conversation": row.conversation.as_bytes(),
                ":inviter": row.inviter.as_str(),
                ":generation": row.generation,
                ":seq": row.seq,
                ":identity": row.identity,
                ":members": row.members,
                ":access": match row.access {
                    Access::Closed => 0,
                    Access::Public => 1,
                },
                ":welcome": row.welcome,
                ":tree": row.tree,
                ":title": row.title,
                ":description": row.description,
                ":received": row.received_at_ms,
            },
        )?;
        Ok(())
    }

    /// The invitation to a group.
    pub(crate) fn invitation(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<InvitationRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM invitation WHERE conversation = ?1")?;
        statement
            .query_row([conversation.as_bytes()], |row| Ok(read_invitation(row)))
            .optional()?
            .transpose()
    }

    /// All invitations, oldest first.
    pub(crate) fn invitations(&self) -> Result<Vec<InvitationRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM invitation ORDER BY received_at_ms, conversation")?;
        let rows = statement.query_map([], |row| Ok(read_invitation(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Forgets an invitation.
    pub(crate) fn remove_invitation(
        &self,
        conversation: &ConversationId,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM invitation WHERE conversation = ?1",
            [conversation.as_bytes()],
        )?;
        Ok(())
    }

    /// Forgets the oldest invitations of a person beyond the newest `kept`.
    pub(crate) fn trim_invitations(
        &self,
        inviter: &Username,
        kept: u32,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM invitation WHERE conversation IN
                 (SELECT conversation FROM invitation WHERE inviter = ?1
                  ORDER BY received_at_ms DESC, conversation LIMIT -1 OFFSET ?2)",
            (inviter.as_str(), kept),
        )?;
        Ok(())
    }

    /// How many invitations wait.
    pub(crate) fn invitations_len(&self) -> Result<u64, HistoryError> {
        Ok(self
            .connection()
            .query_row("SELECT count(*) FROM invitation", [], |row| row.get(0))?)
    }
}

fn read_member(row: &Row<'_>) -> Result<MemberRow, HistoryError> {
    Ok(MemberRow {
        name: codec::name(row, "name")?,
        role: role_of(row.get("role")?)?,
        seen: row.get("seen")?,
        leaving: row.get("leaving")?,
    })
}

fn read_invitation(row: &Row<'_>) -> Result<InvitationRow, HistoryError> {
    Ok(InvitationRow {
        conversation: codec::conversation(row, "conversation")?,
        inviter: codec::name(row, "inviter")?,
        generation: row.get("generation")?,
        seq: row.get("seq")?,
        identity: row.get("identity")?,
        members: row.get("members")?,
        access: match row.get::<_, i64>("access")? {
            0 => Access::Closed,
            1 => Access::Public,
            _ => return Err(HistoryError::Invalid("access")),
        },
        welcome: row.get("welcome")?,
        tree: row.get("tree")?,
        title: row.get("title")?,
        description: row.get("description")?,
        received_at_ms: row.get("received_at_ms")?,
    })
}
