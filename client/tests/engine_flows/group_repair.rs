//! Groups that cannot go on as they are, and go on as what they were: rebuilt,
//! brought together after a server kept halves apart, and with people who come
//! back under another identity.

use sotto_client::engine::api::{
    Command, Event, GroupCommand, IdentityChange, Keep, Login, MembershipChange, SecurityKind,
};
use sotto_client::profile::{NewAccount, Profile};
use sotto_protocol::ConversationId;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_roster::Role;

use crate::relay::DEPLOYMENT;
use crate::world::{PASSWORD, World, name};

impl World {
    /// Commits reach `whose` as noise, and no state of the first generation
    /// that the server shows to anybody is of use.
    fn poison(&mut self, whose: &'static [usize]) {
        self.tap = Some(Box::new(move |person, mut frame| {
            match &mut frame.body {
                Some(Answer::Deliver(deliver)) if whose.contains(&person) => {
                    for envelope in &mut deliver.envelopes {
                        let commit = envelope.kind == i32::from(EnvelopeKind::Commit);
                        if commit && envelope.generation == 0 && !envelope.payload.is_empty() {
                            envelope.payload = vec![0x42; 64].into();
                        }
                    }
                }
                Some(Answer::GroupInfo(info)) if info.generation == 0 => {
                    info.group_info = vec![0x42; 64];
                }
                _ => {}
            }
            vec![frame]
        }));
    }

    /// Something happens that alice and bob only see as noise; bob, who is an
    /// admin, finds out and rebuilds.
    fn break_for_the_admins(&mut self, group: ConversationId, what: impl FnOnce(&mut Self)) {
        self.disconnect(0);
        self.disconnect(1);
        what(self);
        self.poison(&[0, 1]);
        self.connect(0);
        self.connect(1);
        self.run();
        self.say(1, group, "still there?");
        self.advance(10_000);
    }

    fn room(&mut self) -> ConversationId {
        let title = "lobby".to_owned();
        let topic = "all things".to_owned();
        self.group_command(0, GroupCommand::NewRoom { title, topic });
        self.settle();
        self.made(0).unwrap()
    }

    fn enter(&mut self, person: usize, group: ConversationId) {
        let title = "lobby".to_owned();
        self.group_command(person, GroupCommand::Enter { group, title });
        self.settle();
    }

    pub(crate) fn code_of_last_failure(&self, person: usize) -> &'static str {
        self.failures(person).last().unwrap().code
    }
}

#[test]
fn a_group_is_rebuilt_as_closed_and_with_its_bans() {
    let (mut world, group) = World::group(3);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    let names = world.one("erin");
    world.group_command(0, GroupCommand::Ban { group, names });
    let names = world.one("dave");
    world.group_command(
        0,
        GroupCommand::Add {
            group,
            names: names.clone(),
        },
    );
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    // Carol renews her keys after joining.
    world.break_for_the_admins(group, |world| world.advance(100_000));
    assert_eq!(world.relay.logs[&group].generation, 1);
    for person in 0..3 {
        assert_eq!(world.said(person, group), ["still there?"], "{person}");
    }
    let roles = [
        ("alice", Role::Owner),
        ("bob", Role::Admin),
        ("carol", Role::Member),
    ];
    let roles: Vec<_> = roles.map(|(who, role)| (who.to_owned(), role)).into();
    for person in 0..3 {
        assert_eq!(world.roles(person, group), roles);
    }
    let names = world.one("erin");
    world.group_command(0, GroupCommand::Add { group, names });
    assert_eq!(world.code_of_last_failure(0), "banned");
    let view = world.engine(2).group(&group).unwrap().unwrap();
    assert_eq!(view.title.as_deref(), Some("team"));
    let put_out = world.relay.put_out(group);
    assert_eq!(put_out, world.one("dave"), "a rebuilt group forgets nobody");
}

#[test]
fn a_room_is_rebuilt_as_open_as_it_was() {
    let mut world = World::people(5);
    let group = world.room();
    world.enter(1, group);
    world.enter(2, group);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    let names = world.one("erin");
    world.group_command(0, GroupCommand::Ban { group, names });
    world.settle();
    world.break_for_the_admins(group, |world| world.enter(3, group));
    assert_eq!(world.relay.logs[&group].generation, 1);
    for person in 0..3 {
        assert_eq!(world.said(person, group), ["still there?"], "{person}");
    }
    // Dave came in while no admin saw it; the room that he was in is gone, and open.
    world.advance(60_000);
    world.say(2, group, "anybody new?");
    world.enter(3, group);
    world.advance(60_000);
    world.say(3, group, "the door is open");
    world.settle();
    assert_eq!(world.said(2, group).last().unwrap(), "the door is open");
    world.enter(4, group);
    assert!(!world.relay.logs[&group].has_account("erin"));
}

#[test]
fn who_enters_a_room_learns_what_it_is_about_once() {
    let mut world = World::people(4);
    let group = world.room();
    world.enter(1, group);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    let text = "what we do here".to_owned();
    world.group_command(0, GroupCommand::Describe { group, text });
    world.settle();
    let said_before = world.relay.logs[&group].entries.len();
    world.enter(2, group);
    world.advance(10_000);
    let view = world.engine(2).group(&group).unwrap().unwrap();
    assert_eq!(view.description, "what we do here");
    // Two admins' clients could tell; one did: its words and the commit.
    let entries = world.relay.logs[&group].entries.len();
    assert_eq!(entries, said_before + 2);
    // Without an admin there, the next one who comes tells.
    world.disconnect(0);
    world.disconnect(1);
    world.enter(3, group);
    let view = world.engine(3).group(&group).unwrap().unwrap();
    assert_eq!(view.description, "");
    world.connect(0);
    world.run();
    world.restart(0);
    world.advance(10_000);
    let view = world.engine(3).group(&group).unwrap().unwrap();
    assert_eq!(view.description, "what we do here");
}

/// C10: a server shows different commits to two halves of a group, and lets
/// both go on.
#[test]
fn halves_that_a_server_keeps_apart_notice_and_come_together() {
    let (mut world, group) = World::group(5);
    let frank = world.register("frank");
    let names = world.one("frank");
    world.group_command(0, GroupCommand::Add { group, names });
    world.group_command(frank, GroupCommand::Join { group });
    let names = world.one("dave");
    world.group_command(0, GroupCommand::Promote { group, names });
    world.settle();
    world.say(0, group, "together");
    world.settle();
    let (here, there) = ([0, 1, 2], [3, 4, frank]);
    let mut other = world.relay.split();
    there
        .into_iter()
        .for_each(|person| world.disconnect(person));
    let names = world.one("zed");
    world.group_command(0, GroupCommand::Ban { group, names });
    world.say(1, group, "here");
    world.settle();
    here.into_iter().for_each(|person| world.disconnect(person));
    std::mem::swap(&mut world.relay, &mut other);
    there.into_iter().for_each(|person| world.connect(person));
    world.run();
    let names = world.one("zoe");
    world.group_command(3, GroupCommand::Ban { group, names });
    world.say(4, group, "there");
    world.settle();
    // One message of each half crosses over.
    let crossing = |from: &crate::relay::Relay| from.logs[&group].entries.last().unwrap().clone();
    let (to_here, to_there) = (crossing(&world.relay), crossing(&other));
    world.relay.cross(group, &to_there);
    other.cross(group, &to_here);
    world.say(4, group, "there again");
    world.settle();
    for person in there {
        assert!(world.security(person, SecurityKind::Fork) >= 1, "{person}");
        world.disconnect(person);
    }
    std::mem::swap(&mut world.relay, &mut other);
    here.into_iter().for_each(|person| world.connect(person));
    world.run();
    world.settle();
    for person in here {
        assert!(world.security(person, SecurityKind::Fork) >= 1, "{person}");
    }
    // The server is honest again, with the one half's log.
    there.into_iter().for_each(|person| world.connect(person));
    world.run();
    world.say(0, group, "all of you?");
    world.advance(15_000);
    for person in [0, 1, 2, 3, 4, frank] {
        world.say(person, group, &format!("{person} is back"));
    }
    world.advance(15_000);
    for person in [0, 1, 2, 3, 4, frank] {
        let said = world.said(person, group);
        for one in [0, 1, 2, 3, 4, frank] {
            assert!(
                said.contains(&format!("{one} is back")),
                "{person}: {said:?}"
            );
        }
        assert!(said.contains(&"together".to_owned()), "{person}: {said:?}");
    }
    for person in there {
        let said = world.said(person, group);
        assert!(
            said.contains(&"there".to_owned()),
            "nothing is lost: {said:?}"
        );
    }
}

#[test]
fn who_comes_back_under_an_accepted_identity_is_let_in_again() {
    let (mut world, group) = World::group(3);
    world.kill(1);
    let location = world.location("bob-again");
    let account = NewAccount {
        username: name("bob"),
        deployment: DEPLOYMENT,
    };
    let (profile, _) = Profile::create(&location, &account, PASSWORD, world.now).unwrap();
    profile.keep_unlocked().unwrap();
    let authentication_key = profile.authentication_key(PASSWORD).unwrap();
    let login = Login::Password {
        authentication_key,
        identity: IdentityChange::Replace,
    };
    let again = world.add(location, profile, login);
    world.connect(again);
    world.run();
    for person in [0, 2] {
        world.command(person, Command::LookUp { name: name("bob") });
        world.run();
        assert_eq!(world.security(person, SecurityKind::KeyChanged), 1);
    }
    world.say(2, group, "not for a stranger");
    assert_eq!(world.code_of_last_failure(2), "key_changed");
    for person in [0, 2] {
        let (name, keep) = (name("bob"), Keep::Saved);
        world.command(person, Command::Accept { name, keep });
        world.run();
    }
    world.advance(10_000);
    world.group_command(again, GroupCommand::Join { group });
    world.say(again, group, "it is me");
    world.settle();
    for person in [0, 2] {
        let said = world.said(person, group);
        assert_eq!(said, ["not for a stranger", "it is me"], "{person}");
    }
    assert_eq!(world.said(again, group).last().unwrap(), "it is me");
    let removed = ("bob".to_owned(), MembershipChange::Removed);
    let joined = ("bob".to_owned(), MembershipChange::Joined);
    let changes = world.changes(2);
    assert!(
        changes.contains(&removed) && changes.contains(&joined),
        "{changes:?}"
    );
}

fn crowd(count: usize) -> (World, ConversationId) {
    let mut world = World::new();
    let names: Vec<_> = (0..count).map(|number| format!("m{number:04}")).collect();
    for who in &names {
        world.register(who);
    }
    world.settle();
    let members = names[1..].iter().map(|who| name(who)).collect();
    let title = "crowd".to_owned();
    world.group_command(0, GroupCommand::New { title, members });
    world.advance(10_000);
    let group = world.made(0).unwrap();
    for person in 1..count {
        world.command(person, Command::Group(GroupCommand::Join { group }));
    }
    world.settle();
    (world, group)
}

/// Everybody of a large group reads and writes, and is told of receipts as counts.
fn everybody_talks(count: usize) {
    let (mut world, group) = crowd(count);
    assert_eq!(world.roles(0, group).len(), count);
    world.say(0, group, "to all");
    world.say(count - 1, group, "from the last");
    world.settle();
    for person in 0..count {
        assert_eq!(
            world.said(person, group),
            ["to all", "from the last"],
            "{person}"
        );
    }
    // A device that lost its place comes back by a tree that travels apart.
    let late = count / 2;
    world.disconnect(late);
    world.relay.forget_device(late, group);
    world.connect(late);
    world.advance(10_000);
    world.say(late, group, "back");
    world.settle();
    assert_eq!(world.said(1, group).last().unwrap(), "back");
    world.advance(60_000);
    let counted = world.people[0]
        .events
        .iter()
        .rev()
        .find_map(|event| match event {
            Event::Counted(count) => Some((count.delivered_to, count.read_by)),
            _ => None,
        });
    let by_name = |event: &&Event| matches!(event, Event::Receipt(_));
    assert_eq!(world.people[0].events.iter().filter(by_name).count(), 0);
    if count <= 200 {
        let all = count as u64 - 1;
        assert_eq!(counted, Some((all, all)));
    }
}

#[test]
fn a_group_of_forty_talks() {
    everybody_talks(40);
}

#[test]
#[ignore = "a hundred profiles; takes minutes"]
fn a_group_of_a_hundred_talks() {
    everybody_talks(100);
}

#[test]
#[ignore = "a thousand profiles; takes an hour"]
fn a_group_of_a_thousand_talks() {
    everybody_talks(1_000);
}

/// A server shows an older state, by mistake or to let somebody in again, and its logs are shorter
/// than what was read of them: nobody enters it.
#[test]
fn an_older_state_lets_nobody_in_again_who_was_removed() {
    let (mut world, group) = World::group(3);
    world.say(0, group, "all three");
    world.settle();
    let mut older = world.relay.split();
    let names = world.one("carol");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    world.say(1, group, "without carol");
    world.settle();
    assert_eq!(world.said(0, group).last().unwrap(), "without carol");
    for person in 0..3 {
        world.disconnect(person);
    }
    std::mem::swap(&mut world.relay, &mut older);
    for person in 0..3 {
        world.connect(person);
    }
    world.run();
    world.advance(60_000);
    assert!(world.security(0, SecurityKind::Fork) >= 1);
    world.say(0, group, "still the two of us");
    world.say(1, group, "and nobody else");
    world.advance(60_000);
    let log = &world.relay.logs[&group];
    assert_eq!((log.generation, log.has_account("carol")), (1, false));
    for person in [0, 1] {
        let said = world.said(person, group);
        for text in [
            "all three",
            "without carol",
            "still the two of us",
            "and nobody else",
        ] {
            assert!(
                said.contains(&text.to_owned()),
                "{person}: {text} in {said:?}"
            );
        }
    }
    assert_eq!(world.said(2, group), ["all three"]);
}

/// Somebody came in since the backup, somebody else was put out, a third was made an admin: a
/// restored server gets the group as its members know it.
#[test]
fn whoever_came_in_since_a_backup_is_invited_again() {
    let (mut world, group) = World::group(3);
    let mut older = world.relay.split();
    let names = world.one("carol");
    world.group_command(0, GroupCommand::Remove { group, names });
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    let names = world.one("dave");
    world.group_command(0, GroupCommand::Add { group, names });
    world.settle();
    world.group_command(3, GroupCommand::Join { group });
    world.settle();
    for person in 0..4 {
        world.disconnect(person);
    }
    older.leap();
    std::mem::swap(&mut world.relay, &mut older);
    for person in 0..4 {
        world.connect(person);
    }
    world.run();
    world.say(0, group, "not for carol");
    for _ in 0..4 {
        world.advance(60_000);
    }
    world.group_command(3, GroupCommand::Join { group });
    world.advance(60_000);
    world.say(1, group, "for the three");
    world.advance(60_000);
    let log = &world.relay.logs[&group];
    assert_eq!((log.generation, log.has_account("carol")), (1, false));
    for person in [0, 1, 3] {
        let view = world.engine(person).group(&group).unwrap().unwrap();
        let members: Vec<_> = view
            .members
            .iter()
            .map(|it| (it.name.as_str(), it.role))
            .collect();
        let expected = [
            ("alice", Role::Owner),
            ("bob", Role::Admin),
            ("dave", Role::Member),
        ];
        assert_eq!(members, expected, "{person}");
        assert_eq!(world.said(person, group).last().unwrap(), "for the three");
    }
    assert!(world.said(1, group).contains(&"not for carol".to_owned()));
    assert!(world.said(2, group).is_empty());
}

/// A server shows an older state and refuses every group that is made in its place, here because
/// its maker may not leave out an admin: however often it does, the older one is not entered.
#[test]
fn refusals_wear_nobody_down_to_enter_an_older_state() {
    let (mut world, group) = World::group(3);
    let names = vec![world.one("bob").remove(0), world.one("carol").remove(0)];
    world.group_command(0, GroupCommand::Promote { group, names });
    world.settle();
    let mut older = world.relay.split();
    let names = world.one("carol");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    for person in 0..3 {
        world.disconnect(person);
    }
    std::mem::swap(&mut world.relay, &mut older);
    // The owner, who could, does not come back.
    for person in 1..3 {
        world.connect(person);
    }
    world.run();
    world.say(1, group, "not for carol");
    for _ in 0..10 {
        world.advance(60_000);
    }
    assert_eq!(world.relay.logs[&group].generation, 0, "all were refused");
    assert!(world.said(2, group).is_empty());
    let view = world.engine(1).group(&group).unwrap().unwrap();
    let members: Vec<_> = view.members.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(members, ["alice", "bob"]);
}
