//! The command line: what `sotto` does when it is not the full-screen interface.
//!
//! [`args`](self) is the grammar, `app` what commands share, `drive` how they
//! wait, `output` the only place that prints.

mod above;
mod account;
mod app;
mod args;
pub(crate) mod chat;
mod confirm;
mod contacts;
mod device;
mod drive;
mod export;
mod files;
mod group;
pub(crate) mod inside;
mod invite_link;
mod lending;
mod lines;
mod listen;
mod message;
mod message_args;
mod names;
mod output;
mod people;
mod reach;
mod render;
mod room;
mod search;
mod send;
mod settings;
mod zone;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::attachment::worker;
use crate::engine::api::{IdentityChange, Keep, UserFilter};
use crate::exit::{Exit, Failure};
use crate::tui::Play;
use account::Leftovers;
use app::App;
use args::{Cli, Command};
use output::{Audience, Printer};

/// The grammar, for a program that lists this client's commands among its own.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// What `sotto` says when it is asked for nothing.
const START_HELP: &str = "\
Sotto: end-to-end encrypted chat that you run yourselves.

  sotto register NAME        make an account on the deployment in SOTTO_SERVER
  sotto chat NAME            talk with somebody, line by line
  sotto send NAME TEXT       send one message
  sotto listen               show what arrives
  sotto requests             who wants to talk with you
  sotto --help               everything else

Which servers: --server HOST:PORT or SOTTO_SERVER; whose certificate: --ca or SOTTO_CA.
Both are remembered at register and login.
";

pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    crate::process::keep_memory_private();
    if let Some((word, rest)) = args.split_first()
        && word == worker::WORD
    {
        return worker::main(rest);
    }
    // What stands behind `--` is somebody's text.
    let mut options = args.iter().take_while(|arg| *arg != "--");
    let audience = if options.any(|arg| arg == "--json") {
        Audience::Programs
    } else {
        Audience::People
    };
    let mut printer = Printer::new(audience);
    let cli = match parse(args.clone()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &mut printer),
    };
    if opens_screen(&cli, &printer) {
        let play = match cli.command {
            Some(Command::Tui { demo: true, .. }) => Play::Demo,
            _ => Play::Real,
        };
        return match crate::tui::open(cli.global, play) {
            Ok(()) => Exit::Done.into(),
            Err(failure) => {
                printer.failure(&failure);
                failure.exit.into()
            }
        };
    }
    start_logging();
    if cli.command.is_none() {
        return start_help(&mut printer);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.failure(&Failure::named("internal", format!("no runtime: {error}")));
            return Exit::Unexpected.into();
        }
    };
    let mut app = App::new(cli.global.clone(), printer);
    let outcome = runtime.block_on(here_or_there(&mut app, cli, &args));
    // A thread that waits for a key must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.is_silent() {
                app.printer.failure(&failure);
            }
            failure.exit.into()
        }
    }
}

/// Whether the full-screen client is asked for, and there is a terminal for it.
fn opens_screen(cli: &Cli, printer: &Printer) -> bool {
    let capable = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
    matches!(cli.command, None | Some(Command::Tui { plain: false, .. }))
        && printer.audience() == Audience::People
        && printer.is_terminal()
        && capable
}

/// Carries a command out, here or, while a daemon has the profile, there.
async fn here_or_there(app: &mut App, cli: Cli, args: &[OsString]) -> Result<Exit, Failure> {
    if let Some(outcome) = inside::through_daemon(app, &cli, args).await {
        return outcome;
    }
    match cli.command {
        Some(command) => carry_out(app, command).await.map(|()| Exit::Done),
        None => Ok(Exit::Done),
    }
}

fn parse(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let words = std::iter::once(OsString::from("sotto")).chain(args);
    Cli::from_arg_matches(&Cli::command().try_get_matches_from(words)?)
}

/// As [`parse`], for a line that is typed in a chat: what belongs to the program, such as which
/// profile, is not told there.
fn parse_inside(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let words = std::iter::once(OsString::from("sotto")).chain(args);
    let command = Cli::command().mut_args(|arg| match arg.is_global_set() {
        true => arg.hide(true),
        false => arg,
    });
    Cli::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// A mistake in the command line, or a wish for help.
fn usage(error: &clap::Error, printer: &mut Printer) -> ExitCode {
    if !error.use_stderr() {
        // Help or version; where nobody reads it there is nobody to tell.
        let _ = error.print();
        return Exit::Done.into();
    }
    if printer.audience() == Audience::Programs {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        let sentence = first.strip_prefix("error: ").unwrap_or(first);
        printer.failure(&Failure::named("usage", sentence));
    } else {
        let _ = error.print();
    }
    Exit::Usage.into()
}

fn start_help(printer: &mut Printer) -> ExitCode {
    if printer.audience() == Audience::Programs {
        printer.failure(&Failure::named(
            "usage",
            "no command given; see sotto --help",
        ));
        return Exit::Usage.into();
    }
    for line in START_HELP.lines() {
        if printer.say(line).is_err() {
            break;
        }
    }
    Exit::Done.into()
}

async fn carry_out(app: &mut App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Register {
            name,
            invite,
            recovery_key_file,
        } => device::register(app, (name, invite), recovery_key_file).await,
        Command::Login {
            name,
            new_identity,
            yes,
        } => {
            let identity = if new_identity {
                IdentityChange::Replace
            } else {
                IdentityChange::Refuse
            };
            if new_identity && !yes {
                confirm::new_identity(app, &name)?;
            }
            account::login(app, name, identity).await
        }
        Command::Logout { wipe, yes } => {
            if wipe && !yes {
                confirm::wipe(app)?;
            }
            let leftovers = match wipe {
                true => Leftovers::Wipe,
                false => Leftovers::Keep,
            };
            account::logout(app, leftovers).await
        }
        Command::Whoami => account::whoami(app).await,
        Command::Passwd { new_password_file } => account::passwd(app, new_password_file).await,
        Command::Users { text, online } => {
            let filter = match online {
                true => UserFilter::Online,
                false => UserFilter::All,
            };
            people::users(app, text.unwrap_or_default(), filter).await
        }
        Command::Send(send) => send::send(app, send).await,
        Command::Listen(args) => listen::listen(app, args).await,
        Command::Chat(args) => Box::pin(chat::chat(app, args)).await,
        Command::History { name, last, images } => listen::history(app, &name, last, images).await,
        Command::Save { message, to } => files::save(app, &message, to.as_deref()).await,
        Command::Chats => people::chats(app).await,
        Command::Requests => people::requests(app).await,
        Command::Accept { name, unsaved } => {
            let keep = if unsaved { Keep::Unsaved } else { Keep::Saved };
            people::accept(app, name, keep).await
        }
        Command::Decline { name } => match name.strip_prefix('#') {
            Some(_) => group::decline(app, &name).await,
            None => people::decline(app, args::username(&name).map_err(usage_of)?).await,
        },
        Command::Groups(args) => group::carry_out(app, args).await,
        Command::Block { name } => people::block(app, name).await,
        Command::Unblock { name } => people::unblock(app, name).await,
        Command::Verify { name, confirm } => people::verify(app, name, confirm).await,
        Command::Daemon => Box::pin(crate::daemon::serve(app)).await,
        Command::Tui { keys: true, .. } => key_names(app),
        Command::Tui { plain: true, .. } => Box::pin(crate::tui::plain::run(app)).await,
        Command::Tui { .. } => Err(usage_of(NO_SCREEN.to_owned())),
        Command::Device(args) => device::carry_out(app, args).await,
        Command::Contact(args) => contacts::carry_out(app, args).await,
        Command::Settings(args) => settings::carry_out(app, args).await,
        Command::Message(args) => message::carry_out(app, args).await,
    }
}

/// What keys do, by the names that the settings have for it.
fn key_names(app: &mut App) -> Result<(), Failure> {
    let page = crate::tui::key_names();
    page.lines().try_for_each(|line| app.printer.say(line))
}

const NO_SCREEN: &str = "the full-screen client needs a terminal of its own; sotto tui --plain and the other commands \
     work without one";

fn usage_of(sentence: String) -> Failure {
    Failure::named("usage", sentence)
}

/// Logs go to stderr and only where `SOTTO_LOG` asks for them.
fn start_logging() {
    let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("SOTTO_LOG") else {
        return;
    };
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}
