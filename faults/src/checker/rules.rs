//! What every log, screen and store has to keep to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fate, Fates, Verdict, Wrong};
use crate::history::{Cast, KeptMessage, Life, Record, Shown, Stores, Token, What};

/// What stands where in the logs, by conversation and place: message and id.
pub(super) type Logs = BTreeMap<usize, BTreeMap<u64, (Token, String)>>;

/// One log for each conversation, on which the sender and all devices agree; no message twice.
pub(super) fn logs(cast: &Cast, records: &[Record], fates: &Fates, verdict: &mut Verdict) -> Logs {
    let mut logs = Logs::new();
    let mut places: BTreeMap<Token, u64> = BTreeMap::new();
    let mut put =
        |verdict: &mut Verdict, talk: usize, seq: u64, token: Token, id: &str, by: &str| {
            let entry = logs.entry(talk).or_default().entry(seq);
            let (there, there_id) = entry.or_insert_with(|| (token, id.to_owned()));
            if *there != token || there_id != id {
                let sentence =
                    format!("{by}: place {seq} of talk {talk} is {token:?} and {there:?}");
                verdict.add(Wrong::Disagreed, sentence);
            }
            let first = *places.entry(token).or_insert(seq);
            if first != seq {
                let sentence = format!("{by}: {token:?} is in the log twice, at {first} and {seq}");
                verdict.add(Wrong::Duplicated, sentence);
            }
        };
    for record in records {
        match &record.what {
            What::Acked { token, id, seq } => {
                if let Some(fate) = fates.get(token) {
                    put(verdict, fate.talk, *seq, *token, id, "its sender");
                }
            }
            What::Shown(shown) => {
                let by = cast.device_name(shown.device);
                let Some(token) = shown.token else { continue };
                match genuine(cast, fates, shown, token) {
                    Ok(fate) => put(verdict, fate.talk, shown.seq, token, &shown.id, &by),
                    Err(why) => {
                        let sentence = format!("{by} showed {token:?}, which {why}");
                        verdict.add(Wrong::Disagreed, sentence);
                    }
                }
            }
            _ => {}
        }
    }
    logs
}

/// Whether what was shown was sent, by whom and where it says.
fn genuine<'a>(
    cast: &Cast,
    fates: &'a Fates,
    shown: &Shown,
    token: Token,
) -> Result<&'a Fate, &'static str> {
    let fate = fates.get(&token).ok_or("nobody sent")?;
    let sender = cast.devices.get(token.device).map(|of| &cast.accounts[*of]);
    if sender != Some(&shown.sender) {
        return Err("somebody else sent");
    }
    if cast.talk(&shown.conversation) != Some(fate.talk) {
        return Err("was sent elsewhere");
    }
    // One that was taken back says nothing more.
    if shown.reply_to.is_some() && shown.reply_to != fate.parent {
        return Err("answers something else");
    }
    Ok(fate)
}

/// Each screen shows a log forwards and each message once; after a kill it may begin again with
/// what had not been noted as shown.
pub(super) fn screens(cast: &Cast, records: &[Record], fates: &Fates, verdict: &mut Verdict) {
    let mut seen: BTreeSet<(usize, Token)> = BTreeSet::new();
    let mut seen_in_run: BTreeSet<(usize, u32, Token)> = BTreeSet::new();
    let mut last: BTreeMap<(usize, u32, String), u64> = BTreeMap::new();
    // Devices that were killed since they showed a message.
    let mut shown_before_kill: BTreeSet<(usize, Token)> = BTreeSet::new();
    for record in records {
        let shown = match &record.what {
            What::Client {
                device,
                life: Life::Killed,
                ..
            } => {
                let own = seen.iter().filter(|(of, _)| of == device);
                shown_before_kill.extend(own);
                continue;
            }
            What::Shown(shown) => shown,
            _ => continue,
        };
        let Some(token) = shown.token.filter(|token| fates.contains_key(token)) else {
            continue;
        };
        let name = cast.device_name(shown.device);
        let place = (shown.device, shown.run, shown.conversation.clone());
        let before = last.insert(place, shown.seq).unwrap_or(0);
        let again = !seen_in_run.insert((shown.device, shown.run, token));
        if shown.seq <= before && !again {
            let sentence = format!("{name} showed {token:?} at {} after {before}", shown.seq);
            verdict.add(Wrong::Reordered, sentence);
        }
        let first = seen.insert((shown.device, token));
        if first {
            verdict.tally.shown += 1;
        } else if !again && shown_before_kill.contains(&(shown.device, token)) {
            verdict.tally.shown_after_kill += 1;
        } else {
            let sentence = format!("{name} showed {token:?} again at {} ms", record.at_ms);
            verdict.add(Wrong::Duplicated, sentence);
        }
    }
}

/// Each device's messages stand in each log in the order of writing.
pub(super) fn senders(cast: &Cast, logs: &Logs, fates: &Fates, verdict: &mut Verdict) {
    for (talk, log) in logs {
        let mut last: BTreeMap<usize, u64> = BTreeMap::new();
        for (seq, (token, _)) in log {
            if !fates.contains_key(token) {
                continue;
            }
            let before = last.insert(token.device, token.number);
            if before.is_some_and(|before| before >= token.number) {
                let name = cast.device_name(token.device);
                let sentence = format!(
                    "message {} of {name} stands in talk {talk} at {seq}, behind a later one",
                    token.number
                );
                verdict.add(Wrong::Reordered, sentence);
            }
        }
    }
}

/// Answers stand behind what they answer.
pub(super) fn answers(cast: &Cast, logs: &Logs, fates: &Fates, verdict: &mut Verdict) {
    for (talk, log) in logs {
        let places: BTreeMap<&str, u64> = log
            .iter()
            .map(|(seq, (_, id))| (id.as_str(), *seq))
            .collect();
        for (seq, (token, _)) in log {
            let parent = fates.get(token).and_then(|fate| fate.parent.as_deref());
            let at = parent.and_then(|parent| places.get(parent));
            if at.is_some_and(|at| at >= seq) {
                let name = cast.device_name(token.device);
                let sentence =
                    format!("an answer of {name} in talk {talk} stands before its parent");
                verdict.add(Wrong::Reordered, sentence);
            }
        }
    }
}

/// What devices keep at the end is the log, in its order, and the same on all that were always in.
pub(super) fn stores(cast: &Cast, stores: &Stores, logs: &Logs, verdict: &mut Verdict) {
    let mut first: BTreeMap<(usize, u64), (usize, &KeptMessage)> = BTreeMap::new();
    for ((device, talk), kept) in stores {
        let name = cast.device_name(*device);
        let log = logs.get(talk);
        let mut last = 0;
        for message in kept.iter().filter(|message| message.seq > 0) {
            if message.seq <= last {
                let sentence = format!("{name} keeps {} of talk {talk} after {last}", message.seq);
                verdict.add(Wrong::Reordered, sentence);
            }
            last = message.seq;
            let there = log.and_then(|log| log.get(&message.seq));
            if there.is_some_and(|(_, id)| *id != message.id) {
                let sentence = format!("{name} keeps another message at {} of talk {talk}", last);
                verdict.add(Wrong::Disagreed, sentence);
            }
            // Who comes and goes does not hear what was done to messages meanwhile.
            if !cast.talks[*talk].always.contains(&cast.devices[*device]) {
                continue;
            }
            let (other, known) = first
                .entry((*talk, message.seq))
                .or_insert((*device, message));
            if known.content != message.content || known.id != message.id {
                let other = cast.device_name(*other);
                let sentence = format!(
                    "{other} keeps {:?} at {} of talk {talk}, {name} keeps {:?}",
                    known.content, message.seq, message.content
                );
                verdict.add(Wrong::Disagreed, sentence);
            }
        }
    }
}

/// What a client acknowledged, or said that it would send, is kept by its sender under a place of the log.
/// In the group whose members change, what was only promised may come too late. What nobody asked a device
/// for at the end, as for what somebody keeps of a group that they left, is left out.
pub(super) fn promises(cast: &Cast, stores: &Stores, fates: &Fates, verdict: &mut Verdict) {
    let kept: BTreeSet<(usize, &str)> = stores
        .iter()
        .flat_map(|((device, _), kept)| kept.iter().map(move |message| (*device, message)))
        .filter(|(_, message)| message.seq > 0)
        .map(|(device, message)| (device, message.id.as_str()))
        .collect();
    let tokens: BTreeSet<Token> = stores
        .values()
        .flatten()
        .filter(|message| message.seq > 0)
        .filter_map(|message| message.token)
        .collect();
    for (token, fate) in fates {
        if !stores.contains_key(&(token.device, fate.talk)) {
            continue;
        }
        let name = cast.device_name(token.device);
        match &fate.acked {
            Some((id, ..)) if !kept.contains(&(token.device, id.as_str())) => {
                let sentence = format!("{name} does not keep {token:?}, which it told was sent");
                verdict.add(Wrong::Lost, sentence);
            }
            None if fate.queued
                && cast.talks[fate.talk].sometimes.is_empty()
                && !tokens.contains(token) =>
            {
                let sentence = format!("{name} queued {token:?} and it never came");
                verdict.add(Wrong::Lost, sentence);
            }
            _ => {}
        }
    }
}
