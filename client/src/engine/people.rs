//! Whose identity is whose: pinning on first use, noticing changes, and the
//! person's consent to them. A changed identity is never taken by itself.

use prost::Message as _;
use sotto_crypto::{Body, safety_number};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ErrorCode, Username, wire};
use sotto_roster::{DeviceCertificate, Roster};

use super::api::{Event, Failure, Now, Pin, SafetyNumber, SecurityKind};
use super::flight::{Purpose, Room};
use super::inbox::Entry;
use super::outbox::read_body;
use super::session::failure;
use super::work::{Asked, Step};
use super::{Engine, EngineError};
use crate::history::{ConversationRow, OutboxRow, PeerRow, Refused, Relation};
use crate::talk::Talk;

/// What comparing a safety number came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The digits are right; the identity is noted as verified, and a changed one as accepted.
    Confirmed,
    /// The digits are wrong: perhaps mistyped, perhaps somebody stands between.
    Differs,
    /// The person's identity is not known here; look it up first.
    Unknown,
}

/// How a shown identity stands to the pinned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is the pinned one, perhaps since now.
    Pinned,
    /// It is another.
    Changed,
}

/// Why a group is not the one that two people should be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// The person is in under this other identity.
    Identity([u8; 32]),
    /// Somebody else is in, or the rules are others.
    Members,
}

impl Engine {
    /// Somebody as stored, or as new.
    pub(super) fn person(&self, name: &Username) -> Result<PeerRow, EngineError> {
        Ok(self.store().peer(name)?.unwrap_or(PeerRow {
            name: name.clone(),
            identity: None,
            changed_identity: None,
            verified_at_ms: None,
            relation: Relation::Known,
        }))
    }

    pub(super) fn ask_identity(&mut self, peer: &Username) {
        self.set_step(&peer.into(), Step::Busy);
        let username = peer.as_str().to_owned();
        self.request(
            Purpose::Account(peer.clone()),
            Ask::GetAccount(wire::GetAccount { username }),
        );
    }

    pub(super) fn account_answered(
        &mut self,
        peer: &Username,
        answer: Answer,
    ) -> Result<(), EngineError> {
        let talk = Talk::from(peer);
        match answer {
            Answer::Account(account) => match self.account_identity(peer, &account) {
                Some(identity) => {
                    self.identity_shown(peer, &identity)?;
                    self.work_of(&talk).identity = Asked::Yes;
                    self.succeeded(&talk);
                }
                None => self.rest(&talk, 0),
            },
            Answer::Error(error)
                if ErrorCode::from_number(error.code) == ErrorCode::UnknownUser =>
            {
                self.turn_back_queue(&talk, &failure(&error))?;
                self.set_step(&talk, Step::Resting);
            }
            Answer::Error(error) => self.server_refused(&talk, &error),
            _ => self.rest(&talk, 0),
        }
        Ok(())
    }

    /// A server says that somebody has another identity: the account is asked for at once, and
    /// again before anything is sealed for it. Not for people nothing is pinned of.
    pub(super) fn identity_notice(
        &mut self,
        row: &ConversationRow,
        entry: &Entry,
    ) -> Result<(), EngineError> {
        let said = wire::IdentityChanged::decode(entry.payload.clone()).ok();
        let name = said.and_then(|said| Username::parse(&said.username).ok());
        let Some(name) = name.filter(|name| name != self.my_name()) else {
            return Ok(());
        };
        let concerned = match row.talk.person() {
            Some(peer) => *peer == name,
            None => self.store().member(&row.id, &name)?.is_some(),
        };
        let person = self.person(&name)?;
        if !concerned || person.identity.is_none() {
            return Ok(());
        }
        self.work_of(&Talk::from(&name)).identity = Asked::No;
        self.forget_vetting();
        if person.changed_identity.is_none() && self.room() == Room::Some {
            let username = name.as_str().to_owned();
            let purpose = Purpose::Identity(name);
            self.request(purpose, Ask::GetAccount(wire::GetAccount { username }));
        }
        Ok(())
    }

    pub(super) fn identity_answered(
        &mut self,
        peer: &Username,
        answer: &Answer,
    ) -> Result<(), EngineError> {
        if let Answer::Account(account) = answer
            && let Some(identity) = self.account_identity(peer, account)
        {
            self.identity_shown(peer, &identity)?;
        }
        Ok(())
    }

    /// The identity in an answer, if the answer is about this person and every
    /// certificate in it is sound and of that identity.
    pub(super) fn account_identity(
        &mut self,
        peer: &Username,
        account: &wire::Account,
    ) -> Option<[u8; 32]> {
        let identity = <[u8; 32]>::try_from(account.identity_key.as_slice()).ok()?;
        let deployment = *self.profile.deployment();
        let sound = account.username == peer.as_str()
            && account.certificates.iter().all(|bytes| {
                DeviceCertificate::verify(bytes, &deployment).is_ok_and(|certificate| {
                    certificate.username() == peer && *certificate.identity_key() == identity
                })
            });
        if !sound {
            self.security(
                SecurityKind::PolicyRejected,
                None,
                Some(peer),
                "the server showed a device whose certificate does not fit its account; nothing is sent to it",
            );
        }
        sound.then_some(identity)
    }

    /// Pins an identity on first use; notes and announces another.
    pub(super) fn identity_shown(
        &mut self,
        name: &Username,
        identity: &[u8; 32],
    ) -> Result<Trust, EngineError> {
        let mut person = self.person(name)?;
        match person.identity {
            None => {
                person.identity = Some(*identity);
                self.store().put_peer(&person)?;
                Ok(Trust::Pinned)
            }
            Some(pinned) if pinned == *identity => {
                if person.changed_identity.take().is_some() {
                    // The server shows the old identity again: nothing to consent to.
                    self.store().put_peer(&person)?;
                }
                Ok(Trust::Pinned)
            }
            Some(_) => {
                self.forget_vetting();
                if person.changed_identity != Some(*identity) {
                    person.changed_identity = Some(*identity);
                    self.store().put_peer(&person)?;
                    self.security(
                        SecurityKind::KeyChanged,
                        None,
                        Some(name),
                        "nothing is sent to this person until you compare safety numbers (`verify`) or `accept`",
                    );
                }
                Ok(Trust::Changed)
            }
        }
    }

    /// Takes a changed identity as the person's.
    pub(super) fn accept_identity(&mut self, person: &mut PeerRow) -> Result<(), EngineError> {
        if let Some(changed) = person.changed_identity.take() {
            if let Some(earlier) = person.identity {
                self.store().put_earlier_identity(&person.name, &earlier)?;
            }
            person.identity = Some(changed);
            person.verified_at_ms = None;
            // What was sealed was for the old identity.
            self.store().unseal_for(&Talk::from(&person.name))?;
            self.store().put_peer(person)?;
            self.readmit(&person.name, &changed)?;
        }
        self.store().put_peer(person)?;
        self.work.remove(&Talk::from(&person.name));
        self.forget_vetting();
        Ok(())
    }

    /// Whose identity changed may be in any group.
    fn forget_vetting(&mut self) {
        for (talk, work) in &mut self.work {
            work.vetted = None;
            if talk.group().is_some() && work.step == Step::Resting {
                work.step = Step::Idle;
            }
        }
    }

    /// Whether the right people are in a group, each under the pinned identity.
    pub(super) fn check_members(
        &self,
        roster: &Roster,
        talk: &Talk,
    ) -> Result<Result<(), Mismatch>, EngineError> {
        match talk {
            Talk::Person(peer) => Ok(self.check_pair(roster, &self.person(peer)?)),
            // Who is in a group is the rules' matter; who they are is asked before sealing.
            Talk::Group(_) => Ok(Ok(())),
        }
    }

    /// Whether a group has exactly the people that a conversation with a
    /// person has, each under the pinned identity.
    fn check_pair(&self, roster: &Roster, peer: &PeerRow) -> Result<(), Mismatch> {
        let me = self.profile.device().certificate();
        if roster.policy.peer_of(me.username()) != Some(&peer.name) {
            return Err(Mismatch::Members);
        }
        for leaf in roster.leaves.values() {
            if leaf.username() == &peer.name {
                if Some(*leaf.identity_key()) != peer.identity {
                    return Err(Mismatch::Identity(*leaf.identity_key()));
                }
            } else if !leaf.same_account(me) {
                return Err(Mismatch::Members);
            }
        }
        Ok(())
    }

    /// The number to compare with a person; `None` while the identity is not known.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn safety_number(&self, peer: &Username) -> Result<Option<SafetyNumber>, EngineError> {
        let Some(person) = self.store().peer(peer)? else {
            return Ok(None);
        };
        let (identity, pin) = match (person.changed_identity, person.identity) {
            (Some(changed), _) => (changed, Pin::Changed),
            (None, Some(pinned)) => (pinned, Pin::Same),
            (None, None) => return Ok(None),
        };
        let digits = safety_number(
            self.profile.deployment(),
            (self.my_name(), self.profile.identity()),
            (peer, &identity),
        );
        Ok(Some(SafetyNumber {
            digits,
            verified_at_ms: match pin {
                Pin::Same => person.verified_at_ms,
                Pin::Changed => None,
            },
            pin,
        }))
    }

    /// Compares digits that the person got from the other person by another
    /// way; spaces do not count.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn verify(
        &mut self,
        peer: &Username,
        digits: &str,
        now: Now,
    ) -> Result<Verification, EngineError> {
        let Some(number) = self.safety_number(peer)? else {
            return Ok(Verification::Unknown);
        };
        let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
        if bare(digits) != bare(&number.digits) {
            return Ok(Verification::Differs);
        }
        self.transact(now, |engine| {
            let mut person = engine.person(peer)?;
            engine.accept_identity(&mut person)?;
            person.verified_at_ms = Some(now.unix_ms);
            Ok(engine.store().put_peer(&person)?)
        })?;
        Ok(Verification::Confirmed)
    }

    /// The title of a group, if it is known here.
    pub(super) fn title_of(&self, talk: &Talk) -> Result<Option<String>, EngineError> {
        let row = self.store().conversation_with(talk)?;
        Ok(row.and_then(|row| row.title))
    }

    /// Tells of each queued message that it waits for the person here.
    pub(super) fn refuse_queue(
        &mut self,
        talk: &Talk,
        failure: &Failure,
    ) -> Result<(), EngineError> {
        let title = self.title_of(talk)?;
        for row in self.store().queued_for(talk)? {
            self.emit(Event::SendFailed {
                id: row.client_id,
                to: talk.clone(),
                title: title.clone(),
                failure: failure.clone(),
            });
        }
        Ok(())
    }

    /// Gives up what is queued in a talk, and says so. Messages stay in the history, with the
    /// reason; what was about others goes.
    pub(super) fn drop_queue(&mut self, talk: &Talk, failure: &Failure) -> Result<(), EngineError> {
        self.refuse_queue(talk, failure)?;
        while let Some(row) = self.store().first_for(talk)? {
            self.give_up(&row, failure)?;
        }
        Ok(())
    }

    /// As [`Self::drop_queue`], where there is no such person: whoever wrote in this run of the
    /// program is told now and has the text still; what an earlier run queued stays.
    pub(super) fn turn_back_queue(
        &mut self,
        talk: &Talk,
        failure: &Failure,
    ) -> Result<(), EngineError> {
        self.refuse_queue(talk, failure)?;
        while let Some(row) = self.store().first_for(talk)? {
            match row.created_at_ms < self.begun_unix_ms {
                true => self.give_up(&row, failure)?,
                false => self.store().remove_outbox(&row.client_id)?,
            }
        }
        Ok(())
    }

    /// A queued message never goes out.
    pub(super) fn give_up(&self, row: &OutboxRow, failure: &Failure) -> Result<(), EngineError> {
        let is_message = matches!(read_body(row), Body::Text(_) | Body::Attachment(_));
        let why = Refused {
            code: failure.code.to_owned(),
            message: failure.message.clone(),
        };
        match is_message {
            true => self.store().give_up(&row.client_id, &why)?,
            false => self.store().remove_outbox(&row.client_id)?,
        }
        Ok(())
    }
}
