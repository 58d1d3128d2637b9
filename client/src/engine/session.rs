//! One connection's life: login, key packages, comparing notes with the
//! server, and reading the logs up to the present.

use std::collections::BTreeMap;

use sotto_crypto::LoginChallenge;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ConversationId, ErrorCode, limits, wire};

use super::api::{
    AccountState, Connection, ConnectionInfo, Event, Failure, IdentityChange, Login, SecurityEvent,
    SecurityKind,
};
use super::flight::{LoginStep, Purpose};
use super::restored::Leap;
use super::work::Step;
use super::{Engine, EngineError, Reported};
use crate::history::{ConversationRow, ConversationState};
use crate::talk::Talk;

/// Where the session stands; see the table in the module above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    Offline,
    LoggingIn(Challenge),
    Syncing(Vec<(ConversationId, Remote)>),
    CatchingUp,
    Live,
}

/// What a login on this connection signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    nonce: [u8; 32],
    exporter: [u8; 32],
    node: String,
}

/// A conversation as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) generation: u32,
    pub(super) epoch: u64,
    pub(super) cursor: u64,
    pub(super) head: u64,
}

const DEVICE_ENDED: &str = "the account does not have this device any more: after a logout, use \
     sotto login; if another device ended it, or the account has a new identity, link it anew";

impl Engine {
    pub(super) fn connected(&mut self, info: ConnectionInfo) -> Result<(), EngineError> {
        self.disconnected();
        if info.deployment != *self.profile.deployment() {
            self.security(
                SecurityKind::PinMismatch,
                None,
                None,
                "this server belongs to another deployment than the profile; nothing was sent, what is queued stays queued",
            );
            self.refuse_session(Failure {
                code: "wrong_deployment",
                message: "this server belongs to another deployment than the profile".to_owned(),
                retry_after_ms: None,
            });
            return Ok(());
        }
        let Ok(nonce) = <[u8; 32]>::try_from(info.nonce.as_slice()) else {
            self.lose_session(ErrorCode::Malformed, 0);
            return Ok(());
        };
        self.session = Session::LoggingIn(Challenge {
            nonce,
            exporter: info.exporter,
            node: info.node,
        });
        self.log_in()
    }

    fn log_in(&mut self) -> Result<(), EngineError> {
        let account = self.store().account()?;
        let certificate = account.certificate.clone();
        let username = account.username.as_str().to_owned();
        let (step, body) = match &self.login {
            Login::Device if account.state == AccountState::LoggedOut => {
                self.refuse_session(Failure {
                    code: "not_logged_in",
                    message: "this profile is logged out; use `login`".to_owned(),
                    retry_after_ms: None,
                });
                return Ok(());
            }
            Login::Device => return self.log_in_by_device(LoginStep::Device),
            Login::Register {
                authentication_key,
                invite,
            } => (
                LoginStep::Register,
                Ask::Register(wire::Register {
                    username,
                    authentication_key: authentication_key.to_text(),
                    certificate,
                    invite_code: invite.clone().unwrap_or_default(),
                }),
            ),
            Login::Password {
                authentication_key,
                identity,
            } => (
                LoginStep::Password,
                Ask::PasswordLogin(wire::PasswordLogin {
                    username,
                    authentication_key: authentication_key.to_text(),
                    certificate,
                    identity_change: match identity {
                        IdentityChange::Refuse => wire::IdentityChange::Refuse,
                        IdentityChange::Replace => wire::IdentityChange::Replace,
                    }
                    .into(),
                }),
            ),
        };
        self.request(Purpose::Login(step), body);
        Ok(())
    }

    fn log_in_by_device(&mut self, step: LoginStep) -> Result<(), EngineError> {
        let Session::LoggingIn(challenge) = &self.session else {
            return Ok(());
        };
        let device = self.profile.device();
        let signature = device.sign_login(&LoginChallenge {
            nonce: challenge.nonce,
            exporter: challenge.exporter,
        });
        let body = Ask::DeviceLogin(wire::DeviceLogin {
            username: self.my_name().as_str().to_owned(),
            device_id: device.certificate().device_id().to_vec(),
            signature: signature.to_vec(),
        });
        self.request(Purpose::Login(step), body);
        Ok(())
    }

    /// Everything volatile goes; what matters is in the store.
    pub(super) fn disconnected(&mut self) {
        self.session = Session::Offline;
        self.work.clear();
        self.acknowledge.clear();
        self.held = 0;
        self.ahead.clear();
        self.blobs_asked.clear();
        self.outbox_reported_empty = Reported::No;
        // Frames for the old connection mean nothing on the next one.
        self.ready.frames.clear();
        for purpose in self.flight.clear().into_iter().rev() {
            if let Purpose::Command(id, command) = purpose {
                self.commands.push_front((id, command));
            }
        }
    }

    pub(super) fn frame(&mut self, frame: wire::ServerFrame) -> Result<(), EngineError> {
        match (frame.request_id, frame.body) {
            (0, Some(Answer::Deliver(deliver))) => self.deliver(deliver),
            (0, Some(Answer::CaughtUp(_))) => self.caught_up(),
            (0, Some(Answer::Signaled(said))) => self.signaled(said),
            (0, Some(Answer::Move(wish))) => {
                self.emit(Event::Connection(Connection::MoveWithin(wish.within_ms)));
                Ok(())
            }
            (0, Some(Answer::Error(error))) => {
                let code = ErrorCode::from_number(error.code);
                self.lose_session(code, error.retry_after_ms);
                Ok(())
            }
            (0, _) => Ok(()),
            (id, Some(answer)) => match self.flight.land(id) {
                Some(purpose) => self.answered(purpose, answer),
                None => Ok(()),
            },
            (_, None) => Ok(()),
        }
    }

    fn answered(&mut self, purpose: Purpose, answer: Answer) -> Result<(), EngineError> {
        match (purpose, answer) {
            (Purpose::Login(step), Answer::LoggedIn(answer)) => self.logged_in(step, &answer),
            (Purpose::Login(step), Answer::Error(error)) => self.login_refused(step, &error),
            (Purpose::Sync, Answer::Sync(sync)) => self.synced(sync),
            (Purpose::Resume | Purpose::Reread(_), Answer::Error(error)) => {
                // Logs would not be read as this device needs them.
                self.lose_session(ErrorCode::from_number(error.code), error.retry_after_ms);
                Ok(())
            }
            (Purpose::Publish | Purpose::Resume | Purpose::Reread(_), _) => Ok(()),
            (Purpose::Account(peer), answer) => self.account_answered(&peer, answer),
            (Purpose::Identity(peer), answer) => self.identity_answered(&peer, &answer),
            (Purpose::DropBlob(blob), answer) => self.blob_dropped(&blob, &answer),
            (Purpose::OwnDevices, answer) => self.own_devices_shown(&answer),
            (Purpose::Backup, answer) => self.backup_answered(&answer),
            (Purpose::Pair(peer), answer) => self.pair_answered(&peer, answer),
            (Purpose::Claim { peer, generation }, answer) => {
                self.claim_answered(&peer, generation, answer)
            }
            (Purpose::GroupClaim { talk, name }, answer) => {
                self.group_claim_answered(&talk, &name, answer)
            }
            (Purpose::GroupInfo(talk), answer) => self.group_info_answered(&talk, answer),
            (
                Purpose::Tree {
                    conversation,
                    generation,
                    epoch,
                },
                answer,
            ) => self.tree_answered((conversation, generation, epoch), answer),
            (Purpose::Compare { talk, epoch }, answer) => self.compared(&talk, epoch, &answer),
            (
                Purpose::Commit {
                    talk,
                    conversation,
                    client_id,
                },
                answer,
            ) => self.commit_answered(&talk, &conversation, &client_id, answer),
            (Purpose::Append { talk, client_id }, answer) => {
                self.append_answered(&talk, &client_id, answer)
            }
            (Purpose::Command(id, command), answer) => self.command_answered(id, command, answer),
            (Purpose::Login(_) | Purpose::Sync, _) => {
                self.lose_session(ErrorCode::Malformed, 0);
                Ok(())
            }
        }
    }

    fn logged_in(&mut self, step: LoginStep, answer: &wire::LoggedIn) -> Result<(), EngineError> {
        let Session::LoggingIn(challenge) = &self.session else {
            return Ok(());
        };
        let node = challenge.node.clone();
        self.store().set_account_state(AccountState::Active)?;
        if step == LoginStep::Password {
            // A login by password after a logout: the server forgot this
            // device's mailbox, whose log begins anew.
            self.store().set_mailbox_cursor(0)?;
        }
        self.login = Login::Device;
        self.session = Session::Syncing(Vec::new());
        self.emit(Event::Connection(Connection::LoggedIn(node)));
        self.publish_key_packages(answer)?;
        self.request(
            Purpose::Sync,
            Ask::GetSync(wire::GetSync { after: Vec::new() }),
        );
        Ok(())
    }

    fn login_refused(&mut self, step: LoginStep, error: &wire::Error) -> Result<(), EngineError> {
        let code = ErrorCode::from_number(error.code);
        match (step, code) {
            (LoginStep::Register, ErrorCode::NameTaken) => {
                return self.log_in_by_device(LoginStep::DeviceAfterRegister);
            }
            (LoginStep::DeviceAfterRegister, _) => self.refuse_session(Failure {
                code: ErrorCode::NameTaken.name(),
                message: "this name is taken, or looks like one that is; choose another".to_owned(),
                retry_after_ms: None,
            }),
            (
                _,
                ErrorCode::Internal
                | ErrorCode::Unavailable
                | ErrorCode::RateLimited
                | ErrorCode::Malformed
                | ErrorCode::NotLoggedIn,
            ) => self.lose_session(code, error.retry_after_ms),
            (LoginStep::Device, ErrorCode::WrongCredentials) => {
                // Ended by another device, or by a new identity.
                self.store().set_account_state(AccountState::Revoked)?;
                self.refuse_session(Failure {
                    message: DEVICE_ENDED.to_owned(),
                    ..failure(error)
                });
            }
            _ => self.refuse_session(failure(error)),
        }
        Ok(())
    }

    /// The login makes no sense as it is: an interface stops reconnecting.
    fn refuse_session(&mut self, failure: Failure) {
        self.session = Session::Offline;
        self.emit(Event::Failed {
            command: None,
            failure,
        });
        self.emit(Event::Connection(Connection::Refused));
    }

    /// This connection is of no use: an interface connects again.
    pub(super) fn lose_session(&mut self, code: ErrorCode, retry_after_ms: u64) {
        self.session = Session::Offline;
        self.emit(Event::Failed {
            command: None,
            failure: Failure {
                code: code.name(),
                message: "the server ended the session; a new one is made by itself".to_owned(),
                retry_after_ms: (retry_after_ms > 0).then_some(retry_after_ms),
            },
        });
        self.emit(Event::Connection(Connection::Lost));
    }

    pub(super) fn answer_never_came(&mut self) {
        let _ = self.disconnected_commands();
        self.lose_session(ErrorCode::Unavailable, 0);
    }

    /// Gives up waiting on this connection; commands are tried on the next.
    fn disconnected_commands(&mut self) -> usize {
        let purposes = self.flight.clear();
        let given_up = purposes.len();
        for purpose in purposes.into_iter().rev() {
            if let Purpose::Command(id, command) = purpose {
                self.commands.push_front((id, command));
            }
        }
        given_up
    }

    fn synced(&mut self, sync: wire::Sync) -> Result<(), EngineError> {
        let Session::Syncing(states) = &mut self.session else {
            return Ok(());
        };
        let last = sync
            .conversations
            .last()
            .map(|state| state.conversation_id.clone());
        for state in sync.conversations.into_iter().take(limits::SYNC_PAGE_MAX) {
            if let Ok(id) = ConversationId::from_slice(&state.conversation_id) {
                states.push((
                    id,
                    Remote {
                        generation: state.generation,
                        epoch: state.epoch,
                        cursor: state.cursor,
                        head: state.head,
                    },
                ));
            }
        }
        if let (true, Some(after)) = (sync.more, last) {
            self.request(Purpose::Sync, Ask::GetSync(wire::GetSync { after }));
            return Ok(());
        }
        let states: BTreeMap<_, _> = std::mem::take(states).into_iter().collect();
        self.session = Session::CatchingUp;
        let cursors = self.compare_notes(&states)?;
        let invitations = self.store().invitations()?;
        let treeless = self.store().treeless()?;
        let held = invitations.iter().map(|row| &row.conversation);
        let held = held.chain(treeless.iter().map(|(row, _)| &row.conversation));
        let held = held.chain(&self.ahead).map(|id| id.to_vec()).collect();
        self.request(Purpose::Resume, Ask::Resume(wire::Resume { cursors, held }));
        Ok(())
    }

    /// Compares the server's account of this device with the local one. The
    /// server can never have more acknowledged than is stored here, unless the
    /// store was put back to an older state; nor less in its log, unless it
    /// lost some or shows another.
    fn compare_notes(
        &mut self,
        states: &BTreeMap<ConversationId, Remote>,
    ) -> Result<Vec<wire::Cursor>, EngineError> {
        let mailbox = self.profile.device().certificate().device_id().mailbox();
        let mut cursors = Vec::new();
        let mut mailbox_cursor = self.store().account()?.mailbox_cursor;
        if let Some(remote) = states
            .get(&mailbox)
            .filter(|state| state.cursor > mailbox_cursor)
        {
            mailbox_cursor = remote.cursor;
            self.store().set_mailbox_cursor(mailbox_cursor)?;
        }
        cursors.push(cursor(&mailbox, mailbox_cursor));
        self.look_for_lost_logs(states, mailbox_cursor)?;
        for row in self.store().conversations()? {
            if row.state == ConversationState::Ended {
                continue;
            }
            match states.get(&row.id) {
                // Of a newer generation the server counts from the welcome on, which is still to come.
                Some(remote)
                    if remote.cursor > row.cursor
                        && remote.generation <= row.generation
                        && settled(&row) =>
                {
                    match self.is_leap(&row, remote.cursor - row.cursor) {
                        Leap::Yes => self.break_conversation(row, "it was made anew")?,
                        // Perhaps put out and invited again meanwhile: the mailbox says so.
                        Leap::No if row.talk.group().is_some() => {
                            self.ahead.insert(row.id);
                        }
                        Leap::No => self.rolled_back(row)?,
                    }
                }
                Some(remote) if remote.head < row.cursor && settled(&row) => {
                    cursors.push(cursor(&row.id, remote.head));
                    self.log_is_shorter(row, *remote)?;
                }
                Some(remote) => {
                    cursors.push(cursor(&row.id, row.cursor));
                    self.look_for_older_group(row, *remote)?;
                }
                None if row.state == ConversationState::Active => {
                    self.break_conversation(row, "the server no longer counts this device in")?;
                }
                None => {}
            }
        }
        Ok(cursors)
    }

    fn caught_up(&mut self) -> Result<(), EngineError> {
        if self.session == Session::CatchingUp {
            self.session = Session::Live;
            self.settle_ahead()?;
            self.emit(Event::CaughtUp);
            self.housekeeping_at = self.now.monotonic_ms;
            self.receipts_of_before()?;
            self.ask_trees()?;
            self.plan_chores()?;
            self.look_at_own_devices();
            self.back_up_if_due()?;
        }
        Ok(())
    }

    /// Reads a log again from a place: after joining, whatever came before the
    /// welcome was passed over.
    pub(super) fn resume(&mut self, conversation: &ConversationId, seq: u64) {
        if matches!(self.session, Session::Live | Session::CatchingUp) {
            let cursors = vec![cursor(conversation, seq)];
            self.request(
                Purpose::Reread(*conversation),
                Ask::Resume(wire::Resume {
                    cursors,
                    held: Vec::new(),
                }),
            );
        }
    }

    /// Everything durable is acknowledged in one go.
    pub(super) fn stage_acknowledgements(&mut self) {
        let passed: Vec<_> = std::mem::take(&mut self.acknowledge)
            .iter()
            .map(|(id, seq)| cursor(id, *seq))
            .collect();
        if !matches!(self.session, Session::Live | Session::CatchingUp) {
            return;
        }
        for cursors in passed.chunks(limits::CURSORS_AT_ONCE_MAX) {
            self.staged.frames.push_back(wire::ClientFrame {
                request_id: 0,
                body: Some(Ask::Acknowledge(wire::Acknowledge {
                    cursors: cursors.to_vec(),
                })),
            });
        }
    }

    pub(super) fn security(
        &mut self,
        kind: SecurityKind,
        conversation: Option<ConversationId>,
        subject: Option<&sotto_protocol::Username>,
        action: &str,
    ) {
        self.emit(Event::Security(SecurityEvent {
            kind,
            conversation,
            subject: subject.cloned(),
            action: action.to_owned(),
            count: 0,
        }));
    }

    /// A talk's step ended badly for a reason that time may cure.
    pub(super) fn server_refused(&mut self, talk: &Talk, error: &wire::Error) {
        if ErrorCode::from_number(error.code) == ErrorCode::NotLoggedIn {
            self.set_step(talk, Step::Resting);
            self.lose_session(ErrorCode::NotLoggedIn, 0);
        } else {
            self.rest(talk, error.retry_after_ms);
        }
    }
}

fn settled(row: &ConversationRow) -> bool {
    row.state == ConversationState::Active
}

pub(super) fn cursor(conversation: &ConversationId, seq: u64) -> wire::Cursor {
    wire::Cursor {
        conversation_id: conversation.to_vec(),
        seq,
    }
}

/// A server's error for a person.
pub(super) fn failure(error: &wire::Error) -> Failure {
    Failure {
        code: ErrorCode::from_number(error.code).name(),
        message: error.message.chars().take(200).collect(),
        retry_after_ms: (error.retry_after_ms > 0).then_some(error.retry_after_ms),
    }
}
