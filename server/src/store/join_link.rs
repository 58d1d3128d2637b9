//! Invite links: how often each may still be used, and by whom it was. Uses are taken in the
//! transaction that puts the request into the log, so none is lost and none counts twice.

use sha2::{Digest as _, Sha256};
use sotto_protocol::limits::JOIN_LINKS_MAX;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};

use super::accounts::{execute, prepare};
use super::error::StoreError;
use super::notice::{self, Notice};
use super::types::AccountId;
use super::{Store, column, fixed, signed, unsigned};

/// Locks the conversation, so that links are counted one at a time.
const LOCK: &str = "SELECT FROM conversation WHERE id = $1 AND kind = 1 FOR NO KEY UPDATE";

const COUNT: &str = "\
    SELECT count(*), coalesce(bool_or(link_id = $2), false) FROM join_link
    WHERE conversation_id = $1 AND (link_id = $2 OR (expires_at > now() AND uses_left > 0))";

const PUT: &str = "\
    INSERT INTO join_link (conversation_id, link_id, expires_at, uses_left)
    VALUES ($1, $2, to_timestamp($3::bigint / 1000.0), $4)";

const REVOKE: &str = "DELETE FROM join_link WHERE conversation_id = $1 AND link_id = $2";

const LIST: &str = "\
    SELECT link_id, (extract(epoch FROM expires_at) * 1000)::bigint, uses_left FROM join_link
    WHERE conversation_id = $1 AND expires_at > now() AND uses_left > 0
    ORDER BY expires_at LIMIT $2";

/// One who asked the same within the hour is not heard again.
const USED: &str = "\
    SELECT u.asked_at > now() - interval '1 hour'
           AND coalesce(u.request_digest = $4, false) FROM join_use u JOIN join_link l
        ON l.conversation_id = u.conversation_id AND l.link_id = u.link_id
    WHERE u.conversation_id = $1 AND u.link_id = $2 AND u.account_id = $3
      AND l.expires_at > now()";

const TAKE: &str = "\
    UPDATE join_link SET uses_left = uses_left - 1
    WHERE conversation_id = $1 AND link_id = $2 AND uses_left > 0 AND expires_at > now()";

const NOTE: &str = "\
    INSERT INTO join_use (conversation_id, link_id, account_id, request_digest)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (conversation_id, link_id, account_id)
    DO UPDATE SET asked_at = now(), request_digest = $4";

/// A link to be made known.
pub struct NewJoinLink {
    /// The conversation.
    pub conversation: ConversationId,
    /// Chosen by an admin.
    pub link: [u8; 16],
    /// Until when; milliseconds since 1970 UTC.
    pub expires_at_ms: u64,
    /// How often it may be used.
    pub uses: u32,
}

/// A link that still counts.
#[derive(Clone)]
pub struct StoredJoinLink {
    /// Its id.
    pub link: [u8; 16],
    /// Until when; milliseconds since 1970 UTC.
    pub expires_at_ms: u64,
    /// How often it may still be used.
    pub uses_left: u32,
}

/// Why a link was not made or used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    /// Unknown, expired or used up.
    #[error("unknown link")]
    UnknownLink,
    /// The group has the most links that it may have.
    #[error("too many links")]
    TooManyLinks,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a link known. One that is known stays as it is.
    ///
    /// # Errors
    /// `TooManyLinks`, `UnknownLink` when there is no such conversation, or the store's.
    pub async fn put_join_link(&self, new: NewJoinLink) -> Result<(), JoinError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let id = new.conversation.as_bytes().as_slice();
        let link = new.link.as_slice();
        let lock = prepare(&transaction, LOCK).await?;
        let found = transaction.query_opt(&lock, &[&id]).await;
        if found.map_err(StoreError::from_db)?.is_none() {
            return Err(JoinError::UnknownLink);
        }
        let count = prepare(&transaction, COUNT).await?;
        let row = transaction
            .query_one(&count, &[&id, &link])
            .await
            .map_err(StoreError::from_db)?;
        if column(&row, 1)? {
            return Ok(());
        }
        if unsigned(&row, 0)? >= JOIN_LINKS_MAX as u64 {
            return Err(JoinError::TooManyLinks);
        }
        let uses = i32::try_from(new.uses).unwrap_or(i32::MAX);
        let ends = signed(new.expires_at_ms);
        execute(&transaction, PUT, &[&id, &link, &ends, &uses]).await?;
        Ok(self.commit(transaction).await?)
    }

    /// Ends a link.
    ///
    /// # Errors
    /// `UnknownLink`, or the store's.
    pub async fn revoke_join_link(
        &self,
        conversation: ConversationId,
        link: [u8; 16],
    ) -> Result<(), JoinError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let id = conversation.as_bytes().as_slice();
        if execute(&transaction, REVOKE, &[&id, &link.as_slice()]).await? == 0 {
            return Err(JoinError::UnknownLink);
        }
        Ok(self.commit(transaction).await?)
    }

    /// The links that still count; 100 at most.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn join_links(
        &self,
        conversation: ConversationId,
    ) -> Result<Vec<StoredJoinLink>, StoreError> {
        let id = conversation.as_bytes().as_slice();
        let most = i64::try_from(JOIN_LINKS_MAX).unwrap_or(1);
        let rows = self.many(LIST, &[&id, &most]).await?;
        rows.iter()
            .map(|row| {
                Ok(StoredJoinLink {
                    link: fixed(column(row, 0)?)?,
                    expires_at_ms: unsigned(row, 1)?,
                    uses_left: u32::try_from(column::<i32>(row, 2)?).unwrap_or(0),
                })
            })
            .collect()
    }

    /// Whether an account used a link that has not expired.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn has_used(
        &self,
        conversation: ConversationId,
        link: [u8; 16],
        account: AccountId,
    ) -> Result<bool, StoreError> {
        let id = conversation.as_bytes().as_slice();
        let any: &[u8] = &[];
        let row = self
            .one(USED, &[&id, &link.as_slice(), &account.0, &any])
            .await?;
        Ok(row.is_some())
    }

    /// Takes one use of a link for an account and puts its request into the log. The same account
    /// and link again take no further use, and the same request enters the log again after an hour
    /// only.
    ///
    /// # Errors
    /// `UnknownLink`, or the store's; asking again is safe.
    pub async fn request_join(
        &self,
        (conversation, link): (ConversationId, [u8; 16]),
        (account, device): (AccountId, DeviceId),
        client_id: ClientMessageId,
        request: &[u8],
    ) -> Result<(), JoinError> {
        let notice = Notice {
            conversation,
            kind: EnvelopeKind::JoinRequest,
            sender: device,
            client_id,
            payload: request,
        };
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let log = notice::lock(&transaction, conversation).await?;
        let log = log.ok_or(JoinError::UnknownLink)?;
        let id = conversation.as_bytes().as_slice();
        let link = link.as_slice();
        let digest: [u8; 32] = Sha256::digest(request).into();
        let digest = digest.as_slice();
        let used = prepare(&transaction, USED).await?;
        let row = transaction
            .query_opt(&used, &[&id, &link, &account.0, &digest])
            .await
            .map_err(StoreError::from_db)?;
        match row.as_ref().map(|row| column(row, 0)).transpose()? {
            Some(true) => return Ok(()),
            Some(false) => {}
            None if execute(&transaction, TAKE, &[&id, &link]).await? == 0 => {
                return Err(JoinError::UnknownLink);
            }
            None => {}
        }
        execute(&transaction, NOTE, &[&id, &link, &account.0, &digest]).await?;
        if notice::stored(&transaction, &notice).await?.is_some() {
            return Ok(());
        }
        let appended = notice::store(&transaction, &log, &notice).await?;
        self.commit(transaction).await?;
        self.bus().publish_head(conversation, appended.seq);
        Ok(())
    }
}
