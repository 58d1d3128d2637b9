//! A preset with a person's changes, and every reason why the two do not go together.
//!
//! What is written for an action in a mode takes the place of all keys that the preset has for it
//! there. It refuses to guess: of two actions with the same keys it chooses none.

use std::collections::BTreeMap;
use std::fmt;

use super::{Action, Binding, Key, KeyError, Keymap, Layer, Mode, Preset, spell};
use crate::safe_text::SafeText;

/// Bindings of a person at most.
const OVERRIDES_MAX: usize = 1_000;
/// Cells of a foreign word in a sentence.
const WORD_CELLS: usize = 40;

/// The changes as the settings have them: where, what, and by which keys.
///
/// ```toml
/// [keys.compose]
/// send = "ctrl-s"
/// new-line = ["enter", "alt-enter"]
/// attach = []
/// ```
pub(crate) type Overrides = BTreeMap<String, BTreeMap<String, Ways>>;

/// One way to an action, several, or none.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum Ways {
    /// One.
    One(String),
    /// Several, or none.
    Many(Vec<String>),
}

impl Ways {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let all = match self {
            Self::One(way) => std::slice::from_ref(way),
            Self::Many(ways) => ways.as_slice(),
        };
        all.iter().map(String::as_str)
    }
}

/// Why keys cannot be as they are written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Conflict {
    /// No such table.
    #[error(
        "[keys.{0}] is no mode; there are everywhere, compose, browse, list, palette, form and ask"
    )]
    UnknownMode(String),
    /// No such action.
    #[error("[keys.{layer}] {name} is no action{near}; sotto tui --keys lists them")]
    UnknownAction {
        /// In which table.
        layer: &'static str,
        /// What was written.
        name: String,
        /// What may have been meant, in words.
        near: String,
    },
    /// Not a key.
    #[error("[keys.{layer}] {action}: {error}")]
    BadKey {
        /// In which table.
        layer: &'static str,
        /// For which action.
        action: &'static str,
        /// Why.
        error: KeyError,
    },
    /// Two actions answer to the same keys.
    #[error("{keys} would be both {first} and {second} in {layer}; give one of them other keys")]
    Same {
        /// In which table.
        layer: &'static str,
        /// Which keys.
        keys: String,
        /// One action.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// One action's keys are the beginning of another's.
    #[error("{short} is {first} in {mode}, so {long} can never be {second}; change one of them")]
    Begins {
        /// In which mode.
        mode: &'static str,
        /// The shorter keys.
        short: String,
        /// What they do.
        first: &'static str,
        /// The longer ones.
        long: String,
        /// What they should do.
        second: &'static str,
    },
    /// A letter that could not be typed any more.
    #[error(
        "[keys.{layer}] {action}: {keys} begins with a letter, which could not be typed any more"
    )]
    Swallows {
        /// In which table.
        layer: &'static str,
        /// For which action.
        action: &'static str,
        /// Which keys.
        keys: String,
    },
    /// Nothing leads to an action.
    #[error("no key is left for {0}; give it one, or a second one to what took its key")]
    Unreachable(&'static str),
    /// Something that one must be able to do in a mode.
    #[error("no key is left for {action} in {mode}, where one cannot do without")]
    Needed {
        /// In which mode.
        mode: &'static str,
        /// What.
        action: &'static str,
    },
    /// More than anybody writes.
    #[error("more than {OVERRIDES_MAX} bindings are written; leave some out")]
    TooMany,
}

/// All that does not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct KeymapError {
    /// Each with a sentence that says what to change.
    pub(crate) conflicts: Vec<Conflict>,
}

impl fmt::Display for KeymapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, conflict) in self.conflicts.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{conflict}")?;
        }
        Ok(())
    }
}

/// See [`Keymap::load`].
pub(super) fn load(preset: Preset, overrides: &Overrides) -> Result<Keymap, KeymapError> {
    let mut keymap = Keymap::preset(preset);
    let mut conflicts = Vec::new();
    if overrides.values().map(BTreeMap::len).sum::<usize>() > OVERRIDES_MAX {
        let conflicts = vec![Conflict::TooMany];
        return Err(KeymapError { conflicts });
    }
    for (layer, actions) in overrides {
        let Some(layer) = Layer::named(layer) else {
            conflicts.push(Conflict::UnknownMode(shorten(layer)));
            continue;
        };
        for (name, ways) in actions {
            change(&mut keymap, layer, (name, ways), &mut conflicts);
        }
    }
    conflicts.extend(judge(&keymap));
    if conflicts.is_empty() {
        Ok(keymap)
    } else {
        Err(KeymapError { conflicts })
    }
}

fn change(
    keymap: &mut Keymap,
    layer: Layer,
    (name, ways): (&str, &Ways),
    conflicts: &mut Vec<Conflict>,
) {
    let Some(action) = Action::named(name) else {
        conflicts.push(Conflict::UnknownAction {
            layer: layer.name(),
            name: shorten(name),
            near: near(name),
        });
        return;
    };
    let is_this = |binding: &Binding| binding.layer == layer && binding.action == action;
    keymap.bindings.retain(|binding| !is_this(binding));
    for way in ways.iter() {
        match Key::sequence(way) {
            Ok(keys) => keymap.bindings.push(Binding {
                layer,
                keys,
                action,
            }),
            Err(error) => conflicts.push(Conflict::BadKey {
                layer: layer.name(),
                action: action.name(),
                error,
            }),
        }
    }
}

/// Everything that is wrong with a keymap.
pub(super) fn judge(keymap: &Keymap) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let layers = Mode::ALL.iter().copied().map(Layer::In);
    for layer in layers.chain([Layer::Everywhere]) {
        judge_layer(keymap, layer, &mut conflicts);
    }
    for mode in Mode::ALL {
        judge_mode(keymap, *mode, &mut conflicts);
    }
    for action in Action::ALL {
        if !keymap
            .bindings
            .iter()
            .any(|binding| binding.action == *action)
        {
            conflicts.push(Conflict::Unreachable(action.name()));
        }
    }
    conflicts
}

/// The same keys twice, and letters that are text.
fn judge_layer(keymap: &Keymap, layer: Layer, conflicts: &mut Vec<Conflict>) {
    let bindings: Vec<&Binding> = keymap.of(layer).collect();
    let takes_text = match layer {
        Layer::In(mode) => mode.takes_text(),
        Layer::Everywhere => true,
    };
    for (place, binding) in bindings.iter().enumerate() {
        if takes_text
            && binding
                .keys
                .first()
                .is_some_and(|key| key.typed().is_some())
        {
            conflicts.push(Conflict::Swallows {
                layer: layer.name(),
                action: binding.action.name(),
                keys: spell(&binding.keys),
            });
        }
        let before = bindings.iter().take(place);
        let other = before
            .filter(|other| other.action != binding.action)
            .find(|other| other.keys == binding.keys);
        if let Some(other) = other {
            conflicts.push(Conflict::Same {
                layer: layer.name(),
                keys: spell(&binding.keys),
                first: other.action.name(),
                second: binding.action.name(),
            });
        }
    }
}

/// Keys that begin others, and what one cannot do without.
fn judge_mode(keymap: &Keymap, mode: Mode, conflicts: &mut Vec<Conflict>) {
    let effective = keymap.effective(mode);
    for long in &effective {
        let begins = |short: &&&Binding| {
            short.keys.len() < long.keys.len() && long.keys.starts_with(&short.keys)
        };
        if let Some(short) = effective.iter().find(begins) {
            conflicts.push(Conflict::Begins {
                mode: mode.name(),
                short: spell(&short.keys),
                first: short.action.name(),
                long: spell(&long.keys),
                second: long.action.name(),
            });
        }
    }
    for action in needed(mode) {
        if !effective.iter().any(|binding| binding.action == *action) {
            conflicts.push(Conflict::Needed {
                mode: mode.name(),
                action: action.name(),
            });
        }
    }
}

/// What one must be able to do in a mode.
const fn needed(mode: Mode) -> &'static [Action] {
    use Action::{Back, Confirm, Help, No, Quit, Send, Yes};
    match mode {
        Mode::Compose => &[Send, Back, Help, Quit],
        Mode::Browse => &[Back, Help, Quit],
        Mode::List | Mode::Palette | Mode::Form => &[Confirm, Back, Help, Quit],
        Mode::Ask => &[Yes, No, Back, Help, Quit],
    }
}

/// The action whose name has the most letters in common with what was written, in words.
fn near(name: &str) -> String {
    let wanted: String = name.to_ascii_lowercase().replace(['_', ' '], "-");
    let common = |action: &&Action| {
        let pairs = action.name().chars().zip(wanted.chars());
        pairs.take_while(|(a, b)| a == b).count()
    };
    match Action::ALL.iter().max_by_key(common) {
        Some(action) if common(&action) >= 3 => format!(" (did you mean {}?)", action.name()),
        _ => String::new(),
    }
}

fn shorten(text: &str) -> String {
    SafeText::line(text, WORD_CELLS).as_str().to_owned()
}
