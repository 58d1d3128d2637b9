//! Requests, answered: plain functions over the store. Each checks what came
//! from the client, asks for the one verb it needs, and maps its refusal.
//! Sessions call [`answer`]; no service knows sockets, frames or order.

mod account;
mod blob;
mod conversation;
mod device;
mod directory;
mod join_link;
mod key_package;
mod link;
mod login;
mod profile;
mod room;

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
        /// Logs that are not to be delivered now.
        held: Vec<ConversationId>,
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

/// Answers what may be asked before a login.
pub(crate) async fn log_in(
    server: Arc<Server>,
    connection: Connection,
    request: Request,
) -> Result<Answer, Refusal> {
    match request {
        Request::Register(request) => account::register(&server, &connection, request).await,
        Request::PasswordLogin(request) => login::by_password(&server, request).await,
        Request::DeviceLogin(request) => login::by_device(&server, &connection, request).await,
        Request::PutLinkOffer(request) => link::put_offer(&server, &connection, request).await,
        Request::GetLinkAnswer(request) => link::get_answer(&server, &connection, request).await,
        Request::GetBackup(request) => device::get_backup(&server, request).await,
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
        Request::Leave(request) => conversation::leave(server, me, request).await,
        Request::GetTree(request) => conversation::get_tree(server, me, request).await,
        other => answer_more(server, me, other).await,
    }
}

/// The same for what people do less often.
async fn answer_more(server: &Server, me: &Identity, request: Request) -> Result<Answer, Refusal> {
    match request {
        Request::SetVisibility(request) => profile::set_visibility(server, me, request).await,
        Request::PutProfile(request) => profile::put_profile(server, me, request).await,
        Request::GetSettings(_) => profile::get_settings(server, me).await,
        Request::SetRoom(request) => room::set_room(server, me, request).await,
        Request::ListRooms(request) => room::list_rooms(server, me, request).await,
        Request::CreateJoinLink(request) => join_link::create(server, me, request).await,
        Request::RevokeJoinLink(request) => join_link::revoke(server, me, request).await,
        Request::ListJoinLinks(request) => join_link::list(server, me, request).await,
        Request::RequestJoin(request) => join_link::request(server, me, request).await,
        Request::AddDevice(request) => device::add(server, me, request).await,
        Request::RevokeDevice(request) => device::revoke(server, me, request).await,
        Request::PutBackup(request) => device::put_backup(server, me, request).await,
        Request::GetLinkOffer(request) => link::get_offer(server, me, request).await,
        Request::PutLinkAnswer(request) => link::put_answer(server, me, request).await,
        Request::StartUpload(request) => blob::start(server, me, request).await,
        Request::UploadChunk(request) => blob::upload(server, me, request).await,
        Request::GetBlob(request) => blob::get(server, request).await,
        Request::DeleteBlob(request) => blob::delete(server, me, request).await,
        // The rest is for another moment, or the session's own business.
        _ => Err(Refusal::new(ErrorCode::Malformed)),
    }
}
