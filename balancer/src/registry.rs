//! Who is relayed where, so that the connections of a backend can be closed at once.
//!
//! A relay is its own small task; this holds the handle that ends it. Closing never waits.

use crate::core::lock;
use crate::pool::Serial;
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::task::AbortHandle;

/// One relayed connection of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RelayId(u64);

#[derive(Debug)]
enum Slot {
    /// Its task is about to start.
    Reserved,
    Running(AbortHandle),
    /// Closed before its task had started.
    Doomed,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    relays: HashMap<Serial, HashMap<RelayId, Slot>>,
}

/// All relayed connections.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<Entries>,
}

impl Registry {
    /// Announces a relay, before its task exists.
    pub(crate) fn reserve(&self, serial: Serial) -> RelayId {
        let mut entries = lock(&self.entries);
        let id = RelayId(entries.next);
        entries.next += 1;
        entries
            .relays
            .entry(serial)
            .or_default()
            .insert(id, Slot::Reserved);
        id
    }

    /// Hands over the means to end it. A task that has ended meanwhile is forgotten already.
    pub(crate) fn attach(&self, serial: Serial, id: RelayId, handle: AbortHandle) {
        let doomed = {
            let mut entries = lock(&self.entries);
            let slot = entries
                .relays
                .get_mut(&serial)
                .and_then(|relays| relays.get_mut(&id));
            match slot {
                Some(slot @ Slot::Reserved) => {
                    *slot = Slot::Running(handle);
                    return;
                }
                Some(Slot::Doomed) => handle,
                Some(Slot::Running(_)) | None => return,
            }
        };
        doomed.abort();
    }

    /// The relay has ended.
    pub(crate) fn remove(&self, serial: Serial, id: RelayId) {
        let mut entries = lock(&self.entries);
        if let Some(relays) = entries.relays.get_mut(&serial) {
            relays.remove(&id);
            if relays.is_empty() {
                entries.relays.remove(&serial);
            } else if relays.capacity() > 1_024 && relays.len() < relays.capacity() / 8 {
                relays.shrink_to_fit();
            }
        }
    }

    /// Closes every connection of one backend; returns how many.
    pub(crate) fn close(&self, serial: Serial) -> usize {
        let mut running = Vec::new();
        let mut closed = 0;
        if let Some(relays) = lock(&self.entries).relays.get_mut(&serial) {
            closed = relays.len();
            for slot in relays.values_mut() {
                if let Slot::Running(handle) = std::mem::replace(slot, Slot::Doomed) {
                    running.push(handle);
                }
            }
        }
        // Outside the lock: an ending task takes it.
        for handle in running {
            handle.abort();
        }
        closed
    }

    /// Closes everything; returns how many.
    pub(crate) fn close_all(&self) -> usize {
        let serials: Vec<Serial> = lock(&self.entries).relays.keys().copied().collect();
        serials.into_iter().map(|serial| self.close(serial)).sum()
    }
}
