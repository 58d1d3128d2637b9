//! A chat while a daemon has the profile: its words come from there, and what
//! is typed is run there. So two terminals can talk on one profile.
//!
//! Keeps nothing: what was typed is queued durably by the daemon, which answers
//! each line in its turn.

use std::collections::VecDeque;

use super::input::{self, Input};
use super::{CUT, FAREWELL, HELP};
use crate::cli::app::App;
use crate::cli::drive::Interrupts;
use crate::cli::inside::here;
use crate::cli::lines::{Lines, Typed};
use crate::daemon::{Heard, Link, Outcome, Stream};
use crate::exit::{Exit, Failure};

/// Lines that may wait for their answers.
const WAITING_MAX: usize = 64;

/// What an answer will be about.
enum Asked {
    /// To be shown what happens.
    Subscribe,
    /// A text; said only when it fails.
    Say,
    /// A command.
    Run,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Talking,
    Leaving,
}

struct Far {
    link: Link,
    lines: Lines,
    /// In the order of asking, which is that of the answers.
    waiting: VecDeque<Asked>,
    stage: Stage,
    to: String,
}

/// Talks through a daemon.
///
/// # Errors
/// As `chat`; `unreachable` when the daemon ends.
pub(crate) async fn chat(app: &mut App, mut link: Link, to: String) -> Result<Exit, Failure> {
    // Before the editor has the terminal: a name that is none ends it here.
    link.ask("subscribe", &here(app, &["chat", "--", &to])?)
        .await?;
    let mut far = Far {
        link,
        lines: Lines::open(&mut app.printer),
        waiting: VecDeque::from([Asked::Subscribe]),
        stage: Stage::Talking,
        to,
    };
    let outcome = far.run(app).await;
    far.lines.close(&mut app.printer);
    outcome.map(|()| Exit::Done)
}

impl Far {
    async fn run(&mut self, app: &mut App) -> Result<(), Failure> {
        let mut interrupts = Interrupts::listen()?;
        let farewell = tokio::time::sleep(std::time::Duration::MAX);
        tokio::pin!(farewell);
        loop {
            if self.stage == Stage::Leaving && self.waiting.is_empty() {
                return Ok(());
            }
            let room = self.waiting.len() < WAITING_MAX;
            tokio::select! {
                heard = self.link.next() => self.hear(app, heard?)?,
                line = self.lines.next(), if room && self.stage == Stage::Talking => {
                    match line {
                        Some(Typed::Line(line)) => self.take_line(app, &line).await?,
                        Some(Typed::Cut) => app.printer.note(CUT),
                        None => self.stage = Stage::Leaving,
                    }
                    if self.stage == Stage::Leaving {
                        farewell.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
                    }
                }
                () = &mut farewell, if self.stage == Stage::Leaving => return Ok(()),
                () = interrupts.next() => return Ok(()),
            }
        }
    }

    async fn take_line(&mut self, app: &mut App, line: &str) -> Result<(), Failure> {
        let (asked, words) = match input::read(line, &self.to) {
            Input::Nothing => return Ok(()),
            Input::Quit => {
                self.stage = Stage::Leaving;
                return Ok(());
            }
            Input::Help => {
                for line in HELP {
                    app.printer.note(line);
                }
                return Ok(());
            }
            Input::Unclear(why) => {
                app.printer.note(why);
                return Ok(());
            }
            Input::Say(text) if text.trim() == "-" => {
                app.printer
                    .note("a single - would read stdin; add a word to it");
                return Ok(());
            }
            Input::Say(text) => {
                let words = ["send", "--", &self.to, &text].map(str::to_owned);
                (Asked::Say, words.to_vec())
            }
            Input::Run(words) => (Asked::Run, words),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.link.ask("run", &here(app, &words)?).await?;
        self.waiting.push_back(asked);
        Ok(())
    }

    fn hear(&mut self, app: &mut App, heard: Heard) -> Result<(), Failure> {
        let answer = match heard {
            Heard::Words(stream, text) => return app.printer.pass_on(stream, &text),
            Heard::Arrival(Some(notice)) => return app.announce(&notice),
            Heard::Arrival(None) | Heard::Other => return Ok(()),
            Heard::Answer(answer) => answer,
        };
        let asked = self.waiting.pop_front();
        if let (Some(Asked::Subscribe), answer) = (&asked, &answer) {
            return answer.clone().map(|_| ());
        }
        let outcome: Outcome = serde_json::from_value(answer?)
            .map_err(|_| Failure::named("internal", "the daemon is of another version"))?;
        let quiet = matches!(asked, Some(Asked::Say));
        let done = outcome.exit == Exit::Done as u8;
        for (stream, text) in outcome.said {
            let is_failure = stream == Stream::Err && !done;
            if !quiet || is_failure {
                app.printer.pass_on(stream, &text)?;
            }
        }
        Ok(())
    }
}
