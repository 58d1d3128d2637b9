//! Ratchet trees apart from welcomes: kept for as long as somebody may still come by one.

use bytes::Bytes;
use sotto_protocol::{ConversationId, DeviceId};

use super::error::StoreError;
use super::{Store, column, signed, signed_generation};

/// Keeps a tree; of one conversation the last 64.
pub(super) const KEEP: &str = "\
    WITH old AS (
        DELETE FROM group_tree t WHERE t.conversation_id = $1 AND (t.generation, t.epoch) IN (
            SELECT generation, epoch FROM group_tree WHERE conversation_id = $1
            ORDER BY generation DESC, epoch DESC OFFSET 63)
    )
    INSERT INTO group_tree (conversation_id, generation, epoch, tree) VALUES ($1, $2, $3, $4)
    ON CONFLICT (conversation_id, generation, epoch) DO UPDATE SET tree = excluded.tree";

const GET: &str = "\
    SELECT t.tree FROM group_tree t
    WHERE t.conversation_id = $1 AND t.generation = $2 AND t.epoch = $3 AND EXISTS (
        SELECT FROM member m WHERE m.conversation_id = $1 AND m.device_id = $4
          AND m.left_at_seq IS NULL AND NOT m.gone)";

impl Store {
    /// The tree that a welcome of a member device leads to; `None` when it is not kept, or the
    /// device is not in.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn tree(
        &self,
        conversation: ConversationId,
        (generation, epoch): (u32, u64),
        device: DeviceId,
    ) -> Result<Option<Bytes>, StoreError> {
        let id = conversation.as_bytes().as_slice();
        let (generation, epoch) = (signed_generation(generation), signed(epoch));
        let device = device.as_bytes().as_slice();
        let row = self.one(GET, &[&id, &generation, &epoch, &device]).await?;
        row.map(|row| Ok(Bytes::copy_from_slice(column(&row, 0)?)))
            .transpose()
    }
}
