//! How long the steps of a message take in the store. Counted here, shown by the metrics of the
//! process; names nobody and nothing.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// The first bucket, in seconds.
const SHORTEST_S: f64 = 0.000_05;
/// Buckets, each twice the one before: up to 1.6 s.
const BUCKETS: u16 = 16;

/// The steps. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Timings {
    /// From a session's handing in a message until its transaction begins.
    pub(crate) append_wait: Histogram,
    /// The transaction that a message went into, the answer of Postgres included.
    pub(crate) append_transaction: Histogram,
    /// Transactions of messages.
    pub(crate) append_batches: Counter,
    /// From asking for entries of a log until they are there.
    pub(crate) read: Histogram,
}

impl Timings {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self {
            append_wait: seconds(),
            append_transaction: seconds(),
            append_batches: Counter::default(),
            read: seconds(),
        }
    }
}

/// A histogram for steps of a message.
pub(crate) fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(SHORTEST_S, 2.0, BUCKETS))
}

/// Counts one step.
pub(crate) fn observe(histogram: &Histogram, time: Duration) {
    histogram.observe(time.as_secs_f64());
}
