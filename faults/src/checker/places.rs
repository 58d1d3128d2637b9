//! Who had to read what, and who must not have.
//!
//! Conversations of two and the group of all: everybody in it. The group whose members change: by
//! the times at which somebody was asked to let a person in or out, and was told that it is done.
//! Between asking and being told either is right.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fate, Fates};
use crate::history::{Cast, Record, Step, Token, What};

/// One stay of a person in the group, in milliseconds of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    /// From here on they may read.
    may_from: u64,
    /// From here on they have to.
    must_from: u64,
    /// Until here they have to.
    must_to: u64,
    /// Until here they may.
    may_to: u64,
}

type Stays = BTreeMap<usize, Vec<Stay>>;

fn stays(records: &[Record]) -> Stays {
    let mut stays = Stays::new();
    for record in records {
        let What::Member { account, step } = record.what else {
            continue;
        };
        let own = stays.entry(account).or_default();
        if step == Step::Inviting {
            own.push(Stay {
                may_from: record.at_ms,
                must_from: u64::MAX,
                must_to: u64::MAX,
                may_to: u64::MAX,
            });
        }
        let Some(stay) = own.last_mut() else { continue };
        match step {
            Step::Inviting => {}
            Step::In => stay.must_from = record.at_ms,
            Step::Leaving => stay.must_to = stay.must_to.min(record.at_ms),
            Step::Out => stay.may_to = record.at_ms,
        }
    }
    stays
}

/// Whether an account had to read a message that was acknowledged at `acked_ms`.
fn must(cast: &Cast, stays: &Stays, account: usize, fate: &Fate, acked_ms: u64) -> bool {
    let talk = &cast.talks[fate.talk];
    if talk.always.contains(&account) {
        return true;
    }
    let own = stays.get(&account).into_iter().flatten();
    talk.sometimes.contains(&account)
        && own
            .into_iter()
            .any(|stay| stay.must_from < fate.asked_ms && acked_ms < stay.must_to)
}

/// Whether an account may read a message that somebody was asked to send at `asked_ms` and that was
/// in the log by `known_ms`.
fn may(cast: &Cast, stays: &Stays, account: usize, fate: &Fate, known_ms: u64) -> bool {
    let talk = &cast.talks[fate.talk];
    let mut own = stays.get(&account).into_iter().flatten();
    talk.always.contains(&account)
        || (talk.sometimes.contains(&account)
            && own.any(|stay| stay.may_from <= known_ms && fate.asked_ms <= stay.may_to))
}

/// Messages that a device has to show and has not.
pub(super) fn missing(cast: &Cast, records: &[Record], fates: &Fates) -> Vec<(usize, Token)> {
    let stays = stays(records);
    let shown: BTreeSet<(usize, Token)> = records
        .iter()
        .filter_map(|record| match &record.what {
            What::Shown(shown) => Some((shown.device, shown.token?)),
            _ => None,
        })
        .collect();
    let mut missing = Vec::new();
    for (token, fate) in fates {
        let Some((_, _, acked_ms)) = fate.acked else {
            continue;
        };
        for (device, &account) in cast.devices.iter().enumerate() {
            let writer = device == token.device;
            if !writer
                && must(cast, &stays, account, fate, acked_ms)
                && !shown.contains(&(device, *token))
            {
                missing.push((device, *token));
            }
        }
    }
    missing
}

/// Messages that somebody showed who was not in.
pub(super) fn leaked(cast: &Cast, records: &[Record], fates: &Fates) -> Vec<(usize, Token)> {
    let stays = stays(records);
    let mut known: BTreeMap<Token, u64> = BTreeMap::new();
    for record in records {
        // The first sign that it is in the log, whoever saw it.
        let token = match &record.what {
            What::Acked { token, .. } => *token,
            What::Shown(shown) => match shown.token {
                Some(token) => token,
                None => continue,
            },
            _ => continue,
        };
        known.entry(token).or_insert(record.at_ms);
    }
    let mut leaked = Vec::new();
    for record in records {
        let What::Shown(shown) = &record.what else {
            continue;
        };
        let Some((token, fate)) = shown
            .token
            .and_then(|token| Some((token, fates.get(&token)?)))
        else {
            continue;
        };
        let account = cast.devices[shown.device];
        let known_ms = known.get(&token).copied().unwrap_or(record.at_ms);
        if !may(cast, &stays, account, fate, known_ms) {
            leaked.push((shown.device, token));
        }
    }
    leaked
}
