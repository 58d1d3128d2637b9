//! What all people of a day share: who sent what and when it was due, what is still on its way,
//! and the latencies by kind. Receivers judge by it; nobody learns from it what to send.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::latency::Latencies;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text in a pair, due to read by the other.
    Pair,
    /// A text in a group, due to read by each member.
    Group,
    /// Any of them, due to acknowledged.
    Acknowledged,
    /// A file, due to fetched and checked by the other.
    File,
    /// Typing, due to seen by the other.
    Typing,
    /// A list of who is there, due to answered.
    Look,
    /// Somebody back, begin to caught up.
    Return,
}

/// Their names, in the order of the kinds.
pub(super) const KINDS: [(Kind, &str); 7] = [
    (Kind::Pair, "one to one, delivered"),
    (Kind::Group, "group, delivered to each"),
    (Kind::Acknowledged, "acknowledged"),
    (Kind::File, "file, chosen to fetched"),
    (Kind::Typing, "typing seen"),
    (Kind::Look, "who is there, answered"),
    (Kind::Return, "back, connecting to caught up"),
];

/// A message, by its number in its stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// When it was due.
    pub(super) due: Instant,
    /// What file it tells of.
    pub(super) file: Option<FileInfo>,
}

/// A file at the servers.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileInfo {
    pub(super) blob: [u8; 16],
    pub(super) bytes: u32,
    /// What its bytes come from.
    pub(super) seed: u64,
}

/// What one person says in one conversation.
#[derive(Default)]
struct Stream {
    sent: Mutex<Vec<Sent>>,
    acknowledged: AtomicU64,
}

/// What happened, beside messages.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) backlog: AtomicU64,
    pub(super) returns: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) file_bytes: AtomicU64,
    pub(super) typing: AtomicU64,
    pub(super) looks: AtomicU64,
    pub(super) unplanned: AtomicU64,
}

/// See the module.
pub(super) struct World {
    /// When the day begins.
    pub(super) start: Instant,
    /// What has not come by then is lost.
    pub(super) give_up_at: Instant,
    pub(super) counts: Counts,
    base: u64,
    streams: Vec<Stream>,
    latencies: [Mutex<Latencies>; KINDS.len()],
    senders: AtomicU64,
    files_open: AtomicU64,
    /// Turns true when nobody has anything more to send.
    over: watch::Sender<bool>,
}

/// Which of a person's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    Pair,
    Group,
}

/// The stream of a person.
pub(super) fn stream_of(person: usize, place: Where) -> usize {
    person * 2 + usize::from(place == Where::Group)
}

impl World {
    /// For so many people.
    pub(super) fn new(people: usize, start: Instant, length: Duration, patience: Duration) -> Self {
        Self {
            start,
            give_up_at: start + length + patience,
            counts: Counts::default(),
            // Tags of a run follow each other, and are no other run's.
            base: rand::random::<u64>() >> 1,
            streams: (0..2 * people).map(|_| Stream::default()).collect(),
            latencies: std::array::from_fn(|_| Mutex::default()),
            senders: AtomicU64::new(people as u64),
            files_open: AtomicU64::new(0),
            over: watch::Sender::new(false),
        }
    }

    /// What the client ids of a stream carry.
    pub(super) fn tag(&self, stream: usize) -> u64 {
        self.base + stream as u64
    }

    /// The stream and number that a client id names; nothing for another run's or a commit's.
    pub(super) fn read_id(&self, client_id: &[u8]) -> Option<(usize, u64)> {
        let (tag, number) = client_id.split_first_chunk::<8>()?;
        let stream = u64::from_be_bytes(*tag).checked_sub(self.base)?;
        let stream = usize::try_from(stream).ok()?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        (stream < self.streams.len()).then_some((stream, number))
    }

    /// Notes a message; returns its number.
    pub(super) fn send(&self, stream: usize, message: Sent) -> u64 {
        let Some(stream) = self.streams.get(stream) else {
            return 0;
        };
        let mut sent = lock(&stream.sent);
        sent.push(message);
        sent.len() as u64 - 1
    }

    /// A message that was noted.
    pub(super) fn sent(&self, stream: usize, number: u64) -> Option<Sent> {
        let sent = lock(&self.streams.get(stream)?.sent);
        sent.get(usize::try_from(number).ok()?).copied()
    }

    /// How many were noted, and how many of them are acknowledged.
    pub(super) fn totals(&self, stream: usize) -> (u64, u64) {
        self.streams.get(stream).map_or((0, 0), |stream| {
            let acknowledged = stream.acknowledged.load(Ordering::Acquire);
            (lock(&stream.sent).len() as u64, acknowledged)
        })
    }

    /// Notes an acknowledgement.
    pub(super) fn acknowledge(&self, stream: usize) {
        if let Some(stream) = self.streams.get(stream) {
            stream.acknowledged.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Counts a latency.
    pub(super) fn time(&self, kind: Kind, latency: Duration) {
        let place = KINDS.iter().position(|(one, _)| *one == kind);
        if let Some(latencies) = place.and_then(|place| self.latencies.get(place)) {
            lock(latencies).record(latency);
        }
    }

    /// All latencies with their names.
    pub(super) fn latencies(&self) -> impl Iterator<Item = (&'static str, Latencies)> {
        let names = KINDS.iter().map(|(_, name)| *name);
        names.zip(self.latencies.iter().map(|one| lock(one).clone()))
    }

    /// Somebody has sent everything and heard that it is stored.
    pub(super) fn sender_done(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.send_replace(true);
        }
    }

    /// Tells when nobody sends any more.
    pub(super) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// A file is told of and not fetched yet.
    pub(super) fn file_opened(&self) {
        self.files_open.fetch_add(1, Ordering::AcqRel);
    }

    /// It was fetched, and was what was sent.
    pub(super) fn file_closed(&self) {
        self.files_open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Files that were told of and never fetched whole.
    pub(super) fn files_open(&self) -> u64 {
        self.files_open.load(Ordering::Acquire)
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::client_id;
    use crate::clock::now;

    #[test]
    fn ids_name_streams_of_this_run_only() {
        let second = Duration::from_secs(1);
        let world = World::new(2, now(), second, second);
        let stream = stream_of(1, Where::Group);
        assert_eq!(stream, 3);
        let id = client_id(world.tag(stream), 5);
        assert_eq!(world.read_id(id.as_bytes()), Some((3, 5)));
        let beyond = client_id(world.tag(4), 5);
        assert_eq!(world.read_id(beyond.as_bytes()), None);
        assert_eq!(world.read_id(&[1; 3]), None);
    }

    #[test]
    fn the_day_is_over_when_the_last_sender_is_done() {
        let second = Duration::from_secs(1);
        let world = World::new(2, now(), second, second);
        let over = world.over();
        world.sender_done();
        assert!(!*over.borrow());
        world.sender_done();
        assert!(*over.borrow());
    }
}
