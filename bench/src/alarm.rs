//! A timer that is exact to tens of microseconds. The runtime's own rounds up to whole
//! milliseconds, which would lie in every latency that is counted from the time at which a message
//! was due.
//!
//! One file of the system for each; Linux only, elsewhere the runtime's timer serves.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::clock::now;
use crate::error::BenchError;

/// Further ahead the runtime's timer waits, and the exact one for the rest.
const COARSE: Duration = Duration::from_millis(4);

/// Wakes one task at a time that it names.
pub(crate) struct Alarm {
    /// The system's timer is a file, and is waited for and read as a pipe is.
    #[cfg(target_os = "linux")]
    timer: tokio::net::unix::pipe::Receiver,
}

impl Alarm {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When the system has no more files for us.
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> Result<Self, BenchError> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let failed = BenchError::io("making a timer");
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(std::io::Error::from)
            .and_then(tokio::net::unix::pipe::Receiver::from_owned_fd_unchecked)
            .map_err(failed)?;
        Ok(Self { timer })
    }

    /// A timer that is not set.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> Result<Self, BenchError> {
        Ok(Self {})
    }

    /// Waits until then; at once when that is over. May be dropped and called again.
    pub(crate) async fn until(&mut self, at: Instant) {
        let ahead = at.saturating_duration_since(now());
        if ahead > 2 * COARSE {
            let nearly = at.checked_sub(COARSE).unwrap_or(at);
            sleep_until(nearly.into()).await;
        }
        self.exactly(at).await;
    }

    #[cfg(target_os = "linux")]
    async fn exactly(&mut self, at: Instant) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let ahead = at.saturating_duration_since(now());
        if ahead.is_zero() {
            return;
        }
        let value = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: ahead.subsec_nanos().into(),
            },
        };
        if timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value).is_err() {
            return sleep_until(at.into()).await;
        }
        loop {
            if self.timer.readable().await.is_err() {
                return sleep_until(at.into()).await;
            }
            // What would block was readiness of an earlier setting.
            if self.timer.try_read(&mut [0; 8]).is_ok() {
                return;
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn exactly(&mut self, at: Instant) {
        sleep_until(at.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_never_rings_early_and_may_be_set_again() {
        let mut alarm = Alarm::new().unwrap();
        for micros in [0, 300, 1_500, 12_000] {
            let at = now() + Duration::from_micros(micros);
            alarm.until(at).await;
            assert!(now() >= at, "{micros}");
        }
        // Dropped while it waits, as in a select.
        let far = now() + Duration::from_secs(60);
        let soon = now() + Duration::from_millis(2);
        tokio::select! {
            () = alarm.until(far) => panic!("a minute passed"),
            () = sleep_until(soon.into()) => {}
        }
        let at = now() + Duration::from_micros(500);
        alarm.until(at).await;
        assert!(now() >= at);
    }
}
