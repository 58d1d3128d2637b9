//! What a client is told when a request is not carried out: a code, a fixed
//! sentence, and when to try again. No sentence ever holds user data or a
//! cause from inside the server.

use sotto_protocol::{ConversationId, ErrorCode, wire};

use crate::password::PasswordError;
use crate::store::{AccountError, AppendError, BlobError, ClaimError, CommitError, StoreError};

/// What a client that meets an unavailable server is told to wait, in milliseconds.
const UNAVAILABLE_RETRY_MS: u64 = 1_000;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: ErrorCode,
    message: &'static str,
    retry_after_ms: u64,
    epoch: u64,
    generation: u32,
    conversation: Option<ConversationId>,
}

impl Refusal {
    /// A refusal with its code's ordinary sentence.
    pub(crate) const fn new(code: ErrorCode) -> Self {
        Self::with(code, sentence(code))
    }

    /// A refusal with a sentence of its own.
    pub(crate) const fn with(code: ErrorCode, message: &'static str) -> Self {
        Self {
            code,
            message,
            retry_after_ms: 0,
            epoch: 0,
            generation: 0,
            conversation: None,
        }
    }

    /// Too much was asked.
    pub(crate) const fn rate_limited(retry_after_ms: u64) -> Self {
        Self::new(ErrorCode::RateLimited).after(retry_after_ms)
    }

    /// The database is away, or the server is stopping.
    pub(crate) const fn unavailable() -> Self {
        Self::new(ErrorCode::Unavailable).after(UNAVAILABLE_RETRY_MS)
    }

    /// A field is not what it must be.
    pub(crate) const fn malformed(message: &'static str) -> Self {
        Self::with(ErrorCode::Malformed, message)
    }

    const fn after(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = retry_after_ms;
        self
    }

    /// The conversation is elsewhere than the request says.
    pub(crate) const fn stale_generation(generation: u32, epoch: u64) -> Self {
        let mut refusal = Self::new(ErrorCode::StaleGeneration);
        refusal.generation = generation;
        refusal.epoch = epoch;
        refusal
    }

    /// The conversation's epoch is not the request's.
    pub(crate) const fn stale_epoch(epoch: u64) -> Self {
        let mut refusal = Self::new(ErrorCode::StaleEpoch);
        refusal.epoch = epoch;
        refusal
    }

    /// Two accounts have a conversation already.
    pub(crate) const fn conversation_exists(conversation: Option<ConversationId>) -> Self {
        let mut refusal = Self::new(ErrorCode::ConversationExists);
        refusal.conversation = conversation;
        refusal
    }

    /// Why.
    pub(crate) const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The answer on the wire.
    pub(crate) fn to_wire(&self) -> wire::Error {
        wire::Error {
            code: self.code as u32,
            message: self.message.to_owned(),
            retry_after_ms: self.retry_after_ms,
            current_epoch: self.epoch,
            current_generation: self.generation,
            conversation_id: self
                .conversation
                .map(ConversationId::to_vec)
                .unwrap_or_default(),
        }
    }
}

const fn sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Internal => {
            "The server failed; try again, and tell its operator if it stays so."
        }
        ErrorCode::Malformed => "The request is malformed; update the program that sent it.",
        ErrorCode::TooLarge => "The request is too large; send less at a time.",
        ErrorCode::UnsupportedVersion => "No common protocol version; update the older side.",
        ErrorCode::NotLoggedIn => "Log in first.",
        ErrorCode::Unavailable => "The server cannot work right now; try again shortly.",
        ErrorCode::RateLimited => "Too many requests; wait before trying again.",
        ErrorCode::WrongCredentials => "Name or password is wrong; check both and try again.",
        ErrorCode::NameTaken => "The name is taken, or looks like one that is; choose another.",
        ErrorCode::NameInvalid => "A name has 3 to 32 characters of a-z, 0-9, '_', '.' and '-'.",
        ErrorCode::RegistrationClosed => "Registration is closed; ask the operator for an account.",
        ErrorCode::InviteRequired => {
            "Registration needs a valid invite code; ask the operator for one."
        }
        ErrorCode::CertificateInvalid => "The device certificate does not verify; make a new one.",
        ErrorCode::IdentityMismatch => {
            "The account has another identity key; ask to replace it, or use a device that has it."
        }
        ErrorCode::AccountDisabled => "The account is disabled; ask the operator.",
        ErrorCode::TooManyDevices => "The account has the most devices it may have; log one out.",
        ErrorCode::UnknownUser => "There is no such account; check the name.",
        ErrorCode::UnknownConversation => "There is no such conversation for this device.",
        ErrorCode::NoKeyPackage => {
            "The account cannot be invited right now; try again when it was online."
        }
        ErrorCode::KeyPackageInvalid => "A key package is not acceptable; make new ones.",
        ErrorCode::StaleEpoch => "The conversation moved on; read its log and seal again.",
        ErrorCode::StaleGeneration => "The conversation was rebuilt; join it again and seal again.",
        ErrorCode::ConversationExists => "The conversation exists already; use it.",
        ErrorCode::CommitInvalid => "The change does not verify; read the log and make it again.",
        ErrorCode::NotAllowed => "The rules of the conversation do not allow this.",
        ErrorCode::UnknownBlob => "The file is not there, not whole yet, or has expired.",
        ErrorCode::UnknownInvite => {
            "The invite link is unknown, expired or used up; ask for a new one."
        }
        ErrorCode::NoBackup => "The account has no backup.",
        ErrorCode::UnknownDevice => "The account has no such device; list the devices.",
        ErrorCode::UnknownLink => {
            "No device waits under this code; show a new code on the new device."
        }
        ErrorCode::Banned => "The account is banned from this group; ask one of its admins.",
        ErrorCode::TitleTaken => "Another room has this title; choose another.",
        ErrorCode::QuotaExceeded => {
            "The account's room for files is used up; delete some, or wait until they expire."
        }
        ErrorCode::BlobMismatch => "The piece does not fit what is stored; ask where it stands.",
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Tls(_) | StoreError::Unknown => {
                tracing::debug!(%error, "store");
                Self::unavailable()
            }
            StoreError::Corrupt(_) | StoreError::SchemaVersion { .. } => {
                tracing::error!(%error, "store");
                Self::new(ErrorCode::Internal)
            }
        }
    }
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NameTaken => Self::new(ErrorCode::NameTaken),
            AccountError::InviteInvalid => Self::new(ErrorCode::InviteRequired),
            AccountError::DeviceTaken => Self::new(ErrorCode::CertificateInvalid),
            AccountError::TooManyDevices => Self::new(ErrorCode::TooManyDevices),
            AccountError::UnknownAccount => Self::new(ErrorCode::UnknownUser),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unknown => Self::new(ErrorCode::UnknownBlob),
            BlobError::Mismatch => Self::new(ErrorCode::BlobMismatch),
            BlobError::TooLarge => Self::with(
                ErrorCode::TooLarge,
                "The file is larger than this deployment takes; send a smaller one, or in parts.",
            ),
            BlobError::QuotaExceeded => Self::new(ErrorCode::QuotaExceeded),
            BlobError::ObjectsAway => Self::unavailable(),
            BlobError::Store(error) => error.into(),
        }
    }
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::UnknownUser => Self::new(ErrorCode::UnknownUser),
            ClaimError::NoKeyPackage => Self::new(ErrorCode::NoKeyPackage),
            ClaimError::RateLimited { retry_after_ms } => Self {
                message: "You invited this person, or began conversations with them, too often \
                          within an hour; wait before trying again.",
                ..Self::rate_limited(retry_after_ms)
            },
            ClaimError::Store(error) => error.into(),
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::StaleEpoch { epoch } => Self::stale_epoch(epoch),
            AppendError::StaleGeneration { generation, epoch } => {
                Self::stale_generation(generation, epoch)
            }
            AppendError::NotMember => Self::new(ErrorCode::UnknownConversation),
            AppendError::Unavailable | AppendError::OutcomeUnknown => Self::unavailable(),
        }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Append(error) => error.into(),
            CommitError::UnknownDevice { .. } => Self::with(
                ErrorCode::CommitInvalid,
                "A device that the change adds is gone; fetch key packages again.",
            ),
            CommitError::PairExists { conversation } => {
                Self::conversation_exists(Some(conversation))
            }
            CommitError::IdTaken => Self::conversation_exists(None),
        }
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy { retry_after_ms } => Self::rate_limited(retry_after_ms),
            PasswordError::Failed => Self::new(ErrorCode::Internal),
        }
    }
}
