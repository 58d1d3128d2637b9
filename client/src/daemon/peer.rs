//! One program at the socket: its requests in, its answers and what it hears out.
//!
//! It decides nothing about commands. A program that does not read loses its connection when its
//! queue is full; what it asks for and does not wait for is done all the same.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::wire::{
    self, INVALID_PARAMS, INVALID_REQUEST, Line, METHOD_NOT_FOUND, PARSE_ERROR, Place, Request,
};
use super::{Job, Wish};
use crate::cli::inside::{self, Sink};
use crate::exit::Failure;
use crate::notice::Notice;

/// Lines that may wait for a program to read them.
const LINES_MAX: usize = 1_024;
/// Arguments of one command.
const ARGUMENTS_MAX: usize = 1_000;

/// A program, as the daemon knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerId(u64);

/// How a program hears what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the objects of `--json`.
    Objects,
    /// As words for a terminal.
    Words,
}

/// A program that can be answered.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    lines: mpsc::Sender<String>,
}

impl Peer {
    /// Answers a request, unless it wants no answer.
    pub(super) async fn answer(&self, id: Option<Value>, answer: Result<Value, Failure>) {
        let Some(id) = id else { return };
        let line = match answer {
            Ok(result) => wire::result(&id, &result),
            Err(failure) => wire::refused(&id, &failure),
        };
        // A program that went away has no use for it.
        let waiting = self.lines.send(line);
        let patience = std::time::Duration::from_secs(10);
        let _ = tokio::time::timeout(patience, waiting).await;
    }

    /// Tells somebody who listens with words that this was a message or request.
    pub(super) fn tell_arrival(&self, notice: Option<&Notice>) {
        let notice = serde_json::to_value(notice).unwrap_or_default();
        // Who does not keep up loses its connection with the next words.
        let _ = self.lines.try_send(wire::notification("arrival", &notice));
    }

    async fn complain(&self, id: &Value, code: i32, message: &str) {
        let line = wire::error(id, code, message, &Value::Null);
        let _ = self.lines.send(line).await;
    }

    /// Where what happens goes.
    pub(super) fn sink(&self, form: Form) -> Sink {
        let lines = self.lines.clone();
        Box::new(move |stream, text| {
            let line = match form {
                Form::Objects => {
                    let object: Value = serde_json::from_str(&text).unwrap_or_default();
                    wire::notification("event", &object)
                }
                Form::Words => wire::notification("words", &json!([stream, text])),
            };
            let full = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            lines.try_send(line).map_err(full)
        })
    }
}

/// Serves a program until it goes.
pub(super) async fn serve(
    stream: UnixStream,
    jobs: mpsc::Sender<Job>,
    _permit: OwnedSemaphorePermit,
) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (reading, writing) = stream.into_split();
    let (lines, waiting) = mpsc::channel(LINES_MAX);
    let peer = Peer {
        id: PeerId(NEXT.fetch_add(1, Ordering::Relaxed)),
        lines,
    };
    let writer = tokio::spawn(write_all(writing, waiting));
    read_all(reading, &peer, &jobs).await;
    let gone = Job {
        peer: peer.clone(),
        id: None,
        wish: Wish::Unsubscribe,
    };
    let _ = jobs.send(gone).await;
    drop(peer);
    // What was answered already may still be read.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), writer).await;
}

async fn write_all(mut stream: OwnedWriteHalf, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if stream.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_all(stream: OwnedReadHalf, peer: &Peer, jobs: &mpsc::Sender<Job>) {
    let mut reader = BufReader::new(stream);
    while let Some(line) = wire::read_any_line(&mut reader, wire::REQUEST_BYTES_MAX).await {
        let line = match line {
            Line::Text(line) => line,
            Line::NotText => {
                let message = "that line is not UTF-8";
                peer.complain(&Value::Null, PARSE_ERROR, message).await;
                continue;
            }
            Line::TooLong => {
                let message = "a request has at most 1 MiB";
                peer.complain(&Value::Null, INVALID_REQUEST, message).await;
                continue;
            }
        };
        let request: Request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(_) if serde_json::from_str::<Value>(&line).is_ok() => {
                let message = "a request has jsonrpc, method, and params and id where needed";
                peer.complain(&Value::Null, INVALID_REQUEST, message).await;
                continue;
            }
            Err(_) => {
                let message = "that line is not JSON";
                peer.complain(&Value::Null, PARSE_ERROR, message).await;
                continue;
            }
        };
        let id = request.id.clone();
        match wish(request) {
            Ok(wish) => {
                let job = Job {
                    peer: peer.clone(),
                    id,
                    wish,
                };
                if jobs.send(job).await.is_err() {
                    return;
                }
            }
            Err((code, message)) => {
                peer.complain(&id.unwrap_or_default(), code, message).await;
            }
        }
    }
}

fn wish(request: Request) -> Result<Wish, (i32, &'static str)> {
    const STRINGS: (i32, &str) = (INVALID_PARAMS, "params is an array of strings");
    if request.jsonrpc != "2.0" {
        return Err((INVALID_REQUEST, "jsonrpc must be \"2.0\""));
    }
    let place = |params: Value| -> Result<Place, (i32, &'static str)> {
        serde_json::from_value(params).map_err(|_| (INVALID_PARAMS, "params do not fit"))
    };
    Ok(match request.method.as_str() {
        "subscribe" if request.params.is_null() => Wish::Subscribe(None),
        "subscribe" if request.params == json!([]) => Wish::Subscribe(None),
        "subscribe" => Wish::Subscribe(Some(place(request.params)?)),
        "unsubscribe" => Wish::Unsubscribe,
        "shutdown" => Wish::Shutdown,
        "run" => Wish::Run(place(request.params)?),
        method => {
            let mut args: Vec<String> = method.split(' ').map(str::to_owned).collect();
            if !inside::is_command(method) {
                return Err((METHOD_NOT_FOUND, "there is no such command"));
            }
            if !request.params.is_null() {
                let more: Vec<String> =
                    serde_json::from_value(request.params).map_err(|_| STRINGS)?;
                args.extend(more);
            }
            if args.len() > ARGUMENTS_MAX {
                return Err((INVALID_PARAMS, "too many parameters"));
            }
            // What stands behind `--` is somebody's text.
            let mut options = args.iter().take_while(|arg| *arg != "--");
            if options.any(|arg| is_of_the_daemon(arg)) {
                return Err(NOT_HERE);
            }
            Wish::Call(args)
        }
    })
}

/// The daemon has one profile and its servers; a request that names others is not done with these.
const NOT_HERE: (i32, &str) = (
    INVALID_PARAMS,
    "a daemon serves one profile: --home, --profile, --server, --ca and --password-file belong to \
     sotto daemon",
);

fn is_of_the_daemon(arg: &str) -> bool {
    let option = arg.split_once('=').map_or(arg, |(option, _)| option);
    ["--home", "--profile", "--server", "--ca", "--password-file"].contains(&option)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Wish, (i32, &'static str)> {
        wish(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn an_id_of_null_is_an_id() {
        let id = |text: &str| serde_json::from_str::<Request>(text).unwrap().id;
        assert_eq!(id(r#"{"jsonrpc":"2.0","method":"chats"}"#), None);
        let null = r#"{"jsonrpc":"2.0","id":null,"method":"chats"}"#;
        assert_eq!(id(null), Some(Value::Null));
    }

    #[test]
    fn a_method_is_a_command_and_its_parameters_the_arguments() {
        let call = asked(r#"{"jsonrpc":"2.0","id":1,"method":"group new","params":["a b","bob"]}"#);
        let Ok(Wish::Call(args)) = call else {
            panic!("not a call")
        };
        assert_eq!(args, ["group", "new", "a b", "bob"]);
        for (text, code) in [
            (r#"{"jsonrpc":"1.0","method":"chats"}"#, INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","method":"chats","params":{"a":1}}"#,
                INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"send","params":[1]}"#,
                INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"frobnicate"}"#,
                METHOD_NOT_FOUND,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"chats","params":["--profile","mallory"]}"#,
                INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"chats","params":["--server=127.0.0.1:1"]}"#,
                INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"run","params":[]}"#,
                INVALID_PARAMS,
            ),
        ] {
            let refused = asked(text).err().map(|(code, _)| code);
            assert_eq!(refused, Some(code), "{text}");
        }
    }
}
