//! When the screen locks by itself: after so long without a key.
//!
//! Time comes in. It refuses to know the password, or what is on the screen.

/// Since when nothing was pressed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lock {
    idle_ms: Option<u64>,
    touched_ms: u64,
}

impl Lock {
    /// `idle_ms` without a key lock the screen, `None` for never by itself; `now_ms` is
    /// monotonic.
    pub(crate) const fn new(idle_ms: Option<u64>, now_ms: u64) -> Self {
        Self {
            idle_ms,
            touched_ms: now_ms,
        }
    }

    /// A key was pressed, or the mouse was, or the screen was opened again.
    pub(crate) const fn touched(&mut self, now_ms: u64) {
        self.touched_ms = now_ms;
    }

    /// Whether nothing was pressed for so long that the screen is to be locked.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        let idle = now_ms.saturating_sub(self.touched_ms);
        self.idle_ms.is_some_and(|most| idle >= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_locks_after_the_time_and_not_before() {
        let mut lock = Lock::new(Some(1_000), 0);
        assert!(!lock.is_due(999));
        lock.touched(900);
        assert!(!lock.is_due(1_899));
        assert!(lock.is_due(1_900));
        assert!(!Lock::new(None, 0).is_due(u64::MAX));
        // A clock that stands still, or a key of the future, locks nothing.
        lock.touched(5_000);
        assert!(!lock.is_due(4_000));
    }
}
