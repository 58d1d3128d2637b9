//! Changing a setting from the screen: which values each has, and the one line of `tui.toml` that
//! changes, with everything else in it as the person wrote it.
//!
//! It refuses to write what could not be read again.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Value};

use super::settings::{self, Settings, SettingsError};

/// A setting that is changed by choosing a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    /// Its values.
    pub(crate) values: &'static [&'static str],
}

/// All of them, in the order of the file.
pub(crate) const CHOICES: [Choice; 7] = [
    Choice {
        name: "preset",
        about: "keys",
        values: &["default", "vim", "emacs"],
    },
    Choice {
        name: "theme",
        about: "colours",
        values: &["dark", "light", "high-contrast", "colour-blind"],
    },
    Choice {
        name: "mouse",
        about: "clicks and wheel here, or the terminal's",
        values: &["true", "false"],
    },
    Choice {
        name: "bell",
        about: "rings when something comes",
        values: &["true", "false"],
    },
    Choice {
        name: "notifications",
        about: "of the desktop: none, that something came, who wrote what",
        values: &["off", "bare", "full"],
    },
    Choice {
        name: "images",
        about: "how pictures are drawn",
        values: &["auto", "off", "blocks", "kitty", "iterm2", "sixel"],
    },
    Choice {
        name: "idle-lock-minutes",
        about: "without a key until the screen is locked; 0 for never",
        values: &["0", "1", "5", "15", "60"],
    },
];

/// The file's text with one setting changed.
///
/// # Errors
/// When the text, or what would come of it, cannot be read.
pub(crate) fn change(text: &str, name: &str, value: &str) -> Result<String, SettingsError> {
    let unreadable = |error: toml_edit::TomlError| SettingsError::malformed(error.message());
    let mut file: DocumentMut = text.parse().map_err(unreadable)?;
    let mut new = match (value.parse::<bool>(), value.parse::<i64>()) {
        (Ok(word), _) => Value::from(word),
        (_, Ok(number)) => Value::from(number),
        _ => Value::from(value),
    };
    match file.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            // With what is remarked behind it.
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            file.insert(name, Item::Value(new));
        }
    }
    let text = file.to_string();
    Settings::parse(&text)?;
    Ok(text)
}

/// Changes a setting in the file in the folder of all profiles; what counts then.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn set(home: &Path, name: &str, value: &str) -> Result<Settings, SettingsError> {
    // What counts is known to be readable, and not larger than it may be.
    Settings::load(home)?;
    let path = home.join(settings::FILE);
    // One that leads elsewhere goes on leading there.
    let path = path.canonicalize().unwrap_or(path);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(SettingsError::Unreadable(crate::exit::cause(&error))),
    };
    let text = change(&text, name, value)?;
    let number: u64 = rand::random();
    let beside = path.with_extension(format!("{number:016x}"));
    let written = write(&beside, &text).and_then(|()| std::fs::rename(&beside, &path));
    written.map_err(|error| {
        // Whether it was made or not.
        let _ = std::fs::remove_file(&beside);
        SettingsError::Unwritable(crate::exit::cause(&error))
    })?;
    Settings::parse(&text)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "# mine\ntheme = \"dark\"   # for the evening\n\n[keys.compose]\n# as ever\nsend = \"ctrl-s\"\n";

    #[test]
    fn one_line_changes_and_every_remark_stays() {
        let text = change(OWN, "theme", "light").unwrap();
        assert_eq!(text, OWN.replace("\"dark\"", "\"light\""));
        let text = change(OWN, "bell", "false").unwrap();
        let settings = Settings::parse(&text).unwrap();
        assert!(settings.lines().contains(&("bell", "false".to_owned())));
        for kept in [
            "# mine",
            "# for the evening",
            "# as ever",
            "send = \"ctrl-s\"",
        ] {
            assert!(text.contains(kept), "{text}");
        }
    }

    #[test]
    fn every_value_that_is_offered_can_be_set() {
        let folder = tempfile::tempdir().unwrap();
        for choice in CHOICES {
            for value in choice.values {
                let settings = set(folder.path(), choice.name, value).unwrap();
                let line = (choice.name, (*value).to_owned());
                assert!(settings.lines().contains(&line), "{line:?}");
            }
        }
        let names = CHOICES.map(|choice| choice.name);
        let shown = Settings::default().lines();
        assert!(shown.iter().map(|(name, _)| *name).eq(names));
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1);
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        assert!(change("theme = ", "bell", "true").is_err());
        assert!(change(OWN, "theme", "pink").is_err());
        assert!(change(OWN, "themes", "dark").is_err());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(settings::FILE), "bel = true\n").unwrap();
        assert!(set(folder.path(), "bell", "true").is_err());
    }
}
