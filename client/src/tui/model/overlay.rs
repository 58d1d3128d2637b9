//! What lies over the conversation: lists to pick from, sheets to read, the safety number, forms
//! to fill in, a recovery key to write down, questions that wait for yes or no, and what must be
//! seen.

use sotto_crypto::content::MessageRef;
use sotto_protocol::{ConversationId, Username};

use super::form::{FirstRun, Form};
use super::picker::Picker;
use super::piece::{Row, Tone};
use crate::engine::api::{SafetyNumber, Target};
use crate::safe_text::SafeText;
use crate::tui::keys::{Action, Mode};
use crate::tui::text::{self, Layout};

/// Lines of a text at most: a message of 65,536 bytes has no more.
const LINES_MAX: usize = 65_536;
/// Lines of a text that are laid out for one frame.
const LINES_AT_ONCE: usize = 500;

/// Something over the conversation.
pub(crate) enum Overlay {
    Picker(Picker),
    Sheet(Sheet),
    Safety(Safety),
    Question(Question),
    Notice(Notice),
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

/// Something to be read: rows, and below them a text that is shown to its end.
#[derive(Default)]
pub(crate) struct Sheet {
    pub(crate) title: String,
    /// What comes back after it.
    pub(super) below: Option<Box<Overlay>>,
    /// What the key that copies takes, and is shown in one row where it fits.
    pub(super) whole: Option<String>,
    rows: Vec<Row>,
    /// The text, line by line as its writer broke it, and how many of them are laid out.
    lines: Vec<SafeText>,
    lines_laid: usize,
    /// All of it as it stands on the screen, and the cells of a row that it was laid out for.
    laid: Vec<Row>,
    cells: usize,
    /// Rows that the screen has for it.
    height: usize,
    pub(crate) scroll: usize,
}

impl Sheet {
    /// A sheet that begins at its first row.
    pub(crate) fn new(title: impl Into<String>, rows: Vec<Row>) -> Self {
        Self {
            title: title.into(),
            rows,
            ..Self::default()
        }
    }

    /// With a text below its rows.
    pub(crate) fn with_text(mut self, text: impl Into<String>) -> Self {
        let text: String = text.into();
        if !text.is_empty() {
            self.lines = SafeText::lines(&text, LINES_MAX);
        }
        self
    }

    /// With a part of its text that is copied by a key.
    pub(crate) fn with_copy(mut self, text: impl Into<String>) -> Self {
        self.whole = Some(text.into());
        self
    }

    /// What the key that copies takes.
    pub(crate) fn copied(&self) -> Option<&str> {
        self.whole.as_deref()
    }

    /// Cells that it wants for a row that is not to be broken.
    pub(crate) fn wanted_cells(&self) -> usize {
        let whole = self.whole.as_deref().unwrap_or_default();
        SafeText::line(whole, usize::MAX).cells()
    }

    /// Lays it out for so many rows of so many cells: nothing of it is cut. Of a very long text some lines
    /// a call, so that no frame waits for it.
    pub(crate) fn lay(&mut self, (cells, height): (usize, usize)) {
        self.height = height;
        if self.cells != cells {
            self.begin(cells);
        }
        let layout = Layout {
            width: cells,
            ..Layout::default()
        };
        let next = self.lines.iter().skip(self.lines_laid);
        for line in next.take(LINES_AT_ONCE) {
            let rows = text::wrap(line.as_str(), layout).into_iter();
            self.laid
                .extend(rows.map(|row| Row::of(Tone::Text, row.text())));
            self.lines_laid += 1;
        }
    }

    /// Whether all of it is laid out.
    pub(crate) const fn is_whole(&self) -> bool {
        self.lines_laid >= self.lines.len()
    }

    fn begin(&mut self, cells: usize) {
        self.cells = cells;
        self.lines_laid = 0;
        self.laid = self
            .rows
            .iter()
            .flat_map(|row| row.wrapped(cells))
            .collect();
    }

    /// Its rows on the screen.
    pub(crate) fn laid(&self) -> &[Row] {
        &self.laid
    }

    /// Moves by rows; down is positive.
    pub(crate) fn scroll(&mut self, rows: isize) {
        let most = self.laid.len().saturating_sub(self.height.max(1));
        // To the end of what is not laid out yet, too.
        self.scroll = match rows {
            isize::MAX => usize::MAX,
            rows => self.scroll.min(most).saturating_add_signed(rows).min(most),
        };
    }
}

/// The number to compare with somebody.
pub(crate) struct Safety {
    pub(crate) name: Username,
    pub(crate) number: Option<SafetyNumber>,
    /// The number is on its way.
    pub(crate) waiting: bool,
    /// What is shown where both have no room.
    pub(crate) showing: Showing,
    pub(crate) form: Form,
}

/// Something that must be seen.
pub(crate) struct Notice {
    pub(crate) title: &'static str,
    pub(crate) tone: Tone,
    pub(crate) words: Vec<String>,
    /// What comes after it.
    pub(crate) then: Option<Box<Overlay>>,
}

impl Notice {
    /// What the keys are for: a warning goes by no key that somebody may press who only goes on
    /// typing.
    pub(crate) const fn mode(&self) -> Mode {
        match self.tone {
            Tone::Security => Mode::Ask,
            _ => Mode::Browse,
        }
    }
}

impl Safety {
    /// Shows the code in the place of the digits, or the other way round.
    pub(super) const fn turn(&mut self) {
        self.showing = match self.showing {
            Showing::Digits => Showing::Code,
            Showing::Code => Showing::Digits,
        };
    }
}

/// Which form of a safety number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Showing {
    #[default]
    Digits,
    Code,
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
    /// Runs a command that cannot be taken back.
    Run(Vec<String>),
    /// Answers somebody who wants to talk.
    Request(Username),
    /// Answers an invitation to a group.
    Invitation(ConversationId),
}

impl Doing {
    /// What is asked, in a word or two.
    pub(crate) const fn title(&self) -> &'static str {
        match self {
            Self::Request(_) => "Somebody wants to talk with you",
            Self::Invitation(_) => "An invitation",
            _ => "Really?",
        }
    }

    /// The answers, each with what it does where yes and no do not say it.
    pub(crate) fn answers(&self) -> &'static [(Action, &'static str)] {
        match self {
            Self::Request(_) => &[
                (
                    Action::Yes,
                    "accept: you can write to each other; they see that you did",
                ),
                (
                    Action::AcceptUnsaved,
                    "accept unsaved: as above, and nothing of it is kept on this disk",
                ),
                (Action::No, "decline: the request goes; they are not told"),
                (Action::Block, "block: nothing more comes from them, ever"),
                (Action::Back, "decide later: they see nothing of it"),
            ],
            Self::Invitation(_) => &[
                (
                    Action::Yes,
                    "join: you read and write there; its members see you",
                ),
                (
                    Action::No,
                    "decline: whoever invited you may see that you did not come",
                ),
                (Action::Back, "decide later"),
            ],
            _ => &[(Action::Yes, "yes"), (Action::No, "no")],
        }
    }
}

#[cfg(test)]
#[path = "sheet_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "answers_tests.rs"]
mod answers_tests;
