//! Account names: lower-case ASCII only, so that two names that look alike
//! across scripts cannot exist, and a skeleton that finds look-alikes within
//! ASCII ("rn" for "m").

use std::fmt;

use crate::limits::{USERNAME_BYTES_MAX, USERNAME_BYTES_MIN};

/// A valid account name: 3 to 32 of `a-z 0-9 _ . -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(String);

/// Text that is not an account name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 3 to 32 characters of a-z, 0-9, '_', '.' and '-'")]
pub struct UsernameError;

impl Username {
    /// Reads a name exactly as given: nothing is folded or trimmed.
    ///
    /// # Errors
    /// When the length or a character is not allowed.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        if (USERNAME_BYTES_MIN..=USERNAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(UsernameError)
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the name looks like (UTS 39 skeleton with separators removed):
    /// two accounts of one skeleton cannot both exist. UTS 39 takes a zero for a
    /// capital O; names have none, so beside them it passes for a small one.
    #[must_use]
    pub fn skeleton(&self) -> String {
        unicode_security::skeleton(&self.0)
            .filter(|character| !matches!(character, '_' | '.' | '-'))
            .map(|character| if character == 'O' { 'o' } else { character })
            .collect()
    }
}

/// The name itself is not shown: logs tell events, not people.
impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Username(…)")
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_documented_alphabet_only() {
        for good in ["bob", "a_b", "x.y-z", "0123456789", &"a".repeat(32)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Bob",
            "bob ",
            " bob",
            "b\u{43e}b",
            "bob\n",
            "bob\0x",
            "böb",
            "ｂｏｂ",
            "a\u{200d}bc",
            &"a".repeat(33),
        ] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn look_alikes_share_a_skeleton() {
        let skeleton = |name| Username::parse(name).unwrap().skeleton();
        assert_eq!(skeleton("modern"), skeleton("modem"));
        assert_eq!(skeleton("paul"), skeleton("pau1"));
        assert_eq!(skeleton("a.lice"), skeleton("alice"));
        assert_ne!(skeleton("alice"), skeleton("bob"));
    }
}
