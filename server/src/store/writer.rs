//! The writers: one task for messages and two for commits, with a connection each.
//!
//! All messages of a server share one queue, first in, first out, and one transaction at a time:
//! what a session enqueues in order is appended in order, and the fewer the transactions, the more
//! messages share each of them. While one commits, more messages queue up and go into the next;
//! there is no timer, so a lone message does not wait. Commits take several trips and have writers
//! of their own, by conversation. Sessions wait for their appends before they hand in a commit, and
//! for it before they append more, so nobody's order depends on one queue for both. Queues are
//! bounded in number and in bytes; beyond that an append is refused, and while the database is away
//! at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::commit::{self, CommitWork};
use super::connect::{Database, Keeper, Profile, Task, WORK_LIMIT};
use super::error::{AppendError, CommitError};
use super::log::{self, Doubt, Verdict};
use super::recent::Recent;
use super::timings::{self, Timings};
use super::types::{AppendMessage, Appended};
use crate::bus::Bus;

/// Tasks and connections for commits.
const COMMITTERS: usize = 2;
/// What may queue for one writer.
const QUEUE_MAX: usize = 16 * 1024;
/// Payload bytes that may queue for all writers.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages of one transaction.
const BATCH_MAX: usize = 512;
/// Payload bytes after which a transaction takes no more messages.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// What queued for so long is not appended: see [`super::sweep`].
const STALE_AFTER: Duration = Duration::from_secs(30);

/// A message on its way, and who waits for it.
pub(super) struct PendingAppend {
    pub(super) message: AppendMessage,
    pub(super) queued_at: Instant,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
}

impl PendingAppend {
    /// Whether its sender has certainly asked another server meanwhile.
    pub(super) fn is_stale(&self) -> bool {
        self.queued_at.elapsed() >= STALE_AFTER
    }
}

/// A commit on its way, and who waits for it.
struct PendingCommit {
    work: Box<CommitWork>,
    answer: oneshot::Sender<Result<Appended, CommitError>>,
}

/// Work with its share of the bound on queued bytes.
struct Queued<W> {
    work: W,
    weight: Weight,
}

struct Weight {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The queues of the writers.
pub(super) struct Writers {
    messages: mpsc::Sender<Queued<PendingAppend>>,
    commits: Vec<mpsc::Sender<Queued<PendingCommit>>>,
    total: Arc<AtomicUsize>,
    _tasks: Vec<Task>,
}

impl Writers {
    pub(super) fn start(
        database: &Arc<Database>,
        bus: &Bus,
        (recent, timings): (&Arc<Recent>, &Timings),
    ) -> Self {
        let keeper = || Keeper::new(Arc::clone(database), Profile::Log);
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let writer = Writer {
            queue,
            keeper: keeper(),
            bus: bus.clone(),
            recent: Arc::clone(recent),
            doubt: Doubt::default(),
            timings: timings.clone(),
        };
        let mut tasks = vec![Task::spawn(writer.run())];
        let mut commits = Vec::with_capacity(COMMITTERS);
        for _ in 0..COMMITTERS {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            commits.push(sender);
            tasks.push(Task::spawn(write_commits(queue, keeper(), bus.clone())));
        }
        Self {
            messages,
            commits,
            total: Arc::new(AtomicUsize::new(0)),
            _tasks: tasks,
        }
    }

    pub(super) fn append(
        &self,
        message: AppendMessage,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let bytes = message.payload.len();
        let append = PendingAppend {
            message,
            queued_at: Instant::now(),
            answer,
        };
        if let Err(refused) = self.enqueue(&self.messages, bytes, append) {
            // Whoever asked may be gone.
            let _ = refused.answer.send(Err(AppendError::Unavailable));
        }
        // A writer that ends in the middle leaves the outcome open.
        async move { answered.await.unwrap_or(Err(AppendError::OutcomeUnknown)) }
    }

    pub(super) fn commit(
        &self,
        work: CommitWork,
    ) -> impl Future<Output = Result<Appended, CommitError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let bytes = work.bytes();
        // Ids are random; the first byte spreads as well as a hash would.
        let [first, ..] = *work.conversation().as_bytes();
        let work = Box::new(work);
        let commit = PendingCommit { work, answer };
        let refused = match self.commits.get(usize::from(first) % COMMITTERS) {
            Some(queue) => self.enqueue(queue, bytes, commit).err(),
            None => Some(commit),
        };
        if let Some(refused) = refused {
            let _ = refused.answer.send(Err(AppendError::Unavailable.into()));
        }
        async move {
            answered
                .await
                .unwrap_or(Err(AppendError::OutcomeUnknown.into()))
        }
    }

    /// Gives the work back when there is no room for it.
    fn enqueue<W>(&self, queue: &mpsc::Sender<Queued<W>>, bytes: usize, work: W) -> Result<(), W> {
        let queued = self.total.fetch_add(bytes, Ordering::AcqRel);
        let total = Arc::clone(&self.total);
        let weight = Weight { bytes, total };
        if queued + bytes > QUEUED_BYTES_MAX {
            return Err(work);
        }
        queue
            .try_send(Queued { work, weight })
            .map_err(|error| error.into_inner().work)
    }
}

/// Writes messages.
struct Writer {
    queue: mpsc::Receiver<Queued<PendingAppend>>,
    keeper: Keeper,
    bus: Bus,
    recent: Arc<Recent>,
    doubt: Doubt,
    timings: Timings,
}

impl Writer {
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            // Sessions that are ready on this thread hand in theirs first.
            tokio::task::yield_now().await;
            let (batch, weights) = self.batch(first);
            self.append(batch).await;
            drop(weights);
        }
    }

    /// The messages that queued up.
    fn batch(&mut self, first: Queued<PendingAppend>) -> (Vec<PendingAppend>, Vec<Weight>) {
        let mut bytes = first.weight.bytes;
        let mut batch = vec![first.work];
        let mut weights = vec![first.weight];
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES {
            let Ok(next) = self.queue.try_recv() else {
                break;
            };
            bytes += next.weight.bytes;
            batch.push(next.work);
            weights.push(next.weight);
        }
        (batch, weights)
    }

    async fn append(&mut self, batch: Vec<PendingAppend>) {
        let batch = refuse_stale(batch);
        if batch.is_empty() {
            return;
        }
        let began = Instant::now();
        let outcome = match self.keeper.link().await {
            None => Err(AppendError::Unavailable),
            Some(link) => {
                let work = log::append(link, &batch, &mut self.doubt);
                let outcome = tokio::time::timeout(WORK_LIMIT, work).await;
                outcome.unwrap_or(Err(AppendError::OutcomeUnknown))
            }
        };
        match outcome {
            Ok(verdicts) => self.tell(batch, &verdicts, (began, began.elapsed())),
            Err(error) => {
                // What the connection is in the middle of is not known either.
                self.keeper.discard();
                for append in batch {
                    let _ = append.answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Answers first, hints second: see `Bus::publish_head`. What a hint leads to is at hand.
    fn tell(
        &self,
        batch: Vec<PendingAppend>,
        verdicts: &[Verdict],
        (began, took): (Instant, Duration),
    ) {
        self.timings.append_batches.inc();
        let mut grown = Vec::with_capacity(batch.len());
        for (append, verdict) in batch.into_iter().zip(verdicts) {
            let PendingAppend {
                message,
                answer,
                queued_at,
            } = append;
            let waited = began.saturating_duration_since(queued_at);
            timings::observe(&self.timings.append_wait, waited);
            timings::observe(&self.timings.append_transaction, took);
            if let Verdict::Stored(appended) = verdict {
                let conversation = message.conversation;
                if self.bus.is_awaited(conversation) {
                    self.recent.put(&message, appended);
                }
                grown.push((conversation, appended.seq));
            }
            let _ = answer.send(verdict.outcome());
        }
        // One hint for each log: its last entry comes last.
        grown.reverse();
        grown.sort_by_key(|(conversation, _)| *conversation);
        grown.dedup_by_key(|(conversation, _)| *conversation);
        for (conversation, head) in grown {
            self.bus.publish_head(conversation, head);
        }
    }
}

/// Refuses what queued for so long that its sender has certainly asked another server: this one
/// was stopped meanwhile.
fn refuse_stale(batch: Vec<PendingAppend>) -> Vec<PendingAppend> {
    let (fresh, stale): (Vec<_>, Vec<_>) = batch.into_iter().partition(|append| !append.is_stale());
    for append in stale {
        let _ = append.answer.send(Err(AppendError::Unavailable));
    }
    fresh
}

/// Writes commits, one transaction each.
async fn write_commits(
    mut queue: mpsc::Receiver<Queued<PendingCommit>>,
    mut keeper: Keeper,
    bus: Bus,
) {
    while let Some(Queued { work, weight }) = queue.recv().await {
        let PendingCommit { work, answer } = work;
        let outcome = match keeper.link().await {
            None => Err(AppendError::Unavailable.into()),
            Some(link) => match tokio::time::timeout(WORK_LIMIT, commit::run(link, &work)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(AppendError::OutcomeUnknown.into()),
            },
        };
        match &outcome {
            Ok(_) => work.logs().for_each(|log| bus.publish(log)),
            Err(CommitError::Append(AppendError::OutcomeUnknown | AppendError::Unavailable)) => {
                keeper.discard();
            }
            Err(_) => {}
        }
        let _ = answer.send(outcome);
        drop(weight);
    }
}
