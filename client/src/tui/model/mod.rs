//! What the screen knows, and what each key, word and event does to it. Pure: keys, news and the
//! time go in; asks for the worker and effects on the terminal come out.
//!
//! ```text
//!  key, paste, mouse ──┐                       ┌──► asks (worker)
//!  news of the worker ─┼──► Model ── prepare ──┼──► effects (terminal)
//!  time ───────────────┘                       └──► view::draw
//! ```
//!
//! It refuses to wait, to read a clock, to know a socket or the store, and to give anything but
//! [`SafeText`](crate::safe_text::SafeText) to be drawn.

mod account;
mod act;
mod complete;
pub(crate) mod composer;
pub(crate) mod form;
mod gallery;
mod hear;
mod item;
pub(crate) mod list;
mod look;
pub(crate) mod mouse;
pub(crate) mod overlay;
pub(crate) mod pane;
mod patience;
mod people;
pub(crate) mod pick;
pub(crate) mod picker;
pub(crate) mod piece;
pub(crate) mod rows;
mod set;
pub(crate) mod told;
mod transfer;
mod write;

use std::collections::{BTreeMap, VecDeque};

use ratatui::crossterm::event::KeyEvent;
use sotto_protocol::Username;
use zeroize::Zeroizing;

use super::ask::{Ask, Link, Place};
use super::editor::Stranger;
use super::keys::{Found, Key, Keymap, Mode};
use super::picture::Pictures;
use super::theme::Theme;
use crate::cli::inside::Zone;
use crate::engine::api::{Event, Message, Now, Target, WhoAmI};
use crate::talk::Talk;
use composer::{Composer, Pasted};
use form::{FirstRun, Form, Left, Purpose};
use gallery::Gallery;
use list::List;
use overlay::Overlay;
use pane::Pane;
use patience::Patience;
use piece::Tone;
use told::{Alarm, Line, Remark};
use transfer::Paused;

/// Keys of one binding that may wait for the next.
const PENDING_KEYS_MAX: usize = 4;
/// After so many milliseconds the keys that can follow are shown.
pub(crate) const HINT_AFTER_MS: u64 = 600;
/// Asks that wait for room; beyond, those that only ask for something to be shown again are dropped.
const ASKS_KEPT_MAX: usize = 1_024;
/// What changed is asked for again after so many milliseconds.
const AGAIN_MS: u64 = 200;
/// What is typed is kept at the latest after so many milliseconds.
const DRAFT_AFTER_MS: u64 = 300;
/// That somebody writes is forgotten after so many milliseconds.
const TYPING_MS: u64 = 6_000;
/// Between two words that the person writes, in milliseconds.
const TELL_TYPING_MS: u64 = 3_500;
/// Whoever pressed no key for so long sees nothing that arrives, in milliseconds.
const AWAY_MS: u64 = 10 * 60_000;

/// Which pane has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Focus {
    #[default]
    Chats,
    Messages,
    Composer,
}

/// What belongs to this screen by the person's settings.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    pub(crate) keymap: Keymap,
    pub(crate) theme: Theme,
    /// How pictures are drawn.
    pub(crate) pictures: Pictures,
    /// Milliseconds without a key after which the screen locks itself.
    pub(crate) idle_lock_ms: Option<u64>,
    /// Which pane has the keys at the start.
    pub(crate) begins: Focus,
    /// The program for writing elsewhere that nobody chose, if so.
    pub(crate) stranger: Option<Stranger>,
    /// Lines about the settings, for their screen.
    pub(crate) settings: Vec<(String, String)>,
}

/// What happens outside of the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Something happened that a bell or notification may tell.
    Tell(Box<Event>),
    /// A text for the clipboard.
    Copy(String),
    /// Pictures that the terminal keeps under these ids are not wanted any more.
    Forget(Vec<u32>),
    /// The text is written in another program.
    Edit(String),
    /// The program stops until the shell continues it.
    Suspend,
    /// Everything is drawn anew.
    Redraw,
    /// The end.
    Quit,
}

/// A message that is answered, or changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum About {
    Reply(Box<Message>),
    Edit(Box<Message>),
}

/// A command or transfer that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) label: String,
    pub(crate) progress: Option<super::ask::Progress>,
}

/// Everything that the screen knows.
pub(crate) struct Model {
    pub(crate) wishes: Wishes,
    pub(crate) zone: Zone,
    pub(crate) now: Now,
    pub(crate) link: Link,
    pub(crate) me: Option<WhoAmI>,
    pub(crate) first_run: Option<FirstRun>,
    pub(crate) locked: Option<Form>,
    /// What was typed while its answer is on its way.
    kept_form: Option<Form>,
    left: Left,
    /// A link into a group that is followed when there is a connection.
    to_join: Option<Zeroizing<String>>,
    pub(crate) list: List,
    pub(crate) pane: Option<Pane>,
    pub(crate) composer: Composer,
    pub(crate) about: Option<About>,
    pub(crate) focus: Focus,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) members_shown: bool,
    /// The first member that is shown.
    pub(crate) members_from: usize,
    pub(crate) remark: Option<Remark>,
    pub(crate) alarms: VecDeque<Alarm>,
    /// Lines of the client's own, by conversation.
    lines: BTreeMap<Talk, VecDeque<Line>>,
    pub(crate) running: Option<Running>,
    /// Files that the person paused.
    pub(crate) paused: VecDeque<Paused>,
    pub(crate) gallery: Gallery,
    pub(crate) folder: std::path::PathBuf,
    /// Columns of the screen, as the view laid it out last.
    pub(crate) columns: u16,
    /// Cells of the composer's rows, as the view laid it out last.
    pub(crate) composer_cells: usize,
    /// Rows of a sheet that are on the screen, as the view laid it out last.
    pub(crate) sheet_rows: usize,
    typing: BTreeMap<Talk, (Username, u64)>,
    drafts: BTreeMap<Talk, String>,
    pending: Vec<KeyEvent>,
    pressed_at_ms: u64,
    draft_due_ms: Option<u64>,
    typing_told_ms: u64,
    seen_told_ms: u64,
    chats_due_ms: Option<u64>,
    ticket: u64,
    asks: VecDeque<Ask>,
    effects: Vec<Effect>,
    /// Texts that left the composer and are not queued yet: they come back if they are refused.
    sending: BTreeMap<[u8; 16], (Talk, String)>,
    /// How long the server keeps one waiting.
    patience: Patience,
    /// A completion that goes on with the next key.
    completing: Option<complete::Completing>,
    /// What was written before a file was to be sent, and where.
    attaching: Option<(Talk, String)>,
    /// The person was told how to leave a program that they did not choose.
    warned_of_editor: bool,
}

impl Model {
    /// An empty screen.
    pub(crate) fn new(wishes: Wishes, zone: Zone, now: Now) -> Self {
        Self {
            wishes,
            zone,
            now,
            link: Link::default(),
            me: None,
            first_run: Some(FirstRun::Busy("opening…")),
            locked: None,
            kept_form: None,
            left: Left::default(),
            to_join: None,
            list: List::default(),
            pane: None,
            composer: Composer::default(),
            about: None,
            focus: Focus::default(),
            overlay: None,
            members_shown: true,
            members_from: 0,
            remark: None,
            alarms: VecDeque::new(),
            lines: BTreeMap::new(),
            running: None,
            paused: VecDeque::new(),
            gallery: Gallery::default(),
            folder: std::path::PathBuf::new(),
            columns: 80,
            composer_cells: 40,
            sheet_rows: 10,
            typing: BTreeMap::new(),
            drafts: BTreeMap::new(),
            pending: Vec::new(),
            pressed_at_ms: now.monotonic_ms,
            draft_due_ms: None,
            typing_told_ms: 0,
            seen_told_ms: 0,
            chats_due_ms: None,
            ticket: 0,
            asks: VecDeque::new(),
            effects: Vec::new(),
            sending: BTreeMap::new(),
            patience: Patience::default(),
            completing: None,
            attaching: None,
            warned_of_editor: false,
        }
    }

    /// The next thing for the worker.
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Puts an ask back that the worker had no room for.
    pub(crate) fn put_back(&mut self, ask: Ask) {
        self.asks.push_front(ask);
    }

    /// What is to happen on the terminal.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn ask(&mut self, ask: Ask) {
        if let Ask::Run { words } = &ask {
            self.paused.retain(|paused| !paused.goes_on_with(words));
        }
        if let Ask::Block { .. } = &ask {
            // What is shown of that person goes, too; the others' pictures come again.
            self.forget_pictures();
        }
        let repeated = matches!(
            ask,
            Ask::Chats | Ask::Page { .. } | Ask::Overview { .. } | Ask::Typing { .. }
        );
        if self.asks.len() < ASKS_KEPT_MAX || !repeated {
            self.asks.push_back(ask);
        }
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// What the keys are for at the moment.
    pub(crate) fn mode(&self) -> Mode {
        if self.locked.is_some() {
            return Mode::Form;
        }
        if let Some(step) = self.first_run.as_ref().filter(|_| !self.help_in_front()) {
            return step.mode();
        }
        match &self.overlay {
            Some(Overlay::Picker(_)) => Mode::Palette,
            Some(Overlay::Safety(_) | Overlay::Form(_)) => Mode::Form,
            Some(Overlay::Recovery(step)) => step.mode(),
            Some(Overlay::Question(_)) => Mode::Ask,
            Some(Overlay::Notice(notice)) => notice.mode(),
            Some(Overlay::Sheet(_)) => Mode::Browse,
            None => match self.focus {
                Focus::Chats => Mode::List,
                Focus::Messages => Mode::Browse,
                Focus::Composer if self.blocked_by().is_some() => Mode::Ask,
                Focus::Composer => Mode::Compose,
            },
        }
    }

    /// Whose changed identity keeps anything from being sent in the open conversation.
    pub(crate) fn blocked_by(&self) -> Option<&Username> {
        self.pane.as_ref()?.overview.changed.first()
    }

    /// The keys that wait for more, once it is time to help.
    pub(crate) fn pending_keys(&self) -> Option<&[KeyEvent]> {
        let late = self.now.monotonic_ms >= self.pressed_at_ms + HINT_AFTER_MS;
        (late && !self.pending.is_empty()).then_some(self.pending.as_slice())
    }

    /// Who writes in the open conversation.
    pub(crate) fn writing(&self) -> Option<&Username> {
        let talk = &self.pane.as_ref()?.talk;
        let (name, until) = self.typing.get(talk)?;
        (*until > self.now.monotonic_ms).then_some(name)
    }

    /// A key was pressed.
    pub(crate) fn handle_key(&mut self, key: KeyEvent, now: Now) {
        self.now = now;
        let Some(pressed) = Key::of(&key) else {
            return;
        };
        self.pressed_at_ms = now.monotonic_ms;
        let (remark, place) = (self.remark.clone(), self.place());
        self.pressed(key, pressed);
        self.outlive(remark, &place);
    }

    fn pressed(&mut self, key: KeyEvent, pressed: Key) {
        let mode = self.mode();
        self.pending.push(key);
        match self.wishes.keymap.action(mode, &self.pending) {
            Found::Action(action) => {
                self.pending.clear();
                self.act(action);
            }
            Found::Prefix if self.pending.len() < PENDING_KEYS_MAX => {}
            Found::Prefix | Found::None => {
                let alone = self.pending.len() == 1;
                self.pending.clear();
                if let Some(typed) = pressed.typed().filter(|_| alone) {
                    self.type_char(typed);
                }
            }
        }
    }

    /// Something was pasted: it is never sent, whatever it holds.
    pub(crate) fn handle_paste(&mut self, text: &str, now: Now) {
        self.now = now;
        self.pressed_at_ms = now.monotonic_ms;
        self.pending.clear();
        if let Some(form) = self.form() {
            form.paste(text);
            return;
        }
        match &mut self.overlay {
            Some(Overlay::Picker(picker)) => {
                picker.field.paste(&text.replace(['\n', '\r'], " "));
                self.picker_typed();
            }
            Some(_) => {}
            None if self.first_run.is_none() && self.pane.is_some() => {
                self.focus = Focus::Composer;
                if self.blocked_by().is_none() {
                    if self.composer.paste(text) == Pasted::Cut {
                        let words = "that is more than one message holds; the rest was left out, \
                                     and can go as a file";
                        self.say(Tone::Warning, words);
                    }
                    self.wrote();
                }
            }
            None => {}
        }
    }

    /// The form that has the keys, if any.
    pub(crate) fn form(&mut self) -> Option<&mut Form> {
        if self.help_in_front() {
            return None;
        }
        if let Some(form) = &mut self.locked {
            return Some(form);
        }
        if let Some(first_run) = &mut self.first_run {
            return first_run.form();
        }
        match &mut self.overlay {
            Some(Overlay::Safety(safety)) => Some(&mut safety.form),
            Some(Overlay::Form(asking)) => Some(&mut asking.form),
            Some(Overlay::Recovery(step)) => step.form(),
            _ => None,
        }
    }

    fn type_char(&mut self, typed: char) {
        if let Some(form) = self.form() {
            form.type_char(typed);
            return;
        }
        match (self.mode(), &mut self.overlay) {
            (Mode::Palette, Some(Overlay::Picker(picker))) => {
                picker.field.type_char(typed);
                self.picker_typed();
            }
            (Mode::Compose, None) => {
                self.composer.type_char(typed);
                self.wrote();
            }
            _ => {}
        }
    }

    /// The machine slept.
    pub(crate) fn woke(&mut self) {
        self.ask(Ask::Woke);
        if self.wishes.idle_lock_ms.is_some() {
            self.lock();
        }
    }

    /// Time passed: what is due is done.
    pub(crate) fn tick(&mut self, now: Now) {
        self.now = now;
        let ms = now.monotonic_ms;
        if self.remark.as_ref().is_some_and(|it| it.until_ms <= ms) {
            self.remark = None;
        }
        if self.draft_due_ms.is_some_and(|due| due <= ms) {
            self.keep_draft();
        }
        if self.chats_due_ms.is_some_and(|due| due <= ms) {
            self.chats_due_ms = None;
            self.ask(Ask::Chats);
        }
        if let Some(limit) = self.wishes.idle_lock_ms
            && self.first_run.is_none()
            && self.locked.is_none()
            && ms >= self.pressed_at_ms + limit
        {
            self.lock();
        }
        self.typing.retain(|_, (_, until)| *until > ms);
    }

    /// When [`Self::tick`] has something to do next; monotonic milliseconds.
    pub(crate) fn wakes_at(&self) -> Option<u64> {
        let remark = self.remark.as_ref().map(|remark| remark.until_ms);
        let hint = (!self.pending.is_empty()).then_some(self.pressed_at_ms + HINT_AFTER_MS);
        let typing = self.typing.values().map(|(_, until)| *until).min();
        let idle = match (&self.locked, &self.first_run) {
            (None, None) => self.wishes.idle_lock_ms.map(|ms| self.pressed_at_ms + ms),
            _ => None,
        };
        let due = [
            remark,
            hint,
            typing,
            idle,
            self.draft_due_ms,
            self.chats_due_ms,
            self.patience.wakes_at(self.now.monotonic_ms),
            self.goes_on_laying(),
        ];
        let now_ms = self.now.monotonic_ms;
        due.into_iter().flatten().filter(|at| *at > now_ms).min()
    }

    /// Makes ready for a screen on which the messages have so many cells and rows.
    pub(crate) fn prepare(&mut self, messages: (usize, usize)) {
        let me = self.me.as_ref().map(|who| who.username.clone());
        let away = self.now.monotonic_ms >= self.pressed_at_ms + AWAY_MS;
        let covered = self.locked.is_some() || self.overlay.is_some();
        let hidden = away || covered || messages.1 == 0;
        let Some(pane) = &mut self.pane else {
            return;
        };
        pane.lay(messages, (&self.zone, me.as_ref()), &self.gallery);
        let wish = pane.wish();
        let now_ms = self.now.monotonic_ms;
        let lately = now_ms < self.seen_told_ms + AGAIN_MS;
        let seen = match hidden || lately || !pane.is_loaded() {
            true => None,
            false => pane.newly_seen(),
        };
        if seen.is_some() {
            self.seen_told_ms = now_ms;
        }
        let talk = pane.talk.clone();
        self.asks.extend(wish);
        if let Some(seq) = seen {
            self.list.read(&talk);
            self.ask(Ask::Seen { talk, seq });
            self.chats_again();
        }
        self.look_around(messages);
    }

    /// The list of conversations is asked for again, soon and once.
    fn chats_again(&mut self) {
        let due = self.now.monotonic_ms + AGAIN_MS;
        self.chats_due_ms.get_or_insert(due);
    }

    /// Opens a conversation where the person stopped reading.
    pub(crate) fn open(&mut self, talk: Talk) {
        self.open_at(talk, Place::Unseen);
        self.focus = Focus::Composer;
    }

    fn open_at(&mut self, talk: Talk, place: Place) {
        self.overlay = None;
        self.list.mark(&talk);
        if self.pane.as_ref().is_some_and(|pane| pane.talk == talk) {
            return;
        }
        self.keep_draft();
        let draft = self.drafts.get(&talk).cloned();
        let draft = draft.or_else(|| self.list.chat(&talk)?.draft.clone());
        self.composer.set(draft.as_deref().unwrap_or_default());
        self.about = None;
        let mut pane = Pane::new(talk.clone());
        for line in self.lines.get(&talk).into_iter().flatten() {
            pane.say(line);
        }
        self.pane = Some(pane);
        self.members_from = 0;
        self.ask(Ask::Page { talk, place });
    }

    /// Somebody wrote: the draft is due, and others may hear of it.
    fn wrote(&mut self) {
        let ms = self.now.monotonic_ms;
        // Not later because somebody goes on typing.
        self.draft_due_ms.get_or_insert(ms + DRAFT_AFTER_MS);
        let command = self.composer.text().starts_with('/');
        let Some(talk) = self.pane.as_ref().map(|pane| pane.talk.clone()) else {
            return;
        };
        let told = ms < self.typing_told_ms + TELL_TYPING_MS && self.typing_told_ms > 0;
        if !told && !command && !self.composer.is_empty() && self.link == Link::Online {
            self.typing_told_ms = ms;
            self.ask(Ask::Typing { to: talk });
        }
    }

    /// Keeps what was begun, here and in the store.
    fn keep_draft(&mut self) {
        self.draft_due_ms = None;
        let Some(talk) = self.pane.as_ref().map(|pane| pane.talk.clone()) else {
            return;
        };
        if matches!(self.about, Some(About::Edit(_))) {
            return;
        }
        let text = self.composer.text().to_owned();
        let known = self.drafts.get(&talk).map(String::as_str);
        let stored = self.list.chat(&talk).and_then(|chat| chat.draft.as_deref());
        if known.or(stored).unwrap_or_default() == text {
            return;
        }
        self.list.set_draft(&talk, &text);
        self.drafts.insert(talk.clone(), text.clone());
        self.ask(Ask::Draft { to: talk, text });
    }

    /// Hides everything until the password is typed.
    pub(crate) fn lock(&mut self) {
        if self.first_run.is_none() && self.me.is_some() {
            self.keep_draft();
            self.pending.clear();
            self.forget_pictures();
            self.locked = Some(Form::password(Purpose::Locked, None));
            self.effect(Effect::Redraw);
        }
    }

    /// How the selected message is named.
    fn target(message: &Message) -> Target {
        super::ask::target(message)
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
