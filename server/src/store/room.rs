//! Rooms: public groups that their admins list in clear.

use sotto_protocol::ConversationId;
use sotto_protocol::limits::ROOMS_PAGE_MAX;

use super::accounts::execute;
use super::error::StoreError;
use super::types::AccountId;
use super::{Store, column, fixed};

const PUT: &str = "\
    INSERT INTO room (conversation_id, title, folded, skeleton, topic)
    SELECT $1, $2, $3, $4, $5
    WHERE NOT EXISTS (SELECT FROM room WHERE (folded = $3 OR skeleton = $4)
                      AND conversation_id <> $1)
    ON CONFLICT (conversation_id) DO UPDATE SET title = excluded.title,
        folded = excluded.folded, skeleton = excluded.skeleton,
        topic = CASE WHEN $6 THEN room.topic ELSE excluded.topic END";

const REMOVE: &str = "DELETE FROM room WHERE conversation_id = $1";

/// `$2` is the first text after every title with the prefix. Members are counted as accounts.
const LIST: &str = "\
    SELECT r.conversation_id, r.title, r.topic,
        (SELECT count(DISTINCT m.account_id) FROM member m
         WHERE m.conversation_id = r.conversation_id AND m.left_at_seq IS NULL),
        EXISTS (SELECT FROM member m WHERE m.conversation_id = r.conversation_id
                AND m.account_id = $4 AND m.left_at_seq IS NULL)
    FROM room r WHERE r.folded >= $1 AND r.folded < $2 AND r.folded > $3
    ORDER BY r.folded LIMIT $5";

/// How a room is to be listed.
pub struct NewRoom {
    /// The conversation.
    pub conversation: ConversationId,
    /// As its admins wrote it.
    pub title: String,
    /// The title without case.
    pub folded: String,
    /// What the title looks like.
    pub skeleton: String,
    /// As its admins wrote it.
    pub topic: String,
    /// What happens to the topic of a room that is listed already.
    pub known_topic: KnownTopic,
}

/// Whether a listed room's topic is put in another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownTopic {
    /// It stays.
    Stays,
    /// It is replaced.
    Replaced,
}

/// One room of a listing.
#[derive(Clone)]
pub struct ListedRoom {
    /// The conversation.
    pub conversation: ConversationId,
    /// As its admins wrote it.
    pub title: String,
    /// As its admins wrote it.
    pub topic: String,
    /// How many accounts are in.
    pub members: u64,
    /// Whether the asking account is in.
    pub joined: bool,
}

/// Why a room was not listed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RoomError {
    /// Another room has this title, or one that looks like it.
    #[error("title taken")]
    TitleTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Lists a room, or changes how it is listed.
    ///
    /// # Errors
    /// `TitleTaken`, or the store's.
    pub async fn put_room(&self, room: NewRoom) -> Result<(), RoomError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        let id = room.conversation.as_bytes().as_slice();
        let statement = super::accounts::prepare(&transaction, PUT).await?;
        let stays = room.known_topic == KnownTopic::Stays;
        let put = transaction
            .execute(
                &statement,
                &[
                    &id,
                    &room.title,
                    &room.folded,
                    &room.skeleton,
                    &room.topic,
                    &stays,
                ],
            )
            .await;
        match put {
            Ok(0) => return Err(RoomError::TitleTaken),
            Ok(_) => {}
            // Two rooms took it at one moment.
            Err(error)
                if error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION) =>
            {
                return Err(RoomError::TitleTaken);
            }
            Err(error) => return Err(StoreError::from_db(error).into()),
        }
        Ok(self.commit(transaction).await?)
    }

    /// Takes a room off the list.
    ///
    /// # Errors
    /// `Unavailable` or `Unknown`.
    pub async fn remove_room(&self, conversation: ConversationId) -> Result<(), StoreError> {
        let mut client = self.pooled().await?;
        let transaction = client.transaction().await.map_err(StoreError::from_db)?;
        execute(&transaction, REMOVE, &[&conversation.as_bytes().as_slice()]).await?;
        self.commit(transaction).await
    }

    /// Rooms whose titles begin with `prefix` and come after `after`, both without case, by
    /// title; 100 at most. Also whether more follow.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list_rooms(
        &self,
        me: AccountId,
        (prefix, after): (&str, &str),
        limit: usize,
    ) -> Result<(Vec<ListedRoom>, bool), StoreError> {
        let limit = limit.clamp(1, ROOMS_PAGE_MAX);
        let end = format!("{prefix}\u{10ffff}");
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let rows = self
            .many(LIST, &[&prefix, &end, &after, &me.0, &most])
            .await?;
        let mut rooms = Vec::with_capacity(limit);
        for row in rows.iter().take(limit) {
            rooms.push(ListedRoom {
                conversation: ConversationId::from_bytes(fixed(column(row, 0)?)?),
                title: column(row, 1)?,
                topic: column(row, 2)?,
                members: super::unsigned(row, 3)?,
                joined: column(row, 4)?,
            });
        }
        Ok((rooms, rows.len() > limit))
    }
}
