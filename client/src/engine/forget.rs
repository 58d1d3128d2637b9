//! Taking off this device what a person no longer wants to see: a group that
//! one is out of, everything said with somebody. And the server's copy of files
//! whose messages were taken back.
//!
//! Nobody is told. A pinned identity, a block, and the keys of a conversation
//! of two stay: forgetting somebody must not let another pass for them, nor
//! lose what they write next.

use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{BlobId, ConversationId, ErrorCode, Username, wire};

use super::api::{CommandId, Event, Failure};
use super::commands::refusal;
use super::flight::{Purpose, Room};
use super::{Engine, EngineError};
use crate::history::{ConversationState, Fate, Relation};
use crate::talk::Talk;

/// Messages that are emptied at a time.
const PAGE: u32 = 500;

impl Engine {
    pub(super) fn forget(&mut self, id: CommandId, talk: &Talk) -> Result<(), EngineError> {
        let refused = match talk {
            Talk::Group(group) => self.forget_group(talk, group)?,
            Talk::Person(name) => self.forget_person(talk, name)?,
        };
        match refused {
            Some(failure) => self.emit(Event::Failed {
                command: Some(id),
                failure,
            }),
            None => self.done(id),
        }
        Ok(())
    }

    fn forget_group(
        &mut self,
        talk: &Talk,
        group: &ConversationId,
    ) -> Result<Option<Failure>, EngineError> {
        let Some(row) = self.store().conversation(group)? else {
            return Ok(Some(refusal("not_found", "no such group is known here")));
        };
        if row.state != ConversationState::Ended {
            let hint = format!("you are in this group still; `group leave {talk}` first");
            return Ok(Some(refusal(ErrorCode::NotAllowed.name(), &hint)));
        }
        self.delete_group(&row)?;
        self.store().forget_unsaved(group)?;
        self.store().delete_conversation(group)?;
        self.store().forget_talk(talk)?;
        self.jobs.remove(talk);
        self.work.remove(talk);
        Ok(None)
    }

    fn forget_person(
        &mut self,
        talk: &Talk,
        name: &Username,
    ) -> Result<Option<Failure>, EngineError> {
        let row = self.store().conversation_with(talk)?;
        let unsent = self.store().unsent_for(talk)?;
        let Some(mut person) = self.store().peer(name)? else {
            if unsent.is_empty() {
                return Ok(Some(refusal(
                    "not_found",
                    "nobody of this name is known here",
                )));
            }
            self.store().forget_talk(talk)?;
            return Ok(None);
        };
        if !self.store().queued_for(talk)?.is_empty() {
            let hint =
                format!("messages to {name} wait to be sent; connect, or `delete` them first");
            return Ok(Some(refusal(ErrorCode::NotAllowed.name(), &hint)));
        }
        if let Some(row) = row {
            let mut after = 0;
            loop {
                let page = self
                    .store()
                    .messages_after(row.keep, &row.id, after, PAGE)?;
                let Some(last) = page.last() else { break };
                after = last.seq;
                for message in page {
                    // An empty row stays, by which a repetition is known.
                    self.store()
                        .empty_message(row.keep, &message, Fate::Expired)?;
                }
            }
        }
        self.store().forget_talk(talk)?;
        self.store().forget_contact(talk)?;
        if person.relation == Relation::Contact {
            person.relation = Relation::Known;
            self.store().put_peer(&person)?;
        }
        Ok(None)
    }

    /// Whether a conversation of two is to be listed where nothing is in it: not after its person
    /// was forgotten, until something is written.
    pub(super) fn is_forgotten(&self, talk: &Talk) -> Result<bool, EngineError> {
        Ok(match talk {
            Talk::Person(name) => self.person(name)?.relation != Relation::Contact,
            Talk::Group(_) => false,
        })
    }

    /// Asks the server to delete files whose messages were taken back, each once in a session;
    /// one that another message holds here stays.
    pub(super) fn drop_blobs(&mut self) -> Result<(), EngineError> {
        for blob in self.store().blobs_due()? {
            if self.store().needs_blob(&blob)? {
                self.store().remove_blob_due(&blob)?;
                continue;
            }
            if self.room() == Room::None || !self.blobs_asked.insert(blob) {
                continue;
            }
            let blob_id = blob.to_vec();
            let request = Ask::DeleteBlob(wire::DeleteBlob { blob_id });
            self.request(Purpose::DropBlob(blob), request);
        }
        Ok(())
    }

    pub(super) fn blob_dropped(
        &mut self,
        blob: &BlobId,
        answer: &Answer,
    ) -> Result<(), EngineError> {
        let gone = match answer {
            Answer::Done(_) => true,
            // Expired, deleted by another device, or not this account's.
            Answer::Error(error) => ErrorCode::from_number(error.code) == ErrorCode::UnknownBlob,
            _ => false,
        };
        if gone {
            self.store().remove_blob_due(blob)?;
        }
        Ok(())
    }
}
