//! Attacks on groups by servers, strangers and people who were put out.

use prost::Message as _;
use rusqlite::Connection;
use sotto_client::engine::api::{Command, GroupCommand, MembershipChange, SecurityKind};
use sotto_crypto::{
    Address, DeviceKey, Group, IdentityKey, KeyStore, LocalDevice, PendingCommit, Plan, Suite,
    migrate_key_store,
};
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, DeviceId, wire};
use sotto_roster::{GroupRules, Policy, Role, Rules};

use crate::relay::DEPLOYMENT;
use crate::world::{World, name};

/// A16: strangers' invitations wait, the newest of each stranger, and tell them nothing.
#[test]
fn a_stranger_who_invites_again_and_again_is_one_invitation() {
    let mut world = World::people(2);
    let mut last = None;
    for round in 0..8 {
        let title = format!("party {round}");
        let members = vec![name("bob")];
        world.command(0, Command::Group(GroupCommand::New { title, members }));
        world.run();
        last = world.made(0).or(last);
    }
    world.settle();
    let waiting = world.engine(1).invitations().unwrap();
    assert_eq!(waiting.len(), 1);
    assert!(world.engine(1).chats().unwrap().is_empty());
    assert!(world.texts(1).is_empty());
    let asked = world.relay.asked.get(&1).cloned().unwrap_or_default();
    assert!(!asked.contains(&"append") && !asked.contains(&"append_commit"));
    let group = waiting[0].conversation;
    world.group_command(1, GroupCommand::Join { group });
    assert_eq!(world.engine(1).chats().unwrap().len(), 1);
}

/// A server can take away what an inviter says of a group, and put nothing in its place.
#[test]
fn a_server_gives_an_invitation_no_other_title() {
    let mut world = World::people(2);
    world.tap = Some(Box::new(|_, mut frame| {
        if let Some(Answer::Deliver(deliver)) = &mut frame.body {
            for envelope in &mut deliver.envelopes {
                if envelope.kind == i32::from(EnvelopeKind::Welcome) {
                    let welcome = wire::MailboxWelcome::decode(&*envelope.payload);
                    let mut welcome = welcome.unwrap();
                    assert_eq!(welcome.note.len(), 512);
                    welcome.note[100] ^= 1;
                    envelope.payload = welcome.encode_to_vec().into();
                }
            }
        }
        vec![frame]
    }));
    let title = "party".to_owned();
    let members = vec![name("bob")];
    world.group_command(0, GroupCommand::New { title, members });
    world.settle();
    let waiting = world.engine(1).invitations().unwrap();
    assert_eq!((waiting.len(), waiting[0].title.as_deref()), (1, None));
    let group = waiting[0].conversation;
    world.group_command(1, GroupCommand::Join { group });
    world.settle();
    let view = world.engine(1).group(&group).unwrap().unwrap();
    assert_eq!(view.title.as_deref(), Some("party"), "as the log has it");
}

/// A10: what somebody sealed who is out now is not shown, whoever puts it into the log.
#[test]
fn who_was_put_out_is_not_heard_again() {
    let (mut world, group) = World::group(3);
    world.say(2, group, "while I may");
    let log = &world.relay.logs[&group];
    let sealed = log.entries.last().unwrap().clone();
    let names = world.one("carol");
    world.group_command(0, GroupCommand::Remove { group, names });
    world.settle();
    let refused_before = world.security(1, SecurityKind::PolicyRejected);
    for round in 0..10 {
        let client_id = vec![0xa0 + round; 16];
        let payload = sealed.envelope.payload.to_vec();
        let kind = EnvelopeKind::Application;
        let epoch = world.relay.logs[&group].epoch();
        world
            .relay
            .store(group, sealed.sender, kind, epoch, client_id, payload);
    }
    world.say(0, group, "goodbye carol");
    world.settle();
    assert_eq!(world.said(1, group), ["while I may", "goodbye carol"]);
    assert!(world.security(1, SecurityKind::PolicyRejected) >= refused_before + 10);
}

/// A1: a statement of leaving is the member's own, or nothing.
#[test]
fn a_server_makes_nobody_leave() {
    let (mut world, group) = World::group(3);
    let log = &world.relay.logs[&group];
    let roster = log.group.as_ref().unwrap().roster().clone();
    let carol = name("carol");
    let (_, carols) = roster.devices_of(&carol).next().unwrap();
    let forged = LocalDevice::new(carols.clone(), DeviceKey::generate().unwrap());
    assert!(
        forged.is_err(),
        "a certificate is of no use without its key"
    );
    let mallory = stranger("mallory");
    let client_id = ClientMessageId::from_bytes([0xee; 16]);
    let statement = mallory.sign_leave(&group, &client_id).encode();
    let epoch = log.epoch();
    let device = *carols.device_id();
    let kind = EnvelopeKind::Leave;
    world
        .relay
        .store(group, device, kind, epoch, client_id.to_vec(), statement);
    world.say(0, group, "still three");
    world.advance(10_000);
    let left = ("carol".to_owned(), MembershipChange::Left);
    assert!(!world.changes(0).contains(&left));
    assert!(world.security(0, SecurityKind::PolicyRejected) >= 1);
    assert_eq!(world.roles(1, group).len(), 3);
    assert_eq!(world.said(1, group), ["still three"]);
}

fn stranger(called: &str) -> LocalDevice {
    let identity = IdentityKey::generate().unwrap();
    let key = DeviceKey::generate().unwrap();
    let device = DeviceId::from_bytes([0x66; 16]);
    let certificate = identity
        .certify(DEPLOYMENT, &name(called), device, key.public(), 1)
        .unwrap();
    LocalDevice::new(certificate, key).unwrap()
}

/// A group under an honest group's id, of a stranger by some name and bob:
/// all that a server can make up by itself.
fn made_up(world: &mut World, address: Address, called: &str) -> (Vec<u8>, PendingCommit) {
    let me = stranger(called);
    let mut connection = Connection::open_in_memory().unwrap();
    migrate_key_store(&mut connection).unwrap();
    let store = KeyStore::new(&connection);
    let owner = [(name(called), Role::Owner)].into();
    let policy = Policy::group(owner).unwrap();
    let now_ms = world.now.unix_ms;
    let mut forged = Group::create(&store, &me, address, &policy, Suite::Hybrid, now_ms).unwrap();
    let suite = u32::from(Suite::Hybrid.number());
    let Ok(Answer::ClaimedKeyPackages(claimed)) = world.relay.claim("bob", suite) else {
        panic!("bob has key packages");
    };
    let both = [(name(called), Role::Owner), (name("bob"), Role::Member)];
    let next = policy
        .next(Rules::Group(GroupRules::closed(both.into())))
        .unwrap();
    let packages = [claimed.packages[0].key_package.clone()];
    let plan = Plan {
        key_packages: &packages,
        removals: &[],
        policy: Some(&next),
    };
    let client_id = ClientMessageId::from_bytes([0xaa; 16]);
    let staged = forged
        .stage(&store, &me, &client_id, &plan, now_ms)
        .unwrap();
    forged
        .merge_pending(&store, &staged.commit, now_ms)
        .unwrap();
    let shown = forged.group_info(&store, &me).unwrap();
    (shown, staged)
}

/// The next generation of a group, by somebody who has the owner's name and no more.
#[test]
fn a_group_that_a_server_rebuilt_in_an_owners_name_is_not_entered() {
    let (mut world, group) = World::group(3);
    let address = Address {
        conversation: group,
        generation: 1,
    };
    let (_, staged) = made_up(&mut world, address, "alice");
    let device = *staged.added[0].device_id();
    let head = world.relay.logs[&group].head();
    let welcome = wire::MailboxWelcome {
        conversation_id: group.to_vec(),
        generation: 1,
        epoch: 1,
        seq: head + 1,
        inviter: "alice".to_owned(),
        welcome: staged.welcomes[0].clone(),
        note: Vec::new(),
    };
    world.disconnect(1);
    world.relay.slip(device, &welcome);
    world.connect(1);
    world.settle();
    assert_eq!(world.security(1, SecurityKind::RecoveryDone), 0);
    assert_eq!(world.security(1, SecurityKind::KeyChanged), 1);
    assert!(world.security(1, SecurityKind::PolicyRejected) >= 1);
    assert_eq!(world.roles(1, group).len(), 3);
}

/// A1 by way of recovery: a member whose commits are lost looks for a way back
/// in, and is shown a group that the server made with a friend.
#[test]
fn a_group_that_a_server_made_up_is_not_entered() {
    let (mut world, group) = World::group(3);
    world.disconnect(1);
    let address = Address {
        conversation: group,
        generation: 0,
    };
    let (forged, _) = made_up(&mut world, address, "mallory");
    world.tap = Some(Box::new(move |person, mut frame| {
        match &mut frame.body {
            Some(Answer::Deliver(deliver)) if person == 1 => {
                for envelope in &mut deliver.envelopes {
                    let commit = envelope.kind == i32::from(EnvelopeKind::Commit);
                    if commit && !envelope.payload.is_empty() {
                        envelope.payload = vec![0x42; 64].into();
                    }
                }
            }
            Some(Answer::GroupInfo(info)) if person == 1 => {
                info.group_info.clone_from(&forged);
                info.epoch = 1;
            }
            _ => {}
        }
        vec![frame]
    }));
    let names = world.one("carol");
    world.group_command(0, GroupCommand::Promote { group, names });
    world.say(0, group, "among us");
    world.connect(1);
    world.run();
    world.say(1, group, "for the group only");
    world.advance(12_000);
    let recovered = world.security(1, SecurityKind::RecoveryDone);
    assert_eq!(recovered, 0, "bob entered the server's group");
    assert!(world.security(1, SecurityKind::PolicyRejected) >= 1);
    assert_eq!(world.engine(1).queued().unwrap(), 1);
    // Once the server is honest again, the way back is open.
    world.tap = None;
    world.advance(60_000);
    assert_eq!(world.engine(1).queued().unwrap(), 0);
    assert_eq!(world.said(0, group).last().unwrap(), "for the group only");
}
