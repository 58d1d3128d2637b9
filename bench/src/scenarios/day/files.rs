//! Files of a day: sent and fetched over connections of their own, as clients do, and compared
//! byte for byte. The bytes are random; sealing is measured elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sotto_protocol::limits::BLOB_PIECE_BYTES_MAX as PIECE_BYTES;
use sotto_protocol::wire::{GetBlob, StartUpload, UploadChunk, client_frame, server_frame};

use super::world::FileInfo;
use crate::connection::Connection;
use crate::error::BenchError;
use crate::member::{Member, hold_off};
use crate::target::Target;

/// Makes a file's bytes and sends them, again where a connection is lost.
pub(super) async fn send(
    target: Target,
    member: Arc<Member>,
    (bytes, seed): (u32, u64),
) -> Result<FileInfo, BenchError> {
    let content = content(bytes, seed);
    let mut attempt = 0;
    loop {
        let blob = rand::random();
        match send_once(&target, &member, blob, &content).await {
            Ok(()) => return Ok(FileInfo { blob, bytes, seed }),
            Err(error) => hold_off(&mut attempt, error).await?,
        }
    }
}

async fn send_once(
    target: &Target,
    member: &Member,
    blob: [u8; 16],
    content: &Bytes,
) -> Result<(), BenchError> {
    let mut connection = member.login(target).await?;
    let start = client_frame::Body::StartUpload(StartUpload {
        blob_id: blob.to_vec(),
        size: content.len() as u64,
    });
    let mut complete = state(connection.call("start an upload", start).await?)?;
    let mut offset = 0;
    while offset < content.len() {
        let end = (offset + PIECE_BYTES).min(content.len());
        let chunk = client_frame::Body::UploadChunk(UploadChunk {
            blob_id: blob.to_vec(),
            offset: offset as u64,
            data: content.slice(offset..end),
        });
        complete = state(connection.call("upload", chunk).await?)?;
        offset = end;
    }
    leave(connection).await;
    if complete {
        Ok(())
    } else {
        Err(BenchError::Protocol("a whole file that is not whole"))
    }
}

fn state(answer: server_frame::Body) -> Result<bool, BenchError> {
    match answer {
        server_frame::Body::UploadState(state) => Ok(state.complete),
        _ => Err(BenchError::Protocol("another answer to an upload")),
    }
}

/// Fetches a file and compares it, again where a connection is lost.
pub(super) async fn fetch(
    target: Target,
    member: Arc<Member>,
    file: FileInfo,
) -> Result<(), BenchError> {
    let expected = content(file.bytes, file.seed);
    let mut attempt = 0;
    loop {
        match fetch_once(&target, &member, file, &expected).await {
            Ok(()) => return Ok(()),
            Err(error) => hold_off(&mut attempt, error).await?,
        }
    }
}

async fn fetch_once(
    target: &Target,
    member: &Member,
    file: FileInfo,
    expected: &Bytes,
) -> Result<(), BenchError> {
    let mut connection = member.login(target).await?;
    let mut offset = 0;
    while offset < expected.len() {
        let wanted = PIECE_BYTES.min(expected.len() - offset);
        let get = client_frame::Body::GetBlob(GetBlob {
            blob_id: file.blob.to_vec(),
            offset: offset as u64,
            length: u32::try_from(wanted).unwrap_or(u32::MAX),
        });
        let server_frame::Body::BlobPiece(piece) = connection.call("fetch", get).await? else {
            return Err(BenchError::Protocol("another answer to a fetch"));
        };
        if piece.data.as_ref() != expected.slice(offset..offset + wanted).as_ref() {
            return Err(BenchError::Protocol("a file that is not what was sent"));
        }
        offset += wanted;
    }
    leave(connection).await;
    Ok(())
}

async fn leave(mut connection: Connection) {
    // A goodbye that does not get through changes nothing.
    let _ = connection.goodbye().await;
}

fn content(bytes: u32, seed: u64) -> Bytes {
    let mut content = vec![0; usize::try_from(bytes).unwrap_or(0)];
    StdRng::seed_from_u64(seed).fill_bytes(&mut content);
    content.into()
}
