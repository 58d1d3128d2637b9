//! Becoming a device of an account that exists: by a code that an old device
//! answers, or by the recovery key. A password alone does neither.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use prost::Message as _;
use serde_json::json;
use sotto_crypto::link::{AgreementKey, DEVICE_NAME_BYTES_MAX, LinkCode, LinkError, LinkOffer};
use sotto_crypto::recovery::{RecoveryError, RecoveryKey};
use sotto_crypto::{KdfParameters, password};
use sotto_protocol::wire::client_frame::Body as Ask;
use sotto_protocol::wire::server_frame::Body as Answer;
use sotto_protocol::wire::{
    AccountSnapshot, GetBackup, GetLinkAnswer, LinkAnswerBody, PastArchive, PutLinkOffer,
};
use sotto_protocol::{ErrorCode, Username, wire};
use zeroize::Zeroizing;

use super::{past, typed};
use crate::cli::account::{account_object, dial, start};
use crate::cli::app::App;
use crate::cli::drive::{Interrupts, LoginBy, Troubles, interrupted, until_with};
use crate::cli::output::{Style, own_words};
use crate::cli::render;
use crate::engine::api::{Command, DeviceCommand, Event, IdentityChange, Login, SecurityKind};
use crate::exit::{Failure, cause};
use crate::net::{AskError, Asker};
use crate::password_prompt::{Password, Purpose};
use crate::profile::{Handover, NewAccount, Newcomer, Profile};
use crate::runtime::Session;

/// How often the new device looks for its answer.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Offers and answers are kept for ten minutes.
const LOOKS_MAX: u32 = 300;
/// How long entering the conversations may take before the command ends.
const ENTER_PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of a file with words.
const WORDS_BYTES_MAX: u64 = 1_000;

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Dial(error) => Self::from(&error),
            AskError::Link(error) => Self::named("unreachable", format!("{error}; try again")),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::named("unknown_link", error.to_string())
    }
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        let code = match error {
            RecoveryError::WrongKey => "wrong_credentials",
            RecoveryError::TooLarge => "too_large",
            RecoveryError::NoRandomness(_) => "internal",
            _ => "usage",
        };
        Self::named(code, error.to_string())
    }
}

fn refused(error: &wire::Error) -> Failure {
    let code = ErrorCode::from_number(error.code).name();
    let message: String = error.message.chars().take(200).collect();
    Failure::named(code, message)
        .retry_after((error.retry_after_ms > 0).then_some(error.retry_after_ms))
}

fn odd() -> Failure {
    Failure::named(
        "internal",
        "the server gave an answer that makes no sense; try again",
    )
}

fn no_profile_yet(app: &App) -> Result<(), Failure> {
    if app.location()?.exists() {
        return Err(Failure::named(
            "profile_exists",
            format!(
                "profile {} is taken; choose another with --profile",
                app.global.profile
            ),
        ));
    }
    Ok(())
}

/// What a new device has in hand while it waits.
struct Waiting {
    asker: Asker,
    code: LinkCode,
    agreement: AgreementKey,
    sealed: Vec<u8>,
}

/// Shows a code until a device that has the account answers it, and comes in then.
///
/// # Errors
/// `profile_exists`; `timed_out` after ten minutes; what the servers say of it.
pub(crate) async fn link(
    app: &mut App,
    name: Username,
    device_name: Option<String>,
) -> Result<(), Failure> {
    no_profile_yet(app)?;
    let dialer = app.dialer()?;
    let password = app
        .password(
            "Choose a password for this device (the account's will do): ",
            Purpose::New,
        )
        .await?;
    let established = dial(app, &dialer).await?;
    let account = NewAccount {
        username: name,
        deployment: established.info.deployment,
    };
    let newcomer = Newcomer::generate()?;
    let code = LinkCode::generate()?;
    let agreement = AgreementKey::generate()?;
    let offer = LinkOffer {
        deployment: account.deployment,
        username: account.username.clone(),
        device: newcomer.device,
        device_key: newcomer.key.public(),
        agreement_key: agreement.public(),
        name: own_name(device_name),
    };
    let sealed = offer.seal(&code)?;
    let mut waiting = Waiting {
        asker: Asker::new(dialer.clone(), established),
        code,
        agreement,
        sealed,
    };
    put_offer(&mut waiting).await?;
    show_code(app, &waiting.code, &offer)?;
    let (answer, archive) = wait_for_answer(&mut waiting).await?;
    let expected = answer.snapshot.conversations.len();
    app.printer.note("deriving key…");
    let (profile, _) = Profile::create_from(
        &app.location()?,
        &account,
        &password,
        (&newcomer, &answer),
        app.clock.now(),
    )?;
    drop(waiting);
    let session = start(app, profile, Login::Device, dialer, None)?;
    let newcomer = Entry {
        login: LoginBy::Device,
        expected,
        archive,
    };
    enter(app, session, newcomer, "linked").await
}

fn own_name(given: Option<String>) -> String {
    let machine = || std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = given
        .filter(|name| !name.is_empty())
        .unwrap_or_else(machine);
    let mut name = name.trim().to_owned();
    while name.len() > DEVICE_NAME_BYTES_MAX {
        name.pop();
    }
    if name.is_empty() {
        "unnamed".clone_into(&mut name);
    }
    name
}

async fn put_offer(waiting: &mut Waiting) -> Result<(), Failure> {
    let put = Ask::PutLinkOffer(PutLinkOffer {
        rendezvous_id: waiting.code.rendezvous_id().to_vec(),
        offer: waiting.sealed.clone(),
    });
    match waiting.asker.ask(&put).await? {
        Answer::Done(_) => Ok(()),
        Answer::Error(error) => Err(refused(&error)),
        _ => Err(odd()),
    }
}

fn show_code(app: &mut App, code: &LinkCode, offer: &LinkOffer) -> Result<(), Failure> {
    let text = code.to_text();
    render::object(
        app,
        json!({
            "event": "link_code",
            "code": *text,
            "fingerprint": offer.fingerprint(),
            "id": offer.device.to_string(),
        }),
    )?;
    app.printer.say(
        "On a device that has the account: sotto devices link, or F9 on its screen. Type there:",
    )?;
    app.printer
        .line(&[(Style::Own, &own_words(&format!("    {}", *text)))])?;
    app.printer.line(&[
        (Style::Faint, &own_words("It must show this fingerprint: ")),
        (Style::Plain, &own_words(&offer.fingerprint())),
    ])?;
    app.printer.note("waiting, for ten minutes at most…");
    Ok(())
}

async fn wait_for_answer(waiting: &mut Waiting) -> Result<Answered, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let look = Ask::GetLinkAnswer(GetLinkAnswer {
        rendezvous_id: waiting.code.rendezvous_id().to_vec(),
    });
    for _ in 0..LOOKS_MAX {
        let answer = tokio::select! {
            answer = waiting.asker.ask(&look) => answer?,
            () = interrupts.next() => return Err(interrupted()),
        };
        match answer {
            Answer::LinkAnswer(found) if !found.answer.is_empty() => {
                return open_answer(waiting, &found.answer);
            }
            Answer::LinkAnswer(_) => {}
            Answer::Error(error) => return Err(refused(&error)),
            _ => return Err(odd()),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = interrupts.next() => return Err(interrupted()),
        }
    }
    Err(Failure::named(
        "timed_out",
        "no device answered within ten minutes; begin again with sotto link",
    ))
}

/// What the old device handed over, and where more of it lies.
type Answered = (Handover, Option<PastArchive>);

fn open_answer(waiting: &Waiting, answer: &[u8]) -> Result<Answered, Failure> {
    let plain = waiting
        .agreement
        .open_answer(&waiting.code, &waiting.sealed, answer)?;
    let body = LinkAnswerBody::decode(plain.as_slice()).map_err(|_| LinkError::Malformed)?;
    let handover = Handover {
        snapshot: body.account.ok_or(LinkError::Malformed)?,
        certificate: Some(body.certificate),
        history: body.history,
    };
    Ok((handover, body.archive))
}

pub(super) async fn recover(
    app: &mut App,
    name: Username,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    no_profile_yet(app)?;
    app.dialer()?;
    let password = app.password("Password: ", Purpose::Present).await?;
    let key = recovery_key(app, file)?;
    recover_with(app, name, (&password, &key)).await
}

/// Comes into an account by its password and recovery key.
///
/// # Errors
/// `profile_exists`; `wrong_credentials` for either; what the servers say of it.
pub(crate) async fn recover_with(
    app: &mut App,
    name: Username,
    (password, key): (&Password, &RecoveryKey),
) -> Result<(), Failure> {
    no_profile_yet(app)?;
    let dialer = app.dialer()?;
    let established = dial(app, &dialer).await?;
    let account = NewAccount {
        username: name,
        deployment: established.info.deployment,
    };
    let mut asker = Asker::new(dialer.clone(), established);
    app.printer.note("deriving key…");
    let snapshot = fetch(&mut asker, &account, password, key).await?;
    drop(asker);
    let expected = snapshot.conversations.len();
    let newcomer = Newcomer::generate()?;
    let handover = Handover {
        snapshot,
        certificate: None,
        history: Vec::new(),
    };
    let (profile, authentication_key) = Profile::create_from(
        &app.location()?,
        &account,
        password,
        (&newcomer, &handover),
        app.clock.now(),
    )?;
    let login = Login::Password {
        authentication_key,
        identity: IdentityChange::Refuse,
    };
    let mut session = start(app, profile, login, dialer, None)?;
    // From here on this device keeps the backup, under the same words.
    session.command(Command::Device(DeviceCommand::KeepBackup {
        key: key.backup_key(),
    }))?;
    let newcomer = Entry {
        login: LoginBy::Password,
        expected,
        archive: None,
    };
    enter(app, session, newcomer, "recovered").await
}

fn recovery_key(app: &mut App, file: Option<PathBuf>) -> Result<RecoveryKey, Failure> {
    let words = match file {
        Some(file) => {
            let mut text = Zeroizing::new(String::with_capacity(256));
            let unreadable = |error: std::io::Error| {
                let message = format!("the recovery key could not be read: {}", cause(&error));
                Failure::named("usage", message)
            };
            std::fs::File::open(file)
                .map_err(unreadable)?
                .take(WORDS_BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(unreadable)?;
            text
        }
        None => typed(app, "Type the twelve words of the recovery key:")?,
    };
    Ok(RecoveryKey::parse(&words)?)
}

async fn fetch(
    asker: &mut Asker,
    account: &NewAccount,
    password: &Password,
    key: &RecoveryKey,
) -> Result<AccountSnapshot, Failure> {
    let salt = password::account_salt(&account.deployment, &account.username);
    let keys = password::derive_keys(password, &salt, KdfParameters::CURRENT)
        .map_err(|error| Failure::named("internal", error.to_string()))?;
    let ask = Ask::GetBackup(GetBackup {
        username: account.username.as_str().to_owned(),
        authentication_key: keys.authentication.to_text(),
    });
    let backup = match asker.ask(&ask).await? {
        Answer::Backup(backup) => backup,
        Answer::Error(error) => return Err(refused(&error)),
        _ => return Err(odd()),
    };
    let plain = key
        .backup_key()
        .open(&account.deployment, &account.username, &backup.backup)?;
    AccountSnapshot::decode(plain.as_slice())
        .map_err(|_| Failure::named("store_damaged", "the backup cannot be read by this version"))
}

/// How a new device comes in.
struct Entry {
    login: LoginBy,
    /// How many conversations there are to enter.
    expected: usize,
    /// Where the latest messages lie.
    archive: Option<PastArchive>,
}

/// Sees a new device into its account and its conversations.
async fn enter(
    app: &mut App,
    mut session: Session,
    entry: Entry,
    event: &str,
) -> Result<(), Failure> {
    let Entry {
        login, expected, ..
    } = entry;
    let mut caught_up = false;
    let mut entered = 0;
    let judge = |app: &mut App, event: Event| {
        match &event {
            Event::CaughtUp => caught_up = true,
            Event::Security(matter) if matter.kind == SecurityKind::RecoveryDone => entered += 1,
            Event::Security(matter) if matter.kind == SecurityKind::DeviceAdded => {}
            Event::Done { .. } => {}
            _ => render::aside(app, &event)?,
        }
        Ok((caught_up && entered >= expected).then_some(()))
    };
    let outcome = until_with(
        Troubles::of(login),
        app,
        &mut session,
        ENTER_PATIENCE,
        judge,
    )
    .await;
    let mut engine = session.close().await;
    if let (Some(archive), true) = (&entry.archive, caught_up) {
        past::fetch(app, &mut engine, archive).await;
    }
    let who = engine.who_am_i();
    let profile = engine.into_profile();
    match outcome {
        Err(failure) if !caught_up => {
            if login == LoginBy::Password && failure.exit == crate::exit::Exit::Authentication {
                profile.wipe()?;
            }
            return Err(failure);
        }
        Err(_) => app.printer.note(&format!(
            "{entered} of {expected} conversations are entered; the others follow by themselves"
        )),
        Ok(()) => {}
    }
    if let Err(error) = profile.keep_unlocked() {
        app.printer
            .note(&format!("the profile does not stay unlocked: {error}"));
    }
    app.remember_servers()?;
    let who = who?;
    account_object(app, event, &who)?;
    app.printer
        .say(&format!("this is a device of {} now", who.username))
}
