//! The own account: register, log in and out, who am I, change the password.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use sotto_protocol::Username;

use super::app::App;
use super::drive::{
    Interrupts, LoginBy, PATIENCE, Troubles, answer_to, interrupted, perform, until, until_with,
};
use super::output::{Style, own_words};
use super::render;
use crate::engine::api::{AccountState, Command, Event, IdentityChange, Login, WhoAmI};
use crate::exit::{Exit, Failure};
use crate::net::{Backoff, DialError, Dialer, Established};
use crate::password_prompt::{self, Purpose};
use crate::profile::{NewAccount, Profile, Unlock};
use crate::runtime::Session;
use crate::safe_text::SafeText;

/// How long a first connection is tried for.
const DIAL_PATIENCE: Duration = Duration::from_secs(15);

/// What is left of a profile after logging out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftovers {
    Keep,
    Wipe,
}

/// Whether the profile was made by this very command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Fresh,
    Existing,
}

pub(crate) async fn register(
    app: &mut App,
    name: Username,
    invite: Option<String>,
) -> Result<(), Failure> {
    let location = app.location()?;
    let dialer = app.dialer()?;
    if location.exists() {
        return resume_registration(app, name, invite, dialer).await;
    }
    let password = app.password("Choose a password: ", Purpose::New).await?;
    let established = dial(app, &dialer).await?;
    app.printer.note("deriving key…");
    let account = NewAccount {
        username: name,
        deployment: established.info.deployment,
    };
    let (profile, authentication_key) =
        Profile::create(&location, &account, &password, app.clock.now())?;
    let login = Login::Register {
        authentication_key,
        invite,
    };
    let session = start(app, profile, login, dialer, Some(established))?;
    log_in(app, session, Origin::Fresh, "registered").await
}

/// A registration whose answer was lost, or a profile that is taken.
async fn resume_registration(
    app: &mut App,
    name: Username,
    invite: Option<String>,
    dialer: Dialer,
) -> Result<(), Failure> {
    let profile = app.open().await?;
    if *profile.username() != name {
        return Err(taken(app, &profile));
    }
    let done = match profile.account_state()? {
        AccountState::Registering => None,
        AccountState::Active => Some(format!(
            "{name} is registered, and logged in on this device: there is nothing left to do"
        )),
        AccountState::LoggedOut | AccountState::Revoked => Some(format!(
            "{name} is registered; sotto login {name} logs this device in again"
        )),
    };
    if let Some(done) = done {
        return Err(Failure::named("profile_exists", done));
    }
    let password = app.password("Password: ", Purpose::Present).await?;
    app.printer.note("deriving key…");
    let login = Login::Register {
        authentication_key: profile.authentication_key(&password)?,
        invite,
    };
    let session = start(app, profile, login, dialer, None)?;
    log_in(app, session, Origin::Existing, "registered").await
}

pub(crate) async fn login(
    app: &mut App,
    name: Username,
    identity: IdentityChange,
) -> Result<(), Failure> {
    let location = app.location()?;
    let dialer = app.dialer()?;
    let password = app.password("Password: ", Purpose::Present).await?;
    if location.exists() {
        app.printer.note("deriving key…");
        let profile = Profile::open(&location, Unlock::Password(&password))?;
        if *profile.username() != name {
            return Err(taken(app, &profile));
        }
        let authentication_key = profile.authentication_key(&password)?;
        let login = Login::Password {
            authentication_key,
            identity,
        };
        let session = start(app, profile, login, dialer, None)?;
        return log_in(app, session, Origin::Existing, "logged_in").await;
    }
    let established = dial(app, &dialer).await?;
    app.printer.note("deriving key…");
    let account = NewAccount {
        username: name,
        deployment: established.info.deployment,
    };
    let (profile, authentication_key) =
        Profile::create(&location, &account, &password, app.clock.now())?;
    let login = Login::Password {
        authentication_key,
        identity,
    };
    let session = start(app, profile, login, dialer, Some(established))?;
    log_in(app, session, Origin::Fresh, "logged_in").await
}

fn taken(app: &App, profile: &Profile) -> Failure {
    Failure::named(
        "profile_exists",
        format!(
            "profile {} belongs to {}; choose another with --profile",
            app.global.profile,
            profile.username()
        ),
    )
}

pub(super) fn start(
    app: &App,
    profile: Profile,
    login: Login,
    dialer: Dialer,
    established: Option<Established>,
) -> Result<Session, Failure> {
    let engine = app.engine(profile, login)?;
    Ok(Session::start(engine, dialer, established, app.clock)?)
}

/// Sees a login through: until the device is reachable for others.
async fn log_in(
    app: &mut App,
    mut session: Session,
    origin: Origin,
    event: &str,
) -> Result<(), Failure> {
    let troubles = Troubles::of(LoginBy::Password);
    let outcome = until_with(troubles, app, &mut session, PATIENCE, |app, event| {
        if event == Event::CaughtUp {
            return Ok(Some(()));
        }
        render::aside(app, &event).map(|()| None)
    })
    .await;
    let engine = session.close().await;
    let who = engine.who_am_i();
    let profile = engine.into_profile();
    if let Err(failure) = outcome {
        let definite = !matches!(failure.exit, Exit::Unreachable | Exit::Unexpected);
        let unconfirmed = profile.account_state()? == AccountState::Registering;
        if origin == Origin::Fresh && definite && unconfirmed {
            profile.wipe()?;
        }
        return Err(failure);
    }
    if let Err(error) = profile.keep_unlocked() {
        app.printer
            .note(&format!("the profile does not stay unlocked: {error}"));
    }
    app.remember_servers()?;
    let who = who?;
    account_object(app, event, &who)?;
    welcome(app, event, &who)
}

/// What to do first.
fn welcome(app: &mut App, event: &str, who: &WhoAmI) -> Result<(), Failure> {
    let again = if event == "logged_in" { " back" } else { "" };
    let name = SafeText::from(&who.username);
    app.printer.line(&[
        (Style::Plain, &own_words(&format!("welcome{again}, "))),
        (Style::Own, &name),
        (Style::Plain, &own_words(". This device is ready.")),
    ])?;
    app.printer.line(&[
        (Style::Faint, &own_words("Try: ")),
        (
            Style::Plain,
            &own_words("sotto chat NAME, sotto users, sotto help"),
        ),
    ])
}

/// Connects, again and again for a while.
pub(super) async fn dial(app: &mut App, dialer: &Dialer) -> Result<Established, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut last: Option<DialError> = None;
    let attempts = async {
        let mut backoff = Backoff::default();
        loop {
            match dialer.clone().dial().await {
                Ok(established) => return Ok(established),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    if last.is_none() {
                        app.printer.note(&format!("{error}; trying again…"));
                    }
                    last = Some(error);
                }
            }
            let wait_ms = backoff.next_ms(rand::random());
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    };
    tokio::select! {
        outcome = tokio::time::timeout(DIAL_PATIENCE, attempts) => match outcome {
            Ok(outcome) => outcome.map_err(|error| Failure::from(&error)),
            Err(_) => Err(last.as_ref().map_or_else(
                || Failure::named(
                        "timed_out",
                        "no server answered in time; check the address and the network",
                    ),
                Failure::from,
            )),
        },
        () = interrupts.next() => Err(interrupted()),
    }
}

pub(crate) async fn logout(app: &mut App, leftovers: Leftovers) -> Result<(), Failure> {
    let profile = app.open().await?;
    let name = profile.username().clone();
    let gone = matches!(
        profile.account_state()?,
        AccountState::LoggedOut | AccountState::Revoked
    );
    let profile = if gone {
        profile
    } else {
        tell_server(app, profile).await?
    };
    match leftovers {
        Leftovers::Keep => profile.lock(),
        Leftovers::Wipe => profile.wipe()?,
    }
    app.printer.say(&format!("logged out {name}"))?;
    render::object(
        app,
        json!({ "event": "logged_out", "username": name.as_str() }),
    )
}

async fn tell_server(app: &mut App, profile: Profile) -> Result<Profile, Failure> {
    let engine = app.engine(profile, Login::Device)?;
    let mut session = app.online(engine)?;
    let id = session.command(Command::Logout)?;
    let outcome = until(app, &mut session, PATIENCE, |app, event| {
        match answer_to(id, &event) {
            Some(answer) => answer.map(Some),
            None => render::aside(app, &event).map(|()| None),
        }
    })
    .await;
    let profile = session.close().await.into_profile();
    outcome.map(|()| profile)
}

pub(crate) async fn whoami(app: &mut App) -> Result<(), Failure> {
    let engine = app.offline().await?;
    let who = engine.who_am_i()?;
    show_account(app, "account", &who)
}

fn show_account(app: &mut App, event: &str, who: &WhoAmI) -> Result<(), Failure> {
    account_object(app, event, who)?;
    for (label, value) in [
        ("name", who.username.to_string()),
        ("state", state_name(who.state).replace('_', " ")),
        ("device", who.device.to_string()),
        ("deployment", who.deployment.to_string()),
        ("identity", identity_text(who)),
    ] {
        app.printer.line(&[
            (Style::Faint, &own_words(&format!("{label:11}"))),
            (Style::Plain, &own_words(&value)),
        ])?;
    }
    Ok(())
}

fn state_name(state: AccountState) -> &'static str {
    match state {
        AccountState::Registering => "registering",
        AccountState::Active => "active",
        AccountState::LoggedOut => "logged_out",
        AccountState::Revoked => "revoked",
    }
}

fn identity_text(who: &WhoAmI) -> String {
    let digits = who.identity_key.iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

pub(super) fn account_object(app: &mut App, event: &str, who: &WhoAmI) -> Result<(), Failure> {
    render::object(
        app,
        json!({
            "event": event,
            "username": who.username.as_str(),
            "device": who.device.to_string(),
            "deployment": who.deployment.to_string(),
            "identity": identity_text(who),
            "state": state_name(who.state),
        }),
    )
}

pub(crate) async fn passwd(app: &mut App, new_file: Option<PathBuf>) -> Result<(), Failure> {
    let current = app.password("Present password: ", Purpose::Present).await?;
    let new = match &new_file {
        Some(file) => password_prompt::from_file(file, Purpose::New)?,
        None => password_prompt::ask("New password: ", Purpose::New).await?,
    };
    app.printer.note("deriving keys…");
    let changed = perform(app, Command::ChangePassword { current, new }).await;
    changed.map_err(|failure| match failure.code.as_str() {
        "wrong_credentials" => {
            Failure::named("wrong_password", "the present password is wrong; try again")
        }
        _ => failure,
    })?;
    app.printer.say("password changed")?;
    render::object(app, json!({ "event": "password_changed" }))
}
