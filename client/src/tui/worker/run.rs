//! Commands of the command line, run with the lent engine while the screen goes on.
//!
//! What the person does meanwhile comes first: a transfer is paused for it and goes on where it
//! stood; any other command is not waited for any longer, and what it began goes on by itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sotto_protocol::Username;
use zeroize::Zeroizing;

use super::serve::hurries;
use super::{Going, Worker};
use crate::cli::inside::{self, App, Audience, Offered};
use crate::exit::{Exit, Failure};
use crate::tui::ask::{ASKS_MAX, Ask, News, Offer, Progress, SAID_LINES_MAX};

/// How long a command may keep the person waiting.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long letting a device in may.
const LINK_PATIENCE: Duration = Duration::from_secs(60);
/// How long a transfer may.
const TRANSFER_PATIENCE: Duration = Duration::from_millis(150);

/// What is run with the lent engine.
pub(super) enum Errand {
    /// A line of the command line.
    Words(Vec<String>),
    /// Looks who shows a code.
    Look(Zeroizing<String>),
    /// Makes who was looked at a device of this account.
    LetIn(Box<Offered>),
}

impl Errand {
    /// What the screen calls it.
    fn label(&self) -> String {
        match self {
            Self::Words(words) => label(words),
            Self::Look(_) | Self::LetIn(_) => "devices link".to_owned(),
        }
    }

    /// Whether it moves a file.
    fn moves(&self) -> bool {
        matches!(self, Self::Words(words) if is_transfer(words) == Transfer::Yes)
    }

    /// How long the person waits for it at most who wants something else.
    fn patience(&self) -> Duration {
        match self {
            Self::Words(_) if self.moves() => TRANSFER_PATIENCE,
            // Half a device is worse than a short wait.
            Self::LetIn(_) => LINK_PATIENCE,
            Self::Words(_) | Self::Look(_) => PATIENCE,
        }
    }
}

/// How a run ended.
pub(super) enum End {
    /// It is done, or it failed and said so; with whom it found.
    Done(Exit, Option<Box<Offered>>),
    /// It failed and did not say so.
    Failed(Failure),
    /// The person wants something else first.
    PutOff,
    /// The person ended it.
    Stopped,
    /// The program ends.
    Over,
}

impl Worker {
    /// Runs an errand; its words go to the screen.
    pub(super) async fn run_errand(&mut self, errand: Errand) -> Result<Going, Failure> {
        let label = errand.label();
        let (mut again, mut answered) = (None, None);
        if let Errand::Words(words) = &errand {
            answered = whose_identity(words);
            if needs_the_profile(words) {
                let sentence = format!(
                    "/{label} needs the profile for itself: leave Sotto and type sotto {label} in the shell"
                );
                self.mouth.say(News::Ran {
                    label,
                    said: vec![sentence],
                    exit: Exit::Usage,
                });
                return Ok(Going::On);
            }
            again = (is_transfer(words) == Transfer::Yes).then(|| words.clone());
        }
        self.mouth.say(News::Runs {
            label: label.clone(),
        });
        let (end, mut said) = self.run_saying(errand).await?;
        let mut exit = Exit::Done;
        match (end, again) {
            (End::Over, _) => return Ok(Going::Over),
            (End::Done(how, None), _) => exit = how,
            (End::Done(_, Some(offered)), _) => {
                self.offer(offered);
                return Ok(Going::On);
            }
            (End::Failed(failure), _) => {
                self.mouth.say(News::Failed(failure));
                self.mouth.say(News::Stopped);
                return Ok(Going::On);
            }
            (End::PutOff, Some(words)) => {
                // After what the person wants now, where it stood.
                self.later.push_back(Ask::Run { words });
                return Ok(Going::On);
            }
            (End::PutOff, None) => said.push(format!(
                "/{label}: no answer yet; what it began goes on by itself"
            )),
            (End::Stopped, Some(words)) => {
                self.mouth.say(News::Paused { words });
                return Ok(Going::On);
            }
            (End::Stopped, None) => said.push(format!("/{label}: stopped")),
        }
        if let Some(name) = answered.filter(|_| exit == Exit::Done) {
            self.mouth.say(News::Answered(name));
        }
        self.mouth.say(News::Ran { label, said, exit });
        Ok(Going::On)
    }

    /// Runs an errand; how it ended, and its words.
    pub(super) async fn run_saying(
        &mut self,
        errand: Errand,
    ) -> Result<(End, Vec<String>), Failure> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let end = self.run_once(errand, &said).await?;
        let said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((end, said))
    }

    /// Tells who shows the code, and remembers them until the person agrees.
    fn offer(&mut self, offered: Box<Offered>) {
        let offer = offered.offer();
        self.mouth.say(News::Stopped);
        self.mouth.say(News::Offered(Box::new(Offer {
            account: offer.username.clone(),
            name: offer.name.clone(),
            fingerprint: offer.fingerprint(),
        })));
        self.offered = Some(offered);
    }

    async fn run_once(
        &mut self,
        errand: Errand,
        said: &Arc<Mutex<Vec<String>>>,
    ) -> Result<End, Failure> {
        self.session()?.tell_all()?;
        // Dropped, it hands engine and connection to the lender.
        self.session = None;
        let mut inner = self.within(said);
        let patience = errand.patience();
        let moves = errand.moves();
        let work = async {
            let outcome = match errand {
                Errand::Words(words) => {
                    let exit = inside::run_within(&mut inner, words, None).await;
                    Ok((exit, None))
                }
                Errand::Look(code) => {
                    let found = inside::look(&mut inner, &code).await;
                    found.map(|found| (Exit::Done, Some(found)))
                }
                Errand::LetIn(offered) => {
                    let done = inside::let_in(&mut inner, *offered).await;
                    done.map(|()| (Exit::Done, None))
                }
            };
            match outcome {
                Ok((exit, found)) => End::Done(exit, found.map(Box::new)),
                Err(failure) => End::Failed(failure),
            }
        };
        // Paths are those of the folder in which Sotto was started, also after a command.
        let _folder = Folder(std::env::current_dir().ok());
        tokio::pin!(work);
        let put_off = tokio::time::sleep(Duration::MAX);
        tokio::pin!(put_off);
        let mut hurried = false;
        loop {
            tokio::select! {
                end = &mut work => return Ok(end),
                () = &mut put_off, if hurried => return Ok(End::PutOff),
                ask = self.asks.recv(), if self.later.len() < ASKS_MAX => match ask {
                    None | Some(Ask::Quit) => return Ok(End::Over),
                    Some(Ask::StopRun) => return Ok(End::Stopped),
                    Some(ask) => {
                        // A file waits for a picture that is to be seen now.
                        let looks = moves && matches!(ask, Ask::Look(_));
                        if (looks || hurries(&ask)) && !hurried {
                            hurried = true;
                            put_off.as_mut().reset(tokio::time::Instant::now() + patience);
                        }
                        self.later.push_back(ask);
                    }
                }
            }
        }
    }

    /// What commands share, with the lent engine and with words that are collected.
    fn within(&self, said: &Arc<Mutex<Vec<String>>>) -> App {
        let hearing = Arc::clone(said);
        let sink = Box::new(move |_, text: String| {
            let mut said = hearing.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() < SAID_LINES_MAX {
                said.extend(text.lines().map(str::to_owned));
            }
            Ok(())
        });
        let mut inner = self.app.within(Audience::People, None, sink);
        let mouth = self.mouth.clone();
        inner
            .printer
            .hear_progress(Box::new(move |name, done, total| {
                mouth.say(News::Progress(Progress {
                    name: name.to_owned(),
                    done,
                    total,
                }));
            }));
        inner.lender = Some(self.lender.clone());
        inner
    }
}

/// The present folder, which comes back when this goes.
struct Folder(Option<std::path::PathBuf>);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            // A folder that is gone is nobody's present one.
            let _ = std::env::set_current_dir(folder);
        }
    }
}

/// Whether a command moves a file, and so can go on where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Yes,
    No,
}

fn is_transfer(words: &[String]) -> Transfer {
    let saves = words.first().is_some_and(|word| word == "save");
    match saves || words.iter().any(|word| word == "--file") {
        true => Transfer::Yes,
        false => Transfer::No,
    }
}

/// Commands that begin or end a profile, or have it for themselves. Those that only ask a person
/// something have forms on the screen.
fn needs_the_profile(words: &[String]) -> bool {
    let first = words.first().map(String::as_str);
    matches!(
        first,
        Some("register" | "login" | "logout" | "link" | "recover" | "daemon" | "tui")
    )
}

/// Whose identity a command takes for theirs.
fn whose_identity(words: &[String]) -> Option<Username> {
    match words {
        [word, name] if word == "accept" => Username::parse(name).ok(),
        [word, name, _, ..] if word == "verify" => Username::parse(name).ok(),
        _ => None,
    }
}

/// A command's name, without what it is about.
fn label(words: &[String]) -> String {
    words.first().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_commands() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(is_transfer(&words("save 3fa9c2")), Transfer::Yes);
        assert_eq!(is_transfer(&words("send bob x --file y")), Transfer::Yes);
        assert_eq!(is_transfer(&words("users")), Transfer::No);
        assert_eq!(label(&words("group new team")), "group");
        assert!(needs_the_profile(&words("link alice")));
        assert!(needs_the_profile(&words("logout --wipe")));
        assert!(!needs_the_profile(&words("devices link")));
        assert!(!needs_the_profile(&words("devices revoke 0123")));
    }
}
