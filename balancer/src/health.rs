//! Whether a backend may be given clients: a state machine fed by probes and by attempts.
//!
//! Two sources speak. *Probes* ask the application and decide over the long run. *Attempts*
//! (real clients' connections) find out between two probes that a backend refuses, closes or
//! stays silent; it is then ejected for a while that doubles, and returns by a single trial.
//!
//! | probes say | attempts say | availability |
//! |---|---|---|
//! | checking | – | closed: nothing is known yet |
//! | up | closed circuit | open |
//! | up | ejected, time not over | closed |
//! | up | ejected, time over | trial: one client at a time |
//! | not ready | – | closed, connections stay: it is draining or waiting for its database |
//! | down | – | closed, connections are cut: nobody answers behind them |
//!
//! Time is a parameter: the span since any fixed moment. No sockets, no clock.

use std::time::Duration;

/// What one probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeOutcome {
    /// The application says that it takes clients.
    Ready,
    /// The application answers, but does not want clients.
    NotReady,
    /// No answer in time, or none that makes sense.
    Failed,
}

/// What changed for clients because of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    CameUp,
    StoppedTaking,
    /// Its connections are to be closed, so that clients reconnect at once.
    WentDown,
}

/// Whether the pool can spare one more backend: no more than half may be out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EjectionRoom {
    Available,
    Exhausted,
}

/// May a new client be sent there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    Open,
    Trial,
    Closed,
}

/// The state as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Checking,
    Up,
    NotReady,
    Down,
    Ejected,
    HalfOpen,
    /// Removed from the configuration; only finishes what it has.
    Draining,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Up => "up",
            Self::NotReady => "not_ready",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::HalfOpen => "half_open",
            Self::Draining => "draining",
        }
    }
}

/// How many outcomes in a row change a state, and how long ejections last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HealthSettings {
    /// Failing probes in a row until a backend is taken out.
    pub(crate) fall: u32,
    /// Good probes in a row until it is back (the very first one suffices at start).
    pub(crate) rise: u32,
    /// Failed attempts in a row until it is ejected.
    pub(crate) eject_after: u32,
    /// The first ejection; each further one lasts twice as long.
    pub(crate) eject_base: Duration,
    /// The longest ejection.
    pub(crate) eject_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probed {
    Checking,
    Up,
    NotReady,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed { failures: u32 },
    Ejected { until: Duration },
    Trial,
}

/// The health of one backend.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    probed: Probed,
    /// Probes in a row that speak against `probed`.
    streak: u32,
    circuit: Circuit,
    /// How often it was ejected lately: the exponent of the next ejection.
    ejections: u32,
    /// When the last ejection ended or will end.
    last_until: Duration,
}

impl Health {
    /// A backend with a health address: closed until its first probe has answered.
    pub(crate) fn checked() -> Self {
        Self::new(Probed::Checking)
    }

    /// A backend without one: only attempts speak about it.
    pub(crate) fn assumed() -> Self {
        Self::new(Probed::Up)
    }

    fn new(probed: Probed) -> Self {
        let circuit = Circuit::Closed { failures: 0 };
        Self {
            probed,
            streak: 0,
            circuit,
            ejections: 0,
            last_until: Duration::ZERO,
        }
    }

    pub(crate) fn availability(&self, now: Duration) -> Availability {
        match (self.probed, self.circuit) {
            (Probed::Up, Circuit::Closed { .. }) => Availability::Open,
            (Probed::Up, Circuit::Ejected { until }) if until <= now => Availability::Trial,
            _ => Availability::Closed,
        }
    }

    pub(crate) fn state(&self, now: Duration) -> State {
        match (self.probed, self.circuit) {
            (Probed::Checking, _) => State::Checking,
            (Probed::NotReady, _) => State::NotReady,
            (Probed::Down, _) => State::Down,
            (Probed::Up, Circuit::Closed { .. }) => State::Up,
            (Probed::Up, Circuit::Ejected { until }) if until > now => State::Ejected,
            (Probed::Up, Circuit::Ejected { .. } | Circuit::Trial) => State::HalfOpen,
        }
    }

    /// Takes in what a probe found.
    pub(crate) fn handle_probe(
        &mut self,
        outcome: ProbeOutcome,
        settings: &HealthSettings,
    ) -> Option<Transition> {
        let (agrees, needed) = match (self.probed, outcome) {
            (Probed::Up, ProbeOutcome::Ready)
            | (Probed::NotReady, ProbeOutcome::NotReady)
            | (Probed::Down, ProbeOutcome::Failed | ProbeOutcome::NotReady) => (true, 0),
            (Probed::Checking, ProbeOutcome::Ready) => (false, 1),
            (Probed::NotReady | Probed::Down, ProbeOutcome::Ready) => (false, settings.rise),
            (_, ProbeOutcome::NotReady | ProbeOutcome::Failed) => (false, settings.fall),
        };
        if agrees {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        if self.streak < needed {
            None
        } else {
            Some(self.turn(outcome))
        }
    }

    fn turn(&mut self, outcome: ProbeOutcome) -> Transition {
        self.streak = 0;
        match outcome {
            ProbeOutcome::Ready => {
                self.probed = Probed::Up;
                self.circuit = Circuit::Closed { failures: 0 };
                Transition::CameUp
            }
            ProbeOutcome::NotReady => {
                self.probed = Probed::NotReady;
                Transition::StoppedTaking
            }
            ProbeOutcome::Failed => {
                self.probed = Probed::Down;
                Transition::WentDown
            }
        }
    }

    /// A client is being sent as the trial.
    pub(crate) fn begin_trial(&mut self) {
        self.circuit = Circuit::Trial;
    }

    /// A client's attempt got its first byte.
    pub(crate) fn handle_answered(&mut self) {
        match self.circuit {
            Circuit::Closed { .. } | Circuit::Trial => {
                self.circuit = Circuit::Closed { failures: 0 };
            }
            // An older attempt; the trial will tell.
            Circuit::Ejected { .. } => {}
        }
    }

    /// A client's attempt was refused, closed or met silence. Returns for how long the
    /// backend is now ejected, if it is.
    pub(crate) fn handle_attempt_failed(
        &mut self,
        now: Duration,
        room: EjectionRoom,
        settings: &HealthSettings,
    ) -> Option<Duration> {
        let failures = match self.circuit {
            Circuit::Closed { failures } => failures.saturating_add(1),
            Circuit::Trial => return Some(self.eject(now, settings)),
            Circuit::Ejected { .. } => return None,
        };
        if failures >= settings.eject_after && room == EjectionRoom::Available {
            return Some(self.eject(now, settings));
        }
        self.circuit = Circuit::Closed { failures };
        None
    }

    /// The trial ended without an answer to the question; the next client is the trial.
    pub(crate) fn handle_abandoned(&mut self, now: Duration) {
        if self.circuit == Circuit::Trial {
            self.circuit = Circuit::Ejected { until: now };
        }
    }

    fn eject(&mut self, now: Duration, settings: &HealthSettings) -> Duration {
        if now.saturating_sub(self.last_until) > settings.eject_max {
            self.ejections = 0;
        }
        let factor = 1_u32 << self.ejections.min(20);
        let span = settings
            .eject_base
            .saturating_mul(factor)
            .min(settings.eject_max);
        self.ejections = self.ejections.saturating_add(1);
        self.last_until = now.saturating_add(span);
        self.circuit = Circuit::Ejected {
            until: self.last_until,
        };
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: HealthSettings = HealthSettings {
        fall: 2,
        rise: 2,
        eject_after: 3,
        eject_base: Duration::from_secs(1),
        eject_max: Duration::from_secs(30),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(health: &mut Health, now: Duration) -> Option<Duration> {
        health.handle_attempt_failed(now, EjectionRoom::Available, &SETTINGS)
    }

    #[test]
    fn falls_and_rises_by_streaks() {
        let mut health = Health::checked();
        assert_eq!(health.availability(at(0)), Availability::Closed);
        let probe = |health: &mut Health, outcome| health.handle_probe(outcome, &SETTINGS);
        assert_eq!(
            probe(&mut health, ProbeOutcome::Ready),
            Some(Transition::CameUp)
        );
        assert_eq!(probe(&mut health, ProbeOutcome::Failed), None);
        assert_eq!(probe(&mut health, ProbeOutcome::Ready), None);
        assert_eq!(probe(&mut health, ProbeOutcome::Failed), None);
        assert_eq!(
            probe(&mut health, ProbeOutcome::Failed),
            Some(Transition::WentDown)
        );
        assert_eq!(health.state(at(0)), State::Down);
        assert_eq!(probe(&mut health, ProbeOutcome::Ready), None);
        assert_eq!(
            probe(&mut health, ProbeOutcome::Ready),
            Some(Transition::CameUp)
        );
    }

    #[test]
    fn a_draining_server_is_not_a_dead_one() {
        let mut health = Health::assumed();
        let probe = |health: &mut Health, outcome| health.handle_probe(outcome, &SETTINGS);
        assert_eq!(probe(&mut health, ProbeOutcome::NotReady), None);
        assert_eq!(
            probe(&mut health, ProbeOutcome::NotReady),
            Some(Transition::StoppedTaking)
        );
        assert_eq!(health.availability(at(0)), Availability::Closed);
        assert_eq!(probe(&mut health, ProbeOutcome::Failed), None);
        assert_eq!(
            probe(&mut health, ProbeOutcome::Failed),
            Some(Transition::WentDown)
        );
        assert_eq!(probe(&mut health, ProbeOutcome::NotReady), None);
        assert_eq!(health.state(at(0)), State::Down);
    }

    #[test]
    fn ejections_double_and_return_by_one_trial() {
        let mut health = Health::assumed();
        assert_eq!(fail(&mut health, at(10)), None);
        assert_eq!(fail(&mut health, at(10)), None);
        assert_eq!(fail(&mut health, at(10)), Some(at(1)));
        assert_eq!(health.state(at(10)), State::Ejected);
        assert_eq!(health.availability(at(11)), Availability::Trial);
        health.begin_trial();
        assert_eq!(health.availability(at(11)), Availability::Closed);
        assert_eq!(fail(&mut health, at(12)), Some(at(2)));
        health.begin_trial();
        health.handle_abandoned(at(15));
        assert_eq!(health.availability(at(15)), Availability::Trial);
        health.begin_trial();
        health.handle_answered();
        assert_eq!(health.availability(at(15)), Availability::Open);
        // Long good behaviour forgets the doublings.
        for _ in 0..2 {
            assert_eq!(fail(&mut health, at(500)), None);
        }
        assert_eq!(fail(&mut health, at(500)), Some(at(1)));
    }

    #[test]
    fn success_breaks_a_streak_and_no_room_means_no_ejection() {
        let mut health = Health::assumed();
        for _ in 0..50 {
            let ejected = health.handle_attempt_failed(at(1), EjectionRoom::Exhausted, &SETTINGS);
            assert_eq!(ejected, None);
        }
        health.handle_answered();
        assert_eq!(fail(&mut health, at(1)), None);
    }

    proptest! {
        #[test]
        fn an_ejection_never_exceeds_its_bounds(steps in prop::collection::vec((0_u64..100, 0_u8..4), 1..200)) {
            let mut health = Health::assumed();
            let mut now = Duration::ZERO;
            for (wait, action) in steps {
                now += at(wait);
                if health.availability(now) == Availability::Trial {
                    health.begin_trial();
                }
                match action {
                    0 => health.handle_answered(),
                    1 => health.handle_abandoned(now),
                    _ => {
                        if let Some(span) = fail(&mut health, now) {
                            prop_assert!(span >= SETTINGS.eject_base && span <= SETTINGS.eject_max);
                            prop_assert_ne!(health.availability(now), Availability::Open);
                        }
                    }
                }
                // Whatever happened, waiting long enough always brings it back.
                let later = now + SETTINGS.eject_max;
                prop_assert!(health.circuit == Circuit::Trial
                    || health.availability(later) != Availability::Closed);
            }
        }
    }
}
