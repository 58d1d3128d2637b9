//! A list with a field that filters it as one types: conversations, commands, people, requests,
//! rooms, devices, messages that a search found, emoji, settings.

use sotto_protocol::{ConversationId, Username};

use super::composer::Composer;
use super::piece::Tone;
use crate::safe_text::SafeText;
use crate::talk::Talk;
use crate::tui::fuzzy;
use crate::tui::keys::Action;

/// Lines that are kept of one list.
const ITEMS_MAX: usize = 10_000;
/// Lines at most that answer to what was typed.
const EXTRA_MAX: usize = 50;
/// Cells of a line's words.
const LABEL_CELLS_MAX: usize = 400;

/// What is picked from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Conversations to go to.
    Conversations,
    /// Conversations to pass a message on to.
    Forward,
    /// Everything that a key does, and the command line's words.
    Commands,
    /// People of the deployment.
    People,
    /// Who wants to talk, and who invites.
    Requests,
    /// Public rooms.
    Rooms,
    /// The account's devices.
    Devices,
    /// Messages that the field's words find, everywhere or in one conversation.
    Search(Option<Talk>),
    /// An emoji to react with.
    Reaction,
    /// Settings of this screen.
    Settings,
    /// The values of one.
    Setting(&'static str),
    /// Who is in the open group.
    Members,
    /// What can be done with one of them.
    Member(Username),
    /// Pinned messages of the open conversation.
    Pins,
}

impl Kind {
    /// The words on top.
    pub(crate) const fn title(&self) -> &'static str {
        match self {
            Self::Conversations => "Go to",
            Self::Forward => "Pass on to",
            Self::Commands => "Commands",
            Self::People => "People",
            Self::Requests => "Requests and invitations",
            Self::Rooms => "Rooms",
            Self::Devices => "Your devices",
            Self::Search(None) => "Search everywhere",
            Self::Search(Some(_)) => "Search here",
            Self::Reaction => "React with",
            Self::Settings => "Settings",
            Self::Setting(name) => name,
            Self::Members => "Members",
            Self::Member(_) => "This member",
            Self::Pins => "Pinned here",
        }
    }

    /// What stands where nothing is listed.
    pub(crate) const fn empty(&self) -> &'static str {
        match self {
            Self::Search(_) => "type words; the beginnings of them are enough",
            Self::Requests => "nobody waits for an answer",
            Self::Rooms => "no public rooms here; /room new TITLE --public opens one",
            Self::Pins => "nothing is pinned; select a message to pin it",
            Self::Members => "a conversation of two",
            _ => "nothing here",
        }
    }

    /// Whether the worker looks, not the list itself.
    pub(crate) const fn is_asked(&self) -> bool {
        matches!(self, Self::Search(_))
    }
}

/// What a line stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Talk(Talk),
    Action(Action),
    /// Words to begin a command with.
    Words(String),
    /// A command.
    Run(&'static [&'static str]),
    Person(Username),
    Request(Username),
    Invitation(ConversationId),
    Room(ConversationId, String),
    Message(Talk, u64),
    Emoji(String),
    /// Somebody in the open group.
    Member(Username),
    /// The number to compare with somebody.
    Verify(Username),
    /// Words to look for everywhere.
    Find(String),
    /// A setting to be changed.
    Setting(&'static str),
    /// A setting with another value.
    Set(&'static str, &'static str),
    /// A command with what it is about.
    Line(Vec<String>),
    /// To be read only.
    Nothing,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) label: SafeText,
    pub(crate) note: SafeText,
    pub(crate) tone: Tone,
    pub(crate) value: Value,
}

impl Item {
    /// A line of foreign or own words.
    pub(crate) fn new(label: &str, note: &str, tone: Tone, value: Value) -> Self {
        Self {
            label: SafeText::line(label, LABEL_CELLS_MAX),
            note: SafeText::line(note, LABEL_CELLS_MAX),
            tone,
            value,
        }
    }
}

/// A list with its field.
#[derive(Debug)]
pub(crate) struct Picker {
    pub(crate) kind: Kind,
    pub(crate) field: Composer,
    items: Vec<Item>,
    /// Which of them are shown, the best first.
    shown: Vec<usize>,
    /// Lines below them that answer to what was typed.
    extra: Vec<Item>,
    marked: usize,
    /// Names the search whose answer counts.
    pub(crate) ticket: u64,
    /// The list is on its way.
    pub(crate) waiting: bool,
}

impl Picker {
    /// A list of these lines.
    pub(crate) fn new(kind: Kind, items: Vec<Item>) -> Self {
        let mut picker = Self {
            kind,
            field: Composer::default(),
            items: Vec::new(),
            shown: Vec::new(),
            extra: Vec::new(),
            marked: 0,
            ticket: 0,
            waiting: false,
        };
        picker.set(items);
        picker
    }

    /// A list that is on its way.
    pub(crate) fn awaited(kind: Kind) -> Self {
        let mut picker = Self::new(kind, Vec::new());
        picker.waiting = true;
        picker
    }

    /// Takes the lines.
    pub(crate) fn set(&mut self, mut items: Vec<Item>) {
        items.truncate(ITEMS_MAX);
        self.items = items;
        self.waiting = false;
        self.filter();
    }

    /// The field changed.
    pub(crate) fn filter(&mut self) {
        let words = self.field.text();
        self.shown = if self.kind.is_asked() || words.trim().is_empty() {
            (0..self.items.len()).collect()
        } else {
            let texts: Vec<String> = self
                .items
                .iter()
                .map(|item| format!("{} {}", item.label, item.note))
                .collect();
            fuzzy::rank(words, texts.iter().map(String::as_str))
        };
        self.extra.clear();
        self.marked = 0;
    }

    /// Whether a line that is shown has these letters in a row, in whatever case.
    pub(crate) fn contains(&self, typed: &str) -> bool {
        let typed = typed.to_lowercase();
        let mut shown = self.shown.iter().filter_map(|place| self.items.get(*place));
        shown.any(|item| item.label.as_str().to_lowercase().contains(&typed))
    }

    /// Marks the first of the lines for what was typed.
    pub(crate) fn mark_offered(&mut self) {
        self.marked = self.shown.len();
    }

    /// Puts lines below the others, for what was typed; gone with the next letter.
    pub(crate) fn offer(&mut self, mut extra: Vec<Item>) {
        extra.truncate(EXTRA_MAX);
        self.extra = extra;
    }

    /// Whether a line of this name is among those of the list.
    pub(crate) fn has(&self, label: &str) -> bool {
        self.items.iter().any(|item| item.label.as_str() == label)
    }

    /// The lines that are shown.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Item> {
        let shown = self.shown.iter().filter_map(|place| self.items.get(*place));
        shown.chain(&self.extra)
    }

    /// How many are shown.
    pub(crate) fn len(&self) -> usize {
        self.shown.len() + self.extra.len()
    }

    /// Which of the shown ones is marked.
    pub(crate) const fn marked(&self) -> usize {
        self.marked
    }

    /// What the marked one stands for.
    pub(crate) fn value(&self) -> Option<&Value> {
        self.lines().nth(self.marked).map(|item| &item.value)
    }

    /// Puts the mark on one of the shown.
    pub(crate) fn mark(&mut self, place: usize) {
        self.marked = place.min(self.len().saturating_sub(1));
    }

    /// Moves the mark.
    pub(crate) fn step(&mut self, step: isize) {
        self.marked = self
            .marked
            .saturating_add_signed(step)
            .min(self.len().saturating_sub(1));
    }
}
