//! Files on their way: the key that pauses them and lets them go on.

use std::collections::VecDeque;

use super::Model;
use super::piece::Tone;
use crate::tui::ask::{Ask, Progress};
use crate::tui::keys::{Action, Mode};

/// Paused files that are remembered; a file that is not goes on when it is sent or saved again.
const PAUSED_MAX: usize = 16;

/// A file that the person paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paused {
    /// The command that goes on with it.
    words: Vec<String>,
    pub(crate) progress: Option<Progress>,
}

impl Paused {
    /// Whether this command goes on with it.
    pub(super) fn goes_on_with(&self, words: &[String]) -> bool {
        self.words == words
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        let named = self
            .progress
            .as_ref()
            .map(|progress| progress.name.as_str());
        named
            .or(self.words.first().map(String::as_str))
            .unwrap_or_default()
    }
}

impl Model {
    /// Pauses what is on its way; else lets go on what was paused: the selected message's file,
    /// or the last.
    pub(super) fn pause_or_go_on(&mut self) {
        if self.running.is_some() {
            return self.ask(Ask::StopRun);
        }
        let selected = self.pane.as_ref().and_then(|pane| pane.selected());
        let id = selected.map(|message| message.id.to_string());
        let about = |paused: &Paused| id.as_ref().is_some_and(|id| paused.words.contains(id));
        let place = self.paused.iter().position(about);
        let place = place.or(self.paused.len().checked_sub(1));
        match place.and_then(|place| self.paused.remove(place)) {
            Some(Paused { words, .. }) => self.ask(Ask::Run { words }),
            None => self.say(Tone::Dim, "no file is on its way"),
        }
    }

    /// A file stands still.
    pub(super) fn paused(&mut self, words: Vec<String>) {
        let progress = self.running.take().and_then(|running| running.progress);
        remember(&mut self.paused, Paused { words, progress });
        let way = self.wishes.keymap.way(Mode::Browse, Action::Transfer);
        let words = match way {
            Some(way) => format!("paused; {way} at the messages lets it go on"),
            None => "paused".to_owned(),
        };
        self.say(Tone::Text, words);
    }
}

fn remember(all: &mut VecDeque<Paused>, paused: Paused) {
    all.retain(|known| known.words != paused.words);
    if all.len() >= PAUSED_MAX {
        all.pop_front();
    }
    all.push_back(paused);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::ask::News;
    use crate::tui::sim::Sim;

    fn running(sim: &mut Sim, name: &str) {
        sim.hear(News::Runs {
            label: "save".to_owned(),
        });
        sim.hear(News::Progress(Progress {
            name: name.to_owned(),
            done: 1 << 20,
            total: 4 << 20,
        }));
    }

    fn words(id: &str) -> Vec<String> {
        vec!["save".to_owned(), id.to_owned()]
    }

    #[test]
    fn one_key_pauses_and_lets_go_on() {
        let mut sim = Sim::new((100, 24));
        sim.press("ctrl-up");
        sim.press("t");
        assert!(sim.words().contains("no file is on its way"));
        running(&mut sim, "data.bin");
        assert!(sim.words().contains("data.bin 25% of 4.0 MiB"));
        sim.press("t");
        assert_eq!(sim.asked.last(), Some(&"stop"));
        sim.hear(News::Paused {
            words: words("0123"),
        });
        assert!(sim.words().contains("data.bin paused"), "{}", sim.words());
        sim.press("t");
        assert!(sim.asked.contains(&"run"));
        assert!(!sim.words().contains("data.bin paused"));
    }

    #[test]
    fn the_file_of_the_selected_message_goes_on_first() {
        let mut sim = Sim::new((100, 24));
        sim.press("ctrl-up");
        let selected = sim.model.pane.as_ref().unwrap().selected().unwrap();
        let id = selected.id.to_string();
        for (name, id) in [("one", id.as_str()), ("two", "4567")] {
            running(&mut sim, name);
            sim.hear(News::Paused { words: words(id) });
        }
        sim.model.pause_or_go_on();
        match sim.model.poll_ask() {
            Some(Ask::Run { words: run }) => assert_eq!(run, words(&id)),
            _ => panic!("nothing goes on"),
        }
        assert_eq!(sim.model.paused.len(), 1);
    }

    #[test]
    fn what_is_paused_is_bounded() {
        let mut sim = Sim::new((100, 24));
        for number in 0..100 {
            sim.hear(News::Paused {
                words: words(&number.to_string()),
            });
            sim.hear(News::Paused {
                words: words("again"),
            });
        }
        assert_eq!(sim.model.paused.len(), PAUSED_MAX);
    }
}
