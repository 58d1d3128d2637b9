//! What every command needs: where the profile lies, how it opens, which
//! servers to ask, and how failures of the parts become failures of a command.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::args::Global;
use super::output::Printer;
use super::reach::Reach;
use super::zone::Zone;
use crate::desk::{Desk, Lender};
use crate::engine::api::Login;
use crate::engine::{Engine, EngineError};
use crate::exit::{Failure, cause};
use crate::history::HistoryError;
use crate::net::{DialError, Dialer, ServerList, client_config};
use crate::notice::{Notice, Notify};
use crate::password_prompt::{self, Password, PromptError, Purpose};
use crate::profile::{Location, Profile, ProfileError, Unlock, default_runtime};
use crate::runtime::{Clock, Session};

/// What commands share.
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) printer: Printer,
    pub(crate) clock: Clock,
    pub(crate) zone: Zone,
    /// Where the engine comes from, in a daemon or a chat.
    pub(crate) lender: Option<Lender>,
    /// A password that an interface asked for in its own way.
    pub(crate) given_password: Option<Password>,
    /// How much notifications say.
    pub(crate) notify: Notify,
}

impl App {
    pub(crate) fn new(global: Global, printer: Printer) -> Self {
        Self {
            global,
            printer,
            clock: Clock::start(),
            zone: Zone::local(),
            lender: None,
            given_password: None,
            notify: Notify::default(),
        }
    }

    /// Tells somebody at a terminal that something came, if that is wanted.
    pub(crate) fn announce(&mut self, notice: &Notice) -> Result<(), Failure> {
        let now_ms = self.clock.now().monotonic_ms;
        self.printer.announce(notice, self.notify, now_ms)
    }

    /// Where the profile of this command lies.
    pub(crate) fn location(&self) -> Result<Location, Failure> {
        let home = match &self.global.home {
            Some(home) => home.clone(),
            None => default_home().ok_or_else(|| {
                Failure::named(
                    "usage",
                    "no home folder known; use --home DIR or set SOTTO_HOME",
                )
            })?,
        };
        Ok(Location {
            home,
            name: self.global.profile.clone(),
            runtime: default_runtime(),
        })
    }

    /// How to reach the deployment: as given, else as at the last login.
    pub(crate) fn dialer(&self) -> Result<Dialer, Failure> {
        let (server, ca) = match &self.global.server {
            Some(server) => (server.clone(), self.global.ca.clone()),
            None => {
                let reach = Reach::recall(&self.location()?)
                    .map_err(|error| Failure::named("store_damaged", error.to_string()))?
                    .unwrap_or_default();
                (reach.server, self.global.ca.clone().or(reach.ca))
            }
        };
        let servers = ServerList::parse(&server)
            .map_err(|error| Failure::named("usage", error.to_string()))?;
        let tls = client_config(ca.as_deref())
            .map_err(|error| Failure::named("usage", error.to_string()))?;
        Ok(Dialer::new(servers, tls))
    }

    /// After a login: the same servers are asked when none are given.
    pub(crate) fn remember_servers(&mut self) -> Result<(), Failure> {
        let Some(server) = self.global.server.clone() else {
            return Ok(());
        };
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let ca = self.global.ca.as_ref().map(absolute);
        if let Err(error) = (Reach { server, ca }).remember(&self.location()?) {
            self.printer.note(&format!(
                "the servers are not remembered: {}",
                cause(&error)
            ));
        }
        Ok(())
    }

    /// The password: from `--password-file`, or asked for.
    pub(crate) async fn password(
        &self,
        question: &str,
        purpose: Purpose,
    ) -> Result<Password, Failure> {
        if let Some(given) = &self.given_password {
            return Ok(given.clone());
        }
        let password = match &self.global.password_file {
            Some(file) => password_prompt::from_file(file, purpose),
            None => password_prompt::ask(question, purpose).await,
        };
        password.map_err(Failure::from)
    }

    /// Opens the profile: by the key that a login left, else by the password.
    pub(crate) async fn open(&mut self) -> Result<Profile, Failure> {
        if self.lender.is_some() {
            return Err(ProfileError::InUse.into());
        }
        let location = self.location()?;
        match Profile::open(&location, Unlock::Session) {
            Err(ProfileError::PasswordNeeded) => {}
            other => return other.map_err(Failure::from),
        }
        let question = format!("Password of profile {}: ", self.global.profile);
        let password = self.password(&question, Purpose::Present).await?;
        self.printer.note("deriving key…");
        let profile = Profile::open(&location, Unlock::Password(&password))?;
        if let Err(error) = profile.keep_unlocked() {
            self.printer
                .note(&format!("the profile does not stay unlocked: {error}"));
        }
        Ok(profile)
    }

    /// An engine over a profile.
    pub(crate) fn engine(&self, profile: Profile, login: Login) -> Result<Engine, Failure> {
        Ok(Engine::new(
            profile,
            login,
            rand::random(),
            self.clock.now(),
        )?)
    }

    /// An engine over the profile, without a server.
    pub(crate) async fn offline(&mut self) -> Result<Desk, Failure> {
        if let Some(lender) = &self.lender {
            let busy = || Failure::named("internal", "the daemon's engine is in use");
            return lender.lend().ok_or_else(busy);
        }
        let profile = self.open().await?;
        Ok(self.engine(profile, Login::Device)?.into())
    }

    /// Takes an engine online.
    pub(crate) fn online(&self, engine: impl Into<Desk>) -> Result<Session, Failure> {
        Ok(Session::start(engine, self.dialer()?, None, self.clock)?)
    }
}

fn default_home() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("sotto"))
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        let code = match &error {
            PromptError::NoTerminal => "password_needed",
            PromptError::Interrupted => "interrupted",
            PromptError::Unreadable(_)
            | PromptError::Unusable
            | PromptError::TooShort
            | PromptError::Differ => "usage",
        };
        Self::named(code, error.to_string())
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let (code, advice) = match &error {
            ProfileError::Missing => (
                "no_profile",
                "; make an account with sotto register NAME, or bring one here: sotto link NAME from another device, sotto recover NAME with its recovery key",
            ),
            ProfileError::Exists => ("profile_exists", "; choose another with --profile"),
            ProfileError::InUse => (
                "profile_in_use",
                ", perhaps sotto chat or listen in another window; end it, or choose another profile with --profile. Commands share a profile through sotto daemon, where that was started first",
            ),
            ProfileError::BadName => ("usage", ""),
            ProfileError::PasswordNeeded => ("password_needed", ""),
            ProfileError::WrongPassword => ("wrong_password", "; try again"),
            ProfileError::Corrupted(_) => ("store_damaged", DAMAGED),
            ProfileError::History(error) => history_advice(error),
            ProfileError::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull => ("disk_full", "; free some space and try again"),
                _ => (
                    "internal",
                    "; check the permissions of the profile's folder",
                ),
            },
            _ => ("internal", "; try again"),
        };
        Self::named(code, format!("{error}{advice}"))
    }
}

/// What to do with a profile that cannot be read.
const DAMAGED: &str = "; put its folder back from a backup, or move it away and use sotto link NAME or sotto recover NAME";

fn history_advice(error: &HistoryError) -> (&'static str, &'static str) {
    match error {
        HistoryError::Corrupted | HistoryError::Invalid(_) => ("store_damaged", DAMAGED),
        HistoryError::NewerSchema { .. } => ("store_newer", "; use that version of sotto"),
        HistoryError::DiskFull => ("disk_full", "; free some space and try again"),
        HistoryError::Sqlite(_) | HistoryError::KeyStore(_) => (
            "internal",
            "; check the disk and the permissions of the profile's folder",
        ),
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        tracing::debug!(?error, "the engine ended");
        match error {
            EngineError::History(error) => ProfileError::History(error).into(),
            EngineError::Profile(error) => error.into(),
            EngineError::Group(_) => Self::named("internal", format!("{error}; try again")),
        }
    }
}

impl From<crate::engine::api::Failure> for Failure {
    fn from(failure: crate::engine::api::Failure) -> Self {
        Self::named(failure.code, failure.message).retry_after(failure.retry_after_ms)
    }
}

impl From<&DialError> for Failure {
    fn from(error: &DialError) -> Self {
        Self::named(error.code(), format!("{error}{}", error.advice()))
            .retry_after(error.retry_after_ms())
    }
}
