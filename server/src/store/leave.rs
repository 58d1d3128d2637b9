//! Leaving: the statement enters the log, and from there on the account reads nothing.

use bytes::Bytes;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};

use super::accounts::{execute, prepare};
use super::error::{AppendError, StoreError};
use super::notice::{self, Notice};
use super::types::{AccountId, Appended};
use super::{Store, column, signed};

const IS_IN: &str = "\
    SELECT FROM member WHERE conversation_id = $1 AND device_id = $2 AND account_id = $3
      AND left_at_seq IS NULL AND NOT gone";

/// The leaving device knows its own statement; the account's others read up to it.
const PART: &str = "\
    UPDATE member SET left_at_seq = $3,
        cursor = CASE WHEN device_id = $4 OR gone THEN $3 ELSE cursor END
    WHERE conversation_id = $1 AND account_id = $2 AND left_at_seq IS NULL";

/// A room in which nobody is left is listed no longer.
const UNLIST: &str = "\
    DELETE FROM room WHERE conversation_id = $1 AND NOT EXISTS (
        SELECT FROM member WHERE conversation_id = $1 AND left_at_seq IS NULL)";

/// Whether others stay, and no owner among them.
const WOULD_ORPHAN: &str = "\
    SELECT EXISTS (SELECT FROM member WHERE conversation_id = $1 AND left_at_seq IS NULL
                   AND account_id <> $2)
    AND NOT EXISTS (SELECT FROM member m JOIN account a ON a.id = m.account_id
                    WHERE m.conversation_id = $1 AND m.left_at_seq IS NULL
                      AND a.id <> $2 AND a.username = ANY($3))";

/// Why somebody did not leave.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaveError {
    /// Others are in, and none of them is an owner.
    #[error("last owner")]
    LastOwner,
    /// As for a message.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<StoreError> for LeaveError {
    fn from(error: StoreError) -> Self {
        Self::Append(error.into())
    }
}

impl Store {
    /// Appends a verified statement and ends the account's membership at it. The same client id
    /// again is answered alike. `owners` names all owners where the account is one of them.
    ///
    /// # Errors
    /// `NotMember` unless the device is in, or invited; `LastOwner`; `Unavailable` and
    /// `OutcomeUnknown` are to be asked again.
    pub async fn leave(
        &self,
        conversation: ConversationId,
        (account, device): (AccountId, DeviceId),
        client_id: ClientMessageId,
        statement: Bytes,
        owners: Vec<Username>,
    ) -> Result<Appended, LeaveError> {
        let notice = Notice {
            conversation,
            kind: EnvelopeKind::Leave,
            sender: device,
            client_id,
            payload: &statement,
        };
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let log = notice::lock(&transaction, conversation).await?;
        let log = log.ok_or(AppendError::NotMember)?;
        if let Some(appended) = notice::stored(&transaction, &notice).await? {
            return Ok(appended);
        }
        let id = conversation.as_bytes().as_slice();
        let device_id = device.as_bytes().as_slice();
        let is_in = prepare(&transaction, IS_IN).await?;
        let row = transaction
            .query_opt(&is_in, &[&id, &device_id, &account.0])
            .await
            .map_err(StoreError::from_db)?;
        if row.is_none() {
            return Err(AppendError::NotMember.into());
        }
        if !owners.is_empty() {
            let names: Vec<&str> = owners.iter().map(Username::as_str).collect();
            let orphans = prepare(&transaction, WOULD_ORPHAN).await?;
            let row = transaction
                .query_one(&orphans, &[&id, &account.0, &names])
                .await
                .map_err(StoreError::from_db)?;
            if column(&row, 0)? {
                return Err(LeaveError::LastOwner);
            }
        }
        let appended = notice::store(&transaction, &log, &notice).await?;
        let seq = signed(appended.seq);
        execute(&transaction, PART, &[&id, &account.0, &seq, &device_id]).await?;
        execute(&transaction, UNLIST, &[&id]).await?;
        self.commit(transaction).await?;
        self.bus().publish_head(conversation, appended.seq);
        Ok(appended)
    }
}
