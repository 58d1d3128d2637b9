//! What a person asks for: done here at once, or with the server's help when
//! a session stands. Bounded; a command lost with a connection is asked again.

use prost::Message as _;
use sotto_crypto::Body;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, Username, wire};
use zeroize::Zeroizing;

use super::api::{
    AccountState, Command, CommandId, Connection, Event, Failure, Keep, Room, SendOptions, User,
    UserFilter,
};
use super::devices::DeviceAsk;
use super::directory::{PeopleAsk, list_request};
use super::flight::{Purpose, Room as Space};
use super::group::{LinkAsk, Listing};
use super::session::{Session, failure};
use super::work::people_changed;
use super::{Engine, EngineError};
use crate::history::{ConversationState, OutboxKind, OutboxRow, Relation, RequestStanding};
use crate::profile::ProfileError;
use crate::talk::Talk;

/// Commands that wait for a session.
const COMMANDS_MAX: usize = 64;
/// Messages that wait to be sent.
const OUTBOX_MAX: u64 = 10_000;

/// A command that needs the server.
pub(super) enum ServerCommand {
    LookUp(Username),
    ListUsers {
        prefix: String,
        filter: UserFilter,
        found: Vec<User>,
    },
    ChangePassword {
        current: Zeroizing<String>,
        new: Zeroizing<String>,
    },
    ListDevices,
    Device(DeviceAsk),
    PutProfile(wire::PutProfile),
    People(PeopleAsk),
    /// Made and sent at once; only its answer is waited for.
    Signal,
    SetRoom(Listing),
    ListRooms(Vec<Room>),
    Link(LinkAsk),
    Leave {
        group: ConversationId,
        client_id: ClientMessageId,
    },
    Logout,
}

impl ServerCommand {
    const fn is_of_groups(&self) -> bool {
        matches!(
            self,
            Self::Leave { .. } | Self::SetRoom(_) | Self::ListRooms(_) | Self::Link(_)
        )
    }
}

impl Engine {
    pub(super) fn command(&mut self, id: CommandId, command: Command) -> Result<(), EngineError> {
        match command {
            Command::Send {
                to,
                text,
                client_id,
            } => self.write(id, &to, (text, SendOptions::default()), client_id),
            Command::Message(command) => self.message_command(id, command),
            Command::Contact(command) => self.contact_command(id, command),
            Command::People(command) => {
                self.people_command(id, command);
                Ok(())
            }
            Command::Accept { name, keep } => self.accept(id, &name, keep),
            Command::Decline { name } => self.decline(id, &name),
            Command::Block { name } => self.block(id, &name),
            Command::Unblock { name } => self.unblock(id, &name),
            Command::LookUp { name } => {
                self.ask_later(id, ServerCommand::LookUp(name));
                Ok(())
            }
            Command::ListUsers { prefix, filter } => {
                let found = Vec::new();
                self.ask_later(
                    id,
                    ServerCommand::ListUsers {
                        prefix,
                        filter,
                        found,
                    },
                );
                Ok(())
            }
            Command::ChangePassword { current, new } => {
                self.ask_later(id, ServerCommand::ChangePassword { current, new });
                Ok(())
            }
            Command::Group(command) => self.group_command(id, command),
            Command::Device(command) => self.device_command(id, command),
            Command::ListDevices => {
                self.ask_later(id, ServerCommand::ListDevices);
                Ok(())
            }
            Command::Logout => {
                self.ask_later(id, ServerCommand::Logout);
                Ok(())
            }
        }
    }

    pub(super) fn done(&mut self, command: CommandId) {
        self.emit(Event::Done { command });
    }

    pub(super) fn failed(&mut self, command: CommandId, code: &'static str, message: &str) {
        self.emit(Event::Failed {
            command: Some(command),
            failure: refusal(code, message),
        });
    }

    pub(super) fn ask_later(&mut self, id: CommandId, command: ServerCommand) {
        if self.commands.len() >= COMMANDS_MAX {
            self.failed(id, "too_many_commands", "too many commands wait already");
        } else {
            self.commands.push_back((id, command));
        }
    }

    /// Queues what a person does in a talk; the same id queues it once.
    pub(super) fn queue_body(
        &mut self,
        id: CommandId,
        to: &Talk,
        body: &Body,
        client_id: ClientMessageId,
    ) -> Result<(), EngineError> {
        let Ok(body) = body.to_bytes() else {
            self.failed(id, "too_large", "a message has at most 65,536 bytes");
            return Ok(());
        };
        let hindrance = match to {
            Talk::Person(peer) => self.hindrance_to_write_to(peer)?,
            Talk::Group(_) => self.hindrance_to_write_in(to)?,
        };
        if let Some(failure) = hindrance {
            self.emit(Event::Failed {
                command: Some(id),
                failure,
            });
            return Ok(());
        }
        let device = *self.profile.device().certificate().device_id();
        if let Some((conversation, seq)) = self.store().sent_message(&device, &client_id)? {
            self.emit(Event::Sent {
                id: client_id,
                to: to.clone(),
                title: self.title_of(to)?,
                conversation,
                seq,
            });
            self.done(id);
            return Ok(());
        }
        if self.store().outbox_len()? >= OUTBOX_MAX {
            self.failed(
                id,
                "outbox_full",
                "too many messages wait to be sent already; connect first",
            );
            return Ok(());
        }
        self.store().push_outbox(&OutboxRow {
            client_id,
            talk: to.clone(),
            kind: OutboxKind::Body,
            body,
            created_at_ms: self.now.unix_ms,
            counter: None,
            sealed: None,
            refused: None,
        })?;
        self.wake(to);
        if let Talk::Person(peer) = to {
            let mut person = self.person(peer)?;
            person.relation = Relation::Contact;
            self.store().put_peer(&person)?;
            if let Some(request) = self.store().request(peer)? {
                // Writing to somebody who asked is an answer.
                self.enter_request(request, Keep::Saved)?;
            }
        }
        self.done(id);
        Ok(())
    }

    fn hindrance_to_write_to(&self, peer: &Username) -> Result<Option<Failure>, EngineError> {
        if peer == self.my_name() {
            return Ok(Some(refusal("self", "you cannot write to yourself")));
        }
        let person = self.person(peer)?;
        if person.relation == Relation::Blocked {
            let message = "you blocked this person; `unblock` first";
            return Ok(Some(refusal("blocked", message)));
        }
        let changed = person.changed_identity.is_some();
        Ok(changed.then(|| people_changed(peer)))
    }

    /// A person did something: what rested for good is tried again.
    pub(super) fn wake(&mut self, talk: &Talk) {
        let work = self.work_of(talk);
        if work.step == super::work::Step::Resting {
            *work = super::work::TalkWork::default();
        }
    }

    fn accept(&mut self, id: CommandId, name: &Username, keep: Keep) -> Result<(), EngineError> {
        let mut person = self.person(name)?;
        let changed = person.changed_identity.is_some();
        let asked = person.relation != Relation::Blocked;
        let request = self.store().request(name)?.filter(|_| asked);
        if !changed && request.is_none() {
            self.failed(id, "not_a_request", "there is no request of this person");
            return Ok(());
        }
        if changed {
            self.accept_identity(&mut person)?;
        }
        if let Some(request) = request {
            self.enter_request(request, keep)?;
        }
        self.done(id);
        Ok(())
    }

    /// Forgets what came with a request. The way into the conversation is kept: whoever writes
    /// again asks again, instead of writing to nobody without knowing.
    fn forget_request(&mut self, name: &Username) -> Result<Forgotten, EngineError> {
        let request = self.store().request(name)?;
        let Some(mut request) =
            request.filter(|request| request.standing != RequestStanding::TurnedAway)
        else {
            return Ok(Forgotten::Nothing);
        };
        request.standing = RequestStanding::TurnedAway;
        request.received_at_ms = self.now.unix_ms;
        self.store().put_request(&request)?;
        for (seq, bytes) in self.store().take_request_entries(&request.conversation)? {
            let envelope = wire::Envelope::decode(bytes.as_slice()).unwrap_or_default();
            let kept = match envelope.kind() {
                EnvelopeKind::Commit => bytes.as_slice(),
                _ => &[],
            };
            self.store()
                .put_request_entry(&request.conversation, seq, kept)?;
            self.acknowledge_at_least(&request.conversation, seq);
        }
        Ok(Forgotten::Request)
    }

    fn decline(&mut self, id: CommandId, name: &Username) -> Result<(), EngineError> {
        match self.forget_request(name)? {
            Forgotten::Request => self.done(id),
            Forgotten::Nothing => {
                self.failed(id, "not_a_request", "there is no request of this person");
            }
        }
        Ok(())
    }

    fn block(&mut self, id: CommandId, name: &Username) -> Result<(), EngineError> {
        let mut person = self.person(name)?;
        person.relation = Relation::Blocked;
        self.store().put_peer(&person)?;
        self.forget_request(name)?;
        self.drop_queue(
            &name.into(),
            &Failure {
                code: "blocked",
                message: "you blocked this person; the message was not sent".to_owned(),
                retry_after_ms: None,
            },
        )?;
        self.done(id);
        Ok(())
    }

    fn unblock(&mut self, id: CommandId, name: &Username) -> Result<(), EngineError> {
        let mut person = self.person(name)?;
        if person.relation == Relation::Blocked {
            let talked = self.store().conversation_with(&name.into())?.is_some();
            person.relation = if talked {
                Relation::Contact
            } else {
                Relation::Known
            };
            self.store().put_peer(&person)?;
            self.work.remove(&Talk::from(name));
            if let Some(request) = self.store().request(name)?.filter(|_| talked) {
                // They made the conversation anew meanwhile.
                self.enter_request(request, Keep::Saved)?;
            }
        }
        self.done(id);
        Ok(())
    }

    /// Sends what waits for the server, when there is one.
    pub(super) fn pump_commands(&mut self) {
        if matches!(self.session, Session::Offline | Session::LoggingIn(_)) {
            return;
        }
        while self.room() == Space::Some {
            // Whoever leaves has read their own log first: what they wrote before may be in it.
            let live = self.session == Session::Live;
            let is_due =
                |command: &ServerCommand| live || !matches!(command, ServerCommand::Leave { .. });
            let mut commands = self.commands.iter();
            let next = commands.position(|(_, command)| is_due(command));
            let Some((id, command)) = next.and_then(|next| self.commands.remove(next)) else {
                return;
            };
            match self.ask_for(&command) {
                Ok(body) => self.request(Purpose::Command(id, command), body),
                Err(failure) => self.emit(Event::Failed {
                    command: Some(id),
                    failure,
                }),
            }
        }
    }

    fn ask_for(&self, command: &ServerCommand) -> Result<Ask, Failure> {
        Ok(match command {
            ServerCommand::LookUp(name) => Ask::GetAccount(wire::GetAccount {
                username: name.as_str().to_owned(),
            }),
            ServerCommand::Device(ask) => self.ask_for_device(ask)?,
            ServerCommand::ListDevices => Ask::GetAccount(wire::GetAccount {
                username: self.my_name().as_str().to_owned(),
            }),
            ServerCommand::ListUsers {
                prefix,
                filter,
                found,
            } => list_request(prefix, *filter, found),
            ServerCommand::People(ask) => ask.request(),
            ServerCommand::ChangePassword { current, new } => {
                let (old, next) = self
                    .profile
                    .begin_password_change(current, new)
                    .map_err(|error| password_failure(&error))?;
                Ask::ChangePassword(wire::ChangePassword {
                    current_authentication_key: old.to_text(),
                    new_authentication_key: next.to_text(),
                })
            }
            ServerCommand::PutProfile(profile) => Ask::PutProfile(profile.clone()),
            ServerCommand::Leave { group, client_id } => self.leave_request(group, client_id),
            ServerCommand::Signal => {
                return Err(refusal("timed_out", "the connection was lost; try again"));
            }
            ServerCommand::SetRoom(listing) => listing.request(),
            ServerCommand::ListRooms(found) => Self::rooms_request(found),
            ServerCommand::Link(ask) => self.link_request(ask),
            ServerCommand::Logout => Ask::Logout(wire::Logout {}),
        })
    }

    pub(super) fn command_answered(
        &mut self,
        id: CommandId,
        command: ServerCommand,
        answer: Answer,
    ) -> Result<(), EngineError> {
        if command.is_of_groups() {
            return self.group_command_answered(id, command, answer);
        }
        match (command, answer) {
            (ServerCommand::ChangePassword { .. }, Answer::Error(error)) => {
                // Only a clear refusal means that the old one still counts.
                if ErrorCode::from_number(error.code) == ErrorCode::WrongCredentials {
                    self.profile.abandon_password_change()?;
                }
                self.emit(Event::Failed {
                    command: Some(id),
                    failure: failure(&error),
                });
            }
            (ServerCommand::Device(ask), answer) => self.device_answered(id, ask, answer)?,
            (_, Answer::Error(error)) => {
                self.emit(Event::Failed {
                    command: Some(id),
                    failure: failure(&error),
                });
            }
            (ServerCommand::LookUp(name), Answer::Account(account)) => {
                match self.account_identity(&name, &account) {
                    Some(identity) => {
                        self.identity_shown(&name, &identity)?;
                        self.done(id);
                    }
                    None => self.failed(
                        id,
                        ErrorCode::CertificateInvalid.name(),
                        "the server's answer about this person does not verify",
                    ),
                }
            }
            (ServerCommand::ListDevices, Answer::Account(account)) => {
                let devices = self.devices(&account)?;
                self.emit(Event::Devices {
                    command: id,
                    devices,
                });
            }
            (
                ServerCommand::ListUsers {
                    prefix,
                    filter,
                    found,
                },
                Answer::Users(users),
            ) => {
                self.users_answered(id, (prefix, filter, found), users);
            }
            (ServerCommand::ChangePassword { .. }, Answer::Done(_)) => {
                self.profile.finish_password_change()?;
                self.done(id);
            }
            (ServerCommand::PutProfile(_) | ServerCommand::Signal, Answer::Done(_)) => {
                self.done(id)
            }
            (ServerCommand::People(ask), answer) => self.people_answered(id, ask, answer)?,
            (ServerCommand::Logout, Answer::Done(_)) => self.logged_out(id)?,
            _ => self.senseless(id),
        }
        Ok(())
    }

    fn logged_out(&mut self, id: CommandId) -> Result<(), EngineError> {
        self.store().set_account_state(AccountState::LoggedOut)?;
        self.leave_conversations()?;
        self.profile.lock();
        self.session = Session::Offline;
        self.done(id);
        self.emit(Event::Connection(Connection::Refused));
        Ok(())
    }

    /// The server counts this device out of every conversation: when it comes
    /// back it enters each anew.
    fn leave_conversations(&mut self) -> Result<(), EngineError> {
        for mut row in self.store().conversations()? {
            self.delete_group(&row)?;
            self.store().remove_pending(&row.id)?;
            if row.state != ConversationState::Ended {
                row.state = ConversationState::Broken;
                self.store().put_conversation(&row)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgotten {
    Request,
    Nothing,
}

/// A failure of the engine's own, without a time to wait.
pub(super) fn refusal(code: &'static str, message: &str) -> Failure {
    Failure {
        code,
        message: message.to_owned(),
        retry_after_ms: None,
    }
}

fn password_failure(error: &ProfileError) -> Failure {
    let code = match error {
        ProfileError::WrongPassword => ErrorCode::WrongCredentials.name(),
        _ => ErrorCode::Internal.name(),
    };
    Failure {
        code,
        message: error.to_string(),
        retry_after_ms: None,
    }
}
