//! The recovery key: made, shown once or written to a file, checked by typing
//! three of its words, and then only kept in what it seals.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use sotto_crypto::recovery::{RecoveryKey, WORDS};

use super::typed;
use crate::cli::app::App;
use crate::cli::drive::perform;
use crate::cli::output::{Audience, Style, own_words};
use crate::cli::render;
use crate::engine::api::{Command, DeviceCommand};
use crate::exit::{Failure, cause};

/// Words that are typed again.
const CHECKED: usize = 3;

/// Whether and when the account was backed up from here.
pub(super) async fn status(app: &mut App) -> Result<(), Failure> {
    let engine = app.offline().await?;
    let backup = engine.backup()?;
    render::object(
        app,
        json!({
            "event": "recovery",
            "kept_here": backup.is_some(),
            "number": backup.map(|backup| backup.number),
            "stored_at_ms": backup.map(|backup| backup.stored_at_ms),
        }),
    )?;
    match backup {
        Some(backup) if backup.stored_at_ms > 0 => {
            let at = app.zone.date_and_time(backup.stored_at_ms);
            app.printer.say(&format!(
                "this device keeps the backup; the last is of {at}"
            ))
        }
        Some(_) => app
            .printer
            .say("this device keeps the backup; the first leaves with the next connection"),
        None => app.printer.say(
            "this device keeps no backup; `sotto recovery new` makes a recovery key and begins",
        ),
    }
}

/// Makes a new key; the one before opens nothing newer any more.
pub(super) async fn new_key(app: &mut App, file: Option<PathBuf>) -> Result<(), Failure> {
    let asks = app.printer.audience() == Audience::People && std::io::stdin().is_terminal();
    if file.is_none() && !asks {
        return Err(Failure::named(
            "usage",
            "without a terminal to show the words on, give --recovery-key-file FILE",
        ));
    }
    let key =
        RecoveryKey::generate().map_err(|error| Failure::named("internal", error.to_string()))?;
    match &file {
        Some(file) => write(file, &key)?,
        None => show(app, &key)?,
    }
    let command = DeviceCommand::KeepBackup {
        key: key.backup_key(),
    };
    perform(app, Command::Device(command)).await?;
    app.printer.say("the account is backed up under this key")?;
    render::object(app, json!({ "event": "recovery_key" }))
}

/// At registration: writes the key where a file is given, offers it where
/// somebody can be asked, and else leaves it for later.
pub(super) async fn offer_recovery(app: &mut App, file: Option<PathBuf>) -> Result<(), Failure> {
    let asks = app.printer.audience() == Audience::People
        && std::io::stdin().is_terminal()
        && app.global.password_file.is_none();
    if file.is_some() {
        return new_key(app, file).await;
    }
    if !asks {
        return Ok(());
    }
    app.printer.note(
        "A recovery key gets the account back when every device is lost. Then it is too late to make one; until then sotto recovery new does.",
    );
    let answer = typed(app, "Press Enter to see it now, or type later:")?;
    if answer.trim().is_empty() {
        new_key(app, None).await
    } else {
        app.printer.say("when you are ready: sotto recovery new")
    }
}

fn write(path: &Path, key: &RecoveryKey) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("the recovery key could not be written: {}", cause(&error));
        Failure::named("usage", message)
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let words = key.to_words();
    file.write_all(words.as_bytes()).map_err(failed)?;
    file.write_all(b"\n").map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn show(app: &mut App, key: &RecoveryKey) -> Result<(), Failure> {
    let words = key.to_words();
    let words: Vec<&str> = words.split(' ').collect();
    app.printer
        .note("Write these twelve words down, in their order; they are shown once:");
    for (row, four) in words.chunks(4).enumerate() {
        for (place, word) in four.iter().enumerate() {
            let label = own_words(&format!("{:>4} ", row * 4 + place + 1));
            app.printer
                .line(&[(Style::Faint, &label), (Style::Plain, &own_words(word))])?;
        }
    }
    let first = usize::from(rand::random::<u8>()) % WORDS;
    for step in 0..CHECKED {
        let place = (first + step * 5) % WORDS;
        let answer = typed(app, &format!("Type word {}:", place + 1))?;
        let right = words
            .get(place)
            .is_some_and(|word| *word == answer.trim().to_ascii_lowercase());
        if !right {
            return Err(Failure::named(
                "interrupted",
                "that is another word; nothing was changed. Begin again with sotto recovery new",
            ));
        }
    }
    Ok(())
}
