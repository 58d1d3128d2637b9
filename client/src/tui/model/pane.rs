//! The messages of the open conversation: a window over its log, where the person looks, and
//! which message is selected.
//!
//! The window is bounded, so that a frame costs the same however long the conversation is; what
//! lies before and after comes from the store when the person gets near. The place that is
//! looked at is a message and a row of it, so that neither a resize nor what arrives moves it.

mod lay;

use std::collections::BTreeMap;
use std::rc::Rc;

use sotto_crypto::content::MessageRef;
use sotto_protocol::Username;

use super::item::{DAY, Item, Key, MESSAGE};
use super::piece::Row;
use super::rows::{Delivery, Shape};
use super::told::{LINES_MAX, Line};
use crate::engine::api::{Direction, Message, MessageBody};
use crate::engine::screen::Overview;
use crate::talk::Talk;
use crate::tui::ask::{Ask, More, Page, Place};

/// Messages in the window at most.
pub(crate) const WINDOW_MAX: usize = 400;
/// Messages that one page asks for.
pub(crate) const PAGE: u32 = 100;

/// What the person looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    /// The newest.
    Bottom,
    /// This row of this item is the first on the screen.
    Top(Key, usize),
}

/// A row on the screen.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) row: Row,
    pub(crate) selected: bool,
    /// The message whose file's picture may stand here.
    pub(crate) file: Option<MessageRef>,
}

/// What rows were made for.
type MadeFor = (usize, Delivery, Shape);
/// Rows that were made already.
type Cached = (MadeFor, Rc<[Row]>);

/// The messages of the open conversation.
#[derive(Debug)]
pub(crate) struct Pane {
    pub(crate) talk: Talk,
    pub(crate) overview: Overview,
    messages: Vec<Message>,
    waiting: Vec<Message>,
    before: More,
    after: More,
    loaded: bool,
    /// The first message that was not seen when the conversation was opened.
    divider: Option<u64>,
    system: Vec<(u64, Row)>,
    anchor: Anchor,
    selected: Option<Key>,
    /// A page is on its way.
    asked: bool,
    /// Something about the messages of the window changed.
    stale: bool,
    /// Up to where the person saw everything, as the worker knows.
    seen: u64,
    /// Rows of messages that did not change since.
    cache: BTreeMap<Key, Cached>,
    items: Vec<Item>,
    /// Cells and rows of the screen that the items were laid out for.
    size: (usize, usize),
}

impl Pane {
    /// A conversation whose messages are on their way.
    pub(crate) fn new(talk: Talk) -> Self {
        Self {
            talk,
            overview: Overview::default(),
            messages: Vec::new(),
            waiting: Vec::new(),
            before: More::No,
            after: More::No,
            loaded: false,
            divider: None,
            system: Vec::new(),
            anchor: Anchor::Bottom,
            selected: None,
            asked: true,
            stale: false,
            seen: 0,
            cache: BTreeMap::new(),
            items: Vec::new(),
            size: (0, 0),
        }
    }

    /// Whether the first page is here.
    pub(crate) const fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Messages in the window.
    pub(crate) fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.messages.iter().chain(&self.waiting)
    }

    /// A page came.
    pub(crate) fn take(&mut self, page: Page) {
        self.asked = false;
        self.forget_waiting();
        self.waiting = page.waiting;
        self.overview = page.overview;
        match page.place {
            Place::Before(_) => {
                let mut messages = page.messages;
                messages.append(&mut self.messages);
                self.messages = messages;
                self.before = page.before;
                if self.messages.len() > WINDOW_MAX {
                    self.messages.truncate(WINDOW_MAX);
                    self.after = More::Yes;
                }
            }
            Place::After(after) => {
                self.messages.retain(|message| message.seq <= after);
                self.messages.extend(page.messages);
                self.after = page.after;
                let extra = self.messages.len().saturating_sub(WINDOW_MAX);
                if extra > 0 {
                    self.messages.drain(..extra);
                    self.before = More::Yes;
                }
            }
            Place::Again(from, _) => {
                // What came meanwhile stands already.
                let last = page.messages.last().map_or(0, |message| message.seq);
                let mut all = std::mem::take(&mut self.messages);
                let later = all.partition_point(|message| message.seq <= last);
                let later = all.split_off(later);
                all.retain(|message| message.seq < from);
                all.extend(page.messages);
                all.extend(later);
                self.messages = all;
                self.cache.clear();
                self.trim();
            }
            Place::End | Place::Unseen | Place::Around(_) => {
                self.messages = page.messages;
                (self.before, self.after) = (page.before, page.after);
                self.cache.clear();
                self.look_at(page.place);
            }
        }
        self.loaded = true;
        self.drop_duplicates();
    }

    /// Where the person looks when a page of its own begins.
    fn look_at(&mut self, place: Place) {
        self.anchor = match place {
            Place::Around(seq) => {
                self.selected = Some(Key(seq, MESSAGE));
                Anchor::Top(Key(seq, DAY), 0)
            }
            Place::Unseen => match self.overview.first_unseen {
                Some(seq) => {
                    self.divider = Some(seq);
                    self.seen = seq.saturating_sub(1);
                    Anchor::Top(Key(seq, DAY), 0)
                }
                None => Anchor::Bottom,
            },
            _ => Anchor::Bottom,
        };
    }

    fn drop_duplicates(&mut self) {
        let stored = &self.messages;
        self.waiting
            .retain(|waiting| stored.iter().all(|message| message.id != waiting.id));
    }

    fn forget_waiting(&mut self) {
        self.cache.retain(|key, _| key.0 != u64::MAX);
    }

    /// A message came.
    pub(crate) fn add(&mut self, message: Message) {
        self.forget_waiting();
        self.cache.remove(&Key::of(&message, 0));
        if message.seq == 0 {
            if self.waiting.iter().all(|known| known.id != message.id) {
                self.waiting.push(message);
            }
            return;
        }
        self.waiting.retain(|waiting| waiting.id != message.id);
        if self.after == More::Yes {
            // Not within the window; it is read when the person gets there.
            return;
        }
        let place = self
            .messages
            .partition_point(|known| known.seq < message.seq);
        match self.messages.get_mut(place) {
            Some(known) if known.seq == message.seq => *known = message,
            _ => self.messages.insert(place, message),
        }
        self.trim();
    }

    /// Keeps the window bounded, and what the person looks at in it.
    fn trim(&mut self) {
        let extra = self.messages.len().saturating_sub(WINDOW_MAX);
        if extra > 0 && self.anchor == Anchor::Bottom {
            self.messages.drain(..extra);
            self.before = More::Yes;
        } else if extra > 0 {
            self.messages.truncate(WINDOW_MAX);
            self.after = More::Yes;
        }
    }

    /// A message's time was over.
    pub(crate) fn remove(&mut self, seq: u64) {
        self.messages.retain(|message| message.seq != seq);
    }

    /// A queued message is at the server.
    pub(crate) fn sent(&mut self, id: &sotto_protocol::ClientMessageId, seq: u64) {
        let found = self.waiting.iter().position(|message| message.id == *id);
        if let Some(place) = found {
            let mut message = self.waiting.remove(place);
            message.seq = seq;
            message.stored_at_ms = message.sent_at_ms;
            self.add(message);
        }
        // What the server knows of it, and what was sent by other means, comes from the store.
        self.stale = true;
    }

    /// A text was not taken.
    pub(crate) fn not_sent(&mut self, id: &sotto_protocol::ClientMessageId) -> Option<Message> {
        let place = self.waiting.iter().position(|message| message.id == *id)?;
        self.forget_waiting();
        Some(self.waiting.remove(place))
    }

    /// The place of the last message of the window; 0 where there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.messages.last().map_or(0, |message| message.seq)
    }

    /// A line of the client's own among the messages.
    pub(crate) fn say(&mut self, line: &Line) {
        let row = Row::of(line.tone, format!("· {}", line.words));
        self.system.push((line.after, row));
        if self.system.len() > LINES_MAX {
            self.system.remove(0);
        }
    }

    /// How the conversation stands changed; who of those that were invited came in since.
    pub(crate) fn set_overview(&mut self, overview: Overview) -> Vec<Username> {
        let before = std::mem::replace(&mut self.overview, overview);
        self.cache.clear();
        let waited = |name: &Username| {
            let mut members = before.members.iter();
            members.any(|member| member.name == *name && !member.seen)
        };
        let members = self.overview.members.iter();
        let came = members.filter(|member| member.seen && waited(&member.name));
        came.map(|member| member.name.clone()).collect()
    }

    /// Something about messages changed: the window is read again.
    pub(crate) fn outdated(&mut self) {
        self.stale = true;
    }

    /// What is to be asked for the window, if anything.
    pub(crate) fn wish(&mut self) -> Option<Ask> {
        if self.asked || !self.loaded {
            return None;
        }
        let page = |place| Ask::Page {
            talk: self.talk.clone(),
            place,
        };
        let Some((first, last)) = self.messages.first().zip(self.messages.last()) else {
            let place = std::mem::take(&mut self.stale).then_some(Place::End)?;
            self.asked = true;
            return Some(page(place));
        };
        let (first, last) = (first.seq, last.seq);
        let (offset, total, height) = (self.offset(), self.total(), self.size.1);
        let ask = if self.before == More::Yes && offset < height.max(1) * 2 {
            page(Place::Before(first))
        } else if self.after == More::Yes && offset + height * 3 > total {
            page(Place::After(last))
        } else if self.stale {
            self.stale = false;
            let to = match self.after {
                More::Yes => last,
                More::No => u64::MAX,
            };
            page(Place::Again(first, to))
        } else {
            return None;
        };
        self.asked = true;
        Some(ask)
    }

    /// The last message of others that is on the screen and was not seen before.
    pub(crate) fn newly_seen(&mut self) -> Option<u64> {
        let end = self.offset() + self.size.1;
        let mut row = 0;
        let mut last = 0;
        for item in &self.items {
            if row >= end {
                break;
            }
            row += item.rows.len();
            if item.key.1 == MESSAGE && item.key.0 != u64::MAX {
                last = item.key.0;
            }
        }
        let incoming = self
            .messages
            .iter()
            .rev()
            .find(|message| message.seq <= last && message.direction == Direction::Incoming)?;
        if incoming.seq <= self.seen {
            return None;
        }
        self.seen = incoming.seq;
        Some(incoming.seq)
    }

    fn total(&self) -> usize {
        self.items.iter().map(|item| item.rows.len()).sum()
    }

    /// The first row on the screen, counted from the first of the window.
    fn offset(&self) -> usize {
        let last = self.total().saturating_sub(self.size.1);
        let Anchor::Top(key, row) = self.anchor else {
            return last;
        };
        let mut start = 0;
        for item in &self.items {
            if item.key >= key {
                let row = if item.key == key { row } else { 0 };
                return last.min(start + row.min(item.rows.len().saturating_sub(1)));
            }
            start += item.rows.len();
        }
        last
    }

    /// Moves by rows; down is positive.
    pub(crate) fn scroll(&mut self, rows: isize) {
        let offset = self.offset().saturating_add_signed(rows);
        self.go_to_row(offset);
    }

    /// Rows of the screen.
    pub(crate) const fn height(&self) -> usize {
        self.size.1
    }

    fn go_to_row(&mut self, offset: usize) {
        let last = self.total().saturating_sub(self.size.1);
        if offset >= last && self.after == More::No {
            self.anchor = Anchor::Bottom;
            return;
        }
        let mut start = 0;
        for item in &self.items {
            let end = start + item.rows.len();
            if offset < end {
                self.anchor = Anchor::Top(item.key, offset - start);
                return;
            }
            start = end;
        }
    }

    /// Looks at the oldest of the window; more comes by itself.
    pub(crate) fn go_to_start(&mut self) {
        self.go_to_row(0);
        let first = self.message_keys().next();
        self.selected = first;
    }

    /// Looks at the newest; `None` where it is in the window, else what to ask for.
    pub(crate) fn go_to_end(&mut self) -> Option<Ask> {
        self.selected = None;
        self.anchor = Anchor::Bottom;
        if self.after == More::No {
            return None;
        }
        self.asked = true;
        Some(Ask::Page {
            talk: self.talk.clone(),
            place: Place::End,
        })
    }

    /// Looks at a message; `None` where it is in the window, else what to ask for.
    pub(crate) fn go_to(&mut self, seq: u64) -> Option<Ask> {
        self.selected = Some(Key(seq, MESSAGE));
        if self.messages.iter().any(|message| message.seq == seq) {
            self.reveal();
            return None;
        }
        self.asked = true;
        Some(Ask::Page {
            talk: self.talk.clone(),
            place: Place::Around(seq),
        })
    }

    fn message_keys(&self) -> impl DoubleEndedIterator<Item = Key> {
        let keys = self.items.iter().map(|item| item.key);
        keys.filter(Key::is_message)
    }

    /// Selects the message before or after; the newest at first.
    pub(crate) fn select(&mut self, step: isize) {
        let keys: Vec<Key> = self.message_keys().collect();
        let now = self
            .selected
            .and_then(|key| keys.iter().position(|known| *known == key));
        let next = match now {
            Some(place) => place
                .saturating_add_signed(step)
                .min(keys.len().saturating_sub(1)),
            None => keys.len().saturating_sub(1),
        };
        self.selected = keys.get(next).copied();
        self.reveal();
    }

    /// Selects nothing.
    pub(crate) fn deselect(&mut self) {
        self.selected = None;
    }

    /// The selected message.
    pub(crate) fn selected(&self) -> Option<&Message> {
        let key = self.selected?;
        let waiting = self.waiting.iter().enumerate();
        let stored = self.messages.iter().map(|message| (0, message));
        stored
            .chain(waiting)
            .find(|(place, message)| Key::of(message, *place) == key)
            .map(|(_, message)| message)
    }

    /// The last own message whose text can be changed.
    pub(crate) fn last_own(&self) -> Option<&Message> {
        self.messages().rev().find(|message| {
            message.direction == Direction::Outgoing
                && message.seq > 0
                && matches!(message.body, MessageBody::Text(_))
        })
    }

    /// Scrolls as little as shows the selected message.
    fn reveal(&mut self) {
        let Some(key) = self.selected else {
            return;
        };
        let (offset, height) = (self.offset(), self.size.1);
        let mut start = 0;
        for item in &self.items {
            let end = start + item.rows.len();
            if item.key == key {
                if start < offset || item.rows.len() >= height {
                    self.go_to_row(start);
                } else if end > offset + height {
                    self.go_to_row(end.saturating_sub(height));
                }
                return;
            }
            start = end;
        }
    }

    /// Rows below the screen, as far as the window knows.
    pub(crate) fn below(&self) -> usize {
        self.total().saturating_sub(self.offset() + self.size.1)
    }
}

#[cfg(test)]
#[path = "pane_tests.rs"]
mod tests;
