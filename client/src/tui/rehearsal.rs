//! The screen without a terminal and without anybody at the keys: the real drawing thread, model,
//! queues, worker and store of a profile. Keys and arrivals come from the caller, and what would be
//! written to a terminal goes to the caller's writer, which is flushed after each frame.
//!
//! It is there for measuring (`sotto-bench screen`). It takes no terminal, reads no keyboard, and
//! adds nothing that the screen of a person does not do.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use ratatui::crossterm::event::{Event as Pressed, KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;

use super::ask::{NEWS_MAX, News};
use super::settings::Settings;
use super::terminal::{Keyboard, Screen};
use super::worker::Input;
use super::{Play, no, perform};
use crate::cli::inside::Global;
use crate::engine::api::{Event, Message};
use crate::exit::Failure;

/// A key, as far as a rehearsal presses any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Types this character.
    Typed(char),
    /// Enter.
    Enter,
    /// One page up.
    PageUp,
    /// To the newest message.
    Newest,
    /// Empties what is written.
    Clear,
    /// Leaves.
    Quit,
}

impl Key {
    const fn event(self) -> KeyEvent {
        let (code, modifiers) = match self {
            Self::Typed(character) => (KeyCode::Char(character), KeyModifiers::NONE),
            Self::Enter => (KeyCode::Enter, KeyModifiers::NONE),
            Self::PageUp => (KeyCode::PageUp, KeyModifiers::NONE),
            Self::Newest => (KeyCode::End, KeyModifiers::CONTROL),
            Self::Clear => (KeyCode::Char('u'), KeyModifiers::CONTROL),
            Self::Quit => (KeyCode::Char('q'), KeyModifiers::CONTROL),
        };
        KeyEvent::new(code, modifiers)
    }
}

/// Whose screen it is, and how it opens.
#[derive(Debug, Clone)]
pub struct Profile<'a> {
    /// The folder of profiles; the one that is called `default` is opened.
    pub home: &'a Path,
    /// The file whose first line is its password.
    pub password_file: PathBuf,
    /// Where a deployment would be; it may be nowhere.
    pub server: String,
    /// Whose certificate it would have.
    pub ca: PathBuf,
}

/// A screen that runs.
pub struct Rehearsal {
    inputs: SyncSender<Input>,
    screen: JoinHandle<Result<(), Failure>>,
}

impl Rehearsal {
    /// Opens the screen of a profile, so many columns wide and rows high.
    ///
    /// # Errors
    /// When there is no thread for it. What else goes wrong is told by [`Self::close`].
    pub fn open(
        profile: &Profile<'_>,
        (columns, rows): (u16, u16),
        out: Box<dyn Write + Send>,
    ) -> Result<Self, Failure> {
        let global = Global {
            home: Some(profile.home.to_owned()),
            profile: "default".to_owned(),
            server: Some(profile.server.clone()),
            ca: Some(profile.ca.clone()),
            password_file: Some(profile.password_file.clone()),
            json: false,
        };
        let (inputs, heard) = sync_channel(NEWS_MAX);
        let told = inputs.clone();
        let area = Rect::new(0, 0, columns, rows);
        let screen = std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || {
                let take = || Ok((Screen::on_stage(out, area)?, Keyboard::of_nobody()));
                let play = (global, Play::Real);
                perform(
                    play,
                    (&Settings::default(), Path::new("")),
                    (told, heard),
                    take,
                )
            })
            .map_err(|error| no(&error))?;
        Ok(Self { inputs, screen })
    }

    /// Somebody presses a key. Waits where the screen has as much to do as it may have before it;
    /// a screen that is gone takes nothing.
    pub fn press(&self, key: Key) {
        self.give(Input::Terminal(Pressed::Key(key.event())));
    }

    /// A message arrives, as the worker says it; waits like [`Self::press`].
    pub fn arrives(&self, message: Message) {
        let event = Box::new(Event::Message(message));
        self.give(Input::News(News::Event(event)));
    }

    fn give(&self, input: Input) {
        // The end is told by `close`.
        let _ = self.inputs.send(input);
    }

    /// Leaves, and waits until everything is kept.
    ///
    /// # Errors
    /// Why the screen ended before, or in another way than by leaving it.
    pub fn close(self) -> Result<(), Failure> {
        self.press(Key::Quit);
        let panicked = || Failure::named("internal", "the screen ended in a panic");
        self.screen.join().map_err(|_| panicked())?
    }
}
