//! Sealing what this device says and opening what the log holds.

use openmls::framing::errors::{MessageDecryptionError, SecretTreeError};
use openmls::prelude::{
    ContentType, MlsMessageBodyIn, MlsMessageIn, ProcessMessageError, ProcessedMessageContent,
    ProtocolMessage, Sender, StagedCommit, ValidationError, tls_codec::Deserialize as _,
};
use sotto_protocol::ClientMessageId;
use sotto_protocol::limits::HANDSHAKE_BYTES_MAX;
use sotto_protocol::wire::EnvelopeKind;
use sotto_roster::public_group::{envelope_aad, reading};
use sotto_roster::{Denied, DeviceCertificate, Freshness, LeafIndex, authorize};

use super::commit::CommitSummary;
use super::group::{Group, GroupError};
use super::store::{DeviceSigner, KeyStore};
use crate::content::{Content, ContentError};
use crate::identity::LocalDevice;

/// One entry of the log, as far as it can be authenticated.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// What the envelope says that it holds.
    pub kind: EnvelopeKind,
    /// The envelope's client id.
    pub client_id: &'a ClientMessageId,
    /// The payload.
    pub payload: &'a [u8],
}

/// A message that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The device that sealed it, by MLS's authentication and nothing else.
    pub sender: DeviceCertificate,
    /// Its place at that time.
    pub leaf: LeafIndex,
    /// The epoch that it was sealed in.
    pub epoch: u64,
    /// What it says.
    pub content: Content,
}

/// What an entry of the log turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Something that a device said.
    Message(Box<Message>),
    /// A commit of another device: judged, allowed and merged.
    Commit(Box<CommitSummary>),
    /// This device's own pending commit: merge it with [`Group::merge_pending`].
    OwnCommit,
}

/// Why an entry was not opened. The group stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not the MLS message that its kind promises, or too large.
    #[error("payload is malformed")]
    Malformed,
    /// For another conversation, generation, kind or client id.
    #[error("payload belongs to another envelope")]
    Misplaced,
    /// Sealed in an epoch that is over; its keys are gone.
    #[error("payload is from an epoch that is over")]
    PastEpoch,
    /// Sealed in an epoch that this device has not reached: something is missing.
    #[error("payload is from an epoch that is not reached")]
    FutureEpoch,
    /// Its key was used before.
    #[error("payload was opened before")]
    Replayed,
    /// Too many messages of its sender are missing before it.
    #[error("too many messages are missing before this one")]
    TooFarAhead,
    /// It does not decrypt or its signature does not verify.
    #[error("payload does not verify")]
    Unverified,
    /// This device sealed it and cannot open it.
    #[error("payload is this device's own")]
    Own,
    /// A commit that MLS refuses: it can never be merged, so the group may be stuck.
    #[error("commit cannot be merged")]
    BadCommit,
    /// A commit that the rules do not allow.
    #[error("commit is not allowed: {reason}")]
    Denied {
        /// Which rule.
        reason: Denied,
        /// The device that made it, where it is a member.
        offender: Option<Box<DeviceCertificate>>,
    },
    /// It opened, but holds nothing of ours.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The group itself failed.
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Group(error.into())
    }
}

impl Group {
    /// Seals a message for the present epoch.
    ///
    /// # Errors
    /// When the content cannot be encoded, a commit is pending, or this device was removed.
    pub fn seal(
        &mut self,
        store: &KeyStore<'_>,
        me: &LocalDevice,
        client_id: &ClientMessageId,
        content: &Content,
    ) -> Result<Vec<u8>, GroupError> {
        if !self.mls.is_active() {
            return Err(GroupError::Removed);
        }
        if self.has_pending() {
            return Err(GroupError::CommitPending);
        }
        let plain = zeroize::Zeroizing::new(content.encode_padded()?);
        let kind = EnvelopeKind::Application;
        self.mls
            .set_aad(envelope_aad(&self.roster.conversation, kind, client_id));
        self.mls
            .create_message(store, &DeviceSigner(me), &plain)
            .map_err(|_| GroupError::Mls("seal"))?
            .to_bytes()
            .map_err(|_| GroupError::Mls("encode"))
    }

    /// Opens an entry of the log; a commit is judged and merged. Entries must come in the log's order.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        &mut self,
        store: &KeyStore<'_>,
        sealed: &Sealed<'_>,
        now_ms: u64,
    ) -> Result<Opened, OpenError> {
        let message = self.parse(sealed)?;
        let epoch = self.epoch();
        let processed = self.mls.process_message(store, message).map_err(refusal)?;
        let aad = envelope_aad(&self.roster.conversation, sealed.kind, sealed.client_id);
        if processed.aad() != aad.as_slice() {
            return Err(OpenError::Misplaced);
        }
        let sender = processed.sender().clone();
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(plain) => {
                let plain = zeroize::Zeroizing::new(plain.into_bytes());
                let (leaf, sender) = self.member(&sender).ok_or(OpenError::Unverified)?;
                let content = Content::decode(&plain)?;
                Ok(Opened::Message(Box::new(Message {
                    sender,
                    leaf,
                    epoch,
                    content,
                })))
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => self
                .judge_and_merge(store, *staged, &sender, sealed.payload, now_ms)
                .map(|summary| Opened::Commit(Box::new(summary))),
            ProcessedMessageContent::OwnPendingCommit => Ok(Opened::OwnCommit),
            ProcessedMessageContent::OwnPrivateMessage => Err(OpenError::Own),
            _ => Err(OpenError::Malformed),
        }
    }

    fn judge_and_merge(
        &mut self,
        store: &KeyStore<'_>,
        staged: StagedCommit,
        sender: &Sender,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<CommitSummary, OpenError> {
        let change = reading::change_of(
            self.mls.public_group().group_context(),
            &staged,
            sender,
            &self.deployment,
            Freshness::Backlog { now_ms },
        )
        .map_err(GroupError::from)?;
        let authorized = authorize(&self.roster, &change).map_err(|reason| OpenError::Denied {
            reason,
            offender: self
                .member(sender)
                .map(|(_, certificate)| Box::new(certificate)),
        })?;
        let summary = self.merge_authorized(authorized, payload, |mls| {
            mls.merge_staged_commit(store, staged)
                .map_err(|_| GroupError::Mls("merge"))
        })?;
        Ok(summary)
    }

    fn member(&self, sender: &Sender) -> Option<(LeafIndex, DeviceCertificate)> {
        let Sender::Member(index) = sender else {
            return None;
        };
        let leaf = LeafIndex(index.u32());
        Some((leaf, self.roster.leaves.get(&leaf)?.clone()))
    }

    /// Reads a payload and refuses what is not for this group, this envelope and this epoch.
    fn parse(&self, sealed: &Sealed<'_>) -> Result<ProtocolMessage, OpenError> {
        if sealed.payload.len() > HANDSHAKE_BYTES_MAX {
            return Err(OpenError::Malformed);
        }
        let message = MlsMessageIn::tls_deserialize_exact(sealed.payload)
            .map_err(|_| OpenError::Malformed)?;
        let aad = envelope_aad(&self.roster.conversation, sealed.kind, sealed.client_id);
        let message: ProtocolMessage = match (sealed.kind, message.extract()) {
            (EnvelopeKind::Application, MlsMessageBodyIn::PrivateMessage(private)) => {
                if private.aad() != aad.as_slice() {
                    return Err(OpenError::Misplaced);
                }
                private.into()
            }
            (EnvelopeKind::Commit, MlsMessageBodyIn::PublicMessage(public)) => public.into(),
            _ => return Err(OpenError::Malformed),
        };
        let expected = match sealed.kind {
            EnvelopeKind::Application => ContentType::Application,
            _ => ContentType::Commit,
        };
        if message.group_id() != self.mls.group_id() {
            return Err(OpenError::Misplaced);
        }
        if message.content_type() != expected {
            return Err(OpenError::Malformed);
        }
        match message.epoch().as_u64().cmp(&self.epoch()) {
            std::cmp::Ordering::Less => Err(OpenError::PastEpoch),
            std::cmp::Ordering::Greater => Err(OpenError::FutureEpoch),
            std::cmp::Ordering::Equal => Ok(message),
        }
    }
}

fn refusal(error: ProcessMessageError<rusqlite::Error>) -> OpenError {
    match error {
        ProcessMessageError::StorageError(error) => error.into(),
        ProcessMessageError::InvalidCommit(_) => OpenError::BadCommit,
        ProcessMessageError::GroupStateError(_) => OpenError::Group(GroupError::Removed),
        ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(
            MessageDecryptionError::SecretTreeError(reason),
        )) => secret_refusal(&reason),
        _ => OpenError::Unverified,
    }
}

fn secret_refusal(reason: &SecretTreeError) -> OpenError {
    match reason {
        SecretTreeError::SecretReuseError | SecretTreeError::TooDistantInThePast => {
            OpenError::Replayed
        }
        SecretTreeError::TooDistantInTheFuture => OpenError::TooFarAhead,
        _ => OpenError::Unverified,
    }
}
