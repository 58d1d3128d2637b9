//! What the engine knows for transfers: who logs in, which uploads are under way, who may show
//! a picture. It moves no bytes itself.

use sotto_crypto::LocalDevice;
use sotto_protocol::Username;

use super::{Engine, EngineError};
use crate::history::{Relation, UploadRow};
use crate::talk::Talk;

/// Uploads older than this are begun anew: servers keep unfinished ones for three days.
const UPLOAD_LIFE_MS: u64 = 2 * 24 * 3600 * 1000;

impl Engine {
    /// The device that transfers log in by.
    pub(crate) fn device(&self) -> &LocalDevice {
        self.profile.device()
    }

    /// The upload of a file to a talk: the one that was begun, or the fresh one, which is kept
    /// before its key is used.
    pub(crate) fn begin_upload(
        &self,
        to: &Talk,
        plain_hash: &[u8; 32],
        fresh: UploadRow,
        now_ms: u64,
    ) -> Result<UploadRow, EngineError> {
        let store = self.store();
        store.remove_uploads_before(now_ms.saturating_sub(UPLOAD_LIFE_MS))?;
        if let Some(known) = store.upload(to, plain_hash)? {
            return Ok(known);
        }
        store.insert_upload(to, plain_hash, &fresh, now_ms)?;
        Ok(fresh)
    }

    /// Ends it: the message is queued, or the file is given up.
    pub(crate) fn end_upload(&self, to: &Talk, plain_hash: &[u8; 32]) -> Result<(), EngineError> {
        Ok(self.store().remove_upload(to, plain_hash)?)
    }

    /// Whether somebody is known well enough to put a picture on the screen unasked.
    pub(crate) fn may_show_pictures(&self, name: &Username) -> Result<bool, EngineError> {
        let known = self.store().peer(name)?;
        Ok(known.is_some_and(|peer| peer.relation == Relation::Contact))
    }
}
