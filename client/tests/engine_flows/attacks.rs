//! B1, C3, D6, E1, F1: servers and thieves against people who follow the rules.

use sotto_client::engine::Verification;
use sotto_client::engine::api::{Event, SecurityKind};
use sotto_protocol::ClientMessageId;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;

use crate::world::{PASSWORD, World, name};

/// Own messages after which keys are renewed at the latest.
const RENEWED_WITHIN: u64 = 100;

/// B1: a server puts itself between two people from their first word on. To
/// each it shows a directory of its own, in which the other's name stands for
/// an identity that it made: two worlds that do not know of each other.
#[test]
fn a_server_between_two_people_shows_in_their_safety_numbers() {
    let mut at_alice = World::contacts();
    let mut at_bob = World::contacts();
    let hers = at_alice
        .engine(0)
        .safety_number(&name("bob"))
        .unwrap()
        .unwrap();
    let his = at_bob
        .engine(1)
        .safety_number(&name("alice"))
        .unwrap()
        .unwrap();
    let groups = |digits: &str| digits.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (hers_groups, his_groups) = (groups(&hers.digits), groups(&his.digits));
    assert_eq!((hers_groups.len(), his_groups.len()), (12, 12));
    // Neither half is the same: each is over a key that the other never saw.
    for half in hers_groups.chunks(6) {
        assert!(his_groups.chunks(6).all(|other| other != half));
    }
    let now = at_alice.now;
    let alice_types = at_alice.engine(0).verify(&name("bob"), &his.digits, now);
    let bob_types = at_bob.engine(1).verify(&name("alice"), &hers.digits, now);
    assert_eq!(alice_types.unwrap(), Verification::Differs);
    assert_eq!(bob_types.unwrap(), Verification::Differs);
}

/// D6, the engine's part: whoever writes renews their keys within a hundred
/// own messages, whether or not the other one ever writes. What a stolen
/// state is worth then: crypto/tests/post_compromise.rs.
#[test]
fn keys_are_renewed_within_a_hundred_own_messages() {
    let mut world = World::contacts();
    // The renewals that follow a join are over.
    world.advance(100_000);
    for writer in [0, 1] {
        let peer = ["bob", "alice"][writer];
        let before = world.relay.log_of_pair().1.epoch();
        for n in 0..RENEWED_WITHIN {
            world.send(writer, peer, &format!("{n}"));
            world.run();
        }
        world.settle();
        let after = world.relay.log_of_pair().1.epoch();
        assert!(
            after > before,
            "{writer} wrote a hundred messages in epoch {before}"
        );
    }
    assert_eq!(world.security(0, SecurityKind::RecoveryStarted), 0);
    assert_eq!(world.security(1, SecurityKind::RecoveryStarted), 0);
}

/// E1: a stranger's messages move nothing in the other direction. The first
/// hundred and more are answered by not one frame. In a flood the server hears
/// which entries are passed, so that it goes on delivering what others write;
/// nothing is ever sealed, asked or renewed, and the stranger hears nothing.
#[test]
fn a_strangers_flood_is_answered_by_nothing() {
    let mut world = World::pair();
    world.send(0, "bob", "hello");
    world.run();
    world.settle();
    world.relay.asked.clear();
    world.people[0].events.clear();
    let mut asked = Vec::new();
    for n in 0..500_u16 {
        let mut id = [0xf1; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        world.send_as(0, "bob", &format!("{n}"), ClientMessageId::from_bytes(id));
        world.run();
        asked.extend(world.relay.asked.remove(&1).unwrap_or_default());
        assert!(n >= 100 || asked.is_empty(), "{asked:?}");
    }
    world.settle();
    // Nor when the one who is asked comes back after a while.
    world.restart(1);
    world.settle();
    asked.extend(world.relay.asked.remove(&1).unwrap_or_default());
    // Which devices the own account has is asked once in a session.
    let silent = ["acknowledge", "resume", "get_own_account", "other"];
    assert!(asked.iter().all(|kind| silent.contains(kind)), "{asked:?}");
    let log = world.relay.log_of_pair().1;
    let first = &log.entries[0].sender;
    assert!(log.entries.iter().all(|stored| stored.sender == *first));
    assert_eq!(world.requests(1), 1);
    assert!(world.texts(1).is_empty());
    let told = |event: &&Event| {
        matches!(
            event,
            Event::Receipt(_) | Event::Message(_) | Event::Membership(_) | Event::Security(_)
        )
    };
    let told: Vec<_> = world.people[0].events.iter().filter(told).collect();
    assert!(told.is_empty(), "{told:?}");
}

/// C3: a hundred messages in an order that the server makes up. What is shown
/// is in the sender's order, and what is missing is told.
#[test]
fn any_order_of_the_server_is_shown_in_the_senders_order() {
    let mut world = World::contacts();
    world.disconnect(1);
    for n in 0..100 {
        world.send(0, "bob", &format!("{n:03}"));
    }
    world.run();
    // A fixed xorshift sequence: the same disorder in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    world.tap = Some(Box::new(move |_, mut frame| {
        if let Some(Answer::Deliver(deliver)) = &mut frame.body {
            for place in (1..deliver.envelopes.len()).rev() {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let other = usize::try_from(state % (place as u64 + 1)).unwrap();
                deliver.envelopes.swap(place, other);
            }
        }
        vec![frame]
    }));
    world.connect(1);
    world.run();
    world.settle();
    let shown = world.texts(1)[1..].to_vec();
    let mut ordered = shown.clone();
    ordered.sort();
    ordered.dedup();
    assert_eq!(shown, ordered);
    assert!(!shown.is_empty());
    assert!(shown.len() == 100 || world.security(1, SecurityKind::Gap) >= 1);
}

/// F1: of a password nothing leaves the client, in no usual form, in no frame
/// from the registration on; nor does what is written.
#[test]
fn neither_password_nor_texts_leave_the_client() {
    const TEXT: &str = "meet me at the old mill at nine";
    let mut world = World::new();
    world.record();
    world.register("alice");
    world.register("bob");
    world.send(0, "bob", TEXT);
    world.run();
    world.send(1, "alice", TEXT);
    world.run();
    world.settle();
    let sent = world.recorded();
    let registrations = sent
        .iter()
        .filter(|frame| matches!(frame.body, Some(Ask::Register(_))));
    assert_eq!(registrations.count(), 2);
    let bytes: Vec<u8> = sent
        .iter()
        .flat_map(prost::Message::encode_to_vec)
        .collect();
    assert!(holds(&bytes, b"alice"), "the search finds what is there");
    for secret in [PASSWORD, TEXT] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for form in [
            secret.as_bytes(),
            hex.as_bytes(),
            hex.to_uppercase().as_bytes(),
            &wide,
            base64(secret).as_bytes(),
        ] {
            assert!(!holds(&bytes, form), "{secret}");
        }
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// base64 of the whole groups; these texts have no byte that the two alphabets differ in.
fn base64(text: &str) -> String {
    let letters: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/'])
        .collect();
    let groups = text.as_bytes().chunks_exact(3).flat_map(|group| {
        let all = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        [18, 12, 6, 0].map(|shift| letters[(all >> shift & 63) as usize])
    });
    groups.collect()
}

/// D12.
#[test]
fn a_conversation_of_two_is_sealed_by_the_hybrid_suite() {
    let mut world = World::pair();
    world.record();
    world.send(0, "bob", "for later readers");
    world.run();
    let frames = world.recorded();
    let suites: Vec<u32> = frames
        .iter()
        .filter_map(|frame| match &frame.body {
            Some(Ask::ClaimKeyPackages(claim)) => Some(claim.ciphersuite),
            _ => None,
        })
        .collect();
    // X-Wing: X25519 with ML-KEM-768.
    assert_eq!(suites, [0x004e]);
}
