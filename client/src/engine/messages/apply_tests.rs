//! Whatever the order in which messages and changes become known, and
//! whenever the program restarts between, the same is stored.

use proptest::prelude::*;
use sotto_crypto::Body;
use sotto_crypto::content::{Edit, Emoji, Pin, Reaction};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::apply::{Applied, Scene};
use crate::engine::api::{Direction, Keep};
use crate::history::tests::{message, store, with_conversation};
use crate::history::{ChangeRow, Fate, History, MessageRow};
use crate::talk::Talk;

const MESSAGES: u64 = 3;

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

/// Message `seq` is bob's where it is odd, carol's where it is even.
fn said(id: ConversationId, seq: u64) -> MessageRow {
    let mut row = message(id, seq, &format!("message {seq}"));
    if seq.is_multiple_of(2) {
        row.sender = name("carol");
    }
    row
}

#[derive(Debug, Clone)]
enum What {
    Edit,
    Delete,
    React(bool),
    Pin(bool),
    Timer,
}

#[derive(Debug, Clone)]
struct Deed {
    what: What,
    target: u64,
    by: &'static str,
    by_admin: bool,
}

fn deed() -> impl Strategy<Value = Deed> {
    let what = prop_oneof![
        4 => Just(What::Edit),
        1 => Just(What::Delete),
        2 => any::<bool>().prop_map(What::React),
        2 => any::<bool>().prop_map(What::Pin),
        1 => Just(What::Timer),
    ];
    (
        what,
        1..=MESSAGES,
        prop::sample::select(vec!["bob", "carol", "alice"]),
        any::<bool>(),
    )
        .prop_map(|(what, target, by, by_admin)| Deed {
            what,
            target,
            by,
            by_admin,
        })
}

fn change(id: ConversationId, seq: u64, deed: &Deed) -> ChangeRow {
    let target = said(id, deed.target).reference();
    let body = match deed.what {
        What::Edit => Body::Edit(Edit {
            target,
            text: format!("edit {seq}"),
            mentions: Vec::new(),
        }),
        What::Delete => Body::Delete(target),
        What::React(remove) => Body::Reaction(Reaction {
            target,
            emoji: Emoji::parse("👍").unwrap(),
            remove,
        }),
        What::Pin(remove) => Body::Pin(Pin { target, remove }),
        What::Timer => Body::Timer(u32::try_from(seq).unwrap()),
    };
    let mut client_id = [1; 16];
    client_id[..8].copy_from_slice(&seq.to_be_bytes());
    ChangeRow {
        conversation: id,
        seq,
        client_id: ClientMessageId::from_bytes(client_id),
        sender: name(deed.by),
        device: DeviceId::from_bytes([4; 16]),
        direction: Direction::Incoming,
        sent_at_ms: 0,
        stored_at_ms: 0,
        body,
        by_admin: deed.by_admin,
        waits: false,
        shown: true,
    }
}

/// Something of the log.
#[derive(Debug, Clone)]
enum Entry {
    Message(u64),
    Change(u64, Deed),
}

fn take(history: &History, talk: &Talk, id: ConversationId, entry: &Entry) {
    let me = name("alice");
    let scene = Scene {
        history,
        keep: Keep::Saved,
        talk,
        me: &me,
    };
    match entry {
        Entry::Message(seq) => {
            let row = said(id, *seq);
            history.insert_message(Keep::Saved, &row).unwrap();
            scene.arrived(&row).unwrap();
        }
        Entry::Change(seq, deed) => {
            scene.apply(&change(id, *seq, deed)).unwrap();
        }
    }
}

/// Everything that anybody sees of a conversation.
fn seen(history: &History, id: ConversationId) -> Vec<String> {
    let rows = history.last_messages(Keep::Saved, &id, 100).unwrap();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = match &row.body {
                Body::Text(text) => text.text.clone(),
                _ => "-".to_owned(),
            };
            let reactions = history
                .reactions(Keep::Saved, &id, &row.reference())
                .unwrap();
            let by: Vec<_> = reactions.iter().map(|one| one.account.as_str()).collect();
            let pinned = history
                .is_pinned(Keep::Saved, &id, &row.reference())
                .unwrap();
            let gone = row.fate != Fate::There;
            format!(
                "{} {text} {gone} {} {by:?} {pinned}",
                row.seq, row.edited_seq
            )
        })
        .collect();
    lines.push(history.timer(Keep::Saved, &id).unwrap().to_string());
    lines
}

fn log_of(deeds: &[Deed]) -> Vec<Entry> {
    let messages = (1..=MESSAGES).map(Entry::Message);
    let changes = (MESSAGES + 1..).zip(deeds);
    messages
        .chain(changes.map(|(seq, deed)| Entry::Change(seq, deed.clone())))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_log_decides_and_not_the_order_of_arrival(
        (deeds, shuffled) in prop::collection::vec(deed(), 1..10).prop_flat_map(|deeds| {
            let log = log_of(&deeds);
            (Just(deeds), Just(log).prop_shuffle())
        }),
        restart_every in 1..5_usize,
        group: bool,
    ) {
        let id = ConversationId::from_bytes([2; 16]);
        let talk = match group {
            true => Talk::Group(id),
            false => Talk::Person(name("bob")),
        };
        let directory = tempfile::tempdir().unwrap();
        let (straight, _, _) = store(&directory);
        with_conversation(&straight);
        for entry in log_of(&deeds) {
            take(&straight, &talk, id, &entry);
        }
        let other = tempfile::tempdir().unwrap();
        let (mut crooked, path, key) = store(&other);
        with_conversation(&crooked);
        for (place, entry) in shuffled.iter().enumerate() {
            if place % restart_every == 0 {
                drop(crooked);
                crooked = History::open(&path, &key).unwrap();
            }
            take(&crooked, &talk, id, entry);
        }
        prop_assert_eq!(seen(&straight, id), seen(&crooked, id));
    }
}

#[test]
fn who_may_do_what() {
    let directory = tempfile::tempdir().unwrap();
    let (history, _, _) = store(&directory);
    let id = with_conversation(&history);
    let me = name("alice");
    let pair = Talk::Person(name("bob"));
    let group = Talk::Group(id);
    history.insert_message(Keep::Saved, &said(id, 1)).unwrap();
    let cases = [
        (&pair, What::Edit, "alice", false, false),
        (&group, What::Edit, "carol", true, false),
        (&pair, What::Delete, "alice", true, false),
        (&group, What::Delete, "carol", false, false),
        (&pair, What::Pin(false), "alice", false, true),
        (&group, What::Pin(false), "carol", false, false),
        (&group, What::Pin(false), "carol", true, true),
        (&pair, What::Timer, "alice", false, true),
        (&group, What::Timer, "carol", false, false),
        (&group, What::React(false), "carol", false, true),
        (&group, What::Edit, "bob", false, true),
        (&group, What::Delete, "carol", true, true),
    ];
    for (place, (talk, what, by, by_admin, allowed)) in cases.into_iter().enumerate() {
        let scene = Scene {
            history: &history,
            keep: Keep::Saved,
            talk,
            me: &me,
        };
        let deed = Deed {
            what: what.clone(),
            target: 1,
            by,
            by_admin,
        };
        let seq = 10 + u64::try_from(place).unwrap();
        let outcome = scene.apply(&change(id, seq, &deed)).unwrap();
        let refused = matches!(outcome, Applied::Refused(_));
        assert_eq!(refused, !allowed, "{what:?} by {by} in {talk}");
    }
}
