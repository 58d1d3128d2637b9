//! Which keys do what: three presets, changed by the settings, asked by the model at every key.
//!
//! ```text
//! keys pressed so far ──► Keymap::find(mode, keys) ──► an action | more keys to come | none
//! ```
//!
//! It refuses settings under which two actions would answer to the same keys, keys that would
//! swallow what is typed, and settings that leave an action without any key. Every such conflict
//! is named. It does nothing with an action itself.

mod action;
mod key;
mod load;
mod names;
mod presets;

use ratatui::crossterm::event::KeyEvent;

pub(crate) use action::Action;
pub(crate) use key::{Key, KeyError};
#[cfg(test)]
pub(crate) use load::Conflict;
pub(crate) use load::{KeymapError, Overrides};
pub(crate) use names::page;

/// What the keys are for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mode {
    /// A message is written.
    Compose,
    /// The messages have the keys; one of them may be selected.
    Browse,
    /// The list of conversations has the keys.
    List,
    /// A list with a field that filters it: palette, people, requests, rooms, devices, search.
    Palette,
    /// A field is filled in: first run, names, passwords, the lock.
    Form,
    /// A question waits for yes or no.
    Ask,
}

impl Mode {
    /// All.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Compose,
        Self::Browse,
        Self::List,
        Self::Palette,
        Self::Form,
        Self::Ask,
    ];

    /// Its stable name in the settings.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Compose => "compose",
            Self::Browse => "browse",
            Self::List => "list",
            Self::Palette => "palette",
            Self::Form => "form",
            Self::Ask => "ask",
        }
    }

    /// Whether letters are text here, so that no binding begins with one.
    pub(crate) const fn takes_text(self) -> bool {
        matches!(self, Self::Compose | Self::Palette | Self::Form)
    }

    /// Whether the keys that work everywhere work here: not where a secret may be typed.
    const fn hears_everywhere(self) -> bool {
        !matches!(self, Self::Form)
    }
}

/// Where a binding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Layer {
    /// In one mode.
    In(Mode),
    /// In every mode but [`Mode::Form`], unless the mode has the keys itself.
    Everywhere,
}

impl Layer {
    /// Its stable name in the settings.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::In(mode) => mode.name(),
            Self::Everywhere => "everywhere",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let mode = Mode::ALL.iter().find(|mode| mode.name() == name);
        match mode {
            Some(mode) => Some(Self::In(*mode)),
            None => (name == "everywhere").then_some(Self::Everywhere),
        }
    }
}

/// With which keys one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preset {
    /// As in most programs with windows.
    #[default]
    Default,
    /// As in vi.
    Vim,
    /// As in Emacs.
    Emacs,
}

impl Preset {
    /// All.
    pub(crate) const ALL: &'static [Self] = &[Self::Default, Self::Vim, Self::Emacs];

    /// Its stable name in the settings.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Vim => "vim",
            Self::Emacs => "emacs",
        }
    }
}

/// What the keys pressed so far mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// This.
    Action(Action),
    /// The beginning of something: wait for the next key.
    Prefix,
    /// Nothing. A single key that [`Key::typed`] something is text where text is taken.
    None,
}

/// One line of the key help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HelpLine {
    /// The keys, as people read them; several ways are separated by a comma.
    pub(crate) keys: String,
    /// What they do.
    pub(crate) action: Action,
}

/// Keys that do something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    layer: Layer,
    keys: Vec<Key>,
    action: Action,
}

/// All keys and what they do.
#[derive(Debug, Clone)]
pub(crate) struct Keymap {
    bindings: Vec<Binding>,
}

impl Keymap {
    /// A preset as it is.
    pub(crate) fn preset(preset: Preset) -> Self {
        Self {
            bindings: presets::bindings(preset),
        }
    }

    /// A preset with the changes of the settings.
    ///
    /// # Errors
    /// Every conflict, unknown name and unreadable key; see [`KeymapError`].
    pub(crate) fn load(preset: Preset, overrides: &Overrides) -> Result<Self, KeymapError> {
        load::load(preset, overrides)
    }

    /// The bindings that count in a mode: its own, and those of everywhere that it leaves free.
    fn effective(&self, mode: Mode) -> Vec<&Binding> {
        let own: Vec<&Binding> = self.of(Layer::In(mode)).collect();
        let taken = |keys: &[Key]| own.iter().any(|binding| binding.keys == keys);
        let general = self
            .of(Layer::Everywhere)
            .filter(|binding| mode.hears_everywhere() && !taken(&binding.keys));
        own.iter().copied().chain(general).collect()
    }

    fn of(&self, layer: Layer) -> impl Iterator<Item = &Binding> {
        self.bindings
            .iter()
            .filter(move |binding| binding.layer == layer)
    }

    /// What the keys pressed so far mean. A release means nothing.
    pub(crate) fn action(&self, mode: Mode, pressed: &[KeyEvent]) -> Found {
        let keys: Vec<Key> = pressed.iter().filter_map(Key::of).collect();
        self.find(mode, &keys)
    }

    /// As [`Keymap::action`].
    fn find(&self, mode: Mode, pressed: &[Key]) -> Found {
        let layers = [
            Some(Layer::In(mode)),
            mode.hears_everywhere().then_some(Layer::Everywhere),
        ];
        for layer in layers.into_iter().flatten() {
            let found = self.of(layer).find(|binding| binding.keys == pressed);
            if let Some(binding) = found {
                return Found::Action(binding.action);
            }
        }
        let begins = |binding: &&Binding| binding.keys.starts_with(pressed);
        if !pressed.is_empty() && self.effective(mode).iter().any(begins) {
            return Found::Prefix;
        }
        Found::None
    }

    /// The keys of a mode for its help, in the order of the headings.
    pub(crate) fn help(&self, mode: Mode) -> Vec<HelpLine> {
        let effective = self.effective(mode);
        let mut lines = Vec::new();
        for action in Action::ALL {
            let ways: Vec<String> = effective
                .iter()
                .filter(|binding| binding.action == *action)
                .map(|binding| spell(&binding.keys))
                .collect();
            if !ways.is_empty() {
                lines.push(HelpLine {
                    keys: ways.join(", "),
                    action: *action,
                });
            }
        }
        lines
    }

    /// What can come after the keys pressed so far, with the rest of the keys.
    pub(crate) fn following(&self, mode: Mode, pressed: &[KeyEvent]) -> Vec<HelpLine> {
        let pressed: Vec<Key> = pressed.iter().filter_map(Key::of).collect();
        let effective = self.effective(mode);
        let longer = effective
            .into_iter()
            .filter(|binding| binding.keys.len() > pressed.len())
            .filter(|binding| binding.keys.starts_with(&pressed));
        longer
            .map(|binding| HelpLine {
                keys: spell(binding.keys.get(pressed.len()..).unwrap_or_default()),
                action: binding.action,
            })
            .collect()
    }

    /// The shortest way to an action from a mode, as people read it.
    pub(crate) fn way(&self, mode: Mode, action: Action) -> Option<String> {
        self.effective(mode)
            .iter()
            .filter(|binding| binding.action == action)
            .map(|binding| spell(&binding.keys))
            .min_by_key(|way| way.chars().count())
    }

    /// The keys that matter most in a mode, for the status line: keys and a word.
    pub(crate) fn hints(&self, mode: Mode) -> Vec<(String, &'static str)> {
        let wanted: &[Action] = match mode {
            Mode::Compose => &[
                Action::Send,
                Action::NewLine,
                Action::Palette,
                Action::NextUnread,
                Action::Help,
                Action::Back,
            ],
            Mode::Browse => &[
                Action::FocusComposer,
                Action::Reply,
                Action::React,
                Action::Copy,
                Action::Help,
                Action::Back,
            ],
            Mode::List => &[
                Action::Confirm,
                Action::NextUnread,
                Action::Palette,
                Action::Help,
                Action::Quit,
            ],
            Mode::Palette => &[Action::Confirm, Action::Up, Action::Down, Action::Back],
            Mode::Form => &[Action::Confirm, Action::FocusNext, Action::Back],
            Mode::Ask => &[Action::Yes, Action::No, Action::Back],
        };
        wanted
            .iter()
            .filter_map(|action| {
                let words = match (mode, action) {
                    (Mode::Form, Action::Confirm) => "go on",
                    (Mode::Form, Action::FocusNext) => "next field",
                    _ => action.short(),
                };
                Some((self.way(mode, *action)?, words))
            })
            .collect()
    }
}

/// Keys as people read them.
fn spell(keys: &[Key]) -> String {
    let keys: Vec<String> = keys.iter().map(Key::to_string).collect();
    keys.join(" ")
}

#[cfg(test)]
mod tests;
