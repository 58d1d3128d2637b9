//! A program at the socket of `sotto daemon`: asks for commands and hears what happens.
//!
//! JSON-RPC 2.0, one object a line, as docs/daemon.md says. It knows nothing of what commands mean.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// No answer of a daemon is larger.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The longest that a command may take: those about groups wait half a minute for a server, and a
/// stopped client for as long as it is stopped.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a command ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The objects that it prints.
    Done(Vec<Value>),
    /// The code of its failure.
    Failed(String),
    /// The client is gone, or silent for too long.
    Gone,
}

/// A connection for commands, one at a time.
#[derive(Debug)]
pub(crate) struct Rpc {
    reader: BufReader<UnixStream>,
    asked: u64,
}

impl Rpc {
    /// Connects.
    ///
    /// # Errors
    /// When no daemon is there.
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            reader: BufReader::new(stream),
            asked: 0,
        })
    }

    /// Runs a command to its end.
    pub(crate) fn command(&mut self, words: &[&str]) -> Answer {
        self.ask(words).unwrap_or(Answer::Gone)
    }

    fn ask(&mut self, words: &[&str]) -> io::Result<Answer> {
        self.asked += 1;
        let (method, params) = words.split_first().unwrap_or((&"", &[]));
        let request =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": params });
        self.reader
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())?;
        loop {
            let said = line(&mut self.reader)?;
            if said["id"] != self.asked {
                continue;
            }
            return Ok(match &said["result"] {
                Value::Array(objects) => Answer::Done(objects.clone()),
                Value::Null => {
                    let code = said["error"]["data"]["code"].as_str();
                    let message = said["error"]["message"].as_str();
                    Answer::Failed(code.or(message).unwrap_or("unnamed").to_owned())
                }
                _ => Answer::Done(Vec::new()),
            });
        }
    }
}

/// Hears what happens until the client is gone.
///
/// # Errors
/// When no daemon is there.
pub(crate) fn hear(socket: &Path, mut heard: impl FnMut(&Value)) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscribe" });
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    while let Ok(said) = line(&mut reader) {
        if said["method"] == "event" {
            heard(&said["params"]);
        }
    }
    Ok(())
}

fn line(reader: &mut BufReader<UnixStream>) -> io::Result<Value> {
    let mut line = Vec::new();
    reader.take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
