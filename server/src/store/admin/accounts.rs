//! Accounts, for operators: who there is, who may log in, and with what.

use std::time::Duration;

use sotto_protocol::{DeviceId, Username};

use super::{AdminError, AdminStore, Change, Order, count};
use crate::store::accounts::END_DEVICE;
use crate::store::{StoreError, column, fixed};

/// `$1` is a part of the name.
const LIST: &str = "\
    SELECT a.username,
           CASE WHEN a.banned THEN 'banned' WHEN a.disabled THEN 'disabled' ELSE 'active' END,
           (extract(epoch FROM a.created_at) * 1000)::bigint,
           (SELECT count(*) FROM device d WHERE d.account_id = a.id),
           (SELECT max(d.last_seen)::text FROM device d WHERE d.account_id = a.id),
           EXISTS (
               SELECT FROM device d JOIN session s ON s.device_id = d.id
               JOIN node n ON n.id = s.node_id AND n.heartbeat_at > now() - interval '15 seconds'
               WHERE d.account_id = a.id)
    FROM account a
    WHERE strpos(a.username, $1) > 0 AND a.username > $2
      AND (NOT $3 OR a.disabled) AND (NOT $4 OR a.banned)
    ORDER BY a.username LIMIT $5";

const LOCK_ACCOUNT: &str = "\
    SELECT id, CASE WHEN banned THEN 'banned' WHEN disabled THEN 'disabled' ELSE 'active' END,
           quota_bytes
    FROM account WHERE username = $1 FOR UPDATE";

const DEVICES: &str = "SELECT id FROM device WHERE account_id = $1 ORDER BY id";

/// Whether an account may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    /// It may.
    Active,
    /// Not until it is enabled.
    Disabled,
    /// Not until the ban is lifted.
    Banned,
}

impl AccountState {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Banned => "banned",
        }
    }

    /// By the name that the queries give it.
    fn of(name: &str) -> Result<Self, StoreError> {
        [Self::Active, Self::Disabled, Self::Banned]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| StoreError::Corrupt("state of an account".into()))
    }
}

/// Which accounts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that may not log in, banned ones too.
    Disabled,
    /// Banned ones.
    Banned,
}

/// One account of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAccount {
    /// Its name.
    pub username: String,
    /// Whether it may log in.
    pub state: AccountState,
    /// When it was made; milliseconds since 1970.
    pub created_at_ms: u64,
    /// How many devices it has.
    pub devices: u64,
    /// The day on which one of them was last here.
    pub last_seen: Option<String>,
    /// Whether one of them is here now.
    pub online: bool,
}

/// The bound of an account's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// That of the deployment.
    Usual,
    /// Its own, in bytes.
    Own(u64),
}

/// An account that a change has locked.
struct Locked {
    id: i64,
    state: AccountState,
    quota: Quota,
}

impl AdminStore {
    /// Accounts with `part` in their names, after the name `after`; at most `limit`.
    ///
    /// # Errors
    /// As the store.
    pub async fn list_accounts(
        &self,
        part: &str,
        after: &str,
        which: Which,
        limit: u32,
    ) -> Result<Vec<ListedAccount>, AdminError> {
        let (disabled, banned) = match which {
            Which::All => (false, false),
            Which::Disabled => (true, false),
            Which::Banned => (false, true),
        };
        let most = i64::from(limit);
        let rows = self
            .query(LIST, &[&part, &after, &disabled, &banned, &most])
            .await?;
        let mut accounts = Vec::with_capacity(rows.len());
        for row in &rows {
            accounts.push(ListedAccount {
                username: column(row, 0)?,
                state: AccountState::of(column(row, 1)?)?,
                created_at_ms: count(row, 2)?,
                devices: count(row, 3)?,
                last_seen: column(row, 4)?,
                online: column(row, 5)?,
            });
        }
        Ok(accounts)
    }

    /// The bound of an account's files, and what they take, in bytes.
    ///
    /// # Errors
    /// `NotFound`, or as the store.
    pub async fn quota(&self, name: &Username) -> Result<(Quota, u64), AdminError> {
        let rows = self
            .query(
                "SELECT quota_bytes, (SELECT coalesce(sum(b.size), 0)::bigint
                     FROM blob b WHERE b.account_id = account.id)
                 FROM account WHERE username = $1",
                &[&name.as_str()],
            )
            .await?;
        let row = rows.first().ok_or_else(|| unknown(name))?;
        Ok((quota(column(row, 0)?)?, count(row, 1)?))
    }
}

impl Change<'_> {
    /// Keeps an account from logging in, and ends its sessions. Returns how many devices it has.
    ///
    /// # Errors
    /// `NotFound`, `Refused` when it is disabled already, or as the store.
    pub async fn disable(&self, name: &Username) -> Result<usize, AdminError> {
        let account = self.lock(name).await?;
        match account.state {
            AccountState::Active => {}
            AccountState::Disabled => return already(name, "is disabled"),
            AccountState::Banned => return already(name, "is banned"),
        }
        self.execute(
            "UPDATE account SET disabled = true WHERE id = $1",
            &[&account.id],
        )
        .await?;
        self.end_sessions(&account).await
    }

    /// Lets a disabled account log in again.
    ///
    /// # Errors
    /// `NotFound`, `Refused` when it is not disabled or is banned, or as the store.
    pub async fn enable(&self, name: &Username) -> Result<(), AdminError> {
        let account = self.lock(name).await?;
        match account.state {
            AccountState::Disabled => {}
            AccountState::Active => return already(name, "is enabled"),
            AccountState::Banned => {
                return Err(AdminError::Refused(format!(
                    "{name} is banned; `unban {name}` lifts that"
                )));
            }
        }
        self.execute(
            "UPDATE account SET disabled = false WHERE id = $1",
            &[&account.id],
        )
        .await?;
        Ok(())
    }

    /// Keeps an account out for good: its devices are removed and its name stays taken. Returns
    /// how many devices it had.
    ///
    /// # Errors
    /// `NotFound`, `Refused` when it is banned already, or as the store.
    pub async fn ban(&self, name: &Username) -> Result<usize, AdminError> {
        let account = self.lock(name).await?;
        if account.state == AccountState::Banned {
            return already(name, "is banned");
        }
        self.execute(
            "UPDATE account SET disabled = true, banned = true WHERE id = $1",
            &[&account.id],
        )
        .await?;
        self.end_devices(&account).await
    }

    /// Lifts a ban: the account may log in again, with its password.
    ///
    /// # Errors
    /// `NotFound`, `Refused` when it is not banned, or as the store.
    pub async fn unban(&self, name: &Username) -> Result<(), AdminError> {
        let account = self.lock(name).await?;
        if account.state != AccountState::Banned {
            return Err(AdminError::Refused(format!("{name} is not banned")));
        }
        self.execute(
            "UPDATE account SET disabled = false, banned = false WHERE id = $1",
            &[&account.id],
        )
        .await?;
        Ok(())
    }

    /// Puts another password's hash in place, good for `valid_for`.
    ///
    /// # Errors
    /// `NotFound`, or as the store.
    pub async fn reset_password(
        &self,
        name: &Username,
        authentication_hash: &str,
        valid_for: Duration,
    ) -> Result<(), AdminError> {
        let account = self.lock(name).await?;
        self.execute(
            "UPDATE account SET authentication_hash = $2,
                 password_until = now() + $3 * interval '1 second' WHERE id = $1",
            &[&account.id, &authentication_hash, &valid_for.as_secs_f64()],
        )
        .await?;
        Ok(())
    }

    /// Removes every device of an account with its key packages and mailbox. Returns how many.
    ///
    /// # Errors
    /// `NotFound`, or as the store.
    pub async fn remove_devices(&self, name: &Username) -> Result<usize, AdminError> {
        let account = self.lock(name).await?;
        self.end_devices(&account).await
    }

    /// Sets the bound of an account's files; returns the one before.
    ///
    /// # Errors
    /// `NotFound`, or as the store.
    pub async fn set_quota(&self, name: &Username, quota: Quota) -> Result<Quota, AdminError> {
        let account = self.lock(name).await?;
        let bytes = match quota {
            Quota::Usual => None,
            Quota::Own(bytes) => Some(i64::try_from(bytes).unwrap_or(i64::MAX)),
        };
        self.execute(
            "UPDATE account SET quota_bytes = $2 WHERE id = $1",
            &[&account.id, &bytes],
        )
        .await?;
        Ok(account.quota)
    }

    async fn lock(&self, name: &Username) -> Result<Locked, AdminError> {
        let rows = self.query(LOCK_ACCOUNT, &[&name.as_str()]).await?;
        let row = rows.first().ok_or_else(|| unknown(name))?;
        Ok(Locked {
            id: column(row, 0)?,
            state: AccountState::of(column(row, 1)?)?,
            quota: quota(column(row, 2)?)?,
        })
    }

    async fn devices(&self, account: &Locked) -> Result<Vec<DeviceId>, AdminError> {
        let rows = self.query(DEVICES, &[&account.id]).await?;
        let mut devices = Vec::with_capacity(rows.len());
        for row in &rows {
            devices.push(DeviceId::from_bytes(fixed(column(row, 0)?)?));
        }
        Ok(devices)
    }

    async fn end_sessions(&self, account: &Locked) -> Result<usize, AdminError> {
        let devices = self.devices(account).await?;
        for device in &devices {
            self.order(Order::EndDevice(*device)).await?;
        }
        Ok(devices.len())
    }

    async fn end_devices(&self, account: &Locked) -> Result<usize, AdminError> {
        let devices = self.devices(account).await?;
        for device in &devices {
            for sql in END_DEVICE {
                self.execute(sql, &[&device.as_bytes().as_slice()]).await?;
            }
            self.order(Order::EndDevice(*device)).await?;
        }
        Ok(devices.len())
    }
}

fn unknown(name: &Username) -> AdminError {
    AdminError::NotFound(format!("account {name}"))
}

fn already<T>(name: &Username, what: &str) -> Result<T, AdminError> {
    Err(AdminError::Refused(format!("{name} {what} already")))
}

fn quota(bytes: Option<i64>) -> Result<Quota, AdminError> {
    let Some(bytes) = bytes else {
        return Ok(Quota::Usual);
    };
    let bytes = u64::try_from(bytes).map_err(|_| StoreError::Corrupt("negative quota".into()))?;
    Ok(Quota::Own(bytes))
}
