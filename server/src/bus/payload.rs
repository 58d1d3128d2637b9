//! What servers say to each other, whatever carries it.
//!
//! A payload is 8 bytes of the sending server in hexadecimal and either `*` (everything may have
//! grown) or up to 200 hints in base64: an id, and the log's head in 8 bytes (0 where it is not
//! known); or `!` and one signal in base64: log, sending device, sealed bytes. Others' nonsense is
//! dropped: a hint can at most wake, and a signal proves itself to its readers or is nothing.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use sotto_protocol::limits::SIGNAL_BYTES_MAX;
use sotto_protocol::{ConversationId, DeviceId};

use super::outbox::Waiting;
use super::subscriptions::{Signal, Subscriptions};

/// Hints of one payload; Postgres takes less than 8000 bytes.
const HINTS_MAX: usize = 200;
/// 24 bytes in base64.
const HINT_CHARACTERS: usize = 32;

/// Everything that waits, in pieces that fit.
pub(super) fn payloads(waiting: &Waiting, name: &str) -> Vec<String> {
    if waiting.overflowed {
        return vec![format!("{name}*")];
    }
    let hints: Vec<_> = waiting.heads.iter().collect();
    let signals = waiting.signals.iter().map(|signal| {
        let parts: [&[u8]; 3] = [
            signal.conversation.as_bytes(),
            signal.device.as_bytes(),
            &signal.payload,
        ];
        let mut payload = format!("{name}!");
        STANDARD_NO_PAD.encode_string(parts.concat(), &mut payload);
        payload
    });
    hints
        .chunks(HINTS_MAX)
        .map(|chunk| {
            let mut payload = String::with_capacity(name.len() + chunk.len() * HINT_CHARACTERS);
            payload.push_str(name);
            for (id, head) in chunk {
                let mut hint = [0; 24];
                let (place, number) = hint.split_at_mut(16);
                place.copy_from_slice(id.as_bytes());
                number.copy_from_slice(&head.unwrap_or(0).to_be_bytes());
                STANDARD_NO_PAD.encode_string(hint, &mut payload);
            }
            payload
        })
        .chain(signals)
        .collect()
}

fn signal_of(encoded: &str) -> Option<Signal> {
    let mut bytes = Bytes::from(STANDARD_NO_PAD.decode(encoded).ok()?);
    let fits = (33..=32 + SIGNAL_BYTES_MAX).contains(&bytes.len());
    let head = fits.then(|| bytes.split_to(32))?;
    let (conversation, device) = head.split_at_checked(16)?;
    Some(Signal {
        conversation: ConversationId::from_slice(conversation).ok()?,
        device: DeviceId::from_slice(device).ok()?,
        payload: bytes,
    })
}

/// Wakes whom a payload concerns.
pub(super) fn hear(payload: &str, subscriptions: &Subscriptions, name: &str) {
    let Some((sender, hints)) = payload.split_at_checked(name.len()) else {
        return;
    };
    if sender == name {
        return;
    }
    if hints == "*" {
        subscriptions.wake_all();
        return;
    }
    if let Some(encoded) = hints.strip_prefix('!') {
        if let Some(signal) = signal_of(encoded) {
            subscriptions.signal(&Arc::new(signal));
        }
        return;
    }
    for hint in hints.as_bytes().chunks(HINT_CHARACTERS) {
        let mut decoded = [0; 24];
        let Ok(24) = STANDARD_NO_PAD.decode_slice(hint, &mut decoded) else {
            continue;
        };
        let [id @ .., _, _, _, _, _, _, _, _] = decoded;
        let [.., a, b, c, d, e, f, g, h] = decoded;
        let head = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        subscriptions.wake(ConversationId::from_bytes(id), (head > 0).then_some(head));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;
    use crate::bus::Wake;
    use crate::bus::outbox::{Outbox, SIGNALS_MAX};

    #[derive(Default)]
    struct Heard(
        Mutex<HashMap<ConversationId, Option<u64>>>,
        Mutex<Vec<Signal>>,
    );

    impl Wake for Heard {
        fn signal(&self, signal: &Arc<Signal>) {
            self.1.lock().unwrap().push(Signal::clone(signal));
        }

        fn wake(&self, conversation: ConversationId, head: Option<u64>) {
            self.0.lock().unwrap().insert(conversation, head);
        }
    }

    fn id(number: u16) -> ConversationId {
        let [high, low] = number.to_be_bytes();
        let mut bytes = [7; 16];
        (bytes[0], bytes[15]) = (high, low);
        ConversationId::from_bytes(bytes)
    }

    #[test]
    fn what_is_said_is_heard_by_others_and_fits() {
        let outbox = Outbox::new();
        (0..450).for_each(|number| outbox.put(id(number), Some(7)));
        outbox.put(id(0), Some(3));
        outbox.put(id(1), None);
        outbox.put(id(2), Some(u64::MAX));
        let payloads = payloads(&outbox.take(), "0123456789abcdef");
        assert_eq!(payloads.len(), 3);
        let map = Arc::new(Subscriptions::new());
        let heard = Arc::new(Heard::default());
        let _subscribed: Vec<_> = (0..500)
            .map(|number| Subscriptions::subscribe(&map, id(number), heard.clone()))
            .collect();
        for payload in &payloads {
            assert!(payload.len() < 8000);
            hear(payload, &map, "0123456789abcdef");
        }
        assert!(heard.0.lock().unwrap().is_empty(), "own hints are dropped");
        for payload in &payloads {
            hear(payload, &map, "fedcba9876543210");
        }
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard.len(), 450);
        let heads = (0..4).map(|number| heard[&id(number)]);
        assert!(heads.eq([Some(7), None, Some(u64::MAX), Some(7)]));
    }

    #[test]
    fn signals_are_heard_by_those_who_wait_fit_and_are_bounded() {
        let outbox = Outbox::new();
        let signal = |number| Signal {
            conversation: id(number),
            device: DeviceId::from_bytes([9; 16]),
            payload: Bytes::from(vec![5; SIGNAL_BYTES_MAX]),
        };
        (0..1_000).for_each(|number| outbox.put_signal(Arc::new(signal(number))));
        let payloads = payloads(&outbox.take(), "0123456789abcdef");
        assert_eq!(payloads.len(), SIGNALS_MAX);
        let map = Arc::new(Subscriptions::new());
        let heard = Arc::new(Heard::default());
        let _subscribed = Subscriptions::subscribe(&map, id(7), heard.clone());
        for payload in &payloads {
            assert!(payload.len() < 8000);
            hear(payload, &map, "0123456789abcdef");
            hear(payload, &map, "fedcba9876543210");
        }
        assert_eq!(*heard.1.lock().unwrap(), [signal(7)]);
        let short = STANDARD_NO_PAD.encode([7; 32]);
        let long = STANDARD_NO_PAD.encode([7; 33 + SIGNAL_BYTES_MAX]);
        for nonsense in [short.as_str(), long.as_str(), "", "é", "'; --"] {
            assert!(signal_of(nonsense).is_none());
        }
    }

    #[test]
    fn an_overflow_wakes_everybody_and_nonsense_nobody() {
        let outbox = Outbox::new();
        (0..u16::MAX).for_each(|number| outbox.put(id(number), Some(1)));
        let payloads = payloads(&outbox.take(), "0123456789abcdef");
        assert_eq!(payloads, ["0123456789abcdef*"]);
        let map = Arc::new(Subscriptions::new());
        let heard = Arc::new(Heard::default());
        let subscribed = Subscriptions::subscribe(&map, id(3), heard.clone());
        for nonsense in [
            "",
            "é",
            "0123",
            "ffffffffffffffff'; DROP TABLE envelope",
            "ffffffffffffffff**",
        ] {
            hear(nonsense, &map, "0123456789abcdef");
        }
        assert!(heard.0.lock().unwrap().is_empty());
        hear(&payloads[0], &map, "ffffffffffffffff");
        assert_eq!(heard.0.lock().unwrap().len(), 1);
        drop(subscribed);
        assert!(
            map.logs(3).is_empty(),
            "a dropped subscription leaves nothing"
        );
    }
}
