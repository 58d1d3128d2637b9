//! Limits that all servers share.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_postgres::GenericClient;

use super::error::StoreError;
use super::types::Taken;
use super::{Store, column, unsigned};

const TAKE: &str = "\
    INSERT INTO rate_limit AS r (key, used, resets_at)
    VALUES ($1, 1, now() + $2 * interval '1 second')
    ON CONFLICT (key) DO UPDATE SET
        used = CASE WHEN r.resets_at <= now() THEN 1 ELSE least(r.used + 1, 1000000000) END,
        resets_at = CASE WHEN r.resets_at <= now() THEN excluded.resets_at ELSE r.resets_at END
    RETURNING used, ceil(extract(epoch FROM greatest(resets_at - now(), interval '1 ms')) * 1000)::bigint";

impl Store {
    /// Takes one of at most `limit` uses in `window`, counted from the first one, over all
    /// servers. The parts of the key are hashed together: nobody is named in the table.
    ///
    /// # Errors
    /// `Unavailable`: then nothing limited may be done.
    pub async fn take(
        &self,
        key: &[&[u8]],
        window: Duration,
        limit: u32,
    ) -> Result<Taken, StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(TAKE)
            .await
            .map_err(StoreError::from_db)?;
        take(&**client, &statement, key, window, limit).await
    }

    pub(super) const TAKE: &'static str = TAKE;
}

/// The same within a transaction.
pub(super) async fn take(
    client: &impl GenericClient,
    statement: &tokio_postgres::Statement,
    key: &[&[u8]],
    window: Duration,
    limit: u32,
) -> Result<Taken, StoreError> {
    let mut hash = Sha256::new();
    for part in key {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let key: [u8; 32] = hash.finalize().into();
    let row = client
        .query_one(statement, &[&key.as_slice(), &window.as_secs_f64()])
        .await
        .map_err(StoreError::from_db)?;
    let used: i32 = column(&row, 0)?;
    if i64::from(used) <= i64::from(limit) {
        Ok(Taken::Allowed)
    } else {
        Ok(Taken::RetryAfter(unsigned(&row, 1)?))
    }
}
