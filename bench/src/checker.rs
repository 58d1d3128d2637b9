//! The verdict over one conversation: every acknowledged message delivered, once, in order.
//!
//! Pure bookkeeping over message numbers; it knows no sockets and no time. The numbers are dense
//! from 0 and travel inside the client id, so that what arrives names itself.

use serde::Serialize;
use sotto_protocol::ClientMessageId;

/// The client id of message `number` of a sender with this random `tag`.
pub(crate) fn client_id(tag: u64, number: u64) -> ClientMessageId {
    let mut bytes = [0; 16];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&tag.to_be_bytes());
    tail.copy_from_slice(&number.to_be_bytes());
    ClientMessageId::from_bytes(bytes)
}

/// The number in a client id of that sender; nothing for somebody else's.
pub(crate) fn number_of(tag: u64, client_id: &[u8]) -> Option<u64> {
    let (head, tail) = client_id.split_at_checked(8)?;
    if head != tag.to_be_bytes() {
        return None;
    }
    Some(u64::from_be_bytes(tail.try_into().ok()?))
}

/// Follows one direction of one conversation.
#[derive(Debug, Default, Clone)]
pub(crate) struct Checker {
    sent: u64,
    acknowledged: u64,
    delivered: u64,
    last_seq: u64,
    tally: Tally,
}

/// Counts over one or many conversations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Handed to a server.
    pub(crate) sent: u64,
    /// Acknowledged as durable.
    pub(crate) acknowledged: u64,
    /// Delivered to the receiver for the first time.
    pub(crate) delivered: u64,
    /// Never delivered, though sent.
    pub(crate) lost: u64,
    /// In the log more than once.
    pub(crate) duplicated: u64,
    /// The same entry of the log delivered once more, as after a lost acknowledgement: a client
    /// knows it by its sequence number and drops it.
    pub(crate) redelivered: u64,
    /// Delivered before an earlier one, or with a sequence number that does not grow.
    pub(crate) reordered: u64,
}

impl Checker {
    /// The number for the next message, which counts as sent.
    pub(crate) fn send(&mut self) -> u64 {
        let number = self.sent;
        self.sent += 1;
        number
    }

    /// A server acknowledged one.
    pub(crate) fn acknowledge(&mut self) {
        self.acknowledged += 1;
    }

    /// Message `number` was delivered as entry `seq`.
    pub(crate) fn deliver(&mut self, number: u64, seq: u64) -> Delivery {
        if number < self.delivered {
            if seq <= self.last_seq {
                self.tally.redelivered += 1;
            } else {
                self.tally.duplicated += 1;
            }
            return Delivery::Again;
        }
        // A hole is counted as lost once; when its messages still come, they count as repeated.
        if number > self.delivered || seq <= self.last_seq {
            self.tally.reordered += 1;
        }
        self.tally.lost += number - self.delivered;
        self.tally.delivered += 1;
        self.delivered = number + 1;
        self.last_seq = seq;
        Delivery::First
    }

    /// For a receiver that learns at the end how many there were to come.
    pub(crate) fn close(&mut self, sent: u64, acknowledged: u64) {
        self.sent = sent;
        self.acknowledged = acknowledged;
    }

    /// How many arrived in order so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many are on their way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.delivered)
    }

    /// Whether everything sent was acknowledged and delivered.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight() == 0 && self.acknowledged >= self.sent
    }

    /// The verdict so far: what is still on its way counts as lost.
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            sent: self.sent,
            acknowledged: self.acknowledged,
            lost: self.tally.lost + self.in_flight(),
            ..self.tally
        }
    }
}

/// Whether a delivery was the first of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The first.
    First,
    /// One more.
    Again,
}

impl Tally {
    /// Adds another conversation's counts.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.redelivered += other.redelivered;
        self.reordered += other.reordered;
    }

    /// Whether every message arrived once and in order.
    pub(crate) fn holds(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.reordered == 0
            && self.acknowledged == self.sent
            && self.delivered == self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64) -> Checker {
        let mut checker = Checker::default();
        for _ in 0..count {
            checker.send();
            checker.acknowledge();
        }
        checker
    }

    #[test]
    fn all_once_in_order_holds() {
        let mut checker = sent(3);
        for number in 0..3 {
            assert_eq!(checker.deliver(number, number + 2), Delivery::First);
        }
        assert!(checker.is_settled() && checker.tally().holds());
    }

    #[test]
    fn what_never_came_is_lost() {
        let mut checker = sent(3);
        checker.deliver(0, 2);
        assert_eq!(checker.tally().lost, 2);
        assert!(!checker.is_settled());
    }

    #[test]
    fn a_hole_is_lost_and_reordered() {
        let mut checker = sent(3);
        checker.deliver(0, 2);
        checker.deliver(2, 4);
        let tally = checker.tally();
        assert_eq!((tally.lost, tally.reordered, tally.delivered), (1, 1, 2));
    }

    #[test]
    fn again_is_duplicated() {
        let mut checker = sent(2);
        checker.deliver(0, 2);
        assert_eq!(checker.deliver(0, 3), Delivery::Again);
        checker.deliver(1, 4);
        assert_eq!(checker.tally().duplicated, 1);
        assert!(!checker.tally().holds());
    }

    #[test]
    fn the_same_entry_again_is_no_duplicate() {
        let mut checker = sent(2);
        checker.deliver(0, 2);
        checker.deliver(1, 3);
        assert_eq!(checker.deliver(0, 2), Delivery::Again);
        assert_eq!(checker.tally().redelivered, 1);
        assert!(checker.tally().holds());
    }

    #[test]
    fn client_ids_carry_their_number() {
        let id = client_id(7, 9);
        assert_eq!(number_of(7, id.as_bytes()), Some(9));
        assert_eq!(number_of(8, id.as_bytes()), None);
        assert_eq!(number_of(7, &[1, 2]), None);
    }
}
