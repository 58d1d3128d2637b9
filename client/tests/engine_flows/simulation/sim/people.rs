//! What people do, and how it goes wrong for them.

use std::collections::BTreeSet;

use sotto_client::engine::api::{Command, GroupCommand, Keep};
use sotto_client::talk::Talk;
use sotto_protocol::{ClientMessageId, ConversationId};

use super::{Asked, NAMES, Simulation};
use crate::world::name;

impl Simulation {
    /// Something that somebody does, or that goes wrong.
    pub(super) fn chance(&mut self) {
        self.chance_at = self.now.monotonic_ms + self.dice.within(10, 400);
        let who = self.dice.index(NAMES.len());
        match self.dice.within(0, 100) {
            0..56 => {
                let others: Vec<usize> = (0..NAMES.len()).filter(|other| *other != who).collect();
                let groups = self.groups.clone();
                let talk = match self.dice.pick(&groups) {
                    Some(group) if self.dice.chance(500) => Talk::Group(*group),
                    _ => Talk::Person(name(NAMES[others[self.dice.index(others.len())]])),
                };
                self.write(who, talk);
            }
            56..66 => self.answer_everything(who),
            66..78 => self.change_group(who),
            78..91 => self.cut(who),
            91..97 => self.kill(who),
            97 => (0..NAMES.len()).for_each(|who| self.cut(who)),
            _ => {}
        }
    }

    pub(super) fn write(&mut self, who: usize, to: Talk) {
        if self.actors[who].engine.is_none() {
            return;
        }
        self.numbers[who] += 1;
        let number = self.numbers[who];
        let mut id = [0x5a; 16];
        id[0] = u8::try_from(who).unwrap();
        id[1..5].copy_from_slice(&number.to_be_bytes());
        let asked = Asked {
            who,
            number,
            to: to.clone(),
            failed: false,
        };
        self.tell(|| format!("{} writes {number} to {to}", NAMES[who]));
        self.asked.insert(id, asked);
        let command = Command::Send {
            to,
            text: format!("{} {number}", NAMES[who]),
            client_id: ClientMessageId::from_bytes(id),
        };
        self.command(who, command);
    }

    fn command(&mut self, who: usize, command: Command) {
        self.with_engine(who, |engine, now| engine.handle_command(command, now));
    }

    pub(super) fn answer_everything(&mut self, who: usize) {
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
        let other = name(NAMES[self.dice.index(NAMES.len())]);
        let groups = self.groups.clone();
        let Some(&group) = self.dice.pick(&groups).filter(|_| groups.len() > 1) else {
            let members = NAMES.iter().filter(|one| **one != NAMES[who]);
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
            let log = &self.relay.logs[id];
            talks.insert(match &log.pair {
                Some((one, other)) => {
                    let other = if one == NAMES[who] { other } else { one };
                    Talk::Person(name(other))
                }
                None => Talk::Group(*id),
            });
        }
        talks
    }
}
