//! One XMPP connection: direct TLS, in-band registration, SASL PLAIN, binding, messages, pings.
//!
//! Answers the server's pings by itself. Like the driver of Sotto's own protocol it gathers what is
//! queued and writes it at once, so that both cost the machine alike.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use quick_xml::escape::escape;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::peer_config::DOMAIN;
use super::xml::{Arrived, Element, StreamParser};
use crate::error::BenchError;
use crate::target::Target;

/// An answer takes at most this.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 4 * 1024;
/// Elements that may come before an awaited one.
const BEFORE_ANSWER_MAX: usize = 64;

/// A name and a password on a peer.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Number of the client, for its source address.
    number: u32,
    name: String,
    password: String,
}

impl Account {
    /// A new name, so that no run meets another's.
    pub(crate) fn new(number: u32) -> Self {
        Self {
            number,
            name: format!("b{:012x}.{number}", rand::random::<u64>() >> 16),
            password: format!("{:032x}", rand::random::<u128>()),
        }
    }

    /// Its address without a resource.
    pub(crate) fn bare_jid(&self) -> String {
        format!("{}@{DOMAIN}", self.name)
    }
}

/// A connection that is logged in and has a resource.
pub(crate) struct XmppClient {
    stream: Box<TlsStream<TcpStream>>,
    incoming: BytesMut,
    outgoing: BytesMut,
    parser: StreamParser,
    jid: String,
}

/// Whether the account must be made first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    New,
    Known,
}

impl XmppClient {
    /// Makes the account and logs in.
    ///
    /// # Errors
    /// When the server refuses, is silent for a minute, or is gone.
    pub(crate) async fn register(target: &Target, account: &Account) -> Result<Self, BenchError> {
        limited(Self::open(target, account, Existence::New)).await
    }

    /// Logs in. No message comes before [`announce`](Self::announce).
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub(crate) async fn login(target: &Target, account: &Account) -> Result<Self, BenchError> {
        limited(Self::open(target, account, Existence::Known)).await
    }

    async fn open(
        target: &Target,
        account: &Account,
        existence: Existence,
    ) -> Result<Self, BenchError> {
        let mut client = Self {
            stream: Box::new(target.open(account.number).await?),
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            parser: StreamParser::default(),
            jid: String::new(),
        };
        let features = client.open_stream().await?;
        if existence == Existence::New {
            client.make_account(account).await?;
        }
        client.authenticate(account, &features).await?;
        client.parser = StreamParser::default();
        client.open_stream().await?;
        client.bind().await?;
        Ok(client)
    }

    async fn open_stream(&mut self) -> Result<Element, BenchError> {
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xml:lang='en' \
             xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        );
        self.queue(&header);
        match self.arrive().await? {
            Arrived::Opened(_) => self.next_named("features").await,
            _ => Err(BenchError::Protocol("no stream from the peer")),
        }
    }

    async fn make_account(&mut self, account: &Account) -> Result<(), BenchError> {
        let request = format!(
            "<iq type='set' id='r' to='{DOMAIN}'><query xmlns='jabber:iq:register'>\
             <username>{}</username><password>{}</password></query></iq>",
            account.name, account.password
        );
        self.queue(&request);
        self.result_of("registration").await.map(|_| ())
    }

    async fn authenticate(
        &mut self,
        account: &Account,
        features: &Element,
    ) -> Result<(), BenchError> {
        let mechanisms = features
            .child("mechanisms")
            .map(Element::children)
            .unwrap_or_default();
        if !mechanisms.iter().any(|one| one.text == "PLAIN") {
            return Err(BenchError::Protocol("the peer does not offer SASL PLAIN"));
        }
        let initial = STANDARD.encode(format!("\0{}\0{}", account.name, account.password));
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{initial}</auth>"
        );
        self.queue(&auth);
        match self.next().await?.name.as_str() {
            "success" => Ok(()),
            _ => Err(BenchError::Protocol("the peer refused the login")),
        }
    }

    async fn bind(&mut self) -> Result<(), BenchError> {
        self.queue(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>bench</resource></bind></iq>",
        );
        let answer = self.result_of("binding").await?;
        let jid = answer.child("bind").and_then(|bind| bind.child("jid"));
        let jid = jid.ok_or(BenchError::Protocol("a binding without an address"))?;
        self.jid.clone_from(&jid.text);
        Ok(())
    }

    async fn result_of(&mut self, what: &'static str) -> Result<Element, BenchError> {
        self.flush().await?;
        let answer = self.next_named("iq").await?;
        if answer.attribute("type") == Some("result") {
            return Ok(answer);
        }
        let reason = answer.child("error").and_then(|e| e.children().first());
        let reason = reason.map_or("no reason", |reason| reason.name.as_str());
        Err(BenchError::Peer(format!("{what} was refused: {reason}")))
    }

    async fn next_named(&mut self, name: &str) -> Result<Element, BenchError> {
        for _ in 0..BEFORE_ANSWER_MAX {
            let element = self.next().await?;
            if element.name == name {
                return Ok(element);
            }
        }
        Err(BenchError::Protocol("too much before an answer"))
    }

    /// The address with its resource.
    pub(crate) fn jid(&self) -> &str {
        &self.jid
    }

    /// Says that one is there: from now on messages come, those that waited first.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) async fn announce(&mut self) -> Result<(), BenchError> {
        self.queue("<presence/>");
        self.flush().await
    }

    /// Waits until the server has carried out everything before, by a ping to it.
    ///
    /// # Errors
    /// When the connection is gone, or there is no answer for a minute.
    pub(crate) async fn settle(&mut self) -> Result<(), BenchError> {
        self.queue_ping("settle");
        limited(async {
            for _ in 0..BEFORE_ANSWER_MAX {
                let element = self.next().await?;
                if element.name == "iq" && element.attribute("id") == Some("settle") {
                    return Ok(());
                }
            }
            Err(BenchError::Protocol("too much before an answer"))
        })
        .await
    }

    /// Queues a message; [`flush`](Self::flush) sends it.
    pub(crate) fn queue_message(&mut self, to: &str, id: &str, body: &str) {
        // Writing to memory does not fail.
        let _ = write!(
            self.outgoing,
            "<message to='{to}' id='{id}' type='chat'><body>{}</body></message>",
            escape(body)
        );
    }

    /// Queues a ping to the server, which answers when it has taken all that came before.
    pub(crate) fn queue_ping(&mut self, id: &str) {
        let _ = write!(
            self.outgoing,
            "<iq type='get' id='{id}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>"
        );
    }

    fn queue(&mut self, text: &str) {
        self.outgoing.extend_from_slice(text.as_bytes());
    }

    /// Sends what is queued. Dropped midway, it goes on where it was at the next call.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) async fn flush(&mut self) -> Result<(), BenchError> {
        while !self.outgoing.is_empty() {
            self.stream
                .write_buf(&mut self.outgoing)
                .await
                .map_err(BenchError::io("sending"))?;
        }
        self.stream.flush().await.map_err(BenchError::io("sending"))
    }

    /// The next element, waiting for it. May be dropped and called again without losing bytes.
    ///
    /// # Errors
    /// When the stream is over or holds nonsense.
    pub(crate) async fn next(&mut self) -> Result<Element, BenchError> {
        loop {
            match self.arrive().await? {
                Arrived::Element(element) => {
                    if let Some(element) = self.answered(element)? {
                        return Ok(element);
                    }
                }
                Arrived::Opened(_) => return Err(BenchError::Protocol("a second stream")),
                Arrived::Closed => return Err(BenchError::Closed),
            }
        }
    }

    /// The next element that has already arrived, if any.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) fn take(&mut self) -> Result<Option<Element>, BenchError> {
        loop {
            match self.parser.take(&mut self.incoming)? {
                None => return Ok(None),
                Some(Arrived::Element(element)) => {
                    if let Some(element) = self.answered(element)? {
                        return Ok(Some(element));
                    }
                }
                Some(Arrived::Opened(_)) => return Err(BenchError::Protocol("a second stream")),
                Some(Arrived::Closed) => return Err(BenchError::Closed),
            }
        }
    }

    async fn arrive(&mut self) -> Result<Arrived, BenchError> {
        loop {
            if let Some(arrived) = self.parser.take(&mut self.incoming)? {
                return Ok(arrived);
            }
            if !self.outgoing.is_empty() {
                self.flush().await?;
            }
            self.incoming.reserve(READ_BYTES);
            let read = self
                .stream
                .read_buf(&mut self.incoming)
                .await
                .map_err(BenchError::io("receiving"))?;
            if read == 0 {
                return Err(BenchError::Closed);
            }
        }
    }

    /// Answers a ping; gives everything else back. An error of the whole stream ends it.
    fn answered(&mut self, element: Element) -> Result<Option<Element>, BenchError> {
        if element.name == "error" {
            let reason = element.children().first().map(|one| one.name.clone());
            let reason = reason.unwrap_or_default();
            return Err(BenchError::Peer(format!("the stream ended: {reason}")));
        }
        let is_request = element.name == "iq" && element.attribute("type") == Some("get");
        if !is_request || element.child("ping").is_none() {
            return Ok(Some(element));
        }
        let id = element.attribute("id").unwrap_or_default();
        let answer = format!("<iq type='result' id='{}' to='{DOMAIN}'/>", escape(id));
        self.queue(&answer);
        Ok(None)
    }

    /// Goes away and waits until the server has let go.
    ///
    /// # Errors
    /// When that takes more than a minute.
    pub(crate) async fn goodbye(&mut self) -> Result<(), BenchError> {
        self.queue("<presence type='unavailable'/></stream:stream>");
        limited(async {
            self.flush().await?;
            loop {
                match self.next().await {
                    Ok(_) => {}
                    // Closed by an end of the stream or of the connection: gone either way.
                    Err(BenchError::Closed | BenchError::Io { .. }) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        })
        .await
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, BenchError>>) -> Result<T, BenchError> {
    timeout(ANSWER_LIMIT, work)
        .await
        .map_err(|_| BenchError::TimedOut("an answer of the peer"))?
}
