//! Writing, and what is done with the selected message.

use sotto_crypto::content::Emoji;
use sotto_protocol::{ClientMessageId, Username};

use super::composer::{Composer, Way};
use super::overlay::{Doing, Overlay, Question, Sheet};
use super::piece::{Row, Tone};
use super::rows::{Reach, preview, quoted, size, time_of};
use super::{About, Effect, Model};
use crate::cli::inside::input::{self, Input};
use crate::engine::api::{Direction, Message, MessageBody, Put, SendOptions};
use crate::engine::screen::Standing;
use crate::talk::Talk;
use crate::tui::ask::{Ask, Link, reference};
use crate::tui::keys::{Action, Mode};

/// Most people that one message speaks to by name.
const MENTIONS_MAX: usize = 64;

impl Model {
    pub(super) fn act_in_composer(&mut self, action: Action) {
        let width = self.composer_cells;
        let composer = &mut self.composer;
        match action {
            Action::Send | Action::Confirm => return self.send(),
            Action::Left => return composer.step(Way::Back),
            Action::Right => return composer.step(Way::Forward),
            Action::WordLeft => return composer.step_word(Way::Back),
            Action::WordRight => return composer.step_word(Way::Forward),
            Action::LineStart => return composer.line_edge(Way::Back),
            Action::LineEnd => return composer.line_edge(Way::Forward),
            Action::HistoryPrevious | Action::Up => composer.step_row(Way::Back, width),
            Action::HistoryNext | Action::Down => composer.step_row(Way::Forward, width),
            Action::NewLine => composer.type_char('\n'),
            Action::DeleteBack => composer.delete(Way::Back),
            Action::DeleteForward => composer.delete(Way::Forward),
            Action::DeleteWord => composer.delete_word(),
            Action::DeleteToStart => composer.delete_to_edge(Way::Back),
            Action::DeleteToEnd => composer.delete_to_edge(Way::Forward),
            Action::Yank => composer.yank(),
            Action::Undo => composer.undo(),
            Action::Redo => composer.redo(),
            Action::Complete => self.complete(Way::Forward),
            Action::CompletePrevious => self.complete(Way::Back),
            Action::OpenEditor => return self.open_editor(),
            Action::EditLast => return self.edit_last(),
            Action::Attach => return self.attach(),
            Action::PageUp => return self.page(-1),
            Action::PageDown => return self.page(1),
            Action::Bottom => {
                let ask = self.pane.as_mut().and_then(super::Pane::go_to_end);
                return self.asks.extend(ask);
            }
            Action::Top => {
                if let Some(pane) = &mut self.pane {
                    pane.go_to_start();
                    pane.deselect();
                }
                return;
            }
            _ => return,
        }
        self.wrote();
    }

    /// A program that nobody chose is named before, with how to leave it.
    fn open_editor(&mut self) {
        let unasked = self.wishes.stranger.filter(|_| !self.warned_of_editor);
        if let Some((name, ways_out)) = unasked.and_then(|it| Some((it.name, it.ways_out?))) {
            self.warned_of_editor = true;
            let way = self.wishes.keymap.way(self.mode(), Action::OpenEditor);
            let words = format!(
                "no $EDITOR is set: {} again opens {name}; there {ways_out}",
                way.unwrap_or_default()
            );
            return self.say(Tone::Key, words);
        }
        let text = self.composer.text().to_owned();
        self.effect(Effect::Edit(text));
    }

    fn page(&mut self, step: isize) {
        if let Some(pane) = &mut self.pane {
            let page = isize::try_from(pane.height().saturating_sub(1).max(1)).unwrap_or(1);
            pane.scroll(step * page);
        }
    }

    /// The text came back from another program; it is not sent by itself.
    pub(crate) fn edited(&mut self, text: &str) {
        self.composer.set(text.trim_end_matches('\n'));
        self.wrote();
    }

    fn attach(&mut self) {
        let Some(talk) = self.pane.as_ref().map(|pane| pane.talk.clone()) else {
            return;
        };
        if self.composer.is_command() {
            return;
        }
        let draft = self.composer.text().to_owned();
        let caption = draft.trim().replace('"', "\\\"");
        let label = self.command_name(&talk);
        self.composer
            .set(&format!("/send {label} \"{caption}\" --file "));
        self.attaching = Some((talk, draft));
        let way = |action| self.wishes.keymap.way(Mode::Compose, action);
        let (tab, esc) = (way(Action::Complete), way(Action::Back));
        let words = format!(
            "type the file's path: {} completes it, {} gives back what you wrote",
            tab.unwrap_or_default(),
            esc.unwrap_or_default()
        );
        self.say(Tone::Key, words);
    }

    /// What was written before a file was to be sent comes back; `false` where none was.
    pub(super) fn give_back(&mut self) -> bool {
        let here = self.pane.as_ref().map(|pane| &pane.talk);
        match self.attaching.take() {
            Some((talk, draft)) if here == Some(&talk) && self.composer.is_command() => {
                self.composer.set(&draft);
                self.remark = None;
                self.wrote();
                true
            }
            _ => false,
        }
    }

    /// How a command names a conversation: by its title where no other has it, else by its id.
    fn command_name(&self, talk: &Talk) -> String {
        let label = self.list.label(talk);
        let chats = self.list.chats().iter();
        let alike = chats.filter(|chat| chat.talk.label(chat.title.as_deref()) == label);
        let plain = |c: char| c.is_alphanumeric() || "#_.-".contains(c);
        // Another's title never ends its own quotation.
        let quotable = |c: char| !c.is_control() && !"'\"\\".contains(c);
        match alike.count() {
            1 if label.chars().all(plain) => label,
            1 if label.chars().all(quotable) => format!("'{label}'"),
            _ => talk.to_string(),
        }
    }

    /// Begins a line with a command.
    pub(super) fn begin_command(&mut self, words: &str) {
        if self.pane.is_none() {
            self.say(Tone::Dim, "open a conversation first");
            return;
        }
        self.enter_composer();
        self.composer.set(words);
    }

    /// Sends what is written, or runs it as a command. Nothing that begins as a command is ever
    /// sent as text.
    fn send(&mut self) {
        let Some(pane) = &self.pane else {
            return;
        };
        let talk = pane.talk.clone();
        let standing = pane.overview.standing;
        if let Some(About::Edit(message)) = self.about.clone() {
            return self.send_edit(&message);
        }
        let here = talk.to_string();
        match input::read(self.composer.text(), &here) {
            Input::Nothing => {}
            Input::Help => self.show_help(),
            Input::Quit => {
                self.composer.take();
                self.keep_draft();
                self.quit();
            }
            Input::Unclear(sentence) => self.say(Tone::Warning, sentence),
            Input::Run(words) => {
                if self.opens(&words) {
                    self.composer.take();
                    return;
                }
                self.composer.take();
                self.keep_draft();
                match unknown(&words) {
                    Some(word) => self.no_command(&word),
                    None => self.carry_out(words),
                }
            }
            Input::Say(_) if standing == Standing::Blocked => {
                let sentence = "you blocked this person; /unblock comes first";
                self.say(Tone::Warning, sentence);
            }
            Input::Say(_) if standing == Standing::Ended => {
                self.say(
                    Tone::Warning,
                    "you are out of this group; nothing can be sent",
                );
            }
            Input::Say(text) => {
                self.composer.take();
                self.say_in(talk, text);
            }
        }
    }

    /// Runs a command; of one that cannot be taken back the person is asked first.
    pub(super) fn carry_out(&mut self, words: Vec<String>) {
        let parts: Vec<&str> = words.iter().map(String::as_str).collect();
        let ["group" | "room", "leave", group] = parts.as_slice() else {
            return self.ask(Ask::Run { words });
        };
        let named = |talk: &Talk| {
            let label = self.list.label(talk);
            talk.to_string() == *group || label == *group
        };
        let here = self.pane.as_ref().filter(|pane| named(&pane.talk));
        let name = here.map_or((*group).to_owned(), |pane| self.list.label(&pane.talk));
        let then = match here.map(|pane| pane.overview.others) {
            Some(0) => "Nobody else is in it: it is gone for good then.",
            _ => "Nothing more of it comes here; only somebody in it can let you in again.",
        };
        let words_before = vec![format!("Leave {name}?"), then.to_owned()];
        self.overlay = Some(Overlay::Question(Question {
            words: words_before,
            doing: Doing::Run(words),
        }));
    }

    /// What was typed is brought back by the key for what was written before.
    fn no_command(&mut self, word: &str) {
        let way = self.wishes.keymap.way(self.mode(), Action::Commands);
        let words = format!(
            "/{word} is no command, and nothing was sent; {} finds them, // before it sends it as text",
            way.unwrap_or_default()
        );
        self.say(Tone::Warning, words);
    }

    /// `chat NAME` opens a conversation here; what asks for something has a form.
    fn opens(&mut self, words: &[String]) -> bool {
        match words {
            [word, name] if word == "chat" => match Username::parse(name) {
                Ok(name) => {
                    self.composer.set("");
                    self.open(name.into());
                    true
                }
                Err(_) => false,
            },
            _ => self.opens_form(words),
        }
    }

    fn say_in(&mut self, talk: Talk, text: String) {
        let client_id = ClientMessageId::from_bytes(rand::random());
        let reply_to = match self.about.take() {
            Some(About::Reply(message)) => Some(reference(&message)),
            _ => None,
        };
        let options = SendOptions {
            reply_to,
            mentions: self.spoken_to(&text),
            expires_after_s: None,
        };
        self.sending
            .insert(*client_id.as_bytes(), (talk.clone(), text.clone()));
        let goes = self.link == Link::Online
            && self.pane.as_ref().is_some_and(|pane| {
                pane.overview.standing == Standing::Open && pane.overview.changed.is_empty()
            });
        if goes {
            self.patience.sent(&client_id, self.now.monotonic_ms);
        }
        if let (Some(pane), Some(me)) = (&mut self.pane, &self.me) {
            pane.add(Message {
                conversation: pane
                    .overview
                    .conversation
                    .unwrap_or(sotto_protocol::ConversationId::from_bytes([0; 16])),
                talk: talk.clone(),
                title: None,
                id: client_id,
                seq: 0,
                sender: me.username.clone(),
                device: me.device,
                epoch: 0,
                direction: Direction::Outgoing,
                body: MessageBody::Text(text.clone()),
                details: Box::default(),
                sent_at_ms: self.now.unix_ms,
                stored_at_ms: 0,
            });
            let ask = pane.go_to_end();
            self.asks.extend(ask);
        }
        self.ask(Ask::Write {
            to: talk,
            text,
            options,
            client_id,
        });
        // How much is queued.
        self.chats_again();
        self.keep_draft();
    }

    /// Members whom a text names with an @ before their name.
    fn spoken_to(&self, text: &str) -> Vec<Username> {
        let Some(pane) = &self.pane else {
            return Vec::new();
        };
        let members = pane.overview.members.iter().map(|member| &member.name);
        let there = members.chain(pane.talk.person());
        let names = |name: &&Username| {
            text.split(|c: char| c.is_whitespace() || ",;:!?()".contains(c))
                .filter_map(|word| word.strip_prefix('@'))
                .any(|word| word.trim_end_matches('.') == name.as_str())
        };
        there.filter(names).take(MENTIONS_MAX).cloned().collect()
    }

    fn send_edit(&mut self, message: &Message) {
        let text = self.composer.text().to_owned();
        if text.trim().is_empty() {
            self.say(
                Tone::Warning,
                "an empty text does not delete; use the key that deletes",
            );
            return;
        }
        let mentions = self.spoken_to(&text);
        self.ask(Ask::Edit {
            target: Self::target(message),
            text,
            mentions,
        });
        self.forget_about();
    }

    /// Neither answers nor changes a message any more; a draft comes back.
    pub(super) fn forget_about(&mut self) {
        if let Some(About::Edit(_)) = self.about.take() {
            let talk = self.pane.as_ref().map(|pane| pane.talk.clone());
            let draft = talk.and_then(|talk| self.drafts.get(&talk).cloned());
            self.composer.set(draft.as_deref().unwrap_or_default());
        }
    }

    fn edit_last(&mut self) {
        let last = self.pane.as_ref().and_then(|pane| pane.last_own().cloned());
        match last {
            Some(message) => self.edit(message),
            None => self.say(Tone::Dim, "there is nothing of yours to change here"),
        }
    }

    fn edit(&mut self, message: Message) {
        let MessageBody::Text(text) = &message.body else {
            self.say(Tone::Dim, "this message has no text to change");
            return;
        };
        if message.direction == Direction::Incoming {
            self.say(Tone::Dim, "only its author can change a message");
            return;
        }
        self.keep_draft();
        self.composer.set(text);
        self.about = Some(About::Edit(Box::new(message)));
        self.enter_composer();
    }

    /// Does something with the selected message.
    pub(super) fn act_on_message(&mut self, action: Action) {
        let Some(message) = self.pane.as_ref().and_then(|pane| pane.selected().cloned()) else {
            return;
        };
        match action {
            Action::Reply | Action::Confirm => {
                self.about = Some(About::Reply(Box::new(message)));
                self.enter_composer();
            }
            Action::Edit => self.edit(message),
            Action::Delete => self.ask_to_delete(&message),
            Action::React => self.pick_reaction(),
            Action::Copy => self.copy(&message),
            Action::Save => self.save(&message),
            Action::Forward => self.pick_forward(),
            Action::Pin => {
                let put = if message.details.pinned {
                    Put::Off
                } else {
                    Put::On
                };
                self.ask(Ask::Pin {
                    target: Self::target(&message),
                    put,
                });
            }
            Action::Details => self.show_details(&message),
            Action::JumpToReply => self.jump_to_reply(&message),
            Action::ShowPicture => self.show_picture(&message),
            _ => {}
        }
    }

    fn ask_to_delete(&mut self, message: &Message) {
        if message.talk.group().is_none() && message.direction == Direction::Incoming {
            self.say(Tone::Dim, "only its author can take a message back");
            return;
        }
        let words = vec![
            "Take this message back for everyone?".to_owned(),
            preview(message),
        ];
        self.overlay = Some(Overlay::Question(Question {
            words,
            doing: Doing::Delete(Self::target(message)),
        }));
    }

    fn copy(&mut self, message: &Message) {
        let text = match &message.body {
            MessageBody::Text(text) => text.clone(),
            MessageBody::Attachment(file) => file.name.clone(),
            MessageBody::Deleted | MessageBody::Unknown => String::new(),
        };
        self.effect(Effect::Copy(text));
        self.say(Tone::Good, "copied, where the terminal allows it");
    }

    fn save(&mut self, message: &Message) {
        if !matches!(message.body, MessageBody::Attachment(_)) {
            self.say(Tone::Dim, "the message holds no file");
            return;
        }
        let words = vec!["save".to_owned(), message.id.to_string()];
        self.ask(Ask::Run { words });
    }

    pub(super) fn react_with(&mut self, emoji: &str, put: Put) {
        let message = self.pane.as_ref().and_then(|pane| pane.selected());
        if let (Some(message), Some(emoji)) = (message, Emoji::parse(emoji)) {
            let me = self.me.as_ref().map(|who| &who.username);
            let mine = message.details.reactions.iter().any(|reaction| {
                reaction.emoji == emoji && reaction.by.iter().any(|name| Some(name) == me)
            });
            let ask = Ask::React {
                target: Self::target(message),
                emoji,
                put: if mine { Put::Off } else { put },
            };
            self.ask(ask);
        }
    }

    pub(super) fn forward_to(&mut self, to: Talk) {
        let message = self.pane.as_ref().and_then(|pane| pane.selected());
        if let Some(message) = message {
            let target = Self::target(message);
            self.ask(Ask::Forward { target, to });
        }
    }

    fn jump_to_reply(&mut self, message: &Message) {
        let Some(reply) = &message.details.reply else {
            self.say(Tone::Dim, "this message answers none");
            return;
        };
        let seq = self.pane.as_ref().and_then(|pane| {
            let mut messages = pane.messages();
            messages.find(|known| reference(known) == reply.message)
        });
        match seq.map(|message| message.seq) {
            Some(seq) => {
                let ask = self.pane.as_mut().and_then(|pane| pane.go_to(seq));
                self.asks.extend(ask);
            }
            None => self.say(Tone::Dim, quoted(reply)),
        }
    }

    fn show_details(&mut self, message: &Message) {
        let others = self.pane.as_ref().map_or(1, |pane| pane.overview.others);
        let written = self.zone.date_and_time(message.sent_at_ms);
        let stored = match message.stored_at_ms {
            0 => "not yet".to_owned(),
            at => self.zone.date_and_time(at),
        };
        let mut lines = vec![
            ("from", message.sender.to_string()),
            ("device", message.device.to_string()),
            ("written", format!("{written} (the sender's clock)")),
            ("stored", stored),
            (
                "place",
                format!("{} in epoch {}", message.seq, message.epoch),
            ),
            ("id", message.id.to_string()),
        ];
        if let Some(reach) = Reach::of(message) {
            lines.push(("delivery", reach.words(message, others)));
        }
        if let MessageBody::Attachment(file) = &message.body {
            lines.push(("file", format!("{} ({})", file.name, size(file.size))));
            lines.push(("claims to be", file.media_type.clone()));
        }
        if message.details.expires_after_s > 0 {
            let seconds = message.details.expires_after_s;
            lines.push(("disappears", format!("{seconds} s after reading")));
        }
        for reaction in &message.details.reactions {
            let names: Vec<&str> = reaction.by.iter().map(Username::as_str).collect();
            lines.push((
                "reacted",
                format!("{} {}", reaction.emoji.as_str(), names.join(", ")),
            ));
        }
        let rows = lines.into_iter().map(|(label, value)| {
            Row::of(Tone::Dim, format!("{label:13}")).with(Tone::Text, value)
        });
        let at = self.zone.date_and_time(time_of(message));
        let title = format!("Message of {at}");
        // Whole, also where it is too long to stand among the others.
        let text = match &message.body {
            MessageBody::Text(text) => text.as_str(),
            MessageBody::Attachment(file) => file.caption.as_str(),
            MessageBody::Deleted | MessageBody::Unknown => "",
        };
        let mut rows: Vec<Row> = rows.collect();
        if !text.is_empty() {
            rows.push(Row::default());
        }
        let sheet = Sheet::new(title, rows).with_text(text);
        self.overlay = Some(Overlay::Sheet(sheet));
    }
}

/// The first word of a command line that the command line does not know.
fn unknown(words: &[String]) -> Option<String> {
    let word = words.first().filter(|word| !word.starts_with('-'))?;
    let known = crate::cli::command();
    let found = known.find_subcommand(word).is_some() || word == "help";
    (!found).then(|| word.clone())
}

impl Composer {
    /// Whether a command is written.
    pub(crate) fn is_command(&self) -> bool {
        let text = self.text();
        text.starts_with('/') && !text.starts_with("//")
    }
}
