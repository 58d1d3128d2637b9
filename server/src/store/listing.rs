//! The directory: which accounts there are. Prefixes are ranges, never patterns.

use bytes::Bytes;
use sotto_protocol::Username;
use sotto_protocol::limits::USERS_PAGE_MAX;

use super::error::StoreError;
use super::types::{AccountId, AccountRow, ListedUser, UserFilter, UserPage};
use super::{Store, column, fixed};

/// `$2` is the first text after every name with the prefix: no character of a name is past `z`.
const LIST: &str = "\
    SELECT u.username, u.online FROM (
        SELECT a.username, EXISTS (
            SELECT FROM device d JOIN session s ON s.device_id = d.id
            JOIN node n ON n.id = s.node_id AND n.heartbeat_at > now() - interval '15 seconds'
            WHERE d.account_id = a.id
        ) AS online
        FROM account a
        WHERE a.username >= $1 AND a.username < $2 AND a.username > $3 AND NOT a.disabled
        OFFSET 0
    ) u
    WHERE u.online OR NOT $4
    ORDER BY u.username LIMIT $5";

const ACCOUNT: &str = "\
    SELECT a.id, a.identity_key, d.certificate, EXISTS (
        SELECT FROM device o JOIN session s ON s.device_id = o.id
        JOIN node n ON n.id = s.node_id AND n.heartbeat_at > now() - interval '15 seconds'
        WHERE o.account_id = a.id)
    FROM account a LEFT JOIN device d ON d.account_id = a.id
    WHERE a.username = $1 AND NOT a.disabled ORDER BY d.created_at, d.id";

impl Store {
    /// Accounts whose names begin with `prefix` and come after `after`, by name; 200 at most.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list_users(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
        filter: UserFilter,
    ) -> Result<UserPage, StoreError> {
        // No account has other characters; some of them the database refuses.
        let possible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if !possible(prefix) || !possible(after) {
            return Ok(UserPage::default());
        }
        let limit = usize::try_from(limit).unwrap_or(USERS_PAGE_MAX);
        let limit = limit.clamp(1, USERS_PAGE_MAX);
        let end = format!("{prefix}\x7f");
        let online = filter == UserFilter::Online;
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(LIST)
            .await
            .map_err(StoreError::from_db)?;
        let rows = client
            .query(&statement, &[&prefix, &end, &after, &online, &most])
            .await
            .map_err(StoreError::from_db)?;
        let mut users = Vec::with_capacity(limit);
        for row in rows.iter().take(limit) {
            users.push(ListedUser {
                username: Username::parse(column(row, 0)?)
                    .map_err(|_| StoreError::Corrupt("account name".into()))?,
                online: column(row, 1)?,
            });
        }
        Ok(UserPage {
            users,
            more: rows.len() > limit,
        })
    }

    /// What everybody may know of an account; `None` when there is none, or a disabled one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn account(&self, username: &Username) -> Result<Option<AccountRow>, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(ACCOUNT)
            .await
            .map_err(StoreError::from_db)?;
        let rows = client
            .query(&statement, &[&username.as_str()])
            .await
            .map_err(StoreError::from_db)?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let mut certificates = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(certificate) = column::<Option<&[u8]>>(row, 2)? {
                certificates.push(Bytes::copy_from_slice(certificate));
            }
        }
        Ok(Some(AccountRow {
            account: AccountId(column(first, 0)?),
            identity_key: fixed(column(first, 1)?)?,
            certificates,
            online: column(first, 3)?,
        }))
    }
}
