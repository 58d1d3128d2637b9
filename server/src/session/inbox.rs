//! Bytes on their way in: read through one scratch buffer a thread, so that a
//! connection keeps memory only for a frame that has arrived in part.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use sotto_protocol::frame::{FrameError, FrameLimit, decode_frame};
use sotto_protocol::wire::ClientFrame;
use tokio::io::{AsyncRead, ReadBuf};

/// The largest TLS record's plaintext.
const SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// What arrived and was not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: BytesMut,
}

impl Inbox {
    /// Reads once. 0 bytes stand for the end of the stream.
    pub(super) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(stream).poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {
                    self.bytes.extend_from_slice(buffer.filled());
                    Poll::Ready(Ok(buffer.filled().len()))
                }
            }
        })
    }

    /// Takes the next whole frame.
    ///
    /// # Errors
    /// When it is too large or does not decode: the connection is beyond repair.
    pub(super) fn take(&mut self, limit: FrameLimit) -> Result<Option<ClientFrame>, FrameError> {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
            return Ok(None);
        }
        decode_frame(&mut self.bytes, limit)
    }

    /// Forgets what is left.
    pub(super) fn clear(&mut self) {
        self.bytes = BytesMut::new();
    }
}
