//! What operators ordered, as servers read it: by number, and what ends a device a second time.
//!
//! Whether a device may be here is decided at its login. A login that was being judged while the
//! order came would slip through: so for a while its order counts again with each look.

use super::admin::Order;
use super::error::StoreError;
use super::{Store, column};

/// Orders of one look.
const ORDERS_MAX: i64 = 1_000;

const LATEST: &str = "SELECT coalesce(max(id), 0) FROM operator_order";

const NEW: &str = "\
    SELECT id, kind, subject FROM operator_order
    WHERE id > $1 OR (kind = 1 AND created_at > now() - interval '10 seconds')
    ORDER BY id LIMIT $2";

impl Store {
    /// The number of the latest order.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn latest_order(&self) -> Result<i64, StoreError> {
        let client = self.pooled().await?;
        let row = client
            .query_one(LATEST, &[])
            .await
            .map_err(StoreError::from_db)?;
        column(&row, 0)
    }

    /// Orders after number `seen`, and those of the last 10 s that end devices; and the number up
    /// to which they go.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn orders(&self, seen: i64) -> Result<(i64, Vec<Order>), StoreError> {
        let client = self.pooled().await?;
        let statement = client
            .prepare_cached(NEW)
            .await
            .map_err(StoreError::from_db)?;
        let rows = client
            .query(&statement, &[&seen, &ORDERS_MAX])
            .await
            .map_err(StoreError::from_db)?;
        let (mut last, mut orders) = (seen, Vec::with_capacity(rows.len()));
        for row in &rows {
            last = last.max(column(row, 0)?);
            orders.push(Order::from_row(column(row, 1)?, column(row, 2)?)?);
        }
        Ok((last, orders))
    }

    /// This server's id in the table of nodes.
    #[must_use]
    pub fn node_id(&self) -> [u8; 16] {
        self.inner.presence.node_id()
    }
}
