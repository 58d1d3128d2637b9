//! What a session has delivered of each log, and what it should read next.
//!
//! Pure: hints, read entries and acknowledgements go in; read requests and
//! envelopes come out. Truth is the log and the stored cursor: everything here
//! may be lost with the session and costs a redelivery at most.
//!
//! - A log is read past its position, one read at a time, and again until a
//!   read brings all there is. A hint only says that reading may be worth it;
//!   one that comes during a read leads to another.
//! - At most 1,024 envelopes or 1 MiB are unacknowledged; then nothing is read.
//!   No log takes more than is left for the others, so that one which the
//!   client does not acknowledge never stops them.
//! - A log that the client asked to hold is not read until it names it again.
//! - After a resume the mailbox comes first. A log that a welcome in the
//!   mailbox opens waits until that welcome is acknowledged.

mod log;
mod window;

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};

use prost::Message as _;
use sotto_protocol::wire::{self, EnvelopeKind};
use sotto_protocol::{ConversationId, DeviceId};

use crate::store::{MemberState, StoredEnvelope};
use log::{Beyond, Log, Reading};
use window::Window;

/// Entries of one read.
const READ_ENTRIES_MAX: u32 = 64;

/// Logs that a client may hold.
const HELD_MAX: usize = 10_000;

/// A read that is worth making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    /// The log.
    pub(crate) conversation: ConversationId,
    /// Read past this.
    pub(crate) after: u64,
    /// At most this many entries.
    pub(crate) limit: u32,
    /// The head, if every hint that led to this read named one: the entries up
    /// to it will do, wherever they come from.
    pub(crate) head: Option<u64>,
}

/// Whether a read may have left something behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It brought all there was when it was made.
    None,
    /// It may have been cut short.
    Possible,
}

/// A welcome that was just delivered: its log begins once it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The log.
    pub(crate) conversation: ConversationId,
    /// The commit that added the device: it reads after this.
    pub(crate) after: u64,
    /// The welcome's place in the mailbox.
    pub(crate) welcome: u64,
}

/// Up to where a device may read a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It is a member: all of it.
    Open,
    /// The entry with this seq removed it.
    Until(u64),
}

/// The deliveries of one session. `S` keeps a log's subscription alive.
pub(crate) struct Delivery<S> {
    device: DeviceId,
    logs: HashMap<ConversationId, Log<S>>,
    ready: VecDeque<ConversationId>,
    /// Logs that wait until something is acknowledged.
    stalled: Vec<ConversationId>,
    /// Logs that the client does not want now.
    held: HashSet<ConversationId>,
    window: Window,
    /// Logs that have not reached their head as of the resume.
    behind: usize,
    caught_up_due: bool,
}

impl<S> Delivery<S> {
    /// Nothing to deliver yet.
    pub(crate) fn new(device: DeviceId) -> Self {
        Self {
            device,
            logs: HashMap::new(),
            ready: VecDeque::new(),
            stalled: Vec::new(),
            held: HashSet::new(),
            window: Window::default(),
            behind: 0,
            caught_up_due: false,
        }
    }

    /// Takes in, before the states of a resume, which logs the client wants again and which not.
    pub(crate) fn hold(
        &mut self,
        wanted: impl IntoIterator<Item = ConversationId>,
        held: &[ConversationId],
    ) {
        for conversation in wanted {
            self.held.remove(&conversation);
        }
        for conversation in held {
            // The mailbox says whether the device exists: it is always read.
            if *conversation != self.device.mailbox() && self.held.len() < HELD_MAX {
                self.held.insert(*conversation);
                self.forget(*conversation);
            }
        }
        self.unstall();
    }

    /// Whether the device reads a log as a member.
    pub(crate) fn is_in(&self, conversation: ConversationId) -> bool {
        let is_mailbox = conversation == self.device.mailbox();
        let log = self.logs.get(&conversation);
        !is_mailbox && log.is_some_and(|log| log.end.is_none() && log.hold.is_none())
    }

    /// Takes a log in as it stands at a resume. `own` is where the device says
    /// that its own store stands; it counts where it is lower than the stored
    /// cursor. A log already here goes on, from `own` if that is lower.
    pub(crate) fn handle_state(&mut self, state: &MemberState, own: Option<u64>, subscription: S) {
        let conversation = state.conversation;
        if self.held.contains(&conversation) {
            return;
        }
        let stored = own.map_or(state.cursor, |own| own.min(state.cursor));
        let (position, acknowledged) = match self.logs.get(&conversation) {
            Some(present) => (
                own.map_or(present.position, |own| own.min(present.position)),
                present.acknowledged,
            ),
            None => (stored, state.cursor),
        };
        self.forget(conversation);
        let mut log = Log::new(position, subscription);
        log.acknowledged = acknowledged;
        log.end = state.left_at;
        if state.head > position {
            log.goal = Some(state.head);
            self.behind += 1;
        }
        self.logs.insert(conversation, log);
        self.queue(conversation, Beyond::Unknown);
    }

    /// Every log of a resume was taken in.
    pub(crate) fn handle_resumed(&mut self) {
        self.caught_up_due = true;
    }

    /// A commit of the session's own was stored: the log begins there, unless it is here.
    pub(crate) fn begin(&mut self, conversation: ConversationId, seq: u64, subscription: S) {
        self.held.remove(&conversation);
        self.forget_ended(conversation, seq);
        if let Entry::Vacant(place) = self.logs.entry(conversation) {
            place.insert(Log::new(seq, subscription));
            self.queue(conversation, Beyond::Unknown);
        } else {
            self.handle_own(conversation, seq);
        }
    }

    /// Begins a log that a delivered welcome opens, once that is acknowledged.
    pub(crate) fn open(&mut self, opened: Opened, subscription: S) {
        if self.held.contains(&opened.conversation) {
            return;
        }
        self.forget_ended(opened.conversation, opened.after);
        let log = self
            .logs
            .entry(opened.conversation)
            .or_insert_with(|| Log::new(opened.after, subscription));
        // One that is further on was joined before, or goes on through a rebuild.
        if log.position == opened.after {
            log.hold = Some(opened.welcome);
        }
        self.queue(opened.conversation, Beyond::Unknown);
    }

    /// A log may have grown, up to `head` where that is known.
    pub(crate) fn handle_hint(&mut self, conversation: ConversationId, head: Option<u64>) {
        let Some(log) = self.logs.get(&conversation) else {
            return;
        };
        if head.is_none_or(|head| head > log.position) {
            self.queue(conversation, Beyond::of(head));
        }
    }

    /// Every log may have grown.
    pub(crate) fn handle_hint_for_all(&mut self) {
        let all: Vec<_> = self.logs.keys().copied().collect();
        for conversation in all {
            self.queue(conversation, Beyond::Unknown);
        }
    }

    /// An entry of this very session was stored: it needs no delivery.
    pub(crate) fn handle_own(&mut self, conversation: ConversationId, seq: u64) {
        let Some(log) = self.logs.get_mut(&conversation) else {
            return;
        };
        if log.hold.is_none() && log.position + 1 == seq {
            log.position = seq;
            self.behind -= log.settle();
        } else if log.position < seq {
            self.queue(conversation, Beyond::UpTo(seq));
        }
    }

    /// The next read to make, if there is room for what it brings.
    pub(crate) fn poll_read(&mut self) -> Option<ReadRequest> {
        let room = self.window.room()?;
        let mailbox = self.device.mailbox();
        let mailbox_first = self.logs.get(&mailbox).is_some_and(Log::is_behind);
        for _ in 0..self.ready.len() {
            let conversation = self.ready.pop_front()?;
            let Some(log) = self.logs.get_mut(&conversation) else {
                continue;
            };
            if log.hold.is_some() {
                // Its release queues it again.
                log.reading = Reading::Idle;
                continue;
            }
            if mailbox_first && conversation != mailbox {
                self.ready.push_back(conversation);
                continue;
            }
            let (envelopes, bytes) = log.under_way();
            if !self.window.allows(envelopes, bytes) {
                // What it waits for is kept with it; the next acknowledgement queues it again.
                log.reading = Reading::Idle;
                self.stalled.push(conversation);
                continue;
            }
            let head = match std::mem::replace(&mut log.beyond, Beyond::UpTo(0)) {
                // An own entry may have closed the gap meanwhile.
                Beyond::UpTo(head) if head <= log.position => {
                    log.reading = Reading::Idle;
                    continue;
                }
                Beyond::UpTo(head) => Some(head),
                Beyond::Unknown => None,
            };
            log.reading = Reading::Under;
            return Some(ReadRequest {
                conversation,
                after: log.position,
                limit: READ_ENTRIES_MAX.min(room),
                head,
            });
        }
        None
    }

    /// A read failed: it will be made again.
    pub(crate) fn handle_read_failed(&mut self, conversation: ConversationId) {
        if let Some(log) = self.logs.get_mut(&conversation) {
            if log.reading != Reading::Queued {
                log.reading = Reading::Idle;
            }
            self.queue(conversation, Beyond::Unknown);
        }
    }

    /// The device is in a log no longer.
    pub(crate) fn handle_gone(&mut self, conversation: ConversationId) {
        self.forget(conversation);
    }

    /// Takes in what a read brought. Gives `deliver` what is to be sent, in
    /// order, and returns the welcomes among it.
    pub(crate) fn handle_read(
        &mut self,
        request: ReadRequest,
        entries: &[StoredEnvelope],
        (extent, rest): (Extent, Rest),
        mut deliver: impl FnMut(wire::Envelope),
    ) -> Vec<Opened> {
        let mut opened = Vec::new();
        let conversation = request.conversation;
        let is_mailbox = conversation == self.device.mailbox();
        let Some(log) = self.logs.get_mut(&conversation) else {
            return opened;
        };
        let hinted_again = log.reading == Reading::UnderAndHinted;
        if log.reading != Reading::Queued {
            log.reading = Reading::Idle;
        }
        if request.after > log.position {
            // The device went back meanwhile: there would be a hole.
            self.queue(conversation, Beyond::Unknown);
            return opened;
        }
        if let Extent::Until(end) = extent {
            log.end = Some(end);
        }
        let mut left_over = false;
        let position = log.position;
        for entry in entries.iter().filter(|entry| entry.seq > position) {
            if log.end.is_some_and(|end| entry.seq > end) {
                break;
            }
            let envelope = to_wire(conversation, entry, self.device);
            let bytes = envelope.payload.len();
            if !self.window.try_add(bytes) {
                left_over = true;
                break;
            }
            log.handle_delivered(entry.seq, bytes);
            if is_mailbox && entry.kind == EnvelopeKind::Welcome {
                opened.extend(welcome_of(entry));
            }
            deliver(envelope);
        }
        if !left_over && (entries.is_empty() || rest == Rest::None) {
            // What the head promised beyond is gone: expired. The client sees the gap.
            log.goal = log.goal.and(Some(0));
        }
        self.behind -= log.settle();
        let at_end = log.end.is_some_and(|end| log.position >= end);
        let more = rest == Rest::Possible && !entries.is_empty() && !at_end;
        if left_over || more {
            self.queue(conversation, Beyond::of(request.head));
        } else if hinted_again {
            // What was hinted at is kept with the log.
            self.queue(conversation, Beyond::UpTo(0));
        }
        opened
    }

    /// The device has a log durably up to `seq`. Returns up to where its
    /// stored cursor may advance, if it may.
    pub(crate) fn acknowledge(&mut self, conversation: ConversationId, seq: u64) -> Option<u64> {
        let log = self.logs.get_mut(&conversation)?;
        let seq = seq.min(log.position);
        for bytes in log.take_acknowledged(seq) {
            self.window.remove(bytes);
        }
        let advanced = seq > log.acknowledged;
        log.acknowledged = log.acknowledged.max(seq);
        if log.end.is_some_and(|end| seq >= end) {
            self.forget(conversation);
        }
        if conversation == self.device.mailbox() {
            self.release(seq);
        }
        self.unstall();
        advanced.then_some(seq)
    }

    /// There is room again: logs that waited for it are looked at anew.
    fn unstall(&mut self) {
        for stalled in std::mem::take(&mut self.stalled) {
            self.queue(stalled, Beyond::UpTo(0));
        }
    }

    /// Whether to say now, once a resume, that everything was delivered.
    pub(crate) fn poll_caught_up(&mut self) -> bool {
        let now = self.caught_up_due && self.behind == 0;
        self.caught_up_due &= !now;
        now
    }

    /// Lets logs begin whose welcome was acknowledged.
    fn release(&mut self, mailbox_seq: u64) {
        let mut released = Vec::new();
        for (conversation, log) in &mut self.logs {
            if log.hold.is_some_and(|welcome| welcome <= mailbox_seq) {
                log.hold = None;
                released.push(*conversation);
            }
        }
        for conversation in released {
            self.queue(conversation, Beyond::Unknown);
        }
    }

    fn queue(&mut self, conversation: ConversationId, beyond: Beyond) {
        let Some(log) = self.logs.get_mut(&conversation) else {
            return;
        };
        log.beyond = log.beyond.and(beyond);
        match log.reading {
            Reading::Idle => {
                log.reading = Reading::Queued;
                self.ready.push_back(conversation);
            }
            Reading::Under => log.reading = Reading::UnderAndHinted,
            Reading::Queued | Reading::UnderAndHinted => {}
        }
    }

    /// A device that was removed and is back reads nothing of what lies between.
    fn forget_ended(&mut self, conversation: ConversationId, back_at: u64) {
        let present = self.logs.get(&conversation);
        if present.is_some_and(|log| log.end.is_some_and(|end| end <= back_at)) {
            self.forget(conversation);
        }
    }

    fn forget(&mut self, conversation: ConversationId) {
        let Some(mut log) = self.logs.remove(&conversation) else {
            return;
        };
        if log.goal.is_some() {
            self.behind -= 1;
        }
        for bytes in log.take_acknowledged(u64::MAX) {
            self.window.remove(bytes);
        }
        self.ready.retain(|ready| *ready != conversation);
    }
}

fn to_wire(
    conversation: ConversationId,
    entry: &StoredEnvelope,
    receiver: DeviceId,
) -> wire::Envelope {
    let own = entry.sender_device == receiver && entry.kind != EnvelopeKind::Welcome;
    wire::Envelope {
        conversation_id: conversation.to_vec(),
        generation: entry.generation,
        seq: entry.seq,
        epoch: entry.epoch,
        kind: entry.kind.into(),
        sender_device_id: entry.sender_device.to_vec(),
        client_id: entry.client_id.to_vec(),
        payload: if own {
            bytes::Bytes::new()
        } else {
            entry.payload.clone()
        },
        stored_at_ms: entry.stored_at_ms,
    }
}

fn welcome_of(entry: &StoredEnvelope) -> Option<Opened> {
    let welcome = wire::MailboxWelcome::decode(entry.payload.clone()).ok()?;
    Some(Opened {
        conversation: ConversationId::from_slice(&welcome.conversation_id).ok()?,
        after: welcome.seq,
        welcome: entry.seq,
    })
}

#[cfg(test)]
mod tests;
