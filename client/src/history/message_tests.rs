//! What lies of messages in the store: search in every script, nothing left
//! of what is taken back, and the same on both shelves.

use proptest::prelude::*;
use rusqlite::Connection;
use sotto_crypto::Body;
use sotto_crypto::content::{Edit, Emoji, MessageRef, Reply, Text};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::tests::{bob, message, store, with_conversation};
use super::*;
use crate::engine::api::{Direction, Keep, Mute};
use crate::talk::Talk;

const CANARY: &str = "canary9b1d77c2e5a0";

fn texts(found: &[(Keep, MessageRow)]) -> Vec<String> {
    found
        .iter()
        .filter_map(|(_, row)| match &row.body {
            Body::Text(text) => Some(text.text.clone()),
            _ => None,
        })
        .collect()
}

fn found(history: &History, query: &str) -> Vec<String> {
    texts(&history.search(&Query::read(query), 100).unwrap())
}

/// A store of its own that is not encrypted, with the client's pragmas, so
/// that its file can be looked through.
fn readable(path: &std::path::Path) -> History {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = TRUNCATE; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
        )
        .unwrap();
    let history = History { connection };
    history.migrate(0).unwrap();
    history.with_key_store().unwrap()
}

fn file_has(directory: &tempfile::TempDir, needle: &str) -> bool {
    std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .any(|bytes| {
            bytes
                .windows(needle.len())
                .any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
        })
}

#[test]
fn words_are_found_by_their_beginnings_in_every_script() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    let written = [
        "The quick brown fox",
        "Größe und Ärger",
        "привет мир",
        "日本語の文章",
        "สวัสดีครับ",
        "שלום עולם",
        "tea 🍵 at five",
        "rate: 100% (sure?)",
        "say \"hello\" to O'Brien",
    ];
    for (place, text) in written.iter().enumerate() {
        let row = message(id, place as u64 + 1, text);
        history.insert_message(Keep::Saved, &row).unwrap();
    }
    for (query, place) in [
        ("qui", 0),
        ("QUICK fox", 0),
        ("\"quick brown\"", 0),
        ("grosse ARGER", 99),
        ("größe", 1),
        ("arger", 1),
        ("Прив", 2),
        ("本語", 3),
        ("文", 3),
        ("สวัส", 4),
        ("עולם", 5),
        ("🍵", 6),
        ("100", 7),
        ("100%", 7),
        ("(sure", 7),
        ("%", 7),
        ("o'brien", 8),
        ("\"hello", 8),
    ] {
        let expected: Vec<&str> = written.get(place).into_iter().copied().collect();
        assert_eq!(found(&history, query), expected, "{query}");
    }
    for nothing in [
        "uick",
        "\"brown quick\"",
        "fox -quick zzz",
        "",
        "   ",
        "\"\"",
        "???",
    ] {
        assert!(found(&history, nothing).is_empty(), "{nothing}");
    }
}

/// G14: what people type is no query language, of SQL or of the index.
#[test]
fn no_query_is_a_program() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    for (seq, text) in [(1, "apple pear"), (2, "only plum")] {
        history
            .insert_message(Keep::Saved, &message(id, seq, text))
            .unwrap();
    }
    for query in [
        "apple OR plum",
        "apple NOT pear",
        "NEAR(apple plum)",
        "words:apple plum",
        "^apple* + plum",
        "apple\" OR \"plum",
        "apple' OR '1'='1",
        "'; DROP TABLE message; --",
        "{words} : apple",
        "*",
        "\"*\"",
        "a\0pple OR plum",
    ] {
        let all = found(&history, query);
        assert!(all.len() < 2, "{query:?} found {all:?}");
    }
    assert_eq!(found(&history, "apple").len(), 1);
}

#[test]
fn nothing_is_left_of_what_was_taken_back_or_has_disappeared() {
    for fate in [Fate::Deleted, Fate::Expired] {
        let directory = tempfile::tempdir().unwrap();
        let history = readable(&directory.path().join("plain.db"));
        let id = with_conversation(&history);
        let mut first = message(id, 1, &format!("first {CANARY} words"));
        history.insert_message(Keep::Saved, &first).unwrap();
        for seq in 2..40 {
            let mut answer = message(id, seq, "an answer");
            answer.body = Body::Text(Text {
                text: "an answer".to_owned(),
                reply: Some(Reply {
                    to: first.reference(),
                    quote: format!("first {CANARY}"),
                }),
                ..Text::default()
            });
            history.insert_message(Keep::Saved, &answer).unwrap();
        }
        if let Body::Text(text) = &mut first.body {
            text.text = format!("second {CANARY}b words");
        }
        first.edited_seq = 50;
        history
            .replace_body(Keep::Saved, &first, Mentioned::No)
            .unwrap();
        assert_eq!(found(&history, CANARY).len(), 1);
        assert!(file_has(&directory, CANARY));
        history.empty_message(Keep::Saved, &first, fate).unwrap();
        assert!(found(&history, CANARY).is_empty());
        assert!(!file_has(&directory, CANARY), "{fate:?}");
        assert!(file_has(&directory, "an answer"));
    }
}

#[test]
fn a_deleted_conversation_leaves_no_words_in_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let history = readable(&directory.path().join("plain.db"));
    let id = with_conversation(&history);
    for seq in 1..20 {
        let row = message(id, seq, &format!("{CANARY} {seq}"));
        history.insert_message(Keep::Saved, &row).unwrap();
    }
    history.delete_conversation(&id).unwrap();
    assert!(found(&history, CANARY).is_empty());
    assert!(!file_has(&directory, CANARY));
}

#[test]
fn what_is_unsaved_never_touches_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let history = readable(&directory.path().join("plain.db"));
    let id = with_conversation(&history);
    let row = message(id, 1, CANARY);
    history.begin().unwrap();
    history.insert_message(Keep::Unsaved, &row).unwrap();
    let talk = Talk::from(bob());
    history
        .put_draft(Keep::Unsaved, &talk, (CANARY, 1))
        .unwrap();
    history.commit().unwrap();
    assert_eq!(found(&history, CANARY).len(), 1);
    assert_eq!(history.draft(&talk).unwrap().as_deref(), Some(CANARY));
    assert!(
        history
            .last_messages(Keep::Saved, &id, 9)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        history.last_messages(Keep::Unsaved, &id, 9).unwrap().len(),
        1
    );
    assert!(!file_has(&directory, CANARY));
}

#[test]
fn what_waits_in_an_unsaved_conversation_is_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain.db");
    let history = readable(&path);
    let id = with_conversation(&history);
    let mut row = history.conversation(&id).unwrap().unwrap();
    row.keep = Keep::Unsaved;
    history.put_conversation(&row).unwrap();
    let client_id = ClientMessageId::from_bytes([5; 16]);
    let talk = Talk::from(bob());
    history
        .push_outbox(&OutboxRow {
            client_id,
            talk: talk.clone(),
            kind: OutboxKind::Body,
            body: Body::text(CANARY).to_bytes().unwrap(),
            created_at_ms: 0,
            counter: None,
            sealed: None,
            refused: None,
        })
        .unwrap();
    let queued = history.queued_for(&talk).unwrap();
    assert_eq!(Body::from_bytes(&queued[0].body), Ok(Body::text(CANARY)));
    assert_eq!(
        history.first_for(&talk).unwrap().unwrap().body,
        queued[0].body
    );
    assert!(!file_has(&directory, CANARY));
    drop(history);
    let connection = Connection::open(&path).unwrap();
    let history = History { connection }.with_key_store().unwrap();
    assert!(history.queued_for(&talk).unwrap().is_empty());
}

#[test]
fn a_timer_runs_from_reading() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    let mut row = message(id, 1, "soon gone");
    if let Body::Text(text) = &mut row.body {
        text.expires_after_s = 10;
    }
    history.insert_message(Keep::Saved, &row).unwrap();
    assert_eq!(history.next_expiry().unwrap(), None);
    history.mark_shown(&id, 1, 5_000).unwrap();
    history.mark_shown(&id, 1, 9_000).unwrap();
    assert_eq!(history.next_expiry().unwrap(), Some(15_000));
    assert!(history.expired(14_999, 9).unwrap().is_empty());
    assert_eq!(history.expired(15_000, 9).unwrap().len(), 1);
    let mut own = message(id, 2, "own");
    own.direction = Direction::Outgoing;
    own.stored_at_ms = 1_000;
    if let Body::Text(text) = &mut own.body {
        text.expires_after_s = 2;
    }
    history.insert_message(Keep::Saved, &own).unwrap();
    assert_eq!(history.next_expiry().unwrap(), Some(3_000));
}

#[test]
fn unread_messages_and_mentions_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    for seq in 1..=3 {
        let mut row = message(id, seq, "x");
        row.mentions_me = seq == 2;
        history.insert_message(Keep::Saved, &row).unwrap();
    }
    let unread = history.unread(Keep::Saved, &id).unwrap();
    assert_eq!((unread.messages, unread.mentions), (3, 1));
    history.mark_shown(&id, 2, 0).unwrap();
    let unread = history.unread(Keep::Saved, &id).unwrap();
    assert_eq!((unread.messages, unread.mentions), (2, 0));
}

#[test]
fn a_talk_is_silent_for_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let talk = Talk::from(bob());
    for (mute, now_ms, seen) in [
        (Some(Mute::Until(100)), 99, Some(Mute::Until(100))),
        (Some(Mute::Until(100)), 100, None),
        (Some(Mute::Until(u64::MAX)), 9, Some(Mute::Until(u64::MAX))),
        (Some(Mute::MentionsOnly), 9, Some(Mute::MentionsOnly)),
        (None, 9, None),
    ] {
        history.put_mute(&talk, mute).unwrap();
        assert_eq!(history.mute(&talk, now_ms).unwrap(), seen);
    }
}

#[test]
fn texts_of_an_older_store_are_found_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.db");
    let key = DatabaseKey::generate().unwrap();
    let old = History::with_flags(
        &path,
        &key,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    )
    .unwrap();
    old.connection
        .execute_batch(&format!(
            "{} {} PRAGMA user_version = 2;",
            MIGRATIONS[0], MIGRATIONS[1]
        ))
        .unwrap();
    let id = with_conversation(&old);
    old.connection
        .execute(
            "INSERT INTO message (conversation, seq, client_id, sender, device, epoch, direction,
                 sent_at_ms, stored_at_ms, content, text, shown)
             VALUES (?1, 1, zeroblob(16), 'bob', zeroblob(16), 1, 0, 1, 2, x'', 'old words', 0)",
            [id.as_bytes()],
        )
        .unwrap();
    drop(old);
    let history = History::open(&path, &key).unwrap();
    assert_eq!(found(&history, "old"), ["old words"]);
    let row = history.message_at(Keep::Saved, &id, 1).unwrap().unwrap();
    assert_eq!(row.body, Body::text("old words"));
    drop(history);
    assert_eq!(
        found(&History::open(&path, &key).unwrap(), "words").len(),
        1
    );
}

fn reference(seq: u64) -> MessageRef {
    message(ConversationId::from_bytes([2; 16]), seq, "").reference()
}

#[test]
fn the_latest_word_about_a_reaction_counts_whatever_the_order() {
    let emoji = Emoji::parse("👍").unwrap();
    for order in [[5, 6], [6, 5]] {
        let directory = tempfile::tempdir().unwrap();
        let (history, _, _) = store(&directory);
        let id = with_conversation(&history);
        for seq in order {
            let standing = if seq == 5 {
                Standing::On
            } else {
                Standing::Off
            };
            history
                .note_reaction(
                    Keep::Saved,
                    (&id, &reference(1)),
                    (&bob(), &emoji),
                    (seq, standing),
                )
                .unwrap();
        }
        let left = history.reactions(Keep::Saved, &id, &reference(1)).unwrap();
        assert!(left.is_empty(), "{order:?}");
    }
}

#[test]
fn what_waits_for_a_message_is_bounded_and_taken_once() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    for seq in 1..1_100 {
        history
            .keep_change(
                Keep::Saved,
                &ChangeRow {
                    conversation: id,
                    seq,
                    client_id: ClientMessageId::from_bytes([7; 16]),
                    sender: Username::parse("bob").unwrap(),
                    device: DeviceId::from_bytes([3; 16]),
                    direction: Direction::Incoming,
                    sent_at_ms: 0,
                    stored_at_ms: 0,
                    body: Body::Edit(Edit {
                        target: reference(9_999),
                        text: "later".to_owned(),
                        mentions: Vec::new(),
                    }),
                    by_admin: false,
                    waits: true,
                    shown: false,
                },
            )
            .unwrap();
    }
    let taken = history
        .take_waiting(Keep::Saved, &id, &reference(9_999))
        .unwrap();
    assert_eq!(taken.len(), 1_000);
    assert_eq!(taken.first().map(|row| row.seq), Some(100));
    let again = history.take_waiting(Keep::Saved, &id, &reference(9_999));
    assert!(again.unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_word_of_any_text_finds_it_and_no_query_fails(text in ".{0,60}", query in ".{0,40}") {
        let directory = tempfile::tempdir().unwrap();
        let (history, _, _) = store(&directory);
        let id = with_conversation(&history);
        history.insert_message(Keep::Saved, &message(id, 1, &text)).unwrap();
        history.search(&Query::read(&query), 10).unwrap();
        for word in text.split_whitespace().filter(|word| word.chars().all(char::is_alphanumeric)) {
            prop_assert_eq!(found(&history, word).len(), 1, "{}", word);
            let quoted = format!("\"{word}\"");
            prop_assert_eq!(found(&history, &quoted).len(), 1, "{}", quoted);
        }
    }
}

#[test]
fn pinned_messages_are_listed_the_newest_first() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    for seq in 1..=4 {
        let row = message(id, seq, &format!("message {seq}"));
        history.insert_message(Keep::Saved, &row).unwrap();
    }
    let pin = |seq: u64, at: u64, standing| {
        let target = message(id, seq, "").reference();
        history
            .note_pin(Keep::Saved, (&id, &target), &bob(), (at, standing))
            .unwrap();
    };
    let pinned = |limit| {
        let rows = history.pinned_messages(Keep::Saved, &id, limit).unwrap();
        rows.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert!(pinned(9).is_empty());
    pin(3, 5, Standing::On);
    pin(1, 6, Standing::On);
    pin(4, 7, Standing::On);
    // What is not here cannot be listed.
    pin(9, 8, Standing::On);
    assert_eq!(pinned(9), [4, 3, 1]);
    assert_eq!(pinned(2), [4, 3]);
    pin(4, 9, Standing::Off);
    assert_eq!(pinned(9), [3, 1]);
}
