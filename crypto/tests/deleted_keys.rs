//! Deleted keys are gone from the database file, given the pragmas that the
//! client sets: nothing that was in a row and is in none any more remains in
//! any byte of the file or its journal.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use std::collections::HashSet;
use std::path::Path;

use common::{Account, Device, id, now_ms, pair_of};
use rusqlite::Connection;
use sotto_crypto::Suite;

const WINDOW_BYTES: usize = 24;

/// Stretches of key-like bytes: CBOR writes most bytes of a byte list after a
/// 0x18, so names of fields, which are alike in many values, do not count.
fn windows(bytes: &[u8]) -> impl Iterator<Item = [u8; WINDOW_BYTES]> {
    bytes
        .windows(WINDOW_BYTES)
        .filter(|window| window.iter().filter(|byte| **byte == 0x18).count() >= 9)
        .filter_map(|window| window.try_into().ok())
}

/// Every stretch of bytes in any row; values of a row lie side by side, as in the file.
fn rows(connection: &Connection) -> HashSet<[u8; WINDOW_BYTES]> {
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
        .unwrap();
    let names: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut found = HashSet::new();
    for table in names {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM \"{table}\""))
            .unwrap();
        let columns = statement.column_count();
        let mut cursor = statement.query([]).unwrap();
        while let Some(row) = cursor.next().unwrap() {
            let mut record = Vec::new();
            for column in 0..columns {
                if let Ok(bytes) = row.get_ref(column).unwrap().as_bytes() {
                    record.extend_from_slice(bytes);
                }
            }
            found.extend(windows(&record));
        }
    }
    found
}

/// How many stretches of deleted values a life of joins, messages and updates leaves in the files.
fn leftovers(directory: &Path, pragmas: &str) -> usize {
    let path = directory.join("keys.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(pragmas).unwrap();
    let (alice_account, bob_account) = (Account::new("alice"), Account::new("bob"));
    let bob = Device::over(&bob_account, 1, connection);
    let alice = alice_account.device(1);
    let mut ever = HashSet::new();
    let package_rows = {
        let _ = bob.package();
        rows(&bob.connection)
    };
    ever.extend(package_rows);
    let mut it = pair_of(Suite::Classical, alice_account, bob_account, alice, bob);
    for number in 0..20 {
        ever.extend(rows(&it.bob.connection));
        let sealed = it.alice.say(&mut it.at_alice, number, "one of twenty");
        it.bob.hear(&mut it.at_bob, number, &sealed);
    }
    ever.extend(rows(&it.bob.connection));
    let commit = it
        .at_bob
        .stage_self_update(&it.bob.store(), &it.bob.me, &id(9), now_ms())
        .unwrap();
    ever.extend(rows(&it.bob.connection));
    it.bob.merge(&mut it.at_bob, &commit);
    let now = rows(&it.bob.connection);
    let mut files = HashSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        files.extend(windows(&std::fs::read(entry.unwrap().path()).unwrap()));
    }
    ever.iter()
        .filter(|window| !now.contains(*window) && files.contains(*window))
        .count()
}

#[test]
fn deleted_keys_are_gone_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let pragmas = "PRAGMA page_size = 2048; PRAGMA locking_mode = EXCLUSIVE;
        PRAGMA journal_mode = TRUNCATE; PRAGMA secure_delete = ON;";
    assert_eq!(leftovers(directory.path(), pragmas), 0);
}

#[test]
fn the_search_would_find_them() {
    let directory = tempfile::tempdir().unwrap();
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON;";
    assert!(leftovers(directory.path(), pragmas) > 1000);
}
