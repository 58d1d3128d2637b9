//! What a session has under way: one request, or up to 64 appends, and up to
//! 8 reads of logs. All are polled by the session's own task, in the order in
//! which they were started.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use sotto_protocol::wire::{EnvelopeKind, client_frame::Body as Request};
use sotto_protocol::{ConversationId, DeviceId};

use crate::delivery::{Extent, ReadRequest, Rest};
use crate::refusal::Refusal;
use crate::service::Answer;
use crate::store::{AppendError, Appended, LogRead, Store, StoreError};

/// Appends under way.
const APPENDS_MAX: usize = 64;
/// Reads under way.
const READS_MAX: usize = 8;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whether a request is a login: its refusal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Login,
    Other,
}

/// What a read brought.
pub(super) struct ReadResult {
    pub(super) entries: LogRead,
    /// `None` when the device is not in the log any more.
    pub(super) extent: Option<Extent>,
}

impl ReadResult {
    pub(super) fn rest(&self) -> Rest {
        if self.entries.is_whole() {
            Rest::None
        } else {
            Rest::Possible
        }
    }
}

struct AppendUnderWay {
    request_id: u64,
    conversation: ConversationId,
    answer: Boxed<Result<Appended, AppendError>>,
}

struct ReadUnderWay {
    request: ReadRequest,
    result: Boxed<Result<ReadResult, StoreError>>,
}

struct Current {
    request_id: u64,
    kind: Kind,
    answer: Boxed<Result<Answer, Refusal>>,
}

/// Something that came to its end.
pub(super) enum Finished {
    Request(u64, Kind, Result<Answer, Refusal>),
    Append(u64, ConversationId, Result<Appended, AppendError>),
    Read(ReadRequest, Result<ReadResult, StoreError>),
}

/// What is under way.
#[derive(Default)]
pub(super) struct Work {
    current: Option<Current>,
    /// A request that waits until the appends before it are answered.
    held: Option<Box<(u64, Request)>>,
    appends: Vec<AppendUnderWay>,
    reads: Vec<ReadUnderWay>,
    reads_paused: bool,
}

impl Work {
    /// Whether another request may be taken from the peer.
    pub(super) fn takes_requests(&self) -> bool {
        self.held.is_none() && self.current.is_none() && self.appends.len() < APPENDS_MAX
    }

    /// Whether another read may be started.
    pub(super) fn takes_reads(&self) -> bool {
        !self.reads_paused && self.reads.len() < READS_MAX
    }

    /// Whether nothing is under way that will be answered.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.held.is_none() && self.appends.is_empty()
    }

    /// Whether appends are under way.
    pub(super) fn is_appending(&self) -> bool {
        !self.appends.is_empty()
    }

    /// Whether reads are under way.
    pub(super) fn is_reading(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Keeps a request until the appends before it are answered.
    pub(super) fn hold(&mut self, request_id: u64, request: Request) {
        self.held = Some(Box::new((request_id, request)));
    }

    /// The kept request, if its time has come.
    pub(super) fn take_held(&mut self) -> Option<(u64, Request)> {
        if self.appends.is_empty() && self.current.is_none() {
            self.held.take().map(|held| *held)
        } else {
            None
        }
    }

    pub(super) fn start_request(
        &mut self,
        request_id: u64,
        kind: Kind,
        answer: impl Future<Output = Result<Answer, Refusal>> + Send + 'static,
    ) {
        let answer = Box::pin(answer);
        self.current = Some(Current {
            request_id,
            kind,
            answer,
        });
    }

    pub(super) fn start_append(
        &mut self,
        request_id: u64,
        conversation: ConversationId,
        answer: impl Future<Output = Result<Appended, AppendError>> + Send + 'static,
    ) {
        let answer = Box::pin(answer);
        self.appends.push(AppendUnderWay {
            request_id,
            conversation,
            answer,
        });
    }

    pub(super) fn start_read(&mut self, store: &Store, device: DeviceId, request: ReadRequest) {
        let result = Box::pin(read(store.clone(), device, request));
        self.reads.push(ReadUnderWay { request, result });
    }

    /// No reads until [`Self::resume_reads`].
    pub(super) fn pause_reads(&mut self) {
        self.reads_paused = true;
    }

    pub(super) fn resume_reads(&mut self) {
        self.reads_paused = false;
    }

    /// Polls all; hands over what finished.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Vec<Finished> {
        let mut finished = Vec::new();
        if let Some(current) = &mut self.current
            && let Poll::Ready(answer) = current.answer.as_mut().poll(cx)
        {
            finished.push(Finished::Request(current.request_id, current.kind, answer));
            self.current = None;
        }
        self.appends
            .retain_mut(|append| match append.answer.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(answer) => {
                    finished.push(Finished::Append(
                        append.request_id,
                        append.conversation,
                        answer,
                    ));
                    false
                }
            });
        self.reads
            .retain_mut(|read| match read.result.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(result) => {
                    finished.push(Finished::Read(read.request, result));
                    false
                }
            });
        self.give_back();
        finished
    }

    /// An idle session keeps no memory for what it once had under way.
    fn give_back(&mut self) {
        if self.appends.is_empty() {
            self.appends = Vec::new();
        }
        if self.reads.is_empty() {
            self.reads = Vec::new();
        }
    }
}

/// Reads a log, and asks how far the device may read where that may have
/// changed: after a commit, and for a mailbox that was hinted at in vain.
async fn read(
    store: Store,
    device: DeviceId,
    request: ReadRequest,
) -> Result<ReadResult, StoreError> {
    let entries = store
        .read(request.conversation, request.after, request.limit)
        .await?;
    let is_mailbox = request.conversation == device.mailbox();
    let may_have_changed = if is_mailbox {
        entries.is_empty()
    } else {
        entries.iter().any(|entry| match entry.kind {
            EnvelopeKind::Commit => entry.sender_device != device,
            // Of another device of the account, perhaps.
            EnvelopeKind::Leave => true,
            _ => false,
        })
    };
    if !may_have_changed {
        return Ok(ReadResult {
            entries,
            extent: Some(Extent::Open),
        });
    }
    let state = store.member_state(device, request.conversation).await?;
    let extent = state.map(|state| state.left_at.map_or(Extent::Open, Extent::Until));
    Ok(ReadResult { entries, extent })
}
