//! Receipts to contacts, batched: one for everything that arrived in a moment.
//! Strangers get none: their messages are not opened before there is consent.

use std::collections::BTreeMap;

use sotto_protocol::{ClientMessageId, ConversationId};

use super::session::Session;
use super::{Engine, EngineError};
use crate::history::{ConversationState, OutboxKind, OutboxRow, Relation};

/// How long receipts are gathered, in milliseconds.
const GATHER_MS: u64 = 300;
/// Conversations for which receipts are gathered at a time; others go without.
const CONVERSATIONS_MAX: usize = 1_000;

/// Receipts to be written.
#[derive(Default)]
pub(super) struct Due {
    delivered: BTreeMap<ConversationId, u64>,
    at: Option<u64>,
}

impl Due {
    pub(super) fn note(&mut self, conversation: ConversationId, seq: u64, now_ms: u64) {
        if self.delivered.len() < CONVERSATIONS_MAX {
            let up_to = self.delivered.entry(conversation).or_default();
            *up_to = (*up_to).max(seq);
            self.at.get_or_insert(now_ms + GATHER_MS);
        }
    }

    /// When to write them (monotonic milliseconds).
    pub(super) fn at(&self) -> Option<u64> {
        self.at
    }

    /// What was gathered while catching up can be written now.
    pub(super) fn set_live(&mut self, now_ms: u64) {
        if !self.delivered.is_empty() {
            self.at = Some(now_ms);
        }
    }

    fn take(&mut self, now_ms: u64) -> BTreeMap<ConversationId, u64> {
        if self.at.is_some_and(|at| at <= now_ms) {
            self.at = None;
            std::mem::take(&mut self.delivered)
        } else {
            BTreeMap::new()
        }
    }

    fn wait_for_session(&mut self) {
        self.at = None;
    }
}

impl Engine {
    /// Queues the receipts that are due.
    pub(super) fn send_due_receipts(&mut self) -> Result<(), EngineError> {
        if self.session != Session::Live {
            self.receipts.wait_for_session();
            return Ok(());
        }
        for (conversation, up_to) in self.receipts.take(self.now.monotonic_ms) {
            let Some(row) = self.store().conversation(&conversation)? else {
                continue;
            };
            let relation = self.person(&row.peer)?.relation;
            if relation != Relation::Contact || row.state != ConversationState::Active {
                continue;
            }
            self.store().remove_unsealed_receipts(&row.peer)?;
            let body = [up_to.to_be_bytes(), 0_u64.to_be_bytes()].concat();
            let client_id = ClientMessageId::from_bytes(self.random_id());
            self.store().push_outbox(&OutboxRow {
                client_id,
                peer: row.peer,
                kind: OutboxKind::Receipt,
                body,
                created_at_ms: self.now.unix_ms,
                counter: None,
                sealed: None,
            })?;
        }
        Ok(())
    }
}
