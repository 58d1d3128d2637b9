//! Several devices of one account, engine against engine: linking by a code,
//! what a lost connection or a refusal costs, ending a device, backups.

use prost::Message as _;
use sotto_client::engine::api::{
    Command, CommandId, DeviceCommand, Event, Login, SecurityKind, ThisDevice,
};
use sotto_client::profile::{Handover, NewAccount, Newcomer, Profile};
use sotto_crypto::link::{AgreementKey, LinkCode, LinkOffer};
use sotto_crypto::recovery::RecoveryKey;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ErrorCode, wire};

use crate::relay::{DEPLOYMENT, refuse};
use crate::world::{PASSWORD, World, name};

/// A new device that shows a code.
struct Linking {
    newcomer: Newcomer,
    agreement: AgreementKey,
    code: LinkCode,
    sealed: Vec<u8>,
}

impl Linking {
    fn begin(world: &mut World) -> Self {
        let newcomer = Newcomer::generate().unwrap();
        let agreement = AgreementKey::generate().unwrap();
        let code = LinkCode::generate().unwrap();
        let offer = LinkOffer {
            deployment: DEPLOYMENT,
            username: name("alice"),
            device: newcomer.device,
            device_key: newcomer.key.public(),
            agreement_key: agreement.public(),
            name: "second".to_owned(),
        };
        let sealed = offer.seal(&code).unwrap();
        let rendezvous = code.rendezvous_id().to_vec();
        world.relay.shelf.offers.insert(rendezvous, sealed.clone());
        Self {
            newcomer,
            agreement,
            code,
            sealed,
        }
    }

    fn code(&self) -> LinkCode {
        LinkCode::parse(&self.code.to_text()).unwrap()
    }

    /// What the old device answered, if it did.
    fn answer(&self, world: &World) -> Option<wire::LinkAnswerBody> {
        let rendezvous = self.code.rendezvous_id().to_vec();
        let sealed = world.relay.shelf.answers.get(&rendezvous)?;
        let plain = self
            .agreement
            .open_answer(&self.code, &self.sealed, sealed)
            .unwrap();
        Some(wire::LinkAnswerBody::decode(plain.as_slice()).unwrap())
    }

    /// The new device with what it was handed, online.
    fn enter(self, world: &mut World) -> usize {
        let answer = self.answer(world).unwrap();
        let handover = Handover {
            snapshot: answer.account.unwrap(),
            certificate: Some(answer.certificate),
            history: answer.history,
        };
        let account = NewAccount {
            username: name("alice"),
            deployment: DEPLOYMENT,
        };
        let location = world.location("second");
        let now = world.now;
        let newcomer = (&self.newcomer, &handover);
        let (profile, _) =
            Profile::create_from(&location, &account, PASSWORD, newcomer, now).unwrap();
        profile.keep_unlocked().unwrap();
        let person = world.add(location, profile, Login::Device);
        world.connect(person);
        world.run();
        world.settle();
        person
    }
}

/// Alice looks at the offer and agrees.
fn agree(world: &mut World, linking: &Linking) {
    let code = linking.code();
    world.command(0, Command::Device(DeviceCommand::LookAtOffer { code }));
    world.run();
    let offered = world.people[0].events.iter().find_map(|event| match event {
        Event::LinkOffered { offer, sealed, .. } => Some((offer.clone(), sealed.clone())),
        _ => None,
    });
    let (offer, sealed) = offered.unwrap();
    assert_eq!(offer.name, "second");
    let link = DeviceCommand::Link {
        code: linking.code(),
        offer,
        sealed,
        archive: None,
    };
    world.people[0].events.clear();
    world.command(0, Command::Device(link));
}

fn failures(world: &World, person: usize) -> Vec<&'static str> {
    let events = world.people[person].events.iter();
    events
        .filter_map(|event| match event {
            Event::Failed { failure, .. } => Some(failure.code),
            _ => None,
        })
        .collect()
}

fn asked(world: &World, what: &str) -> usize {
    let kinds = world.relay.asked.get(&0);
    kinds.map_or(0, |kinds| {
        kinds.iter().filter(|kind| **kind == what).count()
    })
}

fn linked() -> (World, usize) {
    let mut world = World::contacts();
    let linking = Linking::begin(&mut world);
    agree(&mut world, &linking);
    world.run();
    let second = linking.enter(&mut world);
    (world, second)
}

#[test]
fn a_linked_device_is_in_every_conversation_and_announced() {
    let (mut world, second) = linked();
    let announced = world.people[1].events.iter().any(|event| {
        matches!(event, Event::Security(matter) if matter.kind == SecurityKind::DeviceAdded)
    });
    assert!(announced, "{:?}", world.people[1].events);
    let history = world
        .engine(second)
        .history(&name("bob").into(), 10)
        .unwrap();
    assert_eq!(history.len(), 1, "what was said before came along");
    world.send(1, "alice", "to both");
    world.run();
    world.settle();
    for device in [0, second] {
        assert!(
            world.texts(device).contains(&"to both".to_owned()),
            "{device}"
        );
    }
    world.send(second, "bob", "from the second");
    world.run();
    world.settle();
    assert!(world.texts(1).contains(&"from the second".to_owned()));
    let own = world.people[0].events.iter().any(|event| {
        matches!(event, Event::Security(matter) if matter.kind == SecurityKind::DeviceAdded
            && matter.action.contains("is not yours"))
    });
    assert!(!own, "the device that linked it knows it");
}

#[test]
fn a_device_whose_answer_is_refused_is_taken_back() {
    let mut world = World::contacts();
    let linking = Linking::begin(&mut world);
    world.tap = Some(Box::new(|person, mut frame| {
        // The answer to the answer is the second Done after the link is asked for.
        thread_local!(static SEEN: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
        if person == 0 && matches!(frame.body, Some(Answer::Done(_))) {
            let seen = SEEN.get() + 1;
            SEEN.set(seen);
            if seen == 2 {
                frame.body = Some(Answer::Error(refuse(ErrorCode::UnknownLink)));
            }
        }
        vec![frame]
    }));
    agree(&mut world, &linking);
    world.run();
    assert_eq!(failures(&world, 0), ["unknown_link"]);
    assert_eq!(asked(&world, "revoke_device"), 1);
    assert_eq!(world.relay.accounts["alice"].certificates.len(), 1);
}

#[test]
fn an_offer_of_another_account_or_a_changed_one_adds_nothing() {
    let mut world = World::contacts();
    let linking = Linking::begin(&mut world);
    // Bob is lured into typing alice's code.
    let code = linking.code();
    world.command(1, Command::Device(DeviceCommand::LookAtOffer { code }));
    world.run();
    assert_eq!(failures(&world, 1), ["wrong_account"]);
    let shown = |event: &Event| matches!(event, Event::LinkOffered { .. });
    assert!(!world.people[1].events.iter().any(shown), "nobody is asked");
    // A server that changes the offer is noticed before anybody is asked.
    let rendezvous = linking.code.rendezvous_id().to_vec();
    for place in [0, 100, 1000] {
        let mut changed = linking.sealed.clone();
        changed[place] ^= 1;
        world.relay.shelf.offers.insert(rendezvous.clone(), changed);
        let code = linking.code();
        world.command(0, Command::Device(DeviceCommand::LookAtOffer { code }));
        world.run();
    }
    assert_eq!(failures(&world, 0), ["unknown_link"; 3]);
    assert_eq!(asked(&world, "add_device"), 0);
}

#[test]
fn a_lost_connection_while_linking_leads_to_one_device() {
    let mut world = World::contacts();
    let linking = Linking::begin(&mut world);
    agree(&mut world, &linking);
    // What was asked is under way and gets no answer.
    world.disconnect(0);
    world.connect(0);
    world.run();
    assert_eq!(failures(&world, 0), Vec::<&str>::new());
    assert_eq!(world.relay.accounts["alice"].certificates.len(), 2);
    linking.enter(&mut world);
}

#[test]
fn an_ended_device_is_out_of_every_conversation() {
    let (mut world, second) = linked();
    let devices = |world: &mut World| {
        world.people[0].events.clear();
        world.command(0, Command::ListDevices);
        world.run();
        world.people[0].events.iter().find_map(|event| match event {
            Event::Devices { devices, .. } => Some(devices.clone()),
            _ => None,
        })
    };
    let listed = devices(&mut world).unwrap();
    let other = listed.iter().find(|device| device.this == ThisDevice::No);
    let device = other.unwrap().id;
    assert_eq!(other.unwrap().name, "second");
    world.people[0].events.clear();
    world.command(0, Command::Device(DeviceCommand::Revoke { device }));
    world.run();
    world.settle();
    assert_eq!(failures(&world, 0), Vec::<&str>::new());
    let done = |event: &Event| matches!(event, Event::Done { command } if *command > CommandId(0));
    assert!(world.people[0].events.iter().any(done));
    assert_eq!(devices(&mut world).unwrap().len(), 1);
    let members = world.relay.log_of_pair().1.group.as_ref().unwrap();
    assert_eq!(
        members.roster().leaves.len(),
        2,
        "alice's other leaf is gone"
    );
    let before = world.texts(second).len();
    world.send(1, "alice", "only to the first");
    world.run();
    world.settle();
    assert!(world.texts(0).contains(&"only to the first".to_owned()));
    assert_eq!(world.texts(second).len(), before);
}

#[test]
fn a_backup_is_kept_by_the_device_that_made_the_key_last() {
    let mut world = World::contacts();
    let keep = |world: &mut World| {
        let key = RecoveryKey::generate().unwrap().backup_key();
        world.command(0, Command::Device(DeviceCommand::KeepBackup { key }));
        world.run();
    };
    keep(&mut world);
    assert_eq!(world.engine(0).backup().unwrap().unwrap().number, 1);
    let first = world.relay.shelf.backups["alice"].1.clone();
    // Another device put one in its place: the next key goes over it, and only it.
    world
        .relay
        .shelf
        .backups
        .insert("alice".to_owned(), (7, vec![1]));
    keep(&mut world);
    assert_eq!(world.engine(0).backup().unwrap().unwrap().number, 8);
    assert_eq!(failures(&world, 0), Vec::<&str>::new());
    assert_ne!(world.relay.shelf.backups["alice"].1, first);
    // From then on somebody else's backup ends the keeping here.
    world
        .relay
        .shelf
        .backups
        .insert("alice".to_owned(), (9, vec![2]));
    world.now.unix_ms += 600_000;
    world.now.monotonic_ms += 600_000;
    world.send(0, "bob", "something new");
    world.run();
    world.settle();
    world.engine(0);
    let kept = world.relay.shelf.backups["alice"].clone();
    assert_eq!(kept, (9, vec![2]), "an old key seals over nothing");
}
