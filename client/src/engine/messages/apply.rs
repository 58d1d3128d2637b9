//! What a change does to what is stored: the same on every device, in
//! whatever order things become known, because places in the log decide.

use sotto_crypto::Body;
use sotto_crypto::content::CAPTION_BYTES_MAX;
use sotto_protocol::Username;

use crate::engine::api::{Direction, Keep};
use crate::history::{ChangeRow, Fate, History, HistoryError, Mentioned, MessageRow, Standing};
use crate::talk::Talk;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It counts.
    Done,
    /// Its target is not here; it is kept until it comes.
    Waits,
    /// It is about something that is gone, or that something later decided.
    Nothing,
    /// The sender may not do this; why, in one sentence.
    Refused(&'static str),
}

/// Where a change happens.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) history: &'a History,
    pub(super) keep: Keep,
    pub(super) talk: &'a Talk,
    /// The account here.
    pub(super) me: &'a Username,
}

impl Scene<'_> {
    /// Takes a change up.
    pub(super) fn apply(&self, change: &ChangeRow) -> Result<Applied, HistoryError> {
        let Some(target) = change.target() else {
            return self.timer(change);
        };
        let row = self
            .history
            .message(self.keep, &change.conversation, &target)?;
        if row.as_ref().is_some_and(|row| row.fate != Fate::There) {
            return Ok(Applied::Nothing);
        }
        match (&change.body, row) {
            (Body::Edit(_) | Body::Delete(_), None) => {
                let mut waiting = change.clone();
                waiting.waits = true;
                self.history.keep_change(self.keep, &waiting)?;
                Ok(Applied::Waits)
            }
            (Body::Edit(_), Some(row)) => self.edit(change, row),
            (Body::Delete(_), Some(row)) => self.delete(change, &row),
            (Body::Reaction(reaction), _) => {
                self.history.note_reaction(
                    self.keep,
                    (&change.conversation, &target),
                    (&change.sender, &reaction.emoji),
                    (change.seq, Removed(reaction.remove).into()),
                )?;
                Ok(Applied::Done)
            }
            (Body::Pin(pin), _) if self.may_arrange(change) => {
                self.history.note_pin(
                    self.keep,
                    (&change.conversation, &target),
                    &change.sender,
                    (change.seq, Removed(pin.remove).into()),
                )?;
                Ok(Applied::Done)
            }
            (Body::Pin(_), _) => Ok(Applied::Refused("only an admin can pin messages here")),
            _ => Ok(Applied::Nothing),
        }
    }

    /// A message has come: what waited for it is done, in log order.
    pub(super) fn arrived(&self, row: &MessageRow) -> Result<(), HistoryError> {
        let waiting = self
            .history
            .take_waiting(self.keep, &row.conversation, &row.reference())?;
        for change in waiting {
            self.apply(&change)?;
        }
        Ok(())
    }

    /// In a pair both arrange things, in a group its admins.
    fn may_arrange(&self, change: &ChangeRow) -> bool {
        change.by_admin || self.talk.person().is_some()
    }

    fn timer(&self, change: &ChangeRow) -> Result<Applied, HistoryError> {
        let Body::Timer(expires_after_s) = change.body else {
            return Ok(Applied::Nothing);
        };
        if !self.may_arrange(change) {
            return Ok(Applied::Refused("only an admin can set the timer here"));
        }
        self.history.note_timer(
            self.keep,
            &change.conversation,
            &change.sender,
            (change.seq, expires_after_s),
        )?;
        Ok(Applied::Done)
    }

    fn edit(&self, change: &ChangeRow, mut row: MessageRow) -> Result<Applied, HistoryError> {
        let Body::Edit(edit) = &change.body else {
            return Ok(Applied::Nothing);
        };
        if change.sender != row.sender {
            return Ok(Applied::Refused("only its author can change a message"));
        }
        if change.seq <= row.edited_seq {
            return Ok(Applied::Nothing);
        }
        match &mut row.body {
            Body::Text(text) => {
                text.text.clone_from(&edit.text);
                text.mentions.clone_from(&edit.mentions);
            }
            Body::Attachment(file) if edit.text.len() <= CAPTION_BYTES_MAX => {
                file.caption.clone_from(&edit.text);
            }
            _ => return Ok(Applied::Nothing),
        }
        row.edited_seq = change.seq;
        let incoming = row.direction == Direction::Incoming;
        let mentioned = match incoming && edit.mentions.contains(self.me) {
            true => Mentioned::Yes,
            false => Mentioned::No,
        };
        self.history.replace_body(self.keep, &row, mentioned)?;
        Ok(Applied::Done)
    }

    fn delete(&self, change: &ChangeRow, row: &MessageRow) -> Result<Applied, HistoryError> {
        let in_group = self.talk.person().is_none();
        if change.sender != row.sender && !(in_group && change.by_admin) {
            return Ok(Applied::Refused(
                "only its author, or in a group an admin, can take a message back",
            ));
        }
        self.history.empty_message(self.keep, row, Fate::Deleted)?;
        if let (Body::Attachment(file), true) = (&row.body, row.sender == *self.me) {
            self.history.put_blob_due(&file.blob_id)?;
        }
        Ok(Applied::Done)
    }
}

/// The wire's word for what was taken back.
struct Removed(bool);

impl From<Removed> for Standing {
    fn from(Removed(removed): Removed) -> Self {
        if removed { Self::Off } else { Self::On }
    }
}
