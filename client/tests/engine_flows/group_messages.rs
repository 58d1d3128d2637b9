//! What admins may do with messages of a group, and what newcomers learn.

use sotto_client::engine::api::{
    Command, GroupCommand, Message, MessageBody, MessageCommand, Put, Target,
};
use sotto_client::talk::Talk;
use sotto_crypto::content::MessageRef;
use sotto_protocol::{ClientMessageId, ConversationId};

use crate::world::{World, name};

const PEOPLE: usize = 3;

fn history(world: &mut World, person: usize, group: ConversationId) -> Vec<Message> {
    let talk = Talk::Group(group);
    world.engine(person).history(&talk, 1_000).unwrap()
}

fn last(world: &mut World, person: usize, group: ConversationId) -> Target {
    let message = history(world, person, group).pop().unwrap();
    Target {
        talk: message.talk,
        message: MessageRef {
            device: message.device,
            id: message.id,
        },
    }
}

fn id(number: u8) -> ClientMessageId {
    ClientMessageId::from_bytes([200 + number; 16])
}

fn act(world: &mut World, person: usize, command: MessageCommand) {
    world.command(person, Command::Message(command));
    world.run();
    world.settle();
}

/// Bodies and pins as all members must see them.
fn agreed(world: &mut World, group: ConversationId) -> Vec<(MessageBody, bool, bool)> {
    let seen: Vec<Vec<_>> = (0..PEOPLE)
        .map(|person| {
            history(world, person, group)
                .into_iter()
                .map(|message| (message.body, message.details.edited, message.details.pinned))
                .collect()
        })
        .collect();
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    seen.into_iter().next().unwrap()
}

fn timer(world: &mut World, person: usize, group: ConversationId) -> u32 {
    let chats = world.engine(person).chats().unwrap();
    let chat = chats
        .into_iter()
        .find(|chat| chat.talk == Talk::Group(group));
    chat.unwrap().expires_after_s
}

#[test]
fn admins_take_back_and_pin_and_members_only_what_is_theirs() {
    let (mut world, group) = World::group(PEOPLE);
    world.say(1, group, "oops");
    world.settle();
    let oops = last(&mut world, 2, group);
    for command in [
        MessageCommand::Delete {
            target: oops.clone(),
            client_id: id(1),
        },
        MessageCommand::Pin {
            target: oops.clone(),
            put: Put::On,
            client_id: id(2),
        },
        MessageCommand::SetTimer {
            to: Talk::Group(group),
            expires_after_s: 60,
            client_id: id(3),
        },
    ] {
        let before = world.failures(2).len();
        act(&mut world, 2, command);
        let failures = world.failures(2);
        assert_eq!(failures.len(), before + 1);
        assert_eq!(failures.last().unwrap().code, "not_allowed");
    }
    act(
        &mut world,
        0,
        MessageCommand::Pin {
            target: oops.clone(),
            put: Put::On,
            client_id: id(4),
        },
    );
    act(
        &mut world,
        1,
        MessageCommand::Edit {
            target: oops.clone(),
            text: "well".to_owned(),
            mentions: Vec::new(),
            client_id: id(5),
        },
    );
    let well = MessageBody::Text("well".to_owned());
    assert_eq!(agreed(&mut world, group).last(), Some(&(well, true, true)));
    act(
        &mut world,
        0,
        MessageCommand::Delete {
            target: oops,
            client_id: id(6),
        },
    );
    let gone = (MessageBody::Deleted, false, false);
    assert_eq!(agreed(&mut world, group).last(), Some(&gone));
}

#[test]
fn a_newcomer_learns_the_timer() {
    let (mut world, group) = World::group(PEOPLE);
    act(
        &mut world,
        0,
        MessageCommand::SetTimer {
            to: Talk::Group(group),
            expires_after_s: 90,
            client_id: id(1),
        },
    );
    assert_eq!(timer(&mut world, 2, group), 90);
    let add = GroupCommand::Add {
        group,
        names: vec![name("dave")],
    };
    world.command(0, Command::Group(add));
    world.run();
    world.command(3, Command::Group(GroupCommand::Join { group }));
    world.run();
    world.settle();
    assert_eq!(timer(&mut world, 3, group), 90);
}

#[test]
fn what_was_queued_by_somebody_put_out_meanwhile_stays_as_not_sent() {
    let (mut world, group) = World::group(PEOPLE);
    world.say(1, group, "before");
    world.disconnect(1);
    world.say(1, group, "never left");
    let remove = GroupCommand::Remove {
        group,
        names: world.one("bob"),
    };
    world.group_command(0, remove);
    world.say(0, group, "after");
    world.connect(1);
    world.run();
    world.restart(1);
    let kept = history(&mut world, 1, group);
    let shown: Vec<_> = kept
        .iter()
        .map(|message| {
            let why = message.details.not_sent.as_ref();
            (
                crate::world::text_of(message),
                why.map(|why| why.code.as_str()),
            )
        })
        .collect();
    let expected = [
        ("before".to_owned(), None),
        ("never left".to_owned(), Some("not_a_member")),
    ];
    assert_eq!(shown, expected);
    assert_eq!(world.engine(1).queued().unwrap(), 0);
    // Nobody can do anything to it but pass it on or take it away.
    let unsent = last(&mut world, 1, group);
    let command = MessageCommand::Delete {
        target: unsent,
        client_id: id(1),
    };
    act(&mut world, 1, command);
    assert_eq!(history(&mut world, 1, group).len(), 1);
}

#[test]
fn what_was_queued_in_a_group_that_one_leaves_stays_as_not_sent() {
    let (mut world, group) = World::group(PEOPLE);
    world.disconnect(1);
    world.say(1, group, "too late");
    world.command(1, Command::Group(GroupCommand::Leave { group }));
    world.connect(1);
    world.run();
    world.settle();
    let kept = history(&mut world, 1, group);
    let sent_or_kept = kept.len() == 1 && kept[0].details.not_sent.is_some() != (kept[0].seq > 0);
    assert!(sent_or_kept, "{kept:?}");
}
