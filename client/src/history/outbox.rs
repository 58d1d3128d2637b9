//! What this device wrote and the server has not confirmed yet.

use rusqlite::{OptionalExtension as _, Row, named_params};
use sotto_protocol::ClientMessageId;

use super::codec::stored_enum;
use super::{History, HistoryError, codec};
use crate::talk::Talk;

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutboxKind {
    /// A person's text, as versions 1 and 2 of the store wrote it: nothing but the text.
    Text,
    /// A receipt: may be forgotten without harm.
    Receipt,
    /// Something that a person did: an encoded body.
    Body,
    /// An encoded body that this program sends by itself.
    Quiet,
}

stored_enum!(OutboxKind {
    Text = 0,
    Receipt = 1,
    Body = 2,
    Quiet = 3
});

/// The sealed form and where it is valid.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) generation: u32,
    pub(crate) epoch: u64,
    pub(crate) payload: Vec<u8>,
}

/// Why something was given up: as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Stable.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) message: String,
}

/// One thing that waits, or that was given up.
#[derive(Clone)]
pub(crate) struct OutboxRow {
    pub(crate) client_id: ClientMessageId,
    pub(crate) talk: Talk,
    pub(crate) kind: OutboxKind,
    /// The encoded body without counters and padding; of a receipt its two
    /// marks and from where on they speak. Empty where it was in memory and the program ended since.
    pub(crate) body: Vec<u8>,
    pub(crate) created_at_ms: u64,
    /// Given once, at the first sealing, and kept over repetitions.
    pub(crate) counter: Option<u64>,
    pub(crate) sealed: Option<Sealed>,
    /// Why it never goes out; `None` while it waits.
    pub(crate) refused: Option<Refused>,
}

/// Rows with their bodies, which for unsaved conversations lie in memory.
macro_rules! rows_where {
    ($condition:literal) => {
        concat!(
            "SELECT outbox.*, coalesce(said.body, outbox.body) AS said FROM main.outbox
                 LEFT JOIN unsaved.outbox_body AS said ON said.client_id = outbox.client_id ",
            $condition
        )
    };
}

pub(super) use rows_where;

impl History {
    /// Where the bodies of what waits in unsaved conversations lie. What a
    /// program left unsealed that ended is forgotten with its body.
    pub(super) fn attach_outbox_memory(&self) -> Result<(), HistoryError> {
        Ok(self.connection().execute_batch(
            "CREATE TABLE unsaved.outbox_body (
                 client_id BLOB PRIMARY KEY,
                 body BLOB NOT NULL
             ) STRICT;
             DELETE FROM main.outbox WHERE kind = 2 AND length(body) = 0
                 AND (sealed IS NULL OR refused_code IS NOT NULL);",
        )?)
    }

    /// Puts something at the end; the same id is put once. What a person says
    /// in an unsaved conversation is kept in memory, its place on disk.
    pub(crate) fn push_outbox(&self, row: &OutboxRow) -> Result<(), HistoryError> {
        let talk = row.talk.to_string();
        let mut statement = self
            .connection()
            .prepare_cached("SELECT 1 FROM conversation WHERE talk = ?1 AND keep = 1")?;
        let unsaved = row.kind == OutboxKind::Body && statement.exists([&talk])?;
        // What was given up may be tried again under its name.
        self.connection().execute(
            "DELETE FROM outbox WHERE client_id = ?1 AND refused_code IS NOT NULL",
            [row.client_id.as_bytes()],
        )?;
        let pushed = self.connection().execute(
            "INSERT OR IGNORE INTO outbox (client_id, talk, kind, body, created_at_ms)
             VALUES (:id, :talk, :kind, :body, :created)",
            named_params! {
                ":id": row.client_id.as_bytes(),
                ":talk": talk,
                ":kind": row.kind.number(),
                ":body": if unsaved { &[] } else { row.body.as_slice() },
                ":created": row.created_at_ms,
            },
        )?;
        if unsaved && pushed == 1 {
            self.connection().execute(
                "INSERT OR REPLACE INTO unsaved.outbox_body (client_id, body) VALUES (?1, ?2)",
                (row.client_id.as_bytes(), &row.body),
            )?;
        }
        Ok(())
    }

    /// The first thing that waits in a talk.
    pub(crate) fn first_for(&self, talk: &Talk) -> Result<Option<OutboxRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(rows_where!(
            "WHERE talk = ?1 AND refused_code IS NULL ORDER BY place LIMIT 1"
        ))?;
        statement
            .query_row([talk.to_string()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// The talks in which something waits, the longest waiting first.
    pub(crate) fn awaited_talks(&self) -> Result<Vec<Talk>, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT talk FROM outbox WHERE refused_code IS NULL GROUP BY talk ORDER BY min(place)",
        )?;
        let rows = statement.query_map([], |row| Ok(codec::talk(row, "talk")))?;
        rows.map(|row| row?).collect()
    }

    /// The messages that wait in a talk, oldest first; at most 1,000.
    pub(crate) fn queued_for(&self, talk: &Talk) -> Result<Vec<OutboxRow>, HistoryError> {
        let mut statement = self.connection().prepare_cached(rows_where!(
            "WHERE talk = ?1 AND kind IN (0, 2) AND refused_code IS NULL ORDER BY place LIMIT 1000"
        ))?;
        let rows = statement.query_map([talk.to_string()], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// How many messages wait, in all.
    pub(crate) fn outbox_len(&self) -> Result<u64, HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT count(*) FROM outbox WHERE kind IN (0, 2) AND refused_code IS NULL",
        )?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// One by its id.
    pub(crate) fn outbox_row(
        &self,
        client_id: &ClientMessageId,
    ) -> Result<Option<OutboxRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached(rows_where!("WHERE outbox.client_id = ?1"))?;
        statement
            .query_row([client_id.as_bytes()], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// Keeps the sealed form.
    pub(crate) fn set_sealed(
        &self,
        client_id: &ClientMessageId,
        counter: u64,
        sealed: &Sealed,
    ) -> Result<(), HistoryError> {
        let mut statement = self.connection().prepare_cached(
            "UPDATE outbox SET counter = :counter, generation = :generation, epoch = :epoch,
                 sealed = :sealed WHERE client_id = :id",
        )?;
        statement.execute(named_params! {
            ":id": client_id.as_bytes(),
            ":counter": counter,
            ":generation": sealed.generation,
            ":epoch": sealed.epoch,
            ":sealed": sealed.payload,
        })?;
        Ok(())
    }

    /// Forgets sealed forms of a talk: they will be sealed again. Counters stay.
    pub(crate) fn unseal_for(&self, talk: &Talk) -> Result<(), HistoryError> {
        self.connection().execute(
            "UPDATE outbox SET sealed = NULL, generation = NULL, epoch = NULL WHERE talk = ?1",
            [talk.to_string()],
        )?;
        Ok(())
    }

    /// Takes out what the server confirmed, or what was given up.
    pub(crate) fn remove_outbox(&self, client_id: &ClientMessageId) -> Result<(), HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("DELETE FROM outbox WHERE client_id = ?1")?;
        statement.execute([client_id.as_bytes()])?;
        let mut statement = self
            .connection()
            .prepare_cached("DELETE FROM unsaved.outbox_body WHERE client_id = ?1")?;
        statement.execute([client_id.as_bytes()])?;
        Ok(())
    }

    /// Takes out receipts of a talk that are not sealed yet, of those that speak from the same
    /// place on: a newer one says more.
    pub(crate) fn remove_unsealed_receipts(
        &self,
        talk: &Talk,
        readable_from: &[u8; 8],
    ) -> Result<(), HistoryError> {
        self.connection().execute(
            "DELETE FROM outbox WHERE talk = ?1 AND kind = 1 AND counter IS NULL
                 AND substr(body, 17) = ?2",
            (talk.to_string(), readable_from),
        )?;
        Ok(())
    }
}

pub(super) fn read(row: &Row<'_>) -> Result<OutboxRow, HistoryError> {
    let payload: Option<Vec<u8>> = row.get("sealed")?;
    let sealed = match payload {
        Some(payload) => Some(Sealed {
            generation: row.get("generation")?,
            epoch: row.get("epoch")?,
            payload,
        }),
        None => None,
    };
    Ok(OutboxRow {
        client_id: codec::client_id(row, "client_id")?,
        talk: codec::talk(row, "talk")?,
        kind: OutboxKind::from_number(row.get("kind")?)?,
        body: row.get("said")?,
        created_at_ms: row.get("created_at_ms")?,
        counter: row.get("counter")?,
        sealed,
        refused: read_refused(row)?,
    })
}

fn read_refused(row: &Row<'_>) -> Result<Option<Refused>, HistoryError> {
    let (code, message): (Option<String>, Option<String>) =
        (row.get("refused_code")?, row.get("refused")?);
    Ok(code.map(|code| Refused {
        code,
        message: message.unwrap_or_default(),
    }))
}
