//! Those who come into a group and go again: let in and put out by the host, or gone by themselves.
//!
//! That somebody is in is believed only once a server has taken a message of theirs; that they are
//! out, once somebody was told so. Between is noted as that.

use std::sync::Arc;

use super::{Next, Scene, Sent, Worker, next};
use crate::history::{Step, What};
use crate::rpc::{Answer, Rpc};

/// Where somebody stands towards the group whose members change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Out,
    Invited,
    /// Their client says that they are in; perhaps by an invitation that was taken back meanwhile.
    Joined,
    /// A server has taken a message of theirs.
    In,
    Leaving,
}

/// Somebody who comes and goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guest {
    standing: Standing,
    /// How often they were invited.
    visit: u64,
    /// Whether an invitation is known to stand: only then nothing of it can still be under way.
    added: Added,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Added {
    Surely,
    #[default]
    Perhaps,
}

impl Guest {
    /// Whether they write there, as far as is known here.
    pub(super) const fn is_inside(&self) -> bool {
        matches!(self.standing, Standing::Joined | Standing::In)
    }
}

impl Worker {
    /// Steps in and out of the group whose members change; nothing where there is none to make.
    pub(super) fn come_or_go(&mut self, rpc: &mut Rpc) -> Option<Next> {
        let scene = Arc::clone(&self.scene);
        let of_guests = |talk: &crate::history::Talk| !talk.sometimes.is_empty();
        let talk = scene.cast.talks.iter().find(|talk| of_guests(talk))?;
        let group = format!("#{}", talk.conversation);
        if talk.always.contains(&self.account) {
            // One device decides for the host, so that it does not contradict itself.
            let is_host = scene.cast.devices_of(self.account).next() == Some(self.device);
            if !is_host || !self.dice.chance(80) {
                return None;
            }
            let guest = *self.dice.pick(&talk.sometimes)?;
            return self.host(rpc, &group, guest);
        }
        if !talk.sometimes.contains(&self.account) {
            return None;
        }
        let present = scene.guests()[self.account];
        match present.standing {
            Standing::Invited if self.dice.chance(300) => {
                let answer = rpc.command(&["join", &group]);
                let mut guests = scene.guests();
                let guest = &mut guests[self.account];
                let same = guest.visit == present.visit && guest.standing == Standing::Invited;
                if same && matches!(answer, Answer::Done(_)) {
                    guest.standing = Standing::Joined;
                }
                Some(next(&answer))
            }
            Standing::In if self.dice.chance(12) => {
                let leaving = scene.move_guest(self.account, Standing::In, Standing::Leaving);
                leaving.then(|| {
                    let answer = rpc.command(&["group", "leave", &group]);
                    self.gone(self.account, &answer);
                    next(&answer)
                })
            }
            _ => None,
        }
    }

    /// Lets somebody in or puts them out.
    fn host(&mut self, rpc: &mut Rpc, group: &str, guest: usize) -> Option<Next> {
        let name = self.scene.cast.accounts[guest].clone();
        let Guest {
            standing, added, ..
        } = self.scene.guests()[guest];
        match standing {
            Standing::Out => {
                self.scene
                    .move_guest(guest, Standing::Out, Standing::Invited);
                Some(self.let_in(rpc, group, guest, &name))
            }
            // Perhaps the last attempt did not arrive.
            Standing::Invited | Standing::Joined if added == Added::Perhaps => {
                Some(self.let_in(rpc, group, guest, &name))
            }
            Standing::Invited | Standing::Joined | Standing::In if self.dice.chance(500) => {
                let leaving = self.scene.move_guest(guest, standing, Standing::Leaving);
                leaving.then(|| self.put_out(rpc, group, guest, &name))
            }
            Standing::Leaving => Some(self.put_out(rpc, group, guest, &name)),
            _ => None,
        }
    }

    fn let_in(&self, rpc: &mut Rpc, group: &str, guest: usize, name: &str) -> Next {
        let answer = rpc.command(&["group", "add", group, name]);
        let is_in = match &answer {
            Answer::Done(_) => true,
            Answer::Failed(code) => code == "already_member",
            Answer::Gone => false,
        };
        if is_in {
            self.scene.guests()[guest].added = Added::Surely;
        }
        next(&answer)
    }

    fn put_out(&self, rpc: &mut Rpc, group: &str, guest: usize, name: &str) -> Next {
        let answer = rpc.command(&["group", "remove", group, name]);
        self.gone(guest, &answer);
        next(&answer)
    }

    /// Somebody is out, if the answer says so.
    fn gone(&self, guest: usize, answer: &Answer) {
        let is_out = match answer {
            Answer::Done(_) => true,
            Answer::Failed(code) => code == "not_a_member",
            Answer::Gone => false,
        };
        if is_out {
            self.scene
                .move_guest(guest, Standing::Leaving, Standing::Out);
        }
    }
}

impl Scene {
    /// Whether a guest who joined is in shows in what became of their message.
    pub(super) fn proven(&self, account: usize, sent: &Sent) {
        match sent {
            Sent::Acked if self.move_guest(account, Standing::Joined, Standing::In) => {
                self.guests()[account].added = Added::Surely;
            }
            Sent::Not(code) if matches!(code.as_str(), "not_a_member" | "not_allowed") => {
                let mut guests = self.guests();
                if guests[account].standing == Standing::Joined {
                    // The invitation was an old one; perhaps a new one is there, or comes.
                    guests[account].standing = Standing::Invited;
                }
            }
            _ => {}
        }
    }

    /// Moves somebody on, if they stand where the caller believes; whether they did.
    fn move_guest(&self, account: usize, from: Standing, to: Standing) -> bool {
        let mut guests = self.guests();
        let guest = &mut guests[account];
        if guest.standing != from {
            return false;
        }
        guest.standing = to;
        let step = match to {
            Standing::Joined => return true,
            Standing::Invited => {
                guest.visit += 1;
                guest.added = Added::Perhaps;
                Step::Inviting
            }
            Standing::In => Step::In,
            Standing::Leaving => Step::Leaving,
            Standing::Out => Step::Out,
        };
        self.step(account, step);
        true
    }

    fn step(&self, account: usize, step: Step) {
        self.history.note(What::Member { account, step });
    }
}
