//! Frames on their way out: encoded once, written together, given back when empty.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use sotto_protocol::frame::{FrameError, encode_frame};
use sotto_protocol::wire::{ServerFrame, server_frame};
use tokio::io::AsyncWrite;

/// Bytes above which a session reads no further requests and no logs.
const FULL_BYTES: usize = 256 * 1024;
/// Bytes above which a session reads no logs: answers keep room.
const DELIVERIES_BYTES_MAX: usize = 128 * 1024;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    unflushed: bool,
}

/// How writing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing is left.
    All,
    /// Some was taken; the rest waits for the peer.
    Some,
    /// The peer takes nothing now.
    None,
}

impl Outbox {
    /// Queues a frame.
    ///
    /// # Errors
    /// When the frame is larger than frames may be; nothing is queued then.
    pub(super) fn push(
        &mut self,
        request_id: u64,
        body: server_frame::Body,
    ) -> Result<(), FrameError> {
        encode_frame(
            &ServerFrame {
                request_id,
                body: Some(body),
            },
            &mut self.bytes,
        )
    }

    /// Whether requests must wait.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES
    }

    /// Whether there is room for deliveries.
    pub(super) fn takes_deliveries(&self) -> bool {
        self.bytes.len() < DELIVERIES_BYTES_MAX
    }

    /// Whether everything left.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    /// Writes what it can.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut W,
        cx: &mut Context<'_>,
    ) -> io::Result<Written> {
        let mut taken = false;
        while !self.bytes.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &self.bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.bytes.advance(count);
                    self.unflushed = true;
                    taken = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(if taken { Written::Some } else { Written::None }),
            }
        }
        self.bytes = BytesMut::new();
        if self.unflushed {
            match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(if taken { Written::Some } else { Written::None }),
            }
        }
        Ok(Written::All)
    }
}
