//! Invite links: coming in by one, an admin's word, links that are over, and
//! those who only say that they have one.

use sotto_client::engine::api::{
    Admission, Event, GroupCommand, LinkCommand, MembershipChange, Past, SecurityKind,
};
use sotto_client::invite_link::InviteLink;
use sotto_protocol::{ConversationId, wire};

use crate::world::{World, name};

const DAY_S: u32 = 24 * 3_600;

impl World {
    fn link_command(&mut self, person: usize, command: LinkCommand) {
        self.group_command(person, GroupCommand::Link(command));
    }

    fn make_link(
        &mut self,
        person: usize,
        group: ConversationId,
        uses: u32,
        admission: Admission,
    ) -> InviteLink {
        let command = LinkCommand::Make {
            group,
            uses,
            lifetime_s: DAY_S,
            admission,
        };
        self.link_command(person, command);
        let events = self.people[person].events.iter().rev();
        let made = events.clone().find_map(|event| match event {
            Event::InviteLink { link, .. } => link.link.clone(),
            _ => None,
        });
        // As it comes out of a message.
        InviteLink::parse(&made.unwrap().text()).unwrap()
    }

    fn join(&mut self, person: usize, link: &InviteLink) {
        let link = link.clone();
        self.link_command(person, LinkCommand::Join { link });
        self.settle();
    }

    fn is_in(&mut self, person: usize, group: ConversationId) -> bool {
        let view = self.engine(person).group(&group).unwrap();
        view.is_some_and(|view| view.role.is_some())
    }

    fn asked_for(&self, person: usize) -> Vec<String> {
        let events = self.people[person].events.iter();
        let asked = events.filter_map(|event| match event {
            Event::JoinRequested(request) => Some(request.name.to_string()),
            _ => None,
        });
        asked.collect()
    }

    fn links(&mut self, person: usize, group: ConversationId) -> Vec<(u32, bool)> {
        self.link_command(person, LinkCommand::List { group });
        let events = self.people[person].events.iter().rev();
        let listed = events.clone().find_map(|event| match event {
            Event::InviteLinks { links, .. } => Some(links.clone()),
            _ => None,
        });
        let links = listed.unwrap().into_iter();
        links
            .map(|link| (link.uses_left, link.link.is_some()))
            .collect()
    }

    fn last_code(&self, person: usize) -> &'static str {
        self.failures(person).last().unwrap().code
    }
}

#[test]
fn whoever_has_a_link_comes_in_as_often_as_it_says() {
    let (mut world, group) = World::group(2);
    world.say(0, group, "before");
    let link = world.make_link(0, group, 1, Admission::ByLink);
    assert_eq!(world.links(0, group), [(1, true)]);
    world.join(2, &link);
    assert!(world.is_in(2, group));
    assert_eq!(world.invitations(2), 0, "it was asked for, not offered");
    let joined = ("carol".to_owned(), MembershipChange::Joined);
    for person in [0, 1, 2] {
        assert!(world.changes(person).contains(&joined), "{person}");
    }
    let view = world.engine(2).group(&group).unwrap().unwrap();
    assert_eq!(view.title.as_deref(), Some("team"));
    world.say(2, group, "hello");
    world.settle();
    assert_eq!(world.said(2, group), ["hello"]);
    assert_eq!(world.said(1, group), ["before", "hello"]);
    assert_eq!(world.links(0, group), []);
    world.join(3, &link);
    assert_eq!(world.last_code(3), "unknown_invite");
    assert!(!world.is_in(3, group));
    world.join(2, &link);
    assert_eq!(world.last_code(2), "already_member");
}

#[test]
fn an_admin_agrees_or_does_not() {
    let (mut world, group) = World::group(2);
    let link = world.make_link(0, group, 3, Admission::ByAdmin);
    world.join(2, &link);
    world.join(3, &link);
    assert_eq!(world.asked_for(0), ["carol", "dave"]);
    assert_eq!(world.asked_for(1), Vec::<String>::new(), "bob is no admin");
    assert!(!world.is_in(2, group) && !world.is_in(3, group));
    let waiting = world.engine(0).join_requests(&group).unwrap();
    assert_eq!(waiting.len(), 2);
    let carol = name("carol");
    let command = LinkCommand::Approve { group, name: carol };
    world.link_command(1, command.clone());
    assert_eq!(world.last_code(1), "not_allowed");
    world.link_command(0, command);
    let dave = name("dave");
    world.link_command(0, LinkCommand::Reject { group, name: dave });
    world.settle();
    assert!(world.is_in(2, group) && !world.is_in(3, group));
    assert!(world.engine(0).join_requests(&group).unwrap().is_empty());
    let erin = name("erin");
    world.link_command(0, LinkCommand::Approve { group, name: erin });
    assert_eq!(world.last_code(0), "not_a_request");
}

#[test]
fn a_link_that_is_over_leads_nowhere() {
    let (mut world, group) = World::group(2);
    let ended = world.make_link(0, group, 5, Admission::ByLink);
    let command = LinkCommand::End {
        group,
        link: ended.id,
    };
    world.link_command(1, command.clone());
    assert_eq!(world.last_code(1), "not_allowed");
    world.link_command(0, command.clone());
    world.join(2, &ended);
    assert_eq!(world.last_code(2), "unknown_invite");
    let sentence = &world.failures(2).last().unwrap().message;
    assert!(
        sentence.contains("expired, was used up or was ended"),
        "{sentence}"
    );
    world.link_command(0, command);
    assert_eq!(world.last_code(0), "unknown_invite");
    let expired = world.make_link(0, group, 5, Admission::ByLink);
    world.now.unix_ms += u64::from(DAY_S) * 1_000 + 1;
    world.join(2, &expired);
    assert_eq!(world.last_code(2), "unknown_invite");
    assert!(!world.is_in(2, group));
    world.make_link(0, group, 1, Admission::ByLink);
    let link = InviteLink {
        conversation: ConversationId::from_bytes([9; 16]),
        ..ended
    };
    world.join(2, &link);
    assert_eq!(world.last_code(2), "unknown_invite");
}

#[test]
fn only_admins_make_links_and_only_of_closed_groups() {
    let (mut world, group) = World::group(2);
    let command = LinkCommand::Make {
        group,
        uses: 1,
        lifetime_s: DAY_S,
        admission: Admission::ByLink,
    };
    world.link_command(1, command.clone());
    let failure = world.failures(1).last().copied().cloned().unwrap();
    assert_eq!(failure.code, "not_allowed");
    assert_eq!(failure.message, "only an admin can make invite links");
    for round in 0..32 {
        world.link_command(0, command.clone());
        assert!(world.failures(0).is_empty(), "{round}");
    }
    world.link_command(0, command);
    assert_eq!(world.last_code(0), "too_many_links");
    let title = "lobby".to_owned();
    let topic = String::new();
    world.group_command(0, GroupCommand::NewRoom { title, topic });
    world.settle();
    let made = world.people[0]
        .events
        .iter()
        .rev()
        .find_map(|event| match event {
            Event::GroupMade { conversation, .. } => Some(*conversation),
            _ => None,
        });
    let room = LinkCommand::List {
        group: made.unwrap(),
    };
    world.link_command(0, room);
    assert_eq!(world.last_code(0), "not_allowed");
}

/// Whoever makes up a wish, the server included, has no proof.
#[test]
fn a_wish_without_the_links_secret_is_refused() {
    let (mut world, group) = World::group(2);
    let link = world.make_link(0, group, 5, Admission::ByLink);
    let guessed = InviteLink {
        secret: sotto_crypto::SecretBytes::from_slice(&[0; 32]).unwrap(),
        ..link.clone()
    };
    world.join(2, &guessed);
    assert_eq!(world.security(0, SecurityKind::PolicyRejected), 1);
    assert!(!world.is_in(2, group));
    // A proof of carol's for dave, and one under another identity.
    world.join(4, &link);
    let entries = &world.relay.logs[&group].entries;
    let erins = entries.iter().rev().find_map(|stored| {
        let kind = wire::EnvelopeKind::JoinRequest;
        let is_wish = stored.envelope.kind == i32::from(kind);
        is_wish.then(|| {
            <wire::JoinRequest as prost::Message>::decode(&*stored.envelope.payload).unwrap()
        })
    });
    let erins = erins.unwrap();
    assert!(world.is_in(4, group));
    let forged = wire::JoinRequest {
        username: "dave".to_owned(),
        ..erins.clone()
    };
    world.relay.forge_join_request(group, &forged);
    world.say(1, group, "what now");
    world.settle();
    assert_eq!(world.security(0, SecurityKind::PolicyRejected), 2);
    assert_eq!(world.roles(0, group).len(), 3);
}

#[test]
fn what_waits_is_done_when_an_admin_comes() {
    let (mut world, group) = World::group(2);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    let link = world.make_link(0, group, 5, Admission::ByLink);
    world.disconnect(0);
    world.disconnect(1);
    world.join(2, &link);
    world.join(3, &link);
    assert!(!world.is_in(2, group));
    // Killed in the middle, and begun again by another admin at the same time.
    world.connect(0);
    world.run();
    world.restart(0);
    world.connect(1);
    world.advance(10_000);
    for person in [2, 3] {
        assert!(world.is_in(person, group), "{person}");
        assert_eq!(world.security(person, SecurityKind::PolicyRejected), 0);
    }
    world.say(3, group, "here");
    world.settle();
    for person in [0, 1, 2] {
        assert_eq!(world.said(person, group), ["here"]);
        assert!(world.failures(person).is_empty());
    }
}

#[test]
fn admins_who_come_later_know_the_links() {
    let (mut world, group) = World::group(2);
    let link = world.make_link(0, group, 5, Admission::ByLink);
    let names = world.one("carol");
    world.group_command(
        0,
        GroupCommand::Add {
            group,
            names: names.clone(),
        },
    );
    world.group_command(2, GroupCommand::Join { group });
    world.group_command(0, GroupCommand::Promote { group, names });
    world.settle();
    assert_eq!(world.links(2, group), [(5, true)]);
    world.disconnect(0);
    world.join(3, &link);
    world.advance(10_000);
    assert!(world.is_in(3, group), "let in by carol");
}

/// Somebody who was put out still has the link: it asks, and opens nothing.
#[test]
fn who_was_put_out_needs_an_admins_word_whatever_the_link_says() {
    let (mut world, group) = World::group(3);
    let link = world.make_link(0, group, 9, Admission::ByLink);
    let names = world.one("carol");
    let remove = GroupCommand::Remove { group, names };
    world.group_command(0, remove.clone());
    world.settle();
    assert!(!world.is_in(2, group));
    world.join(2, &link);
    world.advance(70_000);
    assert!(!world.is_in(2, group));
    assert_eq!(world.asked_for(0), ["carol"]);
    let waiting = world.engine(0).join_requests(&group).unwrap();
    assert_eq!(waiting[0].past, Past::PutOut);
    // An admin who was made one since then knows it too, and others come in as ever.
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    world.settle();
    world.disconnect(0);
    world.relay.forget_uses();
    world.join(2, &link);
    world.join(3, &link);
    world.advance(70_000);
    assert_eq!(world.asked_for(1), ["carol"]);
    assert!(!world.is_in(2, group) && world.is_in(3, group));
    // An admin's word is enough, and ends it: whoever left by themselves may come back.
    let carol = name("carol");
    world.link_command(1, LinkCommand::Approve { group, name: carol });
    world.settle();
    assert!(world.is_in(2, group));
    world.group_command(2, GroupCommand::Leave { group });
    world.advance(10_000);
    world.relay.forget_uses();
    world.join(2, &link);
    world.advance(70_000);
    assert!(world.is_in(2, group), "left, and was not put out");
}

#[test]
fn a_ban_that_was_lifted_is_forgiven() {
    let (mut world, group) = World::group(3);
    let link = world.make_link(0, group, 9, Admission::ByLink);
    let names = world.one("bob");
    world.group_command(0, GroupCommand::Promote { group, names });
    let names = world.one("carol");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    let names = world.one("carol");
    world.group_command(
        0,
        GroupCommand::Ban {
            group,
            names: names.clone(),
        },
    );
    world.group_command(1, GroupCommand::Unban { group, names });
    world.settle();
    world.join(2, &link);
    world.advance(70_000);
    assert!(world.is_in(2, group));
}
