//! What others tell a session: logs that may have grown, and what the server
//! wants of it. Others only ring; the session looks when its task is polled.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use sotto_protocol::{ConversationId, DeviceId};
use tokio::time::Instant;

use crate::bus::{Signal, Wake};

/// Hints kept apart; with more, every log counts as hinted.
const HINTS_MAX: usize = 256;

/// Signals kept; more are forgotten.
const SIGNALS_MAX: usize = 64;

/// What the server wants of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Wish {
    /// Go on.
    #[default]
    Stay,
    /// Ask the client to reconnect elsewhere within this many milliseconds.
    Move {
        /// The time to spread over.
        within_ms: u32,
    },
    /// End now.
    Close,
}

/// The hints since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    /// Logs, with their head where it is known.
    pub(crate) logs: Vec<(ConversationId, Option<u64>)>,
    /// Whether every log counts as hinted.
    pub(crate) all: bool,
    /// What members say for now only.
    pub(crate) signals: Vec<Arc<Signal>>,
    /// When the first of the logs was hinted at.
    pub(crate) since: Option<Instant>,
}

impl Hints {
    fn add(&mut self, conversation: ConversationId, head: Option<u64>) {
        if let Some((_, known)) = self
            .logs
            .iter_mut()
            .find(|(known, _)| *known == conversation)
        {
            *known = known.zip(head).map(|(known, head)| known.max(head));
        } else if self.logs.len() < HINTS_MAX {
            self.logs.push((conversation, head));
        } else {
            self.logs = Vec::new();
            self.all = true;
        }
    }
}

#[derive(Default)]
struct Inner {
    hints: Hints,
    wish: Wish,
    waker: Option<Waker>,
}

/// One session's bell.
#[derive(Default)]
pub(crate) struct Bell {
    inner: Mutex<Inner>,
    device: OnceLock<DeviceId>,
}

impl Bell {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's device, once it is logged in.
    pub(crate) fn device(&self) -> Option<&DeviceId> {
        self.device.get()
    }

    /// The session is this device's, for good.
    pub(crate) fn belong_to(&self, device: DeviceId) {
        // A session logs in once.
        let _ = self.device.set(device);
    }

    /// Tells the session what the server wants. A later wish never softens an earlier one.
    pub(crate) fn wish(&self, wish: Wish) {
        let waker = {
            let mut inner = self.inner();
            inner.wish = inner.wish.max(wish);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what came since the last look, and keeps whom to wake next.
    pub(crate) fn look(&self, waker: &Waker) -> (Hints, Wish) {
        let mut inner = self.inner();
        match &mut inner.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        (std::mem::take(&mut inner.hints), inner.wish)
    }
}

impl Wake for Bell {
    fn wake(&self, conversation: ConversationId, head: Option<u64>) {
        let waker = {
            let mut inner = self.inner();
            if !inner.hints.all {
                inner.hints.add(conversation, head);
            }
            inner.hints.since.get_or_insert_with(Instant::now);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn signal(&self, signal: &Arc<Signal>) {
        let waker = {
            let mut inner = self.inner();
            if inner.hints.signals.len() < SIGNALS_MAX {
                inner.hints.signals.push(Arc::clone(signal));
            }
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> ConversationId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        ConversationId::from_bytes(bytes)
    }

    #[test]
    fn hints_are_kept_once_each_and_never_without_bound() {
        let bell = Bell::default();
        for _ in 0..3 {
            bell.wake(id(1), None);
            bell.wake(id(2), None);
        }
        let (hints, wish) = bell.look(Waker::noop());
        assert_eq!(hints.logs, [(id(1), None), (id(2), None)]);
        assert_eq!(wish, Wish::Stay);
        for number in 0..2_000 {
            bell.wake(id(number), None);
        }
        let (hints, _) = bell.look(Waker::noop());
        assert!(hints.all && hints.logs.is_empty());
        assert_eq!(bell.look(Waker::noop()).0, Hints::default());
    }

    #[test]
    fn heads_are_kept_only_while_all_are_known() {
        let mut hints = Hints::default();
        hints.add(id(1), Some(3));
        hints.add(id(1), Some(2));
        assert_eq!(hints.logs, [(id(1), Some(3))]);
        hints.add(id(1), None);
        hints.add(id(1), Some(9));
        assert_eq!(hints.logs, [(id(1), None)]);
    }

    #[test]
    fn a_wish_to_close_is_not_softened() {
        let bell = Bell::default();
        bell.wish(Wish::Close);
        bell.wish(Wish::Move { within_ms: 5 });
        assert_eq!(bell.look(Waker::noop()).1, Wish::Close);
    }
}
