//! Commits: read, judged, and only then ordered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use sotto_protocol::limits::{HANDSHAKE_BYTES_MAX, INVITATION_NOTE_BYTES_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, AppendCommit, CreateConversation, Welcome};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, ErrorCode, Username};
use sotto_roster::{
    Access, Applied, CommitError, Denied, DeviceCertificate, PublicConversation, Roster, Rules,
    authorize_rebuild, holds_tree,
};

use super::super::{Answer, Effect};
use super::{client_id, conversation_id, policy};
use crate::clock;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::{
    AccountId, AppendError, AppendMessage, Appended, Before, CommitAppend, CommitPayload,
    DeviceWelcome, GroupState, NewConversation,
};

const HOUR: Duration = Duration::from_secs(3600);
/// Public groups that one account may enter in an hour: each coming in is a commit for everybody.
const JOINS_PER_HOUR: u32 = 60;
/// The highest generation at which a conversation is made that this database does not know, because
/// an older one was restored. What a log's numbers can hold is far above.
const GENERATION_UNKNOWN_MAX: u32 = 1 << 16;

/// A judged commit and the state that it leads to.
struct Judged {
    applied: Applied,
    group_state: Bytes,
    policy: Bytes,
    /// The ratchet tree, where the group info and so the welcomes do not hold it.
    tree: Option<Bytes>,
}

impl Judged {
    fn new(group: &PublicConversation, applied: Applied, info: &[u8]) -> Result<Self, Refusal> {
        let invited = applied.added.len() > usize::from(applied.external);
        let tree = (invited && !holds_tree(info)).then(|| group.export_tree());
        let tree = tree.transpose().map_err(refused)?;
        Ok(Self {
            group_state: group.to_bytes().into(),
            policy: applied.after.policy.encode().into(),
            tree: tree.map(Bytes::from),
            applied,
        })
    }
}

/// AppendCommit.
pub(in crate::service) async fn append_commit(
    server: &Server,
    me: &Identity,
    request: AppendCommit,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let client_id = client_id(&request.client_id)?;
    check_sizes(&[&request.commit, &request.group_info], &request.welcomes)?;
    let unknown = Refusal::new(ErrorCode::UnknownConversation);
    if !server.store.is_account_in(conversation, me.account).await? {
        // An external commit, or nothing that could be allowed.
        policy::may_enter(server, me, conversation).await?;
        let key: [&[u8]; 2] = [b"room-join", &me.account.to_key()];
        server.take(&key, HOUR, JOINS_PER_HOUR).await?;
    }
    let state = server
        .store
        .group_state(conversation)
        .await?
        .ok_or(unknown)?;
    if (request.generation, request.epoch) != (state.generation, state.epoch) {
        let appended = stored_before(server, me, conversation, client_id, &state).await?;
        let refusal = if request.generation == state.generation {
            Refusal::stale_epoch(state.epoch)
        } else {
            Refusal::stale_generation(state.generation, state.epoch)
        };
        return Ok(answer(server, conversation, appended.ok_or(refusal)?));
    }
    let (generation, epoch) = (state.generation, state.epoch);
    let (commit, group_info) = (Bytes::from(request.commit), Bytes::from(request.group_info));
    let sent = (commit.clone(), group_info.clone());
    let judged = judge_next(server, conversation, client_id, state, sent).await?;
    check_committer(me, &judged.applied)?;
    check_registered(server, &judged.applied.added).await?;
    let welcomes = welcomes_for(&judged.applied, me.device, request.welcomes)?;
    let mut added = device_ids(&judged.applied.added);
    if judged.applied.external && !added.contains(&me.device) {
        added.push(me.device);
    }
    let payload = CommitPayload {
        sender_device: me.device,
        inviter: me.username.clone(),
        client_id,
        commit,
        group_state: judged.group_state,
        group_info,
        policy: judged.policy,
        tree: judged.tree,
        welcomes,
    };
    let removed = device_ids(&judged.applied.removed);
    let commit = CommitAppend {
        conversation,
        generation,
        epoch,
        added,
        removed,
        payload,
    };
    let appended = server.store.append_commit(commit).await?;
    Ok(answer(server, conversation, appended))
}

/// CreateConversation: the first commit of a conversation, or of a new generation of it.
pub(in crate::service) async fn create(
    server: &Server,
    me: &Identity,
    request: CreateConversation,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let client_id = client_id(&request.client_id)?;
    check_sizes(
        &[
            &request.group_info,
            &request.commit,
            &request.next_group_info,
        ],
        &request.welcomes,
    )?;
    let generation = request.generation;
    let present = server.store.group_state(conversation).await?;
    match &present {
        Some(present) if generation <= present.generation => {
            return repeated(server, me, conversation, client_id, generation, present).await;
        }
        Some(present) if present.generation.checked_add(1) != Some(generation) => {
            return Err(Refusal::stale_generation(present.generation, present.epoch));
        }
        None if generation > GENERATION_UNKNOWN_MAX => {
            return Err(Refusal::new(ErrorCode::UnknownConversation));
        }
        _ => {}
    }
    let judged = judge_new(server, conversation, client_id, &request).await?;
    check_committer(me, &judged.applied)?;
    let after = &judged.applied.after;
    let members: Vec<_> = after.leaves.values().cloned().collect();
    let identities = check_registered(server, &members).await?;
    if let Some(present) = &present {
        // Whoever left by a statement stays out, although a leaf may still be in the old group.
        let devices = device_ids(&members);
        if !server.store.are_accounts_in(conversation, &devices).await? {
            return Err(Refusal::new(ErrorCode::NotAllowed));
        }
        judge_rebuild(
            server,
            present,
            after.clone(),
            &judged.applied.committer,
            identities,
        )
        .await?;
    }
    let new = NewConversation {
        conversation,
        generation,
        before: present.map_or(Before::Nothing, |_| Before::Generation),
        members: device_ids(&members),
        pair: pair_of(server, me, after).await?,
        access: match after.policy.group_rules() {
            Some(rules) => rules.access,
            None => Access::Closed,
        },
        payload: CommitPayload {
            sender_device: me.device,
            inviter: me.username.clone(),
            client_id,
            commit: request.commit.into(),
            group_state: judged.group_state,
            group_info: request.next_group_info.into(),
            policy: judged.policy,
            tree: judged.tree,
            welcomes: welcomes_for(&judged.applied, me.device, request.welcomes)?,
        },
    };
    let appended = server.store.create_conversation(new).await?;
    Ok(answer(server, conversation, appended))
}

/// Judges a commit, with its group info, against the present state.
async fn judge_next(
    server: &Server,
    conversation: ConversationId,
    client_id: ClientMessageId,
    state: GroupState,
    (commit, group_info): (Bytes, Bytes),
) -> Result<Judged, Refusal> {
    let (deployment, now_ms) = (server.deployment, clock::unix_ms());
    server
        .judge(move || {
            let mut group = PublicConversation::from_bytes(
                &state.group_state,
                &deployment,
                &conversation,
                state.generation,
            )
            .map_err(|_| Refusal::new(ErrorCode::Internal))?;
            let applied = group
                .apply_commit(&commit, &group_info, &client_id, now_ms)
                .map_err(refused)?;
            Judged::new(&group, applied, &group_info)
        })
        .await
}

/// Judges the first state of a group and the commit that fills it.
async fn judge_new(
    server: &Server,
    conversation: ConversationId,
    client_id: ClientMessageId,
    request: &CreateConversation,
) -> Result<Judged, Refusal> {
    let (deployment, now_ms) = (server.deployment, clock::unix_ms());
    let generation = request.generation;
    let first = request.group_info.clone();
    let commit = request.commit.clone();
    let next = request.next_group_info.clone();
    server
        .judge(move || {
            let mut group =
                PublicConversation::create(&first, &deployment, &conversation, generation)
                    .map_err(refused)?;
            let applied = group
                .apply_commit(&commit, &next, &client_id, now_ms)
                .map_err(refused)?;
            Judged::new(&group, applied, &next)
        })
        .await
}

/// A rebuilt conversation may hold nobody and give nobody a role that the old one did not.
async fn judge_rebuild(
    server: &Server,
    present: &GroupState,
    after: Roster,
    by: &DeviceCertificate,
    identities: BTreeMap<Username, [u8; 32]>,
) -> Result<(), Refusal> {
    let (deployment, by, state) = (server.deployment, by.clone(), present.group_state.clone());
    let generation = present.generation;
    server
        .judge(move || {
            let old = PublicConversation::from_bytes(
                &state,
                &deployment,
                &after.conversation,
                generation,
            )
            .map_err(|_| Refusal::new(ErrorCode::Internal))?;
            authorize_rebuild(old.roster(), &after, &by, &identities)
                .map_err(|_| Refusal::new(ErrorCode::NotAllowed))
        })
        .await
}

/// A creation of what exists: the same one again, or somebody else's id.
async fn repeated(
    server: &Server,
    me: &Identity,
    conversation: ConversationId,
    client_id: ClientMessageId,
    generation: u32,
    present: &GroupState,
) -> Result<Answer, Refusal> {
    match stored_before(server, me, conversation, client_id, present).await? {
        Some(appended) => Ok(answer(server, conversation, appended)),
        None if generation == 0 => Err(Refusal::conversation_exists(None)),
        None => Err(Refusal::stale_generation(present.generation, present.epoch)),
    }
}

/// Looks for an entry of this device by its client id: its answer may have
/// been lost. An append for epoch 0, which no conversation is in once it
/// exists, is found or refused, and never stored.
async fn stored_before(
    server: &Server,
    me: &Identity,
    conversation: ConversationId,
    client_id: ClientMessageId,
    state: &GroupState,
) -> Result<Option<Appended>, Refusal> {
    let message = AppendMessage {
        conversation,
        generation: state.generation,
        epoch: 0,
        sender_device: me.device,
        client_id,
        payload: Bytes::new(),
    };
    match server.store.append(message).await {
        Ok(appended) => Ok(Some(appended)),
        // A device that is not in yet may have lost a race for an external commit.
        Err(
            AppendError::NotMember
            | AppendError::StaleEpoch { .. }
            | AppendError::StaleGeneration { .. },
        ) => Ok(None),
        Err(error @ (AppendError::Unavailable | AppendError::OutcomeUnknown)) => Err(error.into()),
    }
}

fn answer(server: &Server, conversation: ConversationId, appended: Appended) -> Answer {
    server.metrics.appends.inc();
    Answer {
        body: Response::Appended(wire::Appended {
            seq: appended.seq,
            epoch: appended.epoch,
            stored_at_ms: appended.stored_at_ms,
        }),
        effect: Effect::Appended {
            conversation,
            seq: appended.seq,
        },
    }
}

fn refused(error: CommitError) -> Refusal {
    tracing::debug!(%error, "commit refused");
    Refusal::new(match error {
        CommitError::Denied(Denied::Banned) => ErrorCode::Banned,
        CommitError::Denied(_) => ErrorCode::NotAllowed,
        CommitError::TooLarge => ErrorCode::TooLarge,
        _ => ErrorCode::CommitInvalid,
    })
}

fn check_sizes(messages: &[&Vec<u8>], welcomes: &[Welcome]) -> Result<(), Refusal> {
    let too_large = messages
        .iter()
        .any(|message| message.len() > HANDSHAKE_BYTES_MAX)
        || welcomes.iter().any(|welcome| {
            welcome.welcome.len() > HANDSHAKE_BYTES_MAX
                || welcome.note.len() > INVITATION_NOTE_BYTES_MAX
        });
    if too_large {
        Err(Refusal::new(ErrorCode::TooLarge))
    } else {
        Ok(())
    }
}

/// A device commits for itself only.
fn check_committer(me: &Identity, applied: &Applied) -> Result<(), Refusal> {
    if *applied.committer.device_id() == me.device {
        Ok(())
    } else {
        Err(Refusal::new(ErrorCode::NotAllowed))
    }
}

/// Every device must be one of this deployment's, under its very certificate:
/// the roster's rules alone would take an identity key that nobody registered.
async fn check_registered(
    server: &Server,
    certificates: &[DeviceCertificate],
) -> Result<BTreeMap<Username, [u8; 32]>, Refusal> {
    let mut identities = BTreeMap::new();
    let known = server.store.certificates(&device_ids(certificates)).await?;
    for certificate in certificates {
        let row = known.get(certificate.device_id());
        if row.is_none_or(|row| row.as_ref() != certificate.as_bytes()) {
            return Err(Refusal::with(
                ErrorCode::CommitInvalid,
                "A device that the change adds is not registered; fetch key packages again.",
            ));
        }
        identities.insert(certificate.username().clone(), *certificate.identity_key());
    }
    Ok(identities)
}

/// The accounts of a two-person conversation.
async fn pair_of(
    server: &Server,
    me: &Identity,
    roster: &Roster,
) -> Result<Option<(AccountId, AccountId)>, Refusal> {
    let Rules::Pair { first, second } = roster.policy.rules() else {
        return Ok(None);
    };
    let unknown = || Refusal::new(ErrorCode::UnknownUser);
    let first = server.store.account(first, me.account).await?;
    let second = server.store.account(second, me.account).await?;
    let (first, second) = (first.ok_or_else(unknown)?, second.ok_or_else(unknown)?);
    Ok(Some((first.account, second.account)))
}

/// One welcome for each device that comes in by somebody else's hand, and no other.
fn welcomes_for(
    applied: &Applied,
    committer: DeviceId,
    welcomes: Vec<Welcome>,
) -> Result<Vec<DeviceWelcome>, Refusal> {
    let mut expected: BTreeSet<_> = device_ids(&applied.added).into_iter().collect();
    expected.remove(&committer);
    let wrong = || Refusal::malformed("There must be one welcome for each device that is added.");
    let mut all = Vec::with_capacity(welcomes.len());
    for welcome in welcomes {
        let device = DeviceId::from_slice(&welcome.device_id).map_err(|_| wrong())?;
        if !expected.remove(&device) {
            return Err(wrong());
        }
        all.push(DeviceWelcome {
            device,
            welcome: welcome.welcome.into(),
            note: welcome.note.into(),
        });
    }
    if expected.is_empty() {
        Ok(all)
    } else {
        Err(wrong())
    }
}

fn device_ids(certificates: &[DeviceCertificate]) -> Vec<DeviceId> {
    certificates
        .iter()
        .map(|certificate| *certificate.device_id())
        .collect()
}
