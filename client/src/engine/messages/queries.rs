//! Stored messages as interfaces show them, and finding them again.

use sotto_crypto::Body;
use sotto_crypto::content::MessageRef;
use sotto_protocol::ConversationId;

use super::api::{Details, Hit, Mute, NotSent, Reactions, ReplyTo};
use crate::engine::api::{Direction, Keep, Message, MessageBody};
use crate::engine::outbox::read_body;
use crate::engine::{Engine, EngineError};
use crate::history::{ConversationRow, Fate, MessageRow, OutboxRow, Query, Unread};
use crate::talk::Talk;

/// Messages that a short name may stand for; more are not told apart anyway.
const NAMED_MAX: u32 = 20;
/// The most hits of one search.
const HITS_MAX: u32 = 1_000;
/// Hits looked at where one talk is searched.
const LOOKED_AT_MAX: u32 = 100_000;
/// Characters of a snippet before and after what was found.
const BEFORE_CHARS: usize = 40;
const AFTER_CHARS: usize = 120;

impl Engine {
    /// A stored message with everything that there is to it.
    pub(in crate::engine) fn to_message(
        &self,
        conversation: &ConversationRow,
        row: MessageRow,
    ) -> Result<Message, EngineError> {
        let details = self.details(conversation, &row)?;
        let body = match (row.fate, row.body) {
            (Fate::Deleted | Fate::Expired, _) => MessageBody::Deleted,
            (Fate::There, Body::Text(text)) => MessageBody::Text(text.text),
            (Fate::There, Body::Attachment(file)) => MessageBody::Attachment(file),
            (Fate::There, _) => MessageBody::Unknown,
        };
        Ok(Message {
            conversation: row.conversation,
            talk: conversation.talk.clone(),
            title: conversation.title.clone(),
            id: row.client_id,
            seq: row.seq,
            sender: row.sender,
            device: row.device,
            epoch: row.epoch,
            direction: row.direction,
            body,
            details: Box::new(details),
            sent_at_ms: row.sent_at_ms,
            stored_at_ms: row.stored_at_ms,
        })
    }

    fn details(
        &self,
        conversation: &ConversationRow,
        row: &MessageRow,
    ) -> Result<Details, EngineError> {
        let (keep, reference) = (conversation.keep, row.reference());
        let mut details = self.own_details(conversation, &row.body)?;
        if row.fate != Fate::There {
            return Ok(details);
        }
        details.edited = row.edited_seq > 0;
        details.expires_at_ms = row.expires_at_ms;
        details.pinned = self
            .store()
            .is_pinned(keep, &row.conversation, &reference)?;
        for reaction in self
            .store()
            .reactions(keep, &row.conversation, &reference)?
        {
            let same = |known: &&mut Reactions| known.emoji == reaction.emoji;
            match details.reactions.iter_mut().find(same) {
                Some(known) => known.by.push(reaction.account),
                None => details.reactions.push(Reactions {
                    emoji: reaction.emoji,
                    by: vec![reaction.account],
                }),
            }
        }
        match row.direction {
            Direction::Outgoing => {
                let reached = self.store().reached(keep, &row.conversation, row.seq)?;
                details.delivered_to = reached.delivered_to;
                details.read_by = reached.read_by;
            }
            Direction::Incoming => {
                details.notify = match self.mute_of(&conversation.talk)? {
                    None => true,
                    Some(Mute::MentionsOnly) => row.mentions_me,
                    Some(Mute::Until(_)) => false,
                };
            }
        }
        Ok(details)
    }

    /// What the body itself says.
    fn own_details(
        &self,
        conversation: &ConversationRow,
        body: &Body,
    ) -> Result<Details, EngineError> {
        Ok(match body {
            Body::Text(text) => Details {
                reply: match &text.reply {
                    Some(reply) => Some(self.reply_to(conversation, reply.to, &reply.quote)?),
                    None => None,
                },
                forwarded: text.forwarded,
                mentions: text.mentions.clone(),
                expires_after_s: text.expires_after_s,
                ..Details::default()
            },
            Body::Attachment(file) => Details {
                reply: match file.reply_to {
                    Some(to) => Some(self.reply_to(conversation, to, "")?),
                    None => None,
                },
                forwarded: file.forwarded,
                expires_after_s: file.expires_after_s,
                ..Details::default()
            },
            _ => Details::default(),
        })
    }

    fn reply_to(
        &self,
        conversation: &ConversationRow,
        message: MessageRef,
        claimed: &str,
    ) -> Result<ReplyTo, EngineError> {
        let found = self
            .store()
            .message(conversation.keep, &conversation.id, &message)?;
        Ok(match found {
            Some(row) => ReplyTo {
                message,
                quote: match row.body {
                    Body::Text(text) => Some(text.text),
                    Body::Attachment(file) => Some(file.name),
                    _ => None,
                },
                sender: Some(row.sender),
            },
            None => ReplyTo {
                message,
                sender: None,
                quote: (!claimed.is_empty()).then(|| claimed.to_owned()),
            },
        })
    }

    /// A message that waits to be sent, if it is one to show.
    pub(in crate::engine) fn queued_as_message(
        &self,
        conversation: Option<&ConversationRow>,
        row: OutboxRow,
    ) -> Result<Option<Message>, EngineError> {
        let me = self.profile.device().certificate();
        let read = read_body(&row);
        let mut details = match conversation {
            Some(conversation) => self.own_details(conversation, &read)?,
            None => Details::default(),
        };
        details.not_sent = row.refused.map(|why| NotSent {
            code: why.code,
            message: why.message,
        });
        let body = match read {
            Body::Text(text) => MessageBody::Text(text.text),
            Body::Attachment(file) => MessageBody::Attachment(file),
            _ => return Ok(None),
        };
        Ok(Some(Message {
            conversation: conversation.map_or(ConversationId::from_bytes([0; 16]), |row| row.id),
            talk: row.talk,
            title: conversation.and_then(|row| row.title.clone()),
            id: row.client_id,
            seq: 0,
            sender: me.username().clone(),
            device: *me.device_id(),
            epoch: 0,
            direction: Direction::Outgoing,
            body,
            details: Box::new(details),
            sent_at_ms: row.created_at_ms,
            stored_at_ms: 0,
        }))
    }

    /// Talks in which something is queued or was given up, each once.
    pub(in crate::engine) fn talks_with_unstored(&self) -> Result<Vec<Talk>, EngineError> {
        let mut talks = self.store().awaited_talks()?;
        for talk in self.store().talks_with_unsent()? {
            if !talks.contains(&talk) {
                talks.push(talk);
            }
        }
        Ok(talks)
    }

    /// Messages of any conversation whose id begins with these hexadecimal
    /// digits (4 to 32), queued and unsent ones too; at most 40.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn messages_named(&self, digits: &str) -> Result<Vec<Message>, EngineError> {
        let Some((low, high)) = bounds_of(digits) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (_, row) in self.store().messages_between(&low, &high, NAMED_MAX)? {
            if let Some(conversation) = self.store().conversation(&row.conversation)? {
                found.push(self.to_message(&conversation, row)?);
            }
        }
        for talk in self.talks_with_unstored()? {
            let conversation = self.store().conversation_with(&talk)?;
            let unsent = self.store().unsent_for(&talk)?;
            for row in self.store().queued_for(&talk)?.into_iter().chain(unsent) {
                let id = *row.client_id.as_bytes();
                if (low..=high).contains(&id) {
                    found.extend(self.queued_as_message(conversation.as_ref(), row)?);
                }
            }
        }
        Ok(found)
    }

    /// The message at a place in a talk's log.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn message_at(&self, talk: &Talk, seq: u64) -> Result<Option<Message>, EngineError> {
        let Some(row) = self.store().conversation_with(talk)? else {
            return Ok(None);
        };
        let found = self.store().message_at(row.keep, &row.id, seq)?;
        found.map(|found| self.to_message(&row, found)).transpose()
    }

    /// Messages of a talk after a place in its log, oldest first, at most
    /// `limit`: page by page the whole conversation.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn messages_after(
        &self,
        talk: &Talk,
        seq: u64,
        limit: u32,
    ) -> Result<Vec<Message>, EngineError> {
        let Some(row) = self.store().conversation_with(talk)? else {
            return Ok(Vec::new());
        };
        self.store()
            .messages_after(row.keep, &row.id, seq, limit)?
            .into_iter()
            .map(|message| self.to_message(&row, message))
            .collect()
    }

    /// Messages that a query finds, the newest first, at most `limit` (1,000):
    /// all its words, by their beginnings; what stands in quotation marks as it
    /// stands there.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn search(
        &self,
        text: &str,
        talk: Option<&Talk>,
        limit: u32,
    ) -> Result<Vec<Hit>, EngineError> {
        let query = Query::read(text);
        let limit = limit.min(HITS_MAX);
        let looked_at = if talk.is_some() { LOOKED_AT_MAX } else { limit };
        let mut hits = Vec::new();
        for (_, row) in self.store().search(&query, looked_at)? {
            if hits.len() >= limit as usize {
                break;
            }
            let Some(conversation) = self.store().conversation(&row.conversation)? else {
                continue;
            };
            if talk.is_some_and(|talk| *talk != conversation.talk) {
                continue;
            }
            let snippet = match &row.body {
                Body::Text(text) => snippet(&text.text, &query.terms),
                Body::Attachment(file) => {
                    snippet(&format!("{} {}", file.name, file.caption), &query.terms)
                }
                _ => String::new(),
            };
            hits.push(Hit {
                message: self.to_message(&conversation, row)?,
                snippet,
            });
        }
        Ok(hits)
    }

    /// What was begun in a talk and not sent.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn draft(&self, talk: &Talk) -> Result<Option<String>, EngineError> {
        Ok(self.store().draft(talk)?)
    }

    /// All drafts, the latest first.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn drafts(&self) -> Result<Vec<(Talk, String)>, EngineError> {
        Ok(self.store().drafts()?)
    }

    /// How silent a talk is now.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn mute_of(&self, talk: &Talk) -> Result<Option<Mute>, EngineError> {
        Ok(self.store().mute(talk, self.now.unix_ms)?)
    }

    /// How much of a conversation was not shown yet, and its timer in seconds.
    pub(in crate::engine) fn unread_and_timer(
        &self,
        row: &ConversationRow,
    ) -> Result<(Unread, u32), EngineError> {
        Ok((
            self.store().unread(row.keep, &row.id)?,
            self.store().timer(row.keep, &row.id)?,
        ))
    }

    /// Where messages of a talk lie.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn keep_of(&self, talk: &Talk) -> Result<Keep, EngineError> {
        let row = self.store().conversation_with(talk)?;
        Ok(row.map_or(Keep::Saved, |row| row.keep))
    }
}

/// The least and the greatest id that begin with some hexadecimal digits.
fn bounds_of(digits: &str) -> Option<([u8; 16], [u8; 16])> {
    let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex || !(4..=32).contains(&digits.len()) {
        return None;
    }
    let filled = |with: char| {
        let mut text = digits.to_owned();
        text.extend(std::iter::repeat_n(with, 32 - digits.len()));
        let id = sotto_protocol::ClientMessageId::from_hex(&text)?;
        Some(*id.as_bytes())
    };
    Some((filled('0')?, filled('f')?))
}

/// The part of a text around the first of the words that is found in it.
fn snippet(text: &str, terms: &[String]) -> String {
    let characters: Vec<char> = text.chars().collect();
    let first_words: Vec<&str> = terms
        .iter()
        .filter_map(|term| term.split(' ').next())
        .collect();
    let place = (0..characters.len())
        .find(|place| {
            let rest = characters.get(*place..).unwrap_or_default();
            let before = place.checked_sub(1).and_then(|at| characters.get(at));
            let inside = before.is_some_and(|c| c.is_alphanumeric() && c.is_ascii());
            !inside && first_words.iter().any(|word| begins_with(rest, word))
        })
        .unwrap_or(0);
    let start = place.saturating_sub(BEFORE_CHARS);
    let end = (place + AFTER_CHARS).min(characters.len());
    let mut snippet = String::new();
    if start > 0 {
        snippet.push('…');
    }
    snippet.extend(characters.get(start..end).unwrap_or_default());
    if end < characters.len() {
        snippet.push('…');
    }
    snippet
}

fn begins_with(text: &[char], word: &str) -> bool {
    let mut folded = text.iter().flat_map(|c| c.to_lowercase());
    word.chars()
        .flat_map(char::to_lowercase)
        .all(|wanted| folded.next() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_shows_what_was_found() {
        let long = format!("{} the Needle {}", "hay ".repeat(50), "straw ".repeat(50));
        let found = snippet(&long, &["needle".to_owned()]);
        assert!(found.contains("the Needle straw"), "{found}");
        assert!(found.starts_with('…') && found.ends_with('…'));
        assert_eq!(snippet("short", &["absent".to_owned()]), "short");
        assert_eq!(snippet("", &[]), "");
    }

    #[test]
    fn a_short_name_has_bounds() {
        let (low, high) = bounds_of("ab12").unwrap();
        assert_eq!((low[0], low[1], low[2]), (0xab, 0x12, 0));
        assert_eq!((high[1], high[15]), (0x12, 0xff));
        assert!(bounds_of("abc").is_none());
        assert!(bounds_of("zzzz").is_none());
        assert!(bounds_of(&"a".repeat(33)).is_none());
        assert!(bounds_of("+123").is_none());
    }
}
