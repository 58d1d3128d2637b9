//! The commands, for a daemon: what it needs to run them with its own engine and to show words
//! somewhere else than on its own terminal.

use std::ffi::OsString;

pub(crate) use super::account::{login, register};
pub(crate) use super::app::App;
pub(crate) use super::args::Global;
use super::args::{Cli, Command};
pub(crate) use super::chat::{CUT, input};
pub(crate) use super::drive::{Interrupts, Troubles, after, perform};
pub(crate) use super::lines::{Lines, Typed};
pub(crate) use super::names::talk;
pub(crate) use super::output::{Audience, Sink, Style};
use super::output::{Look, Printer};
pub(crate) use super::render::title as security_title;
pub(crate) use super::render::{event, object, request};
pub(crate) use super::zone::Zone;
use crate::daemon::{Bounds, Errand, Place};
use crate::engine::api::{Direction, Event};
use crate::exit::{Exit, Failure};

/// For whom a command line's words are.
pub(crate) fn audience_of(args: &[String]) -> Audience {
    if args.iter().any(|arg| arg == "--json") {
        Audience::Programs
    } else {
        Audience::People
    }
}

/// What commands share, with their words going elsewhere.
pub(crate) fn quiet(global: Global, audience: Audience, sink: Sink) -> App {
    App::new(global, Printer::elsewhere(audience, Look::default(), sink))
}

impl App {
    /// The same profile's commands with their words going elsewhere.
    pub(crate) fn within(&self, audience: Audience, place: Option<&Place>, sink: Sink) -> Self {
        let look = place.map_or_else(Look::default, |place| Look {
            coloured: place.colour,
            width_cells: place.width_cells,
        });
        let mut app = Self::new(
            self.global.clone(),
            Printer::elsewhere(audience, look, sink),
        );
        app.clock = self.clock;
        app
    }
}

/// Runs a command with a lent engine; its words have gone to `app`'s printer.
pub(crate) async fn run_within(app: &mut App, args: Vec<String>, place: Option<&Place>) -> Exit {
    let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
    let parsed = super::parse(args).map(|cli| cli.command);
    let outcome = match parsed {
        Ok(Some(command)) if matches!(errand(&command), Some(Errand::Run)) => {
            if let Some(place) = place {
                // Relative paths are those of whoever asks. One command runs at a time.
                let _ = std::env::set_current_dir(&place.folder);
            }
            let running = Box::pin(super::carry_out(app, command));
            let outcome = running.await;
            let _ = std::env::set_current_dir("/");
            outcome
        }
        Ok(Some(Command::Listen { .. })) => Err(Failure::named(
            "usage",
            "a daemon's programs hear what happens by the method subscribe",
        )),
        Ok(_) => Err(Failure::named(
            "profile_in_use",
            "a daemon has this profile, and this command needs it alone; end the daemon first",
        )),
        Err(error) => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            let sentence = first.strip_prefix("error: ").unwrap_or(first);
            Err(Failure::named("usage", sentence))
        }
    };
    match outcome {
        Ok(()) => Exit::Done,
        Err(failure) => {
            app.printer.failure(&failure);
            failure.exit
        }
    }
}

/// What a command does at a daemon; `None` for one that needs the profile for itself: because it
/// asks for a password, ends the login, or holds the terminal.
fn errand(command: &Command) -> Option<Errand> {
    match command {
        Command::Register { .. }
        | Command::Login { .. }
        | Command::Logout { .. }
        | Command::Passwd { .. }
        | Command::Chat { .. }
        | Command::Tui { .. }
        | Command::Daemon => None,
        Command::Listen {
            duration, count, ..
        } => Some(Errand::Listen(Bounds {
            duration: *duration,
            count: *count,
        })),
        _ => Some(Errand::Run),
    }
}

/// Takes a command line through the daemon of its profile, if there is one and it can.
pub(super) async fn through_daemon(
    app: &mut App,
    cli: &Cli,
    args: &[OsString],
) -> Option<Result<Exit, Failure>> {
    let errand = errand(cli.command.as_ref()?)?;
    let location = app.location().ok()?;
    if !location.socket().exists() {
        return None;
    }
    let mut words = Vec::with_capacity(args.len());
    for arg in args {
        words.push(arg.to_str()?.to_owned());
    }
    if let Some(dash) = words.iter().rposition(|word| word == "-") {
        // Its stdin is not this one.
        match (super::send::read_text("-"), words.get_mut(dash)) {
            (Ok(text), Some(word)) => *word = text,
            (Ok(_), None) => {}
            (Err(failure), _) => return Some(Err(failure)),
        }
    }
    let place = Place {
        args: words,
        folder: std::env::current_dir().ok()?,
        colour: app.printer.is_coloured(),
        width_cells: app.printer.width_cells(),
    };
    match crate::daemon::through(app, place, errand).await {
        crate::daemon::Through::NoDaemon => None,
        crate::daemon::Through::Ended(outcome) => Some(outcome),
    }
}

/// Whether an event is what somebody who listens waits for.
pub(crate) fn is_arrival(event: &Event) -> bool {
    match event {
        Event::Message(message) => message.direction == Direction::Incoming,
        Event::Request(_) => true,
        _ => false,
    }
}
