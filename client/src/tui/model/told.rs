//! What the person is told beside the messages: remarks that pass, warnings that stand until they
//! are seen, notices over everything else, and lines of the client's own among the messages.
//!
//! It decides how long each stays; nothing that concerns safety goes by itself.

use std::collections::VecDeque;

use sotto_protocol::{ConversationId, Username};

use super::overlay::{Notice, Overlay};
use super::piece::Tone;
use super::{Focus, Model};
use crate::cli::inside::security_title;
use crate::engine::Verification;
use crate::engine::api::{GroupNews, SecurityEvent, SecurityKind};
use crate::talk::Talk;
use crate::tui::ask::Chats;
use crate::tui::keys::{Action, Mode};

/// How long a remark stands, in milliseconds.
const REMARK_MS: u64 = 8_000;
/// Warnings that wait to be acknowledged.
const ALARMS_MAX: usize = 20;
/// Conversations of which lines are remembered.
const TALKS_MAX: usize = 200;
/// Lines that are remembered of a conversation.
pub(super) const LINES_MAX: usize = 50;

/// Words that pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) tone: Tone,
    pub(crate) text: String,
    pub(super) until_ms: u64,
    /// What takes it away before.
    pub(super) ends: Ends,
}

/// What takes a remark away before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Another pane, list or conversation, unless it warns.
    Elsewhere,
    /// The next key.
    NextKey,
}

/// A warning that stands until it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) words: String,
    /// Whose changed identity it tells; it goes when that is answered.
    changed: Option<Username>,
}

/// A line of the client's own, after the message at a place of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) after: u64,
    pub(crate) tone: Tone,
    pub(crate) words: String,
}

impl Model {
    /// A remark: it passes by itself.
    pub(super) fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.remark = Some(Remark {
            tone,
            text: text.into(),
            until_ms: self.now.monotonic_ms + REMARK_MS,
            ends: Ends::Elsewhere,
        });
    }

    /// A remark that the next key takes away.
    pub(super) fn say_for_now(&mut self, text: impl Into<String>) {
        self.say(Tone::Dim, text);
        if let Some(remark) = &mut self.remark {
            remark.ends = Ends::NextKey;
        }
    }

    /// Where the person is: what was remarked elsewhere is of no use there.
    pub(super) fn place(&self) -> (Focus, Option<Talk>, bool) {
        let talk = self.pane.as_ref().map(|pane| pane.talk.clone());
        (self.focus, talk, self.overlay.is_some())
    }

    /// A key was taken in: remarks that stood before it may be over.
    pub(super) fn outlive(&mut self, before: Option<Remark>, place: &(Focus, Option<Talk>, bool)) {
        let Some(before) = before.filter(|before| self.remark.as_ref() == Some(before)) else {
            return;
        };
        let over = match before.ends {
            Ends::NextKey => true,
            Ends::Elsewhere => before.tone == Tone::Dim && self.place() != *place,
        };
        if over {
            self.remark = None;
        }
    }

    /// When the next part of a long text is laid out; monotonic milliseconds.
    pub(super) fn goes_on_laying(&self) -> Option<u64> {
        match &self.overlay {
            Some(Overlay::Sheet(sheet)) if !sheet.is_whole() => Some(self.now.monotonic_ms + 1),
            _ => None,
        }
    }

    /// Something that must be seen, over everything else; what lay there comes back after it.
    pub(super) fn notice(&mut self, (title, tone): (&'static str, Tone), words: Vec<String>) {
        let then = match self.overlay.take() {
            // One at a time: what was said before is read.
            Some(Overlay::Notice(notice)) => notice.then,
            Some(Overlay::Safety(safety)) => Some(Box::new(Overlay::Safety(safety))),
            _ => None,
        };
        self.overlay = Some(Overlay::Notice(Notice {
            title,
            tone,
            words,
            then,
        }));
    }

    /// A line among the messages of a conversation, whether it is open or not.
    pub(super) fn system(&mut self, talk: &Talk, tone: Tone, words: &str) {
        let last = self.list.chat(talk).and_then(|chat| chat.last.as_ref());
        let mut after = last.map_or(0, |message| message.seq);
        if let Some(pane) = self.pane.as_ref().filter(|pane| pane.talk == *talk) {
            after = after.max(pane.last_seq());
        }
        let line = Line {
            after,
            tone,
            words: words.to_owned(),
        };
        if let Some(pane) = self.pane.as_mut().filter(|pane| pane.talk == *talk) {
            pane.say(&line);
        }
        if self.lines.len() >= TALKS_MAX && !self.lines.contains_key(talk) {
            self.lines.pop_first();
        }
        let lines: &mut VecDeque<Line> = self.lines.entry(talk.clone()).or_default();
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Somebody's name, as this person reads it.
    pub(super) fn who(&self, name: &Username) -> String {
        let own = self.me.as_ref().map(|who| &who.username);
        match own == Some(name) {
            true => "you".to_owned(),
            false => name.to_string(),
        }
    }

    /// A group has another title or description.
    pub(super) fn told_group(&mut self, news: &GroupNews) {
        let talk = Talk::Group(news.conversation);
        let known = self.list.chat(&talk).and_then(|chat| chat.title.as_deref());
        let words = match known == Some(news.title.as_str()) {
            true if news.description.is_empty() => format!("{} took its description off", news.by),
            true => format!("{} describes this group: {}", news.by, news.description),
            false => format!("{} calls this group {}", news.by, news.title),
        };
        self.system(&talk, Tone::Dim, &words);
    }

    /// The list comes: a title that changed without a word is the own doing, here or on another
    /// device.
    pub(super) fn renamed(&mut self, chats: &Chats) {
        let mut renamed = Vec::new();
        for chat in &chats.chats {
            let before = self
                .list
                .chat(&chat.talk)
                .and_then(|chat| chat.title.as_ref());
            let (Some(before), Some(title)) = (before, &chat.title) else {
                continue;
            };
            let lines = self.lines.get(&chat.talk);
            let told = lines
                .into_iter()
                .flatten()
                .any(|line| line.words.ends_with(title));
            if before != title && !told {
                renamed.push((
                    chat.talk.clone(),
                    format!("this group is called {title} now"),
                ));
            }
        }
        for (talk, words) in renamed {
            self.system(&talk, Tone::Dim, &words);
        }
    }

    /// The person made a group or came into one: it is shown, unless something is being written.
    pub(super) fn entered(&mut self, talk: Talk) {
        self.chats_again();
        if self.is_open(&talk) {
            return;
        }
        if self.composer.is_empty() || self.composer.is_command() {
            self.composer.set("");
            self.open(talk);
        } else {
            let way = self.wishes.keymap.way(self.mode(), Action::Palette);
            let words = format!("you are in; {} leads there", way.unwrap_or_default());
            self.say(Tone::Good, words);
        }
    }

    /// Which conversation of the list has this id.
    pub(super) fn talk_of(&self, conversation: ConversationId) -> Option<Talk> {
        let open = self.pane.as_ref();
        let open = open.filter(|pane| pane.overview.conversation == Some(conversation));
        let listed = || {
            let mut chats = self.list.chats().iter();
            chats.find(|chat| chat.conversation == Some(conversation))
        };
        open.map(|pane| pane.talk.clone())
            .or_else(|| listed().map(|chat| chat.talk.clone()))
    }

    /// What nobody may overlook stands on top until it is acknowledged; what is only worth
    /// knowing stands among the messages.
    pub(super) fn security(&mut self, security: &SecurityEvent) {
        let about = security.subject.as_ref();
        let about = about.map_or_else(String::new, |name| format!("{name}: "));
        let action = match security.kind {
            // What is typed in a shell is a key here.
            SecurityKind::KeyChanged => self.changed_words(),
            _ => security.action.clone(),
        };
        let words = format!("{about}{}; {action}", security_title(security.kind));
        let own = self.me.as_ref().map(|who| &who.username);
        let quiet = match security.kind {
            SecurityKind::RecoveryStarted | SecurityKind::RecoveryDone => true,
            // Another device of this account reads everything: that is nothing to pass by.
            SecurityKind::DeviceAdded => security.subject.as_ref() != own,
            _ => false,
        };
        let talk = security.conversation.and_then(|id| self.talk_of(id));
        match talk.filter(|_| quiet) {
            Some(talk) => self.system(&talk, Tone::Warning, &words),
            None => self.alarm(Alarm {
                words,
                changed: security
                    .subject
                    .clone()
                    .filter(|_| security.kind == SecurityKind::KeyChanged),
            }),
        }
        self.overview_again();
    }

    /// What to do about somebody's changed identity, by the keys for it.
    fn changed_words(&self) -> String {
        let way = |action| {
            let way = self.wishes.keymap.way(Mode::Ask, action);
            way.unwrap_or_default()
        };
        format!(
            "nothing is sent there until {} compares the safety number or {} accepts it unseen",
            way(Action::Verify),
            way(Action::Accept)
        )
    }

    /// A warning about nobody's identity.
    pub(super) fn warn(&mut self, words: String) {
        self.alarm(Alarm {
            words,
            changed: None,
        });
    }

    fn alarm(&mut self, alarm: Alarm) {
        if self.alarms.contains(&alarm) {
            return;
        }
        if self.alarms.len() >= ALARMS_MAX {
            self.alarms.pop_front();
        }
        self.alarms.push_back(alarm);
    }

    /// Somebody's changed identity was answered: what warned of it goes.
    pub(super) fn identity_answered(&mut self, name: &Username) {
        self.alarms
            .retain(|alarm| alarm.changed.as_ref() != Some(name));
        self.overview_again();
        self.chats_again();
    }

    /// What came of comparing digits.
    pub(super) fn verified(&mut self, name: &Username, outcome: Verification) {
        match outcome {
            Verification::Confirmed => {
                self.identity_answered(name);
                if let Some(Overlay::Safety(safety)) = &self.overlay
                    && safety.name == *name
                {
                    self.overlay = None;
                }
                let words = vec![
                    format!("The digits are the same: {name} is verified."),
                    "Nobody is between you. The title says so from now on.".to_owned(),
                ];
                self.notice(("Verified", Tone::Good), words);
            }
            Verification::Differs => {
                if let Some(Overlay::Safety(safety)) = &mut self.overlay {
                    safety.form.clear();
                }
                let words = vec![
                    format!("These are NOT the digits of you and {name}."),
                    "Somebody may be in the middle and read what you write.".to_owned(),
                    format!(
                        "Ask {name} to read them again, by voice. If they still differ, write \
                         nothing here that a stranger may not read."
                    ),
                ];
                self.notice(("The digits differ", Tone::Security), words);
            }
            Verification::Unknown => self.say(Tone::Warning, "nobody of this name is known"),
        }
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
