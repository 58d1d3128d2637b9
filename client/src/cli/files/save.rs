//! `save`: gets a file that a message tells of, checks it, and keeps it in one folder.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use sotto_crypto::content::Attachment;
use sotto_protocol::{BlobId, ErrorCode};

use super::{Progress, Way};
use crate::attachment::incoming::{Incoming, IncomingError};
use crate::attachment::kind::{HEAD_BYTES, Sniffed};
use crate::attachment::preview;
use crate::attachment::save::Folder;
use crate::cli::app::App;
use crate::cli::names;
use crate::cli::output::{Style, own_words};
use crate::cli::render;
use crate::engine::Engine;
use crate::engine::api::{Event, Message, MessageBody, SecurityEvent, SecurityKind};
use crate::exit::Failure;
use crate::net::{Transfer, TransferError, TransferLogin};
use crate::safe_text::SafeText;

/// Pictures larger than this are not compared with their thumbnails, in bytes.
const COMPARED_BYTES_MAX: u64 = 64 << 20;
/// Mean difference of brightness, of 255, from which two pictures are not the same.
const DIFFERENCE_MAX: u32 = 48;
/// Cells of a path that is shown.
const PATH_CELLS: usize = 200;

pub(crate) async fn save(app: &mut App, which: &str, to: Option<&Path>) -> Result<(), Failure> {
    app.dialer()?;
    let engine = app.offline().await?;
    let message = names::message(&engine, which)?;
    let MessageBody::Attachment(file) = &message.body else {
        return Err(Failure::named("not_found", "the message holds no file"));
    };
    let folder = to.unwrap_or(Path::new("."));
    let path = fetch(app, &engine, (&message, file), (folder, &file.name)).await?;
    let sniffed = sniff(&path);
    let mut objection = sniffed.objection(&file.name, &file.media_type);
    if objection.is_none() && sniffed.is_picture() && thumbnail_lies(file, &path).await {
        objection = Some("the small picture in the message shows something else than the file");
    }
    let shown = path.display().to_string();
    render::object(
        app,
        json!({
            "event": "saved",
            "id": message.id.to_string(),
            "path": shown,
            "size": file.size,
            "media_type": sniffed.media_type,
            "warning": objection,
        }),
    )?;
    let saved = SafeText::line(
        &format!("saved {shown} ({})", sniffed.media_type),
        PATH_CELLS,
    );
    app.printer.line(&[(Style::Plain, &saved)])?;
    if let Some(objection) = objection {
        let warning = own_words(&format!("! careful: {objection}"));
        app.printer.line(&[(Style::Warning, &warning)])?;
    }
    Ok(())
}

/// Gets a file, checks it and keeps it in a folder under a name like this one; whoever gave out
/// another file is told of.
pub(crate) async fn fetch(
    app: &mut App,
    engine: &Engine,
    (message, file): (&Message, &Attachment),
    (folder, name): (&Path, &str),
) -> Result<PathBuf, Failure> {
    let fetched = download(app, engine, file, (folder, name)).await;
    if fetched
        .as_ref()
        .is_err_and(|failure| failure.code == "attachment_mismatch")
    {
        alarm(app, message)?;
    }
    fetched
}

async fn download(
    app: &mut App,
    engine: &Engine,
    file: &Attachment,
    (folder, name): (&Path, &str),
) -> Result<PathBuf, Failure> {
    let folder = Folder::open(folder).map_err(IncomingError::Save)?;
    let mut incoming = Incoming::begin(folder, file)?;
    let certificate = engine.device().certificate();
    let login = TransferLogin {
        username: certificate.username().as_str(),
        device: engine.device(),
    };
    let mut transfer = Transfer::new(app.dialer()?, login);
    let blob = (BlobId::from_bytes(file.blob_id), file.sealed_size);
    let from = incoming.received();
    let mut progress = Progress::new(app, Way::Down, &file.name, file.sealed_size);
    progress.tell(from);
    let mut done = from;
    let moved = transfer
        .download(blob, from, |sealed| {
            incoming.take(sealed)?;
            done += u64::try_from(sealed.len()).unwrap_or(0);
            progress.tell(done);
            Ok::<_, IncomingError>(())
        })
        .await;
    drop(progress);
    transfer.close().await;
    match moved {
        Ok(()) => Ok(incoming.finish(name)?),
        Err(error) => Err(stopped(incoming, error)),
    }
}

/// What verified so far stays for another attempt; what does not verify goes.
fn stopped(incoming: Incoming, error: TransferError<IncomingError>) -> Failure {
    let gone = match &error {
        TransferError::File(IncomingError::Mismatch(_)) => true,
        TransferError::Refused(code, ..) => *code == ErrorCode::UnknownBlob,
        _ => false,
    };
    if gone {
        incoming.discard();
    }
    error.into()
}

/// Whoever stores files gave out another one.
fn alarm(app: &mut App, message: &Message) -> Result<(), Failure> {
    let event = Event::Security(SecurityEvent {
        kind: SecurityKind::AttachmentMismatch,
        conversation: Some(message.conversation),
        subject: Some(message.sender.clone()),
        action: "nothing was kept; ask for the file to be sent again, and tell the operator"
            .to_owned(),
        count: 0,
    });
    render::event(app, &event)
}

fn sniff(path: &Path) -> Sniffed {
    let mut head = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let most = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
        // What cannot be read is of no kind.
        let _ = file.take(most).read_to_end(&mut head);
    }
    Sniffed::of(&head)
}

/// Whether the message's small picture is of something else. Without both there is no answer.
async fn thumbnail_lies(file: &Attachment, path: &Path) -> bool {
    if file.thumbnail.is_empty() || file.size > COMPARED_BYTES_MAX {
        return false;
    }
    let Ok(bytes) = std::fs::read(path) else {
        return false;
    };
    let real = preview::pixels(&bytes, 64, 64).await;
    let claimed = preview::pixels(&file.thumbnail, 64, 64).await;
    let (Some(real), Some(claimed)) = (real, claimed) else {
        return false;
    };
    let pairs = real.fields().into_iter().zip(claimed.fields());
    let sum: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(b))).sum();
    sum / 64 > DIFFERENCE_MAX
}
