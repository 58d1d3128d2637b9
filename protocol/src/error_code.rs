//! Why a request was refused: numbers that never change their meaning, and
//! names that the client prints.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// A stable reason. Numbers are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant = $number,)*
        }

        impl ErrorCode {
            /// Every code, for documents and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code of a number; one from a newer server is `Internal`.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    _ => Self::Internal,
                }
            }

            /// The name used in JSON and documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

error_codes! {
    /// The server failed; nothing is known to be wrong with the request.
    Internal = 1, "internal";
    /// The frame or request was malformed.
    Malformed = 2, "malformed";
    /// A size or count exceeded its limit.
    TooLarge = 3, "too_large";
    /// No common protocol version.
    UnsupportedVersion = 4, "unsupported_version";
    /// The request needs a login, or comes before Hello.
    NotLoggedIn = 5, "not_logged_in";
    /// The server cannot work now (database away, or stopping); try again.
    Unavailable = 6, "unavailable";
    /// Too many requests; see `retry_after_ms`.
    RateLimited = 7, "rate_limited";
    /// Name or password is wrong; which one is not told.
    WrongCredentials = 20, "wrong_credentials";
    /// The name is taken, or looks like one that is.
    NameTaken = 21, "name_taken";
    /// The name has characters or a length that are not allowed.
    NameInvalid = 22, "name_invalid";
    /// Registration is closed.
    RegistrationClosed = 23, "registration_closed";
    /// Registration needs a valid invite code.
    InviteRequired = 24, "invite_required";
    /// The device certificate does not verify or is for somebody else.
    CertificateInvalid = 25, "certificate_invalid";
    /// The account has another identity key; replacing it must be asked for.
    IdentityMismatch = 26, "identity_mismatch";
    /// The account was disabled by the operator.
    AccountDisabled = 27, "account_disabled";
    /// The account has the most devices that it may have.
    TooManyDevices = 28, "too_many_devices";
    /// No such account.
    UnknownUser = 40, "unknown_user";
    /// No such conversation, or the device is not in it.
    UnknownConversation = 41, "unknown_conversation";
    /// The account has no usable key package now.
    NoKeyPackage = 42, "no_key_package";
    /// A key package does not verify, is expired or lives too long.
    KeyPackageInvalid = 43, "key_package_invalid";
    /// No such blob, or it is not whole yet, or it has expired.
    UnknownBlob = 44, "unknown_blob";
    /// No such invite link, or it has expired or was used up.
    UnknownInvite = 45, "unknown_invite";
    /// The account has no backup.
    NoBackup = 46, "no_backup";
    /// The account has no such device.
    UnknownDevice = 47, "unknown_device";
    /// No device offers itself under this link code, or it did so too long ago.
    UnknownLink = 48, "unknown_link";
    /// The epoch is not the conversation's; process the log and seal again.
    StaleEpoch = 60, "stale_epoch";
    /// The generation is not the conversation's.
    StaleGeneration = 61, "stale_generation";
    /// The two accounts already have a conversation; its id is in the error.
    ConversationExists = 62, "conversation_exists";
    /// The commit or group info does not verify.
    CommitInvalid = 63, "commit_invalid";
    /// The rules of the conversation do not allow the change.
    NotAllowed = 64, "not_allowed";
    /// The account is banned from the group.
    Banned = 65, "banned";
    /// Another room has this title, or one that looks like it.
    TitleTaken = 66, "title_taken";
    /// The account has used up its room for blobs.
    QuotaExceeded = 80, "quota_exceeded";
    /// The piece does not follow what is stored, or the blob has another size.
    BlobMismatch = 81, "blob_mismatch";
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn numbers_and_names_are_stable() {
        let table: String = ErrorCode::ALL
            .iter()
            .map(|code| format!("{} {}\n", *code as u32, code.name()))
            .collect();
        insta::assert_snapshot!(table);
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(*code as u32), *code);
        }
        assert_eq!(ErrorCode::from_number(9_999), ErrorCode::Internal);
    }
}
