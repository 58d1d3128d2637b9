//! Answers, edits, deletions, reactions, pins and timers between two people:
//! each sees what the other does, across restarts, and nobody does what only
//! the author may.

use proptest::prelude::*;
use sotto_client::engine::api::{
    ChangeKind, Command, Event, Keep, Message, MessageBody, MessageCommand, Mute, Put,
    SecurityKind, SendOptions, Target,
};
use sotto_client::talk::Talk;
use sotto_crypto::content::{Emoji, MessageRef};
use sotto_protocol::ClientMessageId;

use crate::world::{World, name};

const NAMES: [&str; 2] = ["alice", "bob"];

fn talk(person: usize) -> Talk {
    Talk::from(name(NAMES[1 - person]))
}

fn history(world: &mut World, person: usize) -> Vec<Message> {
    world.engine(person).history(&talk(person), 1_000).unwrap()
}

fn target_of(message: &Message) -> Target {
    Target {
        talk: message.talk.clone(),
        message: MessageRef {
            device: message.device,
            id: message.id,
        },
    }
}

/// The message with this text, as a person's commands name it.
fn target(world: &mut World, person: usize, text: &str) -> Target {
    let found = history(world, person)
        .into_iter()
        .find(|message| message.body == MessageBody::Text(text.to_owned()));
    target_of(&found.unwrap())
}

fn id(number: u8) -> ClientMessageId {
    ClientMessageId::from_bytes([100 + number; 16])
}

fn act(world: &mut World, person: usize, command: MessageCommand) {
    world.command(person, Command::Message(command));
    world.run();
    world.settle();
}

fn thumb() -> Emoji {
    Emoji::parse("👍").unwrap()
}

/// What both must agree on.
type Seen = Vec<(u64, String, String, bool, Vec<(String, Vec<String>)>, bool)>;

fn seen(world: &mut World, person: usize) -> Seen {
    history(world, person)
        .into_iter()
        .map(|message| {
            let body = match message.body {
                MessageBody::Text(text) => text,
                MessageBody::Deleted => "<deleted>".to_owned(),
                _ => "?".to_owned(),
            };
            let reactions = message.details.reactions.into_iter().map(|reaction| {
                let mut by: Vec<_> = reaction.by.iter().map(ToString::to_string).collect();
                by.sort();
                (reaction.emoji.as_str().to_owned(), by)
            });
            (
                message.seq,
                message.sender.to_string(),
                body,
                message.details.edited,
                reactions.collect(),
                message.details.pinned,
            )
        })
        .collect()
}

fn failures(world: &World, person: usize) -> Vec<&'static str> {
    world.people[person]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Failed { failure, .. } => Some(failure.code),
            _ => None,
        })
        .collect()
}

#[test]
fn a_message_lives_its_life_at_both_ends() {
    let mut world = World::contacts();
    let hello = target(&mut world, 1, "hello");
    act(
        &mut world,
        1,
        MessageCommand::Write {
            to: talk(1),
            text: "hello yourself".to_owned(),
            options: SendOptions {
                reply_to: Some(hello.message),
                mentions: vec![name("alice")],
                expires_after_s: None,
            },
            client_id: id(1),
        },
    );
    let shown = history(&mut world, 0).pop().unwrap();
    let reply = shown.details.reply.clone().unwrap();
    assert_eq!(reply.sender, Some(name("alice")));
    assert_eq!(reply.quote.as_deref(), Some("hello"));
    assert_eq!(shown.details.mentions, [name("alice")]);
    assert!(shown.details.notify);

    act(
        &mut world,
        0,
        MessageCommand::React {
            target: target_of(&shown),
            emoji: thumb(),
            put: Put::On,
            client_id: id(2),
        },
    );
    let own = target(&mut world, 1, "hello yourself");
    act(
        &mut world,
        1,
        MessageCommand::Edit {
            target: own.clone(),
            text: "hello, dear".to_owned(),
            mentions: Vec::new(),
            client_id: id(3),
        },
    );
    act(
        &mut world,
        0,
        MessageCommand::Pin {
            target: target_of(&shown),
            put: Put::On,
            client_id: id(4),
        },
    );
    let last = seen(&mut world, 0).pop().unwrap();
    assert_eq!(
        (last.2.as_str(), last.3, last.5),
        ("hello, dear", true, true)
    );
    assert_eq!(last.4, [("👍".to_owned(), vec!["alice".to_owned()])]);
    for person in [0, 1] {
        world.restart(person);
    }
    assert_eq!(seen(&mut world, 0), seen(&mut world, 1));
    take_back(&mut world, own);
}

/// Of a message that is taken back nothing is left at either end.
fn take_back(world: &mut World, own: Target) {
    act(
        world,
        1,
        MessageCommand::Delete {
            target: own,
            client_id: id(5),
        },
    );
    let last = history(world, 0).pop().unwrap();
    assert_eq!(last.body, MessageBody::Deleted);
    assert!(last.details.reactions.is_empty() && !last.details.pinned);
    assert_eq!(seen(world, 0), seen(world, 1));
    assert!(world.engine(0).search("dear", None, 9).unwrap().is_empty());
    assert_eq!(failures(world, 0).len() + failures(world, 1).len(), 0);
}

#[test]
fn what_is_done_is_told_once_and_also_to_who_listens_later() {
    let mut world = World::contacts();
    world.people[1].listening = false;
    world.restart(1);
    world.people[1].events.clear();
    let hello = target(&mut world, 0, "hello");
    act(
        &mut world,
        0,
        MessageCommand::Edit {
            target: hello,
            text: "good day".to_owned(),
            mentions: Vec::new(),
            client_id: id(1),
        },
    );
    let told = |world: &World| {
        let edits = world.people[1].events.iter().filter(|event| {
            matches!(event, Event::Changed(change)
                if change.kind == ChangeKind::Edit("good day".to_owned()))
        });
        edits.count()
    };
    assert_eq!(told(&world), 0);
    world.people[1].listening = true;
    world.restart(1);
    assert_eq!(told(&world), 1);
    world.restart(1);
    assert_eq!(told(&world), 1);
}

#[test]
fn nobody_does_what_only_the_author_may() {
    let mut world = World::contacts();
    let hello = target(&mut world, 1, "hello");
    act(
        &mut world,
        1,
        MessageCommand::Edit {
            target: hello.clone(),
            text: "mine now".to_owned(),
            mentions: Vec::new(),
            client_id: id(1),
        },
    );
    act(
        &mut world,
        1,
        MessageCommand::Delete {
            target: hello,
            client_id: id(2),
        },
    );
    assert_eq!(failures(&world, 1), ["not_allowed", "not_allowed"]);
    let unknown = Target {
        talk: talk(1),
        message: MessageRef {
            device: sotto_protocol::DeviceId::from_bytes([9; 16]),
            id: id(77),
        },
    };
    act(
        &mut world,
        1,
        MessageCommand::React {
            target: unknown,
            emoji: thumb(),
            put: Put::On,
            client_id: id(3),
        },
    );
    assert_eq!(failures(&world, 1).last(), Some(&"unknown_message"));
    assert_eq!(seen(&mut world, 0), seen(&mut world, 1));
}

#[test]
fn messages_disappear_after_reading_at_both_ends() {
    let mut world = World::contacts();
    act(
        &mut world,
        0,
        MessageCommand::SetTimer {
            to: talk(0),
            expires_after_s: 60,
            client_id: id(1),
        },
    );
    assert_eq!(world.engine(1).chats().unwrap()[0].expires_after_s, 60);
    world.send(1, "alice", "a secret for a minute");
    world.run();
    world.settle();
    assert_eq!(history(&mut world, 0).len(), 2);
    world.advance(61_000);
    for person in [0, 1] {
        assert_eq!(seen(&mut world, person).len(), 1, "{person}");
        let hits = world.engine(person).search("secret", None, 9).unwrap();
        assert!(hits.is_empty());
        let expired = world.people[person]
            .events
            .iter()
            .filter(|event| matches!(event, Event::Expired(_)));
        assert_eq!(expired.count(), 1);
        world.restart(person);
        assert_eq!(seen(&mut world, person).len(), 1);
    }
}

#[test]
fn what_nobody_read_does_not_disappear() {
    let mut world = World::contacts();
    world.people[1].listening = false;
    world.restart(1);
    act(
        &mut world,
        0,
        MessageCommand::Write {
            to: talk(0),
            text: "later".to_owned(),
            options: SendOptions {
                expires_after_s: Some(5),
                ..SendOptions::default()
            },
            client_id: id(1),
        },
    );
    world.advance(60_000);
    assert_eq!(seen(&mut world, 0).len(), 1, "the sender's is gone");
    assert_eq!(seen(&mut world, 1).len(), 2, "the reader's is not read yet");
    assert_eq!(world.engine(1).chats().unwrap()[0].unread, 1);
    world.people[1].listening = true;
    world.restart(1);
    assert_eq!(world.texts(1).last().unwrap(), "later");
    world.advance(6_000);
    assert_eq!(seen(&mut world, 1).len(), 1);
}

#[test]
fn what_was_passed_on_says_so_and_drafts_and_mutes_stay() {
    let mut world = World::contacts();
    let hello = target(&mut world, 1, "hello");
    act(
        &mut world,
        1,
        MessageCommand::Forward {
            target: hello,
            to: talk(1),
            client_id: id(1),
        },
    );
    let last = history(&mut world, 0).pop().unwrap();
    assert!(last.details.forwarded);
    assert_eq!(last.body, MessageBody::Text("hello".to_owned()));
    act(
        &mut world,
        0,
        MessageCommand::Draft {
            to: talk(0),
            text: "half a".to_owned(),
        },
    );
    act(
        &mut world,
        0,
        MessageCommand::Mute {
            to: talk(0),
            mute: Some(Mute::MentionsOnly),
        },
    );
    world.restart(0);
    let chat = world.engine(0).chats().unwrap().remove(0);
    assert_eq!(chat.draft.as_deref(), Some("half a"));
    assert_eq!(chat.mute, Some(Mute::MentionsOnly));
    world.send(1, "alice", "psst");
    world.run();
    assert!(!history(&mut world, 0).pop().unwrap().details.notify);
}

#[test]
fn receipts_can_be_turned_off() {
    let mut world = World::contacts();
    act(&mut world, 1, MessageCommand::SetReceipts(Put::Off));
    world.restart(1);
    world.people[0].events.clear();
    world.send(0, "bob", "anybody there");
    world.run();
    world.settle();
    let heard = world.people[0]
        .events
        .iter()
        .any(|event| matches!(event, Event::Receipt(_)));
    assert!(!heard);
    act(&mut world, 1, MessageCommand::SetReceipts(Put::On));
    world.send(0, "bob", "and now");
    world.run();
    world.settle();
    let last = history(&mut world, 0).pop().unwrap();
    assert_eq!((last.details.delivered_to, last.details.read_by), (1, 1));
}

#[test]
fn a_queued_message_is_taken_back_without_a_trace() {
    let mut world = World::contacts();
    world.disconnect(0);
    world.send(0, "bob", "too hasty");
    let hasty = target(&mut world, 0, "too hasty");
    world.command(
        0,
        Command::Message(MessageCommand::Delete {
            target: hasty,
            client_id: id(1),
        }),
    );
    world.connect(0);
    world.run();
    world.settle();
    assert_eq!(seen(&mut world, 0), seen(&mut world, 1));
    assert_eq!(world.texts(1), ["hello"]);
}

#[test]
fn an_unsaved_conversation_does_it_all_in_memory() {
    let mut world = World::pair();
    world.send(0, "bob", "between us");
    world.run();
    world.command(
        1,
        Command::Accept {
            name: name("alice"),
            keep: Keep::Unsaved,
        },
    );
    world.run();
    world.settle();
    let first = target(&mut world, 0, "between us");
    act(
        &mut world,
        0,
        MessageCommand::Edit {
            target: first,
            text: "strictly between us".to_owned(),
            mentions: Vec::new(),
            client_id: id(1),
        },
    );
    let seen_by_bob = seen(&mut world, 1);
    assert_eq!(seen_by_bob[0].2, "strictly between us");
    assert_eq!(
        world.engine(1).search("strictly", None, 9).unwrap().len(),
        1
    );
    world.restart(1);
    assert!(seen(&mut world, 1).is_empty(), "closing it forgets it");
    assert!(
        world
            .engine(1)
            .search("strictly", None, 9)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_was_not_sent_of_an_unsaved_conversation_is_forgotten_at_the_end() {
    let mut world = World::pair();
    world.send(0, "bob", "between us");
    world.run();
    world.command(
        1,
        Command::Accept {
            name: name("alice"),
            keep: Keep::Unsaved,
        },
    );
    world.run();
    world.settle();
    world.send(1, "alice", "arrives");
    world.run();
    world.settle();
    world.disconnect(1);
    world.send(1, "alice", "does not");
    world.restart(1);
    world.settle();
    world.send(1, "alice", "arrives too");
    world.run();
    world.settle();
    assert_eq!(world.texts(0), ["arrives", "arrives too"]);
    assert_eq!(world.security(0, SecurityKind::Gap), 0);
}

/// One step of a life of two people.
#[derive(Debug, Clone)]
enum Step {
    Say(usize),
    Edit(usize, prop::sample::Index),
    Delete(usize, prop::sample::Index),
    React(usize, prop::sample::Index, Put),
    Pin(usize, prop::sample::Index, Put),
    Restart(usize),
    Part(usize),
    Meet(usize),
}

fn put() -> impl Strategy<Value = Put> {
    prop::sample::select(vec![Put::On, Put::Off])
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..2_usize;
    let which = any::<prop::sample::Index>;
    prop_oneof![
        3 => who.clone().prop_map(Step::Say),
        3 => (who.clone(), which()).prop_map(|(who, which)| Step::Edit(who, which)),
        1 => (who.clone(), which()).prop_map(|(who, which)| Step::Delete(who, which)),
        2 => (who.clone(), which(), put())
            .prop_map(|(who, which, off)| Step::React(who, which, off)),
        1 => (who.clone(), which(), put())
            .prop_map(|(who, which, off)| Step::Pin(who, which, off)),
        1 => who.clone().prop_map(Step::Restart),
        1 => who.clone().prop_map(Step::Part),
        1 => who.prop_map(Step::Meet),
    ]
}

fn take(world: &mut World, number: u8, step: Step) {
    let client_id = id(number);
    let pick = |world: &mut World, who: usize, which: prop::sample::Index| {
        let messages = history(world, who);
        (!messages.is_empty()).then(|| target_of(which.get(&messages)))
    };
    let (who, command) = match step {
        Step::Say(who) => {
            world.send(who, NAMES[1 - who], &format!("message {number}"));
            return;
        }
        Step::Restart(who) => {
            world.kill(who);
            world.start(who);
            world.connect(who);
            return;
        }
        Step::Part(who) => return world.disconnect(who),
        Step::Meet(who) => {
            if !world.people[who].online {
                world.connect(who);
            }
            world.run();
            return;
        }
        Step::Edit(who, which) => (
            who,
            pick(world, who, which).map(|target| MessageCommand::Edit {
                target,
                text: format!("edit {number}"),
                mentions: Vec::new(),
                client_id,
            }),
        ),
        Step::Delete(who, which) => (
            who,
            pick(world, who, which).map(|target| MessageCommand::Delete { target, client_id }),
        ),
        Step::React(who, which, off) => (
            who,
            pick(world, who, which).map(|target| MessageCommand::React {
                target,
                emoji: thumb(),
                put: off,
                client_id,
            }),
        ),
        Step::Pin(who, which, off) => (
            who,
            pick(world, who, which).map(|target| MessageCommand::Pin {
                target,
                put: off,
                client_id,
            }),
        ),
    };
    if let Some(command) = command {
        world.command(who, Command::Message(command));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_agree_whatever_happens_when(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::contacts();
        for (number, step) in steps.into_iter().enumerate() {
            take(&mut world, u8::try_from(number).unwrap(), step);
        }
        for person in [0, 1] {
            if !world.people[person].online {
                world.connect(person);
            }
        }
        world.run();
        world.advance(60_000);
        prop_assert_eq!(seen(&mut world, 0), seen(&mut world, 1));
    }
}
