//! `settings`: what this account shows of itself to everybody, how much of the
//! servers its files take, and whether receipts leave. Changes one thing at a
//! time; what is for contacts only is the profile's matter.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::app::App;
use super::drive::perform;
use super::message_args::Switch;
use super::output::{Style, mebibytes, own_words};
use super::people::make_do;
use super::render;
use crate::engine::api::{Command, Event, PeopleCommand, Put, Settings, Shown, Visibility};
use crate::exit::Failure;
use crate::safe_text::SafeText;

/// Cells of a published word about oneself.
const WORDS_CELLS: usize = 120;

/// `settings`.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// What to change; without it everything is shown
    #[arg(value_enum, requires = "value")]
    key: Option<Key>,
    /// everybody or nobody; for receipts on or off
    #[arg(value_enum)]
    value: Option<Choice>,
}

/// What can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Key {
    /// Who finds you in lists and searches
    Directory,
    /// Who sees that you are online
    Online,
    /// Who sees when you were last there
    LastSeen,
    /// Whether others learn what of theirs arrived and was read
    Receipts,
}

/// What it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Everybody of the deployment
    Everybody,
    /// Nobody
    Nobody,
    /// They learn it
    On,
    /// They do not
    Off,
}

pub(crate) async fn carry_out(app: &mut App, args: SettingsArgs) -> Result<(), Failure> {
    let (Some(key), Some(value)) = (args.key, args.value) else {
        return show(app).await;
    };
    let shown = match (key, value) {
        (Key::Receipts, Choice::On) => return super::message::receipts(app, Switch::On).await,
        (Key::Receipts, Choice::Off) => return super::message::receipts(app, Switch::Off).await,
        (Key::Receipts, _) => return Err(usage("receipts are on or off")),
        (_, Choice::Everybody) => Shown::ToEverybody,
        (_, Choice::Nobody) => Shown::ToNobody,
        (_, Choice::On | Choice::Off) => {
            return Err(usage("this is shown to everybody or to nobody"));
        }
    };
    let mut visibility = Visibility::default();
    let place = match key {
        Key::Directory => &mut visibility.directory,
        Key::Online => &mut visibility.online,
        Key::LastSeen => &mut visibility.last_seen,
        Key::Receipts => return Err(usage("receipts are on or off")),
    };
    *place = Some(shown);
    perform(app, Command::People(PeopleCommand::Show(visibility))).await?;
    show(app).await
}

fn usage(sentence: &str) -> Failure {
    Failure::named("usage", sentence)
}

/// Everything; what the servers know only where one can be asked.
async fn show(app: &mut App) -> Result<(), Failure> {
    let receipts = app.offline().await?.receipts()?;
    let settings = match app.dialer() {
        Ok(_) => at_the_server(app).await?,
        Err(_) => None,
    };
    render::object(app, object(settings.as_deref(), receipts))?;
    if let Some(settings) = &settings {
        show_settings(app, settings)?;
    }
    let receipts = if receipts == Put::On { "on" } else { "off" };
    row(app, "receipts", &own_words(receipts))
}

async fn at_the_server(app: &mut App) -> Result<Option<Box<Settings>>, Failure> {
    match perform(app, Command::People(PeopleCommand::Settings)).await {
        Ok(Event::Settings { settings, .. }) => Ok(Some(settings)),
        Ok(_) => Ok(None),
        Err(failure) => make_do(app, failure).map(|()| None),
    }
}

fn object(settings: Option<&Settings>, receipts: Put) -> Value {
    let of = |which: fn(&Settings) -> Shown| settings.map(|settings| name(which(settings)));
    json!({
        "event": "settings",
        "directory": of(|settings| settings.directory),
        "online": of(|settings| settings.online),
        "last_seen": of(|settings| settings.last_seen),
        "receipts": receipts == Put::On,
        "display_name": settings.map(|settings| settings.display_name.as_str()),
        "status": settings.map(|settings| settings.status.as_str()),
        "file_bytes_used": settings.map(|settings| settings.file_bytes_used),
        "file_bytes_max": settings.map(|settings| settings.file_bytes_max),
    })
}

const fn name(shown: Shown) -> &'static str {
    match shown {
        Shown::ToEverybody => "everybody",
        Shown::ToNobody => "nobody",
    }
}

fn show_settings(app: &mut App, settings: &Settings) -> Result<(), Failure> {
    for (label, shown) in [
        ("directory", settings.directory),
        ("online", settings.online),
        ("last-seen", settings.last_seen),
    ] {
        row(app, label, &own_words(name(shown)))?;
    }
    for (label, text) in [
        ("published name", &settings.display_name),
        ("published status", &settings.status),
    ] {
        if !text.is_empty() {
            row(app, label, &SafeText::line(text, WORDS_CELLS))?;
        }
    }
    let files = format!(
        "{} of {}",
        mebibytes(settings.file_bytes_used),
        mebibytes(settings.file_bytes_max)
    );
    row(app, "files", &own_words(&files))
}

fn row(app: &mut App, label: &str, value: &SafeText) -> Result<(), Failure> {
    let label = own_words(&format!("{label:18}"));
    app.printer
        .line(&[(Style::Faint, &label), (Style::Plain, value)])
}
