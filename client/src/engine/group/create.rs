//! Key packages for groups, new groups, and new generations of broken ones.

use std::collections::BTreeMap;

use prost::Message as _;
use sotto_crypto::{About, Address, Group, GroupError, PendingCommit, Plan, Suite};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, Username, wire};
use sotto_roster::{Access, GroupRules, Policy, Role, Rules};

use super::super::api::{Failure, SecurityKind};
use super::super::commands::refusal;
use super::super::error::group_failure;
use super::super::flight::Purpose;
use super::super::people::Trust;
use super::super::session::failure;
use super::super::work::{Rebuild, Step, Why, people_changed};
use super::super::{Engine, EngineError};
use super::refound::refound;
use super::welcomes::{batch, invitation_note, welcomes};
use super::{Change, Job};
use crate::history::{
    Baseline, ConversationRow, ConversationState, PendingCommitRow, PendingKind, Relation,
};
use crate::talk::Talk;

/// How long a member waits for an admin to repair a group before looking again, in milliseconds.
const REPAIR_MS: u64 = 5_000;

/// A new group of some generation: who is in it at first, and under which rules.
struct Founding {
    generation: u32,
    rules: GroupRules,
    names: Vec<Username>,
    suite: Suite,
}

impl Engine {
    /// The suite of a group that stands.
    pub(in crate::engine) fn suite_of(
        &mut self,
        row: &ConversationRow,
    ) -> Result<Suite, EngineError> {
        let group = self.take_group(row)?;
        let suite = group.as_ref().and_then(Group::suite);
        if let Some(group) = group {
            self.keep_group(group);
        }
        Ok(suite.unwrap_or(Suite::Hybrid))
    }

    /// Asks for a key package of each of a person's devices, for the first job of a group.
    pub(super) fn claim_for_group(&mut self, talk: &Talk, name: &Username, suite: Suite) {
        self.set_step(talk, Step::Busy);
        let body = Ask::ClaimKeyPackages(wire::ClaimKeyPackages {
            username: name.as_str().to_owned(),
            ciphersuite: u32::from(suite.number()),
        });
        let purpose = Purpose::GroupClaim {
            talk: talk.clone(),
            name: name.clone(),
        };
        self.request(purpose, body);
    }

    pub(in crate::engine) fn group_claim_answered(
        &mut self,
        talk: &Talk,
        name: &Username,
        answer: Answer,
    ) -> Result<(), EngineError> {
        match answer {
            Answer::ClaimedKeyPackages(claimed) => match self.packages_of(name, &claimed)? {
                Ok(packages) => {
                    self.succeeded(talk);
                    if let Some(job) = self.job(talk) {
                        job.claimed.insert(name.clone(), packages);
                    }
                }
                Err(failure) => self.not_claimed(talk, name, failure),
            },
            Answer::Error(error) => match ErrorCode::from_number(error.code) {
                ErrorCode::UnknownUser => {
                    let message = format!("nobody is called {name}");
                    let failure = refusal(ErrorCode::UnknownUser.name(), &message);
                    self.not_claimed(talk, name, failure);
                }
                ErrorCode::NoKeyPackage => self.not_claimed(talk, name, no_key_package(name)),
                ErrorCode::RateLimited => self.not_claimed(talk, name, failure(&error)),
                _ => self.server_refused(talk, &error),
            },
            _ => self.rest(talk, 0),
        }
        Ok(())
    }

    /// The sound key packages of a person who may be invited.
    fn packages_of(
        &mut self,
        name: &Username,
        claimed: &wire::ClaimedKeyPackages,
    ) -> Result<Result<Vec<Vec<u8>>, Failure>, EngineError> {
        let Ok(identity) = <[u8; 32]>::try_from(claimed.identity_key.as_slice()) else {
            return Ok(Err(no_key_package(name)));
        };
        if self.person(name)?.relation == Relation::Blocked {
            let message = format!("you blocked {name}; `unblock {name}` first");
            return Ok(Err(refusal("blocked", &message)));
        }
        if self.identity_shown(name, &identity)? == Trust::Changed {
            return Ok(Err(people_changed(name)));
        }
        let (packages, refused) = self.sound_packages(name, &identity, claimed);
        if refused > 0 {
            self.security(
                SecurityKind::PolicyRejected,
                None,
                Some(name),
                "the server offered a key package that is not this person's, or not sound; it was not used",
            );
        }
        Ok(match packages.is_empty() {
            true => Err(no_key_package(name)),
            false => Ok(packages),
        })
    }

    /// Somebody cannot be invited: the whole job is refused, but what no person
    /// asked for, a repair for example, goes on without them.
    fn not_claimed(&mut self, talk: &Talk, name: &Username, failure: Failure) {
        self.set_step(talk, Step::Idle);
        let Some(job) = self.job(talk) else {
            return;
        };
        if job.command.is_none() {
            job.claimed.insert(name.clone(), Vec::new());
        } else {
            self.end_job(talk, Err(failure));
        }
    }

    /// A group that is not there yet.
    pub(in crate::engine) fn drive_new_group(&mut self, talk: &Talk) -> Result<(), EngineError> {
        let me = self.my_name().clone();
        if self.is_entering(talk) {
            return self.drive_entry(talk);
        }
        if let Some(Change::Found { title, .. }) = self.job(talk).map(|job| job.change.clone()) {
            let roles = BTreeMap::from([(me, Role::Owner)]);
            let founding = Founding {
                generation: 0,
                rules: GroupRules::public(roles),
                names: Vec::new(),
                suite: Suite::Classical,
            };
            return self.found_new(talk, &title, &founding);
        }
        let Some(Job {
            change: Change::Create { title, members },
            claimed,
            ..
        }) = self.job(talk)
        else {
            self.end_jobs(talk, &super::no_member());
            return Ok(());
        };
        let suite = Suite::for_leaves(members.len() + 1);
        if let Some(name) = members.iter().find(|name| !claimed.contains_key(*name)) {
            let name = name.clone();
            self.claim_for_group(talk, &name, suite);
            return Ok(());
        }
        let names = batch(&members.iter().collect::<Vec<_>>(), claimed, 1);
        let title = title.clone();
        let mut roles: BTreeMap<_, _> = names
            .iter()
            .map(|name| (name.clone(), Role::Member))
            .collect();
        roles.insert(me, Role::Owner);
        let founding = Founding {
            generation: 0,
            rules: GroupRules::closed(roles),
            names,
            suite,
        };
        self.found_new(talk, &title, &founding)
    }

    fn found_new(
        &mut self,
        talk: &Talk,
        title: &str,
        founding: &Founding,
    ) -> Result<(), EngineError> {
        let Talk::Group(id) = talk else {
            return Ok(());
        };
        let mut row = self.new_row(*id, talk, 0, ConversationState::Creating);
        row.baseline = Baseline::FromStart;
        row.title = Some(title.to_owned());
        self.found(row, founding)?;
        self.keep_title(id, title, self.now.unix_ms)
    }

    /// A group whose keys are of no use to anybody: an admin makes its next
    /// generation; everybody else waits for that.
    pub(in crate::engine) fn drive_rebuild(
        &mut self,
        row: &ConversationRow,
        rebuild: Rebuild,
    ) -> Result<(), EngineError> {
        let me = self.my_name().clone();
        let members = self.store().members(&row.id)?;
        let members = members.into_iter().filter(|member| !member.leaving);
        let members: BTreeMap<_, _> = members.map(|member| (member.name, member.role)).collect();
        let generation = rebuild.generation;
        let kept = self.rules_kept(&row.id)?;
        let begin = refound(&me, &members, kept, rebuild.record.as_ref());
        let why = rebuild.why;
        let is_admin = begin
            .roles
            .get(&me)
            .is_some_and(|role| *role >= Role::Admin);
        if !is_admin && why != Why::Vacant {
            return self.leave_repair_to_admins(row, why);
        }
        if why != Why::Broken && self.is_put_off(row)? {
            return Ok(());
        }
        let change = Change::Rebuild(rebuild);
        let begun = self.job(&row.talk).is_some_and(|job| job.change == change);
        if !begun {
            let jobs = self.jobs.entry(row.talk.clone()).or_default();
            jobs.push_front(Job::new(None, change));
        }
        let suite = match begin.rules.access {
            Access::Closed => Suite::for_leaves(members.len()),
            Access::Public => Suite::Classical,
        };
        let mut others: Vec<_> = begin
            .roles
            .iter()
            .filter(|(name, _)| **name != me)
            .collect();
        // Whoever has a role comes in first: nobody may be given one later.
        others.sort_by_key(|(_, role)| std::cmp::Reverse(**role));
        let Some(job) = self.job(&row.talk) else {
            return Ok(());
        };
        let unasked = others
            .iter()
            .find(|(name, _)| !job.claimed.contains_key(*name));
        if let Some((name, _)) = unasked {
            let name = (*name).clone();
            self.claim_for_group(&row.talk, &name, suite);
            return Ok(());
        }
        let reachable = |name: &Username| job.claimed.get(name).is_some_and(|all| !all.is_empty());
        let reached: Vec<_> = others
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| reachable(name))
            .collect();
        let names = batch(&reached, &job.claimed, 1);
        if why == Why::Vacant && names.len() < others.len() {
            // Not for a member to leave anybody out, nor to add them later.
            return self.give_up_return(row);
        }
        let later = reached
            .iter()
            .filter(|name| !names.contains(**name))
            .map(|name| (*name).clone())
            .collect::<Vec<_>>();
        let founding = Founding {
            generation,
            rules: begin.rules_for(&me, &names),
            names,
            suite,
        };
        let more = (!later.is_empty()).then_some(Change::Add(later));
        job.later = more.into_iter().chain(begin.later).collect();
        self.found(row.clone(), &founding)
    }

    fn leave_repair_to_admins(
        &mut self,
        row: &ConversationRow,
        why: Why,
    ) -> Result<(), EngineError> {
        if why != Why::Broken {
            return self.give_up_return(row);
        }
        let until = self.now.monotonic_ms + REPAIR_MS;
        let work = self.work_of(&row.talk);
        work.rebuild = None;
        work.rejoins = 0;
        work.step = Step::Until(until);
        Ok(())
    }

    /// Who may come in alone and who may not be in, as the last commit here
    /// left it: a rebuilt group is as open as it was.
    pub(super) fn rules_kept(&self, group: &ConversationId) -> Result<GroupRules, EngineError> {
        let policy = self.store().policy(group)?;
        let policy = policy.and_then(|bytes| Policy::decode(&bytes).ok());
        let rules = policy.as_ref().and_then(Policy::group_rules).cloned();
        Ok(rules.unwrap_or_else(|| GroupRules::closed(BTreeMap::new())))
    }

    /// Makes a group of one and stages the commit that brings the first others in.
    fn found(&mut self, mut row: ConversationRow, founding: &Founding) -> Result<(), EngineError> {
        let client_id = ClientMessageId::from_bytes(self.random_id());
        self.make_room(&row, founding.generation)?;
        row.generation = founding.generation;
        let about = self.about_group(&row)?;
        let made = match self.make(&row, &client_id, (founding, &about)) {
            Ok(made) => made,
            Err(error) => {
                let error = group_failure(error)?;
                let code = ErrorCode::NotAllowed.name();
                let message = format!("the group cannot be made: {error}");
                self.end_job(&row.talk, Err(refusal(code, &message)));
                self.rest(&row.talk, 0);
                return Ok(());
            }
        };
        row.state = ConversationState::Creating;
        self.store().put_conversation(&row)?;
        let (group_info, staged, note) = made;
        let commit_hash = sotto_crypto::commit_hash(&staged.commit);
        let request = wire::ClientFrame {
            request_id: 0,
            body: Some(Ask::CreateConversation(wire::CreateConversation {
                conversation_id: row.id.to_vec(),
                generation: row.generation,
                group_info,
                welcomes: welcomes(&staged, &note),
                commit: staged.commit,
                next_group_info: staged.group_info,
                client_id: client_id.to_vec(),
            })),
        };
        self.store().put_pending(&PendingCommitRow {
            conversation: row.id,
            client_id,
            kind: PendingKind::Create,
            generation: row.generation,
            epoch: 0,
            commit_hash,
            request: request.encode_to_vec(),
        })?;
        self.send_pending(&row)
    }

    fn make(
        &mut self,
        row: &ConversationRow,
        client_id: &ClientMessageId,
        (founding, about): (&Founding, &About),
    ) -> Result<(Vec<u8>, PendingCommit, Vec<u8>), GroupError> {
        let now_ms = self.now.unix_ms;
        let address = Address {
            conversation: row.id,
            generation: founding.generation,
        };
        let packages: Vec<Vec<u8>> = match self.jobs.get(&row.talk).and_then(|jobs| jobs.front()) {
            Some(job) => {
                let of = |name| job.claimed.get(name).into_iter().flatten().cloned();
                founding.names.iter().flat_map(of).collect()
            }
            None => Vec::new(),
        };
        let alone = GroupRules {
            roles: BTreeMap::from([(self.my_name().clone(), Role::Owner)]),
            ..founding.rules.clone()
        };
        let first = match alone.access {
            Access::Closed => Policy::group(alone.roles),
            Access::Public => Policy::public_group(alone.roles),
        };
        let first = first.map_err(|_| GroupError::Invalid)?;
        let policy = first
            .next(Rules::Group(founding.rules.clone()))
            .map_err(|_| GroupError::Invalid)?;
        let me = self.profile.device();
        let store = self.key_store();
        if let Some(left) = Group::load(&store, me, address)? {
            left.delete(&store)?;
        }
        let mut group = Group::create(&store, me, address, &first, founding.suite, now_ms)?;
        let group_info = group.group_info(&store, me)?;
        let plan = Plan {
            key_packages: &packages,
            removals: &[],
            policy: (*first.rules() != *policy.rules()).then_some(&policy),
        };
        let staged = group.stage(&store, me, client_id, &plan, now_ms);
        let staged = staged.and_then(|staged| {
            let note = invitation_note(&group, &store, me, (&staged, about))?;
            Ok((staged, note))
        });
        match staged {
            Ok((staged, note)) => {
                self.keep_group(group);
                Ok((group_info, staged, note))
            }
            Err(error) => {
                group.delete(&store)?;
                Err(error)
            }
        }
    }

    /// The server did not take a new group.
    pub(in crate::engine) fn group_refused(
        &mut self,
        talk: &Talk,
        error: &wire::Error,
    ) -> Result<(), EngineError> {
        let why = match self.job(talk).map(|job| &job.change) {
            Some(Change::Rebuild(rebuild)) => Some(rebuild.why),
            _ => None,
        };
        let Some(why) = why else {
            self.end_job(talk, Err(failure(error)));
            self.set_step(talk, Step::Idle);
            return Ok(());
        };
        // Its key packages may be what was wrong.
        self.end_job(talk, Ok(()));
        self.rest(talk, error.retry_after_ms);
        match talk {
            Talk::Group(id) if why != Why::Broken => self.forget_returns(id),
            _ => Ok(()),
        }
    }
}

fn no_key_package(name: &Username) -> Failure {
    refusal(
        ErrorCode::NoKeyPackage.name(),
        &format!("{name} cannot be invited now: no device of theirs has a key package"),
    )
}
