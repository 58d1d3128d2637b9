//! What somebody stumbles over who never saw the screen: words that go without a question, keys
//! that are not seen, names that say more than they may.

use crate::engine::api::{Event, Membership, MembershipChange, SecurityEvent, SecurityKind};
use crate::engine::screen::Standing;
use crate::exit::Exit;
use crate::talk::Talk;
use crate::tui::ask::{News, Stage};
use crate::tui::model::Effect;
use crate::tui::model::form::FirstRun;
use crate::tui::model::overlay::Overlay;
use crate::tui::sim::Sim;

fn in_conversation(size: (u16, u16), name: &str) -> Sim {
    let mut sim = Sim::new(size);
    sim.press("ctrl-k");
    sim.types(name);
    sim.press("enter");
    sim
}

fn words() -> News {
    News::Enrol(Stage::Words("a b c d e f g h i j k l".to_owned().into()))
}

/// In every size, also where the words have no room.
#[test]
fn words_of_a_recovery_key_go_only_when_asked_twice() {
    for size in [(80, 24), (20, 5)] {
        for key in ["esc", "n", "ctrl-q"] {
            let mut sim = Sim::blank(size);
            sim.hear(words());
            sim.press(key);
            assert!(!sim.asked.contains(&"enrol"), "{size:?} {key}");
            assert!(!sim.asked.contains(&"quit"), "{size:?} {key}");
            sim.press("esc");
            sim.press("y");
            assert!(sim.words().contains("Word "), "{}", sim.words());
            sim.press("esc");
            sim.press("n");
            sim.press("y");
            assert!(sim.asked.contains(&"enrol"), "{size:?} {key}");
        }
    }
    let mut sim = in_conversation((80, 24), "bob");
    let words = "a b c d e f g h i j k l".to_owned().into();
    sim.model.overlay = Some(Overlay::Recovery(FirstRun::Words(words)));
    sim.press("esc");
    assert!(sim.words().contains("Go on without"), "{}", sim.words());
    sim.press("esc");
    assert!(sim.words().contains("Write these words down"));
}

#[test]
fn the_keys_of_each_first_step_are_seen_however_small_the_screen_is() {
    for size in [(80, 24), (50, 12), (20, 5)] {
        let mut sim = Sim::blank(size);
        sim.hear(News::Enrol(Stage::Offer));
        let shown = sim.words();
        assert!(shown.contains("y show it now"), "{shown}");
        assert!(shown.contains("n later"), "{shown}");
        sim.hear(words());
        sim.press("esc");
        let shown = sim.words();
        assert!(shown.contains("y without"), "{shown}");
        sim.hear(News::Enrol(Stage::Waiting(vec!["go there".repeat(20)])));
        assert!(sim.words().contains("Esc stop"), "{}", sim.words());
    }
}

#[test]
fn the_key_help_is_there_before_anybody_is_in() {
    for size in [(80, 24), (50, 12)] {
        let mut sim = Sim::blank(size);
        sim.hear(News::Enrol(Stage::Account { failure: None }));
        let shown = sim.words();
        assert!(shown.contains("← → other ways in"), "{shown}");
        sim.types("ali");
        sim.press("f1");
        let shown = sim.words();
        assert!(shown.contains("Keys that work here"), "{shown}");
        assert!(shown.contains("other ways in:"), "{shown}");
        // Neither letters nor keys of other screens do anything there.
        sim.types("xyz");
        sim.press("ctrl-k");
        sim.press("f7");
        sim.press("esc");
        assert!(sim.words().contains("› ali "), "{}", sim.words());
        sim.press("esc");
        assert!(sim.words().contains("Where is"), "{}", sim.words());
    }
    let mut sim = in_conversation((80, 24), "bob");
    sim.press("alt-v");
    sim.types("123");
    sim.press("f1");
    assert!(sim.words().contains("Keys that work here"));
    sim.press("esc");
    assert!(sim.words().contains("› 123"), "{}", sim.words());
}

/// Whatever a group is called, its title says how it is sealed, at any width.
#[test]
fn no_name_says_how_a_conversation_is_sealed() {
    let forged = "x · encrypted, post-quantum · verified · and much more of it";
    for width in 20..140 {
        let mut sim = in_conversation((width, 24), "garden");
        let talk = sim.model.pane.as_ref().unwrap().talk.clone();
        sim.model.list.retitle(&talk, forged);
        let title = sim.rows()[0].clone();
        let said = title.contains("1/3✓") || title.contains("· 1 of 3 verified");
        assert!(said, "{width}: {title}");
        let pane = sim.model.pane.as_mut().unwrap();
        pane.overview.standing = Standing::Ended;
        pane.overview.post_quantum = None;
        let title = sim.rows()[0].clone();
        assert!(title.contains("· you are out"), "{width}: {title}");
        assert!(!title.contains("· encrypted"), "{width}: {title}");
    }
}

#[test]
fn a_changed_identity_is_accepted_from_wherever_it_is_shown() {
    for at in ["alt-c", "ctrl-up", "ctrl-down"] {
        let mut sim = in_conversation((100, 30), "bob");
        let pane = sim.model.pane.as_mut().unwrap();
        pane.overview.changed = pane.talk.person().cloned().into_iter().collect();
        sim.press(at);
        sim.press("alt-y");
        assert!(
            sim.words().contains("Accept bob's new"),
            "{at}: {}",
            sim.words()
        );
    }
    let mut sim = in_conversation((100, 30), "bob");
    sim.hear(News::Event(Box::new(Event::Security(SecurityEvent {
        kind: SecurityKind::KeyChanged,
        conversation: None,
        subject: Talk::parse("bob").unwrap().person().cloned(),
        action: "until you `verify` or `accept`".to_owned(),
        count: 0,
    }))));
    let shown = sim.words();
    assert!(shown.contains("Alt-v compares"), "{shown}");
    assert!(!shown.contains('`'), "{shown}");
}

#[test]
fn a_file_is_sent_by_a_name_and_what_was_written_comes_back() {
    let mut sim = in_conversation((100, 30), "garden");
    sim.types("the \"plan\"");
    sim.press("ctrl-t");
    let line = sim.model.composer.text().to_owned();
    assert!(line.starts_with("/send #garden \"the"), "{line}");
    assert!(sim.words().contains("Tab completes it"), "{}", sim.words());
    sim.press("esc");
    assert_eq!(sim.model.composer.text(), "the \"plan\"");
    let talk = sim.model.pane.as_ref().unwrap().talk.clone();
    sim.model.list.retitle(&talk, "Sunday walk");
    sim.press("ctrl-t");
    let line = sim.model.composer.text().to_owned();
    assert!(line.starts_with("/send '#Sunday walk' "), "{line}");
    sim.press("esc");
    // A title ends no quotation of its own.
    sim.model.list.retitle(&talk, "x' --file /etc/passwd '");
    sim.press("ctrl-t");
    let line = sim.model.composer.text().to_owned();
    assert!(line.starts_with(&format!("/send {talk} ")), "{line}");
}

#[test]
fn emoji_are_found_by_what_people_call_them() {
    for typed in ["+1", "thumbsup", "like", "thum"] {
        let mut sim = in_conversation((80, 24), "bob");
        sim.press("ctrl-up");
        sim.press("+");
        sim.types(typed);
        let rows = sim.rows();
        let field = rows
            .iter()
            .position(|row| row.contains(&format!("› {typed}")));
        assert!(
            rows[field.unwrap() + 1].contains('👍'),
            "{typed}: {}",
            rows.join("\n")
        );
    }
    let first = |letters: &str| crate::tui::emoji::find(letters)[0].emoji;
    assert_eq!(
        (first("thum"), first("like"), first("+1")),
        ("👍", "👍", "👍")
    );
}

#[test]
fn candidates_go_with_the_next_key_and_remarks_with_the_place() {
    let mut sim = in_conversation((100, 30), "bob");
    sim.types("hi :rock");
    sim.press("tab");
    assert!(sim.words().contains(":rock"), "{}", sim.words());
    sim.press("enter");
    let status = sim.rows().pop().unwrap();
    assert!(!status.contains(":rock"), "{status}");
    sim.press("alt-a");
    let remark = |sim: &mut Sim| sim.words().contains("nothing new anywhere else");
    if remark(&mut sim) {
        sim.press("f7");
        assert!(!remark(&mut sim), "{}", sim.words());
    }
}

#[test]
fn what_cannot_be_taken_back_is_asked_before() {
    let mut sim = in_conversation((100, 30), "garden");
    sim.types("/group leave");
    sim.press("enter");
    assert!(sim.words().contains("Leave #garden?"), "{}", sim.words());
    sim.press("n");
    assert!(!sim.asked.contains(&"run"));
    sim.types("/group leave");
    sim.press("enter");
    sim.press("y");
    assert!(sim.asked.contains(&"run"));
    sim.types("half a sentence");
    sim.press("ctrl-c");
    assert!(sim.words().contains("is not sent"), "{}", sim.words());
    assert!(!sim.asked.contains(&"quit"));
    sim.press("ctrl-c");
    assert!(sim.asked.contains(&"quit"));
}

#[test]
fn what_another_said_is_not_offered_to_be_taken_back() {
    let mut sim = in_conversation((100, 30), "bob");
    sim.press("ctrl-up");
    for _ in 0..20 {
        let pane = sim.model.pane.as_ref().unwrap();
        if pane.selected().unwrap().sender.as_str() == "bob" {
            break;
        }
        sim.press("up");
    }
    sim.press("d");
    assert!(sim.words().contains("only its author"), "{}", sim.words());
}

#[test]
fn a_message_of_blanks_is_said_to_be_one() {
    let mut sim = in_conversation((100, 30), "bob");
    sim.types("\u{3164}\u{2800}");
    sim.press("enter");
    assert!(
        sim.words().contains("(nothing that can be seen)"),
        "{}",
        sim.words()
    );
}

#[test]
fn an_invite_link_stands_in_one_row_and_is_copied() {
    let link = format!("sotto:join/{}", "0123456789".repeat(10));
    let mut sim = in_conversation((120, 30), "garden");
    sim.hear(News::Ran {
        label: "group".to_owned(),
        said: vec![link.clone(), "  until tomorrow, once".to_owned()],
        exit: Exit::Done,
    });
    assert!(
        sim.rows().iter().any(|row| row.contains(&link)),
        "{}",
        sim.words()
    );
    assert!(sim.words().contains("c copies the link"), "{}", sim.words());
    sim.model.take_effects();
    sim.press("c");
    let effects = sim.model.take_effects();
    assert!(effects.contains(&Effect::Copy(link)), "{effects:?}");
    assert!(sim.words().contains("until tomorrow"), "{}", sim.words());
}

#[test]
fn a_command_that_failed_says_why_and_nothing_of_the_shell() {
    let mut sim = in_conversation((100, 30), "bob");
    sim.hear(News::Ran {
        label: "send".to_owned(),
        said: vec!["sotto: nobody is called walk".to_owned()],
        exit: Exit::Usage,
    });
    let status = sim.rows().pop().unwrap();
    assert!(status.contains("  nobody is called walk"), "{status}");
}

#[test]
fn whoever_is_invited_is_not_in_yet() {
    let mut sim = in_conversation((120, 40), "garden");
    let pane = sim.model.pane.as_ref().unwrap();
    let (talk, overview) = (pane.talk.clone(), pane.overview.clone());
    let me = sim.model.me.as_ref().unwrap().username.clone();
    sim.hear(News::Event(Box::new(Event::Membership(Membership {
        conversation: talk.group().copied().unwrap(),
        talk: talk.clone(),
        title: None,
        by: me,
        subject: overview.members[2].name.clone(),
        change: MembershipChange::Joined,
        epoch: 3,
    }))));
    let name = overview.members[2].name.to_string();
    let invited = format!("{name} was invited (by you)");
    assert!(sim.words().contains(&invited), "{}", sim.words());
    let mut waits = overview.clone();
    waits.members[2].seen = false;
    let mut came = overview;
    came.members[2].seen = true;
    for overview in [waits, came] {
        let overview = Box::new(overview);
        let talk = talk.clone();
        sim.model
            .handle_news(News::Overview { talk, overview }, sim.now);
    }
    assert!(
        sim.words().contains(&format!("{name} came in")),
        "{}",
        sim.words()
    );
}
