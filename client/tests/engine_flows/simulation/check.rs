//! The verdict over a simulation, by the server's logs: what must hold whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use sotto_client::talk::Talk;
use sotto_protocol::{ConversationId, DeviceId};

use super::agreement;
use super::sim::{NAMES, Simulation, Stay, What};

/// Every message in the logs: its conversation and place.
pub(super) type Places = BTreeMap<[u8; 16], (ConversationId, u64)>;

pub(super) fn judge(simulation: &Simulation) -> Vec<String> {
    let mut wrong = simulation.wrong.clone();
    let places = places(simulation, &mut wrong);
    promises(simulation, &places, &mut wrong);
    screens(simulation, &places, &mut wrong);
    members(simulation, &places, &mut wrong);
    receipts(simulation, &places, &mut wrong);
    agreement::judge(simulation, &places, &mut wrong);
    wrong
}

pub(super) fn called(simulation: &Simulation, id: &[u8; 16]) -> String {
    match simulation.asked.get(id) {
        Some(asked) => format!("{}'s {} to {}", NAMES[asked.who], asked.number, asked.to),
        None => format!("{id:?}"),
    }
}

/// No message is in the logs twice, and each sender's stand in the order of writing.
fn places(simulation: &Simulation, wrong: &mut Vec<String>) -> Places {
    let mut places = Places::new();
    for (id, log) in &simulation.relay.logs {
        let mut last: BTreeMap<usize, u32> = BTreeMap::new();
        for entry in &log.entries {
            let Ok(message) = <[u8; 16]>::try_from(entry.envelope.client_id.as_slice()) else {
                continue;
            };
            let Some(asked) = simulation.asked.get(&message) else {
                continue;
            };
            if places.insert(message, (*id, entry.envelope.seq)).is_some() {
                wrong.push(format!("{} is stored twice", called(simulation, &message)));
            }
            if last
                .insert(asked.who, asked.number)
                .is_some_and(|before| before > asked.number)
            {
                wrong.push(format!(
                    "{} stands behind a later one",
                    called(simulation, &message)
                ));
            }
        }
    }
    places
}

/// What was acknowledged is where it was said to be; what was queued for a person got there.
fn promises(simulation: &Simulation, places: &Places, wrong: &mut Vec<String>) {
    for (message, place) in &simulation.acked {
        if places.get(message) != Some(place) {
            let name = called(simulation, message);
            wrong.push(format!(
                "{name} was acknowledged at {}, and is not there",
                place.1
            ));
        }
    }
    for (message, asked) in &simulation.asked {
        let to_person = matches!(asked.to, Talk::Person(_));
        match (asked.failed, places.contains_key(message)) {
            (false, false)
                if to_person && asked.what == What::Message && !simulation.is_gone(asked.who) =>
            {
                wrong.push(format!("{} never left", called(simulation, message)));
            }
            (true, true) => {
                let name = called(simulation, message);
                wrong.push(format!("{name} was said to have failed, and is there"));
            }
            _ => {}
        }
    }
}

/// Each life of a program shows each log forwards, and a message again only after a kill.
fn screens(simulation: &Simulation, places: &Places, wrong: &mut Vec<String>) {
    let mut last: BTreeMap<(usize, u32, ConversationId), u64> = BTreeMap::new();
    let mut seen: BTreeSet<(usize, u32, [u8; 16])> = BTreeSet::new();
    for shown in &simulation.shown {
        let name = called(simulation, &shown.id);
        let who = NAMES[shown.who];
        let log = (shown.who, shown.life, shown.conversation);
        let before = last.insert(log, shown.seq).unwrap_or(0);
        if shown.seq <= before {
            wrong.push(format!(
                "{who} showed {name} at {} after {before}",
                shown.seq
            ));
        }
        if !seen.insert((shown.who, shown.life, shown.id)) {
            wrong.push(format!("{who} showed {name} twice"));
        }
        if places.get(&shown.id) != Some(&(shown.conversation, shown.seq)) {
            wrong.push(format!("{who} showed {name} where the log has it not"));
        }
    }
}

/// Who is in, and said yes, shows everything since they came in; nobody shows what was said while
/// they were out.
fn members(simulation: &Simulation, places: &Places, wrong: &mut Vec<String>) {
    let shown: BTreeSet<(usize, [u8; 16])> = simulation
        .shown
        .iter()
        .map(|shown| (shown.who, shown.id))
        .collect();
    for ((conversation, device), stays) in &simulation.stays {
        let who = simulation.devices[device];
        let counts = is_expected(simulation, conversation, (who, device), wrong);
        let is_in = stays.last().filter(|stay| counts && !stay.is_over());
        let there = places.iter().filter(|(_, place)| place.0 == *conversation);
        for (message, (_, seq)) in there {
            let asked = &simulation.asked[message];
            if asked.what == What::Change {
                continue;
            }
            let own = asked.who == who;
            let is_shown = shown.contains(&(who, *message));
            let name = called(simulation, message);
            if is_shown && !stays.iter().any(|stay| stay.has(*seq)) {
                wrong.push(format!("{} showed {name} at {seq}, being out", NAMES[who]));
            }
            if !own && !is_shown && is_in.is_some_and(|stay| stay.has(*seq)) {
                wrong.push(format!("{} never showed {name} at {seq}", NAMES[who]));
            }
        }
    }
}

/// Whether somebody is to show what is said: in a group only after they said yes. Both sides have to
/// agree on that.
pub(super) fn is_expected(
    simulation: &Simulation,
    conversation: &ConversationId,
    (who, device): (usize, &DeviceId),
    wrong: &mut Vec<String>,
) -> bool {
    let log = &simulation.relay.logs[conversation];
    if log.pair.is_some() {
        return true;
    }
    let stays = &simulation.stays[&(*conversation, *device)];
    let last = stays.last().filter(|stay| !stay.is_over());
    let agreed = last.is_some_and(|stay| has_agreed(simulation, conversation, (who, device), stay));
    let is_in = simulation.is_in(who, conversation);
    if agreed != is_in {
        wrong.push(format!(
            "{} is in {conversation}: {agreed} by the server, {is_in} by the client",
            NAMES[who]
        ));
    }
    agreed
}

/// Whether somebody came into a group by their own will.
fn has_agreed(
    simulation: &Simulation,
    conversation: &ConversationId,
    (who, device): (usize, &DeviceId),
    stay: &Stay,
) -> bool {
    let log = &simulation.relay.logs[conversation];
    let first = log.entries.first();
    let founded = stay.epoch == 1 && first.is_some_and(|first| first.sender == *device);
    let agreed = (*conversation, who, stay.epoch);
    log.pair.is_some() || founded || simulation.agreed.contains(&agreed)
}

/// Nobody tells that something arrived which they had not shown by then.
fn receipts(simulation: &Simulation, places: &Places, wrong: &mut Vec<String>) {
    let mut first: BTreeMap<(usize, [u8; 16]), usize> = BTreeMap::new();
    for (index, shown) in simulation.shown.iter().enumerate() {
        first.entry((shown.who, shown.id)).or_insert(index);
    }
    let mut found = BTreeSet::new();
    // Whoever began anew tells of what the new device can read; the event does not say from where.
    let anew = |by: &str| (0..NAMES.len()).any(|who| simulation.is_gone(who) && NAMES[who] == by);
    let told = simulation.told.iter();
    for told in told.filter(|told| simulation.is_whole() || !anew(&told.by)) {
        for (message, (conversation, seq)) in places {
            let asked = &simulation.asked[message];
            let about = *conversation == told.conversation && *seq <= told.up_to;
            if !about || NAMES[asked.who] == told.by || asked.what == What::Change {
                continue;
            }
            let devices = simulation.devices.iter();
            let mut of_them = devices.filter(|(_, who)| NAMES[**who] == told.by);
            let there = of_them.any(|(device, who)| {
                let stays = simulation.stays.get(&(*conversation, *device));
                stays.into_iter().flatten().any(|stay| {
                    stay.has(*seq) && has_agreed(simulation, conversation, (*who, device), stay)
                })
            });
            let mut programs = (0..NAMES.len()).filter(|who| NAMES[*who] == told.by);
            let shown = programs.any(|who| {
                let shown = first.get(&(who, *message));
                shown.is_some_and(|index| *index < told.shown_before)
            });
            if there && !shown {
                let name = called(simulation, message);
                let by = &told.by;
                found.insert(format!(
                    "{by} told that {name} came, which they had not shown"
                ));
            }
        }
    }
    wrong.extend(found);
}
