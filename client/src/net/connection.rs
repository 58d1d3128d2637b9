//! One open connection: bytes to frames and back, as a state to poll.
//!
//! Dropping a future that polls it loses nothing: both buffers live here.
//! Neither grows without bound: frames are taken off before more is read, and
//! whoever queues asks [`Connection::has_room`] first.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sotto_protocol::frame::{FrameError, FrameLimit, decode_frame, encode_frame};
use sotto_protocol::wire::{ClientFrame, ServerFrame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Above this many unsent bytes nothing more is queued.
const OUTGOING_BYTES_HIGH: usize = 256 * 1024;
/// Bytes asked for in one read.
const READ_BYTES: usize = 16 * 1024;

/// Why an open connection ended, in words for people; causes from libraries
/// are for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the server closed the connection")]
    Closed,
    #[error("the connection to the server broke")]
    Broken(#[from] std::io::Error),
    #[error("the server sent something that this version does not understand")]
    Frame(#[from] FrameError),
    #[error("the server does not answer any more")]
    Silent,
    #[error("the server asked to connect anew")]
    Left,
}

/// An open TLS connection with its buffers.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    incoming: BytesMut,
    outgoing: BytesMut,
    limit: FrameLimit,
    unflushed: Flush,
}

#[derive(PartialEq, Eq)]
enum Flush {
    Needed,
    Done,
}

impl Connection {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            limit: FrameLimit::BeforeLogin,
            unflushed: Flush::Done,
        }
    }

    /// From here on larger frames are taken.
    pub(crate) fn logged_in(&mut self) {
        self.limit = FrameLimit::AfterLogin;
    }

    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.len() < OUTGOING_BYTES_HIGH
    }

    pub(crate) fn queue(&mut self, frame: &ClientFrame) -> Result<(), LinkError> {
        Ok(encode_frame(frame, &mut self.outgoing)?)
    }

    /// Writes what it can and gives the next frame when there is one.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ServerFrame, LinkError>> {
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            if let Some(frame) = decode_frame(&mut self.incoming, self.limit)? {
                return Poll::Ready(Ok(frame));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// Writes everything that is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing))?;
            if written == 0 {
                return Poll::Ready(Err(LinkError::Closed));
            }
            self.outgoing.advance(written);
            self.unflushed = Flush::Needed;
        }
        if self.unflushed == Flush::Needed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = Flush::Done;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let mut scratch = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(LinkError::Closed));
        }
        self.incoming.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<ServerFrame, LinkError> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// The TLS exporter value that binds a login to this connection.
    pub(crate) fn exporter(&self) -> Result<[u8; 32], rustls::Error> {
        let (_, session) = self.stream.get_ref();
        session.export_keying_material([0; 32], b"EXPORTER-sotto-device-login", Some(&[]))
    }

    /// Sends what is queued, says goodbye, and waits for the server to have
    /// read it: closing over unread bytes would reset the connection and could
    /// destroy the last acknowledgements on their way.
    pub(crate) async fn close(mut self) {
        let flushed = std::future::poll_fn(|cx| self.poll_flush(cx)).await;
        if flushed.is_err() || self.stream.shutdown().await.is_err() {
            return;
        }
        while std::future::poll_fn(|cx| self.poll_fill(cx)).await.is_ok() {
            self.incoming.clear();
        }
    }
}
