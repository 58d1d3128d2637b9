//! Looks at pictures for the drawing side: small ones out of sealed messages, and files that are
//! fetched for it and not kept.
//!
//! Nothing of somebody who is not known is decoded unless the person asked for it. What is
//! decoded is decoded by `preview`'s process, [`LOOKS_AT_ONCE`] at a time; the drawing side asks
//! for no more pictures than it keeps.

use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use sotto_crypto::content::MessageRef;
use tokio::sync::Semaphore;

use super::run::{End, Errand};
use super::{Going, Mouth, Worker};
use crate::attachment::preview;
use crate::engine::api::Direction;
use crate::exit::{Exit, Failure};
use crate::profile::private_runtime;
use crate::tui::ask::{Ask, Consent, Look, News, Seen};

/// Processes that decode at the same time.
const LOOKS_AT_ONCE: usize = 2;
/// What is read of a fetched file, in bytes: more than what is asked for.
const FETCHED_BYTES_MAX: u64 = 16 << 20;
/// How this kind of work is called.
const LABEL: &str = "picture";

/// Looks at pictures.
pub(super) struct Eyes {
    mouth: Mouth,
    permits: Arc<Semaphore>,
    /// Where fetched files lie until they were looked at; in memory where there is such a folder.
    folder: Option<PathBuf>,
}

impl Eyes {
    pub(super) fn new(mouth: Mouth) -> Self {
        Self {
            mouth,
            permits: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            folder: None,
        }
    }

    /// Begins to look; the answer comes by itself.
    fn look(&self, look: Look) {
        let (mouth, permits) = (self.mouth.clone(), Arc::clone(&self.permits));
        tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            let picture = look.pictures.draw(&look.image, look.room).await;
            let which = look.which;
            let seen = picture.map_or(Seen::Nothing, |it| Seen::Picture(Box::new(it)));
            mouth.say(News::Seen { which, seen });
        });
    }

    /// Makes a fetched file small.
    fn make_small(&self, which: MessageRef, file: Vec<u8>) {
        let (mouth, permits) = (self.mouth.clone(), Arc::clone(&self.permits));
        tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            mouth.say(match preview::thumbnail(&file).await {
                Some(small) => News::Fetched {
                    which,
                    image: small.jpeg,
                },
                None => {
                    let words = "no picture can be made of this file; save it instead";
                    News::Failed(Failure::named("not_found", words))
                }
            });
        });
    }

    /// The folder for files that are fetched, for this user alone.
    fn folder(&mut self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let number: u64 = rand::random();
        let folder = private_runtime()?.join(format!("pictures-{number:016x}"));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| {
            let words = format!("no place for the file ({error}); save it instead");
            Failure::named("store_failed", words)
        })?;
        Ok(self.folder.insert(folder).clone())
    }

    /// The finished file in the folder, which is left empty but for what is not finished.
    fn take_file(&self) -> Option<Vec<u8>> {
        let entries = std::fs::read_dir(self.folder.as_ref()?).ok()?;
        let mut found = None;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            // Unfinished files have hidden names, and go on.
            let name = path.file_name()?.as_encoded_bytes();
            if name.starts_with(b".") {
                continue;
            }
            let mut bytes = Vec::new();
            let file = std::fs::File::open(&path).ok()?;
            let read = file.take(FETCHED_BYTES_MAX).read_to_end(&mut bytes);
            let _ = std::fs::remove_file(&path);
            found = read.ok().map(|_| bytes);
        }
        found
    }
}

impl Drop for Eyes {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // What cannot be removed goes with the folder of the login.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Worker {
    /// Looks at a picture, where that is allowed.
    pub(super) fn look(&mut self, look: Look) -> Result<(), Failure> {
        let known = look.consent == Consent::Given
            || look.direction == Direction::Outgoing
            || self.session()?.engine().may_show_pictures(&look.sender)?;
        if known {
            self.eyes.look(look);
        } else {
            let (which, seen) = (look.which, Seen::Withheld);
            self.mouth.say(News::Seen { which, seen });
        }
        Ok(())
    }

    /// Gets a file as `save` does, with its progress and its checks, and makes it small.
    pub(super) async fn fetch(&mut self, which: MessageRef) -> Result<Going, Failure> {
        let folder = match self.eyes.folder() {
            Ok(folder) => folder.display().to_string(),
            Err(failure) => {
                self.mouth.say(News::Failed(failure));
                return Ok(Going::On);
            }
        };
        let label = LABEL.to_owned();
        self.mouth.say(News::Runs {
            label: label.clone(),
        });
        let words = [
            "save".to_owned(),
            which.id.to_string(),
            "--to".to_owned(),
            folder,
        ];
        let (end, mut said) = self.run_saying(Errand::Words(words.to_vec())).await?;
        match end {
            End::Over => return Ok(Going::Over),
            End::PutOff => {
                self.later.push_back(Ask::Fetch { which });
                return Ok(Going::On);
            }
            End::Stopped => said = vec!["the picture was not fetched".to_owned()],
            End::Failed(failure) => said = vec![failure.message],
            End::Done(..) => {
                if let Some(file) = self.eyes.take_file() {
                    self.eyes.make_small(which, file);
                    said.clear();
                }
            }
        }
        let exit = Exit::Done;
        self.mouth.say(News::Ran { label, said, exit });
        Ok(Going::On)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetched_file_is_taken_once_and_nothing_stays() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("pictures");
        std::fs::create_dir(&folder).unwrap();
        let (news, _inputs) = std::sync::mpsc::sync_channel(1);
        let mut eyes = Eyes::new(Mouth(news));
        assert_eq!(eyes.take_file(), None, "no folder, no file");
        eyes.folder = Some(folder.clone());
        assert_eq!(eyes.take_file(), None);
        std::fs::write(folder.join(".sotto-0.part"), "half").unwrap();
        assert_eq!(eyes.take_file(), None, "it goes on where it stands");
        std::fs::write(folder.join("a.png"), "whole").unwrap();
        assert_eq!(eyes.take_file().unwrap(), b"whole");
        assert!(folder.join(".sotto-0.part").exists());
        assert!(!folder.join("a.png").exists());
        drop(eyes);
        assert!(!folder.exists());
    }
}
