//! With whom one talks: a person, or a group or room. The key under which the
//! engine and the store keep what belongs to a conversation.
//!
//! It names, and decides nothing. A title never names a talk: titles are not
//! unique and change.

use std::fmt;

use sotto_protocol::{ConversationId, Username};

/// One side of a conversation as seen from here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Talk {
    /// The conversation of two with this person.
    Person(Username),
    /// A group or room.
    Group(ConversationId),
}

impl Talk {
    /// Reads what [`fmt::Display`] writes: a name, or `#` and 32 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('#') {
            Some(digits) => conversation(digits).map(Self::Group),
            None => Username::parse(text).ok().map(Self::Person),
        }
    }

    /// The other person, in a conversation of two.
    #[must_use]
    pub const fn person(&self) -> Option<&Username> {
        match self {
            Self::Person(name) => Some(name),
            Self::Group(_) => None,
        }
    }

    /// The group, in a group or room.
    #[must_use]
    pub const fn group(&self) -> Option<&ConversationId> {
        match self {
            Self::Person(_) => None,
            Self::Group(id) => Some(id),
        }
    }

    /// How people and scripts write it: the name, `#title`, or where no title
    /// is known `#id`. A title is foreign text.
    #[must_use]
    pub fn label(&self, title: Option<&str>) -> String {
        match (self, title) {
            (Self::Group(_), Some(title)) => format!("#{title}"),
            _ => self.to_string(),
        }
    }
}

/// 32 hex digits as an id.
fn conversation(digits: &str) -> Option<ConversationId> {
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(ConversationId::from_bytes(id))
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "{name}"),
            Self::Group(id) => write!(f, "#{id}"),
        }
    }
}

impl From<Username> for Talk {
    fn from(name: Username) -> Self {
        Self::Person(name)
    }
}

impl From<&Username> for Talk {
    fn from(name: &Username) -> Self {
        Self::Person(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["bob", "#000102030405060708090a0b0c0d0e0f"] {
            assert_eq!(Talk::parse(text).unwrap().to_string(), text);
        }
        let upper = Talk::parse("#000102030405060708090A0B0C0D0E0F").unwrap();
        assert_eq!(upper.to_string(), "#000102030405060708090a0b0c0d0e0f");
        for bad in [
            "",
            "#",
            "#team",
            "#00",
            "Bob",
            "#+0010203040506070809 a0b0c0d0e0f",
        ] {
            assert_eq!(Talk::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_group_is_called_by_its_title() {
        let group = Talk::Group(ConversationId::from_bytes([7; 16]));
        assert_eq!(group.label(Some("team")), "#team");
        assert_eq!(group.label(None), format!("#{}", "07".repeat(16)));
        let bob = Talk::parse("bob").unwrap();
        assert_eq!(bob.label(Some("team")), "bob");
    }
}
