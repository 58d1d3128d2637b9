//! The screen without a terminal, for tests: the real model and view, driven by keys and a clock
//! of the test's own, over the demonstration's conversations.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Position, Rect};

use super::ask::{Ask, News};
use super::demo::Demo;
use super::keys::{Keymap, Preset};
use super::model::mouse::Touch;
use super::model::{Focus, Model, Wishes};
use super::picture::Pictures;
use super::theme::{Colours, Theme, ThemeName};
use super::view;
use crate::attachment::picture::Images;
use crate::cli::inside::Zone;
use crate::engine::api::Now;

/// 2026-11-20 12:34:56 UTC.
pub(crate) const NOON_MS: u64 = 1_795_178_096_000;

/// How pictures are drawn where all colours are there.
pub(crate) fn pictures(images: Images) -> Pictures {
    let colours = |name: &str| (name == "COLORTERM").then(|| "truecolor".to_owned());
    Pictures::new(images, colours, None)
}

/// A screen of some size.
pub(crate) struct Sim {
    pub(crate) model: Model,
    pub(crate) demo: Demo,
    pub(crate) now: Now,
    /// What the model asked for so far.
    pub(crate) asked: Vec<&'static str>,
    size: (u16, u16),
}

impl Sim {
    /// A screen that nobody told anything yet.
    pub(crate) fn blank(size: (u16, u16)) -> Self {
        let now = Now {
            unix_ms: NOON_MS,
            monotonic_ms: 1_000,
        };
        let wishes = Wishes {
            keymap: Keymap::preset(Preset::Default),
            theme: Theme::named(ThemeName::Dark, Colours::Shown),
            pictures: pictures(Images::Off),
            idle_lock_ms: None,
            begins: Focus::Composer,
            stranger: None,
            settings: vec![("theme".to_owned(), "dark".to_owned())],
        };
        Self {
            model: Model::new(wishes, Zone::default(), now),
            demo: Demo::new(NOON_MS),
            now,
            asked: Vec::new(),
            size,
        }
    }

    /// A screen with the demonstration on it.
    pub(crate) fn new(size: (u16, u16)) -> Self {
        let mut sim = Self::blank(size);
        for news in Demo::hello() {
            sim.hear(news);
        }
        sim.settle();
        sim
    }

    /// The worker says something.
    pub(crate) fn hear(&mut self, news: News) {
        self.model.handle_news(news, self.now);
        self.settle();
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.unix_ms += ms;
        self.settle();
    }

    /// Answers asks until none is left.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            self.model.tick(self.now);
            let area = Rect::new(0, 0, self.size.0, self.size.1);
            view::prepare(&mut self.model, area);
            let Some(ask) = self.model.poll_ask() else {
                return;
            };
            self.asked.push(kind(&ask));
            for news in self.demo.answer(ask, self.now.unix_ms) {
                self.model.handle_news(news, self.now);
            }
        }
        panic!("the screen never comes to rest");
    }

    /// A key, such as `a`, `enter`, `ctrl-k`.
    pub(crate) fn press(&mut self, key: &str) {
        let (key, modifiers) = match key.split_once('-') {
            Some(("ctrl", key)) => (key, KeyModifiers::CONTROL),
            Some(("alt", key)) => (key, KeyModifiers::ALT),
            _ => (key, KeyModifiers::NONE),
        };
        let code = match key {
            "enter" => KeyCode::Enter,
            "esc" => KeyCode::Esc,
            "tab" => KeyCode::Tab,
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "backspace" => KeyCode::Backspace,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            "space" => KeyCode::Char(' '),
            "page-up" => KeyCode::PageUp,
            "page-down" => KeyCode::PageDown,
            other if other.len() > 1 && other.starts_with('f') => {
                KeyCode::F(other[1..].parse().unwrap())
            }
            other => KeyCode::Char(other.chars().next().unwrap()),
        };
        self.model
            .handle_key(KeyEvent::new(code, modifiers), self.now);
        self.settle();
    }

    /// Types words, key by key.
    pub(crate) fn types(&mut self, text: &str) {
        for character in text.chars() {
            let key = KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE);
            self.model.handle_key(key, self.now);
        }
        self.settle();
    }

    /// The mouse does something at a cell.
    pub(crate) fn touch(&mut self, touch: Touch, (column, row): (u16, u16)) {
        let area = Rect::new(0, 0, self.size.0, self.size.1);
        let spot = view::spot(&self.model, area, Position::new(column, row));
        self.model.handle_mouse(touch, spot, self.now);
        self.settle();
    }

    /// The pictures that are on the screen.
    pub(crate) fn pictures(&mut self) -> Vec<view::Placed> {
        self.settle();
        view::pictures(&self.model, Rect::new(0, 0, self.size.0, self.size.1))
    }

    /// The terminal has another size.
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        self.settle();
    }

    /// The cells.
    pub(crate) fn draw(&mut self) -> Buffer {
        self.settle();
        let backend = TestBackend::new(self.size.0, self.size.1);
        let mut terminal = Terminal::new(backend).unwrap();
        let model = &self.model;
        terminal.draw(|frame| view::draw(model, frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// The words on the screen, row by row.
    pub(crate) fn rows(&mut self) -> Vec<String> {
        let buffer = self.draw();
        let width = usize::from(self.size.0);
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        cells.chunks(width.max(1)).map(|row| row.concat()).collect()
    }

    /// All words on the screen.
    pub(crate) fn words(&mut self) -> String {
        self.rows().join("\n")
    }
}

const fn kind(ask: &Ask) -> &'static str {
    match ask {
        Ask::Chats => "chats",
        Ask::Page { .. } => "page",
        Ask::Overview { .. } => "overview",
        Ask::Seen { .. } => "seen",
        Ask::Write { .. } => "write",
        Ask::Edit { .. } => "edit",
        Ask::Delete { .. } => "delete",
        Ask::React { .. } => "react",
        Ask::Draft { .. } => "draft",
        Ask::Run { .. } => "run",
        Ask::StopRun => "stop",
        Ask::Look(_) => "look",
        Ask::Fetch { .. } => "fetch",
        Ask::Accept { .. } => "accept",
        Ask::Search { .. } => "search",
        Ask::Typing { .. } => "typing",
        Ask::Enrol(_) => "enrol",
        Ask::Quit => "quit",
        _ => "other",
    }
}
