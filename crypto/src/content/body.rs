//! What a message can say: plain data, checked where it is read.
//!
//! It refuses nothing itself: [`super::wire_form`] reads and writes these
//! types and holds their limits.

use sotto_protocol::{ClientMessageId, DeviceId, Username};

use super::Emoji;
use crate::secret::SecretBytes;

/// The kinds of messages.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// Written text.
    Text(Text),
    /// Person-to-person receipt.
    Receipt {
        /// Everything up to this seq reached the sender's device.
        delivered_up_to: u64,
        /// Everything up to this seq was shown to the person.
        read_up_to: u64,
        /// Of what was never told before, nothing is said of what lies before this seq; 0 where
        /// there is nothing of the kind.
        readable_from: u64,
    },
    /// An earlier message of the sender says this now.
    Edit(Edit),
    /// This message is taken back for everyone.
    Delete(MessageRef),
    /// A reaction to a message, or its end.
    Reaction(Reaction),
    /// A file or image.
    Attachment(Box<Attachment>),
    /// Title, description, timer and links of a group, whole.
    GroupInfo(GroupInfo),
    /// An invite link.
    JoinLink(JoinLink),
    /// The conversation's timer: seconds after reading at which messages from
    /// here on are deleted; 0 for never.
    Timer(u32),
    /// A message is pinned or unpinned.
    Pin(Pin),
    /// Name and status of the sender, for contacts.
    Profile(Profile),
    /// A kind that a newer version knows: the whole plaintext without padding.
    Unknown(Vec<u8>),
}

impl Body {
    /// A text and nothing else.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Text {
            text: text.into(),
            ..Text::default()
        })
    }

    /// What kind it is, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Receipt { .. } => "receipt",
            Self::Edit(_) => "edit",
            Self::Delete(_) => "delete",
            Self::Reaction(_) => "reaction",
            Self::Attachment(_) => "attachment",
            Self::GroupInfo(_) => "group_info",
            Self::JoinLink(_) => "join_link",
            Self::Timer(_) => "timer",
            Self::Pin(_) => "pin",
            Self::Profile(_) => "profile",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The kind only: what people write is not for logs.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({})", self.kind())
    }
}

/// What people write stays out of logs, also piece by piece.
macro_rules! debug_shows_the_type_only {
    ($($type:ident),*) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($type), "(…)"))
            }
        }
    )*};
}

debug_shows_the_type_only!(
    Reply, Text, Edit, Reaction, Attachment, GroupInfo, JoinLink, Profile
);

/// Names a message of the same conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// The device that sent it.
    pub device: DeviceId,
    /// Its id of the message.
    pub id: ClientMessageId,
}

/// What a message answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The message that it answers.
    pub to: MessageRef,
    /// What of it is quoted, a claim of the sender; at most 512 bytes.
    pub quote: String,
}

/// Written text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// At most 65,536 bytes.
    pub text: String,
    /// The message that this answers.
    pub reply: Option<Reply>,
    /// Accounts that are spoken to by name; at most 64.
    pub mentions: Vec<Username>,
    /// Whether it was written elsewhere and passed on.
    pub forwarded: bool,
    /// Seconds after reading at which every device deletes it; 0 for never; at most a year.
    pub expires_after_s: u32,
}

/// A new text for an own message.
#[derive(Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which.
    pub target: MessageRef,
    /// At most 65,536 bytes.
    pub text: String,
    /// At most 64.
    pub mentions: Vec<Username>,
}

/// A reaction, or its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Reaction {
    /// To which message.
    pub target: MessageRef,
    /// With what.
    pub emoji: Emoji,
    /// Whether it is taken back.
    pub remove: bool,
}

/// A sealed file.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it lies.
    pub blob_id: [u8; 16],
    /// The key of this file alone.
    pub key: SecretBytes<32>,
    /// Size of the sealed blob with its padding, in bytes.
    pub sealed_size: u64,
    /// Size of the file, in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub plain_hash: [u8; 32],
    /// SHA-256 of the sealed blob.
    pub sealed_hash: [u8; 32],
    /// A claim, to be cleaned before use; at most 255 bytes.
    pub name: String,
    /// A claim, to be checked against the bytes; at most 127 bytes of printable ASCII.
    pub media_type: String,
    /// A small picture of it, claimed to be JPEG or PNG; at most 16,384 bytes.
    pub thumbnail: Vec<u8>,
    /// Pixels, for images; a claim.
    pub width: u32,
    /// Pixels, for images; a claim.
    pub height: u32,
    /// At most 4,096 bytes.
    pub caption: String,
    /// The message that this answers.
    pub reply_to: Option<MessageRef>,
    /// As in [`Text`].
    pub expires_after_s: u32,
    /// As in [`Text`].
    pub forwarded: bool,
}

/// What is sealed of a group and not said in its policy.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct GroupInfo {
    /// At most 128 bytes.
    pub title: String,
    /// At most 1,024 bytes.
    pub description: String,
    /// The group's timer, as in [`Body::Timer`].
    pub expires_after_s: u32,
    /// Links that still count; at most 32.
    pub links: Vec<JoinLink>,
    /// When title or description were changed; milliseconds since 1970 UTC, or one more than what
    /// was there. The greatest counts.
    pub revision: u64,
}

/// An invite link.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinLink {
    /// Names it.
    pub link_id: [u8; 16],
    /// What the proof of a request to join is made with.
    pub secret: SecretBytes<32>,
    /// Until when it counts, in milliseconds since 1970 UTC.
    pub expires_at_ms: u64,
    /// Whether an admin must agree to each use.
    pub approval: bool,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Pins a message, or unpins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Which.
    pub target: MessageRef,
    /// Whether the pin is taken off.
    pub remove: bool,
}

/// What a person shows to contacts.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// At most 64 bytes; empty for none.
    pub display_name: String,
    /// At most 256 bytes; empty for none.
    pub status: String,
}
