//! Commits: the epoch, the members, the public state, the welcomes and the log entry change in
//! one transaction, or nothing does.
//!
//! | | the conversation must | then |
//! |---|---|---|
//! | continue | be at the commit's generation and epoch | epoch + 1, members by difference |
//! | create | not exist, nor one of the same pair | epoch 1, the members given; at a generation above 0 the log begins beyond what a lost one may have given out |
//! | rebuild | be at the generation before | epoch 1, the members given; who stays keeps the cursor |
//!
//! Verifying and authorizing the commit is the caller's: here only the order is decided.

use sha2::{Digest, Sha256};
use sotto_protocol::limits::RESTORED_LEAP;
use sotto_protocol::wire::{EnvelopeKind, MailboxWelcome};
use sotto_protocol::{ConversationId, DeviceId};
use sotto_roster::Access;
use tokio_postgres::error::SqlState;

use super::connect::Link;
use super::error::{AppendError, CommitError, StoreError, was_rolled_back};
use super::types::{AccountId, Appended, Before, CommitAppend, CommitPayload, NewConversation};
use super::{Store, column, fixed, signed, signed_generation, unsigned};

/// Tries of one transaction when it loses to another.
const TRIES_MAX: u32 = 5;

/// Locks the conversation and the mailboxes that welcomes go to, in the order of ids.
const LOCK: &str = "\
    SELECT id, kind, generation, epoch, head, (extract(epoch FROM now()) * 1000)::bigint
    FROM conversation WHERE id = ANY($1::bytea[]) ORDER BY id FOR UPDATE";

const STORED: &str = "\
    SELECT seq, epoch, (extract(epoch FROM stored_at) * 1000)::bigint FROM envelope
    WHERE conversation_id = $1 AND sender_device = $2 AND client_id = $3";

/// Whether the device is a member, or comes in by itself: into a public group ($3), or as one of an
/// account that has a leaf ($4). The commit was judged against this very epoch.
const MAY_SEND: &str = "\
    SELECT EXISTS (SELECT FROM member WHERE conversation_id = $1 AND device_id = $2
                   AND left_at_seq IS NULL AND NOT gone)
        OR ($3 AND EXISTS (SELECT FROM conversation WHERE id = $1 AND public))
        OR ($4 AND EXISTS (SELECT FROM member m JOIN device d ON d.account_id = m.account_id
                   WHERE m.conversation_id = $1 AND d.id = $2 AND m.left_at_seq IS NULL))";

const INSERT: &str = "\
    INSERT INTO conversation (id, kind, generation, epoch, head, pair_low, pair_high, public)
    VALUES ($1, 1, 0, 0, $5, $2, $3, $4) ON CONFLICT DO NOTHING";

const PAIR: &str = "SELECT id FROM conversation WHERE pair_low = $1 AND pair_high = $2";

const UPDATE: &str = "\
    WITH public AS (
        INSERT INTO group_state (conversation_id, group_state, group_info, seq, policy)
        VALUES ($1, $5, $6, $4, $11)
        ON CONFLICT (conversation_id) DO UPDATE SET
            group_state = excluded.group_state, group_info = excluded.group_info,
            seq = excluded.seq, policy = excluded.policy
    ), entry AS (
        INSERT INTO envelope (conversation_id, seq, generation, epoch, kind, sender_device,
                              client_id, payload, stored_at)
        VALUES ($1, $4, $2, $3::bigint - 1, $7, $8, $9, $10, now())
    )
    UPDATE conversation SET generation = $2, epoch = $3, head = $4 WHERE id = $1";

/// Adds devices at the commit ($3). They read what follows it; the committer, which has not seen
/// it stored, reads it too, and came in by its own will: it counts as in since before. One that is a member stays where it is unless it joins anew ($5).
const ADD: &str = "\
    INSERT INTO member (conversation_id, device_id, account_id, cursor, joined_at_seq)
    SELECT $1, d.id, d.account_id, CASE WHEN d.id = $4 THEN $3::bigint - 1 ELSE $3 END,
           CASE WHEN d.id = $4 THEN $3::bigint - 1 ELSE $3 END
    FROM unnest($2::bytea[]) AS i (id) JOIN device d ON d.id = i.id
    ON CONFLICT (conversation_id, device_id) DO UPDATE SET
        cursor = CASE WHEN member.left_at_seq IS NULL AND NOT member.gone AND NOT $5
                      THEN member.cursor ELSE excluded.cursor END,
        joined_at_seq = CASE WHEN member.left_at_seq IS NULL AND NOT member.gone AND NOT $5
                      THEN member.joined_at_seq ELSE excluded.joined_at_seq END,
        account_id = excluded.account_id, left_at_seq = NULL, gone = false
    RETURNING device_id";

const REMOVE: &str = "\
    UPDATE member SET left_at_seq = $3
    WHERE conversation_id = $1 AND device_id = ANY($2::bytea[]) AND left_at_seq IS NULL";

const REMOVE_OTHERS: &str = "\
    UPDATE member SET left_at_seq = $3
    WHERE conversation_id = $1 AND NOT device_id = ANY($2::bytea[]) AND left_at_seq IS NULL";

const WELCOME: &str = "\
    WITH moved AS (
        UPDATE conversation c SET head = i.seq
        FROM unnest($1::bytea[], $2::bigint[]) AS i (id, seq) WHERE c.id = i.id AND c.kind = 2
    )
    INSERT INTO envelope
        (conversation_id, seq, generation, epoch, kind, sender_device, client_id, payload, stored_at)
    SELECT id, seq, 0, 0, $6, $4, $5, payload, now()
    FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) AS i (id, seq, payload)";

impl Store {
    /// Appends a verified, authorized commit, if the conversation is at its generation and epoch.
    /// Enqueued when called, in order with this conversation's messages.
    ///
    /// # Errors
    /// As [`CommitError`] says; `Unavailable` and `OutcomeUnknown` are to be asked again with the
    /// same client id, which is then answered alike.
    pub fn append_commit(
        &self,
        commit: CommitAppend,
    ) -> impl Future<Output = Result<Appended, CommitError>> + Send + 'static {
        self.inner.writers.commit(CommitWork::Continue(commit))
    }

    /// Makes a conversation, or a new generation of one, with its first commit.
    ///
    /// # Errors
    /// As [`Self::append_commit`]; also `PairExists` and `IdTaken`.
    pub fn create_conversation(
        &self,
        new: NewConversation,
    ) -> impl Future<Output = Result<Appended, CommitError>> + Send + 'static {
        self.inner.writers.commit(CommitWork::Begin(new))
    }
}

/// A commit of either sort.
pub(super) enum CommitWork {
    /// Of a group that goes on.
    Continue(CommitAppend),
    /// Of a group that begins.
    Begin(NewConversation),
}

impl CommitWork {
    pub(super) fn conversation(&self) -> ConversationId {
        match self {
            Self::Continue(commit) => commit.conversation,
            Self::Begin(new) => new.conversation,
        }
    }

    fn payload(&self) -> &CommitPayload {
        match self {
            Self::Continue(commit) => &commit.payload,
            Self::Begin(new) => &new.payload,
        }
    }

    fn generation(&self) -> u32 {
        match self {
            Self::Continue(commit) => commit.generation,
            Self::Begin(new) => new.generation,
        }
    }

    /// The epoch that it leads to.
    fn next_epoch(&self) -> u64 {
        match self {
            Self::Continue(commit) => commit.epoch.saturating_add(1),
            Self::Begin(_) => 1,
        }
    }

    /// Bytes that it holds in the queue.
    pub(super) fn bytes(&self) -> usize {
        let payload = self.payload();
        let welcomes: usize = payload
            .welcomes
            .iter()
            .map(|w| w.welcome.len() + w.note.len())
            .sum();
        let tree = payload.tree.as_ref().map_or(0, bytes::Bytes::len);
        payload.commit.len()
            + payload.group_state.len()
            + payload.group_info.len()
            + welcomes
            + tree
    }

    /// The logs that it makes grow.
    pub(super) fn logs(&self) -> impl Iterator<Item = ConversationId> {
        let mailboxes = self.payload().welcomes.iter().map(|w| w.device.mailbox());
        std::iter::once(self.conversation()).chain(mailboxes)
    }
}

/// How a try ended that did not commit.
enum Failed {
    /// Nothing was stored; a new try may fare better.
    Lost,
    /// For good, inside the transaction.
    Refused(CommitError),
    /// For good; the connection is not to be used again.
    Broken(AppendError),
}

impl From<CommitError> for Failed {
    fn from(error: CommitError) -> Self {
        Self::Refused(error)
    }
}

impl From<AppendError> for Failed {
    fn from(error: AppendError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "commit failed");
        Self::Broken(AppendError::Unavailable)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if was_rolled_back(db) => {
                let lost = [
                    &SqlState::UNIQUE_VIOLATION,
                    &SqlState::T_R_DEADLOCK_DETECTED,
                    &SqlState::T_R_SERIALIZATION_FAILURE,
                ];
                if lost.contains(&db.code()) {
                    return Self::Lost;
                }
                tracing::error!(code = db.code().code(), "commit refused by the database");
                Self::Broken(AppendError::Unavailable)
            }
            // Before COMMIT was sent, so nothing is stored.
            _ => Self::Broken(AppendError::Unavailable),
        }
    }
}

/// Runs the transaction.
pub(super) async fn run(link: &mut Link, work: &CommitWork) -> Result<Appended, CommitError> {
    for _ in 0..TRIES_MAX {
        let begun = link.client().batch_execute("BEGIN").await;
        if begun.is_err() {
            return Err(AppendError::Unavailable.into());
        }
        match attempt(link, work).await {
            Ok(appended) => return finish(link, appended).await,
            Err(Failed::Broken(error)) => return Err(error.into()),
            Err(failed) => {
                let rolled_back = link.client().batch_execute("ROLLBACK").await;
                if rolled_back.is_err() {
                    return Err(AppendError::Unavailable.into());
                }
                if let Failed::Refused(error) = failed {
                    return Err(error);
                }
            }
        }
    }
    Err(AppendError::Unavailable.into())
}

async fn finish(link: &Link, appended: Appended) -> Result<Appended, CommitError> {
    let warnings = link.warnings();
    match link.client().batch_execute("COMMIT").await {
        Ok(()) if link.warnings() == warnings => Ok(appended),
        _ => Err(AppendError::OutcomeUnknown.into()),
    }
}

/// A log as locked.
struct Locked {
    id: ConversationId,
    mailbox: bool,
    generation: u32,
    epoch: u64,
    head: u64,
    now_ms: u64,
}

async fn attempt(link: &mut Link, work: &CommitWork) -> Result<Appended, Failed> {
    if let CommitWork::Begin(new) = work
        && new.before == Before::Nothing
    {
        insert(link, new).await?;
    }
    let locked = lock(link, work).await?;
    let conversation = work.conversation();
    let Some(log) = locked.iter().find(|log| log.id == conversation) else {
        // The insert met a conversation of the same pair.
        return Err(match pair(link, work).await? {
            Some(conversation) => CommitError::PairExists { conversation }.into(),
            None => AppendError::NotMember.into(),
        });
    };
    if log.mailbox {
        return Err(match work {
            CommitWork::Begin(_) => CommitError::IdTaken.into(),
            CommitWork::Continue(_) => AppendError::NotMember.into(),
        });
    }
    if let Some(stored) = stored(link, work).await? {
        return Ok(stored);
    }
    judge(link, work, log).await?;
    apply(link, work, log).await?;
    welcome(link, work, log.head + 1, &locked).await?;
    Ok(Appended {
        seq: log.head + 1,
        epoch: work.next_epoch(),
        stored_at_ms: log.now_ms,
    })
}

fn ordered(pair: (AccountId, AccountId)) -> (i64, i64) {
    let (AccountId(one), AccountId(other)) = pair;
    (one.min(other), one.max(other))
}

async fn insert(link: &mut Link, new: &NewConversation) -> Result<(), Failed> {
    let statement = link.prepare(INSERT).await?;
    let (low, high) = new.pair.map(ordered).unzip();
    let id = new.conversation.as_bytes().as_slice();
    let public = new.access == Access::Public;
    // The devices' stores have numbers of the log that was lost. It leapt once for each restore that
    // it saw, or began like this one, so never further than to its last generation.
    let head = signed(RESTORED_LEAP.saturating_mul(u64::from(new.generation)));
    link.client()
        .execute(&statement, &[&id, &low, &high, &public, &head])
        .await?;
    Ok(())
}

async fn pair(link: &mut Link, work: &CommitWork) -> Result<Option<ConversationId>, Failed> {
    let CommitWork::Begin(NewConversation {
        pair: Some(pair), ..
    }) = work
    else {
        return Ok(None);
    };
    let statement = link.prepare(PAIR).await?;
    let (low, high) = ordered(*pair);
    let row = link.client().query_opt(&statement, &[&low, &high]).await?;
    match row {
        Some(row) => Ok(Some(ConversationId::from_bytes(fixed(column(&row, 0)?)?))),
        None => Ok(None),
    }
}

async fn lock(link: &mut Link, work: &CommitWork) -> Result<Vec<Locked>, Failed> {
    let statement = link.prepare(LOCK).await?;
    let ids: Vec<Vec<u8>> = work.logs().map(ConversationId::to_vec).collect();
    let rows = link.client().query(&statement, &[&ids]).await?;
    let mut locked = Vec::with_capacity(rows.len());
    for row in &rows {
        let generation: i32 = column(row, 2)?;
        locked.push(Locked {
            id: ConversationId::from_bytes(fixed(column(row, 0)?)?),
            mailbox: column::<i16>(row, 1)? == 2,
            generation: u32::try_from(generation).unwrap_or(0),
            epoch: unsigned(row, 3)?,
            head: unsigned(row, 4)?,
            now_ms: unsigned(row, 5)?,
        });
    }
    Ok(locked)
}

/// The same commit, if it was stored before.
async fn stored(link: &mut Link, work: &CommitWork) -> Result<Option<Appended>, Failed> {
    let statement = link.prepare(STORED).await?;
    let payload = work.payload();
    let conversation = work.conversation();
    let row = link
        .client()
        .query_opt(
            &statement,
            &[
                &conversation.as_bytes().as_slice(),
                &payload.sender_device.as_bytes().as_slice(),
                &payload.client_id.as_bytes().as_slice(),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Appended {
        seq: unsigned(&row, 0)?,
        epoch: unsigned(&row, 1)? + 1,
        stored_at_ms: unsigned(&row, 2)?,
    }))
}

/// Whether the commit comes at its place, by a device that may send it.
async fn judge(link: &mut Link, work: &CommitWork, log: &Locked) -> Result<(), Failed> {
    let stale = AppendError::StaleGeneration {
        generation: log.generation,
        epoch: log.epoch,
    };
    let (joins, is_of_account) = match work {
        // Epoch 0 is never seen from outside: it is the row that this transaction made.
        CommitWork::Begin(new) if new.before == Before::Nothing => {
            return if log.epoch == 0 {
                Ok(())
            } else {
                Err(CommitError::IdTaken.into())
            };
        }
        CommitWork::Begin(new) if log.generation.checked_add(1) != Some(new.generation) => {
            return Err(stale.into());
        }
        // Also by a device that was never in: perhaps the only one that its account has left.
        CommitWork::Begin(_) => (false, true),
        CommitWork::Continue(commit) if commit.generation != log.generation => {
            return Err(stale.into());
        }
        CommitWork::Continue(commit) if commit.epoch != log.epoch => {
            return Err(AppendError::StaleEpoch { epoch: log.epoch }.into());
        }
        CommitWork::Continue(commit) => {
            let joins = commit.added.contains(&commit.payload.sender_device);
            (joins, joins)
        }
    };
    let statement = link.prepare(MAY_SEND).await?;
    let sender = work.payload().sender_device;
    let row = link
        .client()
        .query_one(
            &statement,
            &[
                &log.id.as_bytes().as_slice(),
                &sender.as_bytes().as_slice(),
                &joins,
                &is_of_account,
            ],
        )
        .await?;
    if column(&row, 0)? {
        Ok(())
    } else {
        Err(AppendError::NotMember.into())
    }
}

/// Entry, epoch, public state, members.
async fn apply(link: &mut Link, work: &CommitWork, log: &Locked) -> Result<(), Failed> {
    let update = link.prepare(UPDATE).await?;
    let payload = work.payload();
    let id = log.id.as_bytes().as_slice();
    let seq = signed(log.head + 1);
    link.client()
        .execute(
            &update,
            &[
                &id,
                &signed_generation(work.generation()),
                &signed(work.next_epoch()),
                &seq,
                &payload.group_state.as_ref(),
                &payload.group_info.as_ref(),
                &(EnvelopeKind::Commit as i16),
                &payload.sender_device.as_bytes().as_slice(),
                &payload.client_id.as_bytes().as_slice(),
                &payload.commit.as_ref(),
                &payload.policy.as_ref(),
            ],
        )
        .await?;
    keep_tree(link, work, log.id).await?;
    let (remove, removed, added, anew) = match work {
        CommitWork::Continue(commit) => (REMOVE, &commit.removed, &commit.added, true),
        CommitWork::Begin(new) => (REMOVE_OTHERS, &new.members, &new.members, false),
    };
    let remove = link.prepare(remove).await?;
    let removed: Vec<&[u8]> = removed.iter().map(|d| d.as_bytes().as_slice()).collect();
    link.client()
        .execute(&remove, &[&id, &removed, &seq])
        .await?;
    let add = link.prepare(ADD).await?;
    let devices: Vec<&[u8]> = added.iter().map(|d| d.as_bytes().as_slice()).collect();
    let sender = payload.sender_device.as_bytes().as_slice();
    let rows = link
        .client()
        .query(&add, &[&id, &devices, &seq, &sender, &anew])
        .await?;
    let mut known = Vec::with_capacity(rows.len());
    for row in &rows {
        known.push(DeviceId::from_bytes(fixed(column(row, 0)?)?));
    }
    match added.iter().find(|device| !known.contains(device)) {
        Some(device) => Err(CommitError::UnknownDevice { device: *device }.into()),
        None => Ok(()),
    }
}

/// Keeps the ratchet tree that welcomes without one lead to.
async fn keep_tree(link: &mut Link, work: &CommitWork, id: ConversationId) -> Result<(), Failed> {
    let Some(tree) = &work.payload().tree else {
        return Ok(());
    };
    let keep = link.prepare(super::tree::KEEP).await?;
    let id = id.as_bytes().as_slice();
    let (generation, epoch) = (
        signed_generation(work.generation()),
        signed(work.next_epoch()),
    );
    link.client()
        .execute(&keep, &[&id, &generation, &epoch, &tree.as_ref()])
        .await?;
    Ok(())
}

/// Puts the welcomes into the mailboxes.
async fn welcome(
    link: &mut Link,
    work: &CommitWork,
    seq: u64,
    locked: &[Locked],
) -> Result<(), Failed> {
    let payload = work.payload();
    if payload.welcomes.is_empty() {
        return Ok(());
    }
    let mut mailboxes = Vec::with_capacity(payload.welcomes.len());
    let mut seqs = Vec::with_capacity(payload.welcomes.len());
    let mut bodies = Vec::with_capacity(payload.welcomes.len());
    for welcome in &payload.welcomes {
        let id = welcome.device.mailbox();
        let mailbox = locked.iter().find(|log| log.id == id && log.mailbox);
        // Two for one device are as wrong as one for nobody.
        let Some(mailbox) = mailbox.filter(|_| !mailboxes.contains(&id.to_vec())) else {
            return Err(CommitError::UnknownDevice {
                device: welcome.device,
            }
            .into());
        };
        mailboxes.push(id.to_vec());
        seqs.push(signed(mailbox.head + 1));
        let body = MailboxWelcome {
            conversation_id: work.conversation().to_vec(),
            generation: work.generation(),
            epoch: work.next_epoch(),
            seq,
            inviter: payload.inviter.as_str().to_owned(),
            welcome: welcome.welcome.to_vec(),
            note: welcome.note.to_vec(),
        };
        bodies.push(prost::Message::encode_to_vec(&body));
    }
    let statement = link.prepare(WELCOME).await?;
    link.client()
        .execute(
            &statement,
            &[
                &mailboxes,
                &seqs,
                &bodies,
                &payload.sender_device.as_bytes().as_slice(),
                &mailbox_client_id(work).as_slice(),
                &(EnvelopeKind::Welcome as i16),
            ],
        )
        .await?;
    Ok(())
}

/// The client id of the welcomes: a sender's ids are unique within a log only, and a mailbox
/// gets welcomes to many.
fn mailbox_client_id(work: &CommitWork) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(work.conversation().as_bytes());
    hash.update(work.payload().client_id.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
    first
}
