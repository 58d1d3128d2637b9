//! Invite links of groups as people pass them on:
//! `sotto:join/GROUP/LINK/SECRET/CHECK`. Whoever holds one may ask to be let in. A slip in it is
//! seen by its check, before anybody is asked; links that were made without one are understood.
//!
//! It reads and writes the text, and decides nothing. A link says nothing about
//! who made it, and opens nothing by itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sotto_crypto::SecretBytes;
use sotto_crypto::join_proof::link_check;
use sotto_protocol::{ClientMessageId, ConversationId};
use zeroize::Zeroizing;

/// What every link begins with.
pub const PREFIX: &str = "sotto:join/";
/// What tells such a link from an address.
pub(crate) const SCHEME: &str = "sotto:";

/// Where the deployment of a link is, if whoever passed it on wrote that behind it:
/// `?server=HOST:PORT`.
pub(crate) fn server_of(text: &str) -> Option<&str> {
    let (_, told) = text.trim().split_once('?')?;
    let mut told = told.split('&');
    told.find_map(|part| part.strip_prefix("server="))
        .filter(|server| !server.is_empty())
}

/// A link.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteLink {
    /// The group that it leads to.
    pub conversation: ConversationId,
    /// Names the link.
    pub id: [u8; 16],
    /// What its holder proves to know.
    pub secret: SecretBytes<32>,
}

impl InviteLink {
    /// Reads what [`Self::text`] writes, with anything after `?` left aside;
    /// `None` for everything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix(PREFIX)?;
        let rest = rest.split_once('?').map_or(rest, |(link, _)| link);
        let mut parts = rest.split('/');
        let (conversation, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).ok()?);
        let check = parts.next();
        let link = Self {
            conversation: ConversationId::from_hex(conversation)?,
            id: link_id(id)?,
            secret: SecretBytes::from_slice(&bytes)?,
        };
        let right = check.is_none_or(|check| check == link.check());
        (right && parts.next().is_none()).then_some(link)
    }

    fn check(&self) -> String {
        let check = link_check(&self.conversation, &self.id, &self.secret);
        URL_SAFE_NO_PAD.encode(check)
    }

    /// The link as text. It holds the secret: for who may come in.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{PREFIX}{}/{}/{}/{}",
            self.conversation,
            self.id_text(),
            URL_SAFE_NO_PAD.encode(self.secret.expose()),
            self.check()
        )
    }

    /// Its id in hexadecimal, as lists of links show it.
    #[must_use]
    pub fn id_text(&self) -> String {
        id_text(&self.id)
    }
}

/// A link's id in hexadecimal.
#[must_use]
pub fn id_text(id: &[u8; 16]) -> String {
    ClientMessageId::from_bytes(*id).to_string()
}

/// A link's id out of its hexadecimal form.
#[must_use]
pub fn link_id(text: &str) -> Option<[u8; 16]> {
    ClientMessageId::from_hex(text).map(|id| *id.as_bytes())
}

/// Without the secret.
impl fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteLink({})", self.id_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> InviteLink {
        InviteLink {
            conversation: ConversationId::from_bytes([0xab; 16]),
            id: [0x01; 16],
            secret: SecretBytes::from_slice(&[0xff; 32]).unwrap(),
        }
    }

    #[test]
    fn a_link_is_read_as_it_was_written() {
        let text = link().text();
        assert_eq!(
            text,
            format!(
                "sotto:join/{}/{}/{}8/{}",
                "ab".repeat(16),
                "01".repeat(16),
                "_".repeat(42),
                link().check()
            )
        );
        let (without, _) = text.rsplit_once('/').unwrap();
        assert_eq!(
            InviteLink::parse(without),
            Some(link()),
            "as they were made once"
        );
        assert_eq!(InviteLink::parse(&text), Some(link()));
        assert_eq!(InviteLink::parse(&format!(" {text}\n")), Some(link()));
        let told = format!("{text}?server=chat.example:7443");
        assert_eq!(InviteLink::parse(&told), Some(link()));
        assert_eq!(server_of(&told), Some("chat.example:7443"));
        assert_eq!(server_of(&format!("{text}?server=")), None);
        assert_eq!(server_of(&text), None);
    }

    #[test]
    fn nothing_else_is_a_link() {
        let text = link().text();
        let without_check = text.rfind('/').unwrap();
        for end in (0..text.len()).filter(|end| *end != without_check) {
            assert!(InviteLink::parse(&text[..end]).is_none(), "{end}");
        }
        for bad in [
            text.replace("sotto:", "http:"),
            text.replacen('a', "g", 1),
            format!("{text}/"),
            format!("{text}A"),
            text.replace("01", ""),
            text.replace("ab", "é"),
            "#abababab".to_owned(),
            String::new(),
        ] {
            assert!(InviteLink::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_mistyped_link_is_none() {
        let text = link().text();
        for (place, typed) in text.char_indices().skip(PREFIX.len()) {
            let other = if typed == '0' { "1" } else { "0" };
            let mut bad = text.clone();
            bad.replace_range(place..=place, other);
            assert!(InviteLink::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn its_secret_is_not_shown_by_accident() {
        assert!(!format!("{:?}", link()).contains("____"));
    }
}
