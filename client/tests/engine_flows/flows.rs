//! From registration to reading the history.

use sotto_client::engine::Verification;
use sotto_client::engine::api::{Command, Event, Keep, SecurityKind};
use sotto_protocol::wire::server_frame::Body as Answer;

use crate::world::{World, name};

#[test]
fn a_stranger_asks_is_accepted_and_both_talk() {
    let mut world = World::pair();
    world.send(0, "bob", "hello bob");
    world.run();
    world.settle();
    assert_eq!(world.sent(0), 1, "{:?}", world.people[0].events);
    assert_eq!(world.requests(1), 1, "{:?}", world.people[1].events);
    assert!(world.texts(1).is_empty(), "nothing is shown before consent");

    world.accept(1, "alice");
    assert_eq!(world.texts(1), ["hello bob"]);
    world.send(1, "alice", "hello alice");
    world.run();
    world.settle();
    assert_eq!(world.texts(0), ["hello alice"]);
    assert_eq!(world.history(0, "bob"), ["hello bob", "hello alice"]);
    assert_eq!(world.history(1, "alice"), ["hello bob", "hello alice"]);

    world.restart(1);
    assert_eq!(world.history(1, "alice"), ["hello bob", "hello alice"]);
    assert_eq!(world.texts(1).len(), 1, "what was shown is not shown again");
    for person in [0, 1] {
        let alarms = world.people[person]
            .events
            .iter()
            .filter(|event| matches!(event, Event::Security(_)));
        assert_eq!(alarms.count(), 0, "{:?}", world.people[person].events);
    }
}

#[test]
fn nothing_goes_back_to_a_stranger() {
    let mut world = World::pair();
    world.relay.asked.clear();
    for text in ["one", "two", "three"] {
        world.send(0, "bob", text);
        world.run();
    }
    world.settle();
    let asked = world.relay.asked.remove(&1).unwrap_or_default();
    assert_eq!(asked, ["acknowledge"], "only the mailbox is acknowledged");
}

#[test]
fn writing_to_who_asked_accepts() {
    let mut world = World::pair();
    world.send(0, "bob", "hello");
    world.run();
    world.send(1, "alice", "hello too");
    world.run();
    world.settle();
    assert_eq!(world.texts(1), ["hello"]);
    assert_eq!(world.texts(0), ["hello too"]);
}

#[test]
fn both_begin_at_once_and_meet() {
    let mut world = World::pair();
    world.send(0, "bob", "from alice");
    world.send(1, "alice", "from bob");
    world.run();
    world.settle();
    assert_eq!(world.texts(0), ["from bob"]);
    assert_eq!(world.texts(1), ["from alice"]);
    let conversations = world
        .relay
        .logs
        .values()
        .filter(|log| log.epoch() > 0)
        .count();
    assert_eq!(conversations, 1);
}

#[test]
fn messages_to_somebody_offline_arrive_later_in_order() {
    let mut world = World::contacts();
    world.disconnect(1);
    let texts: Vec<String> = (0..20).map(|n| format!("message {n}")).collect();
    for text in &texts {
        world.send(0, "bob", text);
    }
    world.run();
    assert_eq!(world.sent(0), 21);
    world.connect(1);
    world.run();
    assert_eq!(world.texts(1)[1..], texts);
    assert_eq!(world.security(1, SecurityKind::Gap), 0);
}

#[test]
fn a_declined_request_is_forgotten_and_a_blocked_person_is_not_heard() {
    let mut world = World::pair();
    world.register("carol");
    world.send(0, "bob", "hello");
    world.send(2, "bob", "buy this");
    world.run();
    assert_eq!(world.requests(1), 2);
    world.command(
        1,
        Command::Decline {
            name: name("alice"),
        },
    );
    world.command(
        1,
        Command::Block {
            name: name("carol"),
        },
    );
    world.send(0, "bob", "are you there");
    world.send(2, "bob", "buy more");
    world.run();
    world.settle();
    assert!(world.texts(1).is_empty());
    // Who writes again asks again; who is blocked does not.
    let waiting = |world: &mut World| {
        let requests = world.engine(1).requests().unwrap();
        let names = requests.into_iter().map(|request| request.from.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(waiting(&mut world), ["alice"]);
    world.restart(1);
    world.settle();
    assert!(world.texts(1).is_empty());
    assert_eq!(world.requests(1), 3);

    let (of_alice, of_carol) = (name("alice"), name("carol"));
    world.command(1, Command::Unblock { name: of_carol });
    world.run();
    assert_eq!(waiting(&mut world), ["alice"]);
    // Renewals of keys while nobody reads do not ask, and what comes after them is read.
    world.advance(25 * 3_600_000);
    assert_eq!(waiting(&mut world), ["alice"]);
    world.send(2, "bob", "I am sorry");
    world.run();
    assert_eq!(waiting(&mut world), ["alice", "carol"]);
    for name in [of_alice, name("carol")] {
        let keep = Keep::Saved;
        world.command(1, Command::Accept { name, keep });
        world.run();
    }
    world.settle();
    assert_eq!(world.texts(1), ["are you there", "I am sorry"]);
    assert_eq!(world.security(1, SecurityKind::Gap), 0);
    world.send(1, "carol", "never mind");
    world.run();
    assert_eq!(world.texts(2), ["never mind"]);
}

#[test]
fn an_unsaved_conversation_leaves_no_messages_on_disk() {
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
    assert_eq!(world.texts(1), ["hello"]);
    assert_eq!(world.history(1, "alice"), ["hello"]);
    world.restart(1);
    assert!(world.history(1, "alice").is_empty());
    world.send(0, "bob", "again");
    world.run();
    assert_eq!(world.texts(1), ["hello", "again"]);
}

#[test]
fn both_see_one_safety_number_and_verify_it() {
    let mut world = World::contacts();
    let mine = world
        .engine(0)
        .safety_number(&name("bob"))
        .unwrap()
        .unwrap();
    let theirs = world
        .engine(1)
        .safety_number(&name("alice"))
        .unwrap()
        .unwrap();
    assert_eq!(mine.digits, theirs.digits);
    let now = world.now;
    let bob = name("bob");
    assert_eq!(
        world.engine(0).verify(&bob, "12345", now).unwrap(),
        Verification::Differs
    );
    assert_eq!(
        world.engine(0).verify(&bob, &theirs.digits, now).unwrap(),
        Verification::Confirmed
    );
    let verified = world.engine(0).safety_number(&bob).unwrap().unwrap();
    assert_eq!(verified.verified_at_ms, Some(now.unix_ms));
}

#[test]
fn keys_are_renewed_on_their_bound_while_both_write() {
    let mut world = World::contacts();
    let epoch = world.relay.log_of_pair().1.epoch();
    world.advance(100_000);
    let after_join = world.relay.log_of_pair().1.epoch();
    assert_eq!(after_join, epoch + 1, "who joined renews soon");
    for n in 0..60 {
        world.send(0, "bob", &format!("a{n}"));
        world.send(1, "alice", &format!("b{n}"));
    }
    world.run();
    world.settle();
    world.advance(25 * 3_600_000);
    assert!(
        world.relay.log_of_pair().1.epoch() >= after_join + 2,
        "both renew each day"
    );
    world.send(0, "bob", "last");
    world.run();
    world.settle();
    assert_eq!(world.texts(1).len(), 62);
    assert_eq!(world.texts(0).len(), 60);
    assert_eq!(world.security(0, SecurityKind::RecoveryStarted), 0);
    assert_eq!(world.security(1, SecurityKind::RecoveryStarted), 0);
}

#[test]
fn receipts_reach_the_sender() {
    let mut world = World::contacts();
    world.send(0, "bob", "did it arrive");
    world.run();
    world.settle();
    let sent = world.engine(0).history(&name("bob").into(), 1).unwrap()[0].seq;
    let receipts = world.people[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Receipt(receipt) => Some(receipt.delivered_up_to),
            _ => None,
        });
    assert_eq!(receipts.max(), Some(sent));
}

#[test]
fn a_conversation_that_the_other_made_meanwhile_is_not_made_again() {
    let mut world = World::pair();
    world.settle();
    // Bob's key packages for a conversation of his own come after alice's invitation.
    let mut late = None;
    world.tap = Some(Box::new(move |person, frame| match &frame.body {
        Some(Answer::ClaimedKeyPackages(_)) if person == 1 => {
            late = Some(frame);
            Vec::new()
        }
        Some(Answer::Deliver(_)) if person == 1 => {
            std::iter::once(frame).chain(late.take()).collect()
        }
        _ => vec![frame],
    }));
    world.send(1, "alice", "from bob");
    world.run();
    world.send(0, "bob", "from alice");
    world.run();
    world.tap = None;
    world.send(0, "bob", "and more");
    world.settle();
    assert_eq!(world.texts(0), ["from bob"]);
    assert_eq!(world.texts(1), ["from alice", "and more"]);
}
