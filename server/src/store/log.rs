//! Appending sealed messages: many conversations in one transaction and one trip.
//!
//! Two functions of the database lock the conversations' rows in the order of their ids (so that
//! no two writers wait for each other) and then look, on a snapshot taken after the locks, who is
//! a member. `append_fresh` stores a batch that is new as a whole, at half the cost; when anything
//! about a message is not as it should be, it stores nothing, and `append_messages` judges each of
//! them. Either statement runs outside a transaction block, so it commits by itself, and its answer
//! is complete only once that commit is: the driver waits for the end of the exchange, not for the
//! last row. A message is known by (conversation, sending device, client id): a repeated one is
//! answered like the first. That holds for as long as a retry can come, because an entry is deleted
//! only when the sender's own device, too, has acknowledged it. The entries found may be those of a
//! commit whose wait for replication was cancelled; the commit of the row locks comes after them
//! and waits for all.

use std::collections::{BTreeMap, HashMap};

use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::connect::Link;
use super::error::{AppendError, StoreError, was_rolled_back};
use super::types::{AppendMessage, Appended};
use super::writer::PendingAppend;
use super::{Store, column, signed, signed_generation, unsigned};

/// Tries of one transaction when it loses to another.
const TRIES_MAX: u32 = 5;

/// Batches that are judged one by one after one that was not as it should be: repeated and stale
/// messages come in clusters, and a try that fails costs.
const DOUBTFUL_BATCHES: u32 = 8;

/// What `append_fresh` says when a message is repeated, stale or not a member's.
const NOT_FRESH: &str = "SO001";

const FRESH: &str = "\
    SELECT heads, stored_at_ms FROM append_fresh($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const APPEND: &str = "\
    SELECT place, verdict, seq, epoch, generation, stored_at_ms
    FROM append_messages($1, $2, $3, $4, $5, $6, $7, $8)";

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

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Stored by this transaction.
    Stored(Appended),
    /// Stored before, or by an earlier message of the batch.
    Known(Appended),
    /// Not stored.
    Refused(AppendError),
}

impl Verdict {
    /// What the sender is told.
    pub(super) fn outcome(&self) -> Result<Appended, AppendError> {
        match self {
            Self::Stored(appended) | Self::Known(appended) => Ok(*appended),
            Self::Refused(error) => Err(error.clone()),
        }
    }

    /// The same for a repetition.
    fn repeated(&self) -> Self {
        match self {
            Self::Stored(appended) => Self::Known(*appended),
            other => other.clone(),
        }
    }
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

/// How many of the next batches are judged one by one.
#[derive(Default)]
pub(super) struct Doubt(u32);

/// Appends a batch in one transaction; one verdict for each message, in order. An error means that
/// none of it was acknowledged.
pub(super) async fn append(
    link: &mut Link,
    batch: &[PendingAppend],
    doubt: &mut Doubt,
) -> Result<Vec<Verdict>, AppendError> {
    // The same message twice in one batch is stored once and answered alike.
    let mut first: HashMap<Key, usize> = HashMap::with_capacity(batch.len());
    let mut distinct: Vec<&AppendMessage> = Vec::with_capacity(batch.len());
    let mut place_of = Vec::with_capacity(batch.len());
    for append in batch {
        let next = distinct.len();
        let place = *first.entry(key(&append.message)).or_insert(next);
        if place == next {
            distinct.push(&append.message);
        }
        place_of.push((place, place == next));
    }
    for _ in 0..TRIES_MAX {
        // Looked at again before each statement: this process may have been stopped in between.
        if batch.iter().any(PendingAppend::is_stale) {
            return Err(AppendError::Unavailable);
        }
        let attempt = if doubt.0 == 0 {
            store_fresh(link, &distinct).await
        } else {
            doubt.0 -= 1;
            judge(link, &distinct).await
        };
        match attempt {
            Ok(verdicts) => {
                let verdict = |(place, is_first): (usize, bool)| match verdicts.get(place) {
                    Some(verdict) if is_first => verdict.clone(),
                    Some(verdict) => verdict.repeated(),
                    None => Verdict::Refused(AppendError::OutcomeUnknown),
                };
                return Ok(place_of.into_iter().map(verdict).collect());
            }
            Err(Failed::For(error)) => return Err(error),
            // A repeated message shows as a lost race, too.
            Err(Failed::Lost) => doubt.0 = doubt.0.max(DOUBTFUL_BATCHES),
        }
    }
    Err(AppendError::Unavailable)
}

/// The messages of one log in a batch.
struct LogShare {
    place: usize,
    first: usize,
    count: i32,
}

/// Stores a batch if all of it is new and in order.
async fn store_fresh(link: &mut Link, batch: &[&AppendMessage]) -> Result<Vec<Verdict>, Failed> {
    let Some((logs, places, nths)) = shares(batch) else {
        return Err(Failed::Lost);
    };
    let firsts: Vec<&AppendMessage> = logs
        .iter()
        .filter_map(|share| batch.get(share.first).copied())
        .collect();
    let ids: Vec<&[u8]> = firsts
        .iter()
        .map(|m| m.conversation.as_bytes().as_slice())
        .collect();
    let generations: Vec<i32> = firsts
        .iter()
        .map(|m| signed_generation(m.generation))
        .collect();
    let epochs: Vec<i64> = firsts.iter().map(|m| signed(m.epoch)).collect();
    let counts: Vec<i32> = logs.iter().map(|share| share.count).collect();
    let columns = Columns::of(batch);
    let kind = EnvelopeKind::Application as i16;
    let params: [Param<'_>; 10] = [
        &ids,
        &generations,
        &epochs,
        &counts,
        &places,
        &nths,
        &columns.senders,
        &columns.clients,
        &columns.payloads,
        &kind,
    ];
    let rows = commit(link, FRESH, &params).await?;
    let row = rows
        .first()
        .ok_or(Failed::For(AppendError::OutcomeUnknown))?;
    let read =
        || -> Result<(Vec<i64>, u64), StoreError> { Ok((column(row, 0)?, unsigned(row, 1)?)) };
    let (heads, stored_at_ms) = read().map_err(|error| unreadable(&error))?;
    let verdict = |(message, (place, nth)): (&&AppendMessage, (&i32, &i32))| {
        let head = usize::try_from(place - 1).ok().and_then(|i| heads.get(i));
        let seq = head.and_then(|head| u64::try_from(head + i64::from(*nth)).ok());
        seq.map_or(Verdict::Refused(AppendError::OutcomeUnknown), |seq| {
            Verdict::Stored(Appended {
                seq,
                epoch: message.epoch,
                stored_at_ms,
            })
        })
    };
    let messages = batch.iter().zip(places.iter().zip(&nths));
    Ok(messages.map(verdict).collect())
}

/// The logs of a batch in the order of their ids, and for each message the place of its log (from
/// 1) and its number within it. `None` when messages of one log do not agree about its epoch.
fn shares(batch: &[&AppendMessage]) -> Option<(Vec<LogShare>, Vec<i32>, Vec<i32>)> {
    let mut logs: BTreeMap<ConversationId, LogShare> = BTreeMap::new();
    let mut nths = Vec::with_capacity(batch.len());
    for (number, message) in batch.iter().enumerate() {
        let share = logs.entry(message.conversation).or_insert(LogShare {
            place: 0,
            first: number,
            count: 0,
        });
        let first = batch.get(share.first)?;
        if (first.generation, first.epoch) != (message.generation, message.epoch) {
            return None;
        }
        share.count += 1;
        nths.push(share.count);
    }
    for (place, share) in (1..).zip(logs.values_mut()) {
        share.place = place;
    }
    let places = batch.iter().map(|message| {
        let share = logs.get(&message.conversation)?;
        i32::try_from(share.place).ok()
    });
    let places = places.collect::<Option<_>>()?;
    Some((logs.into_values().collect(), places, nths))
}

/// What is the same for both statements.
struct Columns<'a> {
    senders: Vec<&'a [u8]>,
    clients: Vec<&'a [u8]>,
    payloads: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(batch: &[&'a AppendMessage]) -> Self {
        let senders = batch.iter().map(|m| m.sender_device.as_bytes().as_slice());
        let clients = batch.iter().map(|m| m.client_id.as_bytes().as_slice());
        let payloads = batch.iter().map(|m| m.payload.as_ref());
        Self {
            senders: senders.collect(),
            clients: clients.collect(),
            payloads: payloads.collect(),
        }
    }
}

/// Runs a statement that commits by itself; `Ok` only when that is certain.
async fn commit(
    link: &mut Link,
    sql: &'static str,
    params: &[Param<'_>],
) -> Result<Vec<Row>, Failed> {
    let statement = match link.prepare(sql).await {
        Ok(statement) => statement,
        Err(error) => {
            tracing::error!(%error, "append cannot be prepared");
            return Err(Failed::For(AppendError::Unavailable));
        }
    };
    let warnings = link.warnings();
    match link.client().query(&statement, params).await {
        Ok(rows) if link.warnings() == warnings => Ok(rows),
        Ok(_) => Err(Failed::For(AppendError::OutcomeUnknown)),
        Err(error) => Err(failure(&error)),
    }
}

/// Judges each message of a batch and stores those that are new.
async fn judge(link: &mut Link, batch: &[&AppendMessage]) -> Result<Vec<Verdict>, Failed> {
    let logs: Vec<&[u8]> = batch
        .iter()
        .map(|m| m.conversation.as_bytes().as_slice())
        .collect();
    let generations: Vec<i32> = batch
        .iter()
        .map(|m| signed_generation(m.generation))
        .collect();
    let epochs: Vec<i64> = batch.iter().map(|m| signed(m.epoch)).collect();
    let columns = Columns::of(batch);
    let kinds = [EnvelopeKind::Application, EnvelopeKind::Commit].map(|kind| kind as i16);
    let params: [Param<'_>; 8] = [
        &logs,
        &generations,
        &epochs,
        &columns.senders,
        &columns.clients,
        &columns.payloads,
        &kinds[0],
        &kinds[1],
    ];
    let rows = commit(link, APPEND, &params).await?;
    let unknown = Verdict::Refused(AppendError::OutcomeUnknown);
    let mut verdicts = vec![unknown; batch.len()];
    for row in &rows {
        let place = column::<i64>(row, 0).map_err(|error| unreadable(&error))?;
        let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
        if let Some(slot) = verdicts.get_mut(place) {
            *slot = verdict(row).map_err(|error| unreadable(&error))?;
        }
    }
    Ok(verdicts)
}

fn verdict(row: &Row) -> Result<Verdict, StoreError> {
    let appended = || -> Result<Appended, StoreError> {
        Ok(Appended {
            seq: unsigned(row, 2)?,
            epoch: unsigned(row, 3)?,
            stored_at_ms: unsigned(row, 5)?,
        })
    };
    Ok(match column::<i32>(row, 1)? {
        0 => Verdict::Stored(appended()?),
        1 => Verdict::Known(appended()?),
        2 => Verdict::Refused(AppendError::NotMember),
        3 => Verdict::Refused(AppendError::StaleGeneration {
            generation: u32::try_from(column::<i32>(row, 4)?).unwrap_or(u32::MAX),
            epoch: unsigned(row, 3)?,
        }),
        4 => Verdict::Refused(AppendError::StaleEpoch {
            epoch: unsigned(row, 3)?,
        }),
        _ => return Err(StoreError::Corrupt("verdict".into())),
    })
}

/// What an error in answer to the statement says. It may come from the commit too.
fn failure(error: &tokio_postgres::Error) -> Failed {
    match error.as_db_error() {
        Some(db) if was_rolled_back(db) => {
            let lost = [
                &SqlState::UNIQUE_VIOLATION,
                &SqlState::T_R_DEADLOCK_DETECTED,
                &SqlState::T_R_SERIALIZATION_FAILURE,
            ];
            if lost.contains(&db.code()) || db.code().code() == NOT_FRESH {
                return Failed::Lost;
            }
            tracing::error!(code = db.code().code(), "append refused by the database");
            Failed::For(AppendError::Unavailable)
        }
        // It may have been committed when the connection ended.
        _ => Failed::For(AppendError::OutcomeUnknown),
    }
}

/// An answer that cannot be read, though what it answers was committed.
fn unreadable(error: &StoreError) -> Failed {
    tracing::error!(%error, "an append's answer is unreadable");
    Failed::For(AppendError::OutcomeUnknown)
}
