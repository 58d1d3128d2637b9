//! Contacts with their names and notes, and the own profile.

use clap::Subcommand;
use serde_json::json;
use sotto_protocol::Username;

use super::app::App;
use super::drive::perform;
use super::message::local;
use super::output::{Style, own_words};
use super::people::{make_do, show_user};
use super::{names, render};
use crate::engine::api::{Command, Contact, ContactCommand, Event, PeopleCommand};
use crate::exit::Failure;
use crate::safe_text::SafeText;
use crate::talk::Talk;

/// Cells of somebody's words about themselves, and of a note.
const WORDS_CELLS: usize = 120;

/// What to do with contacts and the profile.
#[derive(Debug, Subcommand)]
pub(crate) enum ContactArgs {
    /// List contacts, with what they tell and what you noted
    Contacts {
        /// List who is blocked instead
        #[arg(long)]
        blocked: bool,
    },
    /// Take a group that you are out of, or a person with all that was said, off this device
    Forget {
        #[arg(value_name = "TO", value_parser = super::args::to)]
        talk: String,
    },
    /// Show somebody, or give them a name or a note that only you see
    Contact {
        #[arg(value_parser = super::args::username)]
        name: Username,
        /// What you call them; empty for no name
        #[arg(long, value_name = "NAME")]
        alias: Option<String>,
        /// What you want to remember; empty for nothing
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// What contacts see of you
    #[command(subcommand)]
    Profile(ProfileArgs),
}

/// `profile`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileArgs {
    /// Tell contacts a name or a status, sealed to each of them
    Set {
        /// At most 64 bytes; empty for none
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// At most 256 bytes; empty for none
        #[arg(long, value_name = "TEXT")]
        status: Option<String>,
    },
    /// Show your profile, or what somebody tells of themselves
    Show {
        #[arg(value_parser = super::args::username)]
        name: Option<Username>,
    },
    /// Show your profile to everybody; the servers can read it then
    Publish,
    /// Take a published profile back
    Unpublish,
}

pub(crate) async fn carry_out(app: &mut App, args: ContactArgs) -> Result<(), Failure> {
    match args {
        ContactArgs::Contacts { blocked } => {
            let engine = app.offline().await?;
            let listed = match blocked {
                true => engine.blocked()?,
                false => engine.contacts()?,
            };
            listed.iter().try_for_each(|contact| show(app, contact))
        }
        ContactArgs::Forget { talk } => forget(app, &talk).await,
        ContactArgs::Contact { name, alias, note } => {
            let mut engine = app.offline().await?;
            if alias.is_some() || note.is_some() {
                let name = name.clone();
                let command = ContactCommand::Note { name, alias, note };
                local(app, &mut engine, Command::Contact(command))?;
            }
            show_one(app, engine.contact(&name)?, &name)
        }
        ContactArgs::Profile(ProfileArgs::Show { name: Some(name) }) => {
            show_profile(app, name).await
        }
        ContactArgs::Profile(ProfileArgs::Show { name: None }) => {
            let engine = app.offline().await?;
            show_own(app, engine.own_profile()?)
        }
        ContactArgs::Profile(ProfileArgs::Set { name, status }) => {
            let mut engine = app.offline().await?;
            let command = ContactCommand::SetProfile {
                display_name: name,
                status,
            };
            local(app, &mut engine, Command::Contact(command))?;
            show_own(app, engine.own_profile()?)?;
            app.printer
                .note("contacts are told while sotto listen or chat runs");
            Ok(())
        }
        ContactArgs::Profile(ProfileArgs::Publish) => {
            put(app, ContactCommand::Publish, "published").await
        }
        ContactArgs::Profile(ProfileArgs::Unpublish) => {
            put(app, ContactCommand::Unpublish, "unpublished").await
        }
    }
}

async fn forget(app: &mut App, word: &str) -> Result<(), Failure> {
    let mut engine = app.offline().await?;
    let talk = names::talk(&engine, word)?;
    let command = ContactCommand::Forget { talk: talk.clone() };
    local(app, &mut engine, Command::Contact(command))?;
    render::object(app, json!({ "event": "forgotten", "to": talk.to_string() }))?;
    app.printer.say(&match talk {
        Talk::Person(_) => format!("forgot {word}, and what was said; nobody was told"),
        Talk::Group(_) => format!("forgot {word}, and what was said there"),
    })
}

/// What somebody told under seal, and what they show to everybody; where no
/// server can be asked, what is known here must do.
async fn show_profile(app: &mut App, name: Username) -> Result<(), Failure> {
    let known = app.offline().await?.contact(&name)?;
    if let Some(contact) = &known {
        show(app, contact)?;
    }
    if known.is_some() && app.dialer().is_err() {
        return Ok(());
    }
    match perform(app, Command::People(PeopleCommand::Look { name })).await {
        Ok(Event::User { user, .. }) => show_user(app, &user),
        Ok(_) => Ok(()),
        Err(failure) if known.is_some() => match failure.code.as_str() {
            // Whoever hides is nobody to the servers.
            "unknown_user" => Ok(()),
            _ => make_do(app, failure),
        },
        Err(failure) => Err(failure),
    }
}

async fn put(app: &mut App, command: ContactCommand, done: &str) -> Result<(), Failure> {
    perform(app, Command::Contact(command)).await?;
    render::object(app, json!({ "event": "profile", "state": done }))?;
    app.printer.say(done)
}

fn show_one(app: &mut App, contact: Option<Contact>, name: &Username) -> Result<(), Failure> {
    match contact {
        Some(contact) => show(app, &contact),
        None => Err(Failure::named(
            "not_found",
            format!("{name} is not known here; write to them first"),
        )),
    }
}

fn show_own(app: &mut App, (display_name, status): (String, String)) -> Result<(), Failure> {
    render::object(
        app,
        json!({ "event": "profile", "display_name": display_name, "status": status }),
    )?;
    let line = SafeText::line(&format!("{display_name} · {status}"), WORDS_CELLS);
    app.printer.line(&[(Style::Plain, &line)])
}

fn show(app: &mut App, contact: &Contact) -> Result<(), Failure> {
    render::object(app, contact.to_json())?;
    let mut words = Vec::new();
    let told = [
        (&contact.alias, ""),
        (&contact.display_name, "calls themselves "),
        (&contact.status, ""),
        (&contact.note, "note: "),
    ];
    for (text, head) in told {
        if !text.is_empty() {
            words.push(format!("{head}{text}"));
        }
    }
    if contact.verified_at_ms.is_some() {
        words.push("verified".to_owned());
    }
    if contact.blocked {
        words.push("blocked".to_owned());
    }
    let name = SafeText::from(&contact.name);
    let gap = own_words("  ");
    let words = SafeText::line(&words.join(" · "), WORDS_CELLS);
    app.printer.line(&[
        (Style::Other, &name),
        (Style::Plain, &gap),
        (Style::Plain, &words),
    ])
}
