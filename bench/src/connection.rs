//! One raw connection: frames over TLS, without engine, history or reconnecting.
//!
//! Answers pings by itself. It opens no payload, and refuses to queue pushes without bound while
//! it waits for an answer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use sotto_protocol::ErrorCode;
use sotto_protocol::frame::{FrameLimit, decode_frame, encode_frame};
use sotto_protocol::wire::{
    ClientFrame, Hello, HelloOk, Ping, Pong, ServerFrame, client_frame, server_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::error::BenchError;
use crate::target::Target;

/// The protocol version spoken.
const VERSION: u32 = 1;
/// The label of the TLS exporter value that a device signs.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-sotto-device-login";
/// An answer takes at most this.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 4 * 1024;
/// Pushes kept while an answer is awaited.
const PUSHED_MAX: usize = 4_096;

/// A connection on which Hello was exchanged.
pub(crate) struct Connection {
    stream: Box<TlsStream<TcpStream>>,
    incoming: BytesMut,
    outgoing: BytesMut,
    pushed: VecDeque<ServerFrame>,
    next_request: u64,
    hello: Option<HelloOk>,
    node: String,
}

impl Connection {
    /// Connects as client number `client` and says Hello.
    ///
    /// # Errors
    /// When the connection or the exchange fails.
    pub(crate) async fn open(target: &Target, client: u32) -> Result<Self, BenchError> {
        let mut connection = Self {
            stream: Box::new(target.open(client).await?),
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            pushed: VecDeque::new(),
            next_request: 1,
            hello: None,
            node: String::new(),
        };
        let hello = client_frame::Body::Hello(Hello {
            version_min: VERSION,
            version_max: VERSION,
            agent: "sotto-bench".to_owned(),
        });
        match connection.call("hello", hello).await? {
            server_frame::Body::HelloOk(hello) => {
                connection.node.clone_from(&hello.node);
                connection.hello = Some(hello);
            }
            _ => return Err(BenchError::Protocol("another answer to hello")),
        }
        Ok(connection)
    }

    /// What the server said at first; taken once, since its nonce is good for one login.
    ///
    /// # Errors
    /// When it was taken before.
    pub(crate) fn take_hello(&mut self) -> Result<HelloOk, BenchError> {
        self.hello
            .take()
            .ok_or(BenchError::Protocol("hello was used already"))
    }

    /// The name of the server that answered.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// The value that binds a login to this TLS connection.
    ///
    /// # Errors
    /// When TLS cannot export.
    pub(crate) fn exporter(&self) -> Result<[u8; 32], BenchError> {
        let (_, tls) = self.stream.get_ref();
        Ok(tls.export_keying_material([0; 32], EXPORTER_LABEL, None)?)
    }

    /// Queues a request and returns its number; [`flush`](Self::flush) sends it.
    ///
    /// # Errors
    /// When it exceeds a frame.
    pub(crate) fn queue(&mut self, body: client_frame::Body) -> Result<u64, BenchError> {
        let request_id = match &body {
            client_frame::Body::Acknowledge(_) | client_frame::Body::Pong(_) => 0,
            _ => {
                let id = self.next_request;
                self.next_request += 1;
                id
            }
        };
        let frame = ClientFrame {
            request_id,
            body: Some(body),
        };
        encode_frame(&frame, &mut self.outgoing)?;
        Ok(request_id)
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

    /// The next frame, waiting for it. May be dropped and called again without losing bytes.
    ///
    /// # Errors
    /// When the connection is gone or speaks nonsense.
    pub(crate) async fn next(&mut self) -> Result<ServerFrame, BenchError> {
        match self.pushed.pop_front() {
            Some(frame) => Ok(frame),
            None => self.read().await,
        }
    }

    /// The next frame that was not set aside.
    async fn read(&mut self) -> Result<ServerFrame, BenchError> {
        loop {
            if let Some(frame) = self.decode()? {
                return Ok(frame);
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

    /// The next frame that has already arrived, if any. Answers pings on the way.
    ///
    /// # Errors
    /// When what arrived is nonsense.
    pub(crate) fn take(&mut self) -> Result<Option<ServerFrame>, BenchError> {
        if let Some(frame) = self.pushed.pop_front() {
            return Ok(Some(frame));
        }
        self.decode()
    }

    fn decode(&mut self) -> Result<Option<ServerFrame>, BenchError> {
        loop {
            let frame: ServerFrame = match decode_frame(&mut self.incoming, FrameLimit::AfterLogin)?
            {
                Some(frame) => frame,
                None => return Ok(None),
            };
            match frame.body {
                Some(server_frame::Body::Ping(_)) => {
                    self.queue(client_frame::Body::Pong(Pong {}))?;
                }
                Some(server_frame::Body::Move(_)) => return Err(BenchError::Moved),
                _ => return Ok(Some(frame)),
            }
        }
    }

    /// Sends a request and waits for its answer; what is pushed meanwhile stays for
    /// [`next`](Self::next).
    ///
    /// # Errors
    /// When it is refused, not answered within 30 s, or the connection is gone.
    pub(crate) async fn call(
        &mut self,
        what: &'static str,
        body: client_frame::Body,
    ) -> Result<server_frame::Body, BenchError> {
        let request_id = self.queue(body)?;
        self.flush().await?;
        let answer = async {
            loop {
                let frame = self.read().await?;
                if frame.request_id == request_id {
                    return Ok(frame);
                }
                if self.pushed.len() >= PUSHED_MAX {
                    return Err(BenchError::Protocol("too many pushes before an answer"));
                }
                self.pushed.push_back(frame);
            }
        };
        let frame = timeout(ANSWER_LIMIT, answer)
            .await
            .map_err(|_| BenchError::TimedOut(what))??;
        answer_of(what, frame)
    }

    /// Whether the other side answers.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub(crate) async fn ping(&mut self) -> Result<(), BenchError> {
        match self.call("ping", client_frame::Body::Ping(Ping {})).await? {
            server_frame::Body::Pong(_) => Ok(()),
            _ => Err(BenchError::Protocol("another answer to ping")),
        }
    }

    /// Answers pings, as an idle client does, until `done` says so.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) async fn hold(
        &mut self,
        done: &mut watch::Receiver<bool>,
    ) -> Result<(), BenchError> {
        self.trim();
        loop {
            tokio::select! {
                frame = self.read() => {
                    self.pushed.push_back(frame?);
                    if self.pushed.len() >= PUSHED_MAX {
                        return Err(BenchError::Protocol("too many pushes to an idle client"));
                    }
                }
                // A sender that is gone has nothing more to say either.
                _ = done.wait_for(|done| *done) => return Ok(()),
            }
        }
    }

    /// Gives back the receive buffer: an idle connection needs none.
    pub(crate) fn trim(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        if self.outgoing.is_empty() {
            self.outgoing = BytesMut::new();
        }
    }

    /// Says goodbye to TLS and ends the sending side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) async fn goodbye(&mut self) -> Result<(), BenchError> {
        self.stream
            .shutdown()
            .await
            .map_err(BenchError::io("closing"))
    }
}

/// The body of an answer, or its refusal as an error.
///
/// # Errors
/// When the server refused or sent no body.
pub(crate) fn answer_of(
    what: &'static str,
    frame: ServerFrame,
) -> Result<server_frame::Body, BenchError> {
    match frame.body {
        Some(server_frame::Body::Error(error)) => Err(BenchError::Refused {
            what,
            code: ErrorCode::from_number(error.code),
            message: error.message,
            retry_after_ms: error.retry_after_ms,
        }),
        Some(body) => Ok(body),
        None => Err(BenchError::Protocol("an empty answer")),
    }
}
