//! What happened in a simulation, line by line, for whoever looks into a finding.

use std::fmt::{Debug, Write as _};

use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{self, EnvelopeKind};

/// No line is longer, in characters.
const LINE_CHARS_MAX: usize = 400;
/// Beginnings of encoded values that tell them apart.
const ID_BYTES: usize = 5;

/// Where the story of a seed is written; nothing is kept where it is not asked for.
pub(super) struct Story {
    folder: Option<std::ffi::OsString>,
    lines: Vec<String>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self {
            folder: std::env::var_os("SOTTO_SIMULATION_STORY"),
            lines: Vec::new(),
        }
    }

    pub(super) fn tell(&mut self, at_ms: u64, what: impl FnOnce() -> String) {
        if self.folder.is_some() {
            let what: String = what().chars().take(LINE_CHARS_MAX).collect();
            self.lines.push(format!("{at_ms:>7} {what}"));
        }
    }

    pub(super) fn write(&self, seed: u64) {
        if let Some(folder) = &self.folder {
            let path = std::path::Path::new(folder).join(format!("{seed}.txt"));
            std::fs::write(path, self.lines.join("\n")).unwrap();
        }
    }
}

fn short(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(ID_BYTES)
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

fn cursors(cursors: &[wire::Cursor]) -> String {
    let each = cursors
        .iter()
        .map(|cursor| format!("{}:{}", short(&cursor.conversation_id), cursor.seq));
    each.collect::<Vec<_>>().join(" ")
}

fn otherwise(body: &impl Debug) -> String {
    let text = format!("{body:?}");
    text.split(['(', '{']).next().unwrap_or_default().to_owned()
}

pub(super) fn asked(frame: &wire::ClientFrame) -> String {
    let what = match &frame.body {
        Some(Ask::Append(ask)) => format!(
            "append {} in {} at {}/{}",
            short(&ask.client_id),
            short(&ask.conversation_id),
            ask.generation,
            ask.epoch
        ),
        Some(Ask::AppendCommit(ask)) => format!(
            "commit {} in {} at {}/{}, {} welcomes",
            short(&ask.client_id),
            short(&ask.conversation_id),
            ask.generation,
            ask.epoch,
            ask.welcomes.len()
        ),
        Some(Ask::CreateConversation(ask)) => format!(
            "create {} in {} at {}, {} welcomes",
            short(&ask.client_id),
            short(&ask.conversation_id),
            ask.generation,
            ask.welcomes.len()
        ),
        Some(Ask::Leave(ask)) => format!("leave {}", short(&ask.conversation_id)),
        Some(Ask::GetGroupInfo(ask)) => format!("group info {}", short(&ask.conversation_id)),
        Some(Ask::FindPair(ask)) => format!("find pair with {}", ask.username),
        Some(Ask::Acknowledge(ask)) => format!("acknowledge {}", cursors(&ask.cursors)),
        Some(Ask::Resume(ask)) => {
            let held: Vec<_> = ask.held.iter().map(|id| short(id)).collect();
            format!("resume {} held {held:?}", cursors(&ask.cursors))
        }
        Some(other) => otherwise(other),
        None => String::new(),
    };
    format!("[{}] {what}", frame.request_id)
}

pub(super) fn answered(frame: &wire::ServerFrame) -> String {
    let what = match &frame.body {
        Some(Answer::Deliver(deliver)) => {
            let each = deliver.envelopes.iter().map(|envelope| {
                format!(
                    "{} {} {:?} {} of {} at {}/{}",
                    short(&envelope.conversation_id),
                    envelope.seq,
                    EnvelopeKind::try_from(envelope.kind).unwrap_or_default(),
                    short(&envelope.client_id),
                    short(&envelope.sender_device_id),
                    envelope.generation,
                    envelope.epoch
                )
            });
            format!("deliver {}", each.collect::<Vec<_>>().join(", "))
        }
        Some(Answer::Appended(answer)) => format!("appended {} ({})", answer.seq, answer.epoch),
        Some(Answer::Error(error)) => format!("error {} {:?}", error.code, error.message),
        Some(Answer::GroupInfo(info)) => format!("group info {}/{}", info.generation, info.epoch),
        Some(Answer::Sync(sync)) => {
            let each = sync.conversations.iter().map(|state| {
                format!(
                    "{} {}/{} {}..{}",
                    short(&state.conversation_id),
                    state.generation,
                    state.epoch,
                    state.cursor,
                    state.head
                )
            });
            format!("sync {}", each.collect::<Vec<_>>().join(", "))
        }
        Some(other) => otherwise(other),
        None => String::new(),
    };
    format!("[{}] {what}", frame.request_id)
}
