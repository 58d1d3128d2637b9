//! Whether the other side of a connection still lives, and when to leave it:
//! decided from times alone.

/// After this long without a frame the server is asked whether it lives, in milliseconds.
const PING_AFTER_MS: u64 = 15_000;
/// After this long without a frame the connection is given up, in milliseconds.
const SILENT_AFTER_MS: u64 = 40_000;

/// After this long without a frame while something was sent, in milliseconds: a path on which
/// nothing moves is found out sooner by whoever waits for an answer.
const WAITING_PING_AFTER_MS: u64 = 3_000;
/// After this long without one the connection is given up then, in milliseconds.
const WAITING_SILENT_AFTER_MS: u64 = 25_000;

/// What is due on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing yet.
    Nothing,
    /// To ask whether the server lives.
    Ping,
    /// To give the connection up.
    GiveUp,
    /// To go to another server, as this one asked.
    Leave,
}

/// What is known of a connection's life. Times are monotonic milliseconds.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard_ms: u64,
    ping: Ping,
    /// Since when something was sent and nothing heard.
    waits_since_ms: Option<u64>,
    leave_at_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Ping {
    NotSent,
    Sent,
}

impl Liveness {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            heard_ms: now_ms,
            ping: Ping::NotSent,
            waits_since_ms: None,
            leave_at_ms: None,
        }
    }

    /// A frame came.
    pub(crate) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.ping = Ping::NotSent;
        self.waits_since_ms = None;
    }

    /// A frame goes out, to which the server may have something to say.
    pub(crate) fn sent(&mut self, now_ms: u64) {
        self.waits_since_ms.get_or_insert(now_ms);
    }

    /// The server asks to be left at this time; an earlier wish stands.
    pub(crate) fn leave_at(&mut self, at_ms: u64) {
        self.leave_at_ms = Some(self.leave_at_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
    }

    /// When to look again.
    pub(crate) fn deadline_ms(&self) -> u64 {
        let (silence_ms, wait_ms) = match self.ping {
            Ping::NotSent => (PING_AFTER_MS, WAITING_PING_AFTER_MS),
            Ping::Sent => (SILENT_AFTER_MS, WAITING_SILENT_AFTER_MS),
        };
        let wait_ms = self.waits_since_ms.map(|since_ms| since_ms + wait_ms);
        let silence_ms = self.heard_ms + silence_ms;
        let silence_ms = wait_ms.map_or(silence_ms, |wait_ms| wait_ms.min(silence_ms));
        self.leave_at_ms
            .map_or(silence_ms, |at_ms| at_ms.min(silence_ms))
    }

    /// What is due; a ping only once in a silence.
    pub(crate) fn due(&mut self, now_ms: u64) -> Due {
        if self.leave_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            return Due::Leave;
        }
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        let since_ms = self.waits_since_ms;
        let waited_ms = since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        let asked = self.ping == Ping::Sent;
        if silent_ms >= SILENT_AFTER_MS || asked && waited_ms >= WAITING_SILENT_AFTER_MS {
            return Due::GiveUp;
        }
        if !asked && (silent_ms >= PING_AFTER_MS || waited_ms >= WAITING_PING_AFTER_MS) {
            self.ping = Ping::Sent;
            return Due::Ping;
        }
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_once_and_then_ends_the_connection() {
        let mut liveness = Liveness::new(1_000);
        assert_eq!(liveness.deadline_ms(), 16_000);
        assert_eq!(liveness.due(15_999), Due::Nothing);
        assert_eq!(liveness.due(16_000), Due::Ping);
        assert_eq!(liveness.due(16_001), Due::Nothing);
        assert_eq!(liveness.deadline_ms(), 41_000);
        assert_eq!(liveness.due(41_000), Due::GiveUp);
    }

    #[test]
    fn any_frame_starts_the_count_over() {
        let mut liveness = Liveness::new(0);
        assert_eq!(liveness.due(PING_AFTER_MS), Due::Ping);
        liveness.heard(20_000);
        assert_eq!(liveness.due(34_999), Due::Nothing);
        assert_eq!(liveness.due(35_000), Due::Ping);
    }

    #[test]
    fn a_dead_server_is_noticed_within_45_seconds() {
        let mut liveness = Liveness::new(0);
        let mut now_ms = 0;
        while liveness.due(now_ms) != Due::GiveUp {
            now_ms = liveness.deadline_ms();
            assert!(now_ms <= 45_000);
        }
    }

    #[test]
    fn whoever_waits_for_an_answer_asks_sooner_and_gives_up_sooner() {
        let mut liveness = Liveness::new(0);
        liveness.sent(1_000);
        liveness.sent(3_500);
        assert_eq!(liveness.deadline_ms(), 4_000);
        assert_eq!(liveness.due(3_999), Due::Nothing);
        assert_eq!(liveness.due(4_000), Due::Ping);
        assert_eq!(liveness.due(5_000), Due::Nothing, "once in a silence");
        assert_eq!(liveness.deadline_ms(), 26_000);
        assert_eq!(liveness.due(26_000), Due::GiveUp);
        // Any frame shows that somebody is there.
        liveness.heard(6_000);
        assert_eq!(liveness.deadline_ms(), 21_000);
        assert_eq!(liveness.due(20_000), Due::Nothing);
    }

    #[test]
    fn the_earliest_wish_to_leave_counts() {
        let mut liveness = Liveness::new(0);
        liveness.leave_at(900);
        liveness.leave_at(5_000);
        assert_eq!(liveness.deadline_ms(), 900);
        assert_eq!(liveness.due(899), Due::Nothing);
        assert_eq!(liveness.due(900), Due::Leave);
    }
}
