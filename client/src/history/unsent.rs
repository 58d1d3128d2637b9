//! What was written and never went out: it stays in its talk with the reason,
//! until the person takes it away. It is never sent from here.

use rusqlite::named_params;
use sotto_protocol::ClientMessageId;

use super::outbox::{OutboxRow, Refused, read, rows_where};
use super::{History, HistoryError, codec};
use crate::talk::Talk;

/// So many are kept in one talk; of more the oldest go.
const UNSENT_MAX: u32 = 200;

impl History {
    /// Keeps a message that waited as one that never goes out.
    pub(crate) fn give_up(
        &self,
        client_id: &ClientMessageId,
        why: &Refused,
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "UPDATE outbox SET refused_code = :code, refused = :message, generation = NULL, epoch = NULL, sealed = NULL WHERE client_id = :id",
            named_params! {
                ":id": client_id.as_bytes(),
                ":code": why.code,
                ":message": why.message,
            },
        )?;
        self.connection().execute(
            "DELETE FROM outbox WHERE refused_code IS NOT NULL
                 AND talk = (SELECT talk FROM outbox WHERE client_id = :id)
                 AND place NOT IN (SELECT place FROM outbox WHERE refused_code IS NOT NULL
                     AND talk = (SELECT talk FROM outbox WHERE client_id = :id)
                     ORDER BY place DESC LIMIT :max)",
            named_params! { ":id": client_id.as_bytes(), ":max": UNSENT_MAX },
        )?;
        Ok(())
    }

    /// What was given up in a talk, in the order of writing; at most [`UNSENT_MAX`].
    pub(crate) fn unsent_for(&self, talk: &Talk) -> Result<Vec<OutboxRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(rows_where!(
            "WHERE talk = ?1 AND refused_code IS NOT NULL ORDER BY place LIMIT 200"
        ))?;
        let rows = statement.query_map([talk.to_string()], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// The talks in which something was given up.
    pub(crate) fn talks_with_unsent(&self) -> Result<Vec<Talk>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT talk FROM outbox WHERE refused_code IS NOT NULL GROUP BY talk
             ORDER BY min(place)",
        )?;
        let rows = statement.query_map([], |row| Ok(codec::talk(row, "talk")))?;
        rows.map(|row| row?).collect()
    }
}
