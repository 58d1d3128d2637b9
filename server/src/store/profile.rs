//! What an account shows of itself, and what it published in clear.

use super::Store;
use super::accounts::execute;
use super::column;
use super::error::StoreError;
use super::types::AccountId;

const SHOW: &str = "\
    UPDATE account SET shows_directory = coalesce($2, shows_directory),
        shows_online = coalesce($3, shows_online),
        shows_last_seen = coalesce($4, shows_last_seen)
    WHERE id = $1";

const PUBLISH: &str = "UPDATE account SET display_name = $2, status_text = $3 WHERE id = $1";

const GET: &str = "\
    SELECT shows_directory, shows_online, shows_last_seen, display_name, status_text
    FROM account WHERE id = $1";

/// What an account shows; `None` for what stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shows {
    /// That it exists, in lists and searches.
    pub directory: Option<bool>,
    /// That it is online.
    pub online: Option<bool>,
    /// When it was last there.
    pub last_seen: Option<bool>,
}

/// What an account shows, and what it published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whether lists and searches name it.
    pub shows_directory: bool,
    /// Whether others see that it is online.
    pub shows_online: bool,
    /// Whether others see when it was last there.
    pub shows_last_seen: bool,
    /// Empty for none.
    pub display_name: String,
    /// Empty for none.
    pub status: String,
}

impl Store {
    /// Changes what an account shows.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; doing it again is safe.
    pub async fn set_visibility(&self, account: AccountId, shows: Shows) -> Result<(), StoreError> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [
            &account.0,
            &shows.directory,
            &shows.online,
            &shows.last_seen,
        ];
        self.change_account(SHOW, &params).await
    }

    /// Publishes a name and a status; empty texts take them back.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`; doing it again is safe.
    pub async fn put_profile(
        &self,
        account: AccountId,
        display_name: &str,
        status: &str,
    ) -> Result<(), StoreError> {
        self.change_account(PUBLISH, &[&account.0, &display_name, &status])
            .await
    }

    /// What an account shows and published; `None` when it is gone.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn profile(&self, account: AccountId) -> Result<Option<Profile>, StoreError> {
        let row = self.one(GET, &[&account.0]).await?;
        row.map(|row| profile_of(&row, 0)).transpose()
    }

    async fn change_account(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<(), StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        execute(&transaction, sql, params).await?;
        self.commit(transaction).await
    }
}

/// Five columns from `first` on.
pub(super) fn profile_of(row: &tokio_postgres::Row, first: usize) -> Result<Profile, StoreError> {
    Ok(Profile {
        shows_directory: column(row, first)?,
        shows_online: column(row, first + 1)?,
        shows_last_seen: column(row, first + 2)?,
        display_name: column(row, first + 3)?,
        status: column(row, first + 4)?,
    })
}
