//! `export`: a conversation as JSON lines and as readable text.
//!
//! It writes only into the given folder, overwrites nothing, and lets nobody
//! but the owner read what it writes. What is in memory only is not written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::app::App;
use super::{names, render};
use crate::engine::Engine;
use crate::engine::api::{Keep, Message, MessageBody};
use crate::exit::{Failure, cause};
use crate::safe_text::{Block, SafeText, escape_json};
use crate::talk::Talk;

/// Messages that are read at a time.
const PAGE: u32 = 500;

pub(crate) async fn export(app: &mut App, to: &str, directory: &Path) -> Result<(), Failure> {
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
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| failed(directory, &error))?;
    let mut objects = Target::new(directory.join("messages.jsonl"))?;
    let mut text = Target::new(directory.join("messages.txt"))?;
    let count = write_all(app, &engine, &talk, (&mut objects, &mut text))?;
    objects.finish()?;
    text.finish()?;
    render::object(
        app,
        json!({
            "event": "exported",
            "to": talk.to_string(),
            "messages": count,
            "files": [objects.path.display().to_string(), text.path.display().to_string()],
        }),
    )?;
    app.printer.say(&format!(
        "{count} messages written to {} and {}",
        objects.path.display(),
        text.path.display()
    ))
}

fn write_all(
    app: &App,
    engine: &Engine,
    talk: &Talk,
    (objects, text): (&mut Target, &mut Target),
) -> Result<u64, Failure> {
    let (mut after, mut count) = (0, 0);
    loop {
        let page = engine.messages_after(talk, after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        after = last.seq;
        for message in &page {
            count += 1;
            objects.line(&escape_json(&message.to_json().to_string()))?;
            text.line(&readable(app, message))?;
        }
    }
}

/// A message for reading: foreign text is as harmless in a file as on a terminal.
fn readable(app: &App, message: &Message) -> String {
    let layout = Block {
        first_cells: 0,
        width_cells: None,
        lines_max: usize::MAX,
    };
    let said = match &message.body {
        MessageBody::Text(text) => SafeText::block(text, layout),
        MessageBody::Attachment(file) => {
            SafeText::block(&format!("[file {}] {}", file.name, file.caption), layout)
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
