//! Blobs: sealed files in pieces. Who knows a blob's id may read it; only the account that sent
//! it goes on with it or deletes it.

use sotto_protocol::limits::BLOB_PIECE_BYTES_MAX;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, DeleteBlob, GetBlob, StartUpload, UploadChunk};
use sotto_protocol::{BlobId, ErrorCode};

use super::Answer;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::session::machine::Identity;
use crate::store::BlobRow;

/// StartUpload: a new blob, or where a known one stands.
pub(super) async fn start(
    server: &Server,
    me: &Identity,
    request: StartUpload,
) -> Result<Answer, Refusal> {
    let id = parse(&request.blob_id)?;
    let blob = server.blobs.start(me.account, id, request.size).await?;
    Ok(state(&blob))
}

/// UploadChunk: the next piece.
pub(super) async fn upload(
    server: &Server,
    me: &Identity,
    request: UploadChunk,
) -> Result<Answer, Refusal> {
    let id = parse(&request.blob_id)?;
    if request.data.len() > BLOB_PIECE_BYTES_MAX {
        return Err(Refusal::new(ErrorCode::TooLarge));
    }
    let (offset, data) = (request.offset, request.data);
    let blob = server.blobs.add(me.account, id, offset, &data).await?;
    let count = u64::try_from(data.len()).unwrap_or(0);
    server.metrics.blob_bytes_stored.inc_by(count);
    Ok(state(&blob))
}

/// GetBlob: a piece of a whole blob.
pub(super) async fn get(server: &Server, request: GetBlob) -> Result<Answer, Refusal> {
    let id = parse(&request.blob_id)?;
    let length = usize::try_from(request.length).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(Refusal::malformed("A piece has at least one byte."));
    }
    let length = length.min(BLOB_PIECE_BYTES_MAX);
    let (size, data) = server.blobs.read(id, request.offset, length).await?;
    let count = u64::try_from(data.len()).unwrap_or(0);
    server.metrics.blob_bytes_served.inc_by(count);
    Ok(Answer::plain(Response::BlobPiece(wire::BlobPiece {
        size,
        data,
    })))
}

/// DeleteBlob: one of the account's own.
pub(super) async fn delete(
    server: &Server,
    me: &Identity,
    request: DeleteBlob,
) -> Result<Answer, Refusal> {
    server
        .blobs
        .delete(me.account, parse(&request.blob_id)?)
        .await?;
    Ok(Answer::done())
}

fn parse(bytes: &[u8]) -> Result<BlobId, Refusal> {
    BlobId::from_slice(bytes).map_err(|_| Refusal::malformed("A blob's id has 16 bytes."))
}

fn state(blob: &BlobRow) -> Answer {
    Answer::plain(Response::UploadState(wire::UploadState {
        stored: blob.stored,
        complete: blob.complete,
        durable: blob.durable,
        expires_at_ms: blob.expires_at_ms,
    }))
}
