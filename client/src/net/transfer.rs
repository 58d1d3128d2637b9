//! Moves sealed files: on a connection of its own, so that no text waits for one. It logs in by
//! the device and never resumes, so nothing is delivered here.
//!
//! A lost connection costs only time: the server says how much it has, and both directions go on
//! from there, at whichever server answers next. A few pieces are under way at once. Knows blobs,
//! offsets and bytes; keys and files are its callers'. Gives up when nothing moved for a minute,
//! or when the server refuses for good.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use sotto_crypto::{LocalDevice, LoginChallenge};
use sotto_protocol::limits::BLOB_PIECE_BYTES_MAX as PIECE_BYTES;
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{self, ClientFrame};
use sotto_protocol::{BlobId, ErrorCode};
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::connection::{Connection, LinkError};
use super::dial::{DialError, Dialer, Established};

/// Pieces under way at once: 2 MiB. Twice what servers make durable at a time, so that the next are
/// on their way meanwhile.
const UNDER_WAY_MAX: usize = 8;
/// A server that says nothing for so long is left for another.
const SILENCE: Duration = Duration::from_secs(40);
/// Without a byte of progress for so long, the transfer ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first request id.
const FIRST_ID: u64 = 1;

/// Why a transfer ended early. What was stored so far stays, and another attempt goes on with it.
#[derive(Debug)]
pub(crate) enum TransferError<E> {
    /// The server refuses: its code, its sentence, and when to try again, in milliseconds.
    Refused(ErrorCode, String, u64),
    /// No server was reached for a minute, or trying again makes no sense.
    Unreachable(DialError),
    /// A server was reached, and yet nothing moved for a minute.
    Stalled,
    /// The file's own side failed.
    File(E),
}

/// Who transfers.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    /// The account's name.
    pub(crate) username: &'a str,
    /// Its device.
    pub(crate) device: &'a LocalDevice,
}

/// A sealed file to be sent, in order and once. Every piece but the last has 262,144 bytes.
pub(crate) trait Source {
    /// Why it cannot be read.
    type Error;

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// When the file cannot be read, or is another by now.
    fn next_piece(&mut self) -> Result<Option<Bytes>, Self::Error>;
}

/// How a request came out.
enum Outcome<T> {
    Got(T),
    /// The connection is of no use; after this many milliseconds at least, make another.
    Again(u64),
}

/// What ends a round on one connection.
type Round<T, E> = Result<Outcome<T>, TransferError<E>>;

/// Transfers over connections that come and go.
pub(crate) struct Transfer<'a> {
    dialer: Dialer,
    login: Login<'a>,
    link: Option<Connection>,
    next_id: u64,
    backoff: Backoff,
    moved_at: Instant,
}

/// Pieces that were sent and not answered, oldest first.
#[derive(Default)]
struct Window {
    pieces: VecDeque<(u64, Bytes)>,
    /// How many of them, from the front, are on the present connection.
    sent: usize,
    /// Where the next piece of the source begins.
    produced: u64,
}

impl<'a> Transfer<'a> {
    /// Ready to connect.
    pub(crate) fn new(dialer: Dialer, login: Login<'a>) -> Self {
        Self {
            dialer,
            login,
            link: None,
            next_id: FIRST_ID,
            backoff: Backoff::default(),
            moved_at: Instant::now(),
        }
    }

    /// Sends a sealed file of `size` bytes; `progress` hears how many the server has.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub(crate) async fn upload<S: Source>(
        &mut self,
        (blob, size): (BlobId, u64),
        source: &mut S,
        mut progress: impl FnMut(u64),
    ) -> Result<(), TransferError<S::Error>> {
        self.moved();
        let mut window = Window::default();
        loop {
            let round = self
                .upload_round((blob, size), source, &mut window, &mut progress)
                .await?;
            match round {
                Outcome::Got(()) => return Ok(()),
                Outcome::Again(wait_ms) => self.pause(wait_ms).await?,
            }
        }
    }

    async fn upload_round<S: Source>(
        &mut self,
        (blob, size): (BlobId, u64),
        source: &mut S,
        window: &mut Window,
        progress: &mut impl FnMut(u64),
    ) -> Round<(), S::Error> {
        if let Outcome::Again(wait_ms) = self.connect().await? {
            return Ok(Outcome::Again(wait_ms));
        }
        let start = wire::StartUpload {
            blob_id: blob.to_vec(),
            size,
        };
        if self.ask(Ask::StartUpload(start)).is_err() {
            return Ok(Outcome::Again(0));
        }
        window.sent = 0;
        let mut durable = 0;
        loop {
            let state = match self.answer().await? {
                Outcome::Got(Answer::UploadState(state)) => state,
                Outcome::Got(_) => return Ok(Outcome::Again(0)),
                Outcome::Again(wait_ms) => return Ok(Outcome::Again(wait_ms)),
            };
            self.moved();
            // A server does not remember what another made durable between its own.
            durable = state.durable.max(durable);
            progress(durable);
            window.confirm(durable, source)?;
            if state.complete {
                return window.drain(source).map(Outcome::Got);
            }
            if self.fill(blob, window, source)? == Filled::Broken {
                return Ok(Outcome::Again(0));
            }
            if window.sent == 0 {
                // Everything was sent before, and it is not whole: another blob of this id.
                return Err(mismatch());
            }
        }
    }

    /// Sends pieces as far as there is room.
    fn fill<S: Source>(
        &mut self,
        blob: BlobId,
        window: &mut Window,
        source: &mut S,
    ) -> Result<Filled, TransferError<S::Error>> {
        while window.sent < UNDER_WAY_MAX {
            if !self.link.as_ref().is_some_and(Connection::has_room) {
                break;
            }
            let Some((offset, data)) = window.next(source)? else {
                break;
            };
            let chunk = wire::UploadChunk {
                blob_id: blob.to_vec(),
                offset,
                data,
            };
            if self.ask(Ask::UploadChunk(chunk)).is_err() {
                return Ok(Filled::Broken);
            }
            window.sent += 1;
        }
        Ok(Filled::Some)
    }

    /// Fetches a sealed file of `size` bytes from `from` on; `sink` takes the bytes in order.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub(crate) async fn download<E>(
        &mut self,
        (blob, size): (BlobId, u64),
        from: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), TransferError<E>> {
        self.moved();
        let mut at = from;
        while at < size {
            let round = self.download_round((blob, size), &mut at, &mut sink);
            match round.await? {
                Outcome::Got(()) => {}
                Outcome::Again(wait_ms) => self.pause(wait_ms).await?,
            }
        }
        Ok(())
    }

    async fn download_round<E>(
        &mut self,
        (blob, size): (BlobId, u64),
        at: &mut u64,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Round<(), E> {
        if let Outcome::Again(wait_ms) = self.connect().await? {
            return Ok(Outcome::Again(wait_ms));
        }
        let mut asked = *at;
        let mut awaited: VecDeque<u64> = VecDeque::new();
        while *at < size {
            while awaited.len() < UNDER_WAY_MAX && asked < size {
                // Pieces as the server keeps them: each is one row there.
                let aligned = PIECE_BYTES as u64 - asked % PIECE_BYTES as u64;
                let length = aligned.min(size - asked);
                let get = wire::GetBlob {
                    blob_id: blob.to_vec(),
                    offset: asked,
                    length: u32::try_from(length).unwrap_or(u32::MAX),
                };
                if self.ask(Ask::GetBlob(get)).is_err() {
                    return Ok(Outcome::Again(0));
                }
                awaited.push_back(length);
                asked += length;
            }
            let piece = match self.answer().await? {
                Outcome::Got(Answer::BlobPiece(piece)) => piece,
                Outcome::Got(_) => return Ok(Outcome::Again(0)),
                Outcome::Again(wait_ms) => return Ok(Outcome::Again(wait_ms)),
            };
            let wanted = awaited.pop_front().unwrap_or(0);
            // A server that serves something else is not asked again: the file's side decides.
            sink(&piece.data).map_err(TransferError::File)?;
            if piece.data.len() as u64 != wanted || piece.size != size {
                return Err(TransferError::Refused(
                    ErrorCode::UnknownBlob,
                    "The server has another file under this id.".to_owned(),
                    0,
                ));
            }
            *at += wanted;
            self.moved();
        }
        Ok(Outcome::Got(()))
    }

    /// Deletes a blob that nobody will ask for. One attempt: what fails expires by itself.
    pub(crate) async fn delete(&mut self, blob: BlobId) {
        let delete = Ask::DeleteBlob(wire::DeleteBlob {
            blob_id: blob.to_vec(),
        });
        if matches!(self.connect::<()>().await, Ok(Outcome::Got(()))) && self.ask(delete).is_ok() {
            let _ = self.answer::<()>().await;
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        if let Some(connection) = self.link.take() {
            // A goodbye that takes long is left.
            let _ = timeout(Duration::from_secs(1), connection.close()).await;
        }
    }

    fn moved(&mut self) {
        self.moved_at = Instant::now();
        self.backoff.reset();
    }

    async fn pause<E>(&mut self, at_least_ms: u64) -> Result<(), TransferError<E>> {
        self.link = None;
        if self.moved_at.elapsed() >= PATIENCE {
            return Err(TransferError::Stalled);
        }
        let wait_ms = self.backoff.next_ms(rand::random()).max(at_least_ms);
        sleep(Duration::from_millis(wait_ms.min(10_000))).await;
        Ok(())
    }

    /// A connection that is logged in.
    async fn connect<E>(&mut self) -> Round<(), E> {
        if self.link.is_some() {
            return Ok(Outcome::Got(()));
        }
        let established = match self.dialer.clone().dial().await {
            Ok(established) => established,
            Err(error) if error.is_final() || self.moved_at.elapsed() >= PATIENCE => {
                return Err(TransferError::Unreachable(error));
            }
            Err(error) => return Ok(Outcome::Again(error.retry_after_ms().unwrap_or(0))),
        };
        let Some(login) = self.device_login(&established) else {
            return Ok(Outcome::Again(0));
        };
        self.link = Some(established.connection);
        if self.ask(login).is_err() {
            return Ok(Outcome::Again(0));
        }
        match self.answer().await? {
            Outcome::Got(Answer::LoggedIn(_)) => {
                if let Some(connection) = &mut self.link {
                    connection.logged_in();
                }
                Ok(Outcome::Got(()))
            }
            Outcome::Got(_) => Ok(Outcome::Again(0)),
            Outcome::Again(wait_ms) => Ok(Outcome::Again(wait_ms)),
        }
    }

    fn device_login(&self, established: &Established) -> Option<Ask> {
        let certificate = self.login.device.certificate();
        // Another deployment has no use for this device's signature.
        if certificate.deployment() != &established.info.deployment {
            return None;
        }
        let signature = self.login.device.sign_login(&LoginChallenge {
            nonce: established.info.nonce.as_slice().try_into().ok()?,
            exporter: established.info.exporter,
        });
        Some(Ask::DeviceLogin(wire::DeviceLogin {
            username: self.login.username.to_owned(),
            device_id: certificate.device_id().to_vec(),
            signature: signature.to_vec(),
        }))
    }

    fn ask(&mut self, body: Ask) -> Result<(), LinkError> {
        let frame = ClientFrame {
            request_id: self.next_id,
            body: Some(body),
        };
        self.next_id += 1;
        self.link.as_mut().ok_or(LinkError::Closed)?.queue(&frame)
    }

    /// The next answer; they come in the order of the requests.
    async fn answer<E>(&mut self) -> Round<Answer, E> {
        loop {
            let Some(connection) = &mut self.link else {
                return Ok(Outcome::Again(0));
            };
            let frame = match timeout(SILENCE, connection.next()).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "transfer interrupted");
                    return Ok(Outcome::Again(0));
                }
                Err(_) => return Ok(Outcome::Again(0)),
            };
            match frame.body {
                Some(Answer::Ping(_)) => {
                    let pong = ClientFrame {
                        request_id: 0,
                        body: Some(Ask::Pong(wire::Pong {})),
                    };
                    if connection.queue(&pong).is_err() {
                        return Ok(Outcome::Again(0));
                    }
                }
                Some(Answer::Move(_)) => return Ok(Outcome::Again(0)),
                Some(Answer::Error(error)) => return refused(error),
                Some(body) if frame.request_id != 0 => return Ok(Outcome::Got(body)),
                _ => {}
            }
        }
    }
}

/// Whether a refusal passes by itself.
fn refused<T, E>(error: wire::Error) -> Round<T, E> {
    let code = ErrorCode::from_number(error.code);
    match code {
        ErrorCode::Unavailable | ErrorCode::RateLimited => Ok(Outcome::Again(error.retry_after_ms)),
        _ => Err(TransferError::Refused(
            code,
            error.message,
            error.retry_after_ms,
        )),
    }
}

fn mismatch<E>() -> TransferError<E> {
    TransferError::Refused(
        ErrorCode::BlobMismatch,
        "What the server has of the file is not what was sent; send it again.".to_owned(),
        0,
    )
}

#[derive(PartialEq, Eq)]
enum Filled {
    Some,
    Broken,
}

impl Window {
    /// The server has everything up to `stored`, and keeps it.
    fn confirm<S: Source>(
        &mut self,
        stored: u64,
        source: &mut S,
    ) -> Result<(), TransferError<S::Error>> {
        while let Some((offset, data)) = self.pieces.front() {
            if offset + data.len() as u64 > stored {
                break;
            }
            self.pieces.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        // What an earlier run sent is read again, for its digest, and not sent.
        while self.produced < stored {
            let piece = source.next_piece().map_err(TransferError::File)?;
            self.produced += piece.ok_or_else(mismatch)?.len() as u64;
        }
        let next = self.pieces.front().map_or(self.produced, |(at, _)| *at);
        if next == stored {
            Ok(())
        } else {
            Err(mismatch())
        }
    }

    /// The next piece to be sent on this connection.
    fn next<S: Source>(
        &mut self,
        source: &mut S,
    ) -> Result<Option<(u64, Bytes)>, TransferError<S::Error>> {
        if let Some((offset, data)) = self.pieces.get(self.sent) {
            return Ok(Some((*offset, data.clone())));
        }
        let Some(data) = source.next_piece().map_err(TransferError::File)? else {
            return Ok(None);
        };
        let offset = self.produced;
        self.produced += data.len() as u64;
        self.pieces.push_back((offset, data.clone()));
        Ok(Some((offset, data)))
    }

    /// A whole blob takes nothing more: the source must be at its end.
    fn drain<S: Source>(&mut self, source: &mut S) -> Result<(), TransferError<S::Error>> {
        match source.next_piece().map_err(TransferError::File)? {
            None if self.pieces.is_empty() => Ok(()),
            _ => Err(mismatch()),
        }
    }
}

#[cfg(test)]
mod tests;
