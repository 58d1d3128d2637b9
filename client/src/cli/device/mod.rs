//! The account's devices on the command line: listing, linking, naming,
//! revoking, and the recovery key.
//!
//! A code is shown by the new device and typed on the old one; it is never
//! taken from an argument, so that no text that somebody sends can be pasted
//! into a command and add a device.

mod enter;
mod past;
mod recovery;

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use sotto_crypto::link::{LinkCode, LinkOffer};
use sotto_protocol::{DeviceId, Username};
use zeroize::Zeroizing;

use super::app::App;
use super::args::username;
use super::drive::{perform, perform_on};
use super::output::{Audience, Style, own_words};
use super::render;
use crate::desk::Desk;
use crate::engine::Engine;
use crate::engine::api::{Command, Device, DeviceCommand, Event, ThisDevice};
use crate::exit::Failure;
use crate::safe_text::SafeText;

pub(crate) use enter::{link, recover_with};
use recovery::offer_recovery;

/// The most bytes of a typed line.
const LINE_BYTES_MAX: u64 = 1_000;
/// Cells of a device's name.
const NAME_CELLS: usize = 40;

/// Commands about devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceArgs {
    /// Make this machine a further device of an account, with a device at hand that has it
    Link {
        #[arg(value_parser = username)]
        name: Username,
        /// What this device is called; otherwise the name of the machine
        #[arg(long, value_name = "NAME")]
        device_name: Option<String>,
    },
    /// List, link, rename or revoke the devices of this account
    Devices(DevicesArgs),
    /// Make or look after the recovery key
    Recovery(RecoveryArgs),
    /// Get an account back on a new machine, by its password and recovery key
    Recover {
        #[arg(value_parser = username)]
        name: Username,
        /// File that holds the twelve words; without it they are asked for
        #[arg(long, value_name = "FILE")]
        recovery_key_file: Option<PathBuf>,
    },
}

impl DeviceArgs {
    /// Whether it asks somebody at a terminal, or makes a profile.
    pub(crate) const fn asks(&self) -> bool {
        match self {
            Self::Link { .. } | Self::Recover { .. } => true,
            Self::Devices(args) => matches!(args.command, Some(DevicesCommand::Link)),
            Self::Recovery(args) => matches!(
                args.command,
                Some(RecoveryCommand::New {
                    recovery_key_file: None
                })
            ),
        }
    }
}

/// `devices`.
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
}

#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// Add the device that shows a code; asks for the code, then again whether it is yours
    Link,
    /// Give a device a name
    Rename {
        /// The device: its id, or the beginning of it
        #[arg(value_name = "ID")]
        device: String,
        /// At most 64 bytes
        name: String,
    },
    /// End a device: it is logged out and taken out of every conversation
    Revoke {
        /// The device: its id, or the beginning of it
        #[arg(value_name = "ID")]
        device: String,
    },
}

/// `recovery`.
#[derive(Debug, Args)]
pub(crate) struct RecoveryArgs {
    #[command(subcommand)]
    command: Option<RecoveryCommand>,
}

#[derive(Debug, Subcommand)]
enum RecoveryCommand {
    /// Make a new recovery key, show it once, and keep the backup under it
    New {
        /// Write the words into this new file (mode 0600) instead of showing them
        #[arg(long, value_name = "FILE")]
        recovery_key_file: Option<PathBuf>,
    },
}

/// Makes the account, then offers a recovery key.
pub(crate) async fn register(
    app: &mut App,
    (name, invite): (Username, Option<String>),
    recovery_key_file: Option<PathBuf>,
) -> Result<(), Failure> {
    super::account::register(app, name, invite).await?;
    offer_recovery(app, recovery_key_file).await
}

pub(crate) async fn carry_out(app: &mut App, args: DeviceArgs) -> Result<(), Failure> {
    match args {
        DeviceArgs::Link { name, device_name } => link(app, name, device_name).await,
        DeviceArgs::Recover {
            name,
            recovery_key_file,
        } => enter::recover(app, name, recovery_key_file).await,
        DeviceArgs::Recovery(RecoveryArgs { command: None }) => recovery::status(app).await,
        DeviceArgs::Recovery(RecoveryArgs {
            command: Some(RecoveryCommand::New { recovery_key_file }),
        }) => recovery::new_key(app, recovery_key_file).await,
        DeviceArgs::Devices(DevicesArgs { command }) => match command {
            None => list(app).await,
            Some(DevicesCommand::Link) => link_other(app).await,
            Some(DevicesCommand::Rename { device, name }) => rename(app, &device, name).await,
            Some(DevicesCommand::Revoke { device }) => revoke(app, &device).await,
        },
    }
}

async fn devices(app: &mut App) -> Result<Vec<Device>, Failure> {
    match perform(app, Command::ListDevices).await? {
        Event::Devices { devices, .. } => Ok(devices),
        _ => Ok(Vec::new()),
    }
}

async fn list(app: &mut App) -> Result<(), Failure> {
    for device in devices(app).await? {
        let this = device.this == ThisDevice::Yes;
        render::object(
            app,
            json!({
                "event": "device",
                "id": device.id.to_string(),
                "name": device.name,
                "issued_at_ms": device.issued_at_ms,
                "this": this,
            }),
        )?;
        let since = app.zone.date_and_time(device.issued_at_ms);
        let mark = if this { "  (this one)" } else { "" };
        app.printer.line(&[
            (Style::Plain, &own_words(&device.id.to_string())),
            (
                Style::Faint,
                &own_words(&format!("  since {since}{mark}  ")),
            ),
            (Style::Other, &SafeText::line(&device.name, NAME_CELLS)),
        ])?;
    }
    Ok(())
}

/// The one device whose id begins so.
async fn find(app: &mut App, word: &str) -> Result<DeviceId, Failure> {
    let hex = word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hex {
        return Err(Failure::named(
            "usage",
            "a device is named by its id or the first digits of it, at least 4; see sotto devices",
        ));
    }
    let mut found = devices(app).await?;
    let word = word.to_ascii_lowercase();
    found.retain(|device| device.id.to_string().starts_with(&word));
    match (found.pop(), found.is_empty()) {
        (Some(device), true) => Ok(device.id),
        (Some(_), false) => Err(Failure::named(
            "usage",
            "several devices begin so; give more digits",
        )),
        (None, _) => Err(Failure::named(
            "unknown_device",
            "the account has no such device; see sotto devices",
        )),
    }
}

async fn rename(app: &mut App, word: &str, name: String) -> Result<(), Failure> {
    let device = find(app, word).await?;
    let command = DeviceCommand::Rename {
        device,
        name: name.clone(),
    };
    perform(app, Command::Device(command)).await?;
    app.printer.say("renamed")?;
    render::object(
        app,
        json!({ "event": "device_renamed", "id": device.to_string(), "name": name }),
    )
}

async fn revoke(app: &mut App, word: &str) -> Result<(), Failure> {
    let device = find(app, word).await?;
    let command = Command::Device(DeviceCommand::Revoke { device });
    perform(app, command).await?;
    app.printer
        .say("revoked: it is logged out and out of every conversation")?;
    app.printer
        .note("whoever has it may know the password; change it with sotto passwd");
    render::object(
        app,
        json!({ "event": "device_revoked", "id": device.to_string() }),
    )
}

/// A line that a person types, or a program writes to stdin.
fn typed(app: &mut App, question: &str) -> Result<Zeroizing<String>, Failure> {
    app.printer.note(question);
    let mut line = Zeroizing::new(String::with_capacity(256));
    // Byte by byte: a reader's buffer would take the next line with it.
    let mut stdin = std::io::stdin().lock();
    let read = (&mut stdin).take(LINE_BYTES_MAX).read_line(&mut line);
    match read {
        Ok(1..) => Ok(line),
        _ => Err(Failure::named(
            "interrupted",
            "nothing was typed; nothing was changed",
        )),
    }
}

/// Who shows a code and wants to be a device of this account.
pub(crate) struct Offered {
    code: LinkCode,
    offer: Box<LinkOffer>,
    sealed: Vec<u8>,
}

impl Offered {
    /// What it says of itself, and what its screen must show too.
    pub(crate) fn offer(&self) -> &LinkOffer {
        &self.offer
    }
}

async fn link_other(app: &mut App) -> Result<(), Failure> {
    let engine = app.offline().await?;
    let code = typed(
        app,
        "On the new device: sotto link NAME. Type the code that it shows:",
    )?;
    let offered = look_with(app, engine, &code).await?;
    let engine = app.offline().await?;
    agree(app, &engine, &offered.offer)?;
    drop(engine);
    let_in(app, offered).await
}

/// Looks who shows a code.
///
/// # Errors
/// `usage` for what is no code; what the servers say of it.
pub(crate) async fn look(app: &mut App, code: &str) -> Result<Offered, Failure> {
    let engine = app.offline().await?;
    look_with(app, engine, code).await
}

async fn look_with(app: &mut App, engine: Desk, code: &str) -> Result<Offered, Failure> {
    let read = || LinkCode::parse(code).map_err(|error| Failure::named("usage", error.to_string()));
    let command = DeviceCommand::LookAtOffer { code: read()? };
    match perform_on(app, engine, Command::Device(command)).await? {
        Event::LinkOffered { offer, sealed, .. } => Ok(Offered {
            code: read()?,
            offer,
            sealed,
        }),
        _ => Err(Failure::named("internal", "no answer; try again")),
    }
}

/// Makes who was looked at a device of this account. The person has agreed.
///
/// # Errors
/// What the servers say of it; nothing is linked then.
pub(crate) async fn let_in(app: &mut App, offered: Offered) -> Result<(), Failure> {
    let Offered {
        code,
        offer,
        sealed,
    } = offered;
    let engine = app.offline().await?;
    let device = offer.device;
    let archive = past::upload(app, &engine).await;
    let blob = archive.as_ref().map(|archive| archive.blob_id.clone());
    let command = DeviceCommand::Link {
        code,
        offer,
        sealed,
        archive,
    };
    if let Err(failure) = perform_on(app, engine, Command::Device(command)).await {
        if let (Some(blob), Ok(engine)) = (blob, app.offline().await) {
            past::discard(app, &engine, &blob).await;
        }
        return Err(failure);
    }
    app.printer
        .say("linked: the new device reads from now on, and everybody you talk with is told")?;
    render::object(
        app,
        json!({ "event": "device_linked", "id": device.to_string() }),
    )
}

/// Shows who wants to come in and asks once more.
fn agree(app: &mut App, engine: &Engine, offer: &LinkOffer) -> Result<(), Failure> {
    let me = engine.who_am_i()?.username;
    let fingerprint = offer.fingerprint();
    render::object(
        app,
        json!({
            "event": "link_offer",
            "account": offer.username.as_str(),
            "device_name": offer.name,
            "fingerprint": fingerprint,
        }),
    )?;
    let faint = |text: &str| (Style::Faint, own_words(text));
    for (label, value) in [
        ("account", SafeText::from(&offer.username)),
        ("calls itself", SafeText::line(&offer.name, NAME_CELLS)),
        ("fingerprint", own_words(&fingerprint)),
    ] {
        let (style, label) = faint(&format!("{label:13}"));
        app.printer
            .line(&[(style, &label), (Style::Plain, &value)])?;
    }
    if app.printer.audience() == Audience::People && std::io::stdin().is_terminal() {
        app.printer.note(&format!(
            "This device will read everything that {me} reads, and write as {me}. If somebody \
             asked you to type this code, stop: nobody else ever needs it."
        ));
    }
    let answer = typed(
        app,
        "Is this your own device, with this fingerprint on its screen? Type yes:",
    )?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::named("interrupted", "nothing was linked"))
    }
}
