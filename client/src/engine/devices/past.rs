//! The latest messages for a new device: beside the answer where they are few,
//! else in a sealed file that the shell uploads and the new device fetches.
//!
//! It moves no bytes itself. Bounded to the last 1,000 messages and 8 MiB; what
//! disappears or is not saved stays behind.

use prost::Message as _;
use sotto_protocol::wire;
use zeroize::Zeroizing;

use super::super::api::{Failure, Now};
use super::super::{Engine, EngineError};
use super::broken_store;

/// Recent messages in an answer, in bytes.
const BESIDE_BYTES_MAX: usize = 48 * 1024;
/// Up to so many bytes they go into the answer, whatever else is in there.
const FEW_BYTES: usize = 8 * 1024;
/// Recent messages in a file.
const MESSAGES_MAX: usize = 1_000;
/// The most bytes of that file.
pub(crate) const ARCHIVE_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Engine {
    /// What fits beside a snapshot where so many bytes are left.
    pub(super) fn past_beside(
        &self,
        account: &wire::AccountSnapshot,
        left: usize,
    ) -> Result<Vec<wire::PastMessage>, Failure> {
        let bounds = (MESSAGES_MAX, left.min(BESIDE_BYTES_MAX));
        let past = self.store().past_messages(account, bounds);
        past.map_err(|_| broken_store())
    }

    /// The latest messages as a file for a new device; `None` where they are so
    /// few that they go along with the answer.
    pub(crate) fn past(&self) -> Result<Option<Zeroizing<Vec<u8>>>, EngineError> {
        let account = self.store().snapshot()?;
        let ids = account.conversations.iter();
        let mut past = wire::PastMessages {
            conversation_ids: ids.map(|taken| taken.conversation_id.clone()).collect(),
            messages: Vec::new(),
        };
        // The ids are few beside what is left of the bound.
        let left = ARCHIVE_BYTES_MAX.saturating_sub(past.encoded_len());
        past.messages = self.store().past_messages(&account, (MESSAGES_MAX, left))?;
        let messages = past.messages.iter().map(prost::Message::encoded_len);
        if messages.sum::<usize>() <= FEW_BYTES {
            return Ok(None);
        }
        Ok(Some(Zeroizing::new(past.encode_to_vec())))
    }

    /// Takes what another device of the account put into its file (an encoded
    /// `PastMessages`); gives how many messages there were. What makes no sense
    /// is left out.
    ///
    /// # Errors
    /// When the local store fails.
    pub fn keep_past(&mut self, file: &[u8], now: Now) -> Result<usize, EngineError> {
        let Ok(past) = wire::PastMessages::decode(file) else {
            return Ok(0);
        };
        let ids = past.conversation_ids.iter();
        let places: Vec<&[u8]> = ids.map(Vec::as_slice).collect();
        let latest = past.messages.len().min(MESSAGES_MAX);
        let mut kept = 0;
        self.transact(now, |engine| {
            let messages = past.messages.get(..latest).unwrap_or_default();
            kept = engine
                .store()
                .restore_messages(&places, messages, now.unix_ms)?;
            Ok(())
        })?;
        Ok(kept)
    }
}
