//! Entries in clear: what a server itself puts into a log beside the sealed messages.
//!
//! They take the same lock as appends and get the next place, in a transaction that may change
//! more (members, uses of a link). Refuses to judge what they say.

use deadpool_postgres::Transaction;
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId};

use super::accounts::{execute, prepare};
use super::error::StoreError;
use super::types::{AccountId, Appended};
use super::{column, fixed, signed, unsigned};

const LOCK: &str = "\
    SELECT epoch, head, generation, (extract(epoch FROM now()) * 1000)::bigint
    FROM conversation WHERE id = $1 AND kind = 1 FOR NO KEY UPDATE";

const STORED: &str = "\
    SELECT seq, epoch, (extract(epoch FROM stored_at) * 1000)::bigint FROM envelope
    WHERE conversation_id = $1 AND sender_device = $2 AND client_id = $3 AND kind = $4";

const STORE: &str = "\
    WITH grown AS (UPDATE conversation SET head = $2 WHERE id = $1)
    INSERT INTO envelope (conversation_id, seq, generation, epoch, kind, sender_device, client_id,
                          payload, stored_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now())";

/// As for appends: rows are locked in the order of their ids.
const LOCK_WHERE_GONE: &str = "\
    SELECT FROM conversation WHERE kind = 1 AND id IN (
        SELECT conversation_id FROM member WHERE account_id = $1 AND gone AND left_at_seq IS NULL)
    ORDER BY id FOR NO KEY UPDATE";

/// Each log names one of the account's devices there, as every entry names one.
const STORE_WHERE_GONE: &str = "\
    WITH there AS (
        SELECT DISTINCT ON (conversation_id) conversation_id, device_id FROM member
        WHERE account_id = $1 AND gone AND left_at_seq IS NULL
        ORDER BY conversation_id, device_id),
    grown AS (
        UPDATE conversation c SET head = c.head + 1 FROM there
        WHERE c.id = there.conversation_id AND c.kind = 1
        RETURNING c.id, c.head, c.generation, c.epoch, there.device_id)
    INSERT INTO envelope (conversation_id, seq, generation, epoch, kind, sender_device, client_id,
                          payload, stored_at)
    SELECT id, head, generation, epoch, $2, device_id, $3, $4, now() FROM grown
    RETURNING conversation_id, seq";

/// An entry in clear.
pub(super) struct Notice<'a> {
    pub(super) conversation: ConversationId,
    pub(super) kind: EnvelopeKind,
    pub(super) sender: DeviceId,
    pub(super) client_id: ClientMessageId,
    pub(super) payload: &'a [u8],
}

/// A log that is locked until the transaction ends.
pub(super) struct LockedLog {
    epoch: u64,
    head: u64,
    generation: i32,
    now_ms: u64,
}

/// Locks a conversation's log; `None` when there is no such conversation.
pub(super) async fn lock(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
) -> Result<Option<LockedLog>, StoreError> {
    let statement = prepare(transaction, LOCK).await?;
    let row = transaction
        .query_opt(&statement, &[&conversation.as_bytes().as_slice()])
        .await
        .map_err(StoreError::from_db)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(LockedLog {
        epoch: unsigned(&row, 0)?,
        head: unsigned(&row, 1)?,
        generation: column(&row, 2)?,
        now_ms: unsigned(&row, 3)?,
    }))
}

/// The same entry, if it was stored before.
pub(super) async fn stored(
    transaction: &Transaction<'_>,
    notice: &Notice<'_>,
) -> Result<Option<Appended>, StoreError> {
    let statement = prepare(transaction, STORED).await?;
    let row = transaction
        .query_opt(
            &statement,
            &[
                &notice.conversation.as_bytes().as_slice(),
                &notice.sender.as_bytes().as_slice(),
                &notice.client_id.as_bytes().as_slice(),
                &(notice.kind as i16),
            ],
        )
        .await
        .map_err(StoreError::from_db)?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Appended {
        seq: unsigned(&row, 0)?,
        epoch: unsigned(&row, 1)?,
        stored_at_ms: unsigned(&row, 2)?,
    }))
}

/// Puts an entry at the end of a locked log.
pub(super) async fn store(
    transaction: &Transaction<'_>,
    log: &LockedLog,
    notice: &Notice<'_>,
) -> Result<Appended, StoreError> {
    let seq = log.head + 1;
    execute(
        transaction,
        STORE,
        &[
            &notice.conversation.as_bytes().as_slice(),
            &signed(seq),
            &log.generation,
            &signed(log.epoch),
            &(notice.kind as i16),
            &notice.sender.as_bytes().as_slice(),
            &notice.client_id.as_bytes().as_slice(),
            &notice.payload,
        ],
    )
    .await?;
    Ok(Appended {
        seq,
        epoch: log.epoch,
        stored_at_ms: log.now_ms,
    })
}

/// Puts the same entry at the end of every log in which ended devices of an account still have
/// leaves. Gives the logs and its places in them.
pub(super) async fn store_where_gone(
    transaction: &Transaction<'_>,
    account: AccountId,
    kind: EnvelopeKind,
    payload: &[u8],
) -> Result<Vec<(ConversationId, u64)>, StoreError> {
    execute(transaction, LOCK_WHERE_GONE, &[&account.0]).await?;
    // On a snapshot taken after the locks.
    let statement = prepare(transaction, STORE_WHERE_GONE).await?;
    let client_id: [u8; 16] = rand::random();
    let rows = transaction
        .query(
            &statement,
            &[&account.0, &(kind as i16), &client_id.as_slice(), &payload],
        )
        .await
        .map_err(StoreError::from_db)?;
    let read = |row| {
        Ok((
            ConversationId::from_bytes(fixed(column(row, 0)?)?),
            unsigned(row, 1)?,
        ))
    };
    rows.iter().map(read).collect()
}
