//! Who is in which conversation, and how far each device has read.

use bytes::Bytes;
use sotto_protocol::limits::SYNC_PAGE_MAX;
use sotto_protocol::{ConversationId, DeviceId};
use tokio_postgres::Row;

use super::error::StoreError;
use super::types::{AccountId, GroupState, MemberState};
use super::{Store, column, fixed, unsigned};

const GROUP_STATE: &str = "\
    SELECT c.generation, c.epoch, g.group_state, g.group_info, g.seq
    FROM conversation c JOIN group_state g ON g.conversation_id = c.id WHERE c.id = $1";

const ACCOUNT_IN: &str = "\
    SELECT EXISTS (SELECT FROM member
        WHERE conversation_id = $1 AND account_id = $2 AND left_at_seq IS NULL)
    AND EXISTS (SELECT FROM conversation WHERE id = $1 AND kind = 1)";

const POLICY: &str = "\
    SELECT c.generation, g.policy
    FROM conversation c JOIN group_state g ON g.conversation_id = c.id WHERE c.id = $1";

const DEVICE_IN: &str = "\
    SELECT FROM member m JOIN conversation c ON c.id = m.conversation_id AND c.kind = 1
    WHERE m.conversation_id = $1 AND m.device_id = $2 AND m.left_at_seq IS NULL AND NOT m.gone";

const ACCOUNTS_IN: &str = "\
    SELECT NOT EXISTS (
        SELECT FROM device d WHERE d.id = ANY($2::bytea[]) AND NOT EXISTS (
            SELECT FROM member m WHERE m.conversation_id = $1 AND m.account_id = d.account_id
                AND m.left_at_seq IS NULL))";

const PAIR: &str = "SELECT id FROM conversation WHERE pair_low = $1 AND pair_high = $2";

const STATES: &str = "\
    SELECT c.id, c.generation, c.epoch, m.cursor, c.head, m.left_at_seq
    FROM member m JOIN conversation c ON c.id = m.conversation_id
    WHERE m.device_id = $1 AND NOT m.gone AND m.conversation_id > $2
      AND (m.left_at_seq IS NULL OR m.cursor < m.left_at_seq)
    ORDER BY m.conversation_id LIMIT $3";

const STATE: &str = "\
    SELECT c.id, c.generation, c.epoch, m.cursor, c.head, m.left_at_seq
    FROM member m JOIN conversation c ON c.id = m.conversation_id
    WHERE m.device_id = $1 AND m.conversation_id = $2 AND NOT m.gone";

impl Store {
    /// The public state that the next commit is judged against; `None` when there is no such
    /// conversation.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn group_state(
        &self,
        conversation: ConversationId,
    ) -> Result<Option<GroupState>, StoreError> {
        let id = conversation.as_bytes().as_slice();
        let Some(row) = self.one(GROUP_STATE, &[&id]).await? else {
            return Ok(None);
        };
        let generation: i32 = column(&row, 0)?;
        Ok(Some(GroupState {
            generation: u32::try_from(generation).unwrap_or(0),
            epoch: unsigned(&row, 1)?,
            group_state: Bytes::copy_from_slice(column(&row, 2)?),
            group_info: Bytes::copy_from_slice(column(&row, 3)?),
            seq: unsigned(&row, 4)?,
        }))
    }

    /// Whether a device of the account has a leaf in the group; also when that device logged out
    /// and nobody has removed it yet.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn is_account_in(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<bool, StoreError> {
        let id = conversation.as_bytes().as_slice();
        match self.one(ACCOUNT_IN, &[&id, &account.0]).await? {
            Some(row) => column(&row, 0),
            None => Ok(false),
        }
    }

    /// The encoded policy of a conversation, and its generation; `None` when there is no such
    /// conversation. Empty where the state is older than the column.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn policy(
        &self,
        conversation: ConversationId,
    ) -> Result<Option<(u32, Bytes)>, StoreError> {
        let id = conversation.as_bytes().as_slice();
        let Some(row) = self.one(POLICY, &[&id]).await? else {
            return Ok(None);
        };
        let generation: i32 = column(&row, 0)?;
        let policy = Bytes::copy_from_slice(column(&row, 1)?);
        Ok(Some((u32::try_from(generation).unwrap_or(0), policy)))
    }

    /// Whether a device is in a conversation, or invited to it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn is_device_in(
        &self,
        conversation: ConversationId,
        device: DeviceId,
    ) -> Result<bool, StoreError> {
        let (id, device) = (conversation.as_bytes(), device.as_bytes());
        let row = self
            .one(DEVICE_IN, &[&id.as_slice(), &device.as_slice()])
            .await?;
        Ok(row.is_some())
    }

    /// Whether each of these devices is of an account that is in the conversation.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn are_accounts_in(
        &self,
        conversation: ConversationId,
        devices: &[DeviceId],
    ) -> Result<bool, StoreError> {
        let id = conversation.as_bytes().as_slice();
        let ids: Vec<&[u8]> = devices.iter().map(|d| d.as_bytes().as_slice()).collect();
        match self.one(ACCOUNTS_IN, &[&id, &ids]).await? {
            Some(row) => column(&row, 0),
            None => Ok(false),
        }
    }

    /// The conversation that two accounts have with each other.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn find_pair(
        &self,
        one: AccountId,
        other: AccountId,
    ) -> Result<Option<ConversationId>, StoreError> {
        let (low, high) = (one.min(other).0, one.max(other).0);
        match self.one(PAIR, &[&low, &high]).await? {
            Some(row) => Ok(Some(ConversationId::from_bytes(fixed(column(&row, 0)?)?))),
            None => Ok(None),
        }
    }

    /// The device's logs, its mailbox among them, with ids greater than `after`, by id, 500 at
    /// most. A log that it was removed from is named until it has read up to the removal.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn member_states(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<Vec<MemberState>, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(STATES)
            .await
            .map_err(StoreError::from_db)?;
        let after = after.map(ConversationId::to_vec).unwrap_or_default();
        let most = usize::try_from(limit).map_or(SYNC_PAGE_MAX, |l| l.clamp(1, SYNC_PAGE_MAX));
        let most = i64::try_from(most).unwrap_or(1);
        let rows = client
            .query(&statement, &[&device.as_bytes().as_slice(), &after, &most])
            .await
            .map_err(StoreError::from_db)?;
        rows.iter().map(|row| self.member(device, row)).collect()
    }

    /// One of them: for a log that the device was just added to, and after each commit that it
    /// was given (it may have removed the device). `None` when it is not and was not a member.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn member_state(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<MemberState>, StoreError> {
        let (device_id, id) = (device.as_bytes(), conversation.as_bytes());
        match self
            .one(STATE, &[&device_id.as_slice(), &id.as_slice()])
            .await?
        {
            Some(row) => Ok(Some(self.member(device, &row)?)),
            None => Ok(None),
        }
    }

    fn member(&self, device: DeviceId, row: &Row) -> Result<MemberState, StoreError> {
        let conversation = ConversationId::from_bytes(fixed(column(row, 0)?)?);
        let generation: i32 = column(row, 1)?;
        let left_at = column::<Option<i64>>(row, 5)?.and_then(|seq| u64::try_from(seq).ok());
        let head = unsigned(row, 4)?;
        let unwritten = self.inner.cursors.unwritten(conversation, device);
        Ok(MemberState {
            conversation,
            generation: u32::try_from(generation).unwrap_or(0),
            epoch: unsigned(row, 2)?,
            cursor: unsigned(row, 3)?.max(unwritten),
            head: left_at.map_or(head, |left| head.min(left)),
            left_at,
        })
    }

    pub(super) async fn many(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(sql)
            .await
            .map_err(StoreError::from_db)?;
        client
            .query(&statement, params)
            .await
            .map_err(StoreError::from_db)
    }

    pub(super) async fn one(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Option<Row>, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(sql)
            .await
            .map_err(StoreError::from_db)?;
        client
            .query_opt(&statement, params)
            .await
            .map_err(StoreError::from_db)
    }
}
