//! Who has an account here, and under which identity and devices.

use std::time::Duration;

use sotto_protocol::limits::{USERNAME_BYTES_MAX, USERS_PAGE_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, GetAccount, ListUsers};
use sotto_protocol::{ErrorCode, Username};

use super::Answer;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::UserFilter;

/// Look-ups of either kind that one account may make in a minute: far above
/// what a person does, far below what copying a directory takes.
const LOOKUPS_PER_MINUTE: u32 = 300;
const MINUTE: Duration = Duration::from_secs(60);

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
    let page = server
        .store
        .list_users(&request.prefix, &request.after, limit, filter)
        .await?;
    Ok(Answer::plain(Response::Users(wire::Users {
        users: page
            .users
            .into_iter()
            .map(|user| wire::User {
                username: user.username.to_string(),
                online: user.online,
                ..wire::User::default()
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
    let account = server
        .store
        .account(&username)
        .await?
        .ok_or(Refusal::new(ErrorCode::UnknownUser))?;
    Ok(Answer::plain(Response::Account(wire::Account {
        username: request.username,
        identity_key: account.identity_key.to_vec(),
        certificates: account
            .certificates
            .iter()
            .map(|bytes| bytes.to_vec())
            .collect(),
        online: account.online,
        ..wire::Account::default()
    })))
}
