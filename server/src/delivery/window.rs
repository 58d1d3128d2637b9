//! How much a session may have delivered without acknowledgement.

/// Envelopes.
const ENVELOPES_MAX: u32 = 1024;
/// Bytes of payload.
const BYTES_MAX: usize = 1024 * 1024;

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

    /// Whether a log that has so much under way may have more: at most half of what there is with
    /// what is left, so that logs which nobody acknowledges never take all of it from the others.
    pub(super) fn allows(&self, envelopes: usize, bytes: usize) -> bool {
        let left = ENVELOPES_MAX.saturating_sub(self.envelopes);
        let left = usize::try_from(left).unwrap_or(0);
        envelopes < left && bytes < BYTES_MAX.saturating_sub(self.bytes)
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
