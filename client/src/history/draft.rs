//! What belongs to a talk and to this device alone: what was begun and not
//! sent, and whether the talk is silent. Settings of the whole profile too.

use rusqlite::OptionalExtension as _;
use sotto_crypto::content::TEXT_BYTES_MAX;

use super::shelf::{SHELVES, on};
use super::{History, HistoryError, codec};
use crate::engine::api::{Keep, Mute};
use crate::talk::Talk;

impl History {
    /// Keeps what was begun, or with an empty text forgets it, on both shelves.
    pub(crate) fn put_draft(
        &self,
        keep: Keep,
        talk: &Talk,
        (text, now_ms): (&str, u64),
    ) -> Result<(), HistoryError> {
        for shelf in SHELVES {
            self.connection().execute(
                &on(shelf, "DELETE FROM @.draft WHERE talk = ?1"),
                [talk.to_string()],
            )?;
        }
        if !text.is_empty() && text.len() <= TEXT_BYTES_MAX {
            self.connection().execute(
                &on(
                    keep,
                    "INSERT INTO @.draft (talk, text, updated_at_ms) VALUES (?1, ?2, ?3)",
                ),
                (talk.to_string(), text, now_ms),
            )?;
        }
        Ok(())
    }

    /// What was begun in a talk.
    pub(crate) fn draft(&self, talk: &Talk) -> Result<Option<String>, HistoryError> {
        for shelf in SHELVES {
            let mut statement = self
                .connection()
                .prepare_cached(&on(shelf, "SELECT text FROM @.draft WHERE talk = ?1"))?;
            let found = statement
                .query_row([talk.to_string()], |row| row.get(0))
                .optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The talks that have a draft, the latest first, at most 1,000.
    pub(crate) fn drafts(&self) -> Result<Vec<(Talk, String)>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT talk, text, updated_at_ms FROM main.draft
             UNION ALL SELECT talk, text, updated_at_ms FROM unsaved.draft
             ORDER BY updated_at_ms DESC LIMIT 1000",
        )?;
        let rows = statement.query_map([], |row| {
            let text = row.get("text")?;
            Ok(codec::talk(row, "talk").map(|talk| (talk, text)))
        })?;
        rows.map(|row| row?).collect()
    }

    /// Makes a talk silent, or ends that.
    pub(crate) fn put_mute(&self, talk: &Talk, mute: Option<Mute>) -> Result<(), HistoryError> {
        let Some(mute) = mute else {
            self.connection()
                .execute("DELETE FROM mute WHERE talk = ?1", [talk.to_string()])?;
            return Ok(());
        };
        let (until_ms, mentions_only) = match mute {
            Mute::Until(until_ms) => (i64::try_from(until_ms).unwrap_or(i64::MAX), false),
            Mute::MentionsOnly => (i64::MAX, true),
        };
        self.connection().execute(
            "INSERT OR REPLACE INTO mute (talk, until_ms, mentions_only) VALUES (?1, ?2, ?3)",
            (talk.to_string(), until_ms, mentions_only),
        )?;
        Ok(())
    }

    /// Whether a talk is silent at a time.
    pub(crate) fn mute(&self, talk: &Talk, now_ms: u64) -> Result<Option<Mute>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT until_ms, mentions_only FROM mute WHERE talk = ?1")?;
        let found: Option<(i64, bool)> = statement
            .query_row([talk.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found.and_then(|(until_ms, mentions_only)| {
            let until_ms = match until_ms {
                i64::MAX => u64::MAX,
                until_ms => u64::try_from(until_ms).unwrap_or(0),
            };
            match mentions_only {
                true => Some(Mute::MentionsOnly),
                false => (until_ms > now_ms).then_some(Mute::Until(until_ms)),
            }
        }))
    }

    /// A setting of the profile.
    pub(crate) fn preference(&self, name: &str) -> Result<Option<String>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT value FROM preference WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }

    /// Keeps a setting of the profile.
    pub(crate) fn put_preference(&self, name: &str, value: &str) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO preference (name, value) VALUES (?1, ?2)",
            (name, value),
        )?;
        Ok(())
    }
}
