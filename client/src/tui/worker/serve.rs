//! Answers to what the drawing side asks: from the store at once, or by a command to the engine
//! whose answer comes as an event.

use sotto_crypto::recovery::RecoveryKey;
use sotto_protocol::{ClientMessageId, Username};
use zeroize::Zeroizing;

use super::hear::Awaited;
use super::run::Errand;
use super::{Going, Worker, late};
use crate::engine::api::{Command, DeviceCommand, GroupCommand, MessageCommand};
use crate::exit::Failure;
use crate::profile::{Profile, ProfileError};
use crate::talk::Talk;
use crate::tui::ask::{Ask, Chats, Enrol, More, News, Page, Place, Stage, Verdict};
use crate::tui::change;
use crate::tui::complete::paths;
use crate::tui::model::pane::{PAGE, WINDOW_MAX};

/// Pinned messages that are listed.
const PINS_MAX: u32 = 200;
/// Messages that one search finds.
const HITS_MAX: u32 = 200;

impl Worker {
    /// Gives a setting another value.
    fn set(&self, name: &str, value: &str) -> Result<(), Failure> {
        let home = self.app.location()?.home;
        self.mouth.say(match change::set(&home, name, value) {
            Ok(settings) => News::Set(Box::new(settings)),
            Err(error) => News::Failed(Failure::named("bad_settings", error.to_string())),
        });
        Ok(())
    }

    /// Does what is asked.
    pub(super) async fn take(&mut self, ask: Ask) -> Result<Going, Failure> {
        match ask {
            Ask::Quit => return Ok(Going::Over),
            Ask::Run { words } => return self.run_errand(Errand::Words(words)).await,
            Ask::Look(look) => self.look(*look)?,
            Ask::Fetch { which } => return self.fetch(which).await,
            Ask::StopRun => {}
            Ask::Woke => self.session()?.begin_anew()?,
            Ask::Enrol(Enrol::Check { password }) => {
                let checked = Profile::check_password(&self.app.location()?, &password);
                self.mouth.say(News::Unlocked(match checked {
                    Ok(()) => Verdict::Right,
                    Err(ProfileError::WrongPassword) => Verdict::Wrong,
                    Err(error) => {
                        self.mouth.say(News::Failed(error.into()));
                        Verdict::Wrong
                    }
                }));
            }
            Ask::Enrol(Enrol::MakeRecovery) => self.make_recovery()?,
            Ask::Enrol(Enrol::KeepRecovery) => self.keep_recovery()?,
            Ask::Enrol(Enrol::SkipRecovery) => self.key = None,
            Ask::Enrol(answer) => tracing::debug!("{} is over", late(&answer)),
            Ask::LookAtCode { code } => return self.run_errand(Errand::Look(code)).await,
            Ask::LetIn => match self.offered.take() {
                Some(offered) => return self.run_errand(Errand::LetIn(offered)).await,
                None => tracing::debug!("nobody was looked at"),
            },
            Ask::Passwd { current, new } => {
                let id = self
                    .session()?
                    .command(Command::ChangePassword { current, new })?;
                self.ears.await_answer(id, Awaited::Password);
            }
            Ask::Chats => self.chats()?,
            Ask::Page { talk, place } => self.page(talk, place)?,
            Ask::Overview { talk } => {
                let overview = Box::new(self.session()?.engine().overview(&talk)?);
                self.mouth.say(News::Overview { talk, overview });
            }
            Ask::Seen { talk, seq } => {
                let now = self.app.clock.now();
                self.session()?.engine().seen_up_to(&talk, seq, now)?;
            }
            Ask::Search { text, talk, ticket } => {
                let hits = self
                    .session()?
                    .engine()
                    .search(&text, talk.as_ref(), HITS_MAX)?;
                self.mouth.say(News::Found { ticket, hits });
            }
            Ask::Pins { talk } => {
                let pinned = self.session()?.engine().pinned(&talk, PINS_MAX)?;
                self.mouth.say(News::Pins(pinned));
            }
            Ask::Set { name, value } => self.set(name, value)?,
            Ask::Paths(wish) => {
                let home = std::env::home_dir();
                let found = paths::paths(&wish, home.as_deref());
                self.mouth.say(News::Paths { wish, found });
            }
            Ask::Safety { name } => self.safety(name)?,
            Ask::Verify { name, digits } => self.verify(&name, &digits)?,
            other => self.command(other)?,
        }
        self.tell_identities()?;
        Ok(Going::On)
    }

    /// Shows the words of a new recovery key; nothing is kept under it yet.
    fn make_recovery(&mut self) -> Result<(), Failure> {
        let key = RecoveryKey::generate()?;
        let words = Zeroizing::new(key.to_words().to_string());
        self.key = Some(key);
        self.mouth.say(News::Enrol(Stage::Words(words)));
        Ok(())
    }

    /// The words are written down: the backup is kept under them.
    fn keep_recovery(&mut self) -> Result<(), Failure> {
        let Some(key) = self.key.take() else {
            return Ok(());
        };
        let key = key.backup_key();
        let command = Command::Device(DeviceCommand::KeepBackup { key });
        let id = self.session()?.command(command)?;
        let words = "the account is backed up under these words";
        self.ears
            .await_answer(id, Awaited::Sentence(words.to_owned()));
        Ok(())
    }

    /// Gives the engine a command.
    fn command(&mut self, ask: Ask) -> Result<(), Failure> {
        let Some((command, awaited)) = command_for(ask) else {
            return Ok(());
        };
        let session = self.session()?;
        let id = session.command(command)?;
        self.ears.await_answer(id, awaited);
        Ok(())
    }

    fn chats(&mut self) -> Result<(), Failure> {
        let engine = self.session()?.engine();
        let chats = Chats {
            chats: engine.chats()?,
            requests: engine.requests()?,
            invitations: engine.invitations()?,
            queued: engine.queued()?,
        };
        self.mouth.say(News::Chats(Box::new(chats)));
        Ok(())
    }

    fn page(&mut self, talk: Talk, place: Place) -> Result<(), Failure> {
        let engine = self.session()?.engine();
        let overview = engine.overview(&talk)?;
        let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let full = |count: usize| if count >= page { More::Yes } else { More::No };
        let around = match place {
            Place::Unseen => overview.first_unseen,
            Place::Around(seq) => Some(seq),
            _ => None,
        };
        let (messages, before, after) = match (place, around) {
            (Place::Unseen | Place::Around(_), Some(seq)) => {
                let mut messages = engine.messages_before(&talk, seq, PAGE)?;
                let before = full(messages.len());
                let later = engine.messages_after(&talk, seq.saturating_sub(1), PAGE)?;
                let after = full(later.len());
                messages.extend(later);
                (messages, before, after)
            }
            (Place::Before(seq), _) => {
                let messages = engine.messages_before(&talk, seq, PAGE)?;
                let before = full(messages.len());
                (messages, before, More::Yes)
            }
            (Place::After(seq), _) => {
                let messages = engine.messages_after(&talk, seq, PAGE)?;
                let after = full(messages.len());
                (messages, More::Yes, after)
            }
            (Place::Again(from, to), _) => {
                let most = u32::try_from(WINDOW_MAX).unwrap_or(u32::MAX) + PAGE;
                let mut messages = engine.messages_after(&talk, from.saturating_sub(1), most)?;
                messages.retain(|message| message.seq <= to);
                (messages, More::Yes, More::Yes)
            }
            (Place::End | Place::Unseen | Place::Around(_), _) => {
                let messages = engine.messages_before(&talk, u64::MAX, PAGE)?;
                let before = full(messages.len());
                (messages, before, More::No)
            }
        };
        let waiting = engine.waiting(&talk)?;
        self.mouth.say(News::Page(Box::new(Page {
            talk,
            place,
            messages,
            before,
            after,
            waiting,
            overview,
        })));
        Ok(())
    }

    /// The number with somebody: asked of the server where nobody met yet.
    fn safety(&mut self, name: Username) -> Result<(), Failure> {
        let number = self.session()?.engine().safety_number(&name)?;
        let known = number.is_some();
        self.mouth.say(News::Safety {
            name: name.clone(),
            number,
        });
        if !known {
            let command = Command::LookUp { name: name.clone() };
            let id = self.session()?.command(command)?;
            self.ears.await_answer(id, Awaited::Identity(name));
        }
        Ok(())
    }

    /// Numbers with people whose identity came meanwhile.
    pub(super) fn tell_identities(&mut self) -> Result<(), Failure> {
        for name in self.ears.identities() {
            let number = self.session()?.engine().safety_number(&name)?;
            self.mouth.say(News::Safety { name, number });
        }
        Ok(())
    }

    fn verify(&mut self, name: &Username, digits: &str) -> Result<(), Failure> {
        let now = self.app.clock.now();
        let outcome = self.session()?.engine().verify(name, digits, now)?;
        self.mouth.say(News::Verified {
            name: name.clone(),
            outcome,
        });
        self.safety(name.clone())
    }
}

/// The engine's command for an ask, and what its answer is for.
fn command_for(ask: Ask) -> Option<(Command, Awaited)> {
    let sentence = |words: String| Awaited::Sentence(words);
    Some(match ask {
        Ask::Accept { name, keep } => {
            let awaited = Awaited::Accepted(name.clone());
            (Command::Accept { name, keep }, awaited)
        }
        Ask::Decline { name } => {
            let words = format!("declined {name}");
            (Command::Decline { name }, sentence(words))
        }
        Ask::Block { name } => {
            let words = format!("blocked {name}");
            (Command::Block { name }, sentence(words))
        }
        Ask::Join { group } => (
            Command::Group(GroupCommand::Join { group }),
            Awaited::Entry(group, "you are in".to_owned()),
        ),
        Ask::DeclineInvitation { group } => (
            Command::Group(GroupCommand::Decline { group }),
            sentence("turned down".to_owned()),
        ),
        Ask::Enter { room, title } => {
            let words = format!("you are in #{title}");
            let command = GroupCommand::Enter { group: room, title };
            (Command::Group(command), Awaited::Entry(room, words))
        }
        Ask::People { prefix, filter } => (Command::ListUsers { prefix, filter }, Awaited::List),
        Ask::Rooms => (Command::Group(GroupCommand::Rooms), Awaited::List),
        Ask::Devices => (Command::ListDevices, Awaited::List),
        other => {
            let (command, awaited) = message_command_for(other)?;
            (Command::Message(command), awaited)
        }
    })
}

/// The command about messages for an ask.
fn message_command_for(ask: Ask) -> Option<(MessageCommand, Awaited)> {
    let client_id = ClientMessageId::from_bytes(rand::random());
    Some(match ask {
        Ask::Write {
            to,
            text,
            options,
            client_id,
        } => (
            MessageCommand::Write {
                to,
                text,
                options,
                client_id,
            },
            Awaited::Text(client_id),
        ),
        Ask::Edit {
            target,
            text,
            mentions,
        } => (
            MessageCommand::Edit {
                target,
                text,
                mentions,
                client_id,
            },
            Awaited::Nothing,
        ),
        Ask::Delete { target } => (
            MessageCommand::Delete { target, client_id },
            Awaited::Sentence("taken back".to_owned()),
        ),
        Ask::React { target, emoji, put } => (
            MessageCommand::React {
                target,
                emoji,
                put,
                client_id,
            },
            Awaited::Nothing,
        ),
        Ask::Pin { target, put } => (
            MessageCommand::Pin {
                target,
                put,
                client_id,
            },
            Awaited::Nothing,
        ),
        Ask::Forward { target, to } => (
            MessageCommand::Forward {
                target,
                to,
                client_id,
            },
            Awaited::Sentence("passed on".to_owned()),
        ),
        Ask::Draft { to, text } => (MessageCommand::Draft { to, text }, Awaited::Silence),
        Ask::Typing { to } => (MessageCommand::Typing { to }, Awaited::Silence),
        _ => return None,
    })
}

/// Whether an ask is worth that a command which waits is put off.
pub(super) fn hurries(ask: &Ask) -> bool {
    !matches!(
        ask,
        Ask::Chats
            | Ask::Overview { .. }
            | Ask::Seen { .. }
            | Ask::Draft { .. }
            | Ask::Typing { .. }
            | Ask::Run { .. }
            | Ask::Look(_)
            | Ask::Woke
            | Ask::Page {
                place: Place::Again(..),
                ..
            }
    )
}
