//! How a command ends: documented exit codes, and the one shape of an error
//! message, for people and for programs.

use std::process::ExitCode;

use serde_json::json;
use sotto_protocol::ErrorCode;

use crate::safe_text::{SafeText, escape_json};

/// Lines about settings that are wrong.
const SETTINGS_LINES_MAX: usize = 100;
/// Cells of an error sentence.
const SENTENCE_CELLS_MAX: usize = 600;

/// Exit codes that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something unexpected: a damaged store, an internal failure.
    Unexpected = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// A password or a login was not accepted, or the server is of another deployment.
    Authentication = 3,
    /// No such person, conversation or profile.
    NotFound = 4,
    /// Refused by a rule: a changed identity, a block, a limit.
    Refused = 5,
    /// No server with a valid certificate was reached, or the time ran out.
    /// What was to be sent stays queued.
    Unreachable = 6,
    /// Another client is using the profile.
    ProfileInUse = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The meaning of an exit code; an unknown one is unexpected.
    #[must_use]
    pub const fn of_number(number: u8) -> Self {
        match number {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::Authentication,
            4 => Self::NotFound,
            5 => Self::Refused,
            6 => Self::Unreachable,
            7 => Self::ProfileInUse,
            _ => Self::Unexpected,
        }
    }

    /// The exit code that belongs to a server's refusal.
    #[must_use]
    pub const fn of_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Internal
            | ErrorCode::Malformed
            | ErrorCode::TooLarge
            | ErrorCode::UnsupportedVersion
            | ErrorCode::KeyPackageInvalid
            | ErrorCode::StaleEpoch
            | ErrorCode::StaleGeneration
            | ErrorCode::ConversationExists
            | ErrorCode::BlobMismatch
            | ErrorCode::CommitInvalid => Self::Unexpected,
            ErrorCode::NotLoggedIn
            | ErrorCode::WrongCredentials
            | ErrorCode::CertificateInvalid
            | ErrorCode::IdentityMismatch
            | ErrorCode::AccountDisabled => Self::Authentication,
            ErrorCode::UnknownUser
            | ErrorCode::UnknownConversation
            | ErrorCode::UnknownBlob
            | ErrorCode::UnknownInvite
            | ErrorCode::UnknownDevice
            | ErrorCode::UnknownLink
            | ErrorCode::NoBackup => Self::NotFound,
            ErrorCode::NameTaken
            | ErrorCode::NameInvalid
            | ErrorCode::RegistrationClosed
            | ErrorCode::InviteRequired
            | ErrorCode::TooManyDevices
            | ErrorCode::NoKeyPackage
            | ErrorCode::NotAllowed
            | ErrorCode::Banned
            | ErrorCode::TitleTaken
            | ErrorCode::QuotaExceeded
            | ErrorCode::RateLimited => Self::Refused,
            ErrorCode::Unavailable => Self::Unreachable,
        }
    }

    /// The exit code that belongs to an error's name, as the engine gives it.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        if let Some(code) = ErrorCode::ALL.iter().find(|code| code.name() == name) {
            return Self::of_code(*code);
        }
        match name {
            "usage" | "self" => Self::Usage,
            "wrong_password" | "wrong_account" | "logged_out" | "wrong_deployment"
            | "password_needed" => Self::Authentication,
            "not_found" | "not_a_request" | "not_an_invitation" | "no_profile"
            | "unknown_message" | "no_file" => Self::NotFound,
            "key_changed"
            | "blocked"
            | "safety_number_differs"
            | "profile_exists"
            | "already_member"
            | "not_a_member"
            | "last_owner"
            | "too_many_links"
            | "attachment_mismatch"
            | "file_changed"
            | "metadata"
            | "too_many_commands" => Self::Refused,
            "unreachable" | "certificate_mismatch" | "timed_out" | "queued" | "forgotten" => {
                Self::Unreachable
            }
            "profile_in_use" => Self::ProfileInUse,
            _ => Self::Unexpected,
        }
    }
}

/// What the operating system says, without its number.
pub(crate) fn cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// A stable name for programs.
    pub code: String,
    /// One sentence for people, with what to do next.
    pub message: String,
    /// When trying again makes sense, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure whose exit code follows from its name.
    #[must_use]
    pub fn named(code: &str, message: impl Into<String>) -> Self {
        Self {
            exit: Exit::of_name(code),
            code: code.to_owned(),
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// Whoever read the output went away: nothing is left to say.
    pub(crate) fn output_closed() -> Self {
        Self::named("output_closed", "the output was closed")
    }

    /// Whether there is nobody to tell.
    pub(crate) fn is_silent(&self) -> bool {
        self.code == "output_closed"
    }

    /// The same, telling when to try again.
    #[must_use]
    pub fn retry_after(mut self, retry_after_ms: Option<u64>) -> Self {
        self.retry_after_ms = retry_after_ms.filter(|&ms| ms > 0);
        self
    }

    /// `{"error":{"code","message","retry_after"?}}` on one line; `retry_after` in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(ms), Some(fields)) = (self.retry_after_ms, error.as_object_mut()) {
            fields.insert("retry_after".to_owned(), json!(ms));
        }
        escape_json(&json!({ "error": error }).to_string())
    }

    /// What a person is told, a line each: one sentence, but of settings everything that is wrong
    /// with them.
    pub(crate) fn to_lines(&self) -> Vec<SafeText> {
        if self.code != "bad_settings" {
            return vec![self.to_sentence()];
        }
        let lines = self.message.lines().take(SETTINGS_LINES_MAX);
        lines
            .map(|line| SafeText::line(line, SENTENCE_CELLS_MAX))
            .collect()
    }

    /// One sentence for a person.
    #[must_use]
    pub fn to_sentence(&self) -> SafeText {
        let mut sentence = self.message.clone();
        if let Some(ms) = self.retry_after_ms {
            let wait = match ms.div_ceil(1000) {
                seconds @ ..120 => format!("{seconds} s"),
                seconds => format!("{} min", seconds.div_ceil(60)),
            };
            sentence.push_str(&format!(" (try again in {wait})"));
        }
        SafeText::line(&sentence, SENTENCE_CELLS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_code_has_an_exit() {
        let table: Vec<_> = ErrorCode::ALL
            .iter()
            .map(|code| (code.name(), Exit::of_name(code.name()) as u8))
            .collect();
        insta::assert_debug_snapshot!(table);
    }

    #[test]
    fn everything_that_is_wrong_with_settings_has_a_line_and_nothing_else_has_two() {
        let wrong = "tui.toml: this\n\u{1b}[2Jthat\nand that";
        let lines = Failure::named("bad_settings", wrong).to_lines();
        let lines: Vec<&str> = lines.iter().map(SafeText::as_str).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0], lines[2]), ("tui.toml: this", "and that"));
        assert!(!lines[1].contains('\u{1b}'));
        assert_eq!(Failure::named("usage", wrong).to_lines().len(), 1);
    }

    #[test]
    fn json_is_one_harmless_line() {
        let failure = Failure::named("rate_limited", "no\u{1b}[2J\n").retry_after(Some(1500));
        let json = failure.to_json();
        assert!(!json.chars().any(char::is_control));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["error"]["code"], "rate_limited");
        assert_eq!(value["error"]["retry_after"], 1500);
        assert_eq!(failure.exit, Exit::Refused);
    }
}
