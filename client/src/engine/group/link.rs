//! Invite links of closed groups: made and ended by admins, known to the
//! members alone; and coming in by one. The server counts uses and time;
//! whether somebody holds a link's secret only members can tell.

use prost::Message as _;
use sotto_crypto::SecretBytes;
use sotto_crypto::content::{JoinLink, LINKS_MAX};
use sotto_crypto::join_proof::JoinClaim;
use sotto_protocol::limits::{JOIN_LINK_USES_MAX, JOIN_LINKS_MAX};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, Username, wire};
use sotto_roster::{Access, DeviceCertificate, GroupRules, Policy, Role};

use super::super::api::{
    Admission, CommandId, Event, Failure, JoinRequest, LinkCommand, LinkView, Past, SecurityKind,
};
use super::super::commands::{ServerCommand, refusal};
use super::super::devices::broken_store;
use super::super::inbox::Entry;
use super::super::people::Trust;
use super::super::session::failure;
use super::super::{Engine, EngineError};
use super::{Change, Job};
use crate::history::{ConversationRow, ConversationState, JoinRequestRow, Relation};
use crate::invite_link::InviteLink;
use crate::talk::Talk;

/// The longest life of a link, in seconds: a year.
const LIFETIME_S_MAX: u32 = 365 * 24 * 3_600;

/// What is asked of the server about links.
pub(in crate::engine) enum LinkAsk {
    Make {
        group: ConversationId,
        link: JoinLink,
        uses: u32,
    },
    End {
        group: ConversationId,
        link: [u8; 16],
    },
    List(ConversationId),
    Join {
        link: InviteLink,
        client_id: ClientMessageId,
    },
}

impl Engine {
    pub(super) fn link_command(
        &mut self,
        id: CommandId,
        command: LinkCommand,
    ) -> Result<(), EngineError> {
        match command {
            LinkCommand::Make {
                group,
                uses,
                lifetime_s,
                admission,
            } => self.make_link(id, group, (uses, lifetime_s), admission),
            LinkCommand::End { group, link } => self.end_link(id, group, link),
            LinkCommand::List { group } => self.list_links(id, group),
            LinkCommand::Join { link } => self.join_by_link(id, link),
            LinkCommand::Approve { group, name } => self.approve(id, group, name),
            LinkCommand::Reject { group, name } => self.reject_newcomer(id, &group, &name),
        }
    }

    fn make_link(
        &mut self,
        id: CommandId,
        group: ConversationId,
        (uses, lifetime_s): (u32, u32),
        admission: Admission,
    ) -> Result<(), EngineError> {
        if let Some(failure) = self.hindrance_to_links(&group, "make invite links")? {
            self.turn_down(id, failure);
            return Ok(());
        }
        let now_ms = self.now.unix_ms;
        let wrong = if self.store().live_links(&group, now_ms)?.len() >= LINKS_MAX {
            Some((
                "too_many_links",
                "the group has 32 invite links; end one with `group unlink` first",
            ))
        } else if !(1..=JOIN_LINK_USES_MAX).contains(&uses) {
            Some(("usage", "a link has 1 to 10,000 uses"))
        } else if !(1..=LIFETIME_S_MAX).contains(&lifetime_s) {
            Some(("usage", "a link lives at most a year"))
        } else {
            None
        };
        if let Some((code, message)) = wrong {
            self.turn_down(id, refusal(code, message));
            return Ok(());
        }
        let Ok(secret) = SecretBytes::random() else {
            self.turn_down(id, broken_store());
            return Ok(());
        };
        let link = JoinLink {
            link_id: self.random_id(),
            secret,
            expires_at_ms: now_ms + u64::from(lifetime_s) * 1_000,
            approval: admission == Admission::ByAdmin,
            revoked: false,
        };
        self.ask_later(id, ServerCommand::Link(LinkAsk::Make { group, link, uses }));
        Ok(())
    }

    fn end_link(
        &mut self,
        id: CommandId,
        group: ConversationId,
        link: [u8; 16],
    ) -> Result<(), EngineError> {
        match self.hindrance_to_links(&group, "end invite links")? {
            Some(failure) => self.turn_down(id, failure),
            None => self.ask_later(id, ServerCommand::Link(LinkAsk::End { group, link })),
        }
        Ok(())
    }

    fn list_links(&mut self, id: CommandId, group: ConversationId) -> Result<(), EngineError> {
        match self.hindrance_to_links(&group, "see the invite links")? {
            Some(failure) => self.turn_down(id, failure),
            None => self.ask_later(id, ServerCommand::Link(LinkAsk::List(group))),
        }
        Ok(())
    }

    fn join_by_link(&mut self, id: CommandId, link: InviteLink) -> Result<(), EngineError> {
        if self.store().invitation(&link.conversation)?.is_some() {
            return self.join_group(id, &link.conversation);
        }
        let row = self.store().conversation(&link.conversation)?;
        if row.is_some_and(|row| row.state != ConversationState::Ended) {
            self.turn_down(id, inside_already());
            return Ok(());
        }
        let client_id = ClientMessageId::from_bytes(self.random_id());
        self.ask_later(id, ServerCommand::Link(LinkAsk::Join { link, client_id }));
        Ok(())
    }

    /// What an admin's word is for: lets somebody in, or forgets the wish.
    fn approve(
        &mut self,
        id: CommandId,
        group: ConversationId,
        name: Username,
    ) -> Result<(), EngineError> {
        match self.hindrance_to_decide(&group, &name)? {
            Some(failure) => self.turn_down(id, failure),
            None => {
                let change = Change::Add(vec![name]);
                self.push_job(Talk::Group(group), Job::new(Some(id), change));
            }
        }
        Ok(())
    }

    fn reject_newcomer(
        &mut self,
        id: CommandId,
        group: &ConversationId,
        name: &Username,
    ) -> Result<(), EngineError> {
        match self.hindrance_to_decide(group, name)? {
            Some(failure) => self.turn_down(id, failure),
            None => {
                self.store().remove_join_request(group, name)?;
                self.done(id);
            }
        }
        Ok(())
    }

    fn hindrance_to_decide(
        &mut self,
        group: &ConversationId,
        name: &Username,
    ) -> Result<Option<Failure>, EngineError> {
        let hindrance = self.hindrance_to_links(group, "decide who comes in")?;
        if hindrance.is_some() {
            return Ok(hindrance);
        }
        let waiting = self.store().join_requests(group)?;
        let known = waiting.iter().any(|row| row.name == *name);
        let message = format!("{name} did not ask to be let into this group");
        Ok((!known).then(|| refusal("not_a_request", &message)))
    }

    /// Links are for admins of closed groups.
    fn hindrance_to_links(
        &mut self,
        group: &ConversationId,
        what: &str,
    ) -> Result<Option<Failure>, EngineError> {
        let talk = Talk::Group(*group);
        if let Some(failure) = self.hindrance_to_write_in(&talk)? {
            return Ok(Some(failure));
        }
        let row = self.store().conversation(group)?;
        let roster = match &row {
            Some(row) => self.roster_of(row)?,
            None => None,
        };
        let Some(roster) = roster else {
            let message = "the group is being repaired; try again in a moment";
            return Ok(Some(refusal(ErrorCode::Unavailable.name(), message)));
        };
        let not_allowed = ErrorCode::NotAllowed.name();
        let open = |rules: &sotto_roster::GroupRules| rules.access == Access::Public;
        if roster.policy.group_rules().is_some_and(open) {
            let message = "a public room needs no invite link: anybody may enter it";
            return Ok(Some(refusal(not_allowed, message)));
        }
        let role = roster.policy.role_of(self.my_name());
        let below = role.is_none_or(|role| role < Role::Admin);
        Ok(below.then(|| refusal(not_allowed, &format!("only an admin can {what}"))))
    }

    fn turn_down(&mut self, id: CommandId, failure: Failure) {
        self.emit(Event::Failed {
            command: Some(id),
            failure,
        });
    }

    pub(in crate::engine) fn link_request(&self, ask: &LinkAsk) -> Ask {
        match ask {
            LinkAsk::Make { group, link, uses } => Ask::CreateJoinLink(wire::CreateJoinLink {
                conversation_id: group.to_vec(),
                link_id: link.link_id.to_vec(),
                expires_at_ms: link.expires_at_ms,
                uses: *uses,
            }),
            LinkAsk::End { group, link } => Ask::RevokeJoinLink(wire::RevokeJoinLink {
                conversation_id: group.to_vec(),
                link_id: link.to_vec(),
            }),
            LinkAsk::List(group) => Ask::ListJoinLinks(wire::ListJoinLinks {
                conversation_id: group.to_vec(),
            }),
            LinkAsk::Join { link, client_id } => {
                let claim = JoinClaim {
                    deployment: self.profile.deployment(),
                    conversation: &link.conversation,
                    link_id: &link.id,
                    username: self.my_name(),
                    identity_key: self.profile.identity(),
                };
                Ask::RequestJoin(wire::RequestJoin {
                    conversation_id: link.conversation.to_vec(),
                    link_id: link.id.to_vec(),
                    client_id: client_id.to_vec(),
                    proof: claim.prove(&link.secret),
                })
            }
        }
    }

    pub(super) fn link_answered(
        &mut self,
        id: CommandId,
        ask: LinkAsk,
        answer: Answer,
    ) -> Result<(), EngineError> {
        match (ask, answer) {
            (LinkAsk::Make { group, link, uses }, Answer::Done(_)) => {
                self.store().put_link(&group, &link)?;
                let change = Change::Link { link, uses };
                self.push_job(Talk::Group(group), Job::new(Some(id), change));
            }
            (LinkAsk::End { group, link }, answer) => {
                self.link_ended(id, group, &link, &answer)?;
            }
            (LinkAsk::List(group), Answer::JoinLinks(found)) => {
                let links = self.views_of(group, &found)?;
                self.emit(Event::InviteLinks { command: id, links });
            }
            (LinkAsk::Join { link, .. }, answer) => self.join_asked(id, &link, &answer)?,
            (LinkAsk::Make { .. } | LinkAsk::List(_), Answer::Error(error)) => {
                self.command_refused(id, &error);
            }
            (LinkAsk::Make { .. } | LinkAsk::List(_), _) => self.failed(
                id,
                ErrorCode::Malformed.name(),
                "the server gave an answer that makes no sense",
            ),
        }
        Ok(())
    }

    /// A link is over: the other admins hear of it where this device knows its secret.
    fn link_ended(
        &mut self,
        id: CommandId,
        group: ConversationId,
        link: &[u8; 16],
        answer: &Answer,
    ) -> Result<(), EngineError> {
        let known = self.store().link(&group, link)?;
        match (answer, known) {
            (Answer::Error(error), known) => {
                let unknown = ErrorCode::from_number(error.code) == ErrorCode::UnknownInvite;
                let failure = match (unknown, known) {
                    (true, Some(known)) => {
                        let revoked = true;
                        self.store()
                            .put_link(&group, &JoinLink { revoked, ..known })?;
                        refusal(
                            ErrorCode::UnknownInvite.name(),
                            "this link was over already: it has expired, was used up or was ended",
                        )
                    }
                    (true, None) => refusal(
                        ErrorCode::UnknownInvite.name(),
                        "the group has no such link; `group links` lists those that count",
                    ),
                    (false, _) => failure(error),
                };
                self.turn_down(id, failure);
            }
            (_, Some(known)) => {
                let link = JoinLink {
                    revoked: true,
                    ..known
                };
                self.store().put_link(&group, &link)?;
                let change = Change::Link { link, uses: 0 };
                self.push_job(Talk::Group(group), Job::new(Some(id), change));
            }
            (_, None) => self.done(id),
        }
        Ok(())
    }

    fn views_of(
        &self,
        group: ConversationId,
        found: &wire::JoinLinks,
    ) -> Result<Vec<LinkView>, EngineError> {
        let mut views = Vec::new();
        for link in found.links.iter().take(JOIN_LINKS_MAX) {
            let Ok(id) = <[u8; 16]>::try_from(link.link_id.as_slice()) else {
                continue;
            };
            let known = self.store().link(&group, &id)?;
            views.push(LinkView {
                conversation: group,
                id,
                admission: known.as_ref().map(admission),
                link: known.map(|known| text_of(group, &known)),
                expires_at_ms: link.expires_at_ms,
                uses_left: link.uses_left,
            });
        }
        Ok(views)
    }

    /// The group was asked to let this account in, or cannot be.
    fn join_asked(
        &mut self,
        id: CommandId,
        link: &InviteLink,
        answer: &Answer,
    ) -> Result<(), EngineError> {
        let group = &link.conversation;
        let Answer::Error(error) = answer else {
            self.store().put_joining(group, self.now.unix_ms)?;
            self.done(id);
            return Ok(());
        };
        let failure = match ErrorCode::from_number(error.code) {
            ErrorCode::UnknownInvite | ErrorCode::UnknownConversation => refusal(
                ErrorCode::UnknownInvite.name(),
                "this link leads nowhere: it has expired, was used up or was ended; ask for a new one",
            ),
            ErrorCode::Banned => refusal(
                ErrorCode::Banned.name(),
                "you are banned from this group; only its admins can lift that",
            ),
            // Let in already, and the welcome is on its way.
            ErrorCode::ConversationExists if self.store().is_joining(group)? => {
                self.done(id);
                return Ok(());
            }
            ErrorCode::ConversationExists => inside_already(),
            _ => failure(error),
        };
        self.turn_down(id, failure);
        Ok(())
    }

    /// An admin made a link known, or says that it is over.
    pub(in crate::engine) fn link_heard(
        &mut self,
        row: &ConversationRow,
        sender: &DeviceCertificate,
        link: &JoinLink,
    ) -> Result<(), EngineError> {
        if row.talk.group().is_some() && self.is_admin(row, sender.username())? {
            self.store().put_link(&row.id, link)?;
        }
        Ok(())
    }

    /// Somebody asks to be let in, as the server says. Only who proves to hold
    /// a link's secret is heard, and only where this account may add people.
    pub(in crate::engine) fn join_heard(
        &mut self,
        row: &ConversationRow,
        entry: &Entry,
    ) -> Result<(), EngineError> {
        let (Some(roster), Some(asked)) = (self.roster_of(row)?, Asked::read(&entry.payload))
        else {
            return Ok(());
        };
        let name = &asked.name;
        let role = roster.policy.role_of(self.my_name());
        let of_no_use = role.is_none_or(|role| role < Role::Admin)
            || roster.identity_of(name).is_some()
            || roster
                .policy
                .group_rules()
                .is_none_or(|rules| rules.access != Access::Closed || rules.banned.contains(name))
            || self.person(name)?.relation == Relation::Blocked;
        if of_no_use {
            return Ok(());
        }
        let link = self.store().link(&row.id, &asked.link_id)?;
        let link = link.filter(|link| !link.revoked && link.expires_at_ms > entry.stored_at_ms);
        let Some(link) = link else {
            return Ok(());
        };
        let claim = JoinClaim {
            deployment: self.profile.deployment(),
            conversation: &row.id,
            link_id: &asked.link_id,
            username: name,
            identity_key: &asked.identity,
        };
        if !claim.is_proven_by(&link.secret, &asked.proof) {
            self.security(
                SecurityKind::PolicyRejected,
                Some(row.id),
                None,
                "somebody asked to be let in without holding the link's secret, or the server says so; nobody was let in",
            );
            return Ok(());
        }
        // Nobody comes in under an identity that a person here did not agree to.
        let changed = self.identity_shown(name, &asked.identity)? == Trust::Changed;
        let past = past_of(roster.policy.group_rules(), name);
        let wish = JoinRequestRow {
            name: name.clone(),
            identity: asked.identity,
            waits: link.approval || changed || past == Past::PutOut,
            received_at_ms: entry.stored_at_ms,
        };
        self.store().put_join_request(&row.id, &wish)?;
        if wish.waits {
            let request = join_request(row, wish, past);
            self.emit(Event::JoinRequested(request));
        } else {
            self.plan_admission(&row.talk, &roster)?;
        }
        Ok(())
    }

    /// Who waits to be let into a group, oldest first.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn join_requests(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<JoinRequest>, EngineError> {
        let Some(row) = self.store().conversation(conversation)? else {
            return Ok(Vec::new());
        };
        let policy = self.store().policy(conversation)?;
        let policy = policy.and_then(|bytes| Policy::decode(&bytes).ok());
        let rules = policy.as_ref().and_then(Policy::group_rules);
        let waiting = self.store().join_requests(conversation)?.into_iter();
        let all = waiting.map(|wish| (past_of(rules, &wish.name), wish));
        Ok(all
            .filter(|(past, wish)| wish.waits || *past == Past::PutOut)
            .map(|(past, wish)| join_request(&row, wish, past))
            .collect())
    }
}

/// A `JoinRequest` with its fields checked for size.
struct Asked {
    name: Username,
    identity: [u8; 32],
    link_id: [u8; 16],
    proof: Vec<u8>,
}

impl Asked {
    fn read(payload: &[u8]) -> Option<Self> {
        let asked = wire::JoinRequest::decode(payload).ok()?;
        Some(Self {
            name: Username::parse(&asked.username).ok()?,
            identity: asked.identity_key.as_slice().try_into().ok()?,
            link_id: asked.link_id.as_slice().try_into().ok()?,
            proof: asked.proof,
        })
    }
}

/// Whether an admin put somebody out who asks to be let in.
fn past_of(rules: Option<&GroupRules>, name: &Username) -> Past {
    match rules.is_some_and(|rules| rules.put_out.contains(name)) {
        true => Past::PutOut,
        false => Past::None,
    }
}

fn join_request(row: &ConversationRow, wish: JoinRequestRow, past: Past) -> JoinRequest {
    JoinRequest {
        conversation: row.id,
        talk: row.talk.clone(),
        title: row.title.clone(),
        name: wish.name,
        received_at_ms: wish.received_at_ms,
        past,
    }
}

fn inside_already() -> Failure {
    refusal("already_member", "your account is in this group already")
}

/// A link that was just made, as its maker sees it.
pub(super) fn made_view(group: ConversationId, link: &JoinLink, uses: u32) -> LinkView {
    LinkView {
        conversation: group,
        id: link.link_id,
        link: Some(text_of(group, link)),
        expires_at_ms: link.expires_at_ms,
        uses_left: uses,
        admission: Some(admission(link)),
    }
}

fn text_of(conversation: ConversationId, link: &JoinLink) -> InviteLink {
    InviteLink {
        conversation,
        id: link.link_id,
        secret: link.secret.clone(),
    }
}

fn admission(link: &JoinLink) -> Admission {
    match link.approval {
        true => Admission::ByAdmin,
        false => Admission::ByLink,
    }
}
