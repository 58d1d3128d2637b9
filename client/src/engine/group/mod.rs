//! Groups: what people ask of them, carried out step by step.
//!
//! Each group has a queue of jobs. A job is decided anew each time that it is
//! looked at, against the members as the log has them by then: when another
//! admin was faster, what is left to do is done, or the answer says so.
//! Nothing here decides what may be done; that is `sotto_roster::authorize`.
//! What this says before it asks is only the clearer sentence.
//!
//! | file     | for                                                  |
//! |----------|------------------------------------------------------|
//! | `change` | what is next for a job, and commits                  |
//! | `chores` | what an admin's client does by itself                |
//! | `create` | key packages, new groups and new generations of them |
//! | `info`   | titles and descriptions                              |
//! | `invite` | invitations, joining                                 |
//! | `link`   | invite links, and who comes by them                  |
//! | `room`   | public rooms: listing and entering                   |
//! | `leave`  | leaving, declining, and taking out who left          |
//! | `record` | who is in, as the store and events tell              |
//! | `welcomes` | how many come in at once, and with what           |

mod anew;
mod change;
mod chores;
mod create;
mod info;
mod invite;
mod leave;
mod link;
mod record;
mod refound;
mod room;
mod welcomes;

pub(super) use change::Step as GroupStep;
pub(super) use link::LinkAsk;
pub(super) use room::{Listing, shut_out};

use std::collections::{BTreeMap, VecDeque};

use sotto_crypto::content::{DESCRIPTION_BYTES_MAX, JoinLink, TITLE_BYTES_MAX};
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, Username};

use super::api::{CommandId, Event, Failure, GroupCommand};
use super::commands::{ServerCommand, refusal};
use super::work::Rebuild;
use super::{Engine, EngineError};
use crate::history::ConversationState;
use crate::talk::Talk;

/// Jobs that wait, in all groups together.
const JOBS_MAX: usize = 256;
/// People that one command names.
const NAMES_MAX: usize = 4_096;

/// Something to be done with a group.
pub(super) struct Job {
    /// Who is to be answered, if anybody asked.
    command: Option<CommandId>,
    change: Change,
    /// Key packages that were claimed for it and are not used yet, by person.
    claimed: BTreeMap<Username, Vec<Vec<u8>>>,
    /// The sealed words about it; it is over when they are with the server.
    message: Option<ClientMessageId>,
    progress: Progress,
    /// What is to be done after it, once the log has it.
    later: Vec<Change>,
}

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Create {
        title: String,
        members: Vec<Username>,
    },
    Found {
        title: String,
        topic: String,
    },
    Enter {
        title: String,
    },
    Rebuild(Rebuild),
    Add(Vec<Username>),
    Remove(Vec<Username>),
    /// Puts the devices of people out that are in under another identity than this.
    Evict(Vec<(Username, [u8; 32])>),
    Ban(Vec<Username>),
    Unban(Vec<Username>),
    Roles(Vec<Username>, RoleWish),
    Info(InfoChange),
    /// A link that the server knows or forgot is made known, or said to be over.
    Link {
        link: JoinLink,
        uses: u32,
    },
}

/// Which way a role goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoleWish {
    Promote,
    Demote,
    HandOver,
}

/// What is to be said about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InfoChange {
    Title(String),
    Description(String),
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// Nothing of it is in the log.
    Nothing,
    /// Some of it is.
    Some,
    /// The group under this title was made.
    Made(String),
}

impl Job {
    fn new(command: Option<CommandId>, change: Change) -> Self {
        Self {
            command,
            change,
            claimed: BTreeMap::new(),
            message: None,
            progress: Progress::Nothing,
            later: Vec::new(),
        }
    }
}

impl Engine {
    pub(super) fn group_command(
        &mut self,
        id: CommandId,
        command: GroupCommand,
    ) -> Result<(), EngineError> {
        let (group, change) = match command {
            GroupCommand::New { title, members } => {
                self.new_group(id, title, members);
                return Ok(());
            }
            GroupCommand::NewRoom { title, topic } => {
                let title = title.trim().to_owned();
                let group = ConversationId::from_bytes(self.random_id());
                let change = Change::Found { title, topic };
                self.push_job(Talk::Group(group), Job::new(Some(id), change));
                return Ok(());
            }
            GroupCommand::Topic { group, topic } => return self.set_topic(id, group, topic),
            GroupCommand::Rooms => {
                self.ask_later(id, ServerCommand::ListRooms(Vec::new()));
                return Ok(());
            }
            GroupCommand::Enter { group, title } => return self.enter_room(id, group, title),
            GroupCommand::Link(command) => return self.link_command(id, command),
            GroupCommand::Ban { group, names } => (group, Change::Ban(names)),
            GroupCommand::Unban { group, names } => (group, Change::Unban(names)),
            GroupCommand::Join { group } => return self.join_group(id, &group),
            GroupCommand::Decline { group } => return self.decline_group(id, &group),
            GroupCommand::Leave { group } => return self.leave_group(id, &group),
            GroupCommand::Add { group, names } => (group, Change::Add(names)),
            GroupCommand::Remove { group, names } => (group, Change::Remove(names)),
            GroupCommand::Promote { group, names } => {
                (group, Change::Roles(names, RoleWish::Promote))
            }
            GroupCommand::Demote { group, names } => {
                (group, Change::Roles(names, RoleWish::Demote))
            }
            GroupCommand::HandOver { group, name } => {
                (group, Change::Roles(vec![name], RoleWish::HandOver))
            }
            GroupCommand::Rename { group, title } => {
                (group, Change::Info(InfoChange::Title(title)))
            }
            GroupCommand::Describe { group, text } => {
                (group, Change::Info(InfoChange::Description(text)))
            }
        };
        let change = normal(change);
        let failure = match wrong_words(&change) {
            Some(failure) => Some(failure),
            None => self.hindrance_to_write_in(&Talk::Group(group))?,
        };
        match failure {
            Some(failure) => self.emit(Event::Failed {
                command: Some(id),
                failure,
            }),
            None => match change {
                Change::Info(InfoChange::Title(title)) if self.manages_room(&group)? => {
                    self.rename_room(id, group, title);
                }
                change => self.push_job(Talk::Group(group), Job::new(Some(id), change)),
            },
        }
        Ok(())
    }

    fn new_group(&mut self, id: CommandId, title: String, members: Vec<Username>) {
        let me = self.my_name().clone();
        let members = members.into_iter().filter(|name| *name != me).collect();
        let change = normal(Change::Create { title, members });
        match wrong_words(&change) {
            Some(failure) => self.emit(Event::Failed {
                command: Some(id),
                failure,
            }),
            None => {
                let group = ConversationId::from_bytes(self.random_id());
                self.push_job(Talk::Group(group), Job::new(Some(id), change));
            }
        }
    }

    fn push_job(&mut self, talk: Talk, job: Job) {
        let waiting: usize = self.jobs.values().map(VecDeque::len).sum();
        if waiting >= JOBS_MAX {
            let failure = refusal("too_many_commands", "too many commands wait already");
            self.answer_job(&job, &talk, Err(failure));
            return;
        }
        self.wake(&talk);
        self.jobs.entry(talk).or_default().push_back(job);
    }

    fn job(&mut self, talk: &Talk) -> Option<&mut Job> {
        self.jobs.get_mut(talk)?.front_mut()
    }

    /// The first job of a group is over.
    fn end_job(&mut self, talk: &Talk, outcome: Result<(), Failure>) {
        let Some(jobs) = self.jobs.get_mut(talk) else {
            return;
        };
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.jobs.remove(talk);
        }
        if let Some(job) = job {
            self.answer_job(&job, talk, outcome);
        }
    }

    fn answer_job(&mut self, job: &Job, talk: &Talk, outcome: Result<(), Failure>) {
        let Some(command) = job.command else {
            return;
        };
        let event = match (outcome, &job.progress, talk) {
            (Err(failure), ..) => Event::Failed {
                command: Some(command),
                failure,
            },
            (Ok(()), Progress::Made(title), Talk::Group(conversation)) => Event::GroupMade {
                command,
                conversation: *conversation,
                title: title.clone(),
            },
            (Ok(()), _, Talk::Group(group)) => match &job.change {
                Change::Link { link, uses } if !link.revoked => Event::InviteLink {
                    command,
                    link: link::made_view(*group, link, *uses),
                },
                _ => Event::Done { command },
            },
            (Ok(()), ..) => Event::Done { command },
        };
        self.emit(event);
    }

    /// Nothing more can be done in a group.
    fn end_jobs(&mut self, talk: &Talk, failure: &Failure) {
        while self.jobs.contains_key(talk) {
            self.end_job(talk, Err(failure.clone()));
        }
    }

    /// Why nothing can be written in a group, or changed of it.
    pub(super) fn hindrance_to_write_in(
        &self,
        talk: &Talk,
    ) -> Result<Option<Failure>, EngineError> {
        let state = self.store().conversation_with(talk)?.map(|row| row.state);
        let invited = match talk.group() {
            Some(group) => self.store().invitation(group)?.is_some(),
            None => false,
        };
        Ok(match state {
            Some(ConversationState::Ended) | None if invited => Some(refusal(
                ErrorCode::NotAllowed.name(),
                &format!("you are invited and not in yet; `join {talk}` first"),
            )),
            Some(ConversationState::Ended) => Some(no_member()),
            Some(_) => None,
            None => Some(refusal(
                ErrorCode::UnknownConversation.name(),
                "this group is not known here; `chats` lists those that are",
            )),
        })
    }
}

/// Why nothing is sent in a group that one is out of.
pub(super) fn no_member() -> Failure {
    refusal("not_a_member", "you are no longer a member of this group")
}

/// Each name once, and titles without spaces around them.
fn normal(change: Change) -> Change {
    let once = |names: Vec<Username>| {
        let mut seen = std::collections::BTreeSet::new();
        let mut names = names;
        names.retain(|name| seen.insert(name.clone()));
        names
    };
    match change {
        Change::Create { title, members } => Change::Create {
            title: title.trim().to_owned(),
            members: once(members),
        },
        Change::Add(names) => Change::Add(once(names)),
        Change::Remove(names) => Change::Remove(once(names)),
        Change::Ban(names) => Change::Ban(once(names)),
        Change::Unban(names) => Change::Unban(once(names)),
        Change::Roles(names, wish) => Change::Roles(once(names), wish),
        Change::Info(InfoChange::Title(title)) => {
            Change::Info(InfoChange::Title(title.trim().to_owned()))
        }
        other => other,
    }
}

/// What is wrong with the words themselves.
fn wrong_words(change: &Change) -> Option<Failure> {
    let (names, title, description) = match change {
        Change::Create { title, members } => (Some(members), Some(title), None),
        Change::Add(names)
        | Change::Remove(names)
        | Change::Ban(names)
        | Change::Unban(names)
        | Change::Roles(names, _) => (Some(names), None, None),
        Change::Info(InfoChange::Title(title)) | Change::Found { title, .. } => {
            (None, Some(title), None)
        }
        Change::Info(InfoChange::Description(text)) => (None, None, Some(text)),
        Change::Rebuild(_) | Change::Enter { .. } | Change::Evict(_) | Change::Link { .. } => {
            (None, None, None)
        }
    };
    if names.is_some_and(|names| names.len() > NAMES_MAX) {
        return Some(refusal("too_large", "a group has at most 4,096 devices"));
    }
    if title.is_some_and(|title| title.is_empty() || title.len() > TITLE_BYTES_MAX) {
        return Some(refusal("too_large", "a title has 1 to 128 bytes"));
    }
    if description.is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
        return Some(refusal(
            "too_large",
            "a description has at most 1,024 bytes",
        ));
    }
    None
}
