//! Before there is a session: finds the profile, opens it, or makes one with what the person
//! types on the screen.
//!
//! The password is never an argument and is forgotten when the profile is open.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sotto_crypto::recovery::RecoveryKey;
use sotto_protocol::Username;
use tokio::sync::mpsc::Receiver;
use zeroize::Zeroizing;

use super::Mouth;
use crate::cli::inside::{self, App, Audience};
use crate::desk::Desk;
use crate::engine::api::{AccountState, Command, DeviceCommand, GroupCommand, IdentityChange};
use crate::exit::Failure;
use crate::password_prompt::Password;
use crate::tui::ask::{Ask, Enrol, News, Stage};

/// Lines that are shown while something is waited for.
const LINES_MAX: usize = 20;
/// The group of this account alone.
pub(crate) const NOTES: &str = "notes to self";

/// Where the first run stands.
pub(super) struct Enrolment {
    app: App,
    /// What the command line said about whose certificate counts.
    given_ca: Option<PathBuf>,
    mouth: Mouth,
    key: Option<RecoveryKey>,
}

/// What is done next.
enum Next {
    /// The person is asked this.
    Ask(Stage),
    /// Everything is there.
    Open,
    /// The person leaves.
    Over,
}

impl Enrolment {
    pub(super) fn new(app: App, mouth: Mouth) -> Self {
        Self {
            given_ca: app.global.ca.clone(),
            app,
            mouth,
            key: None,
        }
    }

    /// What commands share, for the session.
    pub(super) fn into_app(mut self) -> App {
        self.app.given_password = None;
        self.app
    }

    /// Asks until the profile is open; `None` when the person leaves before.
    pub(super) async fn run(&mut self, asks: &mut Receiver<Ask>) -> Result<Option<Desk>, Failure> {
        let mut next = self.first_step().await?;
        loop {
            match next {
                Next::Over => return Ok(None),
                Next::Open => match self.open().await? {
                    Ok(desk) => return Ok(Some(desk)),
                    Err(stage) => next = Next::Ask(stage),
                },
                Next::Ask(stage) => {
                    self.mouth.say(News::Enrol(stage));
                    let answer = loop {
                        match asks.recv().await {
                            None | Some(Ask::Quit) => return Ok(None),
                            Some(Ask::Enrol(answer)) => break answer,
                            // Nothing else can be done yet.
                            Some(_) => {}
                        }
                    };
                    next = self.answered(answer, asks).await?;
                }
            }
        }
    }

    async fn first_step(&mut self) -> Result<Next, Failure> {
        if self.app.location()?.exists() {
            return Ok(Next::Open);
        }
        Ok(Next::Ask(match self.app.dialer() {
            Ok(_) => Stage::Account { failure: None },
            Err(failure) if failure.code == "store_damaged" => return Err(failure),
            Err(_) => Stage::Server { failure: None },
        }))
    }

    /// Opens the profile, or says what is missing.
    async fn open(&mut self) -> Result<Result<Desk, Stage>, Failure> {
        if self.app.given_password.is_none() && self.app.global.password_file.is_none() {
            // Nobody is asked at the terminal, which the screen has.
            let empty = Zeroizing::new(String::new());
            self.app.given_password = Some(empty);
        }
        let name = self.app.global.profile.clone();
        let desk = match self.app.offline().await {
            Ok(desk) => desk,
            Err(failure) if failure.code == "wrong_password" => {
                let typed = self.app.given_password.take();
                let first = typed.is_none_or(|typed| typed.is_empty());
                let failure = (!first).then_some(failure);
                return Ok(Err(Stage::Password { name, failure }));
            }
            Err(failure) => return Err(failure),
        };
        match desk.who_am_i()?.state {
            AccountState::Active => Ok(Ok(desk)),
            AccountState::Registering => {
                let words = "the registration was not finished; the same name and password go on";
                Ok(Err(Stage::Account {
                    failure: Some(Failure::named("not_logged_in", words)),
                }))
            }
            AccountState::LoggedOut | AccountState::Revoked => {
                let words = "this device is logged out; its history is still here";
                Ok(Err(Stage::Login {
                    failure: Some(Failure::named("not_logged_in", words)),
                }))
            }
        }
    }

    async fn answered(&mut self, answer: Enrol, asks: &mut Receiver<Ask>) -> Result<Next, Failure> {
        Ok(match answer {
            Enrol::Connect { server, ca } => self.connect((server, ca), asks).await,
            Enrol::Register {
                name,
                password,
                invite,
            } => {
                self.mouth.say(News::Enrol(Stage::Busy(
                    "making your keys and the account; this takes a few seconds…",
                )));
                self.app.given_password = Some(password);
                match inside::register(&mut self.app, name, invite).await {
                    Ok(()) => Next::Ask(Stage::Offer),
                    Err(failure) => Next::Ask(self.refused(failure)),
                }
            }
            Enrol::Login { name, password } => self.log_in(name, password).await,
            Enrol::Link {
                name,
                password,
                device_name,
            } => {
                let mut app = self.heard(password, "asking for a code…");
                let work = async move { inside::link(&mut app, name, device_name).await };
                self.wait_for(work, asks, |failure| Stage::Link { failure })
                    .await
            }
            Enrol::Recover {
                name,
                password,
                words,
            } => self.recover((name, password, &words), asks).await,
            Enrol::Stop => Next::Ask(Stage::Account { failure: None }),
            Enrol::Unlock { password } => {
                self.mouth.say(News::Enrol(Stage::Busy("unlocking…")));
                self.app.given_password = Some(password);
                Next::Open
            }
            Enrol::MakeRecovery => match RecoveryKey::generate() {
                Ok(key) => {
                    let words = Zeroizing::new(key.to_words().to_string());
                    self.key = Some(key);
                    Next::Ask(Stage::Words(words))
                }
                Err(error) => return Err(Failure::named("internal", error.to_string())),
            },
            Enrol::KeepRecovery => {
                self.mouth
                    .say(News::Enrol(Stage::Busy("backing the account up…")));
                if let Some(key) = self.key.take() {
                    let key = key.backup_key();
                    let command = Command::Device(DeviceCommand::KeepBackup { key });
                    self.carry_out(command).await;
                }
                self.begin_notes().await
            }
            Enrol::SkipRecovery => {
                self.key = None;
                self.begin_notes().await
            }
            Enrol::Check { .. } => Next::Open,
        })
    }

    async fn recover(
        &mut self,
        (name, password, words): (Username, Password, &str),
        asks: &mut Receiver<Ask>,
    ) -> Next {
        let key = match RecoveryKey::parse(words) {
            Ok(key) => key,
            Err(error) => {
                return Next::Ask(Stage::Recover {
                    failure: Some(error.into()),
                });
            }
        };
        let busy = "asking for the backup; this takes a few seconds…";
        let mut app = self.heard(password.clone(), busy);
        let work = async move { inside::recover_with(&mut app, name, (&password, &key)).await };
        self.wait_for(work, asks, |failure| Stage::Recover { failure })
            .await
    }

    async fn log_in(&mut self, name: Username, password: Password) -> Next {
        self.mouth.say(News::Enrol(Stage::Busy("logging in…")));
        self.app.given_password = Some(password);
        let failure = match inside::login(&mut self.app, name, IdentityChange::Refuse).await {
            Ok(()) => return Next::Open,
            Err(failure) => failure,
        };
        self.app.given_password = None;
        Next::Ask(match failure.code.as_str() {
            // A password alone makes no device.
            "identity_mismatch" => {
                let words = "this account has another device: let it add this one, or → use the recovery key";
                Stage::Link {
                    failure: Some(Failure::named("identity_mismatch", words)),
                }
            }
            _ => Stage::Login {
                failure: Some(failure),
            },
        })
    }

    /// What commands share, with a password that was typed; what they say is shown while they run.
    fn heard(&mut self, password: Password, busy: &'static str) -> App {
        self.mouth.say(News::Enrol(Stage::Busy(busy)));
        self.app.given_password = Some(password.clone());
        let (mouth, said) = (self.mouth.clone(), Arc::new(Mutex::new(Vec::new())));
        let sink = Box::new(move |_, text: String| {
            let mut said: std::sync::MutexGuard<'_, Vec<String>> =
                said.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend(text.lines().map(str::to_owned));
            said.truncate(LINES_MAX);
            mouth.say(News::Enrol(Stage::Waiting(said.clone())));
            Ok(())
        });
        let mut app = self.app.within(Audience::People, None, sink);
        app.given_password = Some(password);
        app
    }

    /// Waits until it is done, or not wanted any more.
    async fn wait_for(
        &mut self,
        work: impl Future<Output = Result<(), Failure>>,
        asks: &mut Receiver<Ask>,
        again: impl Fn(Option<Failure>) -> Stage,
    ) -> Next {
        let mut work = Box::pin(work);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome.map_err(Some),
                ask = asks.recv() => match ask {
                    None | Some(Ask::Quit) => return Next::Over,
                    Some(Ask::Enrol(Enrol::Stop)) => break Err(None),
                    Some(_) => {}
                }
            }
        };
        match outcome {
            Ok(()) => Next::Open,
            Err(failure) => {
                self.app.given_password = None;
                Next::Ask(again(failure))
            }
        }
    }

    /// Takes an address, if it is one and a deployment answers there: later, a name and a password
    /// would have been typed for nothing.
    async fn connect(
        &mut self,
        (server, ca): (String, Option<String>),
        asks: &mut Receiver<Ask>,
    ) -> Next {
        let lines = vec![format!("Looking whether a deployment answers at {server}…")];
        self.app.global.server = Some(server);
        self.app.global.ca = ca.map(Into::into).or_else(|| self.given_ca.clone());
        let dialer = match self.app.dialer() {
            Ok(dialer) => dialer,
            Err(failure) => return Next::Ask(unreached(Some(failure))),
        };
        self.mouth.say(News::Enrol(Stage::Waiting(lines)));
        let work = async move {
            let established = dialer.dial().await;
            established.map(drop).map_err(|error| Failure::from(&error))
        };
        match self.wait_for(work, asks, unreached).await {
            Next::Open => Next::Ask(Stage::Account { failure: None }),
            other => other,
        }
    }

    /// A refusal goes back to the fields.
    fn refused(&mut self, failure: Failure) -> Stage {
        self.app.given_password = None;
        Stage::Account {
            failure: Some(failure),
        }
    }

    /// A conversation with oneself is a group without anybody else.
    async fn begin_notes(&mut self) -> Next {
        self.mouth
            .say(News::Enrol(Stage::Busy("opening notes to self…")));
        let command = GroupCommand::New {
            title: NOTES.to_owned(),
            members: Vec::new(),
        };
        self.carry_out(Command::Group(command)).await;
        Next::Open
    }

    /// What can be made good for later does not keep anybody from getting in.
    async fn carry_out(&mut self, command: Command) {
        if let Err(failure) = inside::perform(&mut self.app, command).await {
            self.mouth.say(News::Failed(failure));
        }
    }
}

/// The address once more, with why it did not do.
fn unreached(failure: Option<Failure>) -> Stage {
    let failure = failure.map(|mut failure| {
        // What follows is about options of the command line.
        let end = failure.message.find("; ").unwrap_or(failure.message.len());
        failure.message.truncate(end);
        failure
    });
    Stage::Server { failure }
}
