//! Invite links of closed groups. The server counts uses and expiry; whether a
//! proof is right only the members can tell, who have the link's secret.

use std::time::Duration;

use prost::Message as _;
use sotto_protocol::limits::JOIN_LINK_USES_MAX;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, CreateJoinLink, ListJoinLinks, RequestJoin, RevokeJoinLink};
use sotto_protocol::{ConversationId, ErrorCode};
use sotto_roster::{Access, Policy, Role};

use super::Answer;
use super::conversation::{client_id, conversation_id, policy};
use crate::clock;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::{JoinError, NewJoinLink};

const HOUR: Duration = Duration::from_secs(3600);
/// The longest life of a link, in milliseconds: a year and a day, as clocks differ.
const LIFE_MS_MAX: u64 = 366 * 24 * 3600 * 1000;
/// Requests to join that one account may make in an hour: guessing ids leads nowhere.
const REQUESTS_PER_HOUR: u32 = 30;
/// Requests to join that one group takes in an hour.
const REQUESTS_PER_GROUP: u32 = 500;
/// Links that one account may make or end in an hour.
const CHANGES_PER_HOUR: u32 = 120;

/// CreateJoinLink.
pub(super) async fn create(
    server: &Server,
    me: &Identity,
    request: CreateJoinLink,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let link = link_id(&request.link_id)?;
    if !(1..=JOIN_LINK_USES_MAX).contains(&request.uses) {
        return Err(Refusal::malformed("A link has 1 to 10,000 uses."));
    }
    let now_ms = clock::unix_ms();
    if request.expires_at_ms <= now_ms || request.expires_at_ms > now_ms + LIFE_MS_MAX {
        return Err(Refusal::malformed("A link ends within a year from now."));
    }
    change(server, me, conversation).await?;
    let new = NewJoinLink {
        conversation,
        link,
        expires_at_ms: request.expires_at_ms,
        uses: request.uses,
    };
    server.store.put_join_link(new).await?;
    Ok(Answer::done())
}

/// RevokeJoinLink.
pub(super) async fn revoke(
    server: &Server,
    me: &Identity,
    request: RevokeJoinLink,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let link = link_id(&request.link_id)?;
    change(server, me, conversation).await?;
    server.store.revoke_join_link(conversation, link).await?;
    Ok(Answer::done())
}

/// ListJoinLinks.
pub(super) async fn list(
    server: &Server,
    me: &Identity,
    request: ListJoinLinks,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    policy::rules_for(server, me, conversation, Role::Admin).await?;
    let links = server.store.join_links(conversation).await?;
    Ok(Answer::plain(Response::JoinLinks(wire::JoinLinks {
        links: links
            .into_iter()
            .map(|link| wire::JoinLink {
                link_id: link.link.to_vec(),
                expires_at_ms: link.expires_at_ms,
                uses_left: link.uses_left,
            })
            .collect(),
    })))
}

/// RequestJoin: whatever is wrong with a link, the answer is one.
pub(super) async fn request(
    server: &Server,
    me: &Identity,
    request: RequestJoin,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let link = link_id(&request.link_id)?;
    let client_id = client_id(&request.client_id)?;
    if request.proof.len() != 32 {
        return Err(Refusal::malformed("A proof has 32 bytes."));
    }
    let key: [&[u8]; 2] = [b"request-join", &me.account.to_key()];
    server.take(&key, HOUR, REQUESTS_PER_HOUR).await?;
    let unknown = Refusal::new(ErrorCode::UnknownInvite);
    let links = server.store.join_links(conversation).await?;
    let used = server
        .store
        .has_used(conversation, link, me.account)
        .await?;
    if !used && !links.iter().any(|known| known.link == link) {
        return Err(unknown);
    }
    let rules = policy::policy_of(server, conversation).await?;
    let rules = rules.as_ref().and_then(Policy::group_rules);
    let rules = rules.ok_or(unknown)?;
    if rules.banned.contains(&me.username) {
        return Err(Refusal::new(ErrorCode::Banned));
    }
    if server.store.is_account_in(conversation, me.account).await? {
        return Err(Refusal::conversation_exists(Some(conversation)));
    }
    let key: [&[u8]; 2] = [b"join-requests", conversation.as_bytes()];
    server.take(&key, HOUR, REQUESTS_PER_GROUP).await?;
    let account = server.store.device(me.device).await?;
    let account = account.ok_or(Refusal::new(ErrorCode::NotLoggedIn))?;
    let payload = wire::JoinRequest {
        username: me.username.to_string(),
        identity_key: account.identity_key.to_vec(),
        link_id: link.to_vec(),
        proof: request.proof,
    };
    let who = (me.account, me.device);
    let payload = payload.encode_to_vec();
    let place = (conversation, link);
    server
        .store
        .request_join(place, who, client_id, &payload)
        .await?;
    Ok(Answer::done())
}

/// What making and ending links have in common.
async fn change(
    server: &Server,
    me: &Identity,
    conversation: ConversationId,
) -> Result<(), Refusal> {
    let key: [&[u8]; 2] = [b"join-links", &me.account.to_key()];
    server.take(&key, HOUR, CHANGES_PER_HOUR).await?;
    let rules = policy::rules_for(server, me, conversation, Role::Admin).await?;
    if rules.access == Access::Closed {
        Ok(())
    } else {
        Err(Refusal::with(
            ErrorCode::NotAllowed,
            "A public group needs no invite link: anybody may join it.",
        ))
    }
}

fn link_id(bytes: &[u8]) -> Result<[u8; 16], Refusal> {
    bytes
        .try_into()
        .map_err(|_| Refusal::malformed("A link id has 16 bytes."))
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::UnknownLink => Self::new(ErrorCode::UnknownInvite),
            JoinError::TooManyLinks => Self::with(
                ErrorCode::TooLarge,
                "The group has 100 invite links; end one first.",
            ),
            JoinError::Store(error) => error.into(),
        }
    }
}
