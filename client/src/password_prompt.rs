//! Passwords: from a file, or asked for on the terminal with a dot for each
//! character.
//!
//! Refuses to read one from arguments or the environment, and never leaves the
//! terminal without echo: the settings come back on return, on error, on panic
//! and on SIGINT, SIGTERM and SIGHUP (which end the question with
//! [`PromptError::Interrupted`]).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::{Zeroize, Zeroizing};

/// The fewest characters of a new password.
pub(crate) const PASSWORD_CHARS_MIN: usize = 8;
/// The most bytes of any password.
const PASSWORD_BYTES_MAX: usize = 1024;

/// A password, wiped when dropped.
pub(crate) type Password = Zeroizing<String>;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromptError {
    /// No terminal to ask on.
    #[error("there is no terminal to ask for the password on; use --password-file FILE")]
    NoTerminal,
    /// The person or a signal ended the question.
    #[error("interrupted")]
    Interrupted,
    /// The terminal or the file failed.
    #[error("the password could not be read: {}", crate::exit::cause(.0))]
    Unreadable(#[from] io::Error),
    /// More than [`PASSWORD_BYTES_MAX`], or not UTF-8.
    #[error("a password has at most 1024 bytes of UTF-8 text")]
    Unusable,
    /// Fewer than [`PASSWORD_CHARS_MIN`].
    #[error("a password has at least 8 characters; choose a longer one")]
    TooShort,
    /// The repetition differs.
    #[error("the two passwords differ; try again")]
    Differ,
}

/// Whether a password is being chosen or repeated from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Asked once; any length.
    Present,
    /// Asked twice; at least 8 characters.
    New,
}

/// Reads the first line of a file.
pub(crate) fn from_file(path: &Path, purpose: Purpose) -> Result<Password, PromptError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 3));
    let limit = PASSWORD_BYTES_MAX as u64 + 3;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    check(line, purpose)
}

/// Asks on the controlling terminal.
pub(crate) async fn ask(question: &str, purpose: Purpose) -> Result<Password, PromptError> {
    let first = ask_once(question).await?;
    let first = check(first.as_bytes(), purpose)?;
    if purpose == Purpose::New {
        let second = ask_once("Repeat it: ").await?;
        if *second != *first {
            return Err(PromptError::Differ);
        }
    }
    Ok(first)
}

fn check(bytes: &[u8], purpose: Purpose) -> Result<Password, PromptError> {
    if bytes.len() > PASSWORD_BYTES_MAX {
        return Err(PromptError::Unusable);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PromptError::Unusable)?;
    if purpose == Purpose::New && text.chars().count() < PASSWORD_CHARS_MIN {
        return Err(PromptError::TooShort);
    }
    Ok(Zeroizing::new(text.to_owned()))
}

async fn ask_once(question: &str) -> Result<Password, PromptError> {
    let mut terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| PromptError::NoTerminal)?;
    // Handlers first: a signal between the two would leave the terminal dark.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let dark = Dark::enter(terminal.try_clone()?)?;
    terminal.write_all(question.as_bytes())?;
    let (answer, answered) = tokio::sync::oneshot::channel();
    // A thread of its own, not the runtime's: a read that never ends must not hold up the end.
    let mut reader = terminal.try_clone()?;
    std::thread::spawn(move || drop(answer.send(read_line(&mut reader))));
    let outcome = tokio::select! {
        line = answered => line.unwrap_or(Err(PromptError::Interrupted)),
        _ = interrupt.recv() => Err(PromptError::Interrupted),
        _ = terminate.recv() => Err(PromptError::Interrupted),
        _ = hangup.recv() => Err(PromptError::Interrupted),
    };
    drop(dark);
    terminal.write_all(b"\n")?;
    outcome
}

/// The terminal without echo and line editing; dropping it brings both back.
struct Dark {
    terminal: File,
    before: Termios,
}

impl Dark {
    fn enter(terminal: File) -> Result<Self, PromptError> {
        let before = rustix::termios::tcgetattr(&terminal).map_err(io::Error::from)?;
        let mut dark = before.clone();
        dark.local_modes &= !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON);
        dark.local_modes |= LocalModes::ISIG;
        dark.special_codes[SpecialCodeIndex::VMIN] = 1;
        dark.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Flush: what was typed before the question is not the password.
        rustix::termios::tcsetattr(&terminal, OptionalActions::Flush, &dark)
            .map_err(io::Error::from)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Dark {
    fn drop(&mut self) {
        if let Err(error) =
            rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before)
        {
            tracing::debug!(%error, "the terminal did not take its settings back");
        }
    }
}

/// Reads one line byte by byte, showing a dot for each character.
fn read_line<T: Read + Write>(terminal: &mut T) -> Result<Password, PromptError> {
    let mut editor = Editor::default();
    loop {
        let mut byte = [0];
        if terminal.read(&mut byte)? == 0 {
            return Err(PromptError::Interrupted);
        }
        let step = editor.take(byte[0]);
        byte.zeroize();
        match step {
            Step::Echo(dots) => terminal.write_all(dots.as_bytes())?,
            Step::Done => return editor.finish(),
            Step::Cancelled => return Err(PromptError::Interrupted),
        }
    }
}

enum Step {
    Echo(String),
    Done,
    Cancelled,
}

/// The line being typed. Its capacity is fixed, so that no copy of it is left behind by growing.
struct Editor {
    bytes: Zeroizing<Vec<u8>>,
    escape: Escape,
    overflow: bool,
}

/// Whether an escape sequence (an arrow key, say) is being skipped.
enum Escape {
    None,
    Begun,
    Sequence,
}

impl Default for Editor {
    fn default() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 1)),
            escape: Escape::None,
            overflow: false,
        }
    }
}

impl Editor {
    fn take(&mut self, byte: u8) -> Step {
        match self.escape {
            Escape::Begun => {
                let opens = matches!(byte, b'[' | b'O');
                self.escape = if opens {
                    Escape::Sequence
                } else {
                    Escape::None
                };
                return Step::Echo(String::new());
            }
            Escape::Sequence => {
                if (0x40..=0x7e).contains(&byte) {
                    self.escape = Escape::None;
                }
                return Step::Echo(String::new());
            }
            Escape::None => {}
        }
        match byte {
            b'\r' | b'\n' => Step::Done,
            0x03 => Step::Cancelled,
            0x04 if self.bytes.is_empty() => Step::Cancelled,
            0x08 | 0x7f => self.erase(1),
            0x15 => self.erase(usize::MAX),
            0x1b => {
                self.escape = Escape::Begun;
                Step::Echo(String::new())
            }
            0x00..=0x1f => Step::Echo(String::new()),
            _ if self.bytes.len() >= PASSWORD_BYTES_MAX => {
                self.overflow = true;
                Step::Echo(String::new())
            }
            _ => {
                self.bytes.push(byte);
                let begins = byte & 0xc0 != 0x80;
                Step::Echo(if begins {
                    "\u{2022}".to_owned()
                } else {
                    String::new()
                })
            }
        }
    }

    fn erase(&mut self, characters_max: usize) -> Step {
        let mut erased = 0;
        while erased < characters_max {
            let Some(byte) = self.bytes.pop() else { break };
            if byte & 0xc0 != 0x80 {
                erased += 1;
            }
        }
        Step::Echo("\u{8} \u{8}".repeat(erased))
    }

    fn finish(self) -> Result<Password, PromptError> {
        if self.overflow {
            return Err(PromptError::Unusable);
        }
        check(&self.bytes, Purpose::Present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Result<String, PromptError> {
        let mut editor = Editor::default();
        for &key in keys {
            match editor.take(key) {
                Step::Echo(shown) => {
                    assert!(
                        shown
                            .chars()
                            .all(|c| matches!(c, '\u{2022}' | '\u{8}' | ' '))
                    );
                }
                Step::Done => return editor.finish().map(|line| line.to_string()),
                Step::Cancelled => return Err(PromptError::Interrupted),
            }
        }
        Err(PromptError::Interrupted)
    }

    #[test]
    fn edits_by_character() {
        assert_eq!(typed("pässwört\n".as_bytes()).unwrap(), "pässwört");
        assert_eq!(typed("aö\u{7f}b\n".as_bytes()).unwrap(), "ab");
        assert_eq!(typed(b"wrong\x15right\r").unwrap(), "right");
        assert_eq!(typed(b"a\x1b[Db\x1bOAc\n").unwrap(), "abc");
        assert!(matches!(typed(b"abc\x03"), Err(PromptError::Interrupted)));
        assert!(matches!(typed(b"\x04"), Err(PromptError::Interrupted)));
        assert!(matches!(typed(b"\xff\n"), Err(PromptError::Unusable)));
        let long = [vec![b'x'; PASSWORD_BYTES_MAX + 1], b"\n".to_vec()].concat();
        assert!(matches!(typed(&long), Err(PromptError::Unusable)));
    }

    #[test]
    fn a_file_gives_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (content, password) in [
            ("long enough", "long enough"),
            ("long enough\r\nmore", "long enough"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(*from_file(&path, Purpose::New).unwrap(), password);
        }
        std::fs::write(&path, "short\n").unwrap();
        assert!(matches!(
            from_file(&path, Purpose::New),
            Err(PromptError::TooShort)
        ));
        assert!(from_file(&path, Purpose::Present).is_ok());
        assert!(matches!(
            from_file(&folder.path().join("none"), Purpose::New),
            Err(PromptError::Unreadable(_))
        ));
    }
}
