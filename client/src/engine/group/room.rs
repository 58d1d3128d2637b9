//! Public rooms: listing them, and entering one without an invitation. Their
//! titles and topics are in clear, by choice.

use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ConversationId, ErrorCode, limits, wire};
use sotto_roster::{Access, Role};

use super::super::api::{CommandId, Event, Failure, Room};
use super::super::commands::{ServerCommand, refusal};
use super::super::session::failure;
use super::super::{Engine, EngineError};
use super::{Change, InfoChange, Job};
use crate::history::ConversationState;
use crate::talk::Talk;

/// Rooms that one list gathers.
const ROOMS_MAX: usize = 10_000;

impl Engine {
    /// Enters a room by itself, with consent and without a welcome.
    pub(super) fn enter_room(
        &mut self,
        id: CommandId,
        group: ConversationId,
        title: String,
    ) -> Result<(), EngineError> {
        let talk = Talk::Group(group);
        match self.store().conversation(&group)? {
            Some(row) if row.state != ConversationState::Ended => {
                let failure = refusal("already_member", "you are in this room already");
                self.emit(Event::Failed {
                    command: Some(id),
                    failure,
                });
                return Ok(());
            }
            Some(mut row) => {
                row.state = ConversationState::Broken;
                row.own_counter = 0;
                self.store().forget_sender_counters(&row.id)?;
                self.store().put_conversation(&row)?;
            }
            None => {}
        }
        self.push_job(talk, Job::new(Some(id), Change::Enter { title }));
        Ok(())
    }

    pub(super) fn set_topic(
        &mut self,
        id: CommandId,
        group: ConversationId,
        topic: String,
    ) -> Result<(), EngineError> {
        // As it is listed: the name that members know may be on its way still.
        let title = self.title_of(&Talk::Group(group))?;
        let listing = Listing {
            group,
            title: title.unwrap_or_default(),
            topic,
            founding: Founding::Known,
        };
        self.ask_later(id, ServerCommand::SetRoom(listing));
        Ok(())
    }

    /// Whether this account manages a listed group: then its name changes on the list first, which
    /// may refuse it.
    pub(super) fn manages_room(&mut self, group: &ConversationId) -> Result<bool, EngineError> {
        let Some(row) = self.store().conversation(group)? else {
            return Ok(false);
        };
        let roster = self.roster_of(&row)?;
        let rules = roster
            .as_ref()
            .and_then(|roster| roster.policy.group_rules());
        let me = self.my_name();
        Ok(rules.is_some_and(|rules| {
            rules.access == Access::Public && rules.role_of(me) >= Some(Role::Admin)
        }))
    }

    /// Renames a public room: where it is listed, and then for its members.
    pub(super) fn rename_room(&mut self, id: CommandId, group: ConversationId, title: String) {
        let listing = Listing {
            group,
            title,
            topic: String::new(),
            founding: Founding::Renamed,
        };
        self.ask_later(id, ServerCommand::SetRoom(listing));
    }

    /// Whether a group is being entered for the first time, or again.
    pub(in crate::engine) fn is_entering(&self, talk: &Talk) -> bool {
        let first = self.jobs.get(talk).and_then(|jobs| jobs.front());
        first.is_some_and(|job| matches!(job.change, Change::Enter { .. }))
    }

    /// The server does not let this account in.
    pub(in crate::engine) fn entry_refused(
        &mut self,
        talk: &Talk,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        self.entry_ended(talk, failure(error))
    }

    /// A room is not entered, for a reason that time does not cure.
    pub(in crate::engine) fn entry_ended(
        &mut self,
        talk: &Talk,
        why: Failure,
    ) -> Result<(), EngineError> {
        self.end_job(talk, Err(why));
        // Asked again, it is tried again.
        self.work.remove(talk);
        if let Some(mut row) = self.store().conversation_with(talk)? {
            row.state = ConversationState::Ended;
            self.store().put_conversation(&row)?;
        }
        Ok(())
    }

    /// A room that is entered for the first time has no row yet.
    pub(super) fn drive_entry(&mut self, talk: &Talk) -> Result<(), EngineError> {
        let (Talk::Group(id), Some(Change::Enter { title })) =
            (talk, self.job(talk).map(|job| job.change.clone()))
        else {
            return Ok(());
        };
        let row = self.new_row(*id, talk, 0, ConversationState::Broken);
        self.store().put_conversation(&row)?;
        self.keep_title(id, &title, 0)?;
        self.drive_broken(&row)
    }

    pub(in crate::engine) fn rooms_request(found: &[Room]) -> Ask {
        Ask::ListRooms(wire::ListRooms {
            prefix: String::new(),
            after: found
                .last()
                .map(|room| room.title.clone())
                .unwrap_or_default(),
            limit: u32::try_from(limits::ROOMS_PAGE_MAX).unwrap_or(u32::MAX),
        })
    }

    /// An answer to what groups asked of the server.
    pub(in crate::engine) fn group_command_answered(
        &mut self,
        id: CommandId,
        command: ServerCommand,
        answer: Answer,
    ) -> Result<(), EngineError> {
        match command {
            ServerCommand::Leave { group, .. } => self.leave_answered(id, &group, &answer)?,
            ServerCommand::SetRoom(listing) => self.room_answered(id, listing, &answer)?,
            ServerCommand::ListRooms(found) => self.rooms_answered(id, found, answer),
            ServerCommand::Link(ask) => self.link_answered(id, ask, answer)?,
            _ => {}
        }
        Ok(())
    }

    fn rooms_answered(&mut self, id: CommandId, mut found: Vec<Room>, answer: Answer) {
        let rooms = match answer {
            Answer::Rooms(rooms) => rooms,
            Answer::Error(error) => return self.command_refused(id, &error),
            _ => wire::Rooms::default(),
        };
        let before = found.len();
        let read = |room: wire::Room| {
            Some(Room {
                conversation: ConversationId::from_slice(&room.conversation_id).ok()?,
                title: room.title,
                topic: room.topic,
                members: room.members,
                joined: room.joined,
            })
        };
        let page = rooms.rooms.into_iter().take(limits::ROOMS_PAGE_MAX);
        found.extend(page.filter_map(read));
        if rooms.more && found.len() > before && found.len() < ROOMS_MAX {
            self.ask_later(id, ServerCommand::ListRooms(found));
        } else {
            self.emit(Event::Rooms {
                command: id,
                rooms: found,
            });
        }
    }

    fn room_answered(
        &mut self,
        id: CommandId,
        listing: Listing,
        answer: &Answer,
    ) -> Result<(), EngineError> {
        match (answer, listing.founding) {
            (Answer::Error(error), founding) => {
                self.command_refused(id, error);
                let row = self.store().conversation(&listing.group)?;
                if let Some(row) = row.filter(|_| founding == Founding::New) {
                    // A room that is listed nowhere, with nobody else in it, is none.
                    self.delete_group(&row)?;
                    self.jobs.remove(&row.talk);
                    self.work.remove(&row.talk);
                    self.store().delete_conversation(&row.id)?;
                }
            }
            (_, Founding::New) => self.emit(Event::GroupMade {
                command: id,
                conversation: listing.group,
                title: listing.title,
            }),
            (_, Founding::Known) => self.done(id),
            (_, Founding::Renamed) => {
                let change = Change::Info(InfoChange::Title(listing.title));
                self.push_job(Talk::Group(listing.group), Job::new(Some(id), change));
            }
        }
        Ok(())
    }

    pub(super) fn command_refused(&mut self, id: CommandId, error: &wire::Error) {
        self.emit(Event::Failed {
            command: Some(id),
            failure: failure(error),
        });
    }
}

/// Why a room cannot be entered that the rules do not let this device into.
pub(in crate::engine) fn shut_out() -> Failure {
    refusal(
        ErrorCode::NotAllowed.name(),
        "the rules of the room do not let this device in; if you were in it under an earlier \
         identity, one of its admins has to take that out first (`group remove`)",
    )
}

/// How a room is to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Listing {
    pub(super) group: ConversationId,
    pub(super) title: String,
    pub(super) topic: String,
    pub(super) founding: Founding,
}

/// Whether a listed room was just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Founding {
    New,
    Known,
    /// It is to have another title, and the topic that it has.
    Renamed,
}

impl Listing {
    pub(in crate::engine) fn request(&self) -> Ask {
        Ask::SetRoom(wire::SetRoom {
            conversation_id: self.group.to_vec(),
            title: self.title.clone(),
            topic: self.topic.clone(),
            keep_topic: self.founding == Founding::Renamed,
        })
    }
}
