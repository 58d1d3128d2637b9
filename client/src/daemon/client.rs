//! A command of the command line while a daemon has the profile: it is run there, and its words
//! are shown here. `listen` stays connected and shows what the daemon hears.
//!
//! Refuses to guess: a command that the daemon does not run is left to fail as it would without one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::socket;
use super::wire::{self, ANSWER_BYTES_MAX, Outcome, Place, Stream};
use crate::cli::inside::{App, Interrupts, after};
use crate::exit::{Exit, Failure};

/// What came of trying.
pub(crate) enum Through {
    /// There is no daemon.
    NoDaemon,
    /// The command ended like this.
    Ended(Result<Exit, Failure>),
}

/// How long `listen` goes on.
pub(crate) struct Bounds {
    pub(crate) duration: Option<Duration>,
    pub(crate) count: Option<u64>,
}

/// What a command does there.
pub(crate) enum Errand {
    /// Runs to its end.
    Run,
    /// Listens.
    Listen(Bounds),
}

/// Takes a command through the daemon, if there is one.
pub(crate) async fn through(app: &mut App, place: Place, errand: Errand) -> Through {
    let Ok(location) = app.location() else {
        return Through::NoDaemon;
    };
    let Some(stream) = socket::connect(&location).await else {
        return Through::NoDaemon;
    };
    Through::Ended(match errand {
        Errand::Run => run(app, stream, &place).await,
        Errand::Listen(bounds) => listen(app, stream, &place, bounds).await,
    })
}

fn lost() -> Failure {
    Failure::named(
        "unreachable",
        "the daemon ended; start it again, or run the command without it",
    )
}

fn request(method: &str, place: &Place) -> String {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": place });
    format!("{request}\n")
}

async fn run(app: &mut App, mut stream: UnixStream, place: &Place) -> Result<Exit, Failure> {
    let asked = stream.write_all(request("run", place).as_bytes()).await;
    asked.map_err(|_| lost())?;
    let mut reader = BufReader::new(stream);
    let line = wire::read_line(&mut reader, ANSWER_BYTES_MAX).await;
    let answer: Value = line
        .and_then(|line| serde_json::from_str(&line).ok())
        .ok_or_else(lost)?;
    if let Some(message) = answer["error"]["message"].as_str() {
        let code = answer["error"]["data"]["code"].as_str();
        return Err(Failure::named(code.unwrap_or("internal"), message));
    }
    let outcome: Outcome = serde_json::from_value(answer["result"].clone()).map_err(|_| lost())?;
    for (stream, text) in outcome.said {
        app.printer.pass_on(stream, &text)?;
    }
    Ok(Exit::of_number(outcome.exit))
}

async fn listen(
    app: &mut App,
    stream: UnixStream,
    place: &Place,
    mut bounds: Bounds,
) -> Result<Exit, Failure> {
    let (reading, mut writing) = stream.into_split();
    let request = request("subscribe", place);
    let asked = writing.write_all(request.as_bytes()).await;
    asked.map_err(|_| lost())?;
    let mut reader = BufReader::new(reading);
    let mut interrupts = Interrupts::listen()?;
    let end = after(bounds.duration);
    tokio::pin!(end);
    loop {
        // A line that is read in part when the end comes is lost with the rest.
        let line = tokio::select! {
            line = wire::read_line(&mut reader, ANSWER_BYTES_MAX) => line.ok_or_else(lost)?,
            () = interrupts.next() => return Ok(Exit::Done),
            () = &mut end => return Ok(Exit::Done),
        };
        let heard: Value = serde_json::from_str(&line).unwrap_or_default();
        match heard["method"].as_str() {
            Some("words") => {
                let (stream, text): (Stream, String) =
                    serde_json::from_value(heard["params"].clone()).map_err(|_| lost())?;
                app.printer.pass_on(stream, &text)?;
            }
            Some("arrival") => {
                app.printer.ring(app.clock.now().monotonic_ms)?;
                bounds.count = bounds.count.map(|left| left.saturating_sub(1));
                if bounds.count == Some(0) {
                    return Ok(Exit::Done);
                }
            }
            _ => {}
        }
    }
}
