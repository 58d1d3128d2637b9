//! The latest messages on their way to a new device, where they are too many
//! to go along with the answer: sealed here, kept by the servers for as long
//! as the new device needs to fetch them, then deleted there.
//!
//! Linking never fails for them: what does not come along is told.

use sotto_crypto::attachment::{Expected, FileKey, Opener};
use sotto_protocol::BlobId;
use sotto_protocol::wire::PastArchive;

use crate::attachment::outgoing::{Outgoing, OutgoingError};
use crate::cli::app::App;
use crate::engine::{ARCHIVE_BYTES_MAX, Engine};
use crate::exit::Failure;
use crate::net::{Transfer, TransferError, TransferLogin};

fn transfer<'a>(app: &App, engine: &'a Engine) -> Result<Transfer<'a>, Failure> {
    let certificate = engine.device().certificate();
    let login = TransferLogin {
        username: certificate.username().as_str(),
        device: engine.device(),
    };
    Ok(Transfer::new(app.dialer()?, login))
}

/// Uploads what there is for a new device; `None` where it goes along with the
/// answer, all of it or what of it fits.
pub(super) async fn upload(app: &mut App, engine: &Engine) -> Option<Box<PastArchive>> {
    match sealed_up(app, engine).await {
        Ok(archive) => archive,
        Err(failure) => {
            app.printer.note(&format!(
                "only the very latest messages come along: {}",
                failure.message
            ));
            None
        }
    }
}

async fn sealed_up(app: &mut App, engine: &Engine) -> Result<Option<Box<PastArchive>>, Failure> {
    let Some(past) = engine.past()? else {
        return Ok(None);
    };
    app.printer.note("sending the latest messages…");
    let key = FileKey::generate().map_err(|error| Failure::named("internal", error.to_string()))?;
    let blob = BlobId::from_bytes(rand::random());
    let outgoing = Outgoing::of_bytes(past.to_vec()).map_err(Failure::from)?;
    let layout = outgoing.plan.layout();
    let plain_hash = outgoing.plan.plain_hash().to_vec();
    let mut sealing = outgoing.seal(&key);
    let mut transfer = transfer(app, engine)?;
    let size = layout.sealed_size();
    let moved = transfer.upload((blob, size), &mut sealing, |_| {}).await;
    transfer.close().await;
    moved.map_err(Failure::from)?;
    let sealed_hash = sealing
        .sealed_hash()
        .ok_or_else(|| Failure::named("internal", "the messages were not sealed to their end"))?;
    Ok(Some(Box::new(PastArchive {
        blob_id: blob.to_vec(),
        key: key.expose().to_vec(),
        sealed_size: size,
        size: layout.size(),
        plain_hash,
        sealed_hash: sealed_hash.to_vec(),
    })))
}

/// Takes an uploaded file back that nobody will fetch.
pub(super) async fn discard(app: &App, engine: &Engine, blob: &[u8]) {
    if let (Ok(blob), Ok(mut transfer)) = (BlobId::from_slice(blob), transfer(app, engine)) {
        transfer.delete(blob).await;
        transfer.close().await;
    }
}

/// Fetches what the old device left, and keeps it.
pub(super) async fn fetch(app: &mut App, engine: &mut Engine, archive: &PastArchive) {
    let outcome = match download(app, engine, archive).await {
        Ok(past) => engine
            .keep_past(&past, app.clock.now())
            .map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(count) => app
            .printer
            .note(&format!("{count} earlier messages came along")),
        Err(failure) => app.printer.note(&format!(
            "the earlier messages did not come along: {}",
            failure.message
        )),
    }
}

async fn download(app: &App, engine: &Engine, archive: &PastArchive) -> Result<Vec<u8>, Failure> {
    let odd = || {
        Failure::named(
            "attachment_mismatch",
            "the other device described them oddly",
        )
    };
    let blob = BlobId::from_slice(&archive.blob_id).map_err(|_| odd())?;
    let key = FileKey::from_slice(&archive.key).ok_or_else(odd)?;
    let fits = usize::try_from(archive.size).is_ok_and(|size| size <= ARCHIVE_BYTES_MAX);
    let hash = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| odd());
    let expected = Expected {
        size: archive.size,
        sealed_size: archive.sealed_size,
        plain_hash: hash(&archive.plain_hash)?,
        sealed_hash: hash(&archive.sealed_hash)?,
    };
    if !fits {
        return Err(odd());
    }
    let mismatch = |error: sotto_crypto::attachment::AttachmentError| -> OutgoingError {
        OutgoingError::Sealing(error)
    };
    let mut opener = Opener::new(&key, expected).map_err(mismatch)?;
    let mut past = Vec::new();
    let mut transfer = transfer(app, engine)?;
    let moved: Result<(), TransferError<OutgoingError>> = transfer
        .download((blob, archive.sealed_size), 0, |sealed| {
            opener.push(sealed, &mut past).map_err(mismatch)
        })
        .await;
    if moved.is_ok() {
        // It has served.
        transfer.delete(blob).await;
    }
    transfer.close().await;
    moved.map_err(Failure::from)?;
    opener.finish().map_err(mismatch)?;
    Ok(past)
}
