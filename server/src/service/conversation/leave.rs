//! Leaving a group, or declining to enter it.

use sotto_protocol::limits::LEAVE_STATEMENT_BYTES_MAX;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, Leave};
use sotto_protocol::{ConversationId, ErrorCode, Username};
use sotto_roster::{DeviceCertificate, LeaveStatement, Policy, Role, Rules};

use super::super::Answer;
use super::{client_id, conversation_id, policy};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::LeaveError;

/// Leave: the statement is verified as every member will, then it enters the log.
pub(in crate::service) async fn leave(
    server: &Server,
    me: &Identity,
    request: Leave,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let client_id = client_id(&request.client_id)?;
    if request.statement.len() > LEAVE_STATEMENT_BYTES_MAX {
        return Err(Refusal::new(ErrorCode::TooLarge));
    }
    let wrong = Refusal::malformed("The leave statement does not verify; make it again.");
    let statement = LeaveStatement::decode(&request.statement).map_err(|_| wrong.clone())?;
    let device = server.store.device(me.device).await?;
    let device = device.ok_or(Refusal::new(ErrorCode::NotLoggedIn))?;
    let certificate = DeviceCertificate::from_own_store(&device.certificate)
        .map_err(|_| Refusal::new(ErrorCode::Internal))?;
    statement
        .verify(&certificate, &conversation, &client_id)
        .map_err(|_| wrong)?;
    let owners = owners_before(server, me, conversation).await?;
    let who = (me.account, me.device);
    let left = server
        .store
        .leave(
            conversation,
            who,
            client_id,
            request.statement.into(),
            owners,
        )
        .await?;
    server.metrics.appends.inc();
    // Not an own append: the log does not begin for a device that declines it.
    Ok(Answer::plain(Response::Appended(wire::Appended {
        seq: left.seq,
        epoch: left.epoch,
        stored_at_ms: left.stored_at_ms,
    })))
}

/// The owners, if the leaving account is one of them: then another must stay.
async fn owners_before(
    server: &Server,
    me: &Identity,
    conversation: ConversationId,
) -> Result<Vec<Username>, Refusal> {
    let policy: Option<Policy> = policy::policy_of(server, conversation).await?;
    match policy.as_ref().map(Policy::rules) {
        None => Err(Refusal::new(ErrorCode::UnknownConversation)),
        Some(Rules::Pair { .. }) => Err(Refusal::with(
            ErrorCode::NotAllowed,
            "A conversation of two people is not left; block the other person instead.",
        )),
        Some(Rules::Group(rules)) => {
            let owners = || rules.roles.iter().filter(|(_, role)| **role == Role::Owner);
            let mine = owners().any(|(name, _)| *name == me.username);
            let all = owners().map(|(name, _)| name.clone());
            Ok(if mine { all.collect() } else { Vec::new() })
        }
    }
}

impl From<LeaveError> for Refusal {
    fn from(error: LeaveError) -> Self {
        match error {
            LeaveError::LastOwner => Self::with(
                ErrorCode::NotAllowed,
                "The group would have no owner; hand it over first.",
            ),
            LeaveError::Append(error) => error.into(),
        }
    }
}
