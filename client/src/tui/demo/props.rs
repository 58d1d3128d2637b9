//! What the demonstration has beside its conversations: a safety number, people, rooms, devices.

use std::collections::BTreeSet;

use super::{conversation, device, name};
use crate::engine::api::{Device, Pin, Room, SafetyNumber, ThisDevice, User};

pub(super) fn safety() -> SafetyNumber {
    let groups: Vec<String> = (1..=12)
        .map(|group| format!("{:05}", group * 4_711))
        .collect();
    SafetyNumber {
        digits: groups.join(" "),
        verified_at_ms: None,
        pin: Pin::Same,
    }
}

/// The digits that compare well.
#[cfg(test)]
pub(crate) fn safety_digits() -> String {
    safety().digits
}

pub(super) fn people() -> Vec<User> {
    let online: BTreeSet<&str> = ["bob", "carol"].into();
    ["bob", "carol", "dave", "erin"]
        .map(|who| User {
            name: name(who),
            online: online.contains(who),
            last_seen_ms: None,
            display_name: String::new(),
            status: String::new(),
        })
        .to_vec()
}

pub(super) fn rooms() -> Vec<Room> {
    vec![Room {
        conversation: conversation(5),
        title: "lobby".to_owned(),
        topic: "anybody may come in".to_owned(),
        members: 12,
        joined: false,
    }]
}

pub(super) fn devices(now_ms: u64) -> Vec<Device> {
    vec![Device {
        id: device(0),
        name: "this terminal".to_owned(),
        issued_at_ms: now_ms,
        this: ThisDevice::Yes,
    }]
}
