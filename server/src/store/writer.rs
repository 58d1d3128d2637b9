//! The writers: four tasks with a connection each, that share transactions.
//!
//! A conversation belongs to one writer, whose queue is first in, first out: what a session
//! enqueues in order is appended in order. While a commit runs, more queues up and goes into the
//! next one; there is no timer, so a lone message does not wait. Queues are bounded in number and
//! in bytes; beyond that an append is refused, and while the database is away at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sotto_protocol::ConversationId;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Config;

use super::commit::{self, CommitWork};
use super::connect::{Keeper, Profile, Task, WORK_LIMIT};
use super::error::{AppendError, CommitError};
use super::log;
use super::types::{AppendMessage, Appended};
use crate::bus::Bus;

/// Tasks and connections.
const WRITERS: usize = 4;
/// What may queue for one writer.
const QUEUE_MAX: usize = 16 * 1024;
/// Payload bytes that may queue for all writers.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages of one transaction.
const BATCH_MAX: usize = 512;
/// Payload bytes after which a transaction takes no more messages.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A message on its way, and who waits for it.
pub(super) struct PendingAppend {
    pub(super) message: AppendMessage,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
}

enum Work {
    Append(PendingAppend),
    Commit(
        Box<CommitWork>,
        oneshot::Sender<Result<Appended, CommitError>>,
    ),
}

impl Work {
    fn refuse(self) {
        // Whoever asked may be gone.
        match self {
            Self::Append(append) => drop(append.answer.send(Err(AppendError::Unavailable))),
            Self::Commit(_, answer) => drop(answer.send(Err(AppendError::Unavailable.into()))),
        }
    }
}

/// Work with its share of the bound on queued bytes.
struct Queued {
    work: Work,
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
    queues: Vec<mpsc::Sender<Queued>>,
    total: Arc<AtomicUsize>,
    _tasks: Vec<Task>,
}

impl Writers {
    pub(super) fn start(config: &Arc<Config>, bus: &Bus) -> Self {
        let (queues, tasks) = (0..WRITERS)
            .map(|_| {
                let (sender, jobs) = mpsc::channel(QUEUE_MAX);
                let writer = Writer {
                    jobs,
                    held: None,
                    keeper: Keeper::new(Arc::clone(config), Profile::Log),
                    bus: bus.clone(),
                };
                (sender, Task::spawn(writer.run()))
            })
            .unzip();
        Self {
            queues,
            total: Arc::new(AtomicUsize::new(0)),
            _tasks: tasks,
        }
    }

    pub(super) fn append(
        &self,
        message: AppendMessage,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let (conversation, bytes) = (message.conversation, message.payload.len());
        let work = Work::Append(PendingAppend { message, answer });
        self.enqueue(conversation, bytes, work);
        // A writer that ends in the middle leaves the outcome open.
        async move { answered.await.unwrap_or(Err(AppendError::OutcomeUnknown)) }
    }

    pub(super) fn commit(
        &self,
        work: CommitWork,
    ) -> impl Future<Output = Result<Appended, CommitError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let (conversation, bytes) = (work.conversation(), work.bytes());
        self.enqueue(conversation, bytes, Work::Commit(Box::new(work), answer));
        async move {
            answered
                .await
                .unwrap_or(Err(AppendError::OutcomeUnknown.into()))
        }
    }

    fn enqueue(&self, conversation: ConversationId, bytes: usize, work: Work) {
        let queued = self.total.fetch_add(bytes, Ordering::AcqRel);
        let total = Arc::clone(&self.total);
        let weight = Weight { bytes, total };
        let item = Queued { work, weight };
        // Ids are random; the first bytes spread as well as a hash would.
        let [first, second, ..] = *conversation.as_bytes();
        let number = usize::from(first ^ second) % self.queues.len().max(1);
        match self.queues.get(number) {
            Some(queue) if queued + bytes <= QUEUED_BYTES_MAX => {
                if let Err(error) = queue.try_send(item) {
                    error.into_inner().work.refuse();
                }
            }
            _ => item.work.refuse(),
        }
    }
}

struct Writer {
    jobs: mpsc::Receiver<Queued>,
    /// Taken from the queue, but not fit for the batch at hand.
    held: Option<Queued>,
    keeper: Keeper,
    bus: Bus,
}

impl Writer {
    async fn run(mut self) {
        while let Some(Queued { work, weight }) = self.next().await {
            match work {
                Work::Append(first) => {
                    let (batch, weights) = self.batch(first, weight);
                    self.append(batch).await;
                    drop(weights);
                }
                Work::Commit(commit, answer) => {
                    let outcome = self.commit(&commit).await;
                    let _ = answer.send(outcome);
                    drop(weight);
                }
            }
        }
    }

    async fn next(&mut self) -> Option<Queued> {
        match self.held.take() {
            Some(held) => Some(held),
            None => self.jobs.recv().await,
        }
    }

    /// The messages that queued up to the next commit of a group.
    fn batch(&mut self, first: PendingAppend, weight: Weight) -> (Vec<PendingAppend>, Vec<Weight>) {
        let mut bytes = weight.bytes;
        let mut batch = vec![first];
        let mut weights = vec![weight];
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES {
            match self.jobs.try_recv() {
                Ok(Queued {
                    work: Work::Append(append),
                    weight,
                }) => {
                    bytes += weight.bytes;
                    batch.push(append);
                    weights.push(weight);
                }
                Ok(other) => {
                    self.held = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        (batch, weights)
    }

    async fn append(&mut self, batch: Vec<PendingAppend>) {
        let Some(link) = self.keeper.link().await else {
            for append in batch {
                Work::Append(append).refuse();
            }
            return;
        };
        let work = log::append(link, &batch);
        let outcome = match tokio::time::timeout(WORK_LIMIT, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AppendError::OutcomeUnknown),
        };
        match outcome {
            Ok(judged) => {
                // Answers first, hints second: see `Bus::publish_head`.
                for (append, outcome) in batch.into_iter().zip(judged.outcomes) {
                    let _ = append.answer.send(outcome);
                }
                for (conversation, head) in judged.grown {
                    self.bus.publish_head(conversation, head);
                }
            }
            Err(error) => {
                // What the connection is in the middle of is not known either.
                self.keeper.discard();
                for append in batch {
                    let _ = append.answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn commit(&mut self, work: &CommitWork) -> Result<Appended, CommitError> {
        let Some(link) = self.keeper.link().await else {
            return Err(AppendError::Unavailable.into());
        };
        let outcome = match tokio::time::timeout(WORK_LIMIT, commit::run(link, work)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AppendError::OutcomeUnknown.into()),
        };
        match &outcome {
            Ok(_) => work.logs().for_each(|log| self.bus.publish(log)),
            Err(CommitError::Append(AppendError::OutcomeUnknown | AppendError::Unavailable)) => {
                self.keeper.discard();
            }
            Err(_) => {}
        }
        outcome
    }
}
