//! Rooms: public groups that their admins list. Titles are compared by what
//! they look like; text with signs that nobody sees is refused.

use std::time::Duration;

use sotto_protocol::limits::{DISPLAY_NAME_BYTES_MAX, ROOMS_PAGE_MAX, STATUS_BYTES_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, ListRooms, SetRoom};
use sotto_protocol::{ErrorCode, plain_text};
use sotto_roster::{Access, Role};

use super::Answer;
use super::conversation::{conversation_id, policy};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::{KnownTopic, NewRoom, RoomError};

const MINUTE: Duration = Duration::from_secs(60);
/// Pages of rooms that one account may ask for in a minute.
const PAGES_PER_MINUTE: u32 = 120;
/// Changes of listings that one account may make in a minute.
const CHANGES_PER_MINUTE: u32 = 20;

/// SetRoom.
pub(super) async fn set_room(
    server: &Server,
    me: &Identity,
    request: SetRoom,
) -> Result<Answer, Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    check(&request.title, DISPLAY_NAME_BYTES_MAX)?;
    check(&request.topic, STATUS_BYTES_MAX)?;
    let skeleton = plain_text::skeleton(&request.title);
    if skeleton.is_empty() && !request.title.is_empty() {
        return Err(bad_text());
    }
    let key: [&[u8]; 2] = [b"set-room", &me.account.to_key()];
    server.take(&key, MINUTE, CHANGES_PER_MINUTE).await?;
    let rules = policy::rules_for(server, me, conversation, Role::Admin).await?;
    if rules.access != Access::Public {
        return Err(Refusal::with(
            ErrorCode::NotAllowed,
            "Only a public group can be listed as a room.",
        ));
    }
    if request.title.is_empty() {
        server.store.remove_room(conversation).await?;
        return Ok(Answer::done());
    }
    let room = NewRoom {
        conversation,
        folded: plain_text::fold(&request.title),
        skeleton,
        title: request.title,
        topic: request.topic,
        known_topic: match request.keep_topic {
            true => KnownTopic::Stays,
            false => KnownTopic::Replaced,
        },
    };
    match server.store.put_room(room).await {
        Ok(()) => Ok(Answer::done()),
        Err(RoomError::TitleTaken) => Err(Refusal::new(ErrorCode::TitleTaken)),
        Err(RoomError::Store(error)) => Err(error.into()),
    }
}

/// Text that others see in clear: short, visible, on one line.
pub(super) fn check(text: &str, bytes_max: usize) -> Result<(), Refusal> {
    if text.len() > bytes_max {
        Err(Refusal::new(ErrorCode::TooLarge))
    } else if plain_text::is_plain(text) {
        Ok(())
    } else {
        Err(bad_text())
    }
}

fn bad_text() -> Refusal {
    Refusal::malformed("Use letters, digits and signs that can be seen, on one line.")
}

/// ListRooms.
pub(super) async fn list_rooms(
    server: &Server,
    me: &Identity,
    request: ListRooms,
) -> Result<Answer, Refusal> {
    let too_long = |text: &str| text.len() > DISPLAY_NAME_BYTES_MAX;
    if too_long(&request.prefix) || too_long(&request.after) {
        return Err(Refusal::new(ErrorCode::TooLarge));
    }
    let key: [&[u8]; 2] = [b"list-rooms", &me.account.to_key()];
    server.take(&key, MINUTE, PAGES_PER_MINUTE).await?;
    let (prefix, after) = (
        plain_text::fold(&request.prefix),
        plain_text::fold(&request.after),
    );
    // No title holds such signs, and the database refuses some of them.
    if !plain_text::is_plain(&prefix) || !plain_text::is_plain(&after) {
        return Ok(Answer::plain(Response::Rooms(wire::Rooms::default())));
    }
    let limit = match usize::try_from(request.limit).unwrap_or(usize::MAX) {
        0 => ROOMS_PAGE_MAX,
        limit => limit.min(ROOMS_PAGE_MAX),
    };
    let found = server
        .store
        .list_rooms(me.account, (&prefix, &after), limit);
    let (rooms, more) = found.await?;
    Ok(Answer::plain(Response::Rooms(wire::Rooms {
        rooms: rooms
            .into_iter()
            .map(|room| wire::Room {
                conversation_id: room.conversation.to_vec(),
                title: room.title,
                topic: room.topic,
                members: u32::try_from(room.members).unwrap_or(u32::MAX),
                joined: room.joined,
            })
            .collect(),
        more,
    })))
}
