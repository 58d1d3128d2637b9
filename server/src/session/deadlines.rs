//! When a session must act without being asked: pings, silence, a stuck
//! writer, a login that does not come. One timer, set to the nearest.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// From the end of the handshake to the login.
const LOGIN_TIME: Duration = Duration::from_secs(20);
/// Silence after which the peer is asked whether it lives.
const PING_AFTER: Duration = Duration::from_secs(20);
/// Silence, or a writer that is stuck, after which the session ends.
const DEAD_AFTER: Duration = Duration::from_secs(45);
/// Between a failed read of a log and the next.
const READ_RETRY: Duration = Duration::from_millis(500);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask whether the peer lives.
    Ping,
    /// The peer said nothing for too long.
    Silent,
    /// The peer took nothing for too long.
    Slow,
    /// The peer did not log in.
    LoginOverdue,
    /// Reads that failed may be made again.
    RetryReads,
}

/// What the deadlines depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) logged_in: bool,
    pub(super) writing: bool,
    pub(super) working: bool,
}

/// The times that count, and the timer.
pub(super) struct Deadlines {
    began: Instant,
    last_read: Instant,
    last_written: Instant,
    pinged_at: Option<Instant>,
    retry_at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Deadlines {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            last_read: now,
            last_written: now,
            pinged_at: None,
            retry_at: None,
            timer: Box::pin(tokio::time::sleep_until(now + LOGIN_TIME)),
        }
    }

    /// Bytes came.
    pub(super) fn handle_read(&mut self, now: Instant) {
        self.last_read = now;
        self.pinged_at = None;
    }

    /// The peer took bytes, or nothing was left to take.
    pub(super) fn handle_written(&mut self, now: Instant) {
        self.last_written = now;
    }

    /// A read failed.
    pub(super) fn handle_read_failed(&mut self, now: Instant) {
        self.retry_at.get_or_insert(now + READ_RETRY);
    }

    /// The next thing that is due, once it is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, state: State) -> Poll<Due> {
        let (at, due) = self.next(state);
        // A timer that fires early costs one more look; moving it at each frame would cost more.
        if self.timer.deadline() > at || self.timer.is_elapsed() {
            self.timer.as_mut().reset(at);
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if Instant::now() < at => {
                self.timer.as_mut().reset(at);
                let _ = self.timer.as_mut().poll(cx);
                Poll::Pending
            }
            Poll::Ready(()) => {
                match due {
                    Due::Ping => self.pinged_at = Some(at),
                    Due::RetryReads => self.retry_at = None,
                    Due::Silent | Due::Slow | Due::LoginOverdue => {}
                }
                Poll::Ready(due)
            }
        }
    }

    /// Whether the peer has been silent for too long.
    pub(super) fn is_silent(&self, now: Instant, state: State) -> bool {
        now >= self.silent_at(state)
    }

    fn silent_at(&self, state: State) -> Instant {
        // A peer whose requests are being answered is not expected to say more.
        let patience = if state.working { 2 } else { 1 };
        self.last_read + DEAD_AFTER * patience
    }

    fn next(&self, state: State) -> (Instant, Due) {
        let mut next = (self.silent_at(state), Due::Silent);
        let mut sooner = |at: Instant, due| {
            if at < next.0 {
                next = (at, due);
            }
        };
        if state.writing {
            sooner(self.last_written + DEAD_AFTER, Due::Slow);
        }
        if state.logged_in && self.pinged_at.is_none() {
            sooner(self.last_read + PING_AFTER, Due::Ping);
        }
        if !state.logged_in && !state.working {
            sooner(self.began + LOGIN_TIME, Due::LoginOverdue);
        }
        if let Some(at) = self.retry_at {
            sooner(at, Due::RetryReads);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: State = State {
        logged_in: true,
        writing: false,
        working: false,
    };

    fn after(deadlines: &Deadlines, state: State) -> (u64, Due) {
        let (at, due) = deadlines.next(state);
        ((at - deadlines.began).as_secs(), due)
    }

    #[tokio::test]
    async fn the_nearest_deadline_counts() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::new(began);
        let stranger = State {
            logged_in: false,
            ..IDLE
        };
        assert_eq!(after(&deadlines, stranger), (20, Due::LoginOverdue));
        let slow_login = State {
            working: true,
            ..stranger
        };
        assert_eq!(after(&deadlines, slow_login), (90, Due::Silent));
        deadlines.handle_read(at(5));
        assert_eq!(after(&deadlines, IDLE), (25, Due::Ping));
        deadlines.pinged_at = Some(at(25));
        assert_eq!(after(&deadlines, IDLE), (50, Due::Silent));
        deadlines.handle_written(at(1));
        let stuck = State {
            writing: true,
            ..IDLE
        };
        assert_eq!(after(&deadlines, stuck), (46, Due::Slow));
        deadlines.handle_read(at(30));
        assert_eq!(after(&deadlines, stuck), (46, Due::Slow));
        deadlines.handle_read_failed(at(30));
        assert_eq!(after(&deadlines, IDLE), (30, Due::RetryReads));
    }

    #[tokio::test]
    async fn silence_is_noticed_before_the_timer_is_asked() {
        let began = Instant::now();
        let deadlines = Deadlines::new(began);
        assert!(!deadlines.is_silent(began + Duration::from_secs(44), IDLE));
        assert!(deadlines.is_silent(began + Duration::from_secs(45), IDLE));
        let working = State {
            working: true,
            ..IDLE
        };
        assert!(!deadlines.is_silent(began + Duration::from_secs(89), working));
        assert!(deadlines.is_silent(began + Duration::from_secs(90), working));
    }

    #[tokio::test]
    async fn what_is_due_is_told_once() {
        let mut deadlines = Deadlines::new(Instant::now() - Duration::from_secs(21));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(deadlines.poll(&mut cx, IDLE), Poll::Ready(Due::Ping));
        assert_eq!(deadlines.poll(&mut cx, IDLE), Poll::Pending);
        deadlines.handle_read(Instant::now());
        assert_eq!(deadlines.poll(&mut cx, IDLE), Poll::Pending);
    }
}
