//! What people do, and how it goes wrong for them.

use std::collections::BTreeSet;

use sotto_client::engine::api::{
    Command, GroupCommand, Keep, Message, MessageCommand, Put, Target,
};
use sotto_client::talk::Talk;
use sotto_crypto::content::{Emoji, MessageRef};
use sotto_protocol::{ClientMessageId, ConversationId};

use super::{Asked, NAMES, PEOPLE, Simulation, What};
use crate::world::name;

impl Simulation {
    /// Something that somebody does, or that goes wrong.
    pub(super) fn chance(&mut self) {
        self.chance_at = self.now.monotonic_ms + self.dice.within(10, 400);
        let person = self.dice.index(PEOPLE);
        let who = self.program_of(person);
        match self.dice.within(0, 100) {
            0..42 => {
                let others: Vec<usize> = (0..PEOPLE).filter(|other| *other != person).collect();
                let groups = self.groups.clone();
                let talk = match self.dice.pick(&groups) {
                    Some(group) if self.dice.chance(500) => Talk::Group(*group),
                    _ => Talk::Person(name(NAMES[others[self.dice.index(others.len())]])),
                };
                self.write(who, talk);
            }
            42..56 => self.do_something_with_a_message(who),
            56..66 => self.answer_everything(who),
            66..78 => self.change_group(who),
            78..91 => self.cut(who),
            91..97 => self.kill(who),
            97 => (0..NAMES.len()).for_each(|who| self.cut(who)),
            98 if self.may_begin_anew() => self.begin_anew(),
            _ => {}
        }
    }

    pub(super) fn write(&mut self, who: usize, to: Talk) {
        if self.actors[who].engine.is_none() {
            return;
        }
        let (number, client_id) = self.ask(who, &to, What::Message);
        self.tell(|| format!("{} writes {number} to {to}", NAMES[who]));
        let text = format!("{} {number}", NAMES[who]);
        let command = Command::Send {
            to,
            text,
            client_id,
        };
        let before = self.refusals;
        self.command(who, command);
        if let Some(asked) = self.asked.get_mut(client_id.as_bytes()) {
            asked.failed |= self.refusals > before;
        }
    }

    fn ask(&mut self, who: usize, to: &Talk, what: What) -> (u32, ClientMessageId) {
        self.numbers[who] += 1;
        let number = self.numbers[who];
        let mut id = [0x5a; 16];
        id[0] = u8::try_from(who).unwrap();
        id[1..5].copy_from_slice(&number.to_be_bytes());
        let asked = Asked {
            who,
            number,
            to: to.clone(),
            what,
            failed: false,
        };
        self.asked.insert(id, asked);
        (number, ClientMessageId::from_bytes(id))
    }

    /// Changes, takes back or answers with an emoji what is on somebody's screen.
    fn do_something_with_a_message(&mut self, who: usize) {
        let shown = self.shown.iter().filter(|shown| shown.who == who);
        let mut there: Vec<_> = shown.map(|shown| (shown.conversation, shown.id)).collect();
        let own = self.acked.iter().filter(|(id, _)| {
            let asked = &self.asked[*id];
            asked.who == who && asked.what == What::Message
        });
        there.extend(own.map(|(id, place)| (place.0, *id)));
        let Some(&(conversation, id)) = self.dice.pick(&there) else {
            return;
        };
        if self.actors[who].engine.is_none() {
            return;
        }
        let talk = self.talk_of(who, &conversation);
        let writer = self.asked[&id].who;
        let mut devices = self.devices.iter();
        let device = devices.find_map(|(device, one)| (*one == writer).then_some(*device));
        let target = Target {
            talk: talk.clone(),
            message: MessageRef {
                device: device.unwrap(),
                id: ClientMessageId::from_bytes(id),
            },
        };
        let chance = self.dice.within(0, 20);
        let (number, client_id) = self.ask(who, &talk, What::Change);
        let command = match chance {
            0..8 if writer == who => MessageCommand::Edit {
                target,
                text: format!("{} {number}, changed", NAMES[who]),
                mentions: Vec::new(),
                client_id,
            },
            8..11 if writer == who => MessageCommand::Delete { target, client_id },
            0..16 => MessageCommand::React {
                target,
                emoji: Emoji::parse("👍").unwrap(),
                put: match chance {
                    0..3 => Put::Off,
                    _ => Put::On,
                },
                client_id,
            },
            16..18 => MessageCommand::Pin {
                target,
                put: Put::On,
                client_id,
            },
            _ => MessageCommand::SetTimer {
                to: talk.clone(),
                expires_after_s: [0, 15, 3_600][self.dice.index(3)],
                client_id,
            },
        };
        self.tell(|| format!("{} changes something ({number}) in {talk}", NAMES[who]));
        self.command(who, Command::Message(command));
    }

    /// What a conversation is for somebody in it.
    pub(in crate::simulation) fn talk_of(&self, who: usize, id: &ConversationId) -> Talk {
        match &self.relay.logs[id].pair {
            Some((one, other)) if one == NAMES[who] => Talk::Person(name(other)),
            Some((one, _)) => Talk::Person(name(one)),
            None => Talk::Group(*id),
        }
    }

    /// What somebody has of a conversation, and the time there.
    pub(in crate::simulation) fn history(&self, who: usize, id: &ConversationId) -> Vec<Message> {
        let talk = self.talk_of(who, id);
        let engine = self.actors[who].engine.as_ref();
        engine.map_or_else(Vec::new, |engine| engine.history(&talk, 1_000).unwrap())
    }

    pub(super) fn command(&mut self, who: usize, command: Command) {
        self.with_engine(who, |engine, now| engine.handle_command(command, now));
    }

    pub(super) fn answer_everything(&mut self, who: usize) {
        self.accept_changed(who);
        let Some(engine) = &mut self.actors[who].engine else {
            return;
        };
        let requests = engine.requests().unwrap();
        let invitations = engine.invitations().unwrap();
        for request in requests {
            let keep = Keep::Saved;
            let name = request.from;
            self.command(who, Command::Accept { name, keep });
        }
        for invitation in invitations {
            let group = invitation.conversation;
            self.command(who, Command::Group(GroupCommand::Join { group }));
        }
    }

    fn change_group(&mut self, who: usize) {
        let other = name(NAMES[self.dice.index(PEOPLE)]);
        let groups = self.groups.clone();
        let Some(&group) = self.dice.pick(&groups).filter(|_| groups.len() > 1) else {
            let members = NAMES[..PEOPLE].iter().filter(|one| **one != NAMES[who]);
            let command = GroupCommand::New {
                title: "team".to_owned(),
                members: members.map(|one| name(one)).collect(),
            };
            return self.command(who, Command::Group(command));
        };
        let names = vec![other];
        let command = match self.dice.within(0, 10) {
            0..4 => GroupCommand::Add { group, names },
            4..7 => GroupCommand::Remove { group, names },
            7..9 => GroupCommand::Promote { group, names },
            _ => GroupCommand::Leave { group },
        };
        self.tell(|| format!("{} wants {command:?}", NAMES[who]));
        self.command(who, Command::Group(command));
    }

    /// Whether somebody is in a group by their own account.
    pub(in crate::simulation) fn is_in(&self, who: usize, group: &ConversationId) -> bool {
        let engine = self.actors[who].engine.as_ref();
        let view = engine.and_then(|engine| engine.group(group).unwrap());
        view.is_some_and(|view| view.role.is_some())
    }

    /// Conversations in which somebody can write, by the server's record.
    pub(super) fn open_talks(&self, who: usize) -> BTreeSet<Talk> {
        let mut talks = BTreeSet::new();
        for ((id, device), stays) in &self.stays {
            let is_in = stays.last().is_some_and(|stay| !stay.is_over());
            if self.devices[device] != who || !is_in {
                continue;
            }
            talks.insert(self.talk_of(who, id));
        }
        talks
    }
}
