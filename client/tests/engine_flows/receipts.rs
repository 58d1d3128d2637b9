//! Receipts say what arrived and what was shown, to contacts only, seldom,
//! and never cause others.

use sotto_client::engine::api::{Command, Event, Keep, SecurityKind};
use sotto_protocol::wire::Envelope;
use sotto_protocol::wire::server_frame::Body as Answer;

use crate::world::{World, name, text_of};

/// The receipts that a person heard: delivered and read.
fn heard(world: &World, person: usize) -> Vec<(u64, u64)> {
    world.people[person]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Receipt(receipt) => Some((receipt.delivered_up_to, receipt.read_up_to)),
            _ => None,
        })
        .collect()
}

fn last_seq(world: &mut World) -> u64 {
    world.engine(0).history(&name("bob").into(), 1).unwrap()[0].seq
}

#[test]
fn what_was_shown_is_read() {
    let mut world = World::contacts();
    world.send(0, "bob", "do you see it");
    world.run();
    world.settle();
    let sent = last_seq(&mut world);
    assert_eq!(heard(&world, 0).last(), Some(&(sent, sent)));
}

#[test]
fn what_was_not_shown_is_only_delivered_until_somebody_looks() {
    let mut world = World::contacts();
    world.people[1].listening = false;
    world.restart(1);
    world.settle();
    let before = last_seq(&mut world);
    world.send(0, "bob", "for later");
    world.run();
    world.settle();
    let sent = last_seq(&mut world);
    assert_eq!(heard(&world, 0).last(), Some(&(sent, before)));

    world.people[1].listening = true;
    world.kill(1);
    world.start(1);
    assert_eq!(world.texts(1).last().unwrap(), "for later");
    world.kill(1);
    // Shown without a server; told when there is one, by whatever command.
    world.people[1].listening = false;
    world.start(1);
    world.connect(1);
    world.run();
    world.settle();
    assert_eq!(heard(&world, 0).last(), Some(&(sent, sent)));
}

#[test]
fn a_command_that_ends_at_once_still_tells() {
    let mut world = World::contacts();
    world.send(0, "bob", "quick");
    world.run();
    let now = world.now;
    world.engine(1).hurry_receipts(now).unwrap();
    assert!(world.engine(1).receipts_leaving().unwrap());
    world.run();
    assert!(!world.engine(1).receipts_leaving().unwrap());
    let sent = last_seq(&mut world);
    assert_eq!(heard(&world, 0).last(), Some(&(sent, sent)));
}

#[test]
fn receipts_are_seldom_and_never_answer_each_other() {
    let mut world = World::contacts();
    world.settle();
    let before = heard(&world, 0).len();
    for n in 0..40 {
        world.send(0, "bob", &format!("burst {n}"));
        world.run();
        world.advance(100);
    }
    world.settle();
    let sent = last_seq(&mut world);
    let receipts = heard(&world, 0);
    assert_eq!(receipts.last(), Some(&(sent, sent)));
    // 4 s of writing: one soon, one each 2 s, one at the end.
    let count = receipts.len() - before;
    assert!((1..=4).contains(&count), "{count}");

    let entries = world.relay.log_of_pair().1.entries.len();
    world.advance(20_000);
    assert_eq!(world.relay.log_of_pair().1.entries.len(), entries);
    assert!(heard(&world, 1).is_empty(), "nobody wrote to alice");
    assert_eq!(world.history(0, "bob").len(), 41);
    assert_eq!(world.history(1, "alice").len(), 41);
    assert_eq!(world.texts(0), Vec::<String>::new());
}

#[test]
fn a_blocked_person_hears_no_receipt() {
    let mut world = World::contacts();
    world.settle();
    let before = heard(&world, 0).len();
    world.send(0, "bob", "read before the block");
    world.run();
    world.command(
        1,
        Command::Block {
            name: name("alice"),
        },
    );
    world.send(0, "bob", "after it");
    world.run();
    world.settle();
    world.restart(1);
    world.settle();
    assert_eq!(heard(&world, 0).len(), before);
}

#[test]
fn an_unsaved_conversation_tells_what_was_shown() {
    let mut world = World::pair();
    world.send(0, "bob", "hello");
    world.run();
    world.command(
        1,
        Command::Accept {
            name: name("alice"),
            keep: Keep::Unsaved,
        },
    );
    world.run();
    world.send(0, "bob", "again");
    world.run();
    world.settle();
    let sent = last_seq(&mut world);
    assert_eq!(heard(&world, 0).last(), Some(&(sent, sent)));
    world.people[1].listening = false;
    world.restart(1);
    world.send(0, "bob", "nobody looks");
    world.run();
    world.settle();
    assert_eq!(heard(&world, 0).last(), Some(&(sent, sent)));
}

/// Of what alice wrote to bob: the text, how many it was delivered to, how many read it.
fn reached(world: &mut World) -> Vec<(String, u64, u64)> {
    let said = world.engine(0).history(&name("bob").into(), 100).unwrap();
    let own = said
        .iter()
        .filter(|message| message.sender == name("alice"));
    own.map(|message| {
        let details = &message.details;
        (text_of(message), details.delivered_to, details.read_by)
    })
    .collect()
}

fn row(text: &str, delivered_to: u64, read_by: u64) -> (String, u64, u64) {
    (text.to_owned(), delivered_to, read_by)
}

#[test]
fn nothing_that_a_lost_device_was_to_get_counts_as_delivered_to_the_next() {
    let mut world = World::contacts();
    world.settle();
    world.disconnect(1);
    world.send(0, "bob", "into the void");
    world.run();
    let again = world.begin_anew(1, "bob");
    world.send(again, "alice", "here I am");
    world.run();
    world.settle();
    world.accept(0, "bob");
    world.send(0, "bob", "welcome back");
    world.run();
    world.settle();
    assert_eq!(world.texts(0), ["here I am"]);
    assert_eq!(world.texts(again), ["welcome back"]);
    assert_eq!(
        reached(&mut world),
        [
            row("hello", 1, 1),
            row("into the void", 0, 0),
            row("welcome back", 1, 1)
        ]
    );
}

#[test]
fn what_arrived_before_a_hole_is_told_and_the_hole_is_not() {
    let mut world = World::contacts();
    world.settle();
    // Told to nobody yet, for the connection is gone before its time.
    world.send(0, "bob", "arrives");
    world.run();
    world.disconnect(1);
    world.send(0, "bob", "withheld");
    world.run();
    let withheld = last_seq(&mut world);
    world.send(0, "bob", "arrives too");
    world.run();
    world.tap = Some(Box::new(move |_, mut frame| {
        if let Some(Answer::Deliver(deliver)) = &mut frame.body {
            let kept = |envelope: &Envelope| envelope.seq != withheld;
            deliver.envelopes.retain(kept);
        }
        vec![frame]
    }));
    world.connect(1);
    world.run();
    world.settle();
    assert_eq!(world.texts(1), ["hello", "arrives", "arrives too"]);
    assert_eq!(world.security(1, SecurityKind::Gap), 2);
    assert_eq!(
        reached(&mut world),
        [
            row("hello", 1, 1),
            row("arrives", 1, 1),
            row("withheld", 0, 0),
            row("arrives too", 1, 1)
        ]
    );
}
