//! What the people have of a conversation in the end: the same texts, changes and reactions, nothing
//! whose time is over, and no mark that a message was read which nobody was shown.

use std::collections::{BTreeMap, BTreeSet};

use sotto_client::engine::api::{Direction, Message, MessageBody};
use sotto_protocol::ConversationId;

use super::check::{Places, called};
use super::sim::{NAMES, Simulation};

/// How long a message may stay after its time, in milliseconds.
const LATE_MS: u64 = 60_000;

/// A message as everybody should have it.
#[derive(Debug, PartialEq, Eq)]
struct Face {
    body: MessageBody,
    edited: bool,
    pinned: bool,
    liked_by: BTreeSet<String>,
}

pub(super) fn judge(simulation: &Simulation, places: &Places, wrong: &mut Vec<String>) {
    let mut faces: BTreeMap<[u8; 16], (usize, Face)> = BTreeMap::new();
    for ((conversation, device), stays) in &simulation.stays {
        let who = simulation.devices[device];
        let Some(stay) = stays.last().filter(|stay| !stay.is_over()) else {
            continue;
        };
        for message in simulation.history(who, conversation) {
            let id = *message.id.as_bytes();
            expired(simulation, who, &message, wrong);
            reached(simulation, (who, conversation), &message, wrong);
            let known = places.get(&id).is_some_and(|place| stay.has(place.1));
            if !known {
                continue;
            }
            let face = face(message);
            match faces.get(&id) {
                Some((other, seen)) if *seen != face => wrong.push(format!(
                    "{} has {} as {face:?}, {} as {seen:?}",
                    NAMES[who],
                    called(simulation, &id),
                    NAMES[*other]
                )),
                Some(_) => {}
                None => {
                    faces.insert(id, (who, face));
                }
            }
        }
    }
}

fn face(message: Message) -> Face {
    let likes = message.details.reactions.iter();
    Face {
        edited: message.details.edited,
        pinned: message.details.pinned,
        liked_by: likes
            .flat_map(|likes| likes.by.iter().map(ToString::to_string))
            .collect(),
        body: message.body,
    }
}

fn expired(simulation: &Simulation, who: usize, message: &Message, wrong: &mut Vec<String>) {
    let over = |at: u64| at + LATE_MS < simulation.now.unix_ms;
    if message.details.expires_at_ms.is_some_and(over) {
        let name = called(simulation, message.id.as_bytes());
        wrong.push(format!(
            "{} still has {name}, whose time is over",
            NAMES[who]
        ));
    }
}

/// No more people read a message by its marks than were shown it.
fn reached(
    simulation: &Simulation,
    (who, conversation): (usize, &ConversationId),
    message: &Message,
    wrong: &mut Vec<String>,
) {
    if message.direction != Direction::Outgoing || message.seq == 0 {
        return;
    }
    let id = message.id.as_bytes();
    let shown = simulation.shown.iter().filter(|shown| shown.id == *id);
    let by: BTreeSet<usize> = shown.map(|shown| shown.who).collect();
    let marks = message.details.delivered_to.max(message.details.read_by);
    if marks > by.len() as u64 {
        wrong.push(format!(
            "{} sees {} in {conversation} marked as come to {marks}, and {} were shown it",
            NAMES[who],
            called(simulation, id),
            by.len()
        ));
    }
}
