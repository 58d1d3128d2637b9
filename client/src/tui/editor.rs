//! The program in which a text is written elsewhere: `$VISUAL`, else `$EDITOR`, else one that is
//! there and shows its keys, else vi, of which it is said before how to leave it.
//!
//! It refuses to leave the text where anybody else could read it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::profile::private_runtime;

/// Programs that show on their own screen how to leave them, the best first.
const FRIENDLY: [&str; 2] = ["nano", "micro"];
/// What every machine has.
const LAST: &str = "vi";

/// A program that nobody chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub(crate) name: &'static str,
    /// How to leave it, where it does not show that itself.
    pub(crate) ways_out: Option<&'static str>,
}

/// What is opened where nobody said what; `None` where somebody did.
pub(crate) fn stranger(env: impl Fn(&str) -> Option<String>) -> Option<Stranger> {
    let chosen = |name| env(name).is_some_and(|value| !value.is_empty());
    if chosen("VISUAL") || chosen("EDITOR") {
        return None;
    }
    let paths = env("PATH").unwrap_or_default();
    let there = |name: &&str| std::env::split_paths(&paths).any(|path| is_file(&path.join(name)));
    let friendly = FRIENDLY.into_iter().find(there);
    Some(match friendly {
        Some(name) => Stranger {
            name,
            ways_out: None,
        },
        None => Stranger {
            name: LAST,
            ways_out: Some("Esc :wq Enter takes the text, Esc :q! Enter leaves it as it was"),
        },
    })
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}

/// Opens the program over a file that only this user can read, where files are in memory; the
/// file goes when it is read.
///
/// # Errors
/// When the file cannot be made, or the program fails.
pub(super) fn edit(text: &str) -> std::io::Result<String> {
    let folder = private_runtime().map_err(std::io::Error::other)?;
    let number: u64 = rand::random();
    let path = folder.join(format!("message-{number:016x}.txt"));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    let stranger = stranger(|name| std::env::var(name).ok());
    let unchosen = stranger.map_or(LAST, |stranger| stranger.name);
    let outcome = file.write_all(text.as_bytes()).and_then(|()| {
        std::process::Command::new("sh")
            .args(["-c", "exec ${VISUAL:-${EDITOR:-$0}} \"$1\"", unchosen])
            .arg(&path)
            .status()
    });
    let edited = outcome.and_then(|status| match status.success() {
        true => std::fs::read_to_string(&path),
        false => Err(std::io::Error::other("the editor ended with a failure")),
    });
    std::fs::remove_file(&path)?;
    edited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_chose_is_no_stranger_and_what_shows_its_keys_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let env = |editor: &'static str| {
            let path = path.clone();
            move |name: &str| match name {
                "EDITOR" => Some(editor.to_owned()),
                "PATH" => Some(path.clone()),
                _ => None,
            }
        };
        assert_eq!(stranger(env("ed")), None);
        let last = stranger(env("")).unwrap();
        assert_eq!(last.name, "vi");
        assert!(last.ways_out.is_some());
        std::fs::write(folder.path().join("nano"), "").unwrap();
        let friendly = stranger(env("")).unwrap();
        assert_eq!((friendly.name, friendly.ways_out), ("nano", None));
    }
}
