//! Settings of the full-screen client: one file, `HOME/tui.toml`, that a person writes.
//!
//! ```toml
//! preset = "vim"              # default, vim, emacs
//! theme = "light"             # dark, light, high-contrast, colour-blind
//! mouse = true
//! bell = false
//! notifications = "bare"      # off, bare, full
//! images = "auto"             # auto, off, blocks, kitty, iterm2, sixel
//! idle-lock-minutes = 15      # 0 for never, 0.5 for thirty seconds
//!
//! [keys.compose]
//! send = "ctrl-s"
//! ```
//!
//! It refuses what it does not know, by name: a setting that is misspelt is never ignored. It
//! writes nothing; `change` does.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::keys::{Keymap, KeymapError, Overrides, Preset};
use super::theme::ThemeName;
use crate::attachment::picture::Images;
use crate::notice::Notify;
use crate::safe_text::SafeText;

/// The file in the folder of all profiles.
pub(crate) const FILE: &str = "tui.toml";
/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 256 * 1024;
/// The longest time without a key, in minutes: a week.
const IDLE_MINUTES_MAX: f64 = 7.0 * 24.0 * 60.0;
/// Mistakes that are told at once.
const WRONG_MAX: usize = 20;
/// Cells of a reason in a sentence.
const REASON_CELLS: usize = 400;

/// Whether the mouse is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mouse {
    /// It clicks and scrolls here.
    On,
    /// It is the terminal's, which selects text with it.
    #[default]
    Off,
}

/// Whether the terminal rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ringing {
    /// When something comes that one is told of, at most once in two seconds.
    #[default]
    On,
    /// Never.
    Off,
}

/// What a person set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// With which keys one begins.
    pub(crate) preset: Preset,
    /// All keys, with the changes of the file.
    pub(crate) keymap: Keymap,
    /// How things look.
    pub(crate) theme: ThemeName,
    /// Whether the mouse is followed.
    pub(crate) mouse: Mouse,
    /// Whether the terminal rings.
    pub(crate) bell: Ringing,
    /// How much a notification of the desktop says.
    pub(crate) notifications: Notify,
    /// How pictures are drawn.
    pub(crate) images: Images,
    /// How long without a key until the screen is locked; `None` for never.
    pub(crate) idle_lock: Option<Duration>,
}

/// Why settings cannot be used. Code: `bad_settings`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file is there and cannot be read.
    #[error("{FILE} could not be read: {0}; make it readable, or move it away")]
    Unreadable(String),
    /// What was chosen on the screen cannot be kept.
    #[error("{FILE} could not be written: {0}; make its folder writable")]
    Unwritable(String),
    /// It is larger than anybody writes.
    #[error("{FILE} has more than {BYTES_MAX} bytes; move it away")]
    TooLarge,
    /// It is not what is known here.
    #[error("{FILE}: {0}; correct that line, or remove it")]
    Malformed(SafeText),
    /// It is not what is known here, in more than one place.
    #[error("{FILE}:\n{0}\ncorrect these lines, or remove them")]
    Several(String),
    /// The keys do not go together.
    #[error("{FILE}: {0}")]
    Keys(#[from] KeymapError),
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Written {
    preset: Preset,
    theme: ThemeName,
    mouse: bool,
    bell: bool,
    #[serde(deserialize_with = "choice")]
    notifications: Notify,
    #[serde(deserialize_with = "choice")]
    images: Images,
    idle_lock_minutes: f64,
    keys: Overrides,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            theme: ThemeName::default(),
            mouse: false,
            bell: true,
            notifications: Notify::default(),
            images: Images::default(),
            idle_lock_minutes: 0.0,
            keys: Overrides::new(),
        }
    }
}

/// One of the words that the command line has for it too.
fn choice<'de, D: Deserializer<'de>, T: ValueEnum>(from: D) -> Result<T, D::Error> {
    let word = String::deserialize(from)?;
    T::from_str(&word, false).map_err(|_| {
        let words = T::value_variants().iter().filter_map(|value| {
            let value = value.to_possible_value()?;
            Some(format!("`{}`", value.get_name()))
        });
        let words: Vec<String> = words.collect();
        D::Error::custom(format!("`{word}` is none of {}", words.join(", ")))
    })
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            keymap: Keymap::preset(Preset::default()),
            theme: ThemeName::default(),
            mouse: Mouse::default(),
            bell: Ringing::default(),
            notifications: Notify::default(),
            images: Images::default(),
            idle_lock: None,
        }
    }
}

impl SettingsError {
    /// Not what is known here.
    pub(crate) fn malformed(reason: &str) -> Self {
        Self::Malformed(SafeText::line(reason, REASON_CELLS))
    }

    /// Everything that is wrong, one a line.
    fn all(wrong: &[String]) -> Self {
        if let [one] = wrong {
            return Self::malformed(one);
        }
        let lines = wrong
            .iter()
            .map(|reason| SafeText::line(reason, REASON_CELLS));
        let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
        Self::Several(lines.join("\n"))
    }
}

/// What is written, without the lines that are wrong, and why they are: one mistake hides no other.
fn read(text: &str) -> Result<(Written, Vec<String>), SettingsError> {
    let mut wrong = Vec::new();
    let mut rest = text.to_owned();
    loop {
        let error = match toml::from_str(&rest) {
            Ok(written) => return Ok((written, wrong)),
            Err(error) => error,
        };
        let line = error.span().map(|span| {
            let before = rest.get(..span.start).unwrap_or_default();
            before.matches('\n').count()
        });
        let place = line.map_or_else(String::new, |line| format!("line {}: ", line + 1));
        wrong.push(format!("{place}{}", error.message()));
        let without = line.and_then(|line| without(&rest, line));
        match without.filter(|_| wrong.len() < WRONG_MAX) {
            Some(without) => rest = without,
            None => return Err(SettingsError::all(&wrong)),
        }
    }
}

/// A text with one of its lines emptied, where that line says something for itself.
fn without(text: &str, line: usize) -> Option<String> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let found = lines.get_mut(line)?;
    let whole = toml::from_str::<toml::Table>(found).is_ok_and(|table| !table.is_empty());
    // What may go on in the next line is no line of its own.
    let goes_on = ["[", "{", "\"\"\"", "'''"];
    let short = found.contains('=') && !goes_on.iter().any(|sign| found.contains(sign));
    if !whole && !short {
        return None;
    }
    *found = "";
    Some(lines.join("\n"))
}

impl Settings {
    /// Reads the file in the folder of all profiles; without one everything is as it comes.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub(crate) fn load(home: &Path) -> Result<Self, SettingsError> {
        let path = home.join(FILE);
        let unreadable =
            |error: std::io::Error| SettingsError::Unreadable(crate::exit::cause(&error));
        let size = match std::fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        };
        if size > BYTES_MAX {
            return Err(SettingsError::TooLarge);
        }
        Self::parse(&std::fs::read_to_string(&path).map_err(unreadable)?)
    }

    /// Reads settings.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub(crate) fn parse(text: &str) -> Result<Self, SettingsError> {
        let (written, mut wrong) = read(text)?;
        // What is not a number is in no range either.
        if !(0.0..=IDLE_MINUTES_MAX).contains(&written.idle_lock_minutes) {
            wrong.push(format!("idle-lock-minutes is 0 to {IDLE_MINUTES_MAX}"));
        }
        let keymap = Keymap::load(written.preset, &written.keys);
        let keymap = match (keymap, wrong.is_empty()) {
            (Ok(keymap), true) => keymap,
            (Err(error), true) => return Err(error.into()),
            (Ok(_), false) => return Err(SettingsError::all(&wrong)),
            (Err(error), false) => {
                wrong.extend(error.conflicts.iter().map(ToString::to_string));
                return Err(SettingsError::all(&wrong));
            }
        };
        let idle = Duration::from_secs_f64(written.idle_lock_minutes * 60.0);
        Ok(Self {
            preset: written.preset,
            keymap,
            theme: written.theme,
            mouse: if written.mouse { Mouse::On } else { Mouse::Off },
            bell: if written.bell {
                Ringing::On
            } else {
                Ringing::Off
            },
            notifications: written.notifications,
            images: written.images,
            idle_lock: (!idle.is_zero()).then_some(idle),
        })
    }
}

impl Settings {
    /// What is set, for a screen that shows it: names as in the file, and values.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        fn word<T: ValueEnum>(value: &T) -> String {
            let value = value.to_possible_value();
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        }
        let minutes = self.idle_lock.map_or(0.0, |idle| idle.as_secs_f64() / 60.0);
        vec![
            ("preset", self.preset.name().to_owned()),
            ("theme", self.theme.name().to_owned()),
            ("mouse", (self.mouse == Mouse::On).to_string()),
            ("bell", (self.bell == Ringing::On).to_string()),
            ("notifications", word(&self.notifications)),
            ("images", word(&self.images)),
            ("idle-lock-minutes", minutes.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Action, Mode};
    use super::*;

    #[test]
    fn everything_can_be_set() {
        let settings = Settings::parse(
            "preset = \"emacs\"\ntheme = \"colour-blind\"\nmouse = true\nbell = false\n\
             notifications = \"off\"\nimages = \"sixel\"\nidle-lock-minutes = 15\n\
             [keys.compose]\nattach = \"f10\"\n",
        )
        .unwrap();
        assert_eq!(settings.preset, Preset::Emacs);
        assert_eq!(settings.theme, ThemeName::ColourBlind);
        assert_eq!((settings.mouse, settings.bell), (Mouse::On, Ringing::Off));
        assert_eq!(settings.notifications, Notify::Off);
        assert_eq!(settings.images, Images::Sixel);
        assert_eq!(settings.idle_lock, Some(Duration::from_secs(900)));
        let way = settings.keymap.way(Mode::Compose, Action::Attach);
        assert_eq!(way.unwrap(), "F10");
    }

    #[test]
    fn what_is_shown_can_be_written() {
        let shown = Settings::default().lines();
        let number = |value: &str| value.parse::<u64>().is_ok() || value.parse::<bool>().is_ok();
        let text: String = shown
            .iter()
            .map(|(name, value)| match number(value) {
                true => format!("{name} = {value}\n"),
                false => format!("{name} = \"{value}\"\n"),
            })
            .collect();
        assert_eq!(Settings::parse(&text).unwrap().lines(), shown);
    }

    #[test]
    fn nothing_set_is_the_default_and_says_nothing_of_messages() {
        let settings = Settings::parse("").unwrap();
        assert_eq!(settings.notifications, Notify::Bare);
        assert_eq!(settings.idle_lock, None);
        let half = Settings::parse("idle-lock-minutes = 0.5").unwrap();
        assert_eq!(half.idle_lock, Some(Duration::from_secs(30)));
        let folder = tempfile::tempdir().unwrap();
        assert!(Settings::load(folder.path()).is_ok());
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (text, named) in [
            ("bel = true", "bel"),
            ("theme = \"pink\"", "pink"),
            (
                "\nnotifications = \"loud\"",
                "line 2: `loud` is none of `off`, `bare`, `full`",
            ),
            ("images = \"ascii\"", "ascii"),
            ("preset = \"nano\"", "nano"),
            ("mouse = \"yes\"", "line 1: invalid type"),
            ("idle-lock-minutes = 99999999", "idle-lock-minutes"),
            ("idle-lock-minutes = -0.5", "idle-lock-minutes"),
            ("idle-lock-minutes = nan", "idle-lock-minutes"),
            ("[keys.compose]\nsned = \"enter\"", "sned"),
            (
                "[keys.compose]\nnew-line = \"enter\"",
                "both send and new-line",
            ),
            ("= \u{1b}[2J", "line 1"),
        ] {
            let said = Settings::parse(text).unwrap_err().to_string();
            assert!(said.contains(named), "{text}: {said}");
            let clean = said.chars().all(|c| c == '\n' || !c.is_control());
            assert!(clean, "{said:?}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = "bel = true\ntheme = \"pink\"\nmouse = true\nidle-lock-minutes = -1\n\
                    [keys.compose]\nsned = \"enter\"\n";
        let said = Settings::parse(text).unwrap_err().to_string();
        for named in ["line 1", "bel", "line 2", "pink", "idle-lock", "sned"] {
            assert!(said.contains(named), "{named}: {said}");
        }
        let said = Settings::parse("bel = true\ntheme = \nmouse = maybe\n").unwrap_err();
        for named in ["line 1", "line 2", "line 3"] {
            assert!(said.to_string().contains(named), "{named}: {said}");
        }
        // What cannot be told apart ends it.
        let said = Settings::parse("[keys.compose]\nsend = [\n\"x\"\n").unwrap_err();
        assert!(matches!(said, SettingsError::Malformed(_)), "{said}");
    }

    #[test]
    fn a_file_without_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let comment = "#".repeat(usize::try_from(BYTES_MAX).unwrap() + 1);
        std::fs::write(folder.path().join(FILE), comment).unwrap();
        let error = Settings::load(folder.path()).unwrap_err();
        assert!(matches!(error, SettingsError::TooLarge), "{error}");
    }
}
