//! Appending sealed messages: many conversations in one transaction.
//!
//! Two trips to the database. The first locks the conversations' rows in the order of their ids
//! (so that no two writers wait for each other) and then, in a statement of its own and therefore
//! on a snapshot taken after the lock, asks who is a member and what is already stored. The
//! second stores and commits. A message is known by (conversation, sending device, client id): a
//! repeated one is answered like the first. That holds for as long as a retry can come, because
//! an entry is deleted only when the sender's own device, too, has acknowledged it.

use std::collections::HashMap;

use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::connect::Link;
use super::error::{AppendError, StoreError, was_rolled_back};
use super::types::{AppendMessage, Appended};
use super::writer::PendingAppend;
use super::{Store, column, fixed, signed, signed_generation, unsigned};

/// Tries of one transaction when it loses to another.
const TRIES_MAX: u32 = 5;

const LOCK: &str = "\
    SELECT id, generation, epoch, head, (extract(epoch FROM now()) * 1000)::bigint
    FROM conversation WHERE id = ANY($1::bytea[]) AND kind = 1
    ORDER BY id FOR UPDATE";

const KNOWN: &str = "\
    SELECT i.place, m.device_id IS NOT NULL, e.seq, e.epoch, e.kind,
           (extract(epoch FROM e.stored_at) * 1000)::bigint
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])
         WITH ORDINALITY AS i (conversation_id, sender_device, client_id, place)
    LEFT JOIN member m ON m.conversation_id = i.conversation_id
         AND m.device_id = i.sender_device AND m.left_at_seq IS NULL AND NOT m.gone
    LEFT JOIN envelope e ON e.conversation_id = i.conversation_id
         AND e.sender_device = i.sender_device AND e.client_id = i.client_id";

const STORE: &str = "\
    WITH moved AS (
        UPDATE conversation c SET head = h.head
        FROM unnest($8::bytea[], $9::bigint[]) AS h (id, head) WHERE c.id = h.id
    )
    INSERT INTO envelope
        (conversation_id, seq, generation, epoch, kind, sender_device, client_id, payload, stored_at)
    SELECT conversation_id, seq, generation, epoch, $10, sender_device, client_id, payload, now()
    FROM unnest($1::bytea[], $2::bigint[], $3::int[], $4::bigint[], $5::bytea[], $6::bytea[],
                $7::bytea[])
         AS i (conversation_id, seq, generation, epoch, sender_device, client_id, payload)";

impl Store {
    /// Appends a sealed message. It is enqueued when this is called, not when the future is first
    /// polled: calls in order are appended in order. The future may be awaited later or dropped.
    ///
    /// The same (sending device, client id) again is answered with the same seq.
    ///
    /// # Errors
    /// As [`AppendError`] says; `Unavailable` and `OutcomeUnknown` are to be asked again.
    pub fn append(
        &self,
        message: AppendMessage,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        self.inner.writers.append(message)
    }
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct Judged {
    /// One for each message, in order.
    pub(super) outcomes: Vec<Result<Appended, AppendError>>,
    /// Logs with new entries.
    pub(super) grown: Vec<(ConversationId, u64)>,
}

/// A conversation as locked.
#[derive(Clone, Copy)]
struct Locked {
    generation: u64,
    epoch: u64,
    head: u64,
    now_ms: u64,
}

/// How a try ended that did not store the batch.
enum Failed {
    /// Nothing was stored; a new try may fare better.
    Lost,
    /// For good.
    For(AppendError),
}

type Param<'a> = &'a (dyn ToSql + Sync);

type Key = (ConversationId, DeviceId, ClientMessageId);

fn key(message: &AppendMessage) -> Key {
    (
        message.conversation,
        message.sender_device,
        message.client_id,
    )
}

/// Appends a batch in one transaction. An error means that none of it was acknowledged.
pub(super) async fn append(
    link: &mut Link,
    batch: &[PendingAppend],
) -> Result<Judged, AppendError> {
    // The same message twice in one batch is stored once and answered alike.
    let mut first: HashMap<Key, usize> = HashMap::with_capacity(batch.len());
    let mut distinct: Vec<&AppendMessage> = Vec::with_capacity(batch.len());
    let mut place_of = Vec::with_capacity(batch.len());
    for append in batch {
        let place = *first.entry(key(&append.message)).or_insert_with(|| {
            distinct.push(&append.message);
            distinct.len() - 1
        });
        place_of.push(place);
    }
    for _ in 0..TRIES_MAX {
        match attempt(link, &distinct).await {
            Ok(judged) => {
                let unknown = Err(AppendError::OutcomeUnknown);
                let outcome = |place: &usize| judged.outcomes.get(*place).cloned();
                let outcomes = place_of
                    .iter()
                    .map(|place| outcome(place).unwrap_or(unknown.clone()))
                    .collect();
                return Ok(Judged { outcomes, ..judged });
            }
            Err(Failed::For(error)) => return Err(error),
            Err(Failed::Lost) => {}
        }
    }
    Err(AppendError::Unavailable)
}

async fn attempt(link: &mut Link, batch: &[&AppendMessage]) -> Result<Judged, Failed> {
    let judged = match judge(link, batch).await {
        Ok(judged) => judged,
        Err(error) => return Err(undo(link, &error).await),
    };
    let (outcomes, fresh) = judged;
    if fresh.is_empty() {
        let grown = Vec::new();
        if outcomes.iter().any(Result::is_ok) {
            confirm(link).await?;
        } else {
            rollback(link).await?;
        }
        return Ok(Judged { outcomes, grown });
    }
    let grown = store(link, batch, &outcomes, &fresh).await?;
    Ok(Judged { outcomes, grown })
}

/// The outcome of each message, and the places of those that are to be stored.
type Outcomes = (Vec<Result<Appended, AppendError>>, Vec<usize>);

/// Locks, looks, and decides.
async fn judge(link: &mut Link, batch: &[&AppendMessage]) -> Result<Outcomes, Trouble> {
    let lock = link.prepare(LOCK).await?;
    let known = link.prepare(KNOWN).await?;
    let mut ids: Vec<&[u8]> = batch
        .iter()
        .map(|m| m.conversation.as_bytes().as_slice())
        .collect();
    let conversations = ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let senders: Vec<&[u8]> = batch
        .iter()
        .map(|m| m.sender_device.as_bytes().as_slice())
        .collect();
    let clients: Vec<&[u8]> = batch
        .iter()
        .map(|m| m.client_id.as_bytes().as_slice())
        .collect();
    let client = link.client();
    let (of_lock, of_known): ([Param<'_>; 1], [Param<'_>; 3]) =
        ([&ids], [&conversations, &senders, &clients]);
    // Sent in one go, answered in order.
    let (begun, locked, known) = tokio::join!(
        biased;
        client.batch_execute("BEGIN"),
        client.query(&lock, &of_lock),
        client.query(&known, &of_known),
    );
    begun?;
    let mut logs: HashMap<ConversationId, Locked> = HashMap::with_capacity(ids.len());
    for row in &locked? {
        let generation: i32 = column(row, 1)?;
        let locked = Locked {
            generation: u64::try_from(generation).unwrap_or(0),
            epoch: unsigned(row, 2)?,
            head: unsigned(row, 3)?,
            now_ms: unsigned(row, 4)?,
        };
        logs.insert(ConversationId::from_bytes(fixed(column(row, 0)?)?), locked);
    }
    let mut stored: Vec<Known> = vec![Known::default(); batch.len()];
    for row in &known? {
        let place = usize::try_from(column::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
        if let Some(known) = stored.get_mut(place) {
            known.member = column(row, 1)?;
            known.entry = entry(row)?;
        }
    }
    Ok(decide(batch, &mut logs, &stored))
}

/// What is known of a message before it is stored.
#[derive(Clone, Default)]
struct Known {
    member: bool,
    entry: Option<Appended>,
}

/// The entry in columns 2 to 5, if there is one.
fn entry(row: &tokio_postgres::Row) -> Result<Option<Appended>, StoreError> {
    if column::<Option<i64>>(row, 2)?.is_none() {
        return Ok(None);
    }
    let kind: i16 = column(row, 4)?;
    // A commit leads to the epoch after its own.
    let step = u64::from(i32::from(kind) == EnvelopeKind::Commit as i32);
    Ok(Some(Appended {
        seq: unsigned(row, 2)?,
        epoch: unsigned(row, 3)? + step,
        stored_at_ms: unsigned(row, 5)?,
    }))
}

/// Gives each message its seq or the reason why it has none. No database here.
fn decide(
    batch: &[&AppendMessage],
    logs: &mut HashMap<ConversationId, Locked>,
    stored: &[Known],
) -> Outcomes {
    let mut fresh = Vec::with_capacity(batch.len());
    let outcomes = batch
        .iter()
        .zip(stored)
        .enumerate()
        .map(|(place, (message, known))| {
            if let Some(entry) = known.entry {
                return Ok(entry);
            }
            let log = match logs.get_mut(&message.conversation) {
                Some(log) if known.member => log,
                _ => return Err(AppendError::NotMember),
            };
            if u64::from(message.generation) != log.generation {
                return Err(AppendError::StaleGeneration {
                    generation: u32::try_from(log.generation).unwrap_or(u32::MAX),
                    epoch: log.epoch,
                });
            }
            if message.epoch != log.epoch {
                return Err(AppendError::StaleEpoch { epoch: log.epoch });
            }
            log.head += 1;
            fresh.push(place);
            Ok(Appended {
                seq: log.head,
                epoch: log.epoch,
                stored_at_ms: log.now_ms,
            })
        })
        .collect();
    (outcomes, fresh)
}

/// Stores and commits; returns the logs that have grown.
async fn store(
    link: &mut Link,
    batch: &[&AppendMessage],
    outcomes: &[Result<Appended, AppendError>],
    fresh: &[usize],
) -> Result<Vec<(ConversationId, u64)>, Failed> {
    let statement = match link.prepare(STORE).await {
        Ok(statement) => statement,
        Err(error) => return Err(undo(link, &Trouble::Store(error)).await),
    };
    let mut heads: HashMap<ConversationId, i64> = HashMap::new();
    let mut rows: Vec<(&AppendMessage, i64)> = Vec::with_capacity(fresh.len());
    for place in fresh {
        if let (Some(message), Some(Ok(appended))) = (batch.get(*place), outcomes.get(*place)) {
            let seq = signed(appended.seq);
            rows.push((message, seq));
            heads.insert(message.conversation, seq);
        }
    }
    let conversations: Vec<&[u8]> = rows
        .iter()
        .map(|(m, _)| m.conversation.as_bytes().as_slice())
        .collect();
    let seqs: Vec<i64> = rows.iter().map(|(_, seq)| *seq).collect();
    let generations: Vec<i32> = rows
        .iter()
        .map(|(m, _)| signed_generation(m.generation))
        .collect();
    let epochs: Vec<i64> = rows.iter().map(|(m, _)| signed(m.epoch)).collect();
    let senders: Vec<&[u8]> = rows
        .iter()
        .map(|(m, _)| m.sender_device.as_bytes().as_slice())
        .collect();
    let clients: Vec<&[u8]> = rows
        .iter()
        .map(|(m, _)| m.client_id.as_bytes().as_slice())
        .collect();
    let payloads: Vec<&[u8]> = rows.iter().map(|(m, _)| m.payload.as_ref()).collect();
    let (grown, new_heads): (Vec<ConversationId>, Vec<i64>) = heads.into_iter().unzip();
    let ids: Vec<&[u8]> = grown.iter().map(|id| id.as_bytes().as_slice()).collect();
    let kind = EnvelopeKind::Application as i16;
    let warnings = link.warnings();
    let client = link.client();
    let params: [Param<'_>; 10] = [
        &conversations,
        &seqs,
        &generations,
        &epochs,
        &senders,
        &clients,
        &payloads,
        &ids,
        &new_heads,
        &kind,
    ];
    let (stored, committed) = tokio::join!(
        biased;
        client.execute(&statement, &params),
        client.batch_execute("COMMIT"),
    );
    if let Err(error) = stored {
        // The COMMIT after it was a rollback, unless the connection ended in between.
        return Err(undo(link, &Trouble::Driver(error)).await);
    }
    match committed {
        Ok(()) if link.warnings() == warnings => {
            let heads = new_heads
                .into_iter()
                .map(|head| u64::try_from(head).unwrap_or(0));
            Ok(grown.into_iter().zip(heads).collect())
        }
        _ => Err(Failed::For(AppendError::OutcomeUnknown)),
    }
}

/// Commits a transaction that only found what is already stored. The entries may be those of a
/// commit whose wait for replication was cancelled; this commit (of the row locks) comes after
/// them and waits for all.
async fn confirm(link: &Link) -> Result<(), Failed> {
    let warnings = link.warnings();
    match link.client().batch_execute("COMMIT").await {
        Ok(()) if link.warnings() == warnings => Ok(()),
        _ => Err(Failed::For(AppendError::OutcomeUnknown)),
    }
}

/// An error inside the transaction.
enum Trouble {
    Driver(tokio_postgres::Error),
    Store(StoreError),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn rollback(link: &Link) -> Result<(), Failed> {
    link.client()
        .batch_execute("ROLLBACK")
        .await
        .map_err(|_| Failed::For(AppendError::Unavailable))
}

/// Leaves the transaction and says whether another try makes sense.
async fn undo(link: &Link, trouble: &Trouble) -> Failed {
    match trouble {
        Trouble::Driver(error) => match error.as_db_error() {
            Some(db) if was_rolled_back(db) => {
                let lost = [
                    &SqlState::UNIQUE_VIOLATION,
                    &SqlState::T_R_DEADLOCK_DETECTED,
                    &SqlState::T_R_SERIALIZATION_FAILURE,
                ];
                if lost.contains(&db.code()) {
                    return rollback(link).await.err().unwrap_or(Failed::Lost);
                }
                tracing::error!(code = db.code().code(), "append refused by the database");
                Failed::For(AppendError::Unavailable)
            }
            // The COMMIT may have been on its way when the connection ended.
            _ => Failed::For(AppendError::OutcomeUnknown),
        },
        Trouble::Store(error) => {
            tracing::error!(%error, "append failed");
            Failed::For(AppendError::Unavailable)
        }
    }
}
