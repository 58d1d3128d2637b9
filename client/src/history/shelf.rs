//! Where messages lie: on disk, or for unsaved conversations in memory only.
//!
//! Both shelves have the same tables, so that everything works alike in
//! both; the one in memory is a database of its own that no file belongs to.
//! It refuses nothing: which shelf a conversation has, its row says.

use rusqlite::Connection;

use super::{History, HistoryError};
use crate::engine::api::Keep;

/// The tables that both shelves have.
const TABLES: &[&str] = &[
    "message",
    "search",
    "change",
    "reaction",
    "pin",
    "timer",
    "reader",
    "reader_hole",
    "draft",
];
const NAME_IN_MEMORY: &str = "unsaved";
/// What a table in memory does not have: its conversation lies on disk.
const REFERENCE: &str = "REFERENCES conversation (id) ON DELETE CASCADE";

/// The statement for one shelf: each `@.` becomes its name.
pub(super) fn on(keep: Keep, sql: &str) -> String {
    match keep {
        Keep::Saved => sql.replace("@.", "main."),
        Keep::Unsaved => sql.replace("@.", "unsaved."),
    }
}

/// Both, for what is looked up without knowing where it lies.
pub(super) const SHELVES: [Keep; 2] = [Keep::Saved, Keep::Unsaved];

impl History {
    /// Makes the shelf in memory, empty, with the tables that the one on disk has.
    pub(super) fn attach_memory(&self) -> Result<(), HistoryError> {
        let connection = self.connection();
        // An empty key: in memory there is nothing to encrypt.
        connection.execute_batch("ATTACH DATABASE ':memory:' AS unsaved KEY ''")?;
        for sql in definitions(connection)? {
            connection.execute_batch(&sql)?;
        }
        Ok(())
    }
}

fn definitions(connection: &Connection) -> Result<Vec<String>, HistoryError> {
    let mut statement = connection.prepare(
        "SELECT name, tbl_name, sql FROM main.sqlite_master WHERE sql IS NOT NULL
         ORDER BY type = 'trigger', type = 'index'",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
        ))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (name, table, sql) = row?;
        let own = TABLES.contains(&table.as_str());
        if own {
            let bare = sql.replace(&format!("\"{name}\""), &name);
            let moved = bare.replacen(&name, &format!("{NAME_IN_MEMORY}.{name}"), 1);
            found.push(moved.replace(REFERENCE, ""));
        }
    }
    Ok(found)
}
