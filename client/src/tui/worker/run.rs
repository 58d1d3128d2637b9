//! Commands of the command line, run with the lent engine while the screen goes on.
//!
//! What the person does meanwhile comes first: a transfer is paused for it and goes on where it
//! stood; any other command is not waited for any longer, and what it began goes on by itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::serve::hurries;
use super::{Going, Worker};
use crate::cli::inside::{self, Audience};
use crate::exit::Failure;
use crate::tui::ask::{ASKS_MAX, Ask, News, Progress, SAID_LINES_MAX};

/// How long a command may keep the person waiting.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long a transfer may.
const TRANSFER_PATIENCE: Duration = Duration::from_millis(150);

/// How a command's run ended.
pub(super) enum End {
    /// It is done, or it failed and said so.
    Done,
    /// The person wants something else first.
    PutOff,
    /// The person ended it.
    Stopped,
    /// The program ends.
    Over,
}

impl Worker {
    /// Runs a command; its words go to the screen.
    pub(super) async fn run_command(&mut self, words: Vec<String>) -> Result<Going, Failure> {
        let label = label(&words);
        if asks_at_the_terminal(&words) {
            let said = vec![format!(
                "/{label} asks at the terminal itself: leave Sotto for it, and type it in the shell"
            )];
            self.mouth.say(News::Ran { label, said });
            return Ok(Going::On);
        }
        let transfer = is_transfer(&words);
        self.mouth.say(News::Runs {
            label: label.clone(),
        });
        let (end, mut said) = self.run_saying(words.clone(), transfer).await?;
        match end {
            End::Over => return Ok(Going::Over),
            End::Done => {}
            End::PutOff if transfer == Transfer::Yes => {
                // After what the person wants now, where it stood.
                self.later.push_back(Ask::Run { words });
                return Ok(Going::On);
            }
            End::PutOff => said.push(format!(
                "/{label}: no answer yet; what it began goes on by itself"
            )),
            End::Stopped if transfer == Transfer::Yes => {
                self.mouth.say(News::Paused { words });
                return Ok(Going::On);
            }
            End::Stopped => said.push(format!("/{label}: stopped")),
        }
        self.mouth.say(News::Ran { label, said });
        Ok(Going::On)
    }

    /// Runs a command; how it ended, and its words.
    pub(super) async fn run_saying(
        &mut self,
        words: Vec<String>,
        transfer: Transfer,
    ) -> Result<(End, Vec<String>), Failure> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let end = self.run_once(words, transfer, &said).await?;
        let said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((end, said))
    }

    async fn run_once(
        &mut self,
        words: Vec<String>,
        transfer: Transfer,
        said: &Arc<Mutex<Vec<String>>>,
    ) -> Result<End, Failure> {
        self.session()?.tell_all()?;
        // Dropped, it hands engine and connection to the lender.
        self.session = None;
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
        let work = inside::run_within(&mut inner, words, None);
        // Paths are those of the folder in which Sotto was started, also after a command.
        let _folder = Folder(std::env::current_dir().ok());
        tokio::pin!(work);
        let patience = match transfer {
            Transfer::Yes => TRANSFER_PATIENCE,
            Transfer::No => PATIENCE,
        };
        let put_off = tokio::time::sleep(Duration::MAX);
        tokio::pin!(put_off);
        let mut hurried = false;
        loop {
            tokio::select! {
                _ = &mut work => return Ok(End::Done),
                () = &mut put_off, if hurried => return Ok(End::PutOff),
                ask = self.asks.recv(), if self.later.len() < ASKS_MAX => match ask {
                    None | Some(Ask::Quit) => return Ok(End::Over),
                    Some(Ask::StopRun) => return Ok(End::Stopped),
                    Some(ask) => {
                        // A file waits for a picture that is to be seen now.
                        let looks = transfer == Transfer::Yes && matches!(ask, Ask::Look(_));
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

/// Commands that read what a person types by themselves; here the screen has the keys.
fn asks_at_the_terminal(words: &[String]) -> bool {
    let mut words = words.iter().map(String::as_str);
    let (first, second) = (words.next(), words.next());
    let file = words.any(|word| word.starts_with("--recovery-key-file"));
    match (first, second) {
        (Some("devices"), Some("link")) | (Some("link" | "recover"), _) => true,
        (Some("recovery"), Some("new")) => !file,
        _ => false,
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
        assert!(asks_at_the_terminal(&words("devices link")));
        assert!(asks_at_the_terminal(&words("recovery new")));
        assert!(!asks_at_the_terminal(&words(
            "recovery new --recovery-key-file x"
        )));
        assert!(!asks_at_the_terminal(&words("devices revoke 0123")));
    }
}
