//! How much a session may have delivered without acknowledgement.

/// Envelopes.
const ENVELOPES_MAX: u32 = 512;
/// Bytes of payload.
const BYTES_MAX: usize = 512 * 1024;

/// What was delivered and not acknowledged.
#[derive(Default)]
pub(super) struct Window {
    envelopes: u32,
    bytes: usize,
}

impl Window {
    /// How many envelopes fit; `None` when nothing does.
    pub(super) fn room(&self) -> Option<u32> {
        let room = ENVELOPES_MAX.saturating_sub(self.envelopes);
        (room > 0 && self.bytes < BYTES_MAX).then_some(room)
    }

    /// Counts an envelope in, if it fits. One alone always does, whatever its size.
    pub(super) fn try_add(&mut self, bytes: usize) -> bool {
        let fits = self.envelopes < ENVELOPES_MAX && self.bytes + bytes <= BYTES_MAX;
        if !fits && self.envelopes > 0 {
            return false;
        }
        self.envelopes += 1;
        self.bytes += bytes;
        true
    }

    /// Counts an envelope out.
    pub(super) fn remove(&mut self, bytes: usize) {
        self.envelopes = self.envelopes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
