//! What is next for a job, decided anew against the members as they are by
//! then, and the commits that carry it.

use std::collections::BTreeSet;

use prost::Message as _;
use sotto_crypto::{CommitSummary, PendingCommit, Plan};
use sotto_protocol::limits::PUT_OUT_MAX;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::{ClientMessageId, ErrorCode, Username, wire};
use sotto_roster::{Access, GroupRules, LeafIndex, MembershipChange, Policy, Role, Roster, Rules};

use super::super::api::{Failure, role_name};
use super::super::commands::{ServerCommand, refusal};
use super::super::error::group_failure;
use super::super::session::failure;
use super::super::work::{Rebuild, Why};
use super::super::{Engine, EngineError};
use super::info::Words;
use super::room::{Founding, Listing};
use super::welcomes::{batch, invitation_note, welcomes};
use super::{Change, InfoChange, Job, Progress, RoleWish};
use crate::history::{ConversationRow, PendingCommitRow, PendingKind};
use crate::talk::Talk;

/// What is next for a job.
enum Next {
    Claim(Username),
    Commit(Wanted),
    Rebuild(Rebuild),
    Say(Words),
    /// What it said is on its way to the server.
    Wait,
    Over(Result<(), Failure>),
}

/// What a commit is to do.
#[derive(Default)]
struct Wanted {
    names: Vec<Username>,
    removals: Vec<LeafIndex>,
    policy: Option<Policy>,
}

/// Whether a step for a group is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Step {
    Working,
    Nothing,
}

impl Engine {
    /// Does what is next for the jobs of a group that stands.
    pub(in crate::engine) fn drive_jobs(
        &mut self,
        row: &ConversationRow,
        roster: &Roster,
    ) -> Result<Step, EngineError> {
        loop {
            let next = match self.job(&row.talk) {
                Some(_) => self.next_of(&row.talk, roster)?,
                None => return Ok(Step::Nothing),
            };
            match next {
                Next::Over(outcome) => self.end_job(&row.talk, outcome),
                Next::Wait => return Ok(Step::Nothing),
                Next::Say(words) => {
                    let message = self.say(row, words)?;
                    if let Some(job) = self.job(&row.talk) {
                        job.message = Some(message);
                        job.progress = Progress::Some;
                    }
                    return Ok(Step::Nothing);
                }
                Next::Claim(name) => {
                    let suite = self.suite_of(row)?;
                    self.claim_for_group(&row.talk, &name, suite);
                    return Ok(Step::Working);
                }
                Next::Rebuild(rebuild) => {
                    self.drive_rebuild(row, rebuild)?;
                    return Ok(Step::Working);
                }
                Next::Commit(wanted) => {
                    if self.stage_change(row, &wanted)? == Step::Working {
                        return Ok(Step::Working);
                    }
                }
            }
        }
    }

    fn next_of(&mut self, talk: &Talk, roster: &Roster) -> Result<Next, EngineError> {
        let me = self.my_name().clone();
        let message = self.job(talk).and_then(|job| job.message);
        if let Some(message) = message {
            if self.store().outbox_row(&message)?.is_some() {
                return Ok(Next::Wait);
            }
            if let Some(job) = self.job(talk) {
                job.message = None;
            }
        }
        if let Some(failure) = self.absent_heir(talk, roster)? {
            return Ok(Next::Over(Err(failure)));
        }
        let (Some(job), Some(rules)) = (self.job(talk), roster.policy.group_rules()) else {
            return Ok(Next::Over(Ok(())));
        };
        let Some(role) = rules.role_of(&me) else {
            return Ok(Next::Over(Err(super::no_member())));
        };
        let at = Position {
            me: &me,
            role,
            rules,
            roster,
        };
        Ok(match &job.change {
            // Made already, or somebody else repaired it.
            Change::Create { .. } | Change::Found { .. } | Change::Enter { .. } => {
                Next::Over(Ok(()))
            }
            Change::Rebuild(rebuild)
                if rebuild.why != Why::Broken && rebuild.generation > roster.generation =>
            {
                Next::Rebuild(rebuild.clone())
            }
            Change::Rebuild(_) => Next::Over(Ok(())),
            Change::Ban(names) => at.ban(names, job),
            Change::Unban(names) => at.unban(names, job),
            Change::Add(names) => at.add(names, job),
            Change::Remove(names) => at.remove(names, job),
            Change::Evict(people) => at.evict(people),
            Change::Roles(names, wish) => at.roles(names, *wish, job),
            Change::Info(change) => at.say(change, job),
            Change::Link { link, .. } => match job.progress {
                Progress::Nothing => Next::Say(Words::Link(link.clone())),
                _ => Next::Over(Ok(())),
            },
        })
    }

    /// Who was merely invited to a closed group cannot be its owner: nobody could take it back
    /// from them. Who has come in is known by what they said or committed.
    fn absent_heir(
        &mut self,
        talk: &Talk,
        roster: &Roster,
    ) -> Result<Option<Failure>, EngineError> {
        let heirs = match self.job(talk).map(|job| &job.change) {
            Some(Change::Roles(names, RoleWish::HandOver)) => names.clone(),
            _ => return Ok(None),
        };
        let rules = roster.policy.group_rules();
        let closed = rules.is_some_and(|rules| rules.access == Access::Closed);
        let Some(group) = talk.group().filter(|_| closed) else {
            return Ok(None);
        };
        for name in heirs {
            let member = self.store().member(group, &name)?;
            if member.is_some_and(|member| !member.seen) {
                let message = format!(
                    "{name} has not joined yet, as far as this device knows; \
                     hand the group over once {name} has"
                );
                return Ok(Some(refusal(ErrorCode::NotAllowed.name(), &message)));
            }
        }
        Ok(None)
    }

    fn stage_change(
        &mut self,
        row: &ConversationRow,
        wanted: &Wanted,
    ) -> Result<Step, EngineError> {
        let client_id = ClientMessageId::from_bytes(self.random_id());
        let Some(mut group) = self.take_group(row)? else {
            self.break_conversation(row.clone(), "its keys are not here")?;
            return Ok(Step::Working);
        };
        let packages: Vec<Vec<u8>> = match self.jobs.get(&row.talk).and_then(|jobs| jobs.front()) {
            Some(job) => {
                let of = |name| job.claimed.get(name).into_iter().flatten().cloned();
                wanted.names.iter().flat_map(of).collect()
            }
            None => Vec::new(),
        };
        let plan = Plan {
            key_packages: &packages,
            removals: &wanted.removals,
            policy: wanted.policy.as_ref(),
        };
        let epoch = group.epoch();
        let me = self.profile.device();
        let staged = group.stage(&self.key_store(), me, &client_id, &plan, self.now.unix_ms);
        let about = self.about_group(row)?;
        let staged = staged.and_then(|staged| {
            let note = invitation_note(&group, &self.key_store(), me, (&staged, &about))?;
            Ok((staged, note))
        });
        self.keep_group(group);
        let (staged, note) = match staged {
            Ok(staged) => staged,
            Err(error) => {
                let error = group_failure(error)?;
                let refused = refusal(
                    ErrorCode::NotAllowed.name(),
                    &format!("the rules of the group do not allow this: {error}"),
                );
                self.end_job(&row.talk, Err(refused));
                return Ok(Step::Nothing);
            }
        };
        let request = append_request(row, epoch, &client_id, (staged.clone(), &note));
        self.store().put_pending(&PendingCommitRow {
            conversation: row.id,
            client_id,
            kind: PendingKind::Change,
            generation: row.generation,
            epoch,
            commit_hash: sotto_crypto::commit_hash(&staged.commit),
            request: request.encode_to_vec(),
        })?;
        self.send_pending(row)?;
        Ok(Step::Working)
    }

    /// A commit of this device is in the log: the first job of the group may be further.
    pub(in crate::engine) fn job_settled(
        &mut self,
        row: &ConversationRow,
        summary: &CommitSummary,
        kind: PendingKind,
    ) -> Result<(), EngineError> {
        let added: BTreeSet<_> = summary.changes.iter().filter_map(added).collect();
        let said = match added.is_empty() {
            true => None,
            false => {
                self.store().take_greeting(&row.id)?;
                self.say_info(row)?
            }
        };
        let Some(job) = self.job(&row.talk) else {
            return Ok(());
        };
        job.claimed.retain(|name, _| !added.contains(name));
        job.message = said.or(job.message);
        match (&job.change, kind) {
            (Change::Create { title, members }, PendingKind::Create) => {
                job.progress = Progress::Made(title.clone());
                job.change = Change::Add(members.clone());
            }
            (Change::Found { title, topic }, PendingKind::Create) => {
                let listing = Listing {
                    group: row.id,
                    title: title.clone(),
                    topic: topic.clone(),
                    founding: Founding::New,
                };
                // The answer is given once the room is listed.
                let command = job.command.take();
                job.change = Change::Add(Vec::new());
                if let Some(command) = command {
                    self.ask_later(command, ServerCommand::SetRoom(listing));
                }
            }
            (Change::Rebuild(_), PendingKind::Create) => {
                job.progress = Progress::Some;
                job.change = Change::Add(Vec::new());
                let later = std::mem::take(&mut job.later);
                let jobs = self.jobs.entry(row.talk.clone()).or_default();
                for (place, change) in later.into_iter().enumerate() {
                    jobs.insert(1 + place, Job::new(None, change));
                }
            }
            _ if job.progress == Progress::Nothing => job.progress = Progress::Some,
            _ => {}
        }
        Ok(())
    }

    /// The server does not take a change. What time does not cure is the answer.
    pub(in crate::engine) fn change_refused(
        &mut self,
        row: &ConversationRow,
        code: ErrorCode,
        error: &wire::Error,
    ) {
        let why = match code {
            ErrorCode::CommitInvalid => refusal(
                code.name(),
                "the server could not verify the change; perhaps a device was just replaced, try again",
            ),
            _ => failure(error),
        };
        self.end_job(&row.talk, Err(why));
    }
}

/// Where this account stands in a group.
struct Position<'a> {
    me: &'a Username,
    role: Role,
    rules: &'a GroupRules,
    roster: &'a Roster,
}

impl Position<'_> {
    fn is_in(&self, name: &Username) -> bool {
        self.roster.identity_of(name).is_some()
    }

    fn add(&self, names: &[Username], job: &Job) -> Next {
        // Who cannot be reached now is passed over where nobody asked by name.
        // Nor does anybody who was put out come back without an admin's word.
        let unasked = |name: &Username| job.command.is_none() && self.rules.put_out.contains(name);
        let unreachable =
            |name: &Username| unasked(name) || job.claimed.get(name).is_some_and(Vec::is_empty);
        let missing: Vec<_> = names
            .iter()
            .filter(|name| !self.is_in(name) && !unreachable(name))
            .collect();
        match (missing.first(), names) {
            (None, [name, ..]) if job.progress == Progress::Nothing => {
                return Next::Over(Err(refusal(
                    "already_member",
                    &format!("{name} is already a member"),
                )));
            }
            (None, _) => return Next::Over(Ok(())),
            _ => {}
        }
        if self.role < Role::Admin {
            return only("an admin", "add members");
        }
        if let Some(name) = missing
            .iter()
            .find(|name| self.rules.banned.contains(**name))
        {
            return Next::Over(Err(refusal(
                ErrorCode::Banned.name(),
                &format!("{name} is banned from this group; `group unban` first"),
            )));
        }
        if let Some(name) = missing
            .iter()
            .find(|name| !job.claimed.contains_key(**name))
        {
            return Next::Claim((**name).clone());
        }
        let names = batch(&missing, &job.claimed, self.roster.leaves.len());
        let mut rules = self.rules.clone();
        rules.put_out.retain(|name| !names.contains(name));
        if rules.access == Access::Closed {
            rules
                .roles
                .extend(names.iter().map(|name| (name.clone(), Role::Member)));
        }
        self.commit(rules, names, Vec::new())
    }

    fn remove(&self, names: &[Username], job: &Job) -> Next {
        if names.contains(self.me) {
            let hint = "to go yourself, use `group leave`";
            return Next::Over(Err(refusal("self", hint)));
        }
        let there: Vec<_> = names.iter().filter(|name| self.is_in(name)).collect();
        match (there.first(), names) {
            (None, [name, ..]) if job.progress == Progress::Nothing && job.command.is_some() => {
                return Next::Over(Err(not_in(name)));
            }
            (None, _) => return Next::Over(Ok(())),
            _ => {}
        }
        if self.role < Role::Admin {
            return only("an admin", "remove members");
        }
        let role = |name: &Username| self.rules.role_of(name).unwrap_or(Role::Member);
        if let Some(name) = there.iter().find(|name| role(name) > Role::Member)
            && self.role < Role::Owner
        {
            let what = format!("remove {name}, who is {}", role_name(role(name)));
            return only("an owner", &what);
        }
        let mut rules = self.rules.clone();
        rules.roles.retain(|name, _| !there.contains(&name));
        if job.command.is_some() {
            note_put_out(&mut rules, &there);
        }
        let gone = |leaf: &(&LeafIndex, &sotto_roster::DeviceCertificate)| {
            there.contains(&leaf.1.username())
        };
        let leaves = self.roster.leaves.iter().filter(gone);
        let removals = leaves.map(|(leaf, _)| *leaf).collect();
        self.commit(rules, Vec::new(), removals)
    }

    fn evict(&self, people: &[(Username, [u8; 32])]) -> Next {
        let old = |leaf: &sotto_roster::DeviceCertificate| {
            let accepted = people.iter().find(|(name, _)| name == leaf.username());
            accepted.is_some_and(|(_, identity)| identity != leaf.identity_key())
        };
        let leaves = self.roster.leaves.iter().filter(|(_, leaf)| old(leaf));
        let (removals, names): (Vec<_>, BTreeSet<_>) = leaves
            .map(|(place, leaf)| (*place, leaf.username()))
            .unzip();
        if removals.is_empty() {
            return Next::Over(Ok(()));
        }
        let mut rules = self.rules.clone();
        rules.roles.retain(|name, _| !names.contains(name));
        self.commit(rules, Vec::new(), removals)
    }

    fn ban(&self, names: &[Username], job: &Job) -> Next {
        if job.progress != Progress::Nothing {
            return Next::Over(Ok(()));
        }
        if names.contains(self.me) {
            return Next::Over(Err(refusal("self", "you cannot ban yourself")));
        }
        if self.role < Role::Admin {
            return only("an admin", "ban people");
        }
        let role = |name: &Username| self.rules.role_of(name).unwrap_or(Role::Member);
        if let Some(name) = names.iter().find(|name| role(name) > Role::Member)
            && self.role < Role::Owner
        {
            let what = format!("ban {name}, who is {}", role_name(role(name)));
            return only("an owner", &what);
        }
        let mut rules = self.rules.clone();
        rules.roles.retain(|name, _| !names.contains(name));
        rules.put_out.retain(|name| !names.contains(name));
        rules.banned.extend(names.iter().cloned());
        let leaves = self.roster.leaves.iter();
        let gone = leaves.filter(|(_, leaf)| names.contains(leaf.username()));
        let removals = gone.map(|(leaf, _)| *leaf).collect();
        self.commit(rules, Vec::new(), removals)
    }

    fn unban(&self, names: &[Username], job: &Job) -> Next {
        if job.progress != Progress::Nothing {
            return Next::Over(Ok(()));
        }
        if self.role < Role::Admin {
            return only("an admin", "lift a ban");
        }
        if let Some(name) = names.iter().find(|name| !self.rules.banned.contains(*name)) {
            let message = format!("{name} is not banned");
            return Next::Over(Err(refusal("not_a_member", &message)));
        }
        let mut rules = self.rules.clone();
        rules.banned.retain(|name| !names.contains(name));
        self.commit(rules, Vec::new(), Vec::new())
    }

    fn roles(&self, names: &[Username], wish: RoleWish, job: &Job) -> Next {
        if let Some(name) = names.iter().find(|name| !self.is_in(name)) {
            return Next::Over(Err(not_in(name)));
        }
        if job.progress != Progress::Nothing {
            return Next::Over(Ok(()));
        }
        let own = wish == RoleWish::Demote && names.iter().all(|name| name == self.me);
        if self.role < Role::Owner && !own {
            let what = match wish {
                RoleWish::Promote => "make admins",
                RoleWish::Demote => "take a role away",
                RoleWish::HandOver => "hand the group over",
            };
            return only("an owner", what);
        }
        let mut rules = self.rules.clone();
        for name in names {
            let role = rules.role_of(name).unwrap_or(Role::Member);
            let Some(next) = next_role(role, wish) else {
                let message = format!("{name} is {} already", role_name(role));
                return Next::Over(Err(refusal("already_member", &message)));
            };
            set_role(&mut rules, name, next);
        }
        if wish == RoleWish::HandOver {
            set_role(&mut rules, self.me, Role::Admin);
        }
        if !rules.roles.values().any(|role| *role == Role::Owner) {
            return Next::Over(Err(last_owner()));
        }
        self.commit(rules, Vec::new(), Vec::new())
    }

    fn say(&self, change: &InfoChange, job: &Job) -> Next {
        match job.progress {
            Progress::Nothing if self.role >= Role::Admin => Next::Say(Words::Info(change.clone())),
            Progress::Nothing => match change {
                InfoChange::Title(_) => only("an admin", "rename the group"),
                InfoChange::Description(_) => only("an admin", "describe the group"),
            },
            _ => Next::Over(Ok(())),
        }
    }

    fn commit(&self, rules: GroupRules, names: Vec<Username>, removals: Vec<LeafIndex>) -> Next {
        let policy = match rules == *self.rules {
            true => None,
            false => match self.roster.policy.next(Rules::Group(rules)) {
                Ok(policy) => Some(policy),
                Err(error) => {
                    let code = ErrorCode::NotAllowed.name();
                    return Next::Over(Err(refusal(code, &error.to_string())));
                }
            },
        };
        Next::Commit(Wanted {
            names,
            removals,
            policy,
        })
    }
}

/// The role after, if there is one.
fn next_role(role: Role, wish: RoleWish) -> Option<Role> {
    match (wish, role) {
        (RoleWish::Promote, Role::Member) => Some(Role::Admin),
        (RoleWish::Demote, Role::Owner) => Some(Role::Admin),
        (RoleWish::Demote, Role::Admin) => Some(Role::Member),
        (RoleWish::HandOver, Role::Member | Role::Admin) => Some(Role::Owner),
        (RoleWish::Promote | RoleWish::Demote | RoleWish::HandOver, _) => None,
    }
}

/// In a public group nobody is named who is a member only.
fn set_role(rules: &mut GroupRules, name: &Username, role: Role) {
    if rules.access == Access::Public && role == Role::Member {
        rules.roles.remove(name);
    } else {
        rules.roles.insert(name.clone(), role);
    }
}

/// An admin put them out of a closed group: no link lets them back in alone.
/// Where too many are remembered, others are forgotten for them.
fn note_put_out(rules: &mut GroupRules, names: &[&Username]) {
    if rules.access == Access::Public {
        return;
    }
    let new: BTreeSet<_> = names.iter().take(PUT_OUT_MAX).copied().cloned().collect();
    while rules.put_out.len() + new.len() > PUT_OUT_MAX {
        rules.put_out.pop_first();
    }
    rules.put_out.extend(new);
}

fn added(change: &MembershipChange) -> Option<&Username> {
    match change {
        MembershipChange::Added(certificate) => Some(certificate.username()),
        _ => None,
    }
}

fn only(who: &str, what: &str) -> Next {
    let code = ErrorCode::NotAllowed.name();
    Next::Over(Err(refusal(code, &format!("only {who} can {what}"))))
}

fn not_in(name: &Username) -> Failure {
    refusal("not_a_member", &format!("{name} is not a member"))
}

pub(super) fn last_owner() -> Failure {
    refusal(
        "last_owner",
        "a group needs an owner; hand it over first with `group owner GROUP NAME`",
    )
}

fn append_request(
    row: &ConversationRow,
    epoch: u64,
    client_id: &ClientMessageId,
    (staged, note): (PendingCommit, &[u8]),
) -> wire::ClientFrame {
    wire::ClientFrame {
        request_id: 0,
        body: Some(Ask::AppendCommit(wire::AppendCommit {
            conversation_id: row.id.to_vec(),
            generation: row.generation,
            epoch,
            client_id: client_id.to_vec(),
            welcomes: welcomes(&staged, note),
            commit: staged.commit,
            group_info: staged.group_info,
        })),
    }
}
