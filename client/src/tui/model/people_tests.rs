//! What lists offer beside their own lines, and what is done from them.

use sotto_protocol::ClientMessageId;

use super::*;
use crate::engine::api::Event;
use crate::exit::Exit;
use crate::tui::ask::{Link, News};
use crate::tui::sim::Sim;

#[test]
fn a_name_that_is_not_known_begins_a_conversation_and_words_a_search() {
    let mut sim = Sim::new((80, 24));
    sim.press("ctrl-k");
    sim.types("zelda");
    let words = sim.words();
    assert!(words.contains("write to zelda"), "{words}");
    assert!(words.contains("search for zelda"), "{words}");
    sim.press("enter");
    let zelda = Talk::parse("zelda").unwrap();
    assert!(sim.model.is_open(&zelda));
    // Who is listed already is not offered a second time.
    sim.press("ctrl-k");
    sim.types("bob");
    assert!(!sim.words().contains("write to bob"), "{}", sim.words());
    sim.press("esc");
    sim.press("ctrl-k");
    sim.types("Sunday?");
    assert!(!sim.words().contains("write to"));
    sim.press("enter");
    let words = sim.words();
    assert!(words.contains("Search everywhere"), "{words}");
    assert!(words.contains("who waters on Sunday?"), "{words}");
}

/// A title may hold any letters: they lead nobody elsewhere who typed a name in full.
#[test]
fn a_name_typed_in_full_goes_before_its_letters_in_a_title() {
    let mut sim = Sim::new((80, 24));
    sim.press("ctrl-k");
    sim.types("ntslf");
    assert!(sim.words().contains("notes to self"), "{}", sim.words());
    sim.press("enter");
    assert!(sim.model.is_open(&Talk::parse("ntslf").unwrap()));
}

#[test]
fn oneself_is_found_where_only_oneself_reads() {
    let mut sim = Sim::new((80, 24));
    sim.model.write_to(Username::parse("you").unwrap());
    assert!(sim.words().contains("only I read this"), "{}", sim.words());
}

#[test]
fn every_emoji_is_found_by_its_name_to_react_with() {
    let mut sim = Sim::new((80, 24));
    sim.press("ctrl-k");
    sim.types("bob");
    sim.press("enter");
    sim.press("ctrl-up");
    sim.press("+");
    sim.types("rocket");
    let words = sim.words();
    assert!(words.contains("🚀"), "{words}");
    sim.press("enter");
    assert!(sim.asked.contains(&"react"));
    assert!(sim.words().contains('🚀'), "{}", sim.words());
    // And one that was typed itself.
    sim.press("+");
    sim.types("🦀");
    sim.press("enter");
    assert!(sim.words().contains('🦀'), "{}", sim.words());
}

#[test]
fn members_are_picked_and_what_one_may_do_is_offered() {
    for size in [(120, 40), (80, 24), (50, 12)] {
        let mut sim = Sim::new(size);
        sim.press("f3");
        sim.types("carol");
        sim.press("enter");
        let words = sim.words();
        for offered in [
            "Write to carol",
            "safety number",
            "profile",
            "an admin",
            "Put them out",
        ] {
            assert!(words.contains(offered), "{offered}: {words}");
        }
        sim.types("out for good");
        sim.press("enter");
        // It is written down, and goes with Enter alone.
        assert!(sim.model.composer.text().starts_with("/group ban #"));
        assert!(sim.model.composer.text().ends_with(" carol"));
        assert!(!sim.asked.contains(&"run"));
    }
    let mut sim = Sim::new((80, 24));
    sim.press("f3");
    sim.types("you");
    sim.press("enter");
    let words = sim.words();
    assert!(
        !words.contains("Put them out") && !words.contains("Write to"),
        "{words}"
    );
    // A member who is no admin is offered nothing that is refused.
    let mut sim = Sim::new((80, 24));
    let pane = sim.model.pane.as_mut().unwrap();
    pane.overview.role = Some(Role::Member);
    sim.model.pick_about(Username::parse("carol").unwrap());
    let words = sim.words();
    assert!(
        !words.contains("Put them out") && words.contains("safety number"),
        "{words}"
    );
}

#[test]
fn pinned_messages_are_listed_and_lead_to_their_place() {
    let mut sim = Sim::new((80, 24));
    sim.press("f10");
    assert!(sim.words().contains("nothing is pinned"), "{}", sim.words());
    sim.press("esc");
    sim.press("ctrl-up");
    sim.press("home");
    sim.press("p");
    sim.press("esc");
    sim.press("f10");
    let words = sim.words();
    assert!(words.contains("Pinned here"), "{words}");
    sim.types("Sunday");
    sim.press("enter");
    let pane = sim.model.pane.as_ref().unwrap();
    assert!(pane.selected().unwrap().details.pinned);
}

#[test]
fn what_is_typed_is_kept_while_one_goes_on_typing() {
    let mut sim = Sim::new((80, 24));
    for letter in "a long sentence".chars() {
        sim.types(&letter.to_string());
        sim.wait(120);
    }
    let drafts = sim.asked.iter().filter(|ask| **ask == "draft").count();
    assert!((3..=8).contains(&drafts), "{drafts}");
}

#[test]
fn a_server_that_does_not_answer_is_told_of() {
    let mut sim = Sim::new((80, 24));
    sim.types("hello?");
    // Nobody answers.
    let enter = ratatui::crossterm::event::KeyCode::Enter;
    sim.model.handle_key(enter.into(), sim.now);
    while sim.model.poll_ask().is_some() {}
    assert!(sim.words().contains("you online"));
    sim.wait(6_200);
    assert!(sim.words().contains("no answer for 6 s"), "{}", sim.words());
    sim.wait(2_000);
    assert!(sim.words().contains("no answer for 8 s"));
    assert!(sim.model.wakes_at().unwrap() <= sim.now.monotonic_ms + 1_000);
    sim.hear(News::Link(Link::Connecting));
    assert!(sim.words().contains("connecting"));
    sim.hear(News::Link(Link::Online));
    assert!(!sim.words().contains("no answer"));
}

#[test]
fn an_acknowledged_message_is_not_waited_for() {
    let mut sim = Sim::new((80, 24));
    sim.types("hello");
    sim.press("enter");
    sim.wait(20_000);
    assert!(!sim.words().contains("no answer"), "{}", sim.words());
    let id = ClientMessageId::from_bytes([9; 16]);
    sim.model.patience.sent(&id, sim.now.monotonic_ms);
    sim.wait(9_000);
    assert!(sim.words().contains("no answer for 9 s"));
    let to = Talk::parse("bob").unwrap();
    sim.hear(News::Event(Box::new(Event::Sent {
        id,
        to,
        title: None,
        conversation: sotto_protocol::ConversationId::from_bytes([0; 16]),
        seq: 9,
    })));
    assert!(!sim.words().contains("no answer"));
}

#[test]
fn a_command_that_finds_nothing_says_so() {
    let mut sim = Sim::new((80, 24));
    sim.hear(News::Ran {
        label: "rooms".to_owned(),
        said: Vec::new(),
        exit: Exit::Done,
    });
    assert!(
        sim.words().contains("no public rooms here"),
        "{}",
        sim.words()
    );
}
