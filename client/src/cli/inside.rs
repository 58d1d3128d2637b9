//! The commands, for a daemon: what it needs to run them with its own engine and to show words
//! somewhere else than on its own terminal.

use std::ffi::OsString;

use clap::CommandFactory as _;

pub(crate) use super::account::{login, register};
pub(crate) use super::app::App;
pub(crate) use super::args::Global;
use super::args::{Cli, Command};
use super::chat;
pub(crate) use super::chat::{CUT, Page, input};
pub(crate) use super::device::{Offered, let_in, link, look, recover_with};
pub(crate) use super::drive::{Interrupts, Troubles, after, perform};
pub(crate) use super::lending::Lending;
pub(crate) use super::lines::{Lines, Typed};
pub(crate) use super::names::talk;
pub(crate) use super::output::{Audience, Sink, Style};
use super::output::{Look, Printer};
pub(crate) use super::render::title as security_title;
pub(crate) use super::render::{event, object, request};
pub(crate) use super::zone::Zone;
use crate::daemon::{self, Bounds, Link, Place};
use crate::engine::api::{Direction, Event};
use crate::exit::{Exit, Failure};
use crate::notice::Notify;

/// Whether words begin as a command does.
pub(crate) fn is_command(words: &str) -> bool {
    let root = Cli::command();
    let mut at = &root;
    for word in words.split(' ') {
        if !at.has_subcommands() || word.starts_with('-') || word == "help" {
            return true;
        }
        match at.find_subcommand(word) {
            Some(found) => at = found,
            None => return false,
        }
    }
    true
}

/// For whom a command line's words are.
pub(crate) fn audience_of(args: &[String]) -> Audience {
    // What stands behind `--` is somebody's text.
    let mut options = args.iter().take_while(|arg| *arg != "--");
    if options.any(|arg| arg == "--json") {
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

/// What a command line says, as it is typed here.
pub(super) fn here(app: &App, words: &[&str]) -> Result<Place, Failure> {
    let json = (app.printer.audience() == Audience::Programs).then_some("--json");
    let words = json.into_iter().chain(words.iter().copied());
    place_of(app, words.map(str::to_owned).collect())
}

fn place_of(app: &App, args: Vec<String>) -> Result<Place, Failure> {
    let folder = std::env::current_dir()
        .map_err(|error| Failure::named("usage", format!("the present folder: {error}")))?;
    Ok(Place {
        args,
        folder,
        colour: app.printer.is_coloured(),
        width_cells: app.printer.width_cells(),
    })
}

/// Runs a command with a lent engine; its words have gone to `app`'s printer.
pub(crate) async fn run_within(app: &mut App, args: Vec<String>, place: Option<&Place>) -> Exit {
    let stdin = place.is_none() && args.iter().any(|arg| arg == "-");
    let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
    let typed = args.first().cloned().unwrap_or_default();
    let parsed = match place {
        Some(_) => super::parse(args),
        None => super::parse_inside(args),
    };
    let parsed = parsed.map(|cli| cli.command);
    let outcome = match parsed {
        Ok(_) if stdin => Err(Failure::named(
            "usage",
            "there is no stdin for this command; give the text itself",
        )),
        Ok(Some(command)) if matches!(errand(&command), Some(Errand::Run)) => {
            if let Some(place) = place {
                // Relative paths are those of whoever asks. One command runs at a time.
                let _ = std::env::set_current_dir(&place.folder);
            }
            let running = Box::pin(super::carry_out(app, command));
            let outcome = running.await;
            if place.is_some() {
                let _ = std::env::set_current_dir("/");
            }
            outcome
        }
        Ok(Some(Command::Listen(_))) => Err(Failure::named(
            "usage",
            "what happens is shown already; a daemon's programs hear it by the method subscribe",
        )),
        Ok(_) => Err(Failure::named(
            "profile_in_use",
            "this command needs the profile alone; end the daemon or chat that has it first",
        )),
        Err(error) if place.is_none() => usage_inside(app, &error, &typed.to_string_lossy()),
        Err(error) => usage(app, &error),
    };
    match outcome {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if !failure.is_silent() {
                app.printer.failure(&failure);
            }
            failure.exit
        }
    }
}

/// A help is what was asked for; anything else is a sentence and how the command is written.
fn usage(app: &mut App, error: &clap::Error) -> Result<(), Failure> {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if error.kind() == clap::error::ErrorKind::DisplayHelp {
        return text.lines().try_for_each(|line| app.printer.say(line));
    }
    let told: Vec<&str> = lines.filter(|line| !line.starts_with("For more")).collect();
    let sentence = told.join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    Err(Failure::named("usage", sentence))
}

/// As [`usage`], for a line that is typed in a chat, where commands begin with a slash.
fn usage_inside(app: &mut App, error: &clap::Error, typed: &str) -> Result<(), Failure> {
    let text = error.render().to_string();
    let text = text.replace("Usage: sotto ", "Usage: /");
    if error.kind() == clap::error::ErrorKind::DisplayHelp {
        return text.lines().try_for_each(|line| app.printer.say(line));
    }
    let lines = text.lines().map(str::trim);
    let told =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let told: Vec<&str> = told.filter(|line| !line.is_empty()).collect();
    let sentence = told.join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    let words = format!("{sentence}; /{typed} --help says how it is written");
    Err(Failure::named("usage", words))
}

/// With whom a command line that came to a daemon chats.
pub(crate) fn chats_with(args: &[String]) -> Option<String> {
    let args = args.iter().map(OsString::from).collect();
    match super::parse(args).ok()?.command? {
        Command::Chat(chat) => Some(chat.to),
        _ => None,
    }
}

/// What a command does at a daemon.
enum Errand {
    /// Runs to its end.
    Run,
    /// Listens.
    Listen(Bounds),
    /// Talks.
    Chat(String),
}

/// What a command does at a daemon; `None` for one that needs the profile for itself: because it
/// asks a person something, ends the login, or is the daemon.
fn errand(command: &Command) -> Option<Errand> {
    match command {
        Command::Register { .. }
        | Command::Login { .. }
        | Command::Logout { .. }
        | Command::Passwd { .. }
        | Command::Tui { .. }
        | Command::Daemon => None,
        Command::Device(args) if args.asks() => None,
        Command::Chat(args) => Some(Errand::Chat(args.to.clone())),
        Command::Listen(args) => Some(Errand::Listen(Bounds {
            duration: args.duration,
            count: args.count,
        })),
        _ => Some(Errand::Run),
    }
}

/// How much notifications say, where a command has any.
fn notify_of(command: &Command) -> Notify {
    match command {
        Command::Chat(args) => args.notify,
        Command::Listen(args) => args.notify,
        _ => Notify::default(),
    }
}

/// Takes a command line through the daemon of its profile, if there is one and it can.
pub(super) async fn through_daemon(
    app: &mut App,
    cli: &Cli,
    args: &[OsString],
) -> Option<Result<Exit, Failure>> {
    let command = cli.command.as_ref()?;
    let errand = errand(command)?;
    let location = app.location().ok()?;
    if !location.socket().exists() {
        return None;
    }
    let mut words = Vec::with_capacity(args.len());
    for arg in args {
        words.push(arg.to_str()?.to_owned());
    }
    let link = Link::open(&location).await?;
    app.notify = notify_of(command);
    if let Errand::Chat(to) = errand {
        return Some(chat::far::chat(app, link, to).await);
    }
    if let Some(dash) = words.iter().rposition(|word| word == "-") {
        // Its stdin is not this one.
        match (super::send::read_text("-"), words.get_mut(dash)) {
            (Ok(text), Some(word)) => *word = text,
            (Ok(_), None) => {}
            (Err(failure), _) => return Some(Err(failure)),
        }
    }
    let place = match place_of(app, words) {
        Ok(place) => place,
        Err(failure) => return Some(Err(failure)),
    };
    Some(match errand {
        Errand::Listen(bounds) => daemon::listen(app, link, &place, bounds).await,
        _ => daemon::run(app, link, &place).await,
    })
}

/// Whether an event is what somebody who listens waits for.
pub(crate) fn is_arrival(event: &Event) -> bool {
    match event {
        Event::Message(message) => message.direction == Direction::Incoming,
        Event::Request(_) | Event::Invitation(_) => true,
        _ => false,
    }
}
