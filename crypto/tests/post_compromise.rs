//! D6, the sealed part: somebody copies a device's whole key store and listens
//! from then on. Until the device renews its keys the thief reads along, which
//! nothing prevents; after one renewal, never again. The engine renews within a
//! hundred own messages or a day: client/tests/engine_flows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod common;

use common::{Device, Pair, id, now_ms, pair};
use rusqlite::Connection;
use sotto_crypto::{DeviceKey, Group, LocalDevice, Suite};
use sotto_protocol::wire::EnvelopeKind;

/// What a thief has: the key store as it was, and the device's own key.
struct Thief {
    device: Device,
    group: Group,
    _folder: tempfile::TempDir,
}

impl Thief {
    fn of(device: &Device) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        device
            .connection
            .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
            .unwrap();
        let connection = Connection::open(&copy).unwrap();
        let key = DeviceKey::from_secret(&device.me.key().to_secret());
        let me = LocalDevice::new(device.me.certificate().clone(), key).unwrap();
        let device = Device { me, connection };
        let group = device.group();
        Self {
            device,
            group,
            _folder: folder,
        }
    }

    /// Everything from the log that opens for the thief: messages of the other side.
    fn reads(&mut self, kind: EnvelopeKind, client_id: u8, payload: &[u8]) -> bool {
        self.device
            .open(&mut self.group, kind, client_id, payload)
            .is_ok()
    }
}

fn renewal_ends_it(suite: Suite) {
    let mut it: Pair = pair(suite);
    let mut thief = Thief::of(&it.bob);
    // The thief has really got what Bob has.
    let early = it.alice.say(&mut it.at_alice, 10, "before the renewal");
    assert!(thief.reads(EnvelopeKind::Application, 10, &early));
    it.bob.hear(&mut it.at_bob, 10, &early);

    let commit = it
        .at_bob
        .stage_self_update(&it.bob.store(), &it.bob.me, &id(2), now_ms())
        .unwrap();
    it.bob.merge(&mut it.at_bob, &commit);
    it.alice.follow(&mut it.at_alice, 2, &commit);
    // The thief sees the commit pass, too, and cannot follow it.
    assert!(!thief.reads(EnvelopeKind::Commit, 2, &commit.commit));
    for number in 20..70 {
        let sealed = it.alice.say(&mut it.at_alice, number, "after the renewal");
        assert!(!thief.reads(EnvelopeKind::Application, number, &sealed));
        it.bob.hear(&mut it.at_bob, number, &sealed);
    }
    assert_eq!(it.at_alice.authenticator(), it.at_bob.authenticator());
    assert_ne!(it.at_alice.authenticator(), thief.group.authenticator());
}

#[test]
fn a_stolen_state_opens_nothing_after_a_renewal() {
    for suite in [Suite::Hybrid, Suite::Classical] {
        renewal_ends_it(suite);
    }
}
