//! What the comparison needs of XMPP: private instances of other servers, and a small client.
//!
//! A load driver, no chat client: it speaks direct TLS, SASL PLAIN, resource binding, presence and
//! one-to-one messages, and refuses everything else that a server may offer.

mod client;
mod lane;
mod peer;
mod peer_config;
mod xml;

pub(crate) use client::{Account, XmppClient};
pub(crate) use lane::{XmppLane, message_id, number_of, set_up};
pub(crate) use peer::{Peer, PeerKind};
pub(crate) use xml::XmlError;
