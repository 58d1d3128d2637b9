//! A screen of many conversations: what arrives is handed over and stays unread until the person
//! saw it; history comes page by page.

use sotto_client::engine::api::{Command, Event, MessageBody};
use sotto_client::talk::Talk;

use crate::world::{World, name};

fn bob() -> Talk {
    Talk::from(name("bob"))
}

fn alice() -> Talk {
    Talk::from(name("alice"))
}

fn unread(world: &mut World, person: usize) -> u64 {
    let chats = world.engine(person).chats().unwrap();
    chats.iter().map(|chat| chat.unread).sum()
}

/// Up to where bob told alice that he read.
fn read_up_to(world: &World) -> u64 {
    let events = world.people[0].events.iter();
    let read = events.filter_map(|event| match event {
        Event::Receipt(receipt) => Some(receipt.read_up_to),
        _ => None,
    });
    read.max().unwrap_or(0)
}

#[test]
fn what_arrives_is_unread_until_it_was_seen() {
    let mut world = World::contacts();
    world.people[1].listening = false;
    world.restart(1);
    world.settle();
    let now = world.now;
    world.engine(1).watch(now).unwrap();
    let before = read_up_to(&world);
    world.people[1].events.clear();
    for text in ["one", "two"] {
        world.send(0, "bob", text);
    }
    world.run();
    world.settle();
    assert_eq!(world.texts(1), ["one", "two"], "handed over at once");
    assert_eq!(unread(&mut world, 1), 2);
    assert_eq!(read_up_to(&world), before);

    let overview = world.engine(1).overview(&alice()).unwrap();
    let first = overview.first_unseen.unwrap();
    let now = world.now;
    world.engine(1).seen_up_to(&alice(), first, now).unwrap();
    world.settle();
    assert_eq!(unread(&mut world, 1), 1);
    assert_eq!(read_up_to(&world), first);
    let now = world.now;
    world.engine(1).seen_up_to(&alice(), u64::MAX, now).unwrap();
    world.settle();
    assert_eq!(unread(&mut world, 1), 0);
    assert_eq!(read_up_to(&world), first + 1);
    let overview = world.engine(1).overview(&alice()).unwrap();
    assert_eq!(overview.first_unseen, None);
    assert_eq!(overview.post_quantum, Some(true));
    assert_eq!((overview.others, overview.verified), (1, 0));
    assert!(overview.changed.is_empty());
}

#[test]
fn history_comes_page_by_page() {
    let mut world = World::contacts();
    for number in 0..12 {
        world.send(0, "bob", &format!("message {number}"));
    }
    world.run();
    world.settle();
    let mut found = Vec::new();
    let mut before = u64::MAX;
    loop {
        let page = world.engine(0).messages_before(&bob(), before, 5).unwrap();
        let Some(first) = page.first() else {
            break;
        };
        assert!(page.len() <= 5);
        before = first.seq;
        let texts = page.into_iter().rev().map(|message| match message.body {
            MessageBody::Text(text) => text,
            other => format!("{other:?}"),
        });
        found.extend(texts);
    }
    found.reverse();
    assert_eq!(found.len(), 13, "{found:?}");
    assert_eq!(found.last().unwrap(), "message 11");
    assert!(world.engine(0).waiting(&bob()).unwrap().is_empty());
}

#[test]
fn what_waits_to_be_sent_is_told_apart() {
    let mut world = World::contacts();
    world.disconnect(0);
    world.send(0, "bob", "later");
    let waiting = world.engine(0).waiting(&bob()).unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].seq, 0);
    world.command(0, Command::Block { name: name("bob") });
    let overview = world.engine(0).overview(&bob()).unwrap();
    assert_eq!(
        overview.standing,
        sotto_client::engine::screen::Standing::Blocked
    );
}
