//! Asks before something that cannot be taken back. Refuses to take silence, or anything but the
//! name itself, for a yes.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use sotto_protocol::Username;

use super::app::App;
use super::output::Audience;
use crate::exit::Failure;

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 200;

/// Says what a new identity does and asks for the account's name.
///
/// # Errors
/// `usage` where nobody can be asked; `interrupted` for any other answer.
pub(crate) fn new_identity(app: &mut App, name: &Username) -> Result<(), Failure> {
    if app.printer.audience() == Audience::Programs || !std::io::stdin().is_terminal() {
        return Err(Failure::named(
            "usage",
            "--new-identity logs out every other device of the account and warns everybody who knew it; without a terminal to ask at, say --yes too",
        ));
    }
    app.printer.note(&format!(
        "A new identity for {name}: every other device of the account is logged out and cannot come back, \
         what waits for them is lost, and everybody who knew {name} is warned and must accept it."
    ));
    ask_for(
        app,
        name.as_str(),
        &format!("To go on, type the name of the account ({name}):"),
    )
}

/// Says what deleting a profile does and asks for the profile's name. Where nobody can be asked,
/// the command is taken as it was given.
///
/// # Errors
/// `interrupted` for any other answer.
pub(crate) fn wipe(app: &mut App) -> Result<(), Failure> {
    if app.printer.audience() == Audience::Programs || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let profile = app.global.profile.clone();
    app.printer.note(
        "The whole history of this profile and its keys are deleted from this device. Without a \
         recovery key or another device the account cannot be got back as it was.",
    );
    let question = format!("To go on, type the name of the profile ({profile}):");
    ask_for(app, &profile, &question)
}

fn ask_for(app: &mut App, name: &str, question: &str) -> Result<(), Failure> {
    app.printer.note(question);
    let mut answer = String::new();
    let read = std::io::stdin()
        .lock()
        .take(ANSWER_BYTES_MAX)
        .read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == name => Ok(()),
        _ => Err(Failure::named(
            "interrupted",
            "that is not the name; nothing was changed",
        )),
    }
}
