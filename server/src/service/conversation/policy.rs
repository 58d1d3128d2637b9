//! What a conversation's stored policy says of an account: for requests that
//! are no commits. Commits are judged against the whole state instead.

use sotto_protocol::{ConversationId, ErrorCode};
use sotto_roster::{Access, GroupRules, Policy, PublicConversation, Role};

use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;

/// The policy of a conversation; `None` when there is no such conversation.
pub(in crate::service) async fn policy_of(
    server: &Server,
    conversation: ConversationId,
) -> Result<Option<Policy>, Refusal> {
    let internal = Refusal::new(ErrorCode::Internal);
    match server.store.policy(conversation).await? {
        None => Ok(None),
        Some((_, bytes)) if !bytes.is_empty() => match Policy::decode(&bytes) {
            Ok(policy) => Ok(Some(policy)),
            Err(_) => Err(internal),
        },
        // Stored by an earlier version of the schema: the state itself has it.
        Some(_) => {
            let Some(state) = server.store.group_state(conversation).await? else {
                return Ok(None);
            };
            let deployment = server.deployment;
            server
                .judge(move || {
                    PublicConversation::from_bytes(
                        &state.group_state,
                        &deployment,
                        &conversation,
                        state.generation,
                    )
                    .map(|group| Some(group.roster().policy.clone()))
                    .map_err(|_| internal)
                })
                .await
        }
    }
}

/// The rules of a group that the asking device is in, with at least this role.
///
/// # Errors
/// `unknown_conversation` when it is not in, `not_allowed` when the role is lower or the
/// conversation is no group.
pub(in crate::service) async fn rules_for(
    server: &Server,
    me: &Identity,
    conversation: ConversationId,
    needed: Role,
) -> Result<GroupRules, Refusal> {
    let unknown = Refusal::new(ErrorCode::UnknownConversation);
    if !server.store.is_device_in(conversation, me.device).await? {
        return Err(unknown);
    }
    let policy = policy_of(server, conversation).await?.ok_or(unknown)?;
    match policy.group_rules() {
        Some(rules) if rules.role_of(&me.username) >= Some(needed) => Ok(rules.clone()),
        _ => Err(Refusal::with(
            ErrorCode::NotAllowed,
            "Only an admin of the group can do this; ask one.",
        )),
    }
}

/// Whether an account that is not in may come in by itself.
///
/// # Errors
/// `unknown_conversation` unless the group is public, `banned` when the account is.
pub(in crate::service) async fn may_enter(
    server: &Server,
    me: &Identity,
    conversation: ConversationId,
) -> Result<(), Refusal> {
    let policy = policy_of(server, conversation).await?;
    match policy.as_ref().and_then(Policy::group_rules) {
        Some(rules) if rules.access == Access::Public => {
            if rules.banned.contains(&me.username) {
                Err(Refusal::new(ErrorCode::Banned))
            } else {
                Ok(())
            }
        }
        _ => Err(Refusal::new(ErrorCode::UnknownConversation)),
    }
}
