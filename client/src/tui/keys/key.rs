//! One key with its modifiers: read from a terminal's event, or written in the settings.
//!
//! It refuses combinations that most terminals cannot tell from other keys.

use std::fmt;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key as it is pressed. Letters carry their case and no Shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

/// Why some words name no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// Nothing of that name.
    #[error("\"{0}\" names no key; write for example ctrl-k, alt-enter, shift-tab, f1 or g g")]
    Unknown(String),
    /// The same bytes as another key.
    #[error("a terminal cannot tell \"{0}\" from {1}; use another key")]
    Same(String, &'static str),
    /// More keys than one can remember.
    #[error("\"{0}\" is a sequence of more than {max} keys", max = KEYS_MAX)]
    Long(String),
}

/// Keys of one binding.
pub(crate) const KEYS_MAX: usize = 4;

const NAMED: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("return", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("escape", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("del", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("space", KeyCode::Char(' ')),
    ("minus", KeyCode::Char('-')),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("page-up", KeyCode::PageUp),
    ("pageup", KeyCode::PageUp),
    ("page-down", KeyCode::PageDown),
    ("pagedown", KeyCode::PageDown),
];

impl Key {
    /// The key of an event; `None` for a release.
    pub(crate) fn of(event: &KeyEvent) -> Option<Self> {
        (event.kind != KeyEventKind::Release).then(|| Self::new(event.code, event.modifiers))
    }

    /// A key with modifiers, in its one form.
    pub(crate) fn new(code: KeyCode, modifiers: KeyModifiers) -> Self {
        let known = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT;
        let mut modifiers = modifiers & known;
        let code = match code {
            KeyCode::BackTab => {
                modifiers |= KeyModifiers::SHIFT;
                KeyCode::Tab
            }
            KeyCode::Char(letter) => {
                let shifted = modifiers.contains(KeyModifiers::SHIFT);
                modifiers -= KeyModifiers::SHIFT;
                match letter {
                    // A terminal sends Ctrl with either case as one byte.
                    letter if modifiers.contains(KeyModifiers::CONTROL) => {
                        KeyCode::Char(controlled(letter))
                    }
                    letter if shifted => KeyCode::Char(letter.to_ascii_uppercase()),
                    letter => KeyCode::Char(letter),
                }
            }
            other => other,
        };
        Self { code, modifiers }
    }

    /// The character that it types where text is taken.
    pub(crate) fn typed(self) -> Option<char> {
        match self.code {
            KeyCode::Char(letter) if self.modifiers.is_empty() => Some(letter),
            _ => None,
        }
    }

    /// Reads a sequence such as `ctrl-x b`.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub(crate) fn sequence(text: &str) -> Result<Vec<Self>, KeyError> {
        let keys: Vec<Self> = text
            .split_whitespace()
            .map(Self::parse)
            .collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(KeyError::Unknown(shorten(text))),
            1..=KEYS_MAX => Ok(keys),
            _ => Err(KeyError::Long(shorten(text))),
        }
    }

    /// Reads one key: `ctrl-k` or `C-k`, `alt-enter` or `M-enter`, `shift-tab`, `f1`, `g`.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        let mut rest = text;
        let mut modifiers = KeyModifiers::empty();
        while let Some((modifier, after)) = modifier(rest) {
            modifiers |= modifier;
            rest = after;
        }
        let code = code(rest).ok_or_else(|| KeyError::Unknown(shorten(text)))?;
        let same = |other| Err(KeyError::Same(shorten(text), other));
        if modifiers.contains(KeyModifiers::CONTROL) {
            match code {
                KeyCode::Char('i' | 'I') => return same("tab"),
                KeyCode::Char('m' | 'M') => return same("enter"),
                KeyCode::Char('[') => return same("esc"),
                KeyCode::Char(letter)
                    if !letter.is_ascii_alphanumeric() && !" @\\]^_/".contains(letter) =>
                {
                    return same("the key without ctrl");
                }
                _ => {}
            }
        }
        Ok(Self::new(code, modifiers))
    }
}

/// The one letter for all that a terminal sends as the same byte.
const fn controlled(letter: char) -> char {
    match letter {
        '4' => '\\',
        '5' => ']',
        '6' => '^',
        '7' | '/' => '_',
        letter => letter.to_ascii_lowercase(),
    }
}

fn modifier(text: &str) -> Option<(KeyModifiers, &str)> {
    const FORMS: &[(&str, KeyModifiers)] = &[
        ("ctrl-", KeyModifiers::CONTROL),
        ("ctrl+", KeyModifiers::CONTROL),
        ("control-", KeyModifiers::CONTROL),
        ("alt-", KeyModifiers::ALT),
        ("alt+", KeyModifiers::ALT),
        ("meta-", KeyModifiers::ALT),
        ("shift-", KeyModifiers::SHIFT),
        ("shift+", KeyModifiers::SHIFT),
    ];
    let short = match text.get(..2) {
        Some("C-") => Some(KeyModifiers::CONTROL),
        Some("M-" | "A-") => Some(KeyModifiers::ALT),
        Some("S-") => Some(KeyModifiers::SHIFT),
        _ => None,
    };
    let (modifier, bytes) = match short {
        Some(modifier) => (modifier, 2),
        None => FORMS.iter().find_map(|(form, modifier)| {
            let head = text.get(..form.len())?;
            head.eq_ignore_ascii_case(form)
                .then_some((*modifier, form.len()))
        })?,
    };
    // A modifier stands before something.
    text.get(bytes..)
        .filter(|rest| !rest.is_empty())
        .map(|rest| (modifier, rest))
}

fn code(text: &str) -> Option<KeyCode> {
    let mut characters = text.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        let types = !only.is_control() && !only.is_whitespace();
        return types.then_some(KeyCode::Char(only));
    }
    let lower = text.to_ascii_lowercase();
    if let Some((_, code)) = NAMED.iter().find(|(name, _)| *name == lower) {
        return Some(*code);
    }
    let number: u8 = lower.strip_prefix('f')?.parse().ok()?;
    (1..=24).contains(&number).then_some(KeyCode::F(number))
}

/// Of what somebody wrote, as much as a sentence has room for.
fn shorten(text: &str) -> String {
    crate::safe_text::SafeText::line(text, 40)
        .as_str()
        .to_owned()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, name) in [
            (KeyModifiers::CONTROL, "Ctrl-"),
            (KeyModifiers::ALT, "Alt-"),
            (KeyModifiers::SHIFT, "Shift-"),
        ] {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        match self.code {
            KeyCode::Char(' ') => f.write_str("Space"),
            KeyCode::Char(letter) if self.modifiers.contains(KeyModifiers::CONTROL) => {
                write!(f, "{}", letter.to_ascii_uppercase())
            }
            KeyCode::Char(letter) => write!(f, "{letter}"),
            KeyCode::F(number) => write!(f, "F{number}"),
            KeyCode::Up => f.write_str("\u{2191}"),
            KeyCode::Down => f.write_str("\u{2193}"),
            KeyCode::Left => f.write_str("\u{2190}"),
            KeyCode::Right => f.write_str("\u{2192}"),
            KeyCode::PageUp => f.write_str("PgUp"),
            KeyCode::PageDown => f.write_str("PgDn"),
            KeyCode::Enter => f.write_str("Enter"),
            KeyCode::Esc => f.write_str("Esc"),
            KeyCode::Tab => f.write_str("Tab"),
            KeyCode::Backspace => f.write_str("Backspace"),
            KeyCode::Delete => f.write_str("Del"),
            KeyCode::Insert => f.write_str("Ins"),
            KeyCode::Home => f.write_str("Home"),
            KeyCode::End => f.write_str("End"),
            // Media keys and the like, which no binding can name.
            _ => f.write_str("?"),
        }
    }
}
