//! What the servers themselves count of a message's steps, read from their metrics.

use sotto_stack::deployment::http;

use crate::deployment::{Deployment, Kind};

/// How often a step was taken, and for how long altogether.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    /// Times.
    pub(crate) count: f64,
    /// Seconds of all of them.
    pub(crate) seconds: f64,
}

/// The steps, over all servers.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Steps {
    /// Waiting for the transaction to begin.
    pub(crate) append_wait: Step,
    /// The transaction.
    pub(crate) append_transaction: Step,
    /// Transactions of messages.
    pub(crate) batches: f64,
    /// Reads of logs.
    pub(crate) read: Step,
    /// From a hint to a session until entries are handed to it.
    pub(crate) delivery: Step,
}

impl Step {
    fn of(text: &str, name: &str) -> Self {
        Self {
            count: value(text, &format!("sotto_server_{name}_seconds_count ")),
            seconds: value(text, &format!("sotto_server_{name}_seconds_sum ")),
        }
    }

    fn add(&mut self, other: Self, sign: f64) {
        self.count += sign * other.count;
        self.seconds += sign * other.seconds;
    }

    /// The mean, in microseconds; 0 of none.
    pub(crate) fn mean_us(self) -> f64 {
        if self.count > 0.0 {
            self.seconds * 1e6 / self.count
        } else {
            0.0
        }
    }
}

impl Steps {
    /// As the servers count now.
    pub(crate) fn now(deployment: &Deployment) -> Self {
        let mut sum = Self::default();
        for process in deployment.processes() {
            if process.kind != Kind::Server {
                continue;
            }
            // A server that is only just coming back has counted nothing.
            if let Some(Ok(answer)) = process.admin.map(|admin| http::get(admin, "/metrics")) {
                sum.add(Self::of(&answer.body), 1.0);
            }
        }
        sum
    }

    /// What was counted since `before`.
    pub(crate) fn since(mut self, before: Self) -> Self {
        self.add(before, -1.0);
        self
    }

    fn of(text: &str) -> Self {
        Self {
            append_wait: Step::of(text, "append_wait"),
            append_transaction: Step::of(text, "append_transaction"),
            batches: value(text, "sotto_server_append_batches_total "),
            read: Step::of(text, "read"),
            delivery: Step::of(text, "delivery"),
        }
    }

    fn add(&mut self, other: Self, sign: f64) {
        self.append_wait.add(other.append_wait, sign);
        self.append_transaction.add(other.append_transaction, sign);
        self.batches += sign * other.batches;
        self.read.add(other.read, sign);
        self.delivery.add(other.delivery, sign);
    }
}

/// The value behind a name; 0 where it is not there.
fn value(text: &str, name: &str) -> f64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_subtracted() {
        let text = "# TYPE sotto_server_append_wait_seconds histogram\n\
            sotto_server_append_wait_seconds_sum 0.5\n\
            sotto_server_append_wait_seconds_count 100\n\
            sotto_server_append_wait_seconds_bucket{le=\"1.0\"} 100\n\
            sotto_server_append_batches_total 40\n";
        let steps = Steps::of(text);
        assert!((steps.append_wait.mean_us() - 5_000.0).abs() < 1e-6);
        assert!((steps.batches - 40.0).abs() < 1e-9);
        assert_eq!(steps.since(steps), Steps::default());
        assert!(steps.read.mean_us().abs() < 1e-9);
    }
}
