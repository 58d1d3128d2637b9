//! What is told, and how long it stays.

use super::*;
use crate::engine::api::{Chat, Event};
use crate::exit::{Exit, Failure};
use crate::tui::ask::{Chats, Link, News};
use crate::tui::demo::safety_digits;
use crate::tui::keys::Mode;
use crate::tui::sim::Sim;

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (50, 12), (40, 8)];

fn comparing(size: (u16, u16)) -> Sim {
    let mut sim = Sim::new(size);
    sim.press("ctrl-k");
    sim.types("bob");
    sim.press("enter");
    sim.press("alt-v");
    assert!(matches!(sim.model.overlay, Some(Overlay::Safety(_))));
    sim
}

fn security(kind: SecurityKind, who: &str) -> News {
    News::Event(Box::new(Event::Security(SecurityEvent {
        kind,
        conversation: None,
        subject: Username::parse(who).ok(),
        action: "look at it".to_owned(),
        count: 0,
    })))
}

#[test]
fn wrong_digits_stand_over_everything_until_they_are_seen() {
    for size in SIZES {
        let mut sim = comparing(size);
        sim.types("12345 67890");
        sim.press("enter");
        // Not all digits are no sign of anybody.
        assert!(matches!(sim.model.overlay, Some(Overlay::Safety(_))));
        sim.model.form().unwrap().clear();
        sim.types(&"12345".repeat(12));
        sim.press("enter");
        sim.wait(60_000);
        let words = sim.words();
        assert!(words.contains("These are NOT the digits"), "{words}");
        assert_eq!(sim.model.mode(), Mode::Ask, "no letter answers it");
        for key in ["y", "n", "a", "enter"] {
            sim.press(key);
            assert!(sim.words().contains("These are NOT"), "{key}");
        }
        sim.press("esc");
        assert!(!sim.words().contains("These are NOT"));
        // The digits can be typed again, from the beginning.
        let Some(Overlay::Safety(safety)) = &sim.model.overlay else {
            panic!("the number is gone");
        };
        assert!(safety.form.fields[0].text.is_empty());
        assert!(safety.number.is_some());
    }
}

#[test]
fn right_digits_close_the_dialog_and_are_confirmed() {
    for size in SIZES {
        let mut sim = comparing(size);
        sim.hear(security(SecurityKind::KeyChanged, "bob"));
        assert_eq!(sim.model.alarms.len(), 1);
        sim.types(&safety_digits());
        sim.press("enter");
        let words = sim.words();
        assert!(words.contains("The digits are the same"), "{words}");
        assert!(!words.contains("The digits on bob's screen"));
        assert!(sim.model.alarms.is_empty(), "it is answered");
        sim.press("enter");
        assert!(sim.model.overlay.is_none());
        if size.0 >= 80 {
            assert!(sim.words().contains("· verified"), "{}", sim.words());
        }
    }
}

#[test]
fn a_refused_comparison_by_command_is_no_passing_remark() {
    let mut sim = Sim::new((80, 24));
    sim.hear(News::Ran {
        label: "verify".to_owned(),
        said: vec!["these are not the digits".to_owned()],
        exit: Exit::Refused,
    });
    sim.wait(60_000);
    assert!(sim.words().contains("these are not the digits"));
}

#[test]
fn an_answered_identity_takes_its_warning_along_and_no_other() {
    let mut sim = Sim::new((80, 24));
    sim.hear(security(SecurityKind::KeyChanged, "bob"));
    sim.hear(security(SecurityKind::KeyChanged, "carol"));
    sim.hear(security(SecurityKind::Fork, "bob"));
    assert_eq!(sim.model.alarms.len(), 3);
    sim.hear(News::Answered(Username::parse("bob").unwrap()));
    let left: Vec<&str> = sim
        .model
        .alarms
        .iter()
        .map(|alarm| alarm.words.as_str())
        .collect();
    assert!(left[0].starts_with("carol: another identity"), "{left:?}");
    assert!(left[1].starts_with("bob: not everybody"), "{left:?}");
}

#[test]
fn another_device_of_the_own_account_is_a_warning() {
    let mut sim = Sim::new((80, 24));
    sim.hear(security(SecurityKind::DeviceAdded, "you"));
    sim.wait(60_000);
    assert!(sim.words().contains("you: a new device"));
}

#[test]
fn a_remark_hides_neither_the_connection_nor_the_queue() {
    for size in [(120, 40), (80, 24), (50, 12), (20, 5)] {
        let mut sim = Sim::new(size);
        let long = "this is a long sentence about something that did not work ".repeat(3);
        sim.hear(News::Failed(Failure::named("x", long.trim())));
        let mut chats = Chats {
            queued: 3,
            ..Chats::default()
        };
        let known: Vec<Chat> = sim.model.list.chats().to_vec();
        chats.chats = known;
        sim.model.handle_news(News::Chats(Box::new(chats)), sim.now);
        sim.model
            .handle_news(News::Link(Link::Offline("no server".to_owned())), sim.now);
        let rows = sim.rows();
        let status = rows.last().unwrap();
        assert!(status.contains('○'), "{status}");
        assert!(status.contains('3'), "{status}");
        assert!(rows.concat().contains("this is a long"), "{rows:?}");
        if size.0 >= 80 {
            assert!(status.contains("offline"), "{status}");
            assert!(rows.concat().contains("3 queued"), "{rows:?}");
            assert_eq!(rows.concat().matches("did not work").count(), 3);
        }
        sim.wait(9_000);
        assert!(!sim.words().contains("this is a long"));
    }
}

#[test]
fn lines_of_a_conversation_that_is_not_open_are_there_when_it_is() {
    let mut sim = Sim::new((80, 24));
    let bob = Talk::parse("bob").unwrap();
    sim.model.system(&bob, Tone::Dim, "something happened here");
    assert!(!sim.words().contains("something happened here"));
    for _ in 0..2 {
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
        let words = sim.words();
        let line = words.find("something happened here").unwrap();
        assert!(line > words.find("links are shown whole").unwrap());
        sim.press("ctrl-n");
    }
    for number in 0..100 {
        sim.model.system(&bob, Tone::Dim, &format!("line {number}"));
    }
    assert_eq!(sim.model.lines[&bob].len(), LINES_MAX);
}

fn me() -> Username {
    Username::parse("you").unwrap()
}

#[test]
fn what_happens_in_a_group_stands_among_its_messages() {
    use crate::engine::api::{Change, ChangeKind, Direction};
    use sotto_protocol::{ClientMessageId, DeviceId};
    let mut sim = Sim::new((100, 40));
    let garden = sim.model.pane.as_ref().unwrap().talk.clone();
    let conversation = *garden.group().unwrap();
    let timer = |seconds| {
        News::Event(Box::new(Event::Changed(Change {
            conversation,
            talk: garden.clone(),
            title: None,
            id: ClientMessageId::from_bytes([1; 16]),
            seq: 9,
            sender: me(),
            device: DeviceId::from_bytes([0; 16]),
            direction: Direction::Outgoing,
            target: None,
            kind: ChangeKind::Timer(seconds),
            sent_at_ms: 1,
            stored_at_ms: 1,
        })))
    };
    sim.hear(timer(86_400));
    assert!(sim.words().contains("you: messages from here on disappear"));
    assert!(sim.words().contains("1 day"));
    // Nothing of it is cut.
    sim.resize((50, 24));
    assert!(
        sim.words()
            .replace(['\n', ' '], "")
            .contains("theywereread")
    );
    sim.resize((100, 40));
    sim.hear(timer(0));
    assert!(sim.words().contains("messages stay from here on"));
    let joined = |who: &str| {
        News::Event(Box::new(Event::Membership(
            crate::engine::api::Membership {
                conversation,
                talk: garden.clone(),
                title: None,
                change: crate::engine::api::MembershipChange::Joined,
                subject: Username::parse(who).unwrap(),
                by: me(),
                epoch: 2,
            },
        )))
    };
    sim.hear(joined("frank"));
    assert!(
        sim.words().contains("frank was invited (by you)"),
        "{}",
        sim.words()
    );
    // By oneself, here or on another device: the list says so.
    let mut chats = Chats {
        chats: sim.model.list.chats().to_vec(),
        ..Chats::default()
    };
    for chat in chats.chats.iter_mut().filter(|chat| chat.talk == garden) {
        chat.title = Some("orchard".to_owned());
    }
    sim.model.handle_news(News::Chats(Box::new(chats)), sim.now);
    sim.model.prepare((60, 20));
    assert!(
        sim.words().contains("this group is called orchard now"),
        "{}",
        sim.words()
    );
}

#[test]
fn a_group_that_was_made_or_entered_is_shown() {
    let made = || {
        let conversation = ConversationId::from_bytes([8; 16]);
        News::Event(Box::new(Event::GroupMade {
            command: crate::engine::api::CommandId(7),
            conversation,
            title: "new".to_owned(),
        }))
    };
    let talk = Talk::Group(ConversationId::from_bytes([8; 16]));
    let mut sim = Sim::new((80, 24));
    assert!(!sim.model.is_open(&talk));
    sim.hear(made());
    assert!(sim.model.is_open(&talk));
    let mut sim = Sim::new((80, 24));
    sim.hear(News::Entered(talk.clone()));
    assert!(sim.model.is_open(&talk));
    // Nobody who writes is taken away from it.
    let mut sim = Sim::new((80, 24));
    sim.types("half a sent");
    sim.hear(made());
    assert!(!sim.model.is_open(&talk));
    assert!(sim.words().contains("leads there"));
    assert_eq!(sim.model.composer.text(), "half a sent");
}

#[test]
fn who_waits_for_an_admins_word_is_told_until_it_is_seen() {
    use crate::engine::api::{JoinRequest, Past};
    let mut sim = Sim::new((120, 40));
    let conversation = ConversationId::from_bytes([9; 16]);
    sim.hear(News::Event(Box::new(Event::JoinRequested(JoinRequest {
        conversation,
        talk: Talk::Group(conversation),
        title: Some("garden".to_owned()),
        name: Username::parse("frank").unwrap(),
        received_at_ms: 1,
        past: Past::PutOut,
    }))));
    sim.wait(60_000);
    let words = sim.words();
    assert!(
        words.contains("frank, whom an admin put out before,"),
        "{words}"
    );
    assert!(words.contains("#09090909 frank"), "{words}");
    sim.press("esc");
    assert!(!sim.words().contains("frank"));
}

#[test]
fn what_cannot_be_sent_after_all_is_given_back_and_said_until_it_was_seen() {
    let mut sim = Sim::new((80, 24));
    sim.press("ctrl-k");
    sim.types("bob");
    sim.press("enter");
    sim.types("hello nobody");
    // Nobody answers what is asked of the worker.
    let enter = ratatui::crossterm::event::KeyCode::Enter;
    sim.model.handle_key(enter.into(), sim.now);
    let mut asks = std::iter::from_fn(|| sim.model.poll_ask());
    let written = asks.find_map(|ask| match ask {
        crate::tui::ask::Ask::Write { to, client_id, .. } => Some((to, client_id)),
        _ => None,
    });
    let (to, id) = written.expect("something was sent");
    assert_eq!(sim.model.composer.text(), "");
    sim.hear(News::Event(Box::new(Event::SendFailed {
        id,
        to,
        title: None,
        failure: crate::engine::api::Failure {
            code: "unknown_user",
            message: "There is no such account; check the name.".to_owned(),
            retry_after_ms: None,
        },
    })));
    assert!(sim.words().contains("There is no such account"));
    sim.press("esc");
    assert_eq!(sim.model.composer.text(), "hello nobody");
    assert!(!sim.words().contains("queued"), "{}", sim.words());
}
