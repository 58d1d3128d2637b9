//! `export`: a conversation as JSON lines, as readable text, and with the files
//! that were sent in it.
//!
//! It writes only into the given folder, overwrites nothing, and lets nobody
//! but the owner read what it writes. What is in memory only is not written.
//! Files come first: where the servers are lost on the way, the same command
//! goes on, and takes those that are there already as they are.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sotto_crypto::content::Attachment;

use super::app::App;
use super::{names, render};
use crate::attachment::name::clean_name;
use crate::engine::Engine;
use crate::engine::api::{Keep, Message, MessageBody};
use crate::exit::{Exit, Failure, cause};
use crate::safe_text::{Block, SafeText, escape_json};
use crate::talk::Talk;

/// Messages that are read at a time.
const PAGE: u32 = 500;
/// Digits of a message's id in front of its file's name.
const ID_DIGITS: usize = 8;
/// Where files lie in the folder.
const FILES: &str = "files";

/// Whether the files that were sent come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    Included,
    LeftOut,
}

/// What became of a file.
enum Fetched {
    /// It lies here, as seen from the folder.
    At(String),
    /// It cannot be had any more, by this code.
    Missing(String),
}

/// What became of the files, by their messages.
type Fetches = BTreeMap<([u8; 16], [u8; 16]), Fetched>;

pub(super) async fn export(
    app: &mut App,
    to: &str,
    directory: &Path,
    files: Files,
) -> Result<(), Failure> {
    let engine = app.offline().await?;
    let talk = names::talk(&engine, to)?;
    if engine.keep_of(&talk)? == Keep::Unsaved {
        return Err(Failure::named(
            "not_allowed",
            "this conversation is not saved, so nothing of it is written down",
        ));
    }
    if engine.messages_after(&talk, 0, 1)?.is_empty() {
        return Err(Failure::named(
            "not_found",
            format!("there is nothing to export of {talk}"),
        ));
    }
    make_folder(directory)?;
    // Before any file is fetched: what is there already is not overwritten.
    for name in ["messages.jsonl", "messages.txt"] {
        let path = directory.join(name);
        if path.symlink_metadata().is_ok() {
            let there = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(failed(&path, &there));
        }
    }
    let fetches = match files {
        Files::Included => fetch_all(app, &engine, &talk, directory).await?,
        Files::LeftOut => Fetches::new(),
    };
    let mut objects = Target::new(directory.join("messages.jsonl"))?;
    let mut text = Target::new(directory.join("messages.txt"))?;
    let count = write_all(app, &engine, &talk, (&mut objects, &mut text), &fetches)?;
    objects.finish()?;
    text.finish()?;
    report(app, &talk, (count, &fetches), [&objects.path, &text.path])
}

fn report(
    app: &mut App,
    talk: &Talk,
    (count, fetches): (u64, &Fetches),
    paths: [&Path; 2],
) -> Result<(), Failure> {
    let missing = fetches
        .values()
        .filter(|fetched| matches!(fetched, Fetched::Missing(_)))
        .count();
    let paths = paths.map(|path| path.display().to_string());
    render::object(
        app,
        json!({
            "event": "exported",
            "to": talk.to_string(),
            "messages": count,
            "files": paths,
            "attachments": fetches.len() - missing,
            "missing": missing,
        }),
    )?;
    let [objects, text] = paths;
    app.printer
        .say(&format!("{count} messages written to {objects} and {text}"))?;
    if !fetches.is_empty() {
        let got = fetches.len() - missing;
        app.printer
            .say(&format!("{got} files beside them in {FILES}"))?;
    }
    if missing > 0 {
        app.printer.note(&format!(
            "{missing} files are not at the servers any more, or not as they were sent"
        ));
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed(path, &error))
}

/// Goes through a conversation page by page.
fn pages(
    engine: &Engine,
    talk: &Talk,
    mut each: impl FnMut(&Message) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = engine.messages_after(talk, after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.seq;
        page.iter().try_for_each(&mut each)?;
    }
}

fn key_of(message: &Message) -> ([u8; 16], [u8; 16]) {
    (*message.device.as_bytes(), *message.id.as_bytes())
}

async fn fetch_all(
    app: &mut App,
    engine: &Engine,
    talk: &Talk,
    directory: &Path,
) -> Result<Fetches, Failure> {
    let mut wanted = Vec::new();
    pages(engine, talk, |message| {
        if matches!(message.body, MessageBody::Attachment(_)) {
            wanted.push(message.clone());
        }
        Ok(())
    })?;
    let mut fetches = Fetches::new();
    if wanted.is_empty() {
        return Ok(fetches);
    }
    app.dialer()?;
    let folder = directory.join(FILES);
    make_folder(&folder)?;
    for message in &wanted {
        let MessageBody::Attachment(file) = &message.body else {
            continue;
        };
        let fetched = fetch(app, engine, (message, file), &folder).await?;
        fetches.insert(key_of(message), fetched);
    }
    Ok(fetches)
}

async fn fetch(
    app: &mut App,
    engine: &Engine,
    (message, file): (&Message, &Attachment),
    folder: &Path,
) -> Result<Fetched, Failure> {
    let digits: String = message.id.to_string().chars().take(ID_DIGITS).collect();
    let name = clean_name(&format!("{digits}-{}", clean_name(&file.name)));
    if is_there(&folder.join(&name), file) {
        return Ok(Fetched::At(format!("{FILES}/{name}")));
    }
    match super::files::fetch(app, engine, (message, file), (folder, &name)).await {
        Ok(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok(Fetched::At(format!("{FILES}/{name}")))
        }
        Err(failure) => match failure.code.as_str() {
            "unknown_blob" | "attachment_mismatch" => Ok(Fetched::Missing(failure.code)),
            _ if failure.exit == Exit::Unreachable => {
                let message = format!(
                    "{}; the same command goes on where it stands, and with --no-files it needs no server",
                    failure.message
                );
                Err(Failure { message, ..failure })
            }
            _ => Err(failure),
        },
    }
}

/// Whether an earlier attempt left the whole file there.
fn is_there(path: &Path, file: &Attachment) -> bool {
    let plain = path
        .symlink_metadata()
        .is_ok_and(|found| found.is_file() && found.len() == file.size);
    if !plain {
        return false;
    }
    let Ok(mut found) = File::open(path) else {
        return false;
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match found.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(buffer.get(..count).unwrap_or_default()),
            Err(_) => return false,
        }
    }
    hash.finalize().as_slice() == file.plain_hash
}

fn write_all(
    app: &App,
    engine: &Engine,
    talk: &Talk,
    (objects, text): (&mut Target, &mut Target),
    fetches: &Fetches,
) -> Result<u64, Failure> {
    let mut count = 0;
    pages(engine, talk, |message| {
        count += 1;
        let fetched = fetches.get(&key_of(message));
        objects.line(&escape_json(&object(message, fetched).to_string()))?;
        text.line(&readable(app, message, fetched))
    })?;
    Ok(count)
}

fn object(message: &Message, fetched: Option<&Fetched>) -> Value {
    let mut object = message.to_json();
    if let (Some(object), Some(fetched)) = (object.as_object_mut(), fetched) {
        let (key, value) = match fetched {
            Fetched::At(path) => ("saved_as", path),
            Fetched::Missing(code) => ("missing", code),
        };
        object.insert(key.to_owned(), json!(value));
    }
    object
}

/// A message for reading: foreign text is as harmless in a file as on a terminal.
fn readable(app: &App, message: &Message, fetched: Option<&Fetched>) -> String {
    let layout = Block {
        first_cells: 0,
        width_cells: None,
        lines_max: usize::MAX,
    };
    let said = match &message.body {
        MessageBody::Text(text) => SafeText::block(text, layout),
        MessageBody::Attachment(file) => {
            let place = match fetched {
                Some(Fetched::At(path)) => format!(", in {path}"),
                Some(Fetched::Missing(_)) => ", missing".to_owned(),
                None => String::new(),
            };
            let said = format!("[file {}{place}] {}", file.name, file.caption);
            SafeText::block(&said, layout)
        }
        MessageBody::Deleted => SafeText::line("(taken back)", 80),
        MessageBody::Unknown => SafeText::line("(a newer kind of message)", 80),
    };
    let time = app.zone.date_and_time(message.stored_at_ms);
    let edited = if message.details.edited {
        " (edited)"
    } else {
        ""
    };
    let mut line = format!("{time} {}: {said}{edited}", message.sender);
    for reaction in &message.details.reactions {
        let by: Vec<_> = reaction.by.iter().map(ToString::to_string).collect();
        line.push_str(&format!(" [{} {}]", reaction.emoji.as_str(), by.join(", ")));
    }
    line
}

/// A file that is being written.
struct Target {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Target {
    fn new(path: PathBuf) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&path, &error))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.file, "{line}").map_err(|error| failed(&self.path, &error))
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|error| failed(&self.path, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull => "disk_full",
        _ => "usage",
    };
    let advice = match error.kind() {
        std::io::ErrorKind::AlreadyExists => "; choose another folder: nothing is overwritten",
        _ => "",
    };
    Failure::named(
        code,
        format!("{}: {}{advice}", path.display(), cause(error)),
    )
}
