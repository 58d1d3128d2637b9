//! Requests, invitations and the first run: nothing is answered or lost by a key too many.

use sotto_protocol::ConversationId;

use super::Overlay;
use crate::engine::api::{Asker, Invitation, Keep, Request};
use crate::exit::Failure;
use crate::tui::ask::{Ask, Chats, Enrol, News, Stage};
use crate::tui::keys::Action;
use crate::tui::sim::Sim;

const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (50, 12)];

/// What is asked of the worker, without anybody who answers.
fn asks(sim: &mut Sim) -> Vec<Ask> {
    std::iter::from_fn(|| sim.model.poll_ask()).collect()
}

fn press_alone(sim: &mut Sim, key: char) -> Vec<Ask> {
    let key = ratatui::crossterm::event::KeyCode::Char(key);
    sim.model.handle_key(key.into(), sim.now);
    asks(sim)
}

#[test]
fn a_request_is_answered_by_a_second_key_that_says_what_it_does() {
    for size in SIZES {
        for (key, wanted) in [
            ('y', Some(Keep::Saved)),
            ('u', Some(Keep::Unsaved)),
            ('n', None),
        ] {
            let mut sim = Sim::new(size);
            sim.press("f5");
            sim.press("enter");
            assert!(!sim.asked.contains(&"accept"), "{:?}", sim.asked);
            let words = sim.words();
            for word in ["accept", "unsaved", "decline", "block"] {
                assert!(words.contains(word), "{word}: {words}");
            }
            let asks = press_alone(&mut sim, key);
            let kept = asks.iter().find_map(|ask| match ask {
                Ask::Accept { name, keep } if name.as_str() == "erin" => Some(*keep),
                _ => None,
            });
            assert_eq!(kept, wanted);
            let declined = asks.iter().any(|ask| matches!(ask, Ask::Decline { .. }));
            assert_eq!(declined, wanted.is_none());
            assert!(sim.model.overlay.is_none());
        }
    }
}

#[test]
fn a_request_can_wait_and_its_sender_be_blocked() {
    let mut sim = Sim::new((80, 24));
    // From the list of conversations, too.
    sim.press("alt-c");
    sim.press("home");
    sim.press("enter");
    assert!(sim.words().contains("erin wants to talk with you"));
    sim.press("esc");
    assert!(sim.model.overlay.is_none());
    assert!(!sim.asked.contains(&"accept"));
    sim.press("enter");
    sim.press("alt-!");
    assert!(sim.words().contains("Block erin?"));
    // A key of its own needs no question.
    sim.press("n");
    sim.press("f5");
    sim.press("alt-y");
    assert!(sim.asked.contains(&"accept"));
}

/// Whoever asks under a known person's name and another identity is not accepted unseen.
#[test]
fn a_request_under_another_identity_says_so_and_is_asked_about() {
    for action in [Action::Confirm, Action::Accept] {
        let mut sim = Sim::new((80, 24));
        let mut chats = Chats::default();
        chats.requests.push(Request {
            conversation: ConversationId::from_bytes([3; 16]),
            from: sotto_protocol::Username::parse("bob").unwrap(),
            received_at_ms: 1,
            asker: Asker::Changed,
        });
        sim.model.handle_news(News::Chats(Box::new(chats)), sim.now);
        sim.model.pick_request();
        asks(&mut sim);
        sim.model.pick(action);
        let Some(Overlay::Question(question)) = &sim.model.overlay else {
            panic!("{:?}", sim.model.overlay.is_some());
        };
        assert!(question.words[1].starts_with("This is not the bob whom you know"));
        let accepts = |asks: &[Ask]| asks.iter().any(|ask| matches!(ask, Ask::Accept { .. }));
        assert!(!accepts(&asks(&mut sim)));
        assert!(accepts(&press_alone(&mut sim, 'y')));
    }
}

#[test]
fn an_invitation_is_asked_about_too() {
    let mut sim = Sim::new((80, 24));
    let mut chats = Chats::default();
    chats.invitations.push(Invitation {
        conversation: ConversationId::from_bytes([3; 16]),
        from: sotto_protocol::Username::parse("bob").unwrap(),
        title: Some("harbour".to_owned()),
        description: String::new(),
        members: 3,
        received_at_ms: 1,
    });
    sim.model.handle_news(News::Chats(Box::new(chats)), sim.now);
    sim.model.pick_request();
    let enter = ratatui::crossterm::event::KeyCode::Enter;
    sim.model.handle_key(enter.into(), sim.now);
    assert!(matches!(sim.model.overlay, Some(Overlay::Question(_))));
    assert!(
        !asks(&mut sim)
            .iter()
            .any(|ask| matches!(ask, Ask::Join { .. }))
    );
    let asks = press_alone(&mut sim, 'y');
    assert!(asks.iter().any(|ask| matches!(ask, Ask::Join { .. })));
}

#[test]
fn what_was_typed_is_there_again_after_a_step_back() {
    let mut sim = Sim::blank((80, 24));
    sim.hear(News::Enrol(Stage::Server { failure: None }));
    sim.types("chat.example:7443");
    sim.press("tab");
    sim.types("/tmp/ca.pem");
    sim.press("enter");
    sim.hear(News::Enrol(Stage::Account { failure: None }));
    sim.types("alice");
    sim.press("tab");
    sim.types("canary-77");
    sim.press("esc");
    let words = sim.words();
    assert!(words.contains("› chat.example:7443"), "{words}");
    assert!(words.contains("› /tmp/ca.pem"), "{words}");
    sim.press("enter");
    // Nobody answers there; then somebody does.
    let failure = Some(Failure::named("unreachable", "no server was reached"));
    sim.hear(News::Enrol(Stage::Server { failure }));
    let words = sim.words();
    assert!(words.contains("no server was reached"), "{words}");
    assert!(words.contains("› chat.example:7443"), "{words}");
    sim.press("enter");
    sim.hear(News::Enrol(Stage::Account { failure: None }));
    let words = sim.words();
    assert!(
        words.contains("› alice") && words.contains("•••••••••"),
        "{words}"
    );
}

#[test]
fn an_invite_link_is_kept_and_followed_when_there_is_a_connection() {
    let link = format!(
        "sotto:join/{}/{}/{}",
        "ab".repeat(16),
        "01".repeat(16),
        "A".repeat(43)
    );
    for told in ["", "?server=chat.example:7443"] {
        let mut sim = Sim::blank((100, 24));
        sim.hear(News::Enrol(Stage::Server { failure: None }));
        sim.types("sotto:join/half");
        sim.press("enter");
        sim.press("enter");
        assert!(
            sim.words().contains("no whole invite link"),
            "{}",
            sim.words()
        );
        sim.model.form().unwrap().clear();
        sim.types(&format!("{link}{told}"));
        sim.press("tab");
        let enter = ratatui::crossterm::event::KeyCode::Enter;
        sim.model.handle_key(enter.into(), sim.now);
        if told.is_empty() {
            let words = sim.words();
            assert!(words.contains("the link is kept"), "{words}");
            sim.types("chat.example:7443");
            sim.press("tab");
            sim.model.handle_key(enter.into(), sim.now);
        }
        let asks = asks(&mut sim);
        let server = asks.iter().find_map(|ask| match ask {
            Ask::Enrol(Enrol::Connect { server, .. }) => Some(server.as_str()),
            _ => None,
        });
        assert_eq!(server, Some("chat.example:7443"));
        sim.hear(News::Enrol(Stage::Ready));
        assert!(!sim.asked.contains(&"run"));
        sim.hear(News::Event(Box::new(crate::engine::api::Event::CaughtUp)));
        assert!(sim.asked.contains(&"run"), "{:?}", sim.asked);
    }
}

/// However small the screen is: the field that is filled in is there, and nothing on another.
#[test]
fn no_field_of_a_form_stands_on_another() {
    let words: String = "a b c d e f g h i j k l".to_owned();
    for size in [(120, 40), (80, 24), (50, 12), (40, 8), (20, 5)] {
        let mut sim = Sim::blank(size);
        sim.hear(News::Enrol(Stage::Words(words.clone().into())));
        sim.press("y");
        for place in 0..3 {
            let form = sim.model.form().unwrap();
            assert_eq!(form.at, place);
            let label = form.fields[place].label.clone();
            sim.types("wrongly");
            let shown = sim.words();
            assert!(shown.contains(&label), "{size:?}: {shown}");
            assert!(shown.contains("› wrongly"), "{size:?}: {shown}");
            for row in sim.rows() {
                let field = row.contains('›');
                assert!(
                    !field || !row.contains("Word") && !row.contains("Enter"),
                    "{row}"
                );
            }
            sim.press("enter");
        }
        if size.1 >= 8 {
            assert!(
                sim.words().contains("another word"),
                "{size:?}: {}",
                sim.words()
            );
        }
    }
}
