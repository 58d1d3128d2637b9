//! `send --file`: each file is uploaded, then its message is sent. What was interrupted goes on
//! when the same file is sent to the same place again.

use std::path::Path;

use sotto_crypto::attachment::FileKey;
use sotto_crypto::content::Attachment;
use sotto_protocol::{BlobId, ClientMessageId, ErrorCode};

use super::{Progress, Way};
use crate::attachment::outgoing::{Metadata, prepare};
use crate::cli::app::App;
use crate::cli::args::Send;
use crate::cli::names;
use crate::cli::send::{CAPTION_BYTES_MAX, deliver, options, read_text};
use crate::engine::Engine;
use crate::engine::api::{MessageCommand, SendOptions};
use crate::exit::{Exit, Failure};
use crate::history::UploadRow;
use crate::net::{Transfer, TransferError, TransferLogin};
use crate::talk::Talk;

/// Files of one command.
const FILES_MAX: usize = 100;

/// A file whose bytes the server has, with the message that tells of it.
struct Uploaded {
    attachment: Box<Attachment>,
    client_id: ClientMessageId,
    plain_hash: [u8; 32],
}

pub(crate) async fn send(app: &mut App, args: Send) -> Result<(), Failure> {
    if args.files.len() > FILES_MAX {
        return Err(Failure::named("usage", "send at most 100 files at once"));
    }
    let text = match args.text.as_str() {
        "" => String::new(),
        text => read_text(text)?,
    };
    // Before anything is read: without a server the command line is wrong.
    app.dialer()?;
    let metadata = if args.keep_metadata {
        Metadata::Keep
    } else {
        Metadata::Strip
    };
    let engine = app.offline().await?;
    let to = names::talk(&engine, &args.to)?;
    let options = options(&engine, &to, &args)?;
    let (before, mut caption) = if text.len() > CAPTION_BYTES_MAX {
        (Some(text), String::new())
    } else {
        (None, text)
    };
    let mut uploads = Vec::new();
    for path in &args.files {
        let caption = std::mem::take(&mut caption);
        let mut upload = upload(app, &engine, &to, (path, metadata), caption).await?;
        if uploads.is_empty() && before.is_none() {
            upload.attachment.reply_to = options.reply_to;
        }
        upload.attachment.expires_after_s = options.expires_after_s.unwrap_or(0);
        uploads.push(upload);
    }
    let mut session = app.online(engine)?;
    let mut outcome = Ok(());
    if let Some(text) = before {
        let client_id = ClientMessageId::from_bytes(rand::random());
        let command = MessageCommand::Write {
            to: to.clone(),
            text,
            options: SendOptions { ..options },
            client_id,
        };
        outcome = deliver(app, &mut session, &args, (&to, client_id), command).await;
    }
    for upload in uploads {
        if outcome.is_err() {
            break;
        }
        let command = MessageCommand::Attach {
            to: to.clone(),
            attachment: upload.attachment,
            client_id: upload.client_id,
        };
        let which = (&to, upload.client_id);
        outcome = deliver(app, &mut session, &args, which, command).await;
        if outcome.is_ok() || outcome.as_ref().is_err_and(|f| f.code == "queued") {
            session.engine().end_upload(&to, &upload.plain_hash)?;
        }
    }
    let called = names::called(session.engine(), &to);
    session.close().await;
    if outcome.is_ok() {
        app.printer.note(&format!("sent to {called}"));
    }
    outcome
}

async fn upload(
    app: &mut App,
    engine: &Engine,
    to: &Talk,
    (path, metadata): (&Path, Metadata),
    caption: String,
) -> Result<Uploaded, Failure> {
    let outgoing = prepare(path, metadata).await?;
    let plain_hash = *outgoing.plan.plain_hash();
    let fresh = UploadRow {
        blob: BlobId::from_bytes(rand::random()),
        key: FileKey::generate().map_err(|error| Failure::named("internal", error.to_string()))?,
        client_id: ClientMessageId::from_bytes(rand::random()),
    };
    let now_ms = app.clock.now().unix_ms;
    let row = engine.begin_upload(to, &plain_hash, fresh, now_ms)?;
    let mut attachment = outgoing
        .describe(row.blob, &row.key, caption)
        .map(Box::new)
        .ok_or_else(|| Failure::named("internal", "no key"))?;
    let certificate = engine.device().certificate();
    let login = TransferLogin {
        username: certificate.username().as_str(),
        device: engine.device(),
    };
    let size = attachment.sealed_size;
    let mut transfer = Transfer::new(app.dialer()?, login);
    let mut sealing = outgoing.seal(&row.key);
    let mut progress = Progress::new(app, Way::Up, &attachment.name, size);
    let moved = transfer
        .upload((row.blob, size), &mut sealing, |done| progress.tell(done))
        .await;
    drop(progress);
    if let Err(error) = moved {
        return Err(give_up(engine, (to, &plain_hash), &row, transfer, error).await);
    }
    transfer.close().await;
    attachment.sealed_hash = sealing
        .sealed_hash()
        .ok_or_else(|| Failure::named("internal", "the file was not sealed to its end"))?;
    Ok(Uploaded {
        attachment,
        client_id: row.client_id,
        plain_hash,
    })
}

/// What is begun stays where going on makes sense; else both sides forget it.
async fn give_up<E: Into<Failure>>(
    engine: &Engine,
    (to, plain_hash): (&Talk, &[u8; 32]),
    row: &UploadRow,
    mut transfer: Transfer<'_>,
    error: TransferError<E>,
) -> Failure {
    let forget = match &error {
        TransferError::File(_) => true,
        TransferError::Refused(code, ..) => matches!(
            code,
            ErrorCode::BlobMismatch | ErrorCode::UnknownBlob | ErrorCode::TooLarge
        ),
        TransferError::Unreachable(_) | TransferError::Stalled => false,
    };
    if forget {
        transfer.delete(row.blob).await;
        if let Err(error) = engine.end_upload(to, plain_hash) {
            return error.into();
        }
    }
    transfer.close().await;
    let mut failure: Failure = error.into();
    if failure.exit == Exit::Unreachable {
        failure
            .message
            .push_str("; send the same file again and it goes on where it stands");
    }
    failure
}
