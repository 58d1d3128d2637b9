//! Who has an account here, and under which identity and devices.

use std::time::Duration;

use sotto_protocol::limits::{USERNAME_BYTES_MAX, USERS_PAGE_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, GetAccount, ListUsers};
use sotto_protocol::{ErrorCode, Username};

use super::Answer;
use crate::config::Directory;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::{AccountRow, Listing, UserFilter};

/// Look-ups of either kind that one account may make in a minute: far above
/// what a person does, far below what copying a directory takes.
const LOOKUPS_PER_MINUTE: u32 = 300;
const MINUTE: Duration = Duration::from_secs(60);

/// Names that one account may try in an hour without being shown who has them.
const HIDDEN_LOOKUPS_PER_HOUR: u32 = 60;
const HOUR: Duration = Duration::from_secs(3600);

/// Whether an account shows itself to whoever looked it up, by its own choice and the deployment's.
pub(super) fn is_seen(server: &Server, found: Option<&AccountRow>) -> bool {
    found.is_some_and(|row| {
        row.is_contact
            || (server.config.directory == Directory::Listed && row.profile.shows_directory)
    })
}

/// Counts a name that was tried in vain, whether somebody hides behind it or nobody has it.
pub(super) async fn take_lookup(server: &Server, me: &Identity) -> Result<(), Refusal> {
    let key: [&[u8]; 2] = [b"lookup", &me.account.to_key()];
    server.take(&key, HOUR, HIDDEN_LOOKUPS_PER_HOUR).await
}

async fn take(server: &Server, me: &Identity) -> Result<(), Refusal> {
    let key: [&[u8]; 2] = [b"directory", &me.account.to_key()];
    server.take(&key, MINUTE, LOOKUPS_PER_MINUTE).await
}

/// ListUsers.
pub(super) async fn list_users(
    server: &Server,
    me: &Identity,
    request: ListUsers,
) -> Result<Answer, Refusal> {
    if request.prefix.len() > USERNAME_BYTES_MAX || request.after.len() > USERNAME_BYTES_MAX {
        return Err(Refusal::new(ErrorCode::NameInvalid));
    }
    let filter = match wire::UserFilter::try_from(request.filter) {
        Ok(wire::UserFilter::All) => UserFilter::All,
        Ok(wire::UserFilter::Online) => UserFilter::Online,
        Err(_) => return Err(Refusal::malformed("There is no such filter.")),
    };
    take(server, me).await?;
    let page_max = u32::try_from(USERS_PAGE_MAX).unwrap_or(u32::MAX);
    let limit = match request.limit {
        0 => page_max,
        limit => limit.min(page_max),
    };
    let listing = match server.config.directory {
        Directory::Listed => Listing::Shown,
        Directory::Contacts => Listing::Contacts,
        Directory::Hidden => return Ok(Answer::plain(Response::Users(wire::Users::default()))),
    };
    let asks = (me.account, listing);
    let range = (request.prefix.as_str(), request.after.as_str());
    let page = server.store.list_users(asks, range, limit, filter).await?;
    Ok(Answer::plain(Response::Users(wire::Users {
        users: page
            .users
            .into_iter()
            .map(|user| wire::User {
                username: user.username.to_string(),
                online: user.online,
                last_seen_ms: user.last_seen_ms,
                display_name: user.display_name,
                status: user.status,
            })
            .collect(),
        more: page.more,
    })))
}

/// GetAccount.
pub(super) async fn get_account(
    server: &Server,
    me: &Identity,
    request: GetAccount,
) -> Result<Answer, Refusal> {
    let username =
        Username::parse(&request.username).map_err(|_| Refusal::new(ErrorCode::NameInvalid))?;
    take(server, me).await?;
    let found = server.store.account(&username, me.account).await?;
    let Some(account) = found.filter(|found| is_seen(server, Some(found))) else {
        take_lookup(server, me).await?;
        return Err(Refusal::new(ErrorCode::UnknownUser));
    };
    let (profile, is_me) = (account.profile, username == me.username);
    Ok(Answer::plain(Response::Account(wire::Account {
        username: request.username,
        identity_key: account.identity_key.to_vec(),
        certificates: account
            .certificates
            .iter()
            .map(|bytes| bytes.to_vec())
            .collect(),
        online: account.online && (profile.shows_online || is_me),
        last_seen_ms: if profile.shows_last_seen || is_me {
            account.last_seen_ms
        } else {
            0
        },
        display_name: profile.display_name,
        status: profile.status,
    })))
}
