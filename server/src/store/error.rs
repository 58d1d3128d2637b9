//! Why the store refused: one enum per family of verbs, split by what the caller can do.
//!
//! No message holds a value that came from a client.

use sotto_protocol::{ConversationId, DeviceId};

/// The store itself failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used now and nothing was changed; try again.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The database is not reached as the configuration demands: it has no TLS, or shows a
    /// certificate that is not to be believed. Nothing was said to it.
    #[error("{0}")]
    Tls(String),
    /// Whether the change was made is not known: it must not be acknowledged, and asking again is safe.
    #[error("outcome of the commit unknown")]
    Unknown,
    /// The database holds something that this server cannot read, or refused a statement that is
    /// always right: a bug or a damaged database.
    #[error("database corrupt or of another schema: {0}")]
    Corrupt(String),
    /// The schema is not the one that this server was built for.
    #[error("schema version is {found}, this server needs {needed}")]
    SchemaVersion {
        /// The database's; 0 when it has none.
        found: i32,
        /// Ours.
        needed: i32,
    },
}

/// Why an account or device was not made or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// The name, or one that looks like it, is taken.
    #[error("name taken")]
    NameTaken,
    /// The invite code is unknown, used up or expired.
    #[error("invite code not valid")]
    InviteInvalid,
    /// The device's id is in use by another device or conversation.
    #[error("device id taken")]
    DeviceTaken,
    /// The account has the most devices that it may have.
    #[error("too many devices")]
    TooManyDevices,
    /// No such account.
    #[error("unknown account")]
    UnknownAccount,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why no key packages were given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClaimError {
    /// No such account.
    #[error("unknown account")]
    UnknownUser,
    /// No device of the account has a usable key package for the ciphersuite.
    #[error("no key package")]
    NoKeyPackage,
    /// Too many claims by this account for that one.
    #[error("too many claims")]
    RateLimited {
        /// When trying again makes sense; milliseconds.
        retry_after_ms: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a blob was not stored, found or deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlobError {
    /// No such blob for this account, not whole yet, or expired.
    #[error("unknown blob")]
    Unknown,
    /// The piece does not follow what is stored, or the blob has another size or owner.
    #[error("blob is another or stands elsewhere")]
    Mismatch,
    /// Larger than blobs may be.
    #[error("blob too large")]
    TooLarge,
    /// The account's room is used up.
    #[error("quota exceeded")]
    QuotaExceeded,
    /// The object store does not take what waits for it; nothing is lost, try again.
    #[error("object store unavailable")]
    ObjectsAway,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a message was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The epoch is not the conversation's.
    #[error("stale epoch")]
    StaleEpoch {
        /// The conversation's epoch now.
        epoch: u64,
    },
    /// The generation is not the conversation's.
    #[error("stale generation")]
    StaleGeneration {
        /// The conversation's generation now.
        generation: u32,
        /// The conversation's epoch now.
        epoch: u64,
    },
    /// No such conversation, or the device is not in it.
    #[error("not a member")]
    NotMember,
    /// The database cannot be used now, or too much is queued for it; nothing was stored.
    #[error("unavailable")]
    Unavailable,
    /// It may or may not be stored: never acknowledge; the same client id asks again.
    #[error("outcome unknown")]
    OutcomeUnknown,
}

impl From<StoreError> for AppendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Tls(_) => Self::Unavailable,
            StoreError::Unknown => Self::OutcomeUnknown,
            StoreError::Corrupt(_) | StoreError::SchemaVersion { .. } => {
                tracing::error!(%error, "entry not appended");
                Self::Unavailable
            }
        }
    }
}

/// Why a commit was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// As for a message.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// An added device does not exist (any more).
    #[error("unknown device")]
    UnknownDevice {
        /// Which one.
        device: DeviceId,
    },
    /// The two accounts already have a conversation.
    #[error("the pair has a conversation")]
    PairExists {
        /// Which one.
        conversation: ConversationId,
    },
    /// The id belongs to another conversation or to a mailbox.
    #[error("conversation id taken")]
    IdTaken,
}

impl StoreError {
    /// What an error of the driver means for a statement that changed nothing, or for one whose
    /// transaction is thereby rolled back.
    pub(crate) fn from_db(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            if let Some(refused) = tls_refusal(&error) {
                return Self::Tls(refused);
            }
            let io = std::error::Error::source(&error)
                .is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some());
            if error.is_closed() || io {
                return Self::Unavailable("connection lost".into());
            }
            // The driver's own words only: they hold types and columns, never values.
            return if error.to_string().contains("connect") || error.to_string().contains("timeout")
            {
                Self::Unavailable(error.to_string())
            } else {
                Self::Corrupt(error.to_string())
            };
        };
        let code = db.code().code();
        let temporary = matches!(
            code.get(..2),
            Some("08" | "25" | "40" | "53" | "55" | "57" | "58")
        );
        // Only codes and names of the schema: messages of the server may hold values.
        let place = db.constraint().or(db.table()).unwrap_or("");
        if temporary || code == "3D000" {
            Self::Unavailable(format!("sqlstate {code} {place}"))
        } else {
            Self::Corrupt(format!("sqlstate {code} {place}"))
        }
    }

    /// What an error in answer to COMMIT means.
    pub(crate) fn from_commit(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if was_rolled_back(db) => {
                Self::Unavailable(format!("sqlstate {}", db.code().code()))
            }
            _ => Self::Unknown,
        }
    }
}

/// What stood against TLS, if that did: a sentence for the operator. A connection that merely
/// broke in the middle of the handshake is none.
fn tls_refusal(error: &tokio_postgres::Error) -> Option<String> {
    if error.to_string() != "error performing TLS handshake" {
        return None;
    }
    let source = std::error::Error::source(error)?;
    let Some(io) = source.downcast_ref::<std::io::Error>() else {
        return Some(format!(
            "Postgres is to be reached by TLS, and that is not possible ({source}): set ssl = on \
             there, or leave out database_ca and sslmode"
        ));
    };
    let reason = io.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(wrong) = reason else {
        return Some(format!("TLS to Postgres failed: {reason}"));
    };
    Some(match wrong {
        // Two authorities may go by one name: then it is the signature that tells.
        rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature => {
            "the certificate of Postgres does not come from an authority that is trusted (database_ca)".to_owned()
        }
        rustls::CertificateError::NotValidForName
        | rustls::CertificateError::NotValidForNameContext { .. } => {
            "the certificate of Postgres is not for the host in database_url".to_owned()
        }
        other => format!("the certificate of Postgres is not accepted: {other}"),
    })
}

/// Whether an error of the server says that the transaction is undone. FATAL and PANIC say only
/// that the connection ends.
pub(crate) fn was_rolled_back(db: &tokio_postgres::error::DbError) -> bool {
    db.parsed_severity() == Some(tokio_postgres::error::Severity::Error)
}
