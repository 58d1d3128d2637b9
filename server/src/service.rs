//! Requests, answered: plain functions over the store. Each checks what came
//! from the client, asks for the one verb it needs, and maps its refusal.
//! Sessions call [`answer`]; no service knows sockets, frames or order.

mod account;
mod conversation;
mod directory;
mod key_package;
mod login;

use std::net::IpAddr;
use std::sync::Arc;

use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::{ConversationId, ErrorCode};

use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::MemberState;

pub(crate) use conversation::append_message;

/// What a login needs to know of its connection.
pub(crate) struct Connection {
    /// The client's address, by the PROXY header where a trusted front wrote one.
    pub(crate) address: IpAddr,
    /// The challenge, if it was not taken by an earlier attempt.
    pub(crate) nonce: Option<[u8; 32]>,
    /// The TLS exporter's value for device logins.
    pub(crate) exporter: [u8; 32],
}

/// What an answer changes in the session that asked.
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// It speaks for somebody from now on.
    LoggedIn(Box<Identity>),
    /// Its device is gone: the session ends with the answer.
    LoggedOut,
    /// Deliveries begin.
    Resumed {
        /// The device's logs.
        states: Vec<MemberState>,
        /// Where the device says that it stands.
        own: Vec<(ConversationId, u64)>,
    },
    /// A commit of its own was stored: its device reads this log from there on, if it did not before.
    Appended {
        /// The log.
        conversation: ConversationId,
        /// Its place.
        seq: u64,
    },
}

/// A request carried out.
pub(crate) struct Answer {
    /// What the client is told.
    pub(crate) body: Response,
    /// What changes in the session.
    pub(crate) effect: Effect,
}

impl Answer {
    fn plain(body: Response) -> Self {
        Self {
            body,
            effect: Effect::None,
        }
    }

    fn done() -> Self {
        Self::plain(Response::Done(sotto_protocol::wire::Done {}))
    }
}

/// Answers a login.
pub(crate) async fn log_in(
    server: Arc<Server>,
    connection: Connection,
    request: Request,
) -> Result<Answer, Refusal> {
    match request {
        Request::Register(request) => account::register(&server, &connection, request).await,
        Request::PasswordLogin(request) => login::by_password(&server, request).await,
        Request::DeviceLogin(request) => login::by_device(&server, &connection, request).await,
        _ => Err(Refusal::new(ErrorCode::NotLoggedIn)),
    }
}

/// Answers a request of somebody who is logged in. Appends of messages,
/// acknowledgements and pings are the session's own business.
pub(crate) async fn answer(
    server: Arc<Server>,
    identity: Identity,
    request: Request,
) -> Result<Answer, Refusal> {
    let (server, me) = (&*server, &identity);
    match request {
        Request::ChangePassword(request) => account::change_password(server, me, request).await,
        Request::Logout(_) => account::log_out(server, me).await,
        Request::ListUsers(request) => directory::list_users(server, me, request).await,
        Request::GetAccount(request) => directory::get_account(server, me, request).await,
        Request::PublishKeyPackages(request) => key_package::publish(server, me, request).await,
        Request::ClaimKeyPackages(request) => key_package::claim(server, me, request).await,
        Request::CreateConversation(request) => conversation::create(server, me, request).await,
        Request::AppendCommit(request) => conversation::append_commit(server, me, request).await,
        Request::GetSync(request) => conversation::get_sync(server, me, request).await,
        Request::Resume(request) => conversation::resume(server, me, request).await,
        Request::GetGroupInfo(request) => conversation::get_group_info(server, me, request).await,
        Request::FindPair(request) => conversation::find_pair(server, me, request).await,
        Request::Hello(_)
        | Request::Register(_)
        | Request::PasswordLogin(_)
        | Request::DeviceLogin(_)
        | Request::Append(_)
        | Request::Acknowledge(_)
        | Request::Ping(_)
        | Request::Pong(_) => Err(Refusal::new(ErrorCode::Malformed)),
        _ => Err(Refusal::malformed(
            "This server does not know that request.",
        )),
    }
}
