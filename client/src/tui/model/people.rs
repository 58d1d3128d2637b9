//! What a list offers for what was typed, who is in a group and what can be done with them, what is
//! pinned, and emoji to react with.
//!
//! It decides nothing about rights: what a member may not do, the command refuses with a sentence.

use sotto_crypto::content::Emoji;
use sotto_protocol::Username;
use sotto_roster::Role;

use super::Model;
use super::form::Form;
use super::overlay::{Overlay, Safety, Showing};
use super::pick::MEMBERS_FROM;
use super::picker::{Item, Kind, Picker, Value};
use super::piece::Tone;
use super::rows::preview;
use crate::engine::api::{GroupMember, MemberTrust, Message, role_name};
use crate::talk::Talk;
use crate::tui::ask::Ask;
use crate::tui::emoji;

/// Emoji to react with at first; others are typed.
const REACTIONS: &[(&str, &str)] = &[
    ("👍", "thumbsup, +1, like, yes, good"),
    ("❤️", "heart, love"),
    ("😂", "joy, laughing, lol"),
    ("🎉", "tada, party, celebrate"),
    ("😮", "open_mouth, wow, surprised"),
    ("😢", "cry, sad"),
    ("🙏", "pray, thanks"),
    ("👀", "eyes, looking"),
    ("✅", "white_check_mark, done"),
    ("👎", "thumbsdown, -1, no"),
];

impl Model {
    pub(super) fn pick_reaction(&mut self) {
        let items = REACTIONS.iter().map(|(emoji, words)| {
            Item::new(emoji, words, Tone::Text, Value::Emoji((*emoji).to_owned()))
        });
        let items = items.collect();
        self.show(Picker::new(Kind::Reaction, items));
    }

    /// What a list has for the words that were typed, beside its own lines.
    pub(super) fn offer(&mut self) {
        let me = self.me.as_ref().map(|who| who.username.clone());
        let Some(Overlay::Picker(picker)) = &mut self.overlay else {
            return;
        };
        let typed = picker.field.text().trim().to_owned();
        let offered = match picker.kind {
            _ if typed.is_empty() => Vec::new(),
            Kind::Reaction => emoji_items(picker, &typed),
            Kind::Conversations | Kind::People => {
                let name = Username::parse(&typed).ok();
                let name = name.filter(|name| me.as_ref() != Some(name) && !picker.has(&typed));
                let begin = name.map(|name| {
                    let words = format!("write to {name}");
                    Item::new(&words, "a new conversation", Tone::Key, Value::Person(name))
                });
                let words = format!("search for {typed}");
                let note = "in all messages";
                let find = Item::new(&words, note, Tone::Key, Value::Find(typed.clone()));
                begin.into_iter().chain([find]).collect()
            }
            _ => Vec::new(),
        };
        let begins = matches!(
            offered.first().map(|item| &item.value),
            Some(Value::Person(_))
        );
        picker.offer(offered);
        if begins && !picker.contains(&typed) {
            // A name typed in full is meant, rather than its letters here and there in another.
            picker.mark_offered();
        }
    }

    /// Opens a conversation with somebody. The protocol has none with oneself; a group of one is
    /// in its place.
    pub(super) fn write_to(&mut self, name: Username) {
        if self.me.as_ref().is_none_or(|who| who.username != name) {
            return self.open(name.into());
        }
        let notes = Some(crate::tui::worker::enrol::NOTES);
        let mut chats = self.list.chats().iter();
        let found = chats.find(|chat| chat.title.as_deref() == notes);
        match found.map(|chat| chat.talk.clone()) {
            Some(talk) => self.open(talk),
            None => self.say(
                Tone::Dim,
                "that is you; /group new \"notes to self\" makes a place for what only you read",
            ),
        }
    }

    /// Looks for words everywhere.
    pub(super) fn search_for(&mut self, words: &str) {
        self.search(None);
        if let Some(Overlay::Picker(picker)) = &mut self.overlay {
            picker.field.paste(words);
        }
        self.picker_typed();
    }

    /// Shows the number to compare with somebody.
    pub(super) fn compare_with(&mut self, name: Username) {
        self.ask(Ask::Safety { name: name.clone() });
        self.overlay = Some(Overlay::Safety(Safety {
            form: Form::digits(name.clone()),
            name,
            number: None,
            waiting: true,
            showing: Showing::default(),
        }));
    }

    /// Shows or hides the members beside the messages; where they have no room there, as a list.
    pub(super) fn toggle_members(&mut self) {
        match self.columns >= MEMBERS_FROM {
            true => self.members_shown = !self.members_shown,
            false => self.pick_member(),
        }
    }

    /// Who is in the open group, to do something with one of them.
    pub(super) fn pick_member(&mut self) {
        let Some(pane) = &self.pane else {
            return;
        };
        let item = |member: &GroupMember| {
            let tone = match member.trust {
                MemberTrust::Changed => Tone::Security,
                MemberTrust::Verified => Tone::Good,
                MemberTrust::Own | MemberTrust::Pinned => Tone::Text,
            };
            // Who has the group came in, whether or not a word of theirs did.
            let known = member.seen || member.role == Role::Owner;
            let invited = if known || member.trust == MemberTrust::Own {
                ""
            } else {
                " · invited"
            };
            let role = role_name(member.role);
            let note = format!("{role} · {}{invited}", trusted(member.trust));
            let value = Value::Member(member.name.clone());
            Item::new(member.name.as_str(), &note, tone, value)
        };
        let mut items: Vec<Item> = pane.overview.members.iter().map(item).collect();
        if let Some(name) = pane.talk.person() {
            // The other one of two has as much to be asked about.
            let value = Value::Member(name.clone());
            items.push(Item::new(name.as_str(), "", Tone::Text, value));
        }
        self.show(Picker::new(Kind::Members, items));
    }

    /// What can be done with somebody of the open conversation.
    pub(super) fn pick_about(&mut self, name: Username) {
        let Some(pane) = &self.pane else {
            return;
        };
        let overview = &pane.overview;
        let known = overview.members.iter().find(|member| member.name == name);
        let (trust, role) = known.map_or((MemberTrust::Pinned, Role::Member), |member| {
            (member.trust, member.role)
        });
        let line =
            |words: &[&str]| Value::Line(words.iter().map(|&word| word.to_owned()).collect());
        let text = name.as_str();
        let item = |label: &str, note: &str, value| Item::new(label, note, Tone::Text, value);
        let mut items = Vec::new();
        if trust != MemberTrust::Own {
            items.push(item(
                &format!("Write to {name}"),
                "",
                Value::Person(name.clone()),
            ));
            let note = trusted(trust);
            items.push(item(
                "Compare the safety number",
                note,
                Value::Verify(name.clone()),
            ));
        }
        items.push(item(
            "Show the profile",
            "",
            line(&["profile", "show", text]),
        ));
        if let (Talk::Group(_), true) = (&pane.talk, trust != MemberTrust::Own) {
            let group = pane.talk.to_string();
            // What changes the group is written down first, and goes with Enter.
            let begin = |verb: &str| Value::Words(format!("/group {verb} {group} {text}"));
            let may = overview.role.unwrap_or(Role::Member);
            if may >= Role::Admin && role == Role::Member {
                items.push(item(
                    "Make them an admin",
                    "/group promote",
                    begin("promote"),
                ));
            }
            if may == Role::Owner && role == Role::Admin {
                items.push(item(
                    "Make them a member again",
                    "/group demote",
                    begin("demote"),
                ));
                items.push(item("Hand the group over", "/group owner", begin("owner")));
            }
            if may > role {
                items.push(item("Put them out", "/group remove", begin("remove")));
                items.push(item("Put them out for good", "/group ban", begin("ban")));
            }
        }
        self.show(Picker::new(Kind::Member(name), items));
    }

    /// What is pinned in the open conversation.
    pub(super) fn pick_pin(&mut self) {
        let Some(talk) = self.pane.as_ref().map(|pane| pane.talk.clone()) else {
            return;
        };
        self.ask(Ask::Pins { talk });
        self.show(Picker::awaited(Kind::Pins));
    }

    /// The pinned messages came.
    pub(super) fn pins_came(&mut self, pinned: &[Message]) {
        let item = |message: &Message| {
            let at = super::rows::time_of(message);
            let note = self.zone.short(at, self.now.unix_ms);
            let value = Value::Message(message.talk.clone(), message.seq);
            Item::new(&preview(message), &note, Tone::Text, value)
        };
        let items = pinned.iter().map(item).collect();
        self.fill(&Kind::Pins, items);
    }
}

/// How somebody's identity stands, in words.
const fn trusted(trust: MemberTrust) -> &'static str {
    match trust {
        MemberTrust::Own => "you",
        MemberTrust::Verified => "verified",
        MemberTrust::Pinned => "not verified",
        MemberTrust::Changed => "another identity than before",
    }
}

/// Emoji by their names, and what was typed where it is one itself.
fn emoji_items(picker: &Picker, typed: &str) -> Vec<Item> {
    let item = |emoji: &str, name: &str| {
        Item::new(emoji, name, Tone::Text, Value::Emoji(emoji.to_owned()))
    };
    let itself = Emoji::parse(typed).map(|_| item(typed, ""));
    let named = emoji::find_described(typed).into_iter();
    let mut found: Vec<&str> = Vec::new();
    let named = named.filter(|named| {
        let known = found.contains(&named.emoji) || picker.has(named.emoji);
        found.push(named.emoji);
        !known
    });
    let named: Vec<Item> = named.map(|named| item(named.emoji, named.name)).collect();
    itself.into_iter().chain(named).collect()
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
