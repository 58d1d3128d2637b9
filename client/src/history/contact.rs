//! What is known of people beyond their identity: the names and notes that
//! the person here gave them, and what they tell of themselves. Also the own
//! profile, and who was told of it.

use rusqlite::{OptionalExtension as _, Row};
use sotto_crypto::content::Profile;
use sotto_protocol::Username;

use super::{History, HistoryError, codec};

/// Somebody, as seen by the person here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContactRow {
    pub(crate) name: Username,
    /// A name given here; empty for none.
    pub(crate) alias: String,
    /// Written here; empty for none.
    pub(crate) note: String,
    /// Told by the person, for contacts.
    pub(crate) profile: Profile,
    /// The place in the log at which it was told.
    pub(crate) profile_seq: u64,
    /// The revision of the own profile that this person was told.
    pub(crate) told: u64,
}

impl History {
    /// Somebody's entry, empty where nothing is known.
    pub(crate) fn contact(&self, name: &Username) -> Result<ContactRow, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT * FROM contact WHERE name = ?1")?;
        let found = statement
            .query_row([name.as_str()], |row| Ok(read(row)))
            .optional()?
            .transpose()?;
        Ok(found.unwrap_or(ContactRow {
            name: name.clone(),
            alias: String::new(),
            note: String::new(),
            profile: Profile::default(),
            profile_seq: 0,
            told: 0,
        }))
    }

    /// Stores an entry of somebody whom [`History::put_peer`] knows.
    pub(crate) fn put_contact(&self, row: &ContactRow) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO contact (name, alias, note, display_name, status, profile_seq,
                 told) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                row.name.as_str(),
                &row.alias,
                &row.note,
                &row.profile.display_name,
                &row.profile.status,
                row.profile_seq,
                row.told,
            ),
        )?;
        Ok(())
    }

    /// The names of contacts, and of whoever has a note here; sorted, at most 100,000.
    pub(crate) fn contact_names(&self) -> Result<Vec<Username>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT name FROM peer WHERE relation = 1
                 OR name IN (SELECT name FROM contact WHERE alias <> '' OR note <> '')
             ORDER BY name LIMIT 100000",
        )?;
        let rows = statement.query_map([], |row| Ok(codec::name(row, "name")))?;
        rows.map(|row| row?).collect()
    }

    /// The names of those who are blocked; sorted, at most 100,000.
    pub(crate) fn blocked_names(&self) -> Result<Vec<Username>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT name FROM peer WHERE relation = 2 ORDER BY name LIMIT 100000",
        )?;
        let rows = statement.query_map([], |row| Ok(codec::name(row, "name")))?;
        rows.map(|row| row?).collect()
    }

    /// The own profile and its revision; 0 while none was ever set.
    pub(crate) fn own_profile(&self) -> Result<(Profile, u64), HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT display_name, status, revision FROM own_profile")?;
        let found = statement
            .query_row([], |row| {
                let profile = Profile {
                    display_name: row.get(0)?,
                    status: row.get(1)?,
                };
                Ok((profile, row.get(2)?))
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Stores the own profile as its next revision.
    pub(crate) fn put_own_profile(&self, profile: &Profile) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT INTO own_profile (one, display_name, status, revision) VALUES (1, ?1, ?2, 1)
             ON CONFLICT DO UPDATE SET display_name = ?1, status = ?2, revision = revision + 1",
            (&profile.display_name, &profile.status),
        )?;
        Ok(())
    }

    /// Contacts with a conversation that stands who do not know a revision of
    /// the own profile yet, at most `limit`.
    pub(crate) fn not_told(
        &self,
        revision: u64,
        limit: u32,
    ) -> Result<Vec<Username>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT peer.name AS name FROM peer
                 JOIN conversation ON conversation.talk = peer.name
                 LEFT JOIN contact ON contact.name = peer.name
             WHERE peer.relation = 1 AND conversation.state = 1
                 AND coalesce(contact.told, 0) < ?1
             ORDER BY peer.name LIMIT ?2",
        )?;
        let rows = statement.query_map((revision, limit), |row| Ok(codec::name(row, "name")))?;
        rows.map(|row| row?).collect()
    }
}

fn read(row: &Row<'_>) -> Result<ContactRow, HistoryError> {
    Ok(ContactRow {
        name: codec::name(row, "name")?,
        alias: row.get("alias")?,
        note: row.get("note")?,
        profile: Profile {
            display_name: row.get("display_name")?,
            status: row.get("status")?,
        },
        profile_seq: row.get("profile_seq")?,
        told: row.get("told")?,
    })
}
