//! What lies over the conversation: lists to pick from, sheets to read, the safety number, forms
//! to fill in, a recovery key to write down, and questions that wait for yes or no.

use sotto_crypto::content::MessageRef;
use sotto_protocol::Username;

use super::form::{FirstRun, Form};
use super::picker::Picker;
use super::piece::Row;
use crate::engine::api::{SafetyNumber, Target};

/// Something over the conversation.
pub(crate) enum Overlay {
    Picker(Picker),
    Sheet(Sheet),
    Safety(Safety),
    Question(Question),
    Form(Box<Asking>),
    /// The steps of a recovery key, as in the first run.
    Recovery(FirstRun),
}

/// A form, and what to know before it is filled in.
pub(crate) struct Asking {
    pub(crate) title: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) form: Form,
}

/// Rows to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) scroll: usize,
}

impl Sheet {
    /// A sheet that begins at its first row.
    pub(crate) fn new(title: impl Into<String>, rows: Vec<Row>) -> Self {
        Self {
            title: title.into(),
            rows,
            scroll: 0,
        }
    }

    /// Moves by rows; down is positive.
    pub(crate) fn scroll(&mut self, rows: isize) {
        let most = self.rows.len().saturating_sub(1);
        self.scroll = self.scroll.saturating_add_signed(rows).min(most);
    }
}

/// The number to compare with somebody.
pub(crate) struct Safety {
    pub(crate) name: Username,
    pub(crate) number: Option<SafetyNumber>,
    /// The number is on its way.
    pub(crate) waiting: bool,
    pub(crate) form: Form,
}

/// Something that cannot be taken back, or that must be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) words: Vec<String>,
    pub(crate) doing: Doing,
}

/// What a yes does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing {
    Quit,
    Delete(Target),
    AcceptIdentity(Username),
    Block(Username),
    /// Gets a file to show its picture.
    Fetch(MessageRef),
}
