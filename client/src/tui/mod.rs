//! The full-screen client: `sotto` alone opens it.
//!
//! ```text
//!  keyboard thread ─┐
//!                   ├─► [inputs] ─► drawing thread: Model ─► view ─► terminal
//!  worker thread ───┘                  └─► [asks] ─► worker: Session, store, network
//! ```
//!
//! The drawing thread owns the terminal and the model, and never waits for the disk or the
//! network: a key is answered with the next frame whatever they do. Every queue is bounded. All
//! foreign text is drawn as [`SafeText`](crate::safe_text::SafeText).

mod ask;
pub(crate) mod change;
pub(crate) mod clipboard;
pub(crate) mod complete;
#[cfg(test)]
pub(crate) mod corpus;
mod demo;
mod easel;
pub(crate) mod editor;
pub(crate) mod emoji;
pub(crate) mod fuzzy;
pub(crate) mod keys;
pub(crate) mod model;
pub(crate) mod picture;
pub(crate) mod plain;
pub(crate) mod qr;
pub mod rehearsal;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod sim;
mod tell;
mod terminal;
pub(crate) mod text;
pub(crate) mod theme;
mod unsure;
pub(crate) mod view;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};
use tokio::sync::mpsc;

use crate::attachment::picture::Images;
use crate::cli::inside::{self, Audience, Global, Zone};
use crate::engine::api::Event as Happened;
use crate::exit::{Failure, cause};
use crate::notice;
use crate::runtime::Clock;
use crate::safe_text::SafeText;
use ask::{ASKS_MAX, Ask, NEWS_MAX, News};
use easel::{Clear, Easel};
use keys::Preset;
use model::mouse::Touch;
use model::{Effect, Focus, Model, Wishes};
use picture::Pictures;
use settings::Settings;
use tell::Teller;
use terminal::{Keyboard, Screen};
use theme::{Colours, Theme};
use worker::Input;

/// Inputs that are taken in before a frame is drawn.
const BUDGET: usize = 128;
/// The shortest time between two frames that no key asked for, in milliseconds.
const FRAME_MS: u64 = 16;
/// The longest wait without a look at the clock, in milliseconds.
const LOOK_MS: u64 = 5_000;
/// By so much the clock on the wall runs ahead of the machine's own only when it slept, in
/// milliseconds.
const SLEPT_MS: u64 = 15_000;
/// How long the end may take.
const FAREWELL: Duration = Duration::from_secs(6);

/// Whether there is a deployment behind the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Play {
    /// The person's own.
    Real,
    /// None: conversations of the demonstration, in memory.
    Demo,
}

/// What keys do, by the names that the settings have for it.
pub(crate) fn key_names() -> String {
    keys::page()
}

/// Opens the full-screen client; returns when the person leaves.
///
/// # Errors
/// When the terminal does not obey, or the profile cannot be used.
pub(crate) fn open(global: Global, play: Play) -> Result<(), Failure> {
    let (sender, inputs) = sync_channel(NEWS_MAX);
    let (settings, file) = settings(&global)?;
    let mouse = settings.mouse;
    let keys = sender.clone();
    let take = move || Ok((Screen::take(mouse)?, Keyboard::start(keys)?));
    perform((global, play), (&settings, &file), (sender, inputs), take)
}

/// The screen from its beginning to its end, on whatever `take` gives to draw on.
fn perform(
    (global, play): (Global, Play),
    (settings, file): (&Settings, &Path),
    (sender, inputs): (SyncSender<Input>, Receiver<Input>),
    take: impl FnOnce() -> std::io::Result<(Screen, Keyboard)>,
) -> Result<(), Failure> {
    let clock = Clock::start();
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let worker = match play {
        Play::Real => worker::start(global, asked, sender),
        Play::Demo => demo::start(clock, asked, sender),
    };
    let worker = worker.map_err(|error| no(&error))?;
    let mut model = Model::new(wishes(settings), Zone::local(), clock.now());
    let file = file.display().to_string();
    model.wishes.settings.push(("file".to_owned(), file));
    model.folder = std::env::current_dir().unwrap_or_default();
    let terminal = notice::Terminal::of(|name| std::env::var(name).ok());
    let teller = Teller::new(settings.bell, settings.notifications, terminal);
    let (screen, keyboard) = take().map_err(|error| no(&error))?;
    let mut drawing = Drawing {
        model,
        screen,
        keyboard,
        clock,
        asks,
        inputs,
        teller,
        images: settings.images,
        easel: Easel::default(),
        area: Rect::ZERO,
        resized: Resized::No,
        ended: None,
    };
    let outcome = drawing.run();
    drawing.clear_easel();
    let Drawing {
        screen,
        asks,
        inputs,
        ended,
        ..
    } = drawing;
    // The terminal first: what is left is quick, and nobody has to watch it.
    drop(screen);
    drop(asks);
    let ended = ended.map_or_else(|| farewell(&inputs), Some);
    if ended.is_some() && worker.join().is_err() {
        return Err(Failure::named("internal", "the worker ended in a panic"));
    }
    outcome.and(ended.unwrap_or(Ok(())))
}

/// What the person set, and in which file.
fn settings(global: &Global) -> Result<(Settings, PathBuf), Failure> {
    let quiet = Box::new(|_, _| Ok(()));
    let home = inside::quiet(global.clone(), Audience::People, quiet)
        .location()?
        .home;
    let settings = Settings::load(&home);
    let settings = settings.map_err(|error| Failure::named("bad_settings", error.to_string()))?;
    Ok((settings, home.join(settings::FILE)))
}

fn wishes(settings: &Settings) -> Wishes {
    let idle = settings.idle_lock.map(|idle| idle.as_millis());
    let lines = settings.lines().into_iter();
    Wishes {
        keymap: settings.keymap.clone(),
        theme: Theme::named(settings.theme, Colours::of_environment()),
        pictures: Pictures::of_environment(settings.images),
        idle_lock_ms: idle.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        // Whoever opens a chat expects to write, unless letters are commands to them.
        begins: match settings.preset {
            Preset::Default | Preset::Emacs => Focus::Composer,
            Preset::Vim => Focus::Chats,
        },
        stranger: editor::stranger(|name| std::env::var(name).ok()),
        settings: lines
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

fn no(error: &std::io::Error) -> Failure {
    let words = format!(
        "the terminal does not obey: {}; try another, or the commands (sotto --help)",
        cause(error)
    );
    Failure::named("terminal", words)
}

/// Waits for the worker's last word.
fn farewell(inputs: &Receiver<Input>) -> Option<Result<(), Failure>> {
    loop {
        match inputs.recv_timeout(FAREWELL) {
            Ok(Input::News(News::Ended(outcome))) => return Some(outcome),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => return Some(Ok(())),
        }
    }
}

/// The drawing thread.
struct Drawing {
    model: Model,
    screen: Screen,
    keyboard: Keyboard,
    clock: Clock,
    asks: mpsc::Sender<Ask>,
    inputs: Receiver<Input>,
    teller: Teller,
    /// How the person wants pictures drawn.
    images: Images,
    easel: Easel,
    /// The screen as it was drawn last.
    area: Rect,
    /// The terminal has another size, or had one for a moment: what stood there may be gone.
    resized: Resized,
    /// How the worker ended.
    ended: Option<Result<(), Failure>>,
}

/// Whether everything is to be written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resized {
    No,
    Yes,
}

/// Whether the screen goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    Over,
}

/// Who asked for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Nobody,
    News,
    Person,
}

impl Drawing {
    fn run(&mut self) -> Result<(), Failure> {
        let mut wanted = Wanted::Person;
        let mut drawn_at_ms = 0;
        let mut last = self.clock.now();
        loop {
            let now = self.clock.now();
            let awake_ms = now.monotonic_ms - last.monotonic_ms;
            if now.unix_ms.saturating_sub(last.unix_ms) > awake_ms + SLEPT_MS {
                self.model.woke();
            }
            last = now;
            self.model.tick(now);
            if self.carry_out()? == Going::Over {
                return Ok(());
            }
            let due_ms = drawn_at_ms + FRAME_MS;
            let draw = match wanted {
                Wanted::Nobody => false,
                Wanted::News => now.monotonic_ms >= due_ms,
                Wanted::Person => true,
            };
            if draw {
                self.draw().map_err(|error| no(&error))?;
                drawn_at_ms = now.monotonic_ms;
                wanted = Wanted::Nobody;
            }
            self.give_asks();
            let until = match wanted {
                Wanted::Nobody => self.model.wakes_at(),
                _ => Some(due_ms),
            };
            let wait_ms = until.map_or(LOOK_MS, |at| at.saturating_sub(now.monotonic_ms));
            wanted = wanted.max(self.listen(Duration::from_millis(wait_ms.clamp(1, LOOK_MS))));
        }
    }

    fn draw(&mut self) -> std::io::Result<()> {
        let area = self.screen.area()?;
        self.area = area;
        view::prepare(&mut self.model, area);
        let (clear, sequences) = self.easel.prepare(&view::pictures(&self.model, area));
        let resized = std::mem::replace(&mut self.resized, Resized::No);
        if clear == Clear::Yes || resized == Resized::Yes {
            self.screen.redraw()?;
        }
        if !sequences.is_empty() {
            self.screen.write(&sequences)?;
        }
        let model = &self.model;
        self.screen.draw(|frame| view::draw(model, frame))
    }

    /// The terminal forgets all pictures: it gets those again that are drawn again.
    fn clear_easel(&mut self) {
        let sequences = self.easel.forget_all(self.model.wishes.pictures);
        // A terminal that is gone forgot them.
        let _ = self.screen.write(&sequences);
    }

    /// Gives the worker what it has room for.
    fn give_asks(&mut self) {
        while let Some(ask) = self.model.poll_ask() {
            match self.asks.try_send(ask) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(ask)) => {
                    self.model.put_back(ask);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }

    /// Waits for an input, and takes in what there is.
    fn listen(&mut self, wait: Duration) -> Wanted {
        let mut wanted = match self.inputs.recv_timeout(wait) {
            Ok(input) => self.hear(input),
            // Time passed: a remark or a hint may be due.
            Err(RecvTimeoutError::Timeout) => return Wanted::News,
            Err(RecvTimeoutError::Disconnected) => {
                self.ended.get_or_insert(Ok(()));
                return Wanted::Person;
            }
        };
        for _ in 0..BUDGET {
            let Ok(input) = self.inputs.try_recv() else {
                break;
            };
            wanted = wanted.max(self.hear(input));
        }
        wanted
    }

    fn hear(&mut self, input: Input) -> Wanted {
        let now = self.clock.now();
        match input {
            Input::News(News::Ended(outcome)) => {
                self.ended = Some(outcome);
                Wanted::Person
            }
            Input::News(News::Set(settings)) => {
                self.adopt(&settings);
                Wanted::Person
            }
            Input::News(news) => {
                self.model.handle_news(news, now);
                Wanted::News
            }
            Input::Terminal(event) => {
                match event {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        self.model.handle_key(key, now);
                    }
                    Event::Paste(text) => self.model.handle_paste(&text, now),
                    Event::Mouse(mouse) => {
                        let Some(touch) = touch(&mouse) else {
                            return Wanted::Nobody;
                        };
                        let at = Position::new(mouse.column, mouse.row);
                        let spot = view::spot(&self.model, self.area, at);
                        self.model.handle_mouse(touch, spot, now);
                    }
                    // Its letters may have another size now, too.
                    Event::Resize(..) => {
                        self.resized = Resized::Yes;
                        let pictures = Pictures::of_environment(self.images);
                        self.model.set_pictures(pictures);
                    }
                    _ => {}
                }
                Wanted::Person
            }
        }
    }

    /// Other settings count from now on.
    fn adopt(&mut self, settings: &Settings) {
        let terminal = notice::Terminal::of(|name| std::env::var(name).ok());
        self.teller = Teller::new(settings.bell, settings.notifications, terminal);
        self.images = settings.images;
        self.screen.set_mouse(settings.mouse);
        self.model.adopt(wishes(settings));
        self.resized = Resized::Yes;
    }

    /// Does what the model wants of the terminal.
    fn carry_out(&mut self) -> Result<Going, Failure> {
        if self.ended.is_some() {
            return Ok(Going::Over);
        }
        for effect in self.model.take_effects() {
            match effect {
                Effect::Quit => {
                    self.give_asks();
                    return Ok(Going::Over);
                }
                Effect::Redraw => {
                    self.clear_easel();
                    self.screen.redraw().map_err(|error| no(&error))?;
                }
                Effect::Suspend => {
                    self.clear_easel();
                    self.suspend().map_err(|error| no(&error))?;
                }
                Effect::Edit(text) => {
                    self.clear_easel();
                    self.edit(&text).map_err(|error| no(&error))?;
                }
                Effect::Forget(ids) => {
                    let sequences = self.easel.forget(&ids, self.model.wishes.pictures);
                    self.screen.write(&sequences).map_err(|error| no(&error))?;
                }
                Effect::Copy(text) => self.copy(&text),
                Effect::Tell(event) => self.tell(&event),
            }
        }
        Ok(Going::On)
    }

    fn suspend(&mut self) -> std::io::Result<()> {
        let keyboard = self.keyboard.clone();
        let stopped = self.screen.leave(|| {
            keyboard.pause(|| {
                let own = rustix::process::getpid();
                // Comes back when the shell continues this process.
                rustix::process::kill_process(own, rustix::process::Signal::TSTP)
            })
        })?;
        stopped.map_err(std::io::Error::from)
    }

    /// Lets the text be written in another program.
    fn edit(&mut self, text: &str) -> std::io::Result<()> {
        let keyboard = self.keyboard.clone();
        let edited = self
            .screen
            .leave(|| keyboard.pause(|| editor::edit(text)))?;
        if let Ok(text) = edited {
            self.model.edited(&text);
        }
        Ok(())
    }

    fn copy(&mut self, text: &str) {
        let lines = SafeText::lines(text, usize::MAX);
        if let Ok(sequence) = clipboard::copy(&lines) {
            // A terminal that does not take it shows nothing.
            let _ = self.screen.write(&sequence);
        }
    }

    fn tell(&mut self, event: &Happened) {
        let screen = match self.model.locked {
            Some(_) => tell::Screen::Locked,
            None => tell::Screen::Open,
        };
        let now_ms = self.clock.now().monotonic_ms;
        if let Some(sequence) = self.teller.tell(event, screen, now_ms) {
            let _ = self.screen.write(&sequence);
        }
    }
}

/// What the mouse did, if it is anything here.
const fn touch(mouse: &MouseEvent) -> Option<Touch> {
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => Some(Touch::Click),
        MouseEventKind::ScrollUp => Some(Touch::Wheel(-1)),
        MouseEventKind::ScrollDown => Some(Touch::Wheel(1)),
        _ => None,
    }
}
