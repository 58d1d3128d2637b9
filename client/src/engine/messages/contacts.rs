//! Contacts: the names and notes that the person here gives them, and the
//! profiles that people seal to each other, one message in each conversation
//! of two. A profile goes to contacts only, and again when it changes.

use sotto_crypto::Body;
use sotto_crypto::content::Profile;
use sotto_protocol::{ClientMessageId, Username, limits, wire};

use super::api::{Contact, ContactCommand};
use crate::engine::api::{CommandId, Direction, Event};
use crate::engine::commands::ServerCommand;
use crate::engine::session::Session;
use crate::engine::{Engine, EngineError};
use crate::history::{ConversationRow, OutboxKind, OutboxRow, Relation};
use crate::talk::Talk;

/// The longest name given here, and the longest note, in bytes.
const ALIAS_BYTES_MAX: usize = 64;
const NOTE_BYTES_MAX: usize = 4_096;
/// People who are told a changed profile in one go; the rest follow.
const TOLD_AT_ONCE: u32 = 16;

impl Engine {
    pub(in crate::engine) fn contact_command(
        &mut self,
        id: CommandId,
        command: ContactCommand,
    ) -> Result<(), EngineError> {
        match command {
            ContactCommand::Note { name, alias, note } => self.note(id, &name, alias, note),
            ContactCommand::SetProfile {
                display_name,
                status,
            } => self.set_profile(id, display_name, status),
            ContactCommand::Forget { talk } => self.forget(id, &talk),
            ContactCommand::Publish => {
                let (profile, _) = self.store().own_profile()?;
                self.put_profile(id, profile);
                Ok(())
            }
            ContactCommand::Unpublish => {
                self.put_profile(id, Profile::default());
                Ok(())
            }
        }
    }

    fn put_profile(&mut self, id: CommandId, profile: Profile) {
        let request = wire::PutProfile {
            display_name: profile.display_name,
            status: profile.status,
        };
        self.ask_later(id, ServerCommand::PutProfile(request));
    }

    fn note(
        &mut self,
        id: CommandId,
        name: &Username,
        alias: Option<String>,
        note: Option<String>,
    ) -> Result<(), EngineError> {
        let fits = |text: &Option<String>, most| text.as_ref().is_none_or(|t| t.len() <= most);
        if !fits(&alias, ALIAS_BYTES_MAX) || !fits(&note, NOTE_BYTES_MAX) {
            self.failed(
                id,
                "too_large",
                "a name given here has at most 64 bytes, a note 4,096",
            );
            return Ok(());
        }
        if self.store().peer(name)?.is_none() {
            self.failed(id, "unknown_user", "nobody of this name is known here");
            return Ok(());
        }
        let mut row = self.store().contact(name)?;
        row.alias = alias.unwrap_or(row.alias);
        row.note = note.unwrap_or(row.note);
        self.store().put_contact(&row)?;
        self.done(id);
        Ok(())
    }

    fn set_profile(
        &mut self,
        id: CommandId,
        display_name: Option<String>,
        status: Option<String>,
    ) -> Result<(), EngineError> {
        let (mut profile, _) = self.store().own_profile()?;
        profile.display_name = display_name.unwrap_or(profile.display_name);
        profile.status = status.unwrap_or(profile.status);
        if profile.display_name.len() > limits::DISPLAY_NAME_BYTES_MAX
            || profile.status.len() > limits::STATUS_BYTES_MAX
        {
            self.failed(
                id,
                "too_large",
                "a display name has at most 64 bytes, a status 256",
            );
            return Ok(());
        }
        self.store().put_own_profile(&profile)?;
        self.done(id);
        self.tell_profile()
    }

    /// Queues the own profile for contacts who do not know it as it is now.
    pub(in crate::engine) fn tell_profile(&mut self) -> Result<(), EngineError> {
        let (profile, revision) = self.store().own_profile()?;
        if revision == 0 || self.session != Session::Live {
            return Ok(());
        }
        let Ok(body) = Body::Profile(profile).to_bytes() else {
            return Ok(());
        };
        for name in self.store().not_told(revision, TOLD_AT_ONCE)? {
            let client_id = ClientMessageId::from_bytes(self.random_id());
            self.store().push_outbox(&OutboxRow {
                client_id,
                talk: Talk::from(&name),
                kind: OutboxKind::Quiet,
                body: body.clone(),
                created_at_ms: self.now.unix_ms,
                counter: None,
                sealed: None,
                refused: None,
            })?;
            let mut row = self.store().contact(&name)?;
            row.told = revision;
            self.store().put_contact(&row)?;
        }
        Ok(())
    }

    /// Somebody told who they are: kept for contacts, in conversations of two.
    pub(in crate::engine) fn profile_came(
        &mut self,
        row: &ConversationRow,
        (sender, direction): (&Username, Direction),
        (seq, profile): (u64, Profile),
    ) -> Result<(), EngineError> {
        let in_pair = row.talk.person() == Some(sender);
        if direction == Direction::Outgoing
            || !in_pair
            || self.person(sender)?.relation != Relation::Contact
        {
            return Ok(());
        }
        let mut known = self.store().contact(sender)?;
        if seq <= known.profile_seq || known.profile == profile {
            return Ok(());
        }
        known.profile = profile;
        known.profile_seq = seq;
        self.store().put_contact(&known)?;
        let contact = self.to_contact(sender)?;
        self.emit(Event::Profile(contact));
        Ok(())
    }

    fn to_contact(&self, name: &Username) -> Result<Contact, EngineError> {
        let row = self.store().contact(name)?;
        let person = self.person(name)?;
        Ok(Contact {
            name: row.name,
            alias: row.alias,
            note: row.note,
            display_name: row.profile.display_name,
            status: row.profile.status,
            verified_at_ms: person.verified_at_ms,
            blocked: person.relation == Relation::Blocked,
        })
    }

    /// Everybody who was written to or accepted, and whoever has a note here;
    /// sorted by name.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn contacts(&self) -> Result<Vec<Contact>, EngineError> {
        let names = self.store().contact_names()?;
        names.iter().map(|name| self.to_contact(name)).collect()
    }

    /// Everybody who is blocked, sorted by name.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn blocked(&self) -> Result<Vec<Contact>, EngineError> {
        let names = self.store().blocked_names()?;
        names.iter().map(|name| self.to_contact(name)).collect()
    }

    /// Somebody, as known here; `None` for a name that never occurred.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn contact(&self, name: &Username) -> Result<Option<Contact>, EngineError> {
        match self.store().peer(name)? {
            Some(_) => Ok(Some(self.to_contact(name)?)),
            None => Ok(None),
        }
    }

    /// The own profile: display name and status.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn own_profile(&self) -> Result<(String, String), EngineError> {
        let (profile, _) = self.store().own_profile()?;
        Ok((profile.display_name, profile.status))
    }
}
