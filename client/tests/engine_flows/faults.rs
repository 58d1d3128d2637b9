//! What servers, networks, disks and impostors do, and what a person sees.

use std::collections::BTreeMap;

use bytes::Bytes;
use sotto_client::engine::Engine;
use sotto_client::engine::api::{Command, Event, IdentityChange, Login, SecurityKind};
use sotto_client::profile::{Profile, Unlock};
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{self, EnvelopeKind};

use crate::world::{PASSWORD, Tap, Template, World, copy_directory};

/// Changes each delivered envelope of conversations, not of mailboxes.
fn deliveries(
    mut change: impl FnMut(usize, Vec<wire::Envelope>) -> Vec<wire::Envelope> + 'static,
) -> Option<Tap> {
    Some(Box::new(move |person, mut frame| {
        if let Some(Answer::Deliver(deliver)) = &mut frame.body {
            deliver.envelopes = change(person, std::mem::take(&mut deliver.envelopes));
        }
        vec![frame]
    }))
}

#[test]
fn what_is_replayed_is_shown_once() {
    let mut world = World::contacts();
    world.tap = deliveries(|_, envelopes| {
        let mut all = Vec::new();
        for envelope in envelopes {
            all.extend(std::iter::repeat_n(envelope, 5));
        }
        all
    });
    for n in 0..10 {
        world.send(0, "bob", &format!("{n}"));
    }
    world.run();
    assert_eq!(world.texts(1).len(), 11);
    assert_eq!(world.history(1, "alice").len(), 11);
}

#[test]
fn an_old_envelope_under_a_new_place_is_a_replay() {
    let mut world = World::contacts();
    let mut first: Option<Bytes> = None;
    world.tap = deliveries(move |_, mut envelopes| {
        for envelope in &mut envelopes {
            if envelope.kind == i32::from(EnvelopeKind::Application) && !envelope.payload.is_empty()
            {
                match &first {
                    None => first = Some(envelope.payload.clone()),
                    Some(old) => envelope.payload = old.clone(),
                }
            }
        }
        envelopes
    });
    world.send(0, "bob", "one");
    world.send(0, "bob", "two");
    world.run();
    assert_eq!(world.texts(1), ["hello", "one"]);
    let alarms =
        world.security(1, SecurityKind::PolicyRejected) + world.security(1, SecurityKind::Replay);
    assert_eq!(alarms, 1, "{:?}", world.people[1].events);
}

#[test]
fn a_dropped_message_is_a_gap() {
    let mut world = World::contacts();
    let mut seen = 0;
    world.tap = deliveries(move |person, mut envelopes| {
        if person == 1 {
            envelopes.retain(|_| {
                seen += 1;
                seen != 3
            });
        }
        envelopes
    });
    for n in 0..6 {
        world.send(0, "bob", &format!("{n}"));
        world.run();
    }
    assert_eq!(world.texts(1).len(), 6);
    assert!(world.security(1, SecurityKind::Gap) >= 1);
}

#[test]
fn a_dropped_message_is_a_gap_even_where_places_are_forged() {
    let mut world = World::contacts();
    let mut seen = 0;
    world.tap = deliveries(move |person, envelopes| {
        if person != 1 {
            return envelopes;
        }
        let mut kept = Vec::new();
        for mut envelope in envelopes {
            seen += 1;
            if seen == 3 {
                continue;
            }
            if seen > 3 {
                envelope.seq -= 1;
            }
            kept.push(envelope);
        }
        kept
    });
    for n in 0..6 {
        world.send(0, "bob", &format!("{n}"));
        world.run();
    }
    assert_eq!(world.texts(1).len(), 6);
    assert!(
        world.security(1, SecurityKind::Gap) >= 1,
        "the sender's counter tells"
    );
    // C10: the sender saw more places than this device was shown.
    assert!(world.security(1, SecurityKind::Fork) >= 1);
}

#[test]
fn reordered_messages_are_never_shown_out_of_order() {
    let mut world = World::contacts();
    world.tap = deliveries(|_, mut envelopes| {
        envelopes.reverse();
        envelopes
    });
    world.disconnect(1);
    for n in 0..9 {
        world.send(0, "bob", &format!("{n}"));
    }
    world.run();
    world.connect(1);
    world.run();
    let shown = world.texts(1);
    let mut sorted = shown[1..].to_vec();
    sorted.sort();
    assert_eq!(shown[1..], sorted);
    assert!(world.security(1, SecurityKind::Gap) >= 1);
}

#[test]
fn a_message_of_another_conversation_or_a_flipped_bit_is_never_shown() {
    let mut world = World::contacts();
    for place in 0..40 {
        let mut left = 1;
        world.tap = deliveries(move |person, mut envelopes| {
            for envelope in &mut envelopes {
                if person == 1 && left > 0 && !envelope.payload.is_empty() {
                    left -= 1;
                    let mut bytes = envelope.payload.to_vec();
                    let length = bytes.len();
                    bytes[place * length / 40] ^= 1 << (place % 8);
                    envelope.payload = bytes.into();
                }
            }
            envelopes
        });
        world.send(0, "bob", "altered");
        world.run();
    }
    assert_eq!(world.texts(1), ["hello"], "nothing altered was shown");
    assert!(world.security(1, SecurityKind::PolicyRejected) >= 39);
    world.tap = None;
    world.send(0, "bob", "whole");
    world.run();
    world.settle();
    assert_eq!(world.texts(1).last().unwrap(), "whole");
}

#[test]
fn a_server_that_names_another_sender_is_not_believed() {
    let mut world = World::contacts();
    world.tap = deliveries(|_, mut envelopes| {
        for envelope in &mut envelopes {
            if envelope.kind == i32::from(EnvelopeKind::Application) {
                envelope.sender_device_id = vec![0xee; 16];
            }
        }
        envelopes
    });
    world.send(0, "bob", "who am I");
    world.run();
    assert_eq!(world.texts(1), ["hello"]);
    assert_eq!(world.security(1, SecurityKind::PolicyRejected), 1);
}

#[test]
fn a_forged_commit_changes_nothing() {
    let mut world = World::contacts();
    let mut left = 1;
    world.tap = deliveries(move |person, envelopes| {
        let mut all = Vec::new();
        for envelope in envelopes {
            if person == 1 && left > 0 && envelope.kind == i32::from(EnvelopeKind::Application) {
                left -= 1;
                let mut forged = envelope.clone();
                forged.kind = EnvelopeKind::Commit.into();
                forged.client_id = vec![0xcc; 16];
                all.push(forged);
            } else {
                all.push(envelope);
            }
        }
        all
    });
    world.send(0, "bob", "dropped for a forged commit");
    world.send(0, "bob", "after");
    world.run();
    assert_eq!(world.texts(1), ["hello", "after"]);
    assert_eq!(world.security(1, SecurityKind::PolicyRejected), 1);
    let joined = |event: &&Event| matches!(event, Event::Membership(_));
    assert_eq!(world.people[1].events.iter().filter(joined).count(), 0);
}

#[test]
fn lost_acknowledgements_lead_to_no_duplicates() {
    let mut world = World::contacts();
    let mut count = 0;
    world.tap = Some(Box::new(move |person, frame| {
        let acknowledgement = matches!(frame.body, Some(Answer::Appended(_)));
        count += usize::from(acknowledgement && person == 0);
        if acknowledgement && person == 0 && count % 3 == 0 {
            return Vec::new();
        }
        vec![frame]
    }));
    for n in 0..12 {
        world.send(0, "bob", &format!("{n}"));
        world.run();
        world.disconnect(0);
        world.connect(0);
        world.run();
    }
    world.tap = None;
    world.advance(40_000);
    assert_eq!(world.texts(1).len(), 13);
    assert_eq!(world.history(0, "bob").len(), 13);
    assert_eq!(world.engine(0).queued().unwrap(), 0);
}

#[test]
fn a_kill_between_any_two_frames_loses_and_doubles_nothing() {
    // Everything from the first message to the reply, with the sender of the
    // n-th frame killed right after it left.
    let template = Template::pair();
    let mut n = 0;
    loop {
        n += 1;
        let mut world = template.world();
        world.frames_sent = 0;
        world.kill_after = Some(n);
        world.send(0, "bob", "one");
        world.send(0, "bob", "two");
        world.run();
        world.settle();
        world.accept(1, "alice");
        world.send(1, "alice", "three");
        world.run();
        world.settle();
        world.advance(20_000);
        assert_eq!(
            world.history(0, "bob"),
            ["one", "two", "three"],
            "after frame {n}"
        );
        assert_eq!(
            world.history(1, "alice"),
            ["one", "two", "three"],
            "after frame {n}"
        );
        assert_eq!(world.texts(1), ["one", "two"], "after frame {n}");
        assert_eq!(
            world.security(0, SecurityKind::Rollback),
            0,
            "after frame {n}"
        );
        assert_eq!(
            world.security(1, SecurityKind::Rollback),
            0,
            "after frame {n}"
        );
        if world.frames_sent < n {
            break;
        }
    }
    assert!(n > 15, "there were only {n} frames");
}

#[test]
fn an_older_copy_of_the_profile_is_noticed_and_replaced() {
    let mut world = World::contacts();
    let home = world.people[0].location.directory();
    let copy = world.path().join("copy");
    world.kill(0);
    copy_directory(&home, &copy);
    world.start(0);
    world.connect(0);
    for n in 0..3 {
        world.send(0, "bob", &format!("before {n}"));
    }
    world.run();
    world.settle();
    world.kill(0);
    std::fs::remove_dir_all(&home).unwrap();
    copy_directory(&copy, &home);
    world.start(0);
    world.connect(0);
    for n in 0..5 {
        world.send(0, "bob", &format!("after {n}"));
    }
    world.run();
    world.settle();
    assert_eq!(world.security(0, SecurityKind::Rollback), 1);
    assert_eq!(world.security(0, SecurityKind::RecoveryDone), 1);
    let shown = world.texts(1);
    assert_eq!(shown.len(), 9, "{shown:?}");
    assert_eq!(
        shown[4..],
        ["after 0", "after 1", "after 2", "after 3", "after 4"]
    );
}

#[test]
fn a_changed_identity_gets_nothing_until_it_is_accepted() {
    let mut world = World::contacts();
    world.disconnect(0);
    for n in 0..5 {
        world.send(0, "bob", &format!("secret {n}"));
    }
    let again = world.begin_anew(1, "bob");

    world.connect(0);
    world.run();
    world.settle();
    assert_eq!(world.security(0, SecurityKind::KeyChanged), 1);
    assert_eq!(world.sent(0), 1, "only what was sent before");
    assert!(
        world
            .failures(0)
            .iter()
            .any(|failure| failure.code == "key_changed")
    );
    assert_eq!(world.engine(0).queued().unwrap(), 5);

    world.accept(0, "bob");
    world.settle();
    assert_eq!(world.sent(0), 6, "{:?}", world.people[0].events);
    world.accept(again, "alice");
    world.settle();
    assert_eq!(world.texts(again).len(), 5);
    world.send(again, "alice", "it is really me");
    world.run();
    assert_eq!(world.texts(0).last().unwrap(), "it is really me");
}

#[test]
fn a_used_up_key_package_heals_by_itself() {
    let mut world = World::contacts();
    // Bob's state is gone on the way: the next generation's welcome is for a
    // key package that was used before.
    let mut spoiled = BTreeMap::new();
    world.tap = Some(Box::new(move |person, mut frame| {
        if let Some(Answer::ClaimedKeyPackages(claimed)) = &mut frame.body {
            for package in &mut claimed.packages {
                let first = spoiled
                    .entry(package.device_id.clone())
                    .or_insert_with(|| package.key_package.clone());
                package.key_package = first.clone();
            }
        }
        let _ = person;
        vec![frame]
    }));
    let carol = world.register("carol");
    world.send(carol, "bob", "from carol");
    world.run();
    world.accept(1, "carol");
    let dave = world.register("dave");
    world.send(dave, "bob", "from dave");
    world.run();
    world.settle();
    assert_eq!(
        world.requests(1),
        2,
        "the second use is no request of anybody"
    );
    assert!(world.security(1, SecurityKind::PolicyRejected) >= 1);
    assert_eq!(world.texts(1), ["hello", "from carol"]);
}

#[test]
fn a_device_that_logs_out_and_in_enters_its_conversations_again() {
    let mut world = World::contacts();
    world.command(1, Command::Logout);
    world.run();
    world.kill(1);
    assert!(Profile::open(&world.people[1].location, Unlock::Session).is_err());
    let profile = Profile::open(&world.people[1].location, Unlock::Password(PASSWORD)).unwrap();
    profile.keep_unlocked().unwrap();
    let authentication_key = profile.authentication_key(PASSWORD).unwrap();
    let login = Login::Password {
        authentication_key,
        identity: IdentityChange::Refuse,
    };
    let now = world.now;
    world.people[1].engine = Some(Engine::new(profile, login, [77; 32], now).unwrap());
    world.engine(1).listen(now).unwrap();
    world.connect(1);
    world.run();
    world.settle();
    assert_eq!(
        world.security(1, SecurityKind::RecoveryDone),
        1,
        "{:?}",
        world.people[1].events
    );
    world.send(0, "bob", "welcome back");
    world.send(1, "alice", "thank you");
    world.run();
    world.settle();
    assert_eq!(world.texts(1).last().unwrap(), "welcome back");
    assert_eq!(world.texts(0), ["thank you"]);
}

#[test]
fn a_thousand_invitations_are_one_request() {
    let mut world = World::pair();
    world.send(0, "bob", "hello");
    world.tap = Some(Box::new(|person, frame| {
        match &frame.body {
            Some(Answer::Deliver(deliver)) if person == 1 => {
                // The same welcome under ever new places of the mailbox.
                (0..1_000)
                    .map(|n| {
                        let mut deliver = deliver.clone();
                        for envelope in &mut deliver.envelopes {
                            if envelope.kind == i32::from(EnvelopeKind::Welcome) {
                                envelope.seq += n;
                            }
                        }
                        wire::ServerFrame {
                            request_id: 0,
                            body: Some(Answer::Deliver(deliver)),
                        }
                    })
                    .collect()
            }
            _ => vec![frame],
        }
    }));
    world.run();
    assert_eq!(world.requests(1), 1);
    assert_eq!(world.engine(1).requests().unwrap().len(), 1);
    assert!(world.texts(1).is_empty());
}

#[test]
fn who_is_online_learns_of_another_identity_at_once() {
    let mut world = World::contacts();
    world.settle();
    let again = world.begin_anew(1, "bob");
    assert_eq!(world.security(0, SecurityKind::KeyChanged), 1);
    world.send(0, "bob", "not for whoever this is");
    world.run();
    assert_eq!(world.failures(0)[0].code, "key_changed");
    assert_eq!(world.engine(0).queued().unwrap(), 0);
    world.send(again, "alice", "here I am");
    world.run();
    world.settle();
    world.accept(0, "bob");
    world.settle();
    assert_eq!(world.texts(0), ["here I am"]);
    world.send(0, "bob", "welcome back");
    world.run();
    assert_eq!(world.texts(again), ["welcome back"]);
}

#[test]
fn a_conversation_made_anew_while_one_was_away_is_no_older_store() {
    let mut world = World::contacts();
    world.settle();
    world.disconnect(0);
    let again = world.begin_anew(1, "bob");
    world.send(again, "alice", "here I am");
    world.run();
    world.settle();
    world.connect(0);
    world.run();
    world.settle();
    assert_eq!(world.security(0, SecurityKind::KeyChanged), 1);
    assert_eq!(world.security(0, SecurityKind::Rollback), 0);
    world.accept(0, "bob");
    world.settle();
    assert_eq!(world.texts(0), ["here I am"]);
    assert_eq!(world.security(0, SecurityKind::Rollback), 0);
}
