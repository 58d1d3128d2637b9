//! The store: what survives a restart, what is refused, what never reaches the disk in clear.

use proptest::prelude::*;
use sotto_crypto::Body;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::*;
use crate::engine::api::{Direction, Keep};

pub(crate) fn store(directory: &tempfile::TempDir) -> (History, std::path::PathBuf, DatabaseKey) {
    let path = directory.path().join("profile.db");
    let key = DatabaseKey::generate().unwrap();
    (History::create(&path, &key).unwrap(), path, key)
}

pub(crate) fn bob() -> Username {
    Username::parse("bob").unwrap()
}

fn text_of(body: &Body) -> Option<String> {
    match body {
        Body::Text(text) => Some(text.text.clone()),
        _ => None,
    }
}

pub(crate) fn with_conversation(history: &History) -> ConversationId {
    history
        .put_peer(&PeerRow {
            name: bob(),
            identity: Some([1; 32]),
            changed_identity: None,
            verified_at_ms: None,
            relation: Relation::Contact,
        })
        .unwrap();
    let id = ConversationId::from_bytes([2; 16]);
    history
        .put_conversation(&ConversationRow {
            id,
            talk: bob().into(),
            title: None,
            generation: 0,
            state: ConversationState::Active,
            keep: Keep::Saved,
            baseline: Baseline::FromStart,
            cursor: 0,
            last_commit: Vec::new(),
            own_counter: 0,
            own_since_update: 0,
            update_due_ms: 0,
            updated_at_ms: 0,
        })
        .unwrap();
    id
}

pub(crate) fn message(conversation: ConversationId, seq: u64, text: &str) -> MessageRow {
    let mut client_id = [0; 16];
    client_id[..8].copy_from_slice(&seq.to_be_bytes());
    MessageRow {
        conversation,
        seq,
        client_id: ClientMessageId::from_bytes(client_id),
        sender: bob(),
        device: DeviceId::from_bytes([3; 16]),
        epoch: 1,
        direction: Direction::Incoming,
        sent_at_ms: 1,
        stored_at_ms: 2,
        body: Body::text(text),
        fate: Fate::There,
        edited_seq: 0,
        mentions_me: false,
        expires_at_ms: None,
    }
}

#[test]
fn the_journal_is_never_a_write_ahead_log_and_deleted_rows_are_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let pragma = |name: &str| -> String {
        history
            .connection()
            .query_row(&format!("PRAGMA {name}"), [], |row| {
                row.get::<_, rusqlite::types::Value>(0)
            })
            .map(|value| format!("{value:?}"))
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "Text(\"truncate\")");
    assert_eq!(pragma("secure_delete"), "Integer(1)");
    assert_eq!(pragma("synchronous"), "Integer(1)");
    assert_eq!(pragma("foreign_keys"), "Integer(1)");
    assert!(pragma("cipher_version").contains("Text"));
}

#[test]
fn texts_are_not_readable_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let (history, path, _) = store(&directory);
    let id = with_conversation(&history);
    history
        .insert_message(Keep::Saved, &message(id, 1, "canary-9b1d77c2e5"))
        .unwrap();
    let bytes = std::fs::read(path).unwrap();
    assert!(
        !bytes
            .windows(17)
            .any(|window| window == b"canary-9b1d77c2e5")
    );
}

#[test]
fn another_key_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (history, path, key) = store(&directory);
    drop(history);
    let other = DatabaseKey::generate().unwrap();
    assert!(matches!(
        History::open(&path, &other),
        Err(HistoryError::Corrupted)
    ));
    History::open(&path, &key).unwrap();
}

#[test]
fn what_was_not_committed_is_gone_and_what_was_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (history, path, key) = store(&directory);
    let id = with_conversation(&history);
    history.begin().unwrap();
    history
        .insert_message(Keep::Saved, &message(id, 1, "kept"))
        .unwrap();
    history.mark().unwrap();
    history
        .insert_message(Keep::Saved, &message(id, 2, "undone"))
        .unwrap();
    history.undo_mark().unwrap();
    history.commit().unwrap();
    history.begin().unwrap();
    history
        .insert_message(Keep::Saved, &message(id, 3, "lost"))
        .unwrap();
    drop(history);
    let history = History::open(&path, &key).unwrap();
    let texts: Vec<_> = history
        .last_messages(Keep::Saved, &id, 10)
        .unwrap()
        .into_iter()
        .filter_map(|row| text_of(&row.body))
        .collect();
    assert_eq!(texts, ["kept"]);
}

/// A profile of the first version opens, with everything in it.
#[test]
fn a_store_of_the_first_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.db");
    let key = DatabaseKey::generate().unwrap();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let old = History::with_flags(&path, &key, flags).unwrap();
    let conversation = ConversationId::from_bytes([2; 16]);
    old.connection
        .execute_batch(&format!(
            "{} PRAGMA user_version = 1;
             INSERT INTO peer (name, relation) VALUES ('bob', 1);
             INSERT INTO conversation VALUES
                 (x'02020202020202020202020202020202', 'bob', 3, 1, 0, 0, 9, x'00', 7, 1, 5, 6);
             INSERT INTO outbox (client_id, peer, kind, body, created_at_ms)
                 VALUES (x'05050505050505050505050505050505', 'bob', 0, x'6869', 4);
             INSERT INTO sender_counter VALUES (x'02020202020202020202020202020202', x'03', 8);",
            MIGRATIONS[0]
        ))
        .unwrap();
    old.connection
        .execute(
            "INSERT INTO message (conversation, seq, client_id, sender, device, epoch, direction,
                 sent_at_ms, stored_at_ms, content, text, shown)
             VALUES (?1, 1, zeroblob(16), 'bob', zeroblob(16), 1, 0, 1, 2, x'', 'kept', 0)",
            [conversation.as_bytes()],
        )
        .unwrap();
    drop(old);
    for _ in 0..2 {
        let history = History::open(&path, &key).unwrap();
        let row = history.conversation_with(&bob().into()).unwrap().unwrap();
        assert_eq!((row.id, row.generation), (conversation, 3));
        assert_eq!((row.cursor, row.own_counter, row.title), (9, 7, None));
        assert_eq!(history.queued_for(&bob().into()).unwrap()[0].body, b"hi");
        let counter = history.sender_counter(&conversation, &DeviceId::from_bytes([3; 16]));
        assert_eq!(counter.unwrap(), None);
        assert_eq!(
            history
                .last_messages(Keep::Saved, &conversation, 9)
                .unwrap()
                .len(),
            1
        );
        let counters: u64 = history
            .connection()
            .query_row("SELECT count(*) FROM sender_counter", [], |row| row.get(0))
            .unwrap();
        assert_eq!(
            counters, 1,
            "the rebuild of a table took what refers to it along"
        );
    }
}

#[test]
fn a_full_disk_is_an_error_of_its_own_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    history
        .insert_message(Keep::Saved, &message(id, 1, "kept"))
        .unwrap();
    let pages: i64 = history
        .connection()
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    history
        .connection()
        .execute_batch(&format!("PRAGMA max_page_count = {pages}"))
        .unwrap();
    let text = "x".repeat(60_000);
    assert!(matches!(
        history.insert_message(Keep::Saved, &message(id, 2, &text)),
        Err(HistoryError::DiskFull)
    ));
    assert_eq!(
        history.last_messages(Keep::Saved, &id, 10).unwrap().len(),
        1
    );
}

#[test]
fn the_outbox_keeps_its_order_and_takes_an_id_once() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    with_conversation(&history);
    for n in [3_u8, 1, 2, 1] {
        history
            .push_outbox(&OutboxRow {
                client_id: ClientMessageId::from_bytes([n; 16]),
                talk: bob().into(),
                kind: OutboxKind::Body,
                body: vec![n],
                created_at_ms: 0,
                counter: None,
                sealed: None,
                refused: None,
            })
            .unwrap();
    }
    let order: Vec<_> = history
        .queued_for(&bob().into())
        .unwrap()
        .into_iter()
        .map(|row| row.body)
        .collect();
    assert_eq!(order, [[3], [1], [2]]);
    assert_eq!(history.outbox_len().unwrap(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_comes_back_as_it_was(texts in proptest::collection::vec(any::<String>(), 1..8)) {
        let directory = tempfile::tempdir().unwrap();
        let (history, _, _) = store(&directory);
        let id = with_conversation(&history);
        for (place, text) in texts.iter().enumerate() {
            history.insert_message(Keep::Saved, &message(id, place as u64 + 1, text)).unwrap();
        }
        let back: Vec<_> = history
            .last_messages(Keep::Saved, &id, 100)
            .unwrap()
            .into_iter()
            .filter_map(|row| text_of(&row.body))
            .collect();
        prop_assert_eq!(back, texts);
    }
}
