//! Lists to pick from and sheets to read: what opens them, what a choice does.

use super::list::{Entry, EntryKey};
use super::overlay::{Doing, Overlay, Question, Sheet};
use super::picker::{Item, Kind, Picker, Value};
use super::piece::{Row, Tone};
use super::{Focus, Model};
use crate::engine::api::{
    Asker, Chat, Device, Hit, Keep, Put, Request, Room, SafetyNumber, ThisDevice, User, UserFilter,
};
use crate::talk::Talk;
use crate::tui::ask::{Ask, Place};
use crate::tui::keys::{Action, Mode};
use sotto_protocol::{ConversationId, Username};

/// From so many columns on the members stand beside the messages.
pub(crate) const MEMBERS_FROM: u16 = 100;
/// What else is done with an account, below its devices.
const ACCOUNT: [(&str, &str, &[&str]); 3] = [
    (
        "Add a device",
        "by the code that it shows",
        &["devices", "link"],
    ),
    (
        "Make a recovery key",
        "for when every device is lost",
        &["recovery", "new"],
    ),
    ("Change the password", "", &["passwd"]),
];
/// Below the keys, where commands are typed.
const ABOUT_COMMANDS: [&str; 2] = [
    "A line that begins with / is a command, as on the command line; //text sends /text.",
    "/group new TITLE NAME… makes a group, /rooms lists public ones, /group --help says more.",
];

impl Model {
    pub(super) fn show(&mut self, picker: Picker) {
        self.overlay = Some(Overlay::Picker(picker));
    }

    fn talk_items(&self) -> Vec<Item> {
        let item = |chat: &Chat| {
            let label = chat.talk.label(chat.title.as_deref());
            let unread = match (chat.unread, chat.mentions) {
                (0, _) => String::new(),
                (unread, 0) => format!("{unread} new"),
                (unread, mentions) => format!("{unread} new, {mentions} to you"),
            };
            let tone = if chat.unread > 0 {
                Tone::Unread
            } else {
                Tone::Text
            };
            Item::new(&label, &unread, tone, Value::Talk(chat.talk.clone()))
        };
        self.list.chats().iter().map(item).collect()
    }

    pub(super) fn pick_conversation(&mut self) {
        let items = self.talk_items();
        self.show(Picker::new(Kind::Conversations, items));
    }

    pub(super) fn pick_forward(&mut self) {
        let items = self.talk_items();
        self.show(Picker::new(Kind::Forward, items));
    }

    pub(super) fn pick_command(&mut self) {
        let mode = self.mode();
        let actions = Action::ALL.iter().map(|action| {
            let way = self.wishes.keymap.way(mode, *action).unwrap_or_default();
            Item::new(action.help(), &way, Tone::Text, Value::Action(*action))
        });
        let mut items: Vec<Item> = actions.collect();
        for command in crate::cli::command().get_subcommands() {
            let name = command.get_name();
            let parts = command.get_subcommands().filter(|_| name != "help");
            let parts = parts.map(|part| (format!("/{name} {} ", part.get_name()), part));
            for (words, command) in std::iter::once((format!("/{name} "), command)).chain(parts) {
                let about = command.get_about().map(ToString::to_string);
                let about = about.unwrap_or_default();
                let item = Item::new(&words, &about, Tone::Key, Value::Words(words.clone()));
                items.push(item);
            }
        }
        self.show(Picker::new(Kind::Commands, items));
    }

    pub(super) fn pick_people(&mut self) {
        self.ask(Ask::People {
            prefix: String::new(),
            filter: UserFilter::All,
        });
        self.show(Picker::awaited(Kind::People));
    }

    pub(super) fn pick_room(&mut self) {
        self.ask(Ask::Rooms);
        self.show(Picker::awaited(Kind::Rooms));
    }

    pub(super) fn pick_device(&mut self) {
        self.ask(Ask::Devices);
        self.show(Picker::awaited(Kind::Devices));
    }

    pub(super) fn pick_request(&mut self) {
        let items = self.request_items();
        self.show(Picker::new(Kind::Requests, items));
    }

    fn request_items(&self) -> Vec<Item> {
        let request = |request: &Request| {
            let value = Value::Request(request.from.clone());
            let since = self.zone.short(request.received_at_ms, self.now.unix_ms);
            let note = format!("asks to talk, since {since}");
            Item::new(request.from.as_str(), &note, Tone::Request, value)
        };
        let mut items: Vec<Item> = self.list.requests().iter().map(request).collect();
        for invitation in self.list.invitations() {
            let note = format!("invites you to {}", invitation.group());
            let value = Value::Invitation(invitation.conversation);
            items.push(Item::new(
                invitation.from.as_str(),
                &note,
                Tone::Request,
                value,
            ));
        }
        items
    }

    pub(super) fn search(&mut self, here: Option<Talk>) {
        self.show(Picker::new(Kind::Search(here), Vec::new()));
    }

    /// The field of a list changed.
    pub(super) fn picker_typed(&mut self) {
        self.ticket += 1;
        let ticket = self.ticket;
        let Some(Overlay::Picker(picker)) = &mut self.overlay else {
            return;
        };
        picker.filter();
        let text = picker.field.text().to_owned();
        let Kind::Search(talk) = &picker.kind else {
            self.offer();
            return;
        };
        let talk = talk.clone();
        picker.ticket = ticket;
        if text.trim().is_empty() {
            picker.set(Vec::new());
        } else {
            picker.waiting = true;
            self.ask(Ask::Search { text, talk, ticket });
        }
    }

    pub(super) fn act_in_picker(&mut self, action: Action) {
        let Some(Overlay::Picker(picker)) = &mut self.overlay else {
            return;
        };
        use super::composer::Way;
        match action {
            Action::Up => picker.step(-1),
            Action::Down => picker.step(1),
            Action::PageUp => picker.step(-10),
            Action::PageDown => picker.step(10),
            Action::Top => picker.step(isize::MIN),
            Action::Bottom => picker.step(isize::MAX),
            Action::Left => picker.field.step(Way::Back),
            Action::Right => picker.field.step(Way::Forward),
            Action::WordLeft => picker.field.step_word(Way::Back),
            Action::WordRight => picker.field.step_word(Way::Forward),
            Action::LineStart => picker.field.line_edge(Way::Back),
            Action::LineEnd => picker.field.line_edge(Way::Forward),
            Action::DeleteBack => {
                picker.field.delete(Way::Back);
                self.picker_typed();
            }
            Action::DeleteForward => {
                picker.field.delete(Way::Forward);
                self.picker_typed();
            }
            Action::DeleteWord => {
                picker.field.delete_word();
                self.picker_typed();
            }
            Action::DeleteToStart | Action::DeleteToEnd => {
                picker.field.set("");
                self.picker_typed();
            }
            Action::Confirm | Action::Accept | Action::Decline | Action::Block => {
                self.pick(action);
            }
            Action::Back => self.overlay = None,
            other => self.act_over_list(other),
        }
    }

    /// Takes what is marked.
    pub(super) fn pick(&mut self, action: Action) {
        let Some(Overlay::Picker(picker)) = self.overlay.take() else {
            return;
        };
        let Some(value) = picker.value().cloned() else {
            // A name that nobody listed may still be somebody.
            let typed = picker.field.text().trim();
            let person = Username::parse(typed).ok();
            match (picker.kind, person) {
                (Kind::Conversations | Kind::People, Some(name)) => self.write_to(name),
                _ => self.say(Tone::Dim, "nothing chosen"),
            }
            return;
        };
        match (value, action) {
            (Value::Talk(to), _) if picker.kind == Kind::Forward => self.forward_to(to),
            (Value::Talk(talk), _) => self.open(talk),
            (Value::Person(name), Action::Block) => self.ask_to_block(name),
            (Value::Person(name), _) => self.write_to(name),
            (Value::Member(name), _) => self.pick_about(name),
            (Value::Verify(name), _) => self.compare_with(name),
            (Value::Find(words), _) => self.search_for(&words),
            (Value::Line(words), _) => self.carry_out(words),
            (Value::Request(name), answer) => self.answer_request(name, answer),
            (Value::Invitation(group), answer) => self.answer_invitation(group, answer),
            (Value::Room(room, title), _) => self.ask(Ask::Enter { room, title }),
            (Value::Message(talk, seq), _) => self.go_to_message(talk, seq),
            (Value::Action(action), _) => self.act(action),
            (Value::Words(words), _) => self.begin_command(&words),
            (Value::Run(words), _) => self.run(words),
            (Value::Emoji(emoji), _) => self.react_with(&emoji, Put::On),
            (Value::Setting(name), _) => self.pick_value(name),
            (Value::Set(name, value), _) => self.set_value(name, value),
            (Value::Nothing, _) => self.say(
                Tone::Dim,
                "open that file with an editor; Sotto reads it when it starts",
            ),
        }
        self.chats_again();
    }

    /// Accepts somebody who wants to talk, and shows the conversation.
    pub(super) fn accept(&mut self, name: Username, keep: Keep) {
        self.ask(Ask::Accept {
            name: name.clone(),
            keep,
        });
        self.open(name.into());
    }

    /// Only a key of its own answers at once; any other asks, and says what the answers mean.
    fn answer_request(&mut self, name: Username, answer: Action) {
        match answer {
            Action::Decline => self.ask(Ask::Decline { name }),
            Action::Block => self.ask_to_block(name),
            Action::Accept if !self.is_another(&name) => self.accept(name, Keep::Saved),
            _ => self.ask_about_request(name),
        }
    }

    /// Whether who asks has another identity than the person of this name who is known here.
    fn is_another(&self, name: &Username) -> bool {
        let mut requests = self.list.requests().iter();
        requests.any(|request| request.from == *name && request.asker == Asker::Changed)
    }

    fn ask_about_request(&mut self, name: Username) {
        let requests = self.list.requests();
        let since = requests.iter().find(|request| request.from == name);
        let since = since.map_or_else(String::new, |request| {
            let at = self.zone.short(request.received_at_ms, self.now.unix_ms);
            format!(", since {at}")
        });
        let mut words = vec![format!("{name} wants to talk with you{since}.")];
        if self.is_another(&name) {
            words.push(format!(
                "This is not the {name} whom you know: it is another identity, after a loss of all \
                 devices or of somebody else. To accept the request is to accept that identity, \
                 and whoever has it reads everything that you send from now on. Compare the \
                 safety number first (/verify {name})."
            ));
        } else {
            let unanswered = "Until you answer, nothing of you reaches them. Whether the name is who you think is \
             for you to check: the safety number (/verify) shows it.";
            words.push(unanswered.to_owned());
        }
        let doing = Doing::Request(name);
        self.overlay = Some(Overlay::Question(Question { words, doing }));
    }

    fn answer_invitation(&mut self, group: ConversationId, answer: Action) {
        match answer {
            Action::Decline => self.ask(Ask::DeclineInvitation { group }),
            Action::Accept => self.ask(Ask::Join { group }),
            _ => {
                let mut invitations = self.list.invitations().iter();
                let found = invitations.find(|invitation| invitation.conversation == group);
                let words = found.map(|invitation| {
                    format!("{} invites you to {}.", invitation.from, invitation.group())
                });
                self.overlay = Some(Overlay::Question(Question {
                    words: words.into_iter().collect(),
                    doing: Doing::Invitation(group),
                }));
            }
        }
    }

    fn go_to_message(&mut self, talk: Talk, seq: u64) {
        let open = self.pane.as_ref().is_some_and(|pane| pane.talk == talk);
        if !open {
            self.open_at(talk, Place::Around(seq));
        } else if let Some(pane) = &mut self.pane {
            let ask = pane.go_to(seq);
            self.asks.extend(ask);
        }
        self.focus = Focus::Messages;
    }

    /// Opens the marked line of the list of conversations.
    pub(super) fn enter_marked(&mut self) {
        let entries = self.list.entries();
        let entry = self.list.marked().and_then(|place| entries.get(place));
        match entry.map(Entry::key) {
            Some(EntryKey::Chat(talk)) => {
                let open = self.pane.as_ref().is_some_and(|pane| pane.talk == talk);
                match open {
                    true => self.enter_composer(),
                    false => self.open(talk),
                }
            }
            Some(EntryKey::Request(Talk::Person(name))) => self.ask_about_request(name),
            Some(EntryKey::Invitation(group)) => self.answer_invitation(group, Action::Confirm),
            Some(EntryKey::Request(Talk::Group(_))) => self.pick_request(),
            None => self.pick_people(),
        }
    }

    /// Answers the marked request or invitation of the list.
    pub(super) fn answer_marked(&mut self, answer: Action) {
        let entries = self.list.entries();
        let entry = self.list.marked().and_then(|place| entries.get(place));
        match entry.map(Entry::key) {
            Some(EntryKey::Request(Talk::Person(name))) => self.answer_request(name, answer),
            Some(EntryKey::Invitation(group)) => self.answer_invitation(group, answer),
            Some(EntryKey::Chat(Talk::Person(name))) if answer == Action::Block => {
                self.ask_to_block(name);
            }
            _ => {}
        }
        self.chats_again();
    }

    /// People came.
    pub(super) fn people_came(&mut self, people: &[User]) {
        let item = |user: &User| {
            let (tone, note) = match user.online {
                true => (Tone::Good, "online"),
                false => (Tone::Text, ""),
            };
            Item::new(
                user.name.as_str(),
                note,
                tone,
                Value::Person(user.name.clone()),
            )
        };
        self.fill(&Kind::People, people.iter().map(item).collect());
    }

    /// Rooms came.
    pub(super) fn rooms_came(&mut self, rooms: &[Room]) {
        let item = |room: &Room| {
            let joined = if room.joined { ", you are in" } else { "" };
            let topic = match room.topic.as_str() {
                "" => String::new(),
                topic => format!(" · {topic}"),
            };
            let note = format!("{} in{joined}{topic}", room.members);
            let value = match room.joined {
                true => Value::Talk(Talk::Group(room.conversation)),
                false => Value::Room(room.conversation, room.title.clone()),
            };
            Item::new(&format!("#{}", room.title), &note, Tone::Text, value)
        };
        self.fill(&Kind::Rooms, rooms.iter().map(item).collect());
    }

    /// Devices came.
    pub(super) fn devices_came(&mut self, devices: &[Device]) {
        let item = |device: &Device| {
            let since = self.zone.date_and_time(device.issued_at_ms);
            let this = match device.this {
                ThisDevice::Yes => " · this one",
                ThisDevice::No => "",
            };
            let id = device.id.to_string();
            let name = match (device.name.as_str(), device.this) {
                ("", ThisDevice::Yes) => "this device (not named yet)",
                ("", ThisDevice::No) => "a device that nobody named",
                (name, _) => name,
            };
            let label = format!("{name}  {}", id.get(..8).unwrap_or(&id));
            let value = match device.this {
                ThisDevice::Yes => Value::Words(format!("/devices rename {id} ")),
                ThisDevice::No => Value::Words(format!("/devices revoke {id}")),
            };
            Item::new(&label, &format!("since {since}{this}"), Tone::Text, value)
        };
        let mut items: Vec<Item> = devices.iter().map(item).collect();
        for (label, note, command) in ACCOUNT {
            items.push(Item::new(label, note, Tone::Key, Value::Run(command)));
        }
        self.fill(&Kind::Devices, items);
    }

    /// A search found something.
    pub(super) fn found(&mut self, ticket: u64, hits: &[Hit]) {
        let item = |hit: &Hit| {
            let message = &hit.message;
            let at = self
                .zone
                .short(super::rows::time_of(message), self.now.unix_ms);
            let place = message.talk.label(message.title.as_deref());
            let note = format!("{at} {} in {place}", message.sender);
            let value = Value::Message(message.talk.clone(), message.seq);
            Item::new(&hit.snippet, &note, Tone::Text, value)
        };
        let items: Vec<Item> = hits.iter().map(item).collect();
        if let Some(Overlay::Picker(picker)) = &mut self.overlay
            && picker.ticket == ticket
            && picker.kind.is_asked()
        {
            picker.set(items);
        }
    }

    pub(super) fn fill(&mut self, kind: &Kind, items: Vec<Item>) {
        if let Some(Overlay::Picker(picker)) = &mut self.overlay
            && picker.kind == *kind
        {
            picker.set(items);
        }
    }

    /// Requests changed while their list is open.
    pub(super) fn requests_again(&mut self) {
        let items = self.request_items();
        self.fill(&Kind::Requests, items);
    }

    pub(super) fn show_help(&mut self) {
        let mode = self.mode();
        let mut rows = Vec::new();
        if self.form().is_some_and(|form| form.is_way_in()) {
            let words = "other ways in: a new account, one that you have, recovery";
            rows.push(Row::of(Tone::Key, format!("{:22} ", "← →")).with(Tone::Text, words));
        }
        let mut group = None;
        for line in self.help_lines(mode) {
            if group != Some(line.action.group()) {
                group = Some(line.action.group());
                rows.push(Row::default());
                rows.push(Row::of(Tone::Title, line.action.group().title()));
            }
            let keys = format!("{:22} ", line.keys);
            rows.push(Row::of(Tone::Key, keys).with(Tone::Text, line.action.help()));
        }
        if mode != Mode::Form {
            rows.push(Row::default());
            rows.extend(ABOUT_COMMANDS.map(|words| Row::of(Tone::Dim, words)));
        }
        let mut sheet = Sheet::new("Keys that work here", rows);
        sheet.below = match self.overlay.take() {
            // What is filled in or written down is not over.
            Some(below @ (Overlay::Safety(_) | Overlay::Form(_) | Overlay::Recovery(_))) => {
                Some(Box::new(below))
            }
            _ => None,
        };
        self.overlay = Some(Overlay::Sheet(sheet));
    }

    fn help_lines(&self, mode: Mode) -> Vec<crate::tui::keys::HelpLine> {
        let mut lines = self.wishes.keymap.help(mode);
        lines.sort_by_key(|line| line.action.group());
        lines
    }

    pub(super) fn show_safety(&mut self) {
        let blocked = self.blocked_by().cloned();
        let person = self
            .pane
            .as_ref()
            .and_then(|pane| pane.talk.person().cloned());
        let Some(name) = blocked.or(person) else {
            self.say(
                Tone::Dim,
                "open a conversation with somebody, or type /verify NAME",
            );
            return;
        };
        self.compare_with(name);
    }

    /// The number to compare came.
    pub(super) fn safety_came(&mut self, name: &Username, number: Option<SafetyNumber>) {
        let over = match &mut self.overlay {
            Some(Overlay::Notice(notice)) => notice.then.as_deref_mut(),
            Some(Overlay::Sheet(sheet)) => sheet.below.as_deref_mut(),
            other => other.as_mut(),
        };
        if let Some(Overlay::Safety(safety)) = over
            && safety.name == *name
        {
            safety.number = number;
            safety.waiting = false;
        }
    }
}
