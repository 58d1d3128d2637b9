//! The relay by which a new device and an old one find each other. What passes
//! is sealed by keys that come from the code that people carry over; the
//! server knows neither who offers nor what.

use std::time::Duration;

use sotto_protocol::ErrorCode;
use sotto_protocol::limits::{LINK_ANSWER_BYTES_MAX, LINK_OFFER_BYTES_MAX};
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, GetLinkAnswer, GetLinkOffer, PutLinkAnswer, PutLinkOffer};

use super::{Answer, Connection};
use crate::refusal::Refusal;
use crate::server::{Server, network_prefix};
use crate::session::machine::Identity;

const HOUR: Duration = Duration::from_secs(3600);
/// Offers that one network prefix may leave in an hour.
const OFFERS_PER_HOUR: u32 = 30;
/// Looks for an answer that one network prefix may take in an hour: one device's, every two
/// seconds, several times over.
const LOOKS_PER_HOUR: u32 = 3_600;
/// Codes that one account may try in an hour.
const TRIES_PER_HOUR: u32 = 20;

/// PutLinkOffer, before login.
pub(super) async fn put_offer(
    server: &Server,
    connection: &Connection,
    request: PutLinkOffer,
) -> Result<Answer, Refusal> {
    let place = place(&request.rendezvous_id)?;
    check(&request.offer, LINK_OFFER_BYTES_MAX)?;
    let prefix = network_prefix(connection.address);
    server
        .take(&[b"link-offer", &prefix], HOUR, OFFERS_PER_HOUR)
        .await?;
    if server.store.put_link_offer(place, &request.offer).await? {
        Ok(Answer::done())
    } else {
        Err(Refusal::with(
            ErrorCode::UnknownLink,
            "This code is in use; show a new one.",
        ))
    }
}

/// GetLinkOffer.
pub(super) async fn get_offer(
    server: &Server,
    me: &Identity,
    request: GetLinkOffer,
) -> Result<Answer, Refusal> {
    let place = place(&request.rendezvous_id)?;
    take_try(server, me).await?;
    let offer = server.store.link_offer(place).await?;
    let offer = offer.ok_or(Refusal::new(ErrorCode::UnknownLink))?;
    Ok(Answer::plain(Response::LinkOffer(wire::LinkOffer {
        offer: offer.to_vec(),
    })))
}

/// PutLinkAnswer.
pub(super) async fn put_answer(
    server: &Server,
    me: &Identity,
    request: PutLinkAnswer,
) -> Result<Answer, Refusal> {
    let place = place(&request.rendezvous_id)?;
    check(&request.answer, LINK_ANSWER_BYTES_MAX)?;
    take_try(server, me).await?;
    if server.store.put_link_answer(place, &request.answer).await? {
        Ok(Answer::done())
    } else {
        Err(Refusal::new(ErrorCode::UnknownLink))
    }
}

/// GetLinkAnswer, before login.
pub(super) async fn get_answer(
    server: &Server,
    connection: &Connection,
    request: GetLinkAnswer,
) -> Result<Answer, Refusal> {
    let place = place(&request.rendezvous_id)?;
    let prefix = network_prefix(connection.address);
    server
        .take(&[b"link-answer", &prefix], HOUR, LOOKS_PER_HOUR)
        .await?;
    let answer = server.store.take_link_answer(place).await?;
    Ok(Answer::plain(Response::LinkAnswer(wire::LinkAnswer {
        answer: answer.unwrap_or_default().to_vec(),
    })))
}

async fn take_try(server: &Server, me: &Identity) -> Result<(), Refusal> {
    let key: [&[u8]; 2] = [b"link-code", &me.account.to_key()];
    server.take(&key, HOUR, TRIES_PER_HOUR).await
}

fn place(bytes: &[u8]) -> Result<[u8; 16], Refusal> {
    bytes
        .try_into()
        .map_err(|_| Refusal::malformed("A rendezvous id has 16 bytes."))
}

fn check(sealed: &[u8], bytes_max: usize) -> Result<(), Refusal> {
    if sealed.len() > bytes_max {
        Err(Refusal::new(ErrorCode::TooLarge))
    } else if sealed.is_empty() {
        Err(Refusal::malformed("A sealed message cannot be empty."))
    } else {
        Ok(())
    }
}
