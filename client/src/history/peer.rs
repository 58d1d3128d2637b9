//! People: which identity is pinned to a name, and what the person thinks of them.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_protocol::Username;

use super::codec::stored_enum;
use super::{History, HistoryError, codec};

/// What the person here decided about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Seen, nothing decided.
    Known,
    /// Written to, or accepted.
    Contact,
    /// Ignored.
    Blocked,
}

stored_enum!(Relation {
    Known = 0,
    Contact = 1,
    Blocked = 2
});

/// Somebody.
#[derive(Clone)]
pub(crate) struct PeerRow {
    pub(crate) name: Username,
    /// Pinned on first use, replaced by consent only.
    pub(crate) identity: Option<[u8; 32]>,
    /// Another identity that was shown since, not accepted.
    pub(crate) changed_identity: Option<[u8; 32]>,
    pub(crate) verified_at_ms: Option<u64>,
    pub(crate) relation: Relation,
}

impl History {
    /// Somebody by name.
    pub(crate) fn peer(&self, name: &Username) -> Result<Option<PeerRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM peer WHERE name = ?1")?;
        statement
            .query_row([name.as_str()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// Stores somebody as given, new or known.
    pub(crate) fn put_peer(&self, peer: &PeerRow) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO peer (name, identity, changed_identity, verified_at_ms, relation)
             VALUES (:name, :identity, :changed, :verified, :relation)
             ON CONFLICT (name) DO UPDATE SET identity = :identity, changed_identity = :changed,
                 verified_at_ms = :verified, relation = :relation",
        )?;
        statement.execute(named_params! {
            ":name": peer.name.as_str(),
            ":identity": peer.identity,
            ":changed": peer.changed_identity,
            ":verified": peer.verified_at_ms,
            ":relation": peer.relation.number(),
        })?;
        Ok(())
    }

    /// Keeps the identity that was pinned to a name until now.
    pub(crate) fn put_earlier_identity(
        &self,
        name: &Username,
        identity: &[u8; 32],
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT OR IGNORE INTO earlier_identity (name, identity) VALUES (?1, ?2)",
        )?;
        statement.execute((name.as_str(), identity))?;
        Ok(())
    }

    /// Whether an identity was pinned to a name before the present one.
    pub(crate) fn was_identity(
        &self,
        name: &Username,
        identity: &[u8; 32],
    ) -> Result<bool, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT 1 FROM earlier_identity WHERE name = ?1 AND identity = ?2")?;
        Ok(statement.exists((name.as_str(), identity))?)
    }
}

fn read(row: &Row<'_>) -> Result<PeerRow, HistoryError> {
    Ok(PeerRow {
        name: codec::name(row, "name")?,
        identity: row.get("identity")?,
        changed_identity: row.get("changed_identity")?,
        verified_at_ms: row.get("verified_at_ms")?,
        relation: Relation::from_number(row.get("relation")?)?,
    })
}
