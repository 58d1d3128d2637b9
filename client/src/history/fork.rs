//! Room in the local order of messages after a server went back, or over to
//! another log: nothing that a person read is lost for it.

use sotto_protocol::ConversationId;

use super::shelf::on;
use super::{History, HistoryError};
use crate::engine::api::Keep;

impl History {
    /// Moves messages beyond a place of the log to free numbers before it: the
    /// log goes on there with others. Where none are free they stay.
    pub(crate) fn make_way(
        &self,
        keep: Keep,
        conversation: &ConversationId,
        last: u64,
    ) -> Result<(), HistoryError> {
        let id = conversation.as_bytes();
        let mut beyond = self.connection().prepare(&on(
            keep,
            "SELECT place FROM @.message WHERE conversation = ?1 AND seq > ?2 ORDER BY seq DESC",
        ))?;
        let places = beyond.query_map((id, last), |row| row.get::<_, i64>(0))?;
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let mut taken = self.connection().prepare(&on(
            keep,
            "SELECT 1 FROM @.message WHERE conversation = ?1 AND seq = ?2",
        ))?;
        let mut free = last;
        for place in places {
            while free > 0 && taken.exists((id, free))? {
                free -= 1;
            }
            if free == 0 {
                break;
            }
            let moved = on(keep, "UPDATE @.message SET seq = ?2 WHERE place = ?1");
            self.connection().execute(&moved, (place, free))?;
            free -= 1;
        }
        Ok(())
    }
}
