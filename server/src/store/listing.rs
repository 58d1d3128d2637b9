//! The directory: which accounts there are, and what they show. Prefixes are ranges, never
//! patterns. Refuses to decide who may ask: it says who shares a conversation, and leaves out of
//! lists what an account does not show.
//!
//! Two accounts are contacts when both are in a conversation that is not public, and the one that
//! is asked about has read beyond its own coming in: being invited by a stranger shows nothing.

use bytes::Bytes;
use sotto_protocol::Username;
use sotto_protocol::limits::USERS_PAGE_MAX;

use super::error::StoreError;
use super::profile::profile_of;
use super::types::{AccountId, AccountRow, ListedUser, Listing, UserFilter, UserPage};
use super::{Store, column, fixed, unsigned};

/// `$2` is the first text after every name with the prefix: no character of a name is past `z`.
/// `$6` asks, and sees itself; `$7` limits the list to its contacts.
const LIST: &str = "\
    WITH contacts AS MATERIALIZED (
        SELECT DISTINCT y.account_id AS id FROM device d
        JOIN member x ON x.device_id = d.id AND x.left_at_seq IS NULL AND NOT x.gone
        JOIN conversation c ON c.id = x.conversation_id AND c.kind = 1 AND NOT c.public
        JOIN member y ON y.conversation_id = c.id AND y.left_at_seq IS NULL
            AND y.cursor > y.joined_at_seq
        WHERE $7 AND d.account_id = $6
    )
    SELECT u.username, u.online, u.seen, u.display_name, u.status_text FROM (
        SELECT a.username, a.display_name, a.status_text,
            (a.shows_online OR a.id = $6) AND EXISTS (
                SELECT FROM device d JOIN session s ON s.device_id = d.id
                JOIN node n ON n.id = s.node_id AND n.heartbeat_at > now() - interval '15 seconds'
                WHERE d.account_id = a.id
            ) AS online,
            CASE WHEN a.shows_last_seen OR a.id = $6 THEN coalesce((
                SELECT (extract(epoch FROM l.at) * 1000)::bigint FROM last_seen l
                WHERE l.account_id = a.id), 0) ELSE 0 END AS seen
        FROM account a
        WHERE a.username >= $1 AND a.username < $2 AND a.username > $3 AND NOT a.disabled
          AND (a.shows_directory OR a.id = $6)
          AND (NOT $7 OR a.id = $6 OR a.id IN (SELECT id FROM contacts))
        OFFSET 0
    ) u
    WHERE u.online OR NOT $4
    ORDER BY u.username LIMIT $5";

const ACCOUNT: &str = "\
    SELECT a.id, a.identity_key, d.certificate, EXISTS (
        SELECT FROM device o JOIN session s ON s.device_id = o.id
        JOIN node n ON n.id = s.node_id AND n.heartbeat_at > now() - interval '15 seconds'
        WHERE o.account_id = a.id),
        coalesce((SELECT (extract(epoch FROM l.at) * 1000)::bigint FROM last_seen l
                  WHERE l.account_id = a.id), 0),
        a.id = $2 OR EXISTS (
            SELECT FROM device p
            JOIN member x ON x.device_id = p.id AND x.left_at_seq IS NULL AND NOT x.gone
            JOIN conversation c ON c.id = x.conversation_id AND c.kind = 1 AND NOT c.public
            JOIN device q ON q.account_id = a.id
            JOIN member y ON y.conversation_id = c.id AND y.device_id = q.id
                AND y.left_at_seq IS NULL AND y.cursor > y.joined_at_seq
            WHERE p.account_id = $2),
        a.shows_directory, a.shows_online, a.shows_last_seen, a.display_name, a.status_text
    FROM account a LEFT JOIN device d ON d.account_id = a.id
    WHERE a.username = $1 AND NOT a.disabled ORDER BY d.created_at, d.id";

impl Store {
    /// Accounts whose names begin with `prefix` and come after `after`, by name; 200 at most:
    /// those that show themselves, and `me`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list_users(
        &self,
        (me, listing): (AccountId, Listing),
        (prefix, after): (&str, &str),
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
        let contacts = listing == Listing::Contacts;
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let rows = self
            .many(
                LIST,
                &[&prefix, &end, &after, &online, &most, &me.0, &contacts],
            )
            .await?;
        let mut users = Vec::with_capacity(limit);
        for row in rows.iter().take(limit) {
            users.push(ListedUser {
                username: Username::parse(column(row, 0)?)
                    .map_err(|_| StoreError::Corrupt("account name".into()))?,
                online: column(row, 1)?,
                last_seen_ms: unsigned(row, 2)?,
                display_name: column(row, 3)?,
                status: column(row, 4)?,
            });
        }
        Ok(UserPage {
            users,
            more: rows.len() > limit,
        })
    }

    /// What there is to know of an account, for `me` to be shown or not; `None` when there is
    /// none, or a disabled one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn account(
        &self,
        username: &Username,
        me: AccountId,
    ) -> Result<Option<AccountRow>, StoreError> {
        let rows = self.many(ACCOUNT, &[&username.as_str(), &me.0]).await?;
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
            last_seen_ms: unsigned(first, 4)?,
            is_contact: column(first, 5)?,
            profile: profile_of(first, 6)?,
        }))
    }
}
