//! The relay between a new device and an old one: two sealed messages, kept for ten minutes.

use bytes::Bytes;

use super::accounts::execute;
use super::error::StoreError;
use super::{Store, column};

/// An offer under an id that somebody uses stays: the code of another could be guessed no better,
/// but might be repeated. What has expired gives way.
const PUT_OFFER: &str = "\
    INSERT INTO link_relay AS r (rendezvous_id, offer) VALUES ($1, $2)
    ON CONFLICT (rendezvous_id) DO UPDATE
        SET offer = excluded.offer, stored_at = now(), answer = CASE
            WHEN r.stored_at > now() - interval '10 minutes' THEN r.answer END
        WHERE r.stored_at <= now() - interval '10 minutes' OR r.offer = excluded.offer";

const GET_OFFER: &str = "\
    SELECT offer FROM link_relay
    WHERE rendezvous_id = $1 AND stored_at > now() - interval '10 minutes'";

const PUT_ANSWER: &str = "\
    UPDATE link_relay SET answer = $2
    WHERE rendezvous_id = $1 AND stored_at > now() - interval '10 minutes' AND answer IS NULL";

const TAKE_ANSWER: &str = "\
    DELETE FROM link_relay
    WHERE rendezvous_id = $1 AND stored_at > now() - interval '10 minutes'
      AND answer IS NOT NULL
    RETURNING answer";

/// A place where two devices meet.
pub(crate) type Rendezvous = [u8; 16];

impl Store {
    /// Leaves an offer; says whether the place was free.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`.
    pub(crate) async fn put_link_offer(
        &self,
        place: Rendezvous,
        offer: &[u8],
    ) -> Result<bool, StoreError> {
        self.change_link(PUT_OFFER, &[&place.as_slice(), &offer])
            .await
    }

    /// An offer, if one waits.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn link_offer(&self, place: Rendezvous) -> Result<Option<Bytes>, StoreError> {
        let row = self.one(GET_OFFER, &[&place.as_slice()]).await?;
        row.map(|row| Ok(Bytes::copy_from_slice(column(&row, 0)?)))
            .transpose()
    }

    /// Leaves the answer to an offer; says whether one waited for it.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`.
    pub(crate) async fn put_link_answer(
        &self,
        place: Rendezvous,
        answer: &[u8],
    ) -> Result<bool, StoreError> {
        self.change_link(PUT_ANSWER, &[&place.as_slice(), &answer])
            .await
    }

    /// Takes the answer, if it is there; afterwards nothing is.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`.
    pub(crate) async fn take_link_answer(
        &self,
        place: Rendezvous,
    ) -> Result<Option<Bytes>, StoreError> {
        let row = self.one(TAKE_ANSWER, &[&place.as_slice()]).await?;
        row.map(|row| Ok(Bytes::copy_from_slice(column(&row, 0)?)))
            .transpose()
    }

    async fn change_link(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<bool, StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let changed = execute(&transaction, sql, params).await?;
        self.commit(transaction).await?;
        Ok(changed > 0)
    }
}
