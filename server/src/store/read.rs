//! Reading logs: what many sessions want at one moment becomes one statement.
//!
//! Members of one conversation who woke together share one read. Two tasks with a connection each;
//! the second works only while more than one statement's worth waits for the first, as the fewer
//! the statements, the more reads share each of them. Refuses to judge who may read: sessions ask for the logs of
//! their device only.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::connect::{Database, Keeper, Link, Profile, Task, WORK_LIMIT};
use super::error::StoreError;
use super::timings;
use super::types::StoredEnvelope;
use super::{Store, column, fixed, signed, unsigned};

/// Tasks and connections.
const READERS: usize = 2;
/// What may queue for one reader; more wait in their sessions.
const QUEUE_MAX: usize = 4096;
/// Reads of one statement.
const BATCH_MAX: usize = 256;
/// Entries of one read.
const ENTRIES_MAX: u32 = 64;
/// Payload bytes of one read, beyond its first entry.
const READ_BYTES: usize = 256 * 1024;
/// Payload bytes of one statement, beyond the first entries.
const STATEMENT_BYTES: usize = 8 * 1024 * 1024;

/// Lengths are summed before payloads are fetched: a length does not fetch one.
const READ: &str = "\
    SELECT i.place, e.seq, e.generation, e.epoch, e.kind, e.sender_device, e.client_id,
           (extract(epoch FROM e.stored_at) * 1000)::bigint, e.payload
    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[])
         WITH ORDINALITY AS i (conversation_id, after, most, place)
    CROSS JOIN LATERAL (
        SELECT l.*, sum(octet_length(l.payload)) OVER (ORDER BY l.seq)
                    - octet_length(l.payload) AS bytes_before
        FROM (SELECT * FROM envelope v
              WHERE v.conversation_id = i.conversation_id AND v.seq > i.after
              ORDER BY v.seq LIMIT i.most) l
    ) e
    WHERE e.bytes_before < $4::bigint
    ORDER BY i.place, e.seq";

/// What a read brought. Cheap to clone.
#[derive(Clone)]
pub struct LogRead {
    entries: Arc<[StoredEnvelope]>,
    whole: Whole,
}

/// Whether entries were there that a read left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    Perhaps,
}

impl LogRead {
    /// Whether it certainly brought all that was there when it was made.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole == Whole::Yes
    }
}

impl std::ops::Deref for LogRead {
    type Target = [StoredEnvelope];

    fn deref(&self) -> &[StoredEnvelope] {
        &self.entries
    }
}

type Answer = Result<LogRead, StoreError>;

/// One read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Question {
    conversation: ConversationId,
    after: i64,
    most: i64,
}

struct Asked {
    question: Question,
    answer: oneshot::Sender<Answer>,
}

impl Store {
    /// Entries after `after_seq`, in order: at most `limit` (64 at most) and about 256 KiB, though
    /// always one if there is one. Whether there are more, [`LogRead::is_whole`] says.
    /// Numbers can be missing where entries were deleted.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn read(
        &self,
        conversation: ConversationId,
        after_seq: u64,
        limit: u32,
    ) -> Result<LogRead, StoreError> {
        let question = Question {
            conversation,
            // A seq that does not fit is past the end of every log.
            after: i64::try_from(after_seq).unwrap_or(i64::MAX),
            most: i64::from(limit.clamp(1, ENTRIES_MAX)),
        };
        let asked_at = Instant::now();
        let read = self.inner.readers.ask(question).await;
        timings::observe(&self.inner.timings.read, asked_at.elapsed());
        read
    }
}

/// The queues of the readers.
pub(super) struct Readers {
    queues: Vec<mpsc::Sender<Asked>>,
    _tasks: Vec<Task>,
}

impl Readers {
    pub(super) fn start(database: &Arc<Database>) -> Self {
        let (queues, tasks) = (0..READERS)
            .map(|_| {
                let (sender, questions) = mpsc::channel(QUEUE_MAX);
                let keeper = Keeper::new(Arc::clone(database), Profile::Log);
                (sender, Task::spawn(run(questions, keeper)))
            })
            .unzip();
        Self {
            queues,
            _tasks: tasks,
        }
    }

    async fn ask(&self, question: Question) -> Answer {
        let gone = || StoreError::Unavailable("reader ended".into());
        let has_room = |queue: &&mpsc::Sender<Asked>| QUEUE_MAX - queue.capacity() < BATCH_MAX;
        let queue = self.queues.iter().find(has_room);
        let queue = queue.or(self.queues.last()).ok_or_else(gone)?;
        let (answer, answered) = oneshot::channel();
        queue
            .send(Asked { question, answer })
            .await
            .map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn run(mut questions: mpsc::Receiver<Asked>, mut keeper: Keeper) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    while questions.recv_many(&mut taken, BATCH_MAX).await > 0 {
        // Sessions that are ready on this thread ask first.
        tokio::task::yield_now().await;
        while taken.len() < BATCH_MAX
            && let Ok(asked) = questions.try_recv()
        {
            taken.push(asked);
        }
        let mut waiting: HashMap<Question, Vec<oneshot::Sender<Answer>>> = HashMap::new();
        for asked in taken.drain(..) {
            // Who stopped waiting needs no answer.
            if !asked.answer.is_closed() {
                waiting
                    .entry(asked.question)
                    .or_default()
                    .push(asked.answer);
            }
        }
        let (batch, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        if batch.is_empty() {
            continue;
        }
        let answers = match keeper.link().await {
            None => Err(StoreError::Unavailable("no connection".into())),
            Some(link) => match tokio::time::timeout(WORK_LIMIT, read(link, &batch)).await {
                Ok(answers) => answers,
                Err(_) => Err(StoreError::Unavailable("read timed out".into())),
            },
        };
        if answers.is_err() {
            keeper.discard();
        }
        let mut answers = answers.map(Vec::into_iter);
        for waiters in waiting {
            let answer: Answer = match &mut answers {
                Ok(answers) => answers
                    .next()
                    .ok_or_else(|| StoreError::Corrupt("fewer answers than questions".into())),
                Err(error) => Err(error.clone()),
            };
            for waiter in waiters {
                let _ = waiter.send(answer.clone());
            }
        }
    }
}

async fn read(link: &mut Link, batch: &[Question]) -> Result<Vec<LogRead>, StoreError> {
    let statement = link.prepare(READ).await?;
    let ids: Vec<&[u8]> = batch
        .iter()
        .map(|q| q.conversation.as_bytes().as_slice())
        .collect();
    let afters: Vec<i64> = batch.iter().map(|q| q.after).collect();
    let mosts: Vec<i64> = batch.iter().map(|q| q.most).collect();
    let bytes_max = (STATEMENT_BYTES / batch.len().max(1)).min(READ_BYTES);
    let bytes = signed(bytes_max as u64);
    let rows = link
        .client()
        .query(&statement, &[&ids, &afters, &mosts, &bytes])
        .await
        .map_err(StoreError::from_db)?;
    let mut answers = vec![Vec::new(); batch.len()];
    for row in &rows {
        let place = usize::try_from(column::<i64>(row, 0)? - 1).unwrap_or(usize::MAX);
        if let Some(entries) = answers.get_mut(place) {
            entries.push(envelope(row)?);
        }
    }
    let judged = answers.into_iter().zip(batch).map(|(entries, question)| {
        let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        // The next entry would have come if there were one.
        let whole = if count < question.most && bytes < bytes_max {
            Whole::Yes
        } else {
            Whole::Perhaps
        };
        let entries = entries.into();
        LogRead { entries, whole }
    });
    Ok(judged.collect())
}

fn envelope(row: &Row) -> Result<StoredEnvelope, StoreError> {
    let generation: i32 = column(row, 2)?;
    let kind: i16 = column(row, 4)?;
    Ok(StoredEnvelope {
        seq: unsigned(row, 1)?,
        generation: u32::try_from(generation).unwrap_or(0),
        epoch: unsigned(row, 3)?,
        kind: EnvelopeKind::try_from(i32::from(kind))
            .map_err(|_| StoreError::Corrupt("envelope kind".into()))?,
        sender_device: DeviceId::from_bytes(fixed(column(row, 5)?)?),
        client_id: ClientMessageId::from_bytes(fixed(column(row, 6)?)?),
        stored_at_ms: unsigned(row, 7)?,
        payload: Bytes::copy_from_slice(column(row, 8)?),
    })
}
