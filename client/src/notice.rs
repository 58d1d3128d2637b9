//! Notifications of the desktop: that something came, asked of the terminal by
//! the sequence that it understands. By default they say nothing of what it is
//! or from whom; what somebody wrote is cleaned like everything else that is
//! shown. A terminal that is not known to have notifications gets none.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::engine::api::{Direction, Event, MessageBody};
use crate::safe_text::SafeText;

/// Cells of a title, and of a text.
const TITLE_CELLS: usize = 40;
const TEXT_CELLS: usize = 120;
/// All that a bare notification says.
const BARE_TITLE: &str = "Sotto";
const BARE_TEXT: &str = "Something new for you";

/// How much a notification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Notify {
    /// There is none
    Off,
    /// That something came
    #[default]
    Bare,
    /// Who wrote what, as far as it fits
    Full,
}

/// What came, for somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// From whom; foreign text where a group has a title.
    title: String,
    /// What; foreign text.
    text: String,
}

impl Notice {
    /// What there is to tell of an event; `None` where nobody wants to be told.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let (title, text) = match event {
            Event::Message(message) => {
                let told = message.direction == Direction::Incoming && message.details.notify;
                if !told {
                    return None;
                }
                let title = match message.talk.group() {
                    None => message.sender.to_string(),
                    Some(_) => {
                        let group = message.talk.label(message.title.as_deref());
                        format!("{} in {group}", message.sender)
                    }
                };
                let text = match &message.body {
                    MessageBody::Text(text) => text.clone(),
                    MessageBody::Attachment(file) => format!("[{}]", file.name),
                    MessageBody::Deleted | MessageBody::Unknown => String::new(),
                };
                (title, text)
            }
            Event::Request(request) => (
                request.from.to_string(),
                "wants to talk with you".to_owned(),
            ),
            Event::Invitation(invitation) => {
                let text = format!("invites you to {}", invitation.group());
                (invitation.from.to_string(), text)
            }
            _ => return None,
        };
        Some(Self { title, text })
    }

    /// Title and text, as much as is wanted.
    fn words(&self, notify: Notify) -> Option<(SafeText, SafeText)> {
        let (title, text) = match notify {
            Notify::Off => return None,
            Notify::Bare => (BARE_TITLE, BARE_TEXT),
            Notify::Full => (self.title.as_str(), self.text.as_str()),
        };
        Some((
            SafeText::line(title, TITLE_CELLS),
            SafeText::line(text, TEXT_CELLS),
        ))
    }
}

/// The notifications that a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// `OSC 9`: one text.
    Osc9,
    /// `OSC 777`: title and text.
    Osc777,
}

impl Terminal {
    /// By what a terminal says of itself in its variables; `None` for one that has none, and
    /// inside a multiplexer, which would keep the sequence to itself.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        if is_set("TMUX") || is_set("STY") {
            return None;
        }
        let term = variable("TERM").unwrap_or_default();
        let program = variable("TERM_PROGRAM").unwrap_or_default();
        match program.as_str() {
            "iTerm.app" | "WezTerm" | "ghostty" | "WarpTerminal" => return Some(Self::Osc9),
            _ => {}
        }
        if term == "xterm-kitty" || is_set("KITTY_WINDOW_ID") {
            return Some(Self::Osc9);
        }
        let rxvt = term.starts_with("rxvt") || term.starts_with("foot");
        (rxvt || is_set("VTE_VERSION")).then_some(Self::Osc777)
    }

    /// The sequence that shows a notice; `None` where none is wanted.
    pub(crate) fn sequence(self, notice: &Notice, notify: Notify) -> Option<String> {
        let (title, text) = notice.words(notify)?;
        Some(match self {
            // The title first: a text that begins with a number and `;` means something else.
            Self::Osc9 => format!("\u{1b}]9;{title}: {text}\u{1b}\\"),
            Self::Osc777 => {
                let title = title.as_str().replace(';', ",");
                format!("\u{1b}]777;notify;{title};{text}\u{1b}\\")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(title: &str, text: &str) -> Notice {
        Notice {
            title: title.to_owned(),
            text: text.to_owned(),
        }
    }

    /// E14, H1: by default not a word of it, and never a sequence of somebody else.
    #[test]
    fn a_notification_says_nothing_unless_asked_and_is_always_clean() {
        let hostile = notice(
            "#4;1;\u{1b}]0;x\u{7}",
            "secret\u{9c}\u{1b}\\\u{1b}]52;c;eA==\u{7}\n",
        );
        for terminal in [Terminal::Osc9, Terminal::Osc777] {
            let bare = terminal.sequence(&hostile, Notify::Bare).unwrap();
            assert_eq!(
                Some(bare),
                terminal.sequence(&notice("a", "b"), Notify::Bare)
            );
            assert_eq!(terminal.sequence(&hostile, Notify::Off), None);
            let full = terminal.sequence(&hostile, Notify::Full).unwrap();
            let inner = full.strip_prefix("\u{1b}]").unwrap();
            let inner = inner.strip_suffix("\u{1b}\\").unwrap();
            assert!(!inner.chars().any(char::is_control), "{full:?}");
            assert!(inner.contains("secret"), "{full:?}");
        }
        let parts = Terminal::Osc777.sequence(&notice("a;b", "c;d"), Notify::Full);
        assert_eq!(parts.unwrap(), "\u{1b}]777;notify;a,b;c;d\u{1b}\\");
    }

    #[test]
    fn only_terminals_that_have_notifications_are_asked() {
        let of = |variables: &[(&str, &str)]| {
            Terminal::of(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[("TERM", "xterm-256color")]), None);
        assert_eq!(of(&[("TERM_PROGRAM", "WezTerm")]), Some(Terminal::Osc9));
        assert_eq!(of(&[("TERM", "xterm-kitty")]), Some(Terminal::Osc9));
        assert_eq!(of(&[("TERM", "foot")]), Some(Terminal::Osc777));
        assert_eq!(of(&[("VTE_VERSION", "7600")]), Some(Terminal::Osc777));
        assert_eq!(of(&[("TERM_PROGRAM", "WezTerm"), ("TMUX", "/x")]), None);
    }
}
