//! Conversations: messages, commits, creation, and where a device stands.
//!
//! Commits are judged here (by `sotto_roster`, which verifies and authorizes)
//! and ordered by the store (compare and swap), in this order: what was judged
//! against a state that is no longer the present one is refused by the swap.

mod commit;
mod leave;
pub(super) mod policy;

use std::time::Duration;

use sotto_protocol::limits::{PAYLOAD_BYTES_MAX, SYNC_PAGE_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, Append, FindPair, GetGroupInfo, GetSync, GetTree, Resume};
use sotto_protocol::{ClientMessageId, ConversationId, ErrorCode, Username};
use sotto_roster::{PublicConversation, holds_tree};

use super::{Answer, Effect, directory};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::{AppendMessage, GroupState, MemberState};

pub(super) use commit::{append_commit, create};
pub(super) use leave::leave;

/// Logs of one device.
const LOGS_MAX: usize = 10_000;
const HOUR: Duration = Duration::from_secs(3600);
/// Public groups that a stranger may look into in an hour.
const LOOKS_PER_HOUR: u32 = 200;

/// Reads an Append; the session hands it to the store itself, many at a time.
pub(crate) fn append_message(me: &Identity, request: Append) -> Result<AppendMessage, Refusal> {
    if request.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Refusal::new(ErrorCode::TooLarge));
    }
    if request.payload.is_empty() {
        return Err(Refusal::malformed("A payload cannot be empty."));
    }
    Ok(AppendMessage {
        conversation: conversation_id(&request.conversation_id)?,
        generation: request.generation,
        epoch: request.epoch,
        sender_device: me.device,
        client_id: client_id(&request.client_id)?,
        payload: request.payload,
    })
}

pub(super) fn conversation_id(bytes: &[u8]) -> Result<ConversationId, Refusal> {
    ConversationId::from_slice(bytes)
        .map_err(|_| Refusal::malformed("A conversation id has 16 bytes."))
}

pub(super) fn client_id(bytes: &[u8]) -> Result<ClientMessageId, Refusal> {
    ClientMessageId::from_slice(bytes).map_err(|_| Refusal::malformed("A client id has 16 bytes."))
}

/// GetSync: one page of the device's logs.
pub(super) async fn get_sync(
    server: &Server,
    me: &Identity,
    request: GetSync,
) -> Result<Answer, Refusal> {
    let after = match request.after.as_slice() {
        [] => None,
        bytes => Some(conversation_id(bytes)?),
    };
    let page = page(server, me, after).await?;
    let more = page.len() == SYNC_PAGE_MAX;
    Ok(Answer::plain(Response::Sync(wire::Sync {
        conversations: page.iter().map(state_to_wire).collect(),
        more,
    })))
}

async fn page(
    server: &Server,
    me: &Identity,
    after: Option<ConversationId>,
) -> Result<Vec<MemberState>, Refusal> {
    let limit = u32::try_from(SYNC_PAGE_MAX).unwrap_or(u32::MAX);
    Ok(server.store.member_states(me.device, after, limit).await?)
}

fn state_to_wire(state: &MemberState) -> wire::ConversationState {
    wire::ConversationState {
        conversation_id: state.conversation.to_vec(),
        generation: state.generation,
        epoch: state.epoch,
        cursor: state.cursor,
        head: state.head,
    }
}

/// Resume: all of the device's logs, and where it says that it stands.
pub(super) async fn resume(
    server: &Server,
    me: &Identity,
    request: Resume,
) -> Result<Answer, Refusal> {
    if request.cursors.len() > LOGS_MAX || request.held.len() > LOGS_MAX {
        return Err(Refusal::new(ErrorCode::TooLarge));
    }
    let own = request
        .cursors
        .iter()
        .map(|cursor| Ok((conversation_id(&cursor.conversation_id)?, cursor.seq)))
        .collect::<Result<_, Refusal>>()?;
    let held = request.held.iter().map(|id| conversation_id(id));
    let held = held.collect::<Result<_, Refusal>>()?;
    let mut states = Vec::new();
    while states.len() < LOGS_MAX {
        let after = states.last().map(|last: &MemberState| last.conversation);
        let page = page(server, me, after).await?;
        let is_last = page.len() < SYNC_PAGE_MAX;
        states.extend(page);
        if is_last {
            break;
        }
    }
    Ok(Answer {
        effect: Effect::Resumed { states, own, held },
        ..Answer::done()
    })
}

/// GetGroupInfo: for accounts in the conversation, and for those that may come in alone.
pub(super) async fn get_group_info(
    server: &Server,
    me: &Identity,
    request: GetGroupInfo,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let unknown = Refusal::new(ErrorCode::UnknownConversation);
    if !server.store.is_account_in(conversation, me.account).await? {
        let key: [&[u8]; 2] = [b"room-info", &me.account.to_key()];
        server.take(&key, HOUR, LOOKS_PER_HOUR).await?;
        policy::may_enter(server, me, conversation).await?;
    }
    let state = server
        .store
        .group_state(conversation)
        .await?
        .ok_or(unknown)?;
    let ratchet_tree = if holds_tree(&state.group_info) {
        Vec::new()
    } else {
        tree_of(server, conversation, &state).await?
    };
    Ok(Answer::plain(Response::GroupInfo(wire::GroupInfo {
        generation: state.generation,
        epoch: state.epoch,
        group_info: state.group_info.to_vec(),
        seq: state.seq,
        ratchet_tree,
    })))
}

/// The ratchet tree of the present epoch, out of the public state.
async fn tree_of(
    server: &Server,
    conversation: ConversationId,
    state: &GroupState,
) -> Result<Vec<u8>, Refusal> {
    let (deployment, bytes) = (server.deployment, state.group_state.clone());
    let generation = state.generation;
    server
        .judge(move || {
            PublicConversation::from_bytes(&bytes, &deployment, &conversation, generation)
                .and_then(|group| group.export_tree())
                .map_err(|_| Refusal::new(ErrorCode::Internal))
        })
        .await
}

/// GetTree: what a welcome of the asking device leads to.
pub(super) async fn get_tree(
    server: &Server,
    me: &Identity,
    request: GetTree,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let place = (request.generation, request.epoch);
    let tree = server.store.tree(conversation, place, me.device).await?;
    let tree = tree.ok_or(Refusal::new(ErrorCode::UnknownConversation))?;
    Ok(Answer::plain(Response::Tree(wire::Tree {
        ratchet_tree: tree.to_vec(),
    })))
}

/// FindPair: which conversation two accounts have.
pub(super) async fn find_pair(
    server: &Server,
    me: &Identity,
    request: FindPair,
) -> Result<Answer, Refusal> {
    let username =
        Username::parse(&request.username).map_err(|_| Refusal::new(ErrorCode::NameInvalid))?;
    // Whether an account that hides exists is not told: there is no conversation with it either way.
    let other = server.store.account(&username, me.account).await?;
    let found = match &other {
        Some(other) => server.store.find_pair(me.account, other.account).await?,
        None => None,
    };
    if found.is_none() && !directory::is_seen(server, other.as_ref()) {
        directory::take_lookup(server, me).await?;
    }
    Ok(Answer::plain(Response::PairFound(wire::PairFound {
        conversation_id: found.map(ConversationId::to_vec).unwrap_or_default(),
    })))
}
