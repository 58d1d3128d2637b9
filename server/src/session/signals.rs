//! What members say for now only, and the watch over a device that has not
//! resumed. Signals are passed on or forgotten, never stored; who says too many
//! is refused.

use std::sync::Arc;
use std::time::Duration;

use sotto_protocol::limits::SIGNAL_BYTES_MAX;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ConversationId, ErrorCode, wire};
use tokio::time::Instant;

use super::Session;
use super::work::ReadResult;
use crate::bus::Signal;
use crate::delivery::ReadRequest;
use crate::refusal::Refusal;
use crate::store::StoreError;

/// Signals that may come at once.
const BURST: u32 = 20;
/// One more after each of these.
const EACH: Duration = Duration::from_millis(500);

/// How many signals a session may still send.
#[derive(Default)]
pub(super) struct Allowance {
    /// When it is full again.
    full_at: Option<Instant>,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> Result<(), Refusal> {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + EACH;
        let wait = full_at.saturating_duration_since(now + EACH * BURST);
        if wait.is_zero() {
            self.full_at = Some(full_at);
            Ok(())
        } else {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            Err(Refusal::rate_limited(wait_ms.max(1)))
        }
    }
}

impl Session {
    /// Signal: for the members' sessions that read the log now.
    pub(super) fn signal(&mut self, id: u64, request: &wire::Signal) {
        match self.try_signal(request) {
            Ok(signal) => {
                self.server.store.bus().signal(signal);
                self.say(id, Response::Done(wire::Done {}));
            }
            Err(refusal) => self.refuse(id, &refusal),
        }
    }

    fn try_signal(&mut self, request: &wire::Signal) -> Result<Signal, Refusal> {
        let unknown = Refusal::new(ErrorCode::UnknownConversation);
        let conversation = ConversationId::from_slice(&request.conversation_id)
            .map_err(|_| Refusal::malformed("A conversation id has 16 bytes."))?;
        if request.payload.len() > SIGNAL_BYTES_MAX {
            return Err(Refusal::new(ErrorCode::TooLarge));
        }
        if request.payload.is_empty() {
            return Err(Refusal::malformed("A signal cannot be empty."));
        }
        let delivery = self.delivery.as_ref().ok_or(unknown.clone())?;
        let identity = self.machine.identity().ok_or(unknown.clone())?;
        if !delivery.is_in(conversation) {
            return Err(unknown);
        }
        let device = identity.device;
        self.allowance.take(Instant::now())?;
        // A copy: the original is a part of the buffer that it arrived in.
        Ok(Signal {
            conversation,
            device,
            payload: bytes::Bytes::copy_from_slice(&request.payload),
        })
    }

    /// Tells the client what others say, unless it is slow to read.
    pub(super) fn pass_on(&mut self, signals: Vec<Arc<Signal>>) -> bool {
        let mut passed = false;
        for signal in signals {
            let (Some(delivery), Some(identity)) = (&self.delivery, self.machine.identity()) else {
                return passed;
            };
            let own = signal.device == identity.device;
            if own || !delivery.is_in(signal.conversation) || !self.outbox.takes_deliveries() {
                continue;
            }
            passed = true;
            self.say(
                0,
                Response::Signaled(wire::Signaled {
                    conversation_id: signal.conversation.to_vec(),
                    sender_device_id: signal.device.to_vec(),
                    payload: signal.payload.to_vec(),
                }),
            );
        }
        passed
    }

    /// Looks whether the device still exists, when something was said of its mailbox before it
    /// resumed: a session that only transfers files ends with its device, too.
    pub(super) fn poll_check(&mut self) -> bool {
        let Some(identity) = self.machine.identity() else {
            return false;
        };
        if !self.check_due || self.delivery.is_some() || !self.work.takes_reads() {
            return false;
        }
        self.check_due = false;
        // Past every entry: only the place in the log is asked for.
        let request = ReadRequest {
            conversation: identity.device.mailbox(),
            after: u64::MAX,
            limit: 1,
            head: None,
        };
        self.work
            .start_read(&self.server.store, identity.device, request);
        true
    }

    pub(super) fn handle_checked(&mut self, result: &Result<ReadResult, StoreError>) {
        match result {
            Ok(read) if read.extent.is_none() => {
                self.refuse(0, &Refusal::new(ErrorCode::NotLoggedIn));
                self.ending = true;
            }
            Ok(_) => {}
            Err(_) => {
                self.check_due = true;
                self.work.pause_reads();
                self.deadlines.handle_read_failed(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signals_are_limited_and_come_back_with_time() {
        let now = Instant::now();
        let mut allowance = Allowance::default();
        let taken = (0..100).filter(|_| allowance.take(now).is_ok()).count();
        assert_eq!(taken, 20);
        assert!(allowance.take(now + EACH).is_ok());
        assert!(allowance.take(now + EACH).is_err());
        let later = now + EACH * 1_000;
        let taken = (0..100).filter(|_| allowance.take(later).is_ok()).count();
        assert_eq!(taken, 20);
    }
}
