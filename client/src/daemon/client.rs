//! A command of the command line while a daemon has the profile: it is run there, and its words
//! are shown here. `listen` stays connected and shows what the daemon hears; `chat` does both.
//!
//! Refuses to guess: a command that the daemon does not run is left to fail as it would without one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::socket;
use super::wire::{self, ANSWER_BYTES_MAX, Outcome, Place, Stream};
use crate::cli::inside::{App, Interrupts, after};
use crate::exit::{Exit, Failure};
use crate::notice::Notice;
use crate::profile::Location;

/// Lines from the daemon that may wait to be shown; it waits in turn.
const HEARD_MAX: usize = 256;

/// How long `listen` goes on.
pub(crate) struct Bounds {
    pub(crate) duration: Option<Duration>,
    pub(crate) count: Option<u64>,
}

/// Something that a daemon says.
pub(crate) enum Heard {
    /// Words to show.
    Words(Stream, String),
    /// A message or request came, with what there is to tell of it.
    Arrival(Option<Notice>),
    /// The answer to the first question that has none yet.
    Answer(Result<Value, Failure>),
    /// Something that this version does not know.
    Other,
}

impl Heard {
    fn of(line: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(line).ok()?;
        let params = || said["params"].clone();
        Some(match said["method"].as_str() {
            Some("words") => {
                let (stream, text) = serde_json::from_value(params()).ok()?;
                Self::Words(stream, text)
            }
            Some("arrival") => Self::Arrival(serde_json::from_value(params()).ok()?),
            Some(_) => Self::Other,
            None => Self::Answer(match said["error"]["message"].as_str() {
                Some(message) => {
                    let code = said["error"]["data"]["code"].as_str();
                    Err(Failure::named(code.unwrap_or("internal"), message))
                }
                None => Ok(said["result"].clone()),
            }),
        })
    }
}

/// A connection to the daemon of a profile.
pub(crate) struct Link {
    writing: OwnedWriteHalf,
    heard: mpsc::Receiver<Heard>,
    reader: JoinHandle<()>,
    asked: u64,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Link {
    /// Connects; `None` when there is no daemon.
    pub(crate) async fn open(location: &Location) -> Option<Self> {
        let (reading, writing) = socket::connect(location).await?.into_split();
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        let reader = tokio::spawn(async move {
            let mut reader = BufReader::new(reading);
            while let Some(line) = wire::read_line(&mut reader, ANSWER_BYTES_MAX).await {
                let Some(heard) = Heard::of(&line) else {
                    return;
                };
                if sender.send(heard).await.is_err() {
                    return;
                }
            }
        });
        Some(Self {
            writing,
            heard,
            reader,
            asked: 0,
        })
    }

    /// Asks; answers come in the order of asking.
    ///
    /// # Errors
    /// `unreachable` when the daemon is gone.
    pub(crate) async fn ask(&mut self, method: &str, place: &Place) -> Result<(), Failure> {
        self.asked += 1;
        let request =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": place });
        let line = format!("{request}\n");
        let asked = self.writing.write_all(line.as_bytes()).await;
        asked.map_err(|_| lost())
    }

    /// What the daemon says next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `unreachable` when the daemon is gone.
    pub(crate) async fn next(&mut self) -> Result<Heard, Failure> {
        self.heard.recv().await.ok_or_else(lost)
    }
}

fn lost() -> Failure {
    Failure::named(
        "unreachable",
        "the daemon ended; start it again, or run the command without it",
    )
}

/// Runs a command there to its end.
///
/// # Errors
/// What the daemon refuses, and `unreachable` when it is gone.
pub(crate) async fn run(app: &mut App, mut link: Link, place: &Place) -> Result<Exit, Failure> {
    link.ask("run", place).await?;
    let answer = loop {
        if let Heard::Answer(answer) = link.next().await? {
            break answer?;
        }
    };
    let outcome: Outcome = serde_json::from_value(answer).map_err(|_| lost())?;
    for (stream, text) in outcome.said {
        app.printer.pass_on(stream, &text)?;
    }
    Ok(Exit::of_number(outcome.exit))
}

/// Shows what the daemon hears.
///
/// # Errors
/// What the daemon refuses, and `unreachable` when it is gone.
pub(crate) async fn listen(
    app: &mut App,
    mut link: Link,
    place: &Place,
    mut bounds: Bounds,
) -> Result<Exit, Failure> {
    link.ask("subscribe", place).await?;
    let mut interrupts = Interrupts::listen()?;
    let end = after(bounds.duration);
    tokio::pin!(end);
    loop {
        let heard = tokio::select! {
            heard = link.next() => heard?,
            () = interrupts.next() => return Ok(Exit::Done),
            () = &mut end => return Ok(Exit::Done),
        };
        match heard {
            Heard::Words(stream, text) => app.printer.pass_on(stream, &text)?,
            Heard::Arrival(notice) => {
                if let Some(notice) = notice {
                    app.announce(&notice)?;
                }
                bounds.count = bounds.count.map(|left| left.saturating_sub(1));
                if bounds.count == Some(0) {
                    return Ok(Exit::Done);
                }
            }
            Heard::Answer(answer) => drop(answer?),
            Heard::Other => {}
        }
    }
}
