//! Which key packages were made here, so that their private parts are
//! forgotten in time. The private parts themselves lie in the MLS key store.

use super::{History, HistoryError};

/// What a key package was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MadeFor {
    /// One welcome.
    OneTime,
    /// Any number of welcomes, until the next takes its place.
    LastResort,
}

impl MadeFor {
    const fn number(self) -> i64 {
        match self {
            Self::OneTime => 0,
            Self::LastResort => 1,
        }
    }
}

impl History {
    /// Notes a key package.
    pub(crate) fn insert_key_package(
        &self,
        reference: &[u8],
        made_for: MadeFor,
        forget_at_ms: u64,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO made_key_package (reference, purpose, forget_at_ms)
             VALUES (?1, ?2, ?3)",
            (reference, made_for.number(), forget_at_ms),
        )?;
        Ok(())
    }

    /// Lets the present last-resort packages go at this time at the latest.
    pub(crate) fn retire_last_resort(&self, forget_at_ms: u64) -> Result<(), HistoryError> {
        self.connection().execute(
            "UPDATE made_key_package SET forget_at_ms = min(forget_at_ms, ?1) WHERE purpose = ?2",
            (forget_at_ms, MadeFor::LastResort.number()),
        )?;
        Ok(())
    }

    /// Takes the references that are due, at most 100.
    pub(crate) fn take_due_key_packages(&self, now_ms: u64) -> Result<Vec<Vec<u8>>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "DELETE FROM made_key_package WHERE reference IN
                 (SELECT reference FROM made_key_package WHERE forget_at_ms <= ?1 LIMIT 100)
             RETURNING reference",
        )?;
        let rows = statement.query_map([now_ms], |row| row.get(0))?;
        rows.map(|row| Ok(row?)).collect()
    }
}
