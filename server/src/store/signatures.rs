//! The store's verbs, before their statements.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sotto_protocol::{ConversationId, DeploymentId, DeviceId, Username};

use super::error::*;
use super::types::*;
use crate::bus::Bus;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreConfig {
    /// A Postgres URL.
    pub database_url: String,
    /// The server's name in the table of nodes.
    pub node_name: String,
    /// Where clients or balancers reach this server; for the table of nodes.
    pub node_address: String,
    /// Connections for ordinary verbs.
    pub pool_connections: usize,
    /// How long an undelivered envelope is kept.
    pub retention: Duration,
}

/// The database. Cheap to clone; its tasks end when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<()>,
}

/// A device counts as online while this lives.
pub struct OnlineGuard {
    _device: DeviceId,
}

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(String::new()))
}

#[allow(clippy::unused_async, unused_variables, missing_docs)]
impl Store {
    /// Connects once, checks the schema version, registers the node, starts the tasks.
    /// `Unavailable` when the database does not answer (call again for a bounded wait at start).
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        away()
    }
    /// Hints: publish is called by the store itself after each commit; sessions only subscribe.
    pub fn bus(&self) -> &Bus {
        unreachable!()
    }
    pub fn deployment_id(&self) -> DeploymentId {
        DeploymentId::from_bytes([0; 16])
    }
    /// One round trip, at most 2 s: for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        away()
    }
    /// Writes buffered cursors and presence, removes the node; for drain, after the last session.
    pub async fn close(&self) -> Result<(), StoreError> {
        away()
    }

    // accounts
    pub async fn register(&self, registration: Registration) -> Result<AccountId, AccountError> {
        Err(AccountError::NameTaken)
    }
    pub async fn credentials(&self, username: &Username) -> Result<Option<Credentials>, StoreError> {
        away()
    }
    pub async fn add_device(&self, account: AccountId, device: NewDevice) -> Result<(), AccountError> {
        Err(AccountError::NameTaken)
    }
    /// Puts a new identity in place and ends every other device; returns the ended ones.
    pub async fn replace_identity(
        &self,
        account: AccountId,
        identity_key: [u8; 32],
        device: NewDevice,
    ) -> Result<Vec<DeviceId>, AccountError> {
        Err(AccountError::NameTaken)
    }
    pub async fn change_hash(&self, account: AccountId, authentication_hash: String) -> Result<(), StoreError> {
        away()
    }
    pub async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        away()
    }
    pub async fn remove_device(&self, device: DeviceId) -> Result<(), StoreError> {
        away()
    }
    pub async fn list_users(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
        filter: UserFilter,
    ) -> Result<UserPage, StoreError> {
        away()
    }
    pub async fn account(&self, username: &Username) -> Result<Option<AccountRow>, StoreError> {
        away()
    }
    /// Makes an invite code good for `uses` registrations.
    pub async fn create_invite(&self, code: &str, uses: u32, valid_for: Duration) -> Result<(), StoreError> {
        away()
    }

    // key packages
    /// Returns the one-time packages now held.
    pub async fn publish_key_packages(
        &self,
        device: DeviceId,
        one_time: Vec<NewKeyPackage>,
        last_resort: Option<NewKeyPackage>,
    ) -> Result<u32, StoreError> {
        away()
    }
    pub async fn key_package_count(&self, device: DeviceId) -> Result<KeyPackageCount, StoreError> {
        away()
    }
    pub async fn claim_key_packages(
        &self,
        claimer: AccountId,
        target: &Username,
        ciphersuite: u16,
    ) -> Result<Claimed, ClaimError> {
        Err(ClaimError::UnknownUser)
    }

    // log. These three ENQUEUE WHEN CALLED (not when first polled), so calls in order are
    // appended in order per conversation; the returned future can be awaited later, or dropped.
    pub fn append(
        &self,
        message: AppendMessage,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        std::future::ready(Err(AppendError::Unavailable))
    }
    pub fn append_commit(
        &self,
        commit: CommitAppend,
    ) -> impl Future<Output = Result<Appended, CommitError>> + Send + 'static {
        std::future::ready(Err(CommitError::Append(AppendError::Unavailable)))
    }
    pub fn create_conversation(
        &self,
        new: NewConversation,
    ) -> impl Future<Output = Result<Appended, CommitError>> + Send + 'static {
        std::future::ready(Err(CommitError::Append(AppendError::Unavailable)))
    }
    pub async fn group_state(&self, conversation: ConversationId) -> Result<Option<GroupState>, StoreError> {
        away()
    }
    /// Whether a device of the account has a leaf in the group (also when that device logged out).
    pub async fn is_account_in(&self, conversation: ConversationId, account: AccountId) -> Result<bool, StoreError> {
        away()
    }
    pub async fn find_pair(&self, one: AccountId, other: AccountId) -> Result<Option<ConversationId>, StoreError> {
        away()
    }

    // reading and cursors
    /// Entries after `after_seq`, in order, at most `limit` (<= 64) and about 256 KiB (always at
    /// least one if there is one). Fewer than `limit` does NOT mean the end: read again until empty.
    pub async fn read(
        &self,
        conversation: ConversationId,
        after_seq: u64,
        limit: u32,
    ) -> Result<Arc<[StoredEnvelope]>, StoreError> {
        away()
    }
    /// Buffered, written within 100 ms; never goes back. Losing it causes redelivery only.
    pub fn advance(&self, device: DeviceId, conversation: ConversationId, seq: u64) {}
    /// The device's logs (mailbox among them) with id > `after`, by id, at most `limit`; logs that
    /// it was removed from are listed until it has read up to the removing commit.
    /// Buffered cursors of this server are taken into account.
    pub async fn member_states(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<Vec<MemberState>, StoreError> {
        away()
    }
    /// One of them: for a conversation that a device was just added to, and after each commit
    /// that was delivered (has it been removed?).
    pub async fn member_state(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<MemberState>, StoreError> {
        away()
    }

    // presence and limits
    /// The device is online until the guard is dropped; written in the background.
    pub fn online(&self, device: DeviceId) -> OnlineGuard {
        OnlineGuard { _device: device }
    }
    /// One use of at most `limit` in `window`, counted over all servers. `key` is hashed.
    pub async fn take(&self, key: &[&[u8]], window: Duration, limit: u32) -> Result<Taken, StoreError> {
        away()
    }
}
