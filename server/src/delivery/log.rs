//! One log as one session delivers it.

use std::collections::VecDeque;

/// Whether a log is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing to do until a hint.
    Idle,
    /// A read is due.
    Queued,
    /// A read is under way.
    Under,
    /// A read is under way, and a hint came meanwhile.
    UnderAndHinted,
}

/// What is known of what lies past the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// As much as there is up to here.
    UpTo(u64),
    /// Only a read tells.
    Unknown,
}

impl Beyond {
    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::UpTo(one), Self::UpTo(other)) => Self::UpTo(one.max(other)),
            _ => Self::Unknown,
        }
    }

    pub(super) fn of(head: Option<u64>) -> Self {
        head.map_or(Self::Unknown, Self::UpTo)
    }
}

/// One log.
pub(super) struct Log<S> {
    /// Everything up to here was delivered, or is the session's own.
    pub(super) position: u64,
    /// Everything up to here was acknowledged.
    pub(super) acknowledged: u64,
    /// The head as of the resume, until it is reached.
    pub(super) goal: Option<u64>,
    /// The commit that removed the device.
    pub(super) end: Option<u64>,
    /// The place in the mailbox of the welcome that must be acknowledged first.
    pub(super) hold: Option<u64>,
    pub(super) reading: Reading,
    /// What the hints since the start of the last read said.
    pub(super) beyond: Beyond,
    unacknowledged: VecDeque<(u64, usize)>,
    unacknowledged_bytes: usize,
    _subscription: S,
}

impl<S> Log<S> {
    pub(super) fn new(position: u64, subscription: S) -> Self {
        Self {
            position,
            acknowledged: position,
            goal: None,
            end: None,
            hold: None,
            reading: Reading::Idle,
            beyond: Beyond::UpTo(0),
            unacknowledged: VecDeque::new(),
            unacknowledged_bytes: 0,
            _subscription: subscription,
        }
    }

    /// Whether it has not reached its head as of the resume.
    pub(super) fn is_behind(&self) -> bool {
        self.goal.is_some()
    }

    pub(super) fn handle_delivered(&mut self, seq: u64, bytes: usize) {
        self.position = seq;
        self.unacknowledged.push_back((seq, bytes));
        self.unacknowledged_bytes += bytes;
    }

    /// Ends being behind when the goal is reached; says how many logs (0 or 1) did so.
    pub(super) fn settle(&mut self) -> usize {
        let reached = self.goal.is_some_and(|goal| goal <= self.position);
        if reached {
            self.goal = None;
        }
        usize::from(reached)
    }

    /// Envelopes and bytes that were delivered and not acknowledged.
    pub(super) fn under_way(&self) -> (usize, usize) {
        (self.unacknowledged.len(), self.unacknowledged_bytes)
    }

    /// Takes out the sizes of what is acknowledged by `seq`.
    pub(super) fn take_acknowledged(&mut self, seq: u64) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some((first, bytes)) = self.unacknowledged.front().copied() {
            if first > seq {
                break;
            }
            self.unacknowledged.pop_front();
            self.unacknowledged_bytes -= bytes;
            sizes.push(bytes);
        }
        if self.unacknowledged.is_empty() {
            // An idle session keeps no memory for what it once delivered.
            self.unacknowledged = VecDeque::new();
        }
        sizes
    }
}
