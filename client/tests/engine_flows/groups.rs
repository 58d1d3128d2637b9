//! Groups: made, entered, changed and left, by several people at once.

use sotto_client::engine::api::{Command, Event, GroupCommand, MembershipChange, SecurityKind};
use sotto_client::talk::Talk;
use sotto_protocol::{ClientMessageId, ConversationId};
use sotto_roster::Role;

use crate::world::{World, name, text_of};

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

impl World {
    pub(crate) fn people(count: usize) -> Self {
        let mut world = Self::new();
        for who in &NAMES[..count] {
            world.register(who);
        }
        world.settle();
        world
    }

    pub(crate) fn group_command(&mut self, person: usize, command: GroupCommand) {
        self.command(person, Command::Group(command));
        self.run();
    }

    /// A group that alice made with the first others, who all came in.
    pub(crate) fn group(count: usize) -> (Self, ConversationId) {
        let mut world = Self::people(NAMES.len());
        let members = NAMES[1..count].iter().map(|who| name(who)).collect();
        let title = "team".to_owned();
        world.group_command(0, GroupCommand::New { title, members });
        let group = world.made(0).unwrap();
        for person in 1..count {
            world.group_command(person, GroupCommand::Join { group });
        }
        world.settle();
        (world, group)
    }

    pub(crate) fn made(&self, person: usize) -> Option<ConversationId> {
        self.people[person]
            .events
            .iter()
            .find_map(|event| match event {
                Event::GroupMade { conversation, .. } => Some(*conversation),
                _ => None,
            })
    }

    pub(crate) fn say(&mut self, person: usize, group: ConversationId, text: &str) {
        self.ids += 1;
        let command = Command::Send {
            to: Talk::Group(group),
            text: text.to_owned(),
            client_id: ClientMessageId::from_bytes([self.ids; 16]),
        };
        self.command(person, command);
        self.run();
    }

    pub(crate) fn said(&mut self, person: usize, group: ConversationId) -> Vec<String> {
        let talk = Talk::Group(group);
        let messages = self.engine(person).history(&talk, 1_000).unwrap();
        messages.iter().map(text_of).collect()
    }

    pub(crate) fn invitations(&self, person: usize) -> usize {
        let invited = |event: &&Event| matches!(event, Event::Invitation(_));
        self.people[person].events.iter().filter(invited).count()
    }

    /// What a person heard of who came, went and may do what.
    pub(crate) fn changes(&self, person: usize) -> Vec<(String, MembershipChange)> {
        self.people[person]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Membership(told) => Some((told.subject.to_string(), told.change)),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn roles(&mut self, person: usize, group: ConversationId) -> Vec<(String, Role)> {
        let view = self.engine(person).group(&group).unwrap().unwrap();
        view.members
            .into_iter()
            .map(|member| (member.name.to_string(), member.role))
            .collect()
    }

    fn last_failure(&self, person: usize) -> (&'static str, String) {
        let failures = self.failures(person);
        let last = failures.last().unwrap();
        (last.code, last.message.clone())
    }

    pub(crate) fn one(&self, who: &str) -> Vec<sotto_protocol::Username> {
        vec![name(who)]
    }
}

#[test]
fn a_group_is_made_entered_and_read_by_all_in_one_order() {
    let (mut world, group) = World::group(3);
    world.say(0, group, "a1");
    world.say(1, group, "b1");
    world.say(2, group, "c1");
    world.say(0, group, "a2");
    world.settle();
    for person in 0..3 {
        assert_eq!(world.said(person, group), ["a1", "b1", "c1", "a2"]);
    }
    let view = world.engine(2).group(&group).unwrap().unwrap();
    assert_eq!(view.title.as_deref(), Some("team"));
    assert_eq!(view.role, Some(Role::Member));
    let expected = [
        ("alice", Role::Owner),
        ("bob", Role::Member),
        ("carol", Role::Member),
    ];
    let expected: Vec<_> = expected.map(|(who, role)| (who.to_owned(), role)).into();
    for person in 0..3 {
        assert_eq!(world.roles(person, group), expected);
    }
    assert_eq!(world.said(3, group), Vec::<String>::new());
}

#[test]
fn what_is_on_its_way_while_somebody_comes_in_waits_for_what_came_before() {
    let mut world = World::people(3);
    let members = vec![name("bob"), name("carol")];
    let title = "team".to_owned();
    world.group_command(0, GroupCommand::New { title, members });
    let group = world.made(0).unwrap();
    world.group_command(2, GroupCommand::Join { group });
    world.say(0, group, "one");
    world.say(2, group, "two");
    // The server hears of the third before it hears that bob reads from the beginning.
    world.command(1, Command::Group(GroupCommand::Join { group }));
    world.say(0, group, "three");
    world.settle();
    assert_eq!(world.said(1, group), ["one", "two", "three"]);
    assert_eq!(world.security(1, SecurityKind::Gap), 0);
}

#[test]
fn whoever_is_put_out_while_writing_repairs_nothing() {
    let (mut world, group) = World::group(3);
    let command = Command::Send {
        to: Talk::Group(group),
        text: "too late".to_owned(),
        client_id: ClientMessageId::from_bytes([0x66; 16]),
    };
    world.command(1, command);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    assert_eq!(world.last_failure(1).0, "not_a_member");
    assert_eq!(world.security(1, SecurityKind::RecoveryStarted), 0);
    let me = |(who, _): &&(String, MembershipChange)| who == "bob";
    assert_eq!(world.changes(1).iter().filter(me).count(), 2, "in and out");
    assert!(world.said(0, group).is_empty());
}

#[test]
fn whoever_leaves_and_is_killed_before_the_answer_is_out() {
    let (mut world, group) = World::group(3);
    world.say(1, group, "farewell");
    world.settle();
    world.tap = Some(Box::new(|person, frame| match person {
        1 => Vec::new(),
        _ => vec![frame],
    }));
    world.group_command(1, GroupCommand::Leave { group });
    world.tap = None;
    world.restart(1);
    world.settle();
    assert!(
        world
            .changes(0)
            .contains(&("bob".to_owned(), MembershipChange::Left))
    );
    assert!(
        world
            .changes(1)
            .contains(&("bob".to_owned(), MembershipChange::Left))
    );
    assert_eq!(world.security(1, SecurityKind::Rollback), 0);
    assert_eq!(world.security(1, SecurityKind::RecoveryStarted), 0);
    assert!(
        world
            .engine(1)
            .group(&group)
            .unwrap()
            .unwrap()
            .role
            .is_none()
    );
}

#[test]
fn whoever_leaves_knows_first_what_became_of_their_last_words() {
    let (mut world, group) = World::group(3);
    world.tap = Some(Box::new(|person, frame| match person {
        1 => Vec::new(),
        _ => vec![frame],
    }));
    world.say(1, group, "last words");
    world.disconnect(1);
    world.tap = None;
    world.command(1, Command::Group(GroupCommand::Leave { group }));
    world.connect(1);
    world.settle();
    assert_eq!(world.said(0, group), ["last words"]);
    assert_eq!(world.sent(1), 1);
    assert!(world.failures(1).is_empty(), "{:?}", world.failures(1));
    assert!(
        world
            .engine(1)
            .group(&group)
            .unwrap()
            .unwrap()
            .role
            .is_none()
    );
}

#[test]
fn nobody_is_in_a_group_without_wanting_to() {
    let mut world = World::people(3);
    let members = vec![name("bob"), name("carol")];
    let title = "team".to_owned();
    world.group_command(0, GroupCommand::New { title, members });
    let group = world.made(0).unwrap();
    world.say(0, group, "anybody?");
    world.relay.asked.clear();
    world.restart(1);
    world.settle();
    assert_eq!(world.invitations(1), 1);
    // Who invites, to what, and how many are there: known before the answer.
    let waiting = world.engine(1).invitations().unwrap();
    let said = (waiting[0].from.as_str(), waiting[0].title.as_deref());
    assert_eq!((said, waiting[0].members), (("alice", Some("team")), 3));
    assert_eq!(world.texts(1), Vec::<String>::new());
    let asked = world.relay.asked.get(&1).cloned().unwrap_or_default();
    assert!(!asked.contains(&"append") && !asked.contains(&"append_commit"));
    // What was said before the answer is there for those who say yes.
    world.group_command(1, GroupCommand::Join { group });
    world.settle();
    assert_eq!(world.said(1, group), ["anybody?"]);
    world.group_command(2, GroupCommand::Decline { group });
    world.advance(10_000);
    assert_eq!(world.engine(2).invitations().unwrap().len(), 0);
    let declined = ("carol".to_owned(), MembershipChange::Declined);
    assert!(world.changes(0).contains(&declined));
    let names: Vec<_> = world
        .roles(0, group)
        .into_iter()
        .map(|(who, _)| who)
        .collect();
    assert_eq!(
        names,
        ["alice", "bob"],
        "an admin's client takes out who declined"
    );
    assert_eq!(world.said(2, group), Vec::<String>::new());
}

#[test]
fn who_comes_later_reads_nothing_before_and_who_goes_nothing_after() {
    let (mut world, group) = World::group(3);
    world.say(0, group, "before dave");
    let names = world.one("dave");
    world.group_command(0, GroupCommand::Add { group, names });
    world.group_command(3, GroupCommand::Join { group });
    world.say(1, group, "with dave");
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    world.say(0, group, "without bob");
    world.settle();
    assert_eq!(world.said(3, group), ["with dave", "without bob"]);
    assert_eq!(world.said(1, group), ["before dave", "with dave"]);
    let removed = ("bob".to_owned(), MembershipChange::Removed);
    assert!(world.changes(1).contains(&removed) && world.changes(2).contains(&removed));
    world.say(1, group, "may I?");
    assert_eq!(world.last_failure(1).0, "not_a_member");
    let view = world.engine(3).group(&group).unwrap().unwrap();
    assert_eq!(
        view.title.as_deref(),
        Some("team"),
        "newcomers learn the title"
    );
    // A20: who is added again does not read what was said meanwhile.
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Add { group, names });
    world.group_command(1, GroupCommand::Join { group });
    world.say(2, group, "with bob again");
    world.settle();
    assert_eq!(
        world.said(1, group),
        ["before dave", "with dave", "with bob again"]
    );
    world.say(1, group, "thanks");
    world.settle();
    assert_eq!(world.said(3, group).last().unwrap(), "thanks");
    for person in [0, 1, 2, 3] {
        let gaps = world.security(person, sotto_client::engine::api::SecurityKind::Gap);
        assert_eq!(gaps, 0, "of {}", NAMES[person]);
    }
}

#[test]
fn only_those_who_may_change_a_group() {
    let (mut world, group) = World::group(3);
    let names = world.one("dave");
    world.group_command(1, GroupCommand::Add { group, names });
    let code = "not_allowed";
    assert_eq!(
        world.last_failure(1),
        (code, "only an admin can add members".to_owned())
    );
    let names = world.one("carol");
    world.group_command(1, GroupCommand::Remove { group, names });
    assert_eq!(
        world.last_failure(1),
        (code, "only an admin can remove members".to_owned())
    );
    let names = world.one("bob");
    world.group_command(1, GroupCommand::Promote { group, names });
    assert_eq!(
        world.last_failure(1),
        (code, "only an owner can make admins".to_owned())
    );
    let title = "mine".to_owned();
    world.group_command(1, GroupCommand::Rename { group, title });
    assert_eq!(
        world.last_failure(1),
        (code, "only an admin can rename the group".to_owned())
    );
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    world.settle();
    let admin = ("bob".to_owned(), MembershipChange::Role(Role::Admin));
    assert!(world.changes(2).contains(&admin));
    let title = "ours".to_owned();
    world.group_command(1, GroupCommand::Rename { group, title });
    let names = world.one("alice");
    world.group_command(1, GroupCommand::Remove { group, names });
    let sentence = "only an owner can remove alice, who is owner".to_owned();
    assert_eq!(world.last_failure(1), (code, sentence));
    world.settle();
    let view = world.engine(2).group(&group).unwrap().unwrap();
    assert_eq!(view.title.as_deref(), Some("ours"));
    let names = world.one("zoe");
    world.group_command(0, GroupCommand::Add { group, names });
    assert_eq!(world.last_failure(0).0, "unknown_user");
    let names = world.one("carol");
    world.group_command(0, GroupCommand::Add { group, names });
    assert_eq!(world.last_failure(0).0, "already_member");
}

#[test]
fn an_owner_remains() {
    let (mut world, group) = World::group(3);
    world.group_command(0, GroupCommand::Leave { group });
    assert_eq!(world.last_failure(0).0, "last_owner");
    let names = world.one("alice");
    world.group_command(0, GroupCommand::Demote { group, names });
    assert_eq!(world.last_failure(0).0, "last_owner");
    // Whoever was merely invited could neither manage it nor hand it on.
    let names = world.one("dave");
    world.group_command(0, GroupCommand::Add { group, names });
    let heir = name("dave");
    world.group_command(0, GroupCommand::HandOver { group, name: heir });
    let (code, message) = world.last_failure(0);
    assert_eq!(code, "not_allowed");
    assert!(message.contains("dave has not joined yet"), "{message}");
    let names = world.one("dave");
    world.group_command(0, GroupCommand::Remove { group, names });
    let name = name("bob");
    world.group_command(0, GroupCommand::HandOver { group, name });
    world.settle();
    let roles = world.roles(2, group);
    assert_eq!(roles[0], ("alice".to_owned(), Role::Admin));
    assert_eq!(roles[1], ("bob".to_owned(), Role::Owner));
    world.group_command(0, GroupCommand::Leave { group });
    world.advance(10_000);
    let left = ("alice".to_owned(), MembershipChange::Left);
    assert!(world.changes(2).contains(&left));
    let removed = ("alice".to_owned(), MembershipChange::Removed);
    assert!(!world.changes(2).contains(&removed), "told once");
    assert_eq!(world.roles(2, group).len(), 2);
    world.say(1, group, "just us");
    world.settle();
    assert_eq!(world.said(2, group), ["just us"]);
    assert_eq!(world.said(0, group), Vec::<String>::new());
}

#[test]
fn two_admins_at_once_both_get_an_answer() {
    let (mut world, group) = World::group(3);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    world.settle();
    let done = |world: &World, person: usize| {
        let done = |event: &&Event| matches!(event, Event::Done { .. });
        world.people[person].events.iter().filter(done).count()
    };
    // Different changes: both are made, one after the other.
    let before = (done(&world, 0), done(&world, 1));
    let names = world.one("dave");
    world.command(0, Command::Group(GroupCommand::Add { group, names }));
    let names = world.one("erin");
    world.command(1, Command::Group(GroupCommand::Add { group, names }));
    world.advance(10_000);
    assert_eq!(
        (done(&world, 0), done(&world, 1)),
        (before.0 + 1, before.1 + 1)
    );
    assert_eq!(world.roles(2, group).len(), 5);
    // The same change: who is second hears that it is so already.
    for person in [0, 1] {
        let names = world.one("carol");
        world.command(
            person,
            Command::Group(GroupCommand::Remove { group, names }),
        );
    }
    world.advance(10_000);
    let after = (done(&world, 0), done(&world, 1));
    assert_eq!(after.0 + after.1, before.0 + before.1 + 3);
    let second = if after.0 == before.0 + 1 { 0 } else { 1 };
    let sentence = "carol is not a member".to_owned();
    assert_eq!(world.last_failure(second), ("not_a_member", sentence));
}

/// What is said between a second invitation and the consent to it waits at the server.
#[test]
fn who_is_invited_again_reads_what_was_said_since() {
    let (mut world, group) = World::group(3);
    let names = world.one("carol");
    world.group_command(
        0,
        GroupCommand::Remove {
            group,
            names: names.clone(),
        },
    );
    world.settle();
    world.group_command(0, GroupCommand::Add { group, names });
    world.settle();
    let new = world.people[2].events.len();
    world.say(0, group, "welcome back");
    world.settle();
    world.group_command(2, GroupCommand::Join { group });
    world.settle();
    world.say(1, group, "hello");
    world.settle();
    assert_eq!(world.said(2, group), ["welcome back", "hello"]);
    let troubles = world.people[2].events[new..].iter();
    let troubles: Vec<_> = troubles
        .filter(|event| matches!(event, Event::Security(_)))
        .collect();
    assert!(troubles.is_empty(), "{troubles:?}");
}

/// Who was in before and is invited and put out again before answering is not in by a late answer.
#[test]
fn an_invitation_that_was_taken_back_leads_nowhere() {
    let (mut world, group) = World::group(3);
    for _ in 0..2 {
        let names = world.one("bob");
        world.group_command(0, GroupCommand::Remove { group, names });
        world.settle();
        let names = world.one("bob");
        world.group_command(0, GroupCommand::Add { group, names });
        world.settle();
    }
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    world.say(0, group, "without bob");
    world.group_command(1, GroupCommand::Join { group });
    world.settle();
    world.say(1, group, "hello?");
    assert_eq!(world.last_failure(1).0, "not_a_member");
    assert_eq!(world.said(1, group), Vec::<String>::new());
    // Nothing of it is in the way of a new one.
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Add { group, names });
    world.group_command(1, GroupCommand::Join { group });
    world.say(1, group, "thanks");
    world.settle();
    assert_eq!(world.said(1, group), ["thanks"]);
    assert_eq!(alarms(&world, 1), []);
}

/// Nothing of the store is old then, and nobody comes in again without wanting to.
#[test]
fn who_was_put_out_and_invited_again_while_away_is_asked() {
    let (mut world, group) = World::group(3);
    world.say(0, group, "with bob");
    world.settle();
    world.disconnect(1);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.say(0, group, "without bob");
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Add { group, names });
    world.say(0, group, "welcome back");
    world.connect(1);
    world.settle();
    let removed = ("bob".to_owned(), MembershipChange::Removed);
    assert!(
        world.changes(1).contains(&removed),
        "{:?}",
        world.people[1].events
    );
    assert_eq!(world.said(1, group), ["with bob"]);
    world.group_command(1, GroupCommand::Join { group });
    world.settle();
    world.say(1, group, "thanks");
    world.settle();
    assert_eq!(world.said(1, group), ["with bob", "welcome back", "thanks"]);
    assert_eq!(alarms(&world, 1), []);
    assert_eq!(alarms(&world, 0), []);
}

fn alarms(world: &World, person: usize) -> Vec<SecurityKind> {
    let events = world.people[person].events.iter();
    let kinds = events.filter_map(|event| match event {
        Event::Security(security) => Some(security.kind),
        _ => None,
    });
    kinds
        .filter(|kind| *kind != SecurityKind::DeviceAdded)
        .collect()
}

#[test]
fn two_names_at_once_end_as_one_everywhere() {
    let (alice, bob) = ((0, "of alice"), (1, "of bob"));
    for both in [[alice, bob], [bob, alice]] {
        let (mut world, group) = World::group(3);
        let names = world.one("bob");
        world.group_command(0, GroupCommand::Promote { group, names });
        world.settle();
        // Both change it while neither has heard of the other.
        for (person, title) in both {
            let title = title.to_owned();
            let command = GroupCommand::Rename { group, title };
            world.command(person, Command::Group(command));
        }
        world.run();
        world.settle();
        let mut titles = Vec::new();
        for person in 0..3 {
            let view = world.engine(person).group(&group).unwrap().unwrap();
            titles.push(view.title.unwrap());
        }
        assert_eq!(titles, ["of bob"; 3], "{both:?}");
    }
}
