//! Members and owners of groups who begin anew with another identity.

use sotto_client::engine::api::{Command, GroupCommand, Keep, SecurityKind};
use sotto_protocol::ConversationId;
use sotto_roster::Role;

use crate::world::{World, name};

fn accept(world: &mut World, person: usize, who: &str) {
    let name = name(who);
    world.command(person, Command::LookUp { name: name.clone() });
    world.run();
    let keep = Keep::Saved;
    world.command(person, Command::Accept { name, keep });
    world.run();
}

fn roles(world: &mut World, person: usize, group: ConversationId) -> Vec<(String, Role)> {
    let view = world.engine(person).group(&group).unwrap().unwrap();
    let of = |member: &sotto_client::engine::api::GroupMember| {
        (member.name.as_str().to_owned(), member.role)
    };
    view.members.iter().map(of).collect()
}

fn named(all: &[(&str, Role)]) -> Vec<(String, Role)> {
    let owned = |(name, role): &(&str, Role)| ((*name).to_owned(), *role);
    all.iter().map(owned).collect()
}

/// The only owner lost everything, and nobody else has an office: the members bring the group back.
#[test]
fn members_bring_back_an_owner_who_began_anew() {
    let (mut world, group) = World::group(3);
    world.say(1, group, "before");
    world.settle();
    let again = world.begin_anew(0, "alice");
    world.say(1, group, "not for a stranger");
    assert_eq!(world.code_of_last_failure(1), "key_changed");
    for person in [1, 2] {
        accept(&mut world, person, "alice");
    }
    for _ in 0..8 {
        world.advance(10_000);
    }
    world.group_command(again, GroupCommand::Join { group });
    world.say(again, group, "I am back");
    world.advance(10_000);
    let expected = [
        ("alice", Role::Owner),
        ("bob", Role::Member),
        ("carol", Role::Member),
    ];
    for person in [1, 2, again] {
        assert_eq!(
            roles(&mut world, person, group),
            named(&expected),
            "{person}"
        );
        assert_eq!(world.said(person, group).last().unwrap(), "I am back");
        assert_eq!(world.security(person, SecurityKind::PolicyRejected), 0);
    }
    for person in [1, 2] {
        let said = world.said(person, group);
        assert_eq!(said[..2], ["before", "not for a stranger"], "{person}");
        assert_eq!(world.security(person, SecurityKind::RecoveryDone), 1);
    }
    world.group_command(
        again,
        GroupCommand::Promote {
            group,
            names: world.one("carol"),
        },
    );
    world.settle();
    assert_eq!(roles(&mut world, 1, group)[2].1, Role::Admin);
}

/// Who has not accepted the owner's new identity stays in, and sends nothing until then.
#[test]
fn an_admin_brings_back_an_owner_who_began_anew() {
    let (mut world, group) = World::group(3);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    world.settle();
    let again = world.begin_anew(0, "alice");
    accept(&mut world, 1, "alice");
    for _ in 0..8 {
        world.advance(10_000);
    }
    world.group_command(again, GroupCommand::Join { group });
    world.say(2, group, "who are you?");
    assert_eq!(world.code_of_last_failure(2), "key_changed");
    world.say(again, group, "I am back");
    world.settle();
    accept(&mut world, 2, "alice");
    world.advance(10_000);
    let expected = [
        ("alice", Role::Owner),
        ("bob", Role::Admin),
        ("carol", Role::Member),
    ];
    for person in [1, 2, again] {
        assert_eq!(
            roles(&mut world, person, group),
            named(&expected),
            "{person}"
        );
        let said = world.said(person, group);
        for text in ["I am back", "who are you?"] {
            assert!(said.contains(&text.to_owned()), "{person}: {said:?}");
        }
    }
}

/// No admin is there to put the old devices out: whoever accepted the person may go on.
#[test]
fn a_member_who_began_anew_stops_nobody_who_accepted_it() {
    let (mut world, group) = World::group(3);
    world.disconnect(0);
    world.begin_anew(2, "carol");
    world.say(1, group, "for the two of us");
    assert_eq!(world.code_of_last_failure(1), "key_changed");
    accept(&mut world, 1, "carol");
    world.advance(10_000);
    assert_eq!(world.security(1, SecurityKind::UnverifiedDevice), 1);
    world.connect(0);
    world.run();
    assert_eq!(world.said(0, group), ["for the two of us"]);
    accept(&mut world, 0, "carol");
    for _ in 0..8 {
        world.advance(10_000);
    }
    world.say(1, group, "she is in again");
    world.settle();
    assert_eq!(world.said(0, group).last().unwrap(), "she is in again");
    assert_eq!(world.security(1, SecurityKind::UnverifiedDevice), 1);
}

/// A member may leave nobody out: where one of them cannot be reached the group goes on as it was.
#[test]
fn members_who_cannot_bring_everybody_along_leave_the_group_as_it_is() {
    let (mut world, group) = World::group(3);
    world.disconnect(2);
    world.begin_anew(0, "alice");
    world.relay.packages.clear();
    accept(&mut world, 1, "alice");
    for _ in 0..8 {
        world.advance(10_000);
    }
    assert_eq!(world.relay.logs[&group].generation, 0);
    world.say(1, group, "on we go");
    world.settle();
    world.connect(2);
    accept(&mut world, 2, "alice");
    world.settle();
    assert_eq!(world.said(2, group), ["on we go"]);
}

/// Nobody loses what they have not read yet for somebody's return: it waits for them, and they say.
#[test]
fn who_has_not_read_everything_is_waited_for() {
    let (mut world, group) = World::group(4);
    world.disconnect(2);
    world.say(0, group, "read this first");
    world.settle();
    world.begin_anew(0, "alice");
    for person in [1, 3] {
        accept(&mut world, person, "alice");
    }
    for _ in 0..12 {
        world.advance(10_000);
    }
    assert_eq!(world.relay.logs[&group].generation, 0);
    world.connect(2);
    accept(&mut world, 2, "alice");
    for _ in 0..12 {
        world.advance(10_000);
    }
    assert_eq!(world.relay.logs[&group].generation, 1);
    world.say(1, group, "all of us");
    world.settle();
    assert_eq!(world.said(2, group), ["read this first", "all of us"]);
    for kind in [SecurityKind::PolicyRejected, SecurityKind::Gap] {
        assert_eq!(world.security(2, kind), 0);
    }
}
