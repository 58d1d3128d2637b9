//! Bell and desktop notification of the full-screen client: what is written to the terminal for
//! somebody who does not look. At most once in two seconds, however much comes. Refuses to say
//! what came while the screen is locked.

use super::settings::Ringing;
use crate::engine::api::Event;
use crate::notice::{Notice, Notify, Terminal};

/// The shortest time between two, in milliseconds.
const EVERY_MS: u64 = 2_000;
const BELL: &str = "\u{7}";

/// Whether somebody else may stand before the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Open,
    Locked,
}

/// How somebody is told.
#[derive(Debug)]
pub(crate) struct Teller {
    ringing: Ringing,
    notify: Notify,
    terminal: Option<Terminal>,
    told_at_ms: Option<u64>,
}

impl Teller {
    /// Tells by the means of `terminal`; without one only by the bell.
    pub(crate) fn new(ringing: Ringing, notify: Notify, terminal: Option<Terminal>) -> Self {
        Self {
            ringing,
            notify,
            terminal,
            told_at_ms: None,
        }
    }

    /// What to write for an event; `None` when nobody is to be told of it, or was a moment ago.
    pub(crate) fn tell(&mut self, event: &Event, screen: Screen, now_ms: u64) -> Option<String> {
        let notice = Notice::of(event);
        // What concerns security rings too; the screen itself says what it is.
        if notice.is_none() && !matches!(event, Event::Security(_)) {
            return None;
        }
        if self.told_at_ms.is_some_and(|at| now_ms < at + EVERY_MS) {
            return None;
        }
        let notify = match (screen, self.notify) {
            (Screen::Locked, Notify::Full) => Notify::Bare,
            (_, notify) => notify,
        };
        let mut text = match self.ringing {
            Ringing::On => BELL.to_owned(),
            Ringing::Off => String::new(),
        };
        if let (Some(notice), Some(terminal)) = (notice, self.terminal) {
            text.push_str(&terminal.sequence(&notice, notify).unwrap_or_default());
        }
        if text.is_empty() {
            return None;
        }
        self.told_at_ms = Some(now_ms);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::api::{Asker, Request};
    use sotto_protocol::{ConversationId, Username};

    fn request() -> Event {
        Event::Request(Request {
            conversation: ConversationId::from_bytes([1; 16]),
            from: Username::parse("carol").unwrap(),
            received_at_ms: 0,
            asker: Asker::New,
        })
    }

    #[test]
    fn one_tells_once_in_two_seconds() {
        let mut teller = Teller::new(Ringing::On, Notify::Bare, None);
        assert_eq!(teller.tell(&request(), Screen::Open, 0).unwrap(), BELL);
        assert_eq!(teller.tell(&request(), Screen::Open, 1_999), None);
        assert_eq!(teller.tell(&request(), Screen::Open, 2_000).unwrap(), BELL);
    }

    #[test]
    fn names_are_told_only_when_asked_for_and_never_of_a_locked_screen() {
        for (notify, screen, named) in [
            (Notify::Full, Screen::Open, true),
            (Notify::Full, Screen::Locked, false),
            (Notify::Bare, Screen::Open, false),
        ] {
            let mut teller = Teller::new(Ringing::Off, notify, Some(Terminal::Osc9));
            let text = teller.tell(&request(), screen, 0).unwrap();
            assert!(text.starts_with("\u{1b}]9;"), "{text:?}");
            assert_eq!(text.contains("carol"), named, "{text:?}");
        }
    }

    #[test]
    fn whoever_wants_neither_gets_neither() {
        let mut teller = Teller::new(Ringing::Off, Notify::Off, Some(Terminal::Osc777));
        assert_eq!(teller.tell(&request(), Screen::Open, 0), None);
    }
}
