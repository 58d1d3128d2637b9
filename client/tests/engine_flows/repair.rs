//! Conversations that cannot go on and go on nevertheless.

use sotto_client::engine::Engine;
use sotto_client::engine::api::{
    Command, Connection, ConnectionInfo, Event, Keep, Login, SecurityKind,
};
use sotto_client::profile::{Profile, ProfileError, Unlock};
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{self, EnvelopeKind};
use sotto_protocol::{DeploymentId, ErrorCode};

use crate::world::{World, name};

/// Turns one conversation's commits, as delivered to one person, into noise.
fn spoil_commits(world: &mut World, whose: usize) {
    world.tap = Some(Box::new(move |person, mut frame| {
        if let Some(Answer::Deliver(deliver)) = &mut frame.body {
            for envelope in &mut deliver.envelopes {
                let commit = envelope.kind == i32::from(EnvelopeKind::Commit);
                if person == whose && commit && !envelope.payload.is_empty() {
                    envelope.payload = vec![0x42; 64].into();
                }
            }
        }
        vec![frame]
    }));
}

#[test]
fn a_commit_that_nobody_can_merge_is_repaired_within_ten_seconds() {
    let mut world = World::contacts();
    world.disconnect(0);
    spoil_commits(&mut world, 0);
    // Bob's renewal after joining reaches alice as noise.
    world.advance(100_000);
    world.connect(0);
    world.run();
    world.send(0, "bob", "still there?");
    world.run();
    world.advance(10_000);
    assert!(world.security(0, SecurityKind::PolicyRejected) >= 1);
    assert_eq!(world.texts(1), ["hello", "still there?"]);
    world.send(1, "alice", "yes");
    world.run();
    world.settle();
    assert_eq!(world.texts(0), ["yes"]);
    assert_eq!(world.security(0, SecurityKind::RecoveryDone), 1);
}

#[test]
fn a_stale_epoch_is_sealed_again_and_order_stays() {
    let mut world = World::contacts();
    world.disconnect(1);
    for n in 0..5 {
        world.send(1, "alice", &format!("b{n}"));
    }
    // Alice renews her keys while bob is away.
    world.advance(25 * 3_600_000);
    for n in 0..5 {
        world.send(0, "bob", &format!("a{n}"));
    }
    world.run();
    world.connect(1);
    world.run();
    world.settle();
    assert_eq!(world.texts(0), ["b0", "b1", "b2", "b3", "b4"]);
    assert_eq!(world.texts(1), ["hello", "a0", "a1", "a2", "a3", "a4"]);
}

#[test]
fn a_server_that_refuses_for_a_while_is_asked_again() {
    let mut world = World::contacts();
    let mut left = 4;
    world.tap = Some(Box::new(move |person, mut frame| {
        if person == 0 && left > 0 && matches!(frame.body, Some(Answer::Appended(_))) {
            left -= 1;
            frame.body = Some(Answer::Error(wire::Error {
                code: ErrorCode::Unavailable as u32,
                retry_after_ms: 100,
                ..wire::Error::default()
            }));
        }
        vec![frame]
    }));
    for n in 0..3 {
        world.send(0, "bob", &format!("{n}"));
    }
    world.advance(60_000);
    assert_eq!(world.texts(1), ["hello", "0", "1", "2"]);
    assert_eq!(world.sent(0), 4);
}

#[test]
fn an_answer_that_never_comes_ends_the_session_and_not_the_message() {
    let mut world = World::contacts();
    world.tap = Some(Box::new(|person, frame| {
        let silent = person == 0 && matches!(frame.body, Some(Answer::Appended(_)));
        if silent { Vec::new() } else { vec![frame] }
    }));
    world.send(0, "bob", "hello again");
    world.advance(40_000);
    let lost = Event::Connection(Connection::Lost);
    assert!(world.people[0].events.contains(&lost));
    world.tap = None;
    world.disconnect(0);
    world.connect(0);
    world.run();
    assert_eq!(world.texts(1), ["hello", "hello again"]);
    assert_eq!(world.engine(0).queued().unwrap(), 0);
}

#[test]
fn another_deployment_is_told_nothing() {
    let mut world = World::contacts();
    world.disconnect(0);
    let now = world.now;
    let info = ConnectionInfo {
        deployment: DeploymentId::from_bytes([0xbb; 16]),
        nonce: vec![7; 32],
        exporter: [9; 32],
        node: "impostor".to_owned(),
        server_time_ms: 0,
    };
    let engine = world.engine(0);
    engine.handle_connected(info, now).unwrap();
    assert!(engine.poll_frame().is_none());
    let events: Vec<_> = std::iter::from_fn(|| engine.poll_event()).collect();
    assert!(events.contains(&Event::Connection(Connection::Refused)));
    assert!(
        matches!(&events[0], Event::Security(event) if event.kind == SecurityKind::PinMismatch)
    );
}

#[test]
fn unknown_people_and_impossible_messages_are_answered_plainly() {
    let mut world = World::contacts();
    world.send(0, "nobody", "hello?");
    world.run();
    world.send(0, "alice", "to myself");
    world.send(0, "bob", &"x".repeat(70_000));
    world.command(
        1,
        Command::Accept {
            name: name("nobody"),
            keep: Keep::Saved,
        },
    );
    let codes: Vec<_> = world
        .failures(0)
        .iter()
        .map(|failure| failure.code)
        .collect();
    assert_eq!(codes, ["unknown_user", "self", "too_large"]);
    assert_eq!(world.failures(1)[0].code, "not_a_request");
    assert_eq!(world.engine(0).queued().unwrap(), 0);
    world.send(0, "bob", &"x".repeat(65_536));
    world.run();
    assert_eq!(world.texts(1)[1].len(), 65_536);
}

#[test]
fn messages_nobody_listened_for_are_shown_by_the_next_who_does() {
    let mut world = World::contacts();
    world.kill(1);
    world.people[1].listening = false;
    world.restart(1);
    world.send(0, "bob", "while nobody looked");
    world.run();
    assert_eq!(world.texts(1), ["hello"]);
    world.kill(1);
    world.people[1].listening = true;
    world.start(1);
    assert_eq!(world.texts(1), ["hello", "while nobody looked"]);
    world.restart(1);
    assert_eq!(world.texts(1).len(), 2);
}

#[test]
fn two_programs_on_one_profile_are_one_too_many() {
    let world = World::pair();
    let second = Profile::open(&world.people[0].location, Unlock::Session);
    assert!(matches!(second, Err(ProfileError::InUse)));
}

#[test]
fn a_registration_whose_answer_was_lost_can_be_repeated() {
    let mut world = World::new();
    world.tap = Some(Box::new(|_, frame| match frame.body {
        Some(Answer::LoggedIn(_)) => Vec::new(),
        _ => vec![frame],
    }));
    let person = world.register("alice");
    world.tap = None;
    world.kill(person);
    let location = world.people[person].location.clone();
    let profile = Profile::open(&location, Unlock::Session).unwrap();
    let authentication_key = profile.authentication_key(crate::world::PASSWORD).unwrap();
    let login = Login::Register {
        authentication_key,
        invite: None,
    };
    let now = world.now;
    world.people[person].engine = Some(Engine::new(profile, login, [5; 32], now).unwrap());
    world.connect(person);
    world.run();
    let logged_in = Event::Connection(Connection::LoggedIn("relay".to_owned()));
    assert!(world.people[person].events.contains(&logged_in));
    assert!(world.failures(person).is_empty());
}

/// What waits at the server for somebody to listen waits whole, however much
/// it is: passing a part of it unread once lost all after the 128th message.
#[test]
fn many_messages_of_an_unsaved_conversation_wait_for_who_listens() {
    let mut world = World::pair();
    world.send(0, "bob", "hello");
    world.run();
    let accept = Command::Accept {
        name: name("alice"),
        keep: Keep::Unsaved,
    };
    world.command(1, accept);
    world.run();
    world.people[1].listening = false;
    world.restart(1);
    let sent: Vec<String> = (0..200).map(|number| format!("waits {number}")).collect();
    for text in &sent {
        world.send(0, "bob", text);
    }
    world.run();
    world.people[1].events.clear();
    world.people[1].listening = true;
    world.restart(1);
    world.settle();
    let shown: Vec<_> = world
        .texts(1)
        .into_iter()
        .filter(|text| sent.contains(text))
        .collect();
    assert_eq!(shown, sent);
}
