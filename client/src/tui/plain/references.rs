//! Numbers for messages and conversations, by which a person names them in commands.
//!
//! It refuses to keep numbers without end: the oldest are forgotten, and no number is given twice.

use std::collections::{BTreeMap, VecDeque};

use sotto_protocol::ClientMessageId;

use crate::talk::Talk;

/// Messages that can be named by number.
const NUMBERS_MAX: usize = 5_000;
/// Commands whose first argument is a message.
const ABOUT_MESSAGE: &[&str] = &[
    "/reply", "/edit", "/delete", "/react", "/pin", "/unpin", "/forward", "/save",
];

/// What the numbers mean.
#[derive(Debug, Default)]
pub(super) struct References {
    last: u32,
    by_message: BTreeMap<[u8; 16], u32>,
    /// In the order of their numbers.
    messages: VecDeque<(u32, ClientMessageId)>,
    talks: Vec<Talk>,
}

impl References {
    /// The number of a message, a new one where it has none.
    pub(super) fn number(&mut self, message: ClientMessageId) -> u32 {
        if let Some(number) = self.by_message.get(message.as_bytes()) {
            return *number;
        }
        self.last = self.last.saturating_add(1);
        if self.messages.len() >= NUMBERS_MAX
            && let Some((_, oldest)) = self.messages.pop_front()
        {
            self.by_message.remove(oldest.as_bytes());
        }
        self.messages.push_back((self.last, message));
        self.by_message.insert(*message.as_bytes(), self.last);
        self.last
    }

    /// The number of a message that has one.
    pub(super) fn known(&self, message: &ClientMessageId) -> Option<u32> {
        self.by_message.get(message.as_bytes()).copied()
    }

    /// The message of a number.
    fn message(&self, number: u32) -> Option<ClientMessageId> {
        let place = self
            .messages
            .binary_search_by_key(&number, |(number, _)| *number)
            .ok()?;
        self.messages.get(place).map(|(_, message)| *message)
    }

    /// Numbers the conversations anew, from 1.
    pub(super) fn set_talks(&mut self, talks: impl Iterator<Item = Talk>) {
        self.talks = talks.collect();
    }

    /// The conversation of a number.
    pub(super) fn talk(&self, word: &str) -> Option<Talk> {
        let place: usize = word.parse().ok()?;
        self.talks.get(place.checked_sub(1)?).cloned()
    }

    /// A line with the number of a message, where a command has one, put as the message's id.
    pub(super) fn put_in(&self, line: &str) -> String {
        let mut parts = line.splitn(3, ' ');
        let (Some(command), Some(number)) = (parts.next(), parts.next()) else {
            return line.to_owned();
        };
        let message = number
            .trim_end()
            .parse()
            .ok()
            .and_then(|number| self.message(number));
        match message {
            Some(message) if ABOUT_MESSAGE.contains(&command) => match parts.next() {
                Some(rest) => format!("{command} {message} {rest}"),
                None => format!("{command} {message}"),
            },
            _ => line.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> ClientMessageId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        ClientMessageId::from_bytes(bytes)
    }

    #[test]
    fn a_message_keeps_its_number() {
        let mut references = References::default();
        assert_eq!(references.number(id(7)), 1);
        assert_eq!(references.number(id(8)), 2);
        assert_eq!(references.number(id(7)), 1);
        assert_eq!(references.known(&id(8)), Some(2));
        assert_eq!(references.known(&id(9)), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_no_number_is_given_twice() {
        let mut references = References::default();
        for n in 0..=u32::try_from(NUMBERS_MAX).unwrap() {
            references.number(id(n));
        }
        assert_eq!(references.message(1), None);
        assert_eq!(references.message(2), Some(id(1)));
        assert_eq!(references.put_in("/reply 1 hi"), "/reply 1 hi");
        assert!(references.number(id(0)) > 5_000);
        assert_eq!(references.by_message.len(), NUMBERS_MAX);
    }

    #[test]
    fn only_commands_about_messages_take_numbers() {
        let mut references = References::default();
        references.number(id(5));
        let digits = id(5).to_string();
        assert_eq!(
            references.put_in("/reply 1 see 1 there"),
            format!("/reply {digits} see 1 there")
        );
        assert_eq!(
            references.put_in("/delete 1\n"),
            format!("/delete {digits}")
        );
        for line in [
            "1 apple",
            "/timer 1 2",
            "/reply 2 x",
            "/reply x",
            "/reply",
            "",
        ] {
            assert_eq!(references.put_in(line), line);
        }
    }

    #[test]
    fn conversations_are_numbered_from_one() {
        let mut references = References::default();
        references.set_talks([Talk::parse("bob").unwrap()].into_iter());
        assert_eq!(references.talk("1"), Talk::parse("bob"));
        for other in ["0", "2", "bob", "", "-1"] {
            assert_eq!(references.talk(other), None);
        }
    }
}
