//! Deliveries against logs that grow, shrink, open and end.

use bytes::Bytes;
use proptest::prelude::*;
use sotto_protocol::ClientMessageId;

use super::*;

const ME: DeviceId = DeviceId::from_bytes([1; 16]);
const PEER: DeviceId = DeviceId::from_bytes([2; 16]);
const LOG: ConversationId = ConversationId::from_bytes([9; 16]);

fn entry(seq: u64, sender: DeviceId) -> StoredEnvelope {
    StoredEnvelope {
        seq,
        generation: 0,
        epoch: 1,
        kind: EnvelopeKind::Application,
        sender_device: sender,
        client_id: ClientMessageId::from_bytes([3; 16]),
        payload: Bytes::from_static(&[7; 100]),
        stored_at_ms: 5,
    }
}

fn welcome(seq: u64, conversation: ConversationId, after: u64) -> StoredEnvelope {
    let payload = wire::MailboxWelcome {
        conversation_id: conversation.to_vec(),
        seq: after,
        ..Default::default()
    };
    StoredEnvelope {
        kind: EnvelopeKind::Welcome,
        payload: payload.encode_to_vec().into(),
        ..entry(seq, PEER)
    }
}

fn state(conversation: ConversationId, cursor: u64, head: u64) -> MemberState {
    MemberState {
        conversation,
        generation: 0,
        epoch: 1,
        cursor,
        head,
        left_at: None,
    }
}

fn resumed(states: &[MemberState]) -> Delivery<()> {
    let mut delivery = Delivery::new(ME);
    for state in states {
        delivery.handle_state(state, None, ());
    }
    delivery.handle_resumed();
    delivery
}

/// Answers every read that is due out of `logs`; returns what was delivered.
fn pump(
    delivery: &mut Delivery<()>,
    logs: &HashMap<ConversationId, Vec<StoredEnvelope>>,
) -> Vec<(ConversationId, u64)> {
    let mut delivered = Vec::new();
    while let Some(request) = delivery.poll_read() {
        let entries: Vec<_> = logs
            .get(&request.conversation)
            .into_iter()
            .flatten()
            .filter(|entry| entry.seq > request.after)
            .take(request.limit as usize)
            .cloned()
            .collect();
        let opened = delivery.handle_read(
            request,
            &entries,
            (Extent::Open, Rest::Possible),
            |envelope| {
                delivered.push((request.conversation, envelope.seq));
            },
        );
        for opened in opened {
            delivery.open(opened, ());
        }
    }
    delivered
}

#[test]
fn everything_is_delivered_once_and_then_said_so() {
    let logs = HashMap::from([(LOG, (1..=200).map(|seq| entry(seq, PEER)).collect())]);
    let mut delivery = resumed(&[state(ME.mailbox(), 0, 0), state(LOG, 10, 200)]);
    assert!(!delivery.poll_caught_up());
    let delivered = pump(&mut delivery, &logs);
    assert_eq!(
        delivered,
        (11..=200).map(|seq| (LOG, seq)).collect::<Vec<_>>()
    );
    assert!(delivery.poll_caught_up());
    assert!(!delivery.poll_caught_up());
    assert_eq!(delivery.acknowledge(LOG, 150), Some(150));
    assert_eq!(delivery.acknowledge(LOG, 150), None);
    assert_eq!(
        delivery.acknowledge(LOG, 9_999),
        Some(200),
        "never past what was delivered"
    );
}

#[test]
fn the_window_stops_reading_until_acknowledged() {
    let logs = HashMap::from([(LOG, (1..=2_000).map(|seq| entry(seq, PEER)).collect())]);
    let mut delivery = resumed(&[state(LOG, 0, 2_000)]);
    let mut seen = 0;
    while seen < 2_000 {
        let delivered = pump(&mut delivery, &logs);
        assert!(!delivered.is_empty() && delivered.len() <= 1024);
        seen = delivered.last().unwrap().1;
        assert!(delivery.poll_read().is_none());
        delivery.acknowledge(LOG, seen);
    }
    assert!(delivery.poll_caught_up());
}

#[test]
fn an_own_entry_at_the_end_is_not_read_back() {
    let mut delivery = resumed(&[state(LOG, 4, 4)]);
    assert!(pump(&mut delivery, &HashMap::new()).is_empty());
    delivery.handle_own(LOG, 5);
    delivery.handle_hint(LOG, Some(5));
    assert_eq!(delivery.poll_read(), None);
    // Another one got in between: both are read, the own one without content.
    delivery.handle_own(LOG, 7);
    let request = delivery.poll_read().unwrap();
    assert_eq!(request.after, 5);
    let mut sizes = Vec::new();
    delivery.handle_read(
        request,
        &[entry(6, PEER), entry(7, ME)],
        (Extent::Open, Rest::None),
        |envelope| {
            sizes.push(envelope.payload.len());
        },
    );
    assert_eq!(sizes, [100, 0]);
}

#[test]
fn a_hint_during_a_read_leads_to_another() {
    let mut delivery = resumed(&[state(LOG, 0, 0)]);
    let request = delivery.poll_read().unwrap();
    delivery.handle_hint(LOG, None);
    assert_eq!(delivery.poll_read(), None);
    delivery.handle_read(request, &[], (Extent::Open, Rest::Possible), |_| {});
    assert!(delivery.poll_read().is_some());
}

#[test]
fn what_is_all_there_is_is_not_asked_for_again() {
    let whole = (Extent::Open, Rest::None);
    let mut delivery = resumed(&[state(LOG, 0, 2)]);
    let request = delivery.poll_read().unwrap();
    assert_eq!(
        request.head, None,
        "after a resume only the log itself tells"
    );
    let entries = [entry(1, PEER), entry(2, PEER)];
    delivery.handle_read(request, &entries, whole, |_| {});
    assert!(delivery.poll_caught_up());
    assert_eq!(delivery.poll_read(), None);
    // Heads that are known join; one that is not known covers them.
    delivery.handle_hint(LOG, Some(3));
    delivery.handle_hint(LOG, Some(4));
    let request = delivery.poll_read().unwrap();
    assert_eq!((request.after, request.head), (2, Some(4)));
    delivery.handle_hint(LOG, None);
    delivery.handle_hint(LOG, Some(9));
    let entries = [entry(3, PEER), entry(4, PEER)];
    delivery.handle_read(request, &entries, whole, |_| {});
    let request = delivery.poll_read().unwrap();
    assert_eq!((request.after, request.head), (4, None));
    delivery.handle_read(request, &[], whole, |_| {});
    assert_eq!(delivery.poll_read(), None);
}

#[test]
fn a_head_that_part_of_a_read_reaches_is_enough() {
    let mut delivery = resumed(&[state(LOG, 0, 9)]);
    let request = delivery.poll_read().unwrap();
    // Entries 3 to 9 expired.
    let whole = (Extent::Open, Rest::None);
    delivery.handle_read(request, &[entry(1, PEER), entry(2, PEER)], whole, |_| {});
    assert!(delivery.poll_caught_up());
}

#[test]
fn the_mailbox_comes_first_and_a_welcome_is_acknowledged_before_its_log() {
    let logs = HashMap::from([
        (ME.mailbox(), vec![welcome(1, LOG, 3)]),
        (LOG, (1..=6).map(|seq| entry(seq, PEER)).collect()),
    ]);
    let mut delivery = resumed(&[state(LOG, 3, 6), state(ME.mailbox(), 0, 1)]);
    assert_eq!(pump(&mut delivery, &logs), [(ME.mailbox(), 1)]);
    assert!(!delivery.poll_caught_up());
    assert_eq!(delivery.acknowledge(ME.mailbox(), 1), Some(1));
    assert_eq!(pump(&mut delivery, &logs), [(LOG, 4), (LOG, 5), (LOG, 6)]);
    assert!(delivery.poll_caught_up());
}

#[test]
fn a_log_opened_while_live_begins_after_its_welcome() {
    let mut logs = HashMap::from([(LOG, (1..=6).map(|seq| entry(seq, PEER)).collect::<Vec<_>>())]);
    let mut delivery = resumed(&[state(ME.mailbox(), 0, 0)]);
    assert!(pump(&mut delivery, &logs).is_empty());
    logs.insert(ME.mailbox(), vec![welcome(1, LOG, 4)]);
    delivery.handle_hint(ME.mailbox(), None);
    assert_eq!(pump(&mut delivery, &logs), [(ME.mailbox(), 1)]);
    delivery.handle_hint(LOG, None);
    assert!(pump(&mut delivery, &logs).is_empty());
    delivery.acknowledge(ME.mailbox(), 1);
    assert_eq!(pump(&mut delivery, &logs), [(LOG, 5), (LOG, 6)]);
}

#[test]
fn a_removed_device_reads_up_to_its_removal() {
    let mut delivery = resumed(&[state(LOG, 0, 2)]);
    let request = delivery.poll_read().unwrap();
    let entries: Vec<_> = (1..=9).map(|seq| entry(seq, PEER)).collect();
    let mut seen = Vec::new();
    delivery.handle_read(
        request,
        &entries,
        (Extent::Until(4), Rest::Possible),
        |envelope| seen.push(envelope.seq),
    );
    assert_eq!(seen, [1, 2, 3, 4]);
    assert_eq!(delivery.poll_read(), None);
    delivery.acknowledge(LOG, 4);
    assert!(!delivery.logs.contains_key(&LOG));
    // Back again: the time between stays closed.
    delivery.begin(LOG, 12, ());
    assert_eq!(delivery.poll_read().map(|request| request.after), Some(12));
}

#[test]
fn a_head_whose_entries_expired_is_reached() {
    let mut delivery = resumed(&[state(LOG, 5, 9)]);
    assert!(pump(&mut delivery, &HashMap::new()).is_empty());
    assert!(delivery.poll_caught_up());
}

#[test]
fn going_back_makes_no_hole() {
    let logs = HashMap::from([(LOG, (1..=9).map(|seq| entry(seq, PEER)).collect())]);
    let mut delivery = resumed(&[state(LOG, 0, 9)]);
    assert_eq!(pump(&mut delivery, &logs).len(), 9);
    delivery.handle_hint(LOG, None);
    let old = delivery.poll_read().unwrap();
    delivery.handle_state(&state(LOG, 0, 9), Some(2), ());
    delivery.handle_read(
        old,
        &[entry(10, PEER)],
        (Extent::Open, Rest::Possible),
        |_| panic!("a hole"),
    );
    assert_eq!(
        pump(&mut delivery, &logs),
        (3..=9).map(|seq| (LOG, seq)).collect::<Vec<_>>()
    );
}

/// A log that is never acknowledged (an invitation that nobody answers) stops no other.
#[test]
fn logs_that_nobody_acknowledges_leave_room_for_others() {
    let silent: Vec<_> = (10..18)
        .map(|byte| ConversationId::from_bytes([byte; 16]))
        .collect();
    let mut logs: HashMap<_, Vec<_>> = silent
        .iter()
        .map(|id| (*id, (1..=3_000).map(|seq| entry(seq, PEER)).collect()))
        .collect();
    logs.insert(LOG, (1..=500).map(|seq| entry(seq, PEER)).collect());
    let mut states: Vec<_> = silent.iter().map(|id| state(*id, 0, 3_000)).collect();
    states.push(state(LOG, 0, 500));
    let mut delivery = resumed(&states);
    let mut seen = 0;
    for _ in 0..2_000 {
        for (conversation, seq) in pump(&mut delivery, &logs) {
            if conversation == LOG {
                seen = seq;
                delivery.acknowledge(LOG, seq);
            }
        }
        if seen == 500 {
            break;
        }
    }
    assert_eq!(seen, 500);
    assert!(delivery.window.allows(0, 0), "there is still room");
}

#[test]
fn a_held_log_is_not_delivered_until_it_is_named() {
    let mut delivery = Delivery::new(ME);
    delivery.hold([], &[LOG]);
    delivery.handle_state(&state(LOG, 0, 3), None, ());
    delivery.handle_resumed();
    let logs = HashMap::from([(LOG, (1..=3).map(|seq| entry(seq, PEER)).collect::<Vec<_>>())]);
    assert!(pump(&mut delivery, &logs).is_empty());
    assert!(delivery.poll_caught_up() && !delivery.is_in(LOG));
    // A welcome to it that comes meanwhile changes nothing.
    let opened = Opened {
        conversation: LOG,
        after: 0,
        welcome: 1,
    };
    delivery.open(opened, ());
    delivery.hold([], &[]);
    delivery.handle_state(&state(LOG, 0, 3), None, ());
    assert!(pump(&mut delivery, &logs).is_empty());
    delivery.hold([LOG], &[]);
    delivery.handle_state(&state(LOG, 0, 3), Some(0), ());
    delivery.handle_resumed();
    assert_eq!(pump(&mut delivery, &logs).len(), 3);
    assert!(delivery.is_in(LOG));
    // What was delivered and is held now takes no room.
    delivery.hold([], &[LOG]);
    assert!(!delivery.is_in(LOG) && delivery.window.room() == Some(1024));
}

proptest! {
    /// Whatever the order of hints, own entries, failures and acknowledgements:
    /// each foreign entry is delivered once, in order, and nothing else.
    #[test]
    fn each_foreign_entry_once_and_in_order(steps in prop::collection::vec((0u8..6, 0u64..8), 1..200)) {
        let mut log = Vec::new();
        let mut delivery = resumed(&[state(LOG, 0, 0)]);
        let mut under_way: Vec<(ReadRequest, Vec<StoredEnvelope>, Rest)> = Vec::new();
        let mut seen = Vec::new();
        for (step, number) in steps {
            let head = log.len() as u64;
            match step {
                0 => {
                    log.push(entry(head + 1, PEER));
                    delivery.handle_hint(LOG, (number > 3).then_some(head + 1));
                }
                1 => {
                    log.push(entry(head + 1, ME));
                    delivery.handle_own(LOG, head + 1);
                }
                2 => if let Some(request) = delivery.poll_read() {
                    let entries = log.iter().filter(|e: &&StoredEnvelope| e.seq > request.after);
                    // One that names a head may be answered up to there, and no further.
                    let until = request.head.filter(|_| number > 3).unwrap_or(u64::MAX);
                    let all: Vec<_> = entries.filter(|e| e.seq <= until).cloned().collect();
                    let rest = if all.len() > 3 { Rest::Possible } else { Rest::None };
                    under_way.push((request, all.into_iter().take(3).collect(), rest));
                },
                3 => if !under_way.is_empty() {
                    let (request, entries, rest) = under_way.remove(0);
                    delivery.handle_read(request, &entries, (Extent::Open, rest), |e| seen.push(e.seq));
                },
                4 => if !under_way.is_empty() {
                    let (request, _, _) = under_way.remove(0);
                    delivery.handle_read_failed(request.conversation);
                },
                _ => { delivery.acknowledge(LOG, number); }
            }
        }
        for (request, entries, rest) in under_way {
            delivery.handle_read(request, &entries, (Extent::Open, rest), |e| seen.push(e.seq));
        }
        delivery.acknowledge(LOG, u64::MAX);
        let logs = HashMap::from([(LOG, log.clone())]);
        seen.extend(pump(&mut delivery, &logs).into_iter().map(|(_, seq)| seq));
        prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
        let foreign: Vec<_> = log.iter().filter(|e| e.sender_device == PEER).map(|e| e.seq).collect();
        let foreign_seen: Vec<_> = seen.into_iter().filter(|seq| foreign.contains(seq)).collect();
        prop_assert_eq!(foreign_seen, foreign);
    }
}
