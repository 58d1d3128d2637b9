//! Key packages: enough at the server for people to begin with, renewed in
//! time, and forgotten here when nobody can use them any more.

use sotto_crypto::{KeyPackageUse, Suite, forget_key_package, make_key_package};
use sotto_protocol::wire;
use sotto_protocol::wire::client_frame::Body as Ask;

use super::flight::Purpose;
use super::session::Session;
use super::{Engine, EngineError};
use crate::history::MadeFor;

/// One-time key packages that the server should hold.
const ONE_TIME_WANTED: u32 = 20;
/// And of these at most so many for large groups and rooms.
const CLASSICAL_WANTED: u32 = 5;
/// Below this many, more are made.
const ONE_TIME_MIN: u32 = 15;
/// A last-resort package serves this long, in milliseconds: a day.
const LAST_RESORT_MS: u64 = 24 * 3_600_000;
/// Mailboxes keep welcomes 14 days; keys of a replaced package stay a day longer.
const RETIRED_MS: u64 = 15 * 24 * 3_600_000;

/// How long an invite link is known beyond its end, in milliseconds: as long
/// as the wish of somebody who used it in time may still arrive.
const LINK_KEPT_MS: u64 = 15 * 24 * 3_600_000;

impl Engine {
    pub(super) fn publish_key_packages(
        &mut self,
        answer: &wire::LoggedIn,
    ) -> Result<(), EngineError> {
        let due = self.store().account()?.last_resort_at_ms + LAST_RESORT_MS;
        let stale = !answer.last_resort_present || due <= self.now.unix_ms;
        let count = match answer.key_packages_left {
            left if left < ONE_TIME_MIN => ONE_TIME_WANTED - left,
            _ => 0,
        };
        let last_resort = if stale {
            LastResort::Replace
        } else {
            LastResort::Keep
        };
        self.make_key_packages(Suite::Hybrid, count, last_resort)?;
        self.make_key_packages(Suite::Classical, count.min(CLASSICAL_WANTED), last_resort)
    }

    fn make_key_packages(
        &mut self,
        suite: Suite,
        one_time: u32,
        last_resort: LastResort,
    ) -> Result<(), EngineError> {
        if one_time == 0 && last_resort == LastResort::Keep {
            return Ok(());
        }
        let now_ms = self.now.unix_ms;
        let mut publish = wire::PublishKeyPackages::default();
        let device = self.profile.device();
        let store = self.key_store();
        let make = |purpose| make_key_package(&store, device, suite, purpose, now_ms);
        for _ in 0..one_time {
            let made = make(KeyPackageUse::OneTime)?;
            let forget_at_ms = made.expires_at_ms + RETIRED_MS;
            self.store()
                .insert_key_package(&made.reference, MadeFor::OneTime, forget_at_ms)?;
            publish.one_time.push(made.bytes);
        }
        if last_resort == LastResort::Replace {
            self.store().retire_last_resort(now_ms + RETIRED_MS)?;
            let made = make(KeyPackageUse::LastResort)?;
            let forget_at_ms = made.expires_at_ms + RETIRED_MS;
            self.store()
                .insert_key_package(&made.reference, MadeFor::LastResort, forget_at_ms)?;
            self.store().set_last_resort_at(now_ms)?;
            publish.last_resort = made.bytes;
        }
        self.request(Purpose::Publish, Ask::PublishKeyPackages(publish));
        Ok(())
    }

    /// A welcome used a key package up: another takes its place, and the
    /// last-resort package too, for it may have been the one.
    pub(super) fn replace_key_package(&mut self, suite: Option<Suite>) -> Result<(), EngineError> {
        match (&self.session, suite) {
            (Session::Live | Session::CatchingUp, Some(suite)) => {
                self.make_key_packages(suite, 1, LastResort::Replace)
            }
            _ => Ok(()),
        }
    }

    /// What has no deadline of its own: rotation, forgetting.
    pub(super) fn keep_house(&mut self) -> Result<(), EngineError> {
        let now_ms = self.now.unix_ms;
        for reference in self.store().take_due_key_packages(now_ms)? {
            forget_key_package(&self.key_store(), &reference)?;
        }
        self.store()
            .forget_links(now_ms.saturating_sub(LINK_KEPT_MS))?;
        let due = self.store().account()?.last_resort_at_ms + LAST_RESORT_MS;
        if due <= now_ms && matches!(self.session, Session::Live) {
            self.make_key_packages(Suite::Hybrid, 0, LastResort::Replace)?;
            self.make_key_packages(Suite::Classical, 0, LastResort::Replace)?;
        }
        self.back_up_if_due()?;
        self.tell_profile()
    }
}

/// What becomes of the last-resort package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastResort {
    Keep,
    Replace,
}
