//! The model as a reducer: keys and words in, asks and rows out.

use super::*;
use crate::engine::api::{Failure as Refusal, SecurityEvent, SecurityKind};
use crate::exit::Failure;
use crate::tui::ask::{News, Stage};
use crate::tui::sim::Sim;

const SIZE: (u16, u16) = (80, 24);

fn in_bob() -> Sim {
    let mut sim = Sim::new(SIZE);
    sim.press("ctrl-k");
    sim.types("bob");
    sim.press("enter");
    sim
}

#[test]
fn the_latest_conversation_is_open_at_the_start() {
    let mut sim = Sim::new(SIZE);
    let words = sim.words();
    assert!(words.contains("garden"), "{words}");
    assert!(words.contains("who waters on Sunday?"), "{words}");
    assert_eq!(sim.model.mode(), Mode::Compose);
}

#[test]
fn a_text_is_sent_and_answered() {
    let mut sim = in_bob();
    sim.types("hello there");
    assert!(sim.asked.contains(&"typing"));
    sim.press("enter");
    assert!(sim.asked.contains(&"write"));
    let words = sim.words();
    assert!(words.contains("hello there"), "{words}");
    assert!(words.contains("you wrote 11 characters"), "{words}");
    assert!(sim.model.composer.is_empty());
}

#[test]
fn what_begins_as_a_command_is_never_sent() {
    let mut sim = in_bob();
    for line in ["/nonsense", "/", "/send carol \"x"] {
        sim.types(line);
        sim.press("enter");
        sim.press("esc");
        sim.press("alt-k");
        sim.model.composer.set("");
        sim.model.focus = Focus::Composer;
        sim.model.overlay = None;
    }
    assert!(!sim.asked.contains(&"write"), "{:?}", sim.asked);
    sim.types("/nonsense it is");
    sim.press("enter");
    assert!(!sim.asked.contains(&"run"), "{:?}", sim.asked);
    assert!(
        sim.words().contains("/nonsense is no command"),
        "{}",
        sim.words()
    );
    sim.types("//etc/hosts");
    sim.press("enter");
    assert!(sim.words().contains("/etc/hosts"));
}

#[test]
fn a_paste_is_not_sent() {
    let mut sim = in_bob();
    sim.model.handle_paste("first\nsecond\r\n/quit\n", sim.now);
    sim.settle();
    assert!(!sim.asked.contains(&"write"));
    assert_eq!(sim.model.composer.text(), "first\nsecond\n/quit\n");
}

#[test]
fn a_changed_identity_blocks_what_is_written() {
    let mut sim = in_bob();
    let bob = Username::parse("bob").unwrap();
    let mut overview = sim.model.pane.as_ref().unwrap().overview.clone();
    overview.changed = vec![bob];
    sim.hear(News::Overview {
        talk: Talk::parse("bob").unwrap(),
        overview: Box::new(overview),
    });
    assert_eq!(sim.model.mode(), Mode::Ask);
    // Whoever goes on writing answers nothing by it.
    sim.types("yay, yes: no secret, n, y");
    assert!(!sim.words().contains("without comparing"));
    assert_eq!(sim.model.mode(), Mode::Ask);
    sim.press("enter");
    assert!(!sim.asked.contains(&"write"));
    assert!(sim.model.composer.is_empty());
    sim.press("esc");
    sim.model.focus = Focus::Composer;
    assert!(sim.words().contains("another identity than before"));
    sim.press("alt-y");
    assert!(sim.words().contains("without comparing"));
    sim.press("n");
    assert!(!sim.asked.contains(&"accept"));
    sim.press("alt-y");
    sim.press("y");
    assert!(sim.asked.contains(&"accept"));
}

#[test]
fn drafts_stay_where_they_were_begun() {
    let mut sim = in_bob();
    sim.types("begun");
    sim.press("ctrl-n");
    assert!(sim.model.composer.is_empty());
    assert!(sim.asked.contains(&"draft"));
    sim.press("ctrl-k");
    sim.types("bob");
    sim.press("enter");
    assert_eq!(sim.model.composer.text(), "begun");
}

#[test]
fn a_refused_text_comes_back() {
    let mut sim = Sim::new(SIZE);
    sim.press("ctrl-k");
    sim.types("bob");
    sim.press("enter");
    sim.types("lost?");
    sim.model
        .handle_key(ratatui::crossterm::event::KeyCode::Enter.into(), sim.now);
    let mut id = None;
    while let Some(ask) = sim.model.poll_ask() {
        if let Ask::Write { client_id, .. } = ask {
            id = Some(client_id);
        }
    }
    sim.hear(News::NotSent {
        client_id: id.unwrap(),
        failure: Failure::named("outbox_full", "too many messages wait"),
    });
    assert_eq!(sim.model.composer.text(), "lost?");
    assert!(sim.words().contains("too many messages wait"));
}

#[test]
fn messages_are_selected_and_answered_changed_and_reacted_to() {
    let mut sim = in_bob();
    sim.press("ctrl-up");
    assert_eq!(sim.model.mode(), Mode::Browse);
    sim.press("up");
    sim.press("r");
    assert!(matches!(sim.model.about, Some(About::Reply(_))));
    sim.press("esc");
    assert!(sim.model.about.is_none());
    sim.press("alt-e");
    assert_eq!(sim.model.composer.text(), "so I can try every key?");
    sim.types("!");
    sim.press("enter");
    assert!(sim.asked.contains(&"edit"));
    assert!(sim.words().contains("so I can try every key?!"));
    sim.press("ctrl-up");
    sim.press("+");
    sim.press("enter");
    assert!(sim.asked.contains(&"react"));
    assert!(sim.words().contains("👍"), "{}", sim.words());
    sim.press("d");
    sim.press("n");
    assert!(!sim.asked.contains(&"delete"));
}

#[test]
fn a_search_finds_as_one_types() {
    let mut sim = in_bob();
    sim.press("alt-s");
    sim.types("sunday");
    assert!(sim.words().contains("who waters on Sunday?"));
    sim.press("enter");
    assert_eq!(
        sim.model.pane.as_ref().unwrap().talk,
        Talk::Group(sotto_protocol::ConversationId::from_bytes([9; 16]))
    );
}

#[test]
fn what_nobody_may_overlook_stays_until_it_is_seen() {
    let mut sim = in_bob();
    sim.hear(News::Event(Box::new(Event::Security(SecurityEvent {
        kind: SecurityKind::Gap,
        conversation: None,
        subject: Username::parse("bob").ok(),
        action: "messages of this person did not arrive".to_owned(),
        count: 2,
    }))));
    sim.wait(60_000);
    assert!(sim.words().contains("messages are missing"));
    sim.press("esc");
    assert!(!sim.words().contains("messages are missing"));
}

#[test]
fn a_locked_screen_shows_nothing() {
    let mut sim = in_bob();
    sim.model.wishes.idle_lock_ms = Some(1_000);
    sim.wait(2_000);
    let words = sim.words();
    assert!(words.contains("Locked"), "{words}");
    assert!(
        !words.contains("bob") && !words.contains("garden"),
        "{words}"
    );
    sim.types("canary");
    let words = sim.words();
    assert!(
        !words.contains("canary") && words.contains("••••••"),
        "{words}"
    );
    sim.press("enter");
    assert!(sim.asked.contains(&"enrol"));
    assert!(sim.words().contains("bob"));
}

#[test]
fn the_first_run_goes_step_by_step() {
    let mut sim = Sim::blank(SIZE);
    sim.model
        .handle_news(News::Enrol(Stage::Server { failure: None }), sim.now);
    assert!(sim.words().contains("Where is the deployment?"));
    sim.press("enter");
    sim.press("enter");
    assert!(sim.words().contains("an address is needed"));
    sim.model
        .handle_news(News::Enrol(Stage::Account { failure: None }), sim.now);
    assert!(sim.words().contains("A new account"));
    sim.press("right");
    assert!(sim.words().contains("Log in"));
    let words = "a b c d e f g h i j k l".to_owned().into();
    sim.model
        .handle_news(News::Enrol(Stage::Words(words)), sim.now);
    assert!(sim.words().contains("Write these words down"));
    sim.press("y");
    assert!(sim.words().contains("once more"));
    sim.press("esc");
    assert!(sim.words().contains("Write these words down"));
}

#[test]
fn a_failure_that_was_not_asked_for_is_told() {
    let mut sim = in_bob();
    sim.hear(News::Event(Box::new(Event::SendFailed {
        id: sotto_protocol::ClientMessageId::from_bytes([1; 16]),
        to: Talk::parse("bob").unwrap(),
        title: None,
        failure: Refusal {
            code: "blocked",
            message: "you blocked this person".to_owned(),
            retry_after_ms: None,
        },
    })));
    assert!(sim.words().contains("you blocked this person"));
}

#[test]
fn keys_that_can_follow_are_shown_after_a_pause() {
    let mut sim = Sim::new(SIZE);
    sim.model.wishes.keymap = Keymap::preset(crate::tui::keys::Preset::Vim);
    sim.model.focus = Focus::Chats;
    sim.press("g");
    assert!(!sim.words().contains("and then"));
    sim.wait(HINT_AFTER_MS);
    assert!(sim.words().contains("and then"), "{}", sim.words());
}

#[test]
fn no_size_panics() {
    for (width, height) in [
        (20, 5),
        (1, 1),
        (2, 2),
        (5, 30),
        (300, 3),
        (59, 10),
        (60, 4),
        (100, 6),
    ] {
        let mut sim = in_bob();
        sim.resize((width, height));
        sim.types("some words that are longer than the screen is wide");
        for key in [
            "f1", "esc", "f2", "esc", "alt-v", "esc", "ctrl-up", "up", "space", "esc",
        ] {
            sim.press(key);
            sim.draw();
        }
        sim.model.lock();
        sim.draw();
        let mut first = Sim::blank((width, height));
        first
            .model
            .handle_news(News::Enrol(Stage::Account { failure: None }), first.now);
        first.draw();
    }
}

#[test]
fn members_are_shown_also_where_they_have_no_pane() {
    let mut sim = Sim::new(SIZE);
    sim.press("f4");
    let words = sim.words();
    assert!(
        words.contains("Members") && words.contains("owner · you"),
        "{words}"
    );
    sim.press("esc");
    sim.resize((120, 24));
    assert!(sim.words().contains("4 members"));
    sim.press("f4");
    assert!(!sim.words().contains("4 members"));
}

#[test]
fn what_was_typed_stays_when_it_is_refused() {
    let mut sim = Sim::blank(SIZE);
    sim.hear(News::Enrol(Stage::Login { failure: None }));
    sim.types("alice");
    sim.press("tab");
    sim.types("canary");
    sim.press("enter");
    assert!(sim.asked.contains(&"enrol"));
    let failure = Some(Failure::named(
        "wrong_credentials",
        "name or password is wrong",
    ));
    sim.model
        .handle_news(News::Enrol(Stage::Login { failure }), sim.now);
    let words = sim.words();
    assert!(words.contains("name or password is wrong"), "{words}");
    assert!(
        words.contains("alice") && !words.contains("canary"),
        "{words}"
    );
}

#[test]
fn nobody_at_the_keys_has_seen_anything() {
    let mut sim = in_bob();
    sim.wait(11 * 60_000);
    sim.asked.clear();
    let text = "are you there?".to_owned();
    let Some(last) = sim.model.pane.as_ref().unwrap().messages().last().cloned() else {
        panic!("no message");
    };
    let message = Message {
        seq: last.seq + 1,
        id: sotto_protocol::ClientMessageId::from_bytes([77; 16]),
        direction: crate::engine::api::Direction::Incoming,
        body: crate::engine::api::MessageBody::Text(text),
        ..last
    };
    let rings = |sim: &mut Sim| {
        let effects = sim.model.take_effects();
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Tell(_)))
    };
    sim.model.take_effects();
    sim.hear(News::Event(Box::new(Event::Message(message.clone()))));
    assert!(!sim.asked.contains(&"seen"), "{:?}", sim.asked);
    assert!(rings(&mut sim), "whoever is away is told");
    sim.press("x");
    sim.wait(1_000);
    assert!(sim.asked.contains(&"seen"), "{:?}", sim.asked);
    sim.hear(News::Event(Box::new(Event::Message(message))));
    assert!(!rings(&mut sim), "whoever looks needs no bell");
}

#[test]
fn a_question_does_not_hold_anybody() {
    let mut sim = in_bob();
    sim.types("mine");
    sim.press("enter");
    sim.press("ctrl-up");
    for _ in 0..9 {
        // Others' messages are not asked about.
        sim.press("d");
        if sim.model.mode() == Mode::Ask {
            break;
        }
        sim.press("up");
    }
    assert_eq!(sim.model.mode(), Mode::Ask);
    sim.press("ctrl-q");
    assert!(sim.model.take_effects().contains(&Effect::Quit));
    assert!(!sim.asked.contains(&"delete"));
}

#[test]
fn what_was_typed_stays_also_while_it_takes_a_moment() {
    let mut sim = Sim::blank(SIZE);
    sim.hear(News::Enrol(Stage::Account { failure: None }));
    sim.types("alice");
    for text in ["canary-77", "canary-77", ""] {
        sim.press("tab");
        sim.types(text);
    }
    sim.press("enter");
    sim.hear(News::Enrol(Stage::Busy("making your keys…")));
    let failure = Some(Failure::named("name_taken", "this name is taken"));
    sim.hear(News::Enrol(Stage::Account { failure }));
    let words = sim.words();
    assert!(words.contains("this name is taken"), "{words}");
    assert!(words.contains("› alice"), "{words}");
    // A password alone makes no device: the same name and password ask for a code.
    sim.press("right");
    sim.model.first_run.as_mut().unwrap().form().unwrap().at = 1;
    sim.press("enter");
    let failure = Some(Failure::named("identity_mismatch", "has another device"));
    sim.hear(News::Enrol(Stage::Link { failure }));
    let words = sim.words();
    assert!(words.contains("A further device"), "{words}");
    assert!(
        words.contains("› alice") && words.contains("•••"),
        "{words}"
    );
    // One step back each, and then out.
    sim.press("esc");
    assert!(sim.words().contains("A new account"));
    sim.press("esc");
    assert!(sim.words().contains("Where is the deployment?"));
    sim.press("esc");
    assert!(sim.model.take_effects().contains(&Effect::Quit));
}

#[test]
fn a_code_is_waited_for_with_a_way_out() {
    let mut sim = Sim::blank(SIZE);
    let lines = vec!["Type there:".to_owned(), "  7K3D-\u{1b}[2J".to_owned()];
    sim.hear(News::Enrol(Stage::Waiting(lines)));
    let words = sim.words();
    assert!(
        words.contains("7K3D-") && words.contains("stop waiting"),
        "{words}"
    );
    sim.press("esc");
    assert!(sim.asked.contains(&"enrol"));
}

#[test]
fn a_device_is_let_in_by_a_code_a_look_and_the_word_yes() {
    let mut sim = in_bob();
    sim.types("/devices link");
    sim.press("enter");
    assert!(sim.words().contains("Add a device"), "{}", sim.words());
    assert!(!sim.asked.contains(&"run"));
    sim.types("7K3D-XXXX");
    sim.model
        .handle_key(ratatui::crossterm::event::KeyCode::Enter.into(), sim.now);
    assert!(matches!(sim.model.poll_ask(), Some(Ask::LookAtCode { code }) if *code == "7K3D-XXXX"));
    let offer = crate::tui::ask::Offer {
        account: Username::parse("you").unwrap(),
        name: "laptop\u{202e}".to_owned(),
        fingerprint: "12 34 56".to_owned(),
    };
    sim.hear(News::Offered(Box::new(offer)));
    let words = sim.words();
    for told in ["12 34 56", "laptop", "stop: nobody else"] {
        assert!(words.contains(told), "{told} {words}");
    }
    sim.types("y");
    sim.press("enter");
    assert!(sim.words().contains("only the word yes"));
    sim.types("es");
    sim.model
        .handle_key(ratatui::crossterm::event::KeyCode::Enter.into(), sim.now);
    assert!(matches!(sim.model.poll_ask(), Some(Ask::LetIn)));
    assert!(sim.model.overlay.is_none());
}

#[test]
fn a_recovery_key_is_made_and_checked_over_the_conversation() {
    let mut sim = in_bob();
    sim.types("/recovery new");
    sim.model
        .handle_key(ratatui::crossterm::event::KeyCode::Enter.into(), sim.now);
    assert!(matches!(
        sim.model.poll_ask(),
        Some(Ask::Enrol(crate::tui::ask::Enrol::MakeRecovery))
    ));
    let words = || News::Enrol(Stage::Words("a b c d e f g h i j k l".to_owned().into()));
    sim.hear(words());
    assert!(sim.words().contains("Write these words down"));
    sim.press("y");
    assert!(sim.words().contains("once more"));
    sim.press("esc");
    sim.press("n");
    sim.press("y");
    assert!(sim.words().contains("nothing was changed"));
    // What comes after it was closed opens nothing.
    sim.hear(words());
    assert!(sim.model.overlay.is_none());
}

#[test]
fn the_account_is_looked_after_where_its_devices_are() {
    let mut sim = in_bob();
    sim.press("f9");
    sim.types("password");
    sim.press("enter");
    assert!(
        sim.words().contains("The present password"),
        "{}",
        sim.words()
    );
    sim.types("old-canary");
    assert!(!sim.words().contains("canary"));
    sim.press("enter");
    sim.types("new-canary");
    sim.press("enter");
    sim.types("new-canary");
    sim.model
        .handle_key(ratatui::crossterm::event::KeyCode::Enter.into(), sim.now);
    assert!(matches!(sim.model.poll_ask(), Some(Ask::Passwd { .. })));
    assert!(sim.model.overlay.is_none());
}

#[test]
fn whom_one_answers_is_named_once() {
    let mut sim = in_bob();
    let mut answered = Vec::new();
    for up in 0..4 {
        sim.press("ctrl-up");
        for _ in 0..up {
            sim.press("up");
        }
        sim.press("r");
        let words = sim.words();
        let line = words.split("↩ answers ").nth(1).unwrap();
        answered.push(line.lines().next().unwrap().trim_end().to_owned());
        sim.press("esc");
    }
    assert!(
        answered.contains(&"you: so I can try every key?".to_owned()),
        "{answered:?}"
    );
    assert!(
        answered
            .iter()
            .all(|line| line.matches("you: ").count() < 2),
        "{answered:?}"
    );
    assert!(
        answered.iter().any(|line| line.starts_with("bob: ")),
        "{answered:?}"
    );
}

#[test]
fn the_keys_that_apply_are_on_the_screen_however_small_it_is() {
    for size in [(120, 40), (80, 24), (50, 12), (30, 8)] {
        let mut sim = Sim::new(size);
        let last = sim.rows().pop().unwrap();
        assert!(last.trim_end().ends_with("F1 keys"), "{last:?}");
        sim.press("f5");
        let words = sim.words();
        assert!(words.contains("Alt-y accept"), "{words}");
        sim.press("esc");
        sim.press("f1");
        let words = sim.words();
        assert!(
            words.contains("↓ down") && words.contains(" more "),
            "{words}"
        );
    }
}
