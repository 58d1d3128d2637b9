//! Bodies to the wire and back: the only reader of their generated types.
//!
//! It refuses what is longer, larger or more than the wire allows, in both
//! directions, so that nobody can send what nobody would read.

use sotto_protocol::wire::content::Body as Wire;
use sotto_protocol::{ClientMessageId, DeviceId, Username, limits, wire};
use zeroize::Zeroize as _;

use super::{
    Attachment, Body, ContentError, Edit, Emoji, GroupInfo, JoinLink, MessageRef, Pin, Profile,
    Reaction, Reply, Text,
};
use crate::secret::SecretBytes;

/// The longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 65_536;
/// The longest quotation in a reply, in bytes.
pub const QUOTE_BYTES_MAX: usize = 512;
/// The most accounts that one message speaks to by name.
pub const MENTIONS_MAX: usize = 64;
/// The longest timer of messages that disappear: a year, in seconds.
pub const EXPIRES_AFTER_S_MAX: u32 = 366 * 24 * 3600;
/// The longest file name, in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// The longest media type, in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;
/// The largest thumbnail, in bytes.
pub const THUMBNAIL_BYTES_MAX: usize = 16_384;
/// The longest caption of a file, in bytes.
pub const CAPTION_BYTES_MAX: usize = 4_096;
/// The longest title of a group, in bytes.
pub const TITLE_BYTES_MAX: usize = 128;
/// The longest description of a group, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// The most invite links that a group names.
pub const LINKS_MAX: usize = 32;

impl Body {
    /// The wire form, with its limits checked.
    pub(super) fn to_wire(&self) -> Result<Wire, ContentError> {
        let body = match self {
            Self::Text(text) => Wire::Text(text_to_wire(text)),
            Self::Receipt {
                delivered_up_to,
                read_up_to,
                readable_from,
            } => Wire::Receipt(wire::ReceiptBody {
                delivered_up_to: *delivered_up_to,
                read_up_to: *read_up_to,
                readable_from: *readable_from,
            }),
            Self::Edit(edit) => Wire::Edit(wire::EditBody {
                target: Some(edit.target.to_wire()),
                text: edit.text.clone(),
                mentions: names(&edit.mentions),
            }),
            Self::Delete(target) => Wire::Delete(wire::DeleteBody {
                target: Some(target.to_wire()),
            }),
            Self::Reaction(reaction) => Wire::Reaction(wire::ReactionBody {
                target: Some(reaction.target.to_wire()),
                emoji: reaction.emoji.as_str().to_owned(),
                remove: reaction.remove,
            }),
            Self::Attachment(attachment) => Wire::Attachment(attachment_to_wire(attachment)),
            Self::GroupInfo(info) => Wire::GroupInfo(wire::GroupInfoBody {
                title: info.title.clone(),
                description: info.description.clone(),
                expires_after_s: info.expires_after_s,
                links: info.links.iter().map(link_to_wire).collect(),
                revision: info.revision,
            }),
            Self::JoinLink(link) => Wire::JoinLink(link_to_wire(link)),
            Self::Timer(expires_after_s) => Wire::Timer(wire::TimerBody {
                expires_after_s: *expires_after_s,
            }),
            Self::Pin(pin) => Wire::Pin(wire::PinBody {
                target: Some(pin.target.to_wire()),
                remove: pin.remove,
            }),
            Self::Profile(profile) => Wire::Profile(wire::ProfileBody {
                display_name: profile.display_name.clone(),
                status: profile.status.clone(),
            }),
            Self::Unknown(_) => return Err(ContentError::Malformed),
        };
        check(&body)?;
        Ok(body)
    }

    /// Reads the wire form.
    pub(super) fn from_wire(body: Wire) -> Result<Self, ContentError> {
        check(&body)?;
        Ok(match body {
            Wire::Text(text) => Self::Text(text_from_wire(text)?),
            Wire::Receipt(receipt) => Self::Receipt {
                delivered_up_to: receipt.delivered_up_to,
                read_up_to: receipt.read_up_to,
                readable_from: receipt.readable_from,
            },
            Wire::Edit(edit) => Self::Edit(Edit {
                target: target(edit.target)?,
                text: edit.text,
                mentions: read_names(&edit.mentions)?,
            }),
            Wire::Delete(delete) => Self::Delete(target(delete.target)?),
            Wire::Reaction(reaction) => Self::Reaction(Reaction {
                target: target(reaction.target)?,
                emoji: Emoji::parse(&reaction.emoji).ok_or(ContentError::Malformed)?,
                remove: reaction.remove,
            }),
            Wire::Attachment(attachment) => {
                Self::Attachment(Box::new(attachment_from_wire(attachment)?))
            }
            Wire::GroupInfo(info) => Self::GroupInfo(GroupInfo {
                title: info.title,
                description: info.description,
                expires_after_s: info.expires_after_s,
                links: info
                    .links
                    .into_iter()
                    .map(link_from_wire)
                    .collect::<Result<_, _>>()?,
                revision: info.revision,
            }),
            Wire::JoinLink(link) => Self::JoinLink(link_from_wire(link)?),
            Wire::Timer(timer) => Self::Timer(timer.expires_after_s),
            Wire::Pin(pin) => Self::Pin(Pin {
                target: target(pin.target)?,
                remove: pin.remove,
            }),
            Wire::Profile(profile) => Self::Profile(Profile {
                display_name: profile.display_name,
                status: profile.status,
            }),
        })
    }
}

/// The limits, the same for writer and reader.
fn check(body: &Wire) -> Result<(), ContentError> {
    let fits = match body {
        Wire::Text(text) => {
            text.text.len() <= TEXT_BYTES_MAX
                && text.quote.len() <= QUOTE_BYTES_MAX
                && text.mentions.len() <= MENTIONS_MAX
                && text.expires_after_s <= EXPIRES_AFTER_S_MAX
        }
        Wire::Edit(edit) => {
            edit.text.len() <= TEXT_BYTES_MAX && edit.mentions.len() <= MENTIONS_MAX
        }
        Wire::Attachment(attachment) => {
            attachment.name.len() <= FILE_NAME_BYTES_MAX
                && attachment.media_type.len() <= MEDIA_TYPE_BYTES_MAX
                && attachment.thumbnail.len() <= THUMBNAIL_BYTES_MAX
                && attachment.caption.len() <= CAPTION_BYTES_MAX
                && attachment.expires_after_s <= EXPIRES_AFTER_S_MAX
                && attachment.size <= attachment.sealed_size
        }
        Wire::GroupInfo(info) => {
            info.title.len() <= TITLE_BYTES_MAX
                && info.description.len() <= DESCRIPTION_BYTES_MAX
                && info.expires_after_s <= EXPIRES_AFTER_S_MAX
                && info.links.len() <= LINKS_MAX
        }
        Wire::Timer(timer) => timer.expires_after_s <= EXPIRES_AFTER_S_MAX,
        Wire::Profile(profile) => {
            profile.display_name.len() <= limits::DISPLAY_NAME_BYTES_MAX
                && profile.status.len() <= limits::STATUS_BYTES_MAX
        }
        Wire::Receipt(_)
        | Wire::Delete(_)
        | Wire::Reaction(_)
        | Wire::JoinLink(_)
        | Wire::Pin(_) => true,
    };
    if fits {
        Ok(())
    } else {
        Err(ContentError::TooLarge)
    }
}

impl MessageRef {
    fn to_wire(self) -> wire::MessageRef {
        wire::MessageRef {
            device_id: self.device.to_vec(),
            client_id: self.id.to_vec(),
        }
    }

    fn from_wire(reference: &wire::MessageRef) -> Result<Self, ContentError> {
        Ok(Self {
            device: DeviceId::from_slice(&reference.device_id)
                .map_err(|_| ContentError::Malformed)?,
            id: ClientMessageId::from_slice(&reference.client_id)
                .map_err(|_| ContentError::Malformed)?,
        })
    }
}

fn target(reference: Option<wire::MessageRef>) -> Result<MessageRef, ContentError> {
    MessageRef::from_wire(&reference.ok_or(ContentError::Malformed)?)
}

fn maybe_target(reference: Option<&wire::MessageRef>) -> Result<Option<MessageRef>, ContentError> {
    reference.map(MessageRef::from_wire).transpose()
}

fn names(names: &[Username]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn read_names(names: &[String]) -> Result<Vec<Username>, ContentError> {
    names
        .iter()
        .map(|name| Username::parse(name).map_err(|_| ContentError::Malformed))
        .collect()
}

fn bytes<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ContentError> {
    bytes.try_into().map_err(|_| ContentError::Malformed)
}

fn secret(bytes: &mut Vec<u8>) -> Result<SecretBytes<32>, ContentError> {
    let secret = SecretBytes::from_slice(bytes);
    bytes.zeroize();
    secret.ok_or(ContentError::Malformed)
}

fn text_to_wire(text: &Text) -> wire::TextBody {
    let (reply_to, quote) = match &text.reply {
        Some(reply) => (Some(reply.to.to_wire()), reply.quote.clone()),
        None => (None, String::new()),
    };
    wire::TextBody {
        text: text.text.clone(),
        reply_to,
        quote,
        mentions: names(&text.mentions),
        forwarded: text.forwarded,
        expires_after_s: text.expires_after_s,
    }
}

fn text_from_wire(text: wire::TextBody) -> Result<Text, ContentError> {
    let quote = text.quote;
    Ok(Text {
        reply: maybe_target(text.reply_to.as_ref())?.map(|to| Reply { to, quote }),
        mentions: read_names(&text.mentions)?,
        text: text.text,
        forwarded: text.forwarded,
        expires_after_s: text.expires_after_s,
    })
}

fn attachment_to_wire(attachment: &Attachment) -> wire::AttachmentBody {
    wire::AttachmentBody {
        blob_id: attachment.blob_id.to_vec(),
        key: attachment.key.expose().to_vec(),
        sealed_size: attachment.sealed_size,
        size: attachment.size,
        plain_hash: attachment.plain_hash.to_vec(),
        sealed_hash: attachment.sealed_hash.to_vec(),
        name: attachment.name.clone(),
        media_type: attachment.media_type.clone(),
        thumbnail: attachment.thumbnail.clone(),
        width: attachment.width,
        height: attachment.height,
        caption: attachment.caption.clone(),
        reply_to: attachment.reply_to.map(MessageRef::to_wire),
        expires_after_s: attachment.expires_after_s,
        forwarded: attachment.forwarded,
    }
}

fn attachment_from_wire(mut wire: wire::AttachmentBody) -> Result<Attachment, ContentError> {
    let key = secret(&mut wire.key)?;
    let printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if !wire.media_type.bytes().all(printable) {
        return Err(ContentError::Malformed);
    }
    Ok(Attachment {
        blob_id: bytes(&wire.blob_id)?,
        key,
        sealed_size: wire.sealed_size,
        size: wire.size,
        plain_hash: bytes(&wire.plain_hash)?,
        sealed_hash: bytes(&wire.sealed_hash)?,
        name: wire.name,
        media_type: wire.media_type,
        thumbnail: wire.thumbnail,
        width: wire.width,
        height: wire.height,
        caption: wire.caption,
        reply_to: maybe_target(wire.reply_to.as_ref())?,
        expires_after_s: wire.expires_after_s,
        forwarded: wire.forwarded,
    })
}

fn link_to_wire(link: &JoinLink) -> wire::JoinLinkBody {
    wire::JoinLinkBody {
        link_id: link.link_id.to_vec(),
        secret: link.secret.expose().to_vec(),
        expires_at_ms: link.expires_at_ms,
        approval: link.approval,
        revoked: link.revoked,
    }
}

fn link_from_wire(mut link: wire::JoinLinkBody) -> Result<JoinLink, ContentError> {
    let secret = secret(&mut link.secret)?;
    Ok(JoinLink {
        link_id: bytes(&link.link_id)?,
        secret,
        expires_at_ms: link.expires_at_ms,
        approval: link.approval,
        revoked: link.revoked,
    })
}
