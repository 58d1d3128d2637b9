//! What people show of themselves. Hiding is the default of nothing and the
//! right of everybody: each choice is the account's own.

use std::time::Duration;

use sotto_protocol::ErrorCode;
use sotto_protocol::limits::{DISPLAY_NAME_BYTES_MAX, STATUS_BYTES_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, PutProfile, SetVisibility};

use super::Answer;
use super::room::check;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::Shows;

const HOUR: Duration = Duration::from_secs(3600);
/// Changes of either kind that one account may make in an hour.
const CHANGES_PER_HOUR: u32 = 120;

async fn take(server: &Server, me: &Identity) -> Result<(), Refusal> {
    let key: [&[u8]; 2] = [b"profile", &me.account.to_key()];
    server.take(&key, HOUR, CHANGES_PER_HOUR).await
}

/// SetVisibility.
pub(super) async fn set_visibility(
    server: &Server,
    me: &Identity,
    request: SetVisibility,
) -> Result<Answer, Refusal> {
    let choice = |number| match wire::Shown::try_from(number) {
        Ok(wire::Shown::Unchanged) => Ok(None),
        Ok(wire::Shown::ToAll) => Ok(Some(true)),
        Ok(wire::Shown::ToNobody) => Ok(Some(false)),
        Err(_) => Err(Refusal::malformed("There is no such choice.")),
    };
    let shows = Shows {
        directory: choice(request.directory)?,
        online: choice(request.online)?,
        last_seen: choice(request.last_seen)?,
    };
    take(server, me).await?;
    server.store.set_visibility(me.account, shows).await?;
    Ok(Answer::done())
}

/// PutProfile.
pub(super) async fn put_profile(
    server: &Server,
    me: &Identity,
    request: PutProfile,
) -> Result<Answer, Refusal> {
    check(&request.display_name, DISPLAY_NAME_BYTES_MAX)?;
    check(&request.status, STATUS_BYTES_MAX)?;
    take(server, me).await?;
    server
        .store
        .put_profile(me.account, &request.display_name, &request.status)
        .await?;
    Ok(Answer::done())
}

/// GetSettings.
pub(super) async fn get_settings(server: &Server, me: &Identity) -> Result<Answer, Refusal> {
    let profile = server.store.profile(me.account).await?;
    let profile = profile.ok_or(Refusal::new(ErrorCode::NotLoggedIn))?;
    let files = server.blobs.usage(me.account).await?;
    let shown = |shows: bool| {
        let shown = if shows {
            wire::Shown::ToAll
        } else {
            wire::Shown::ToNobody
        };
        shown.into()
    };
    Ok(Answer::plain(Response::Settings(wire::Settings {
        directory: shown(profile.shows_directory),
        online: shown(profile.shows_online),
        last_seen: shown(profile.shows_last_seen),
        display_name: profile.display_name,
        status: profile.status,
        blob_bytes_used: files.bytes,
        blob_bytes_max: files.bytes_max,
    })))
}
