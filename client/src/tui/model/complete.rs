//! Completion in the composer: the first key puts the best candidate in, the next ones go through
//! the others. Paths are looked up by the worker, which answers later.

use sotto_protocol::Username;

use super::Model;
use super::composer::Way;
use crate::safe_text::SafeText;
use crate::tui::ask::Ask;
use crate::tui::complete::paths::PathWish;
use crate::tui::complete::{self, Candidate, Completion, Sources};

/// Candidates that are named in the status line.
const NAMED_MAX: usize = 8;
/// Cells of a name there.
const NAME_CELLS: usize = 24;

/// A completion that the next key goes on with, if nothing else was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completing {
    /// Where the word begins, in bytes.
    from: usize,
    candidates: Vec<Candidate>,
    /// Which of them stands there.
    place: usize,
    /// The text as it was left, and where one was in it.
    left: (String, usize),
}

impl Model {
    /// Completes the word at the cursor, or takes the next candidate.
    pub(super) fn complete(&mut self, way: Way) {
        let here = (self.composer.text().to_owned(), self.composer.cursor());
        match self.completing.take() {
            Some(mut going) if going.left == here => {
                let count = going.candidates.len();
                going.place = match way {
                    Way::Forward => (going.place + 1) % count.max(1),
                    Way::Back => (going.place + count.saturating_sub(1)) % count.max(1),
                };
                self.put_in(going);
            }
            _ => self.begin_completion(&here),
        }
    }

    fn begin_completion(&mut self, (text, at): &(String, usize)) {
        let people = self.people_known();
        let titles = self
            .list
            .chats()
            .iter()
            .filter_map(|chat| chat.title.clone());
        let titles: Vec<String> = titles.collect();
        let commands = crate::cli::command();
        let sources = Sources {
            commands: &commands,
            people: &people,
            titles: &titles,
        };
        match complete::complete(text, *at, sources) {
            Completion::Nothing => {}
            Completion::Path(wish) => self.ask(Ask::Paths(wish)),
            found => self.completed(found),
        }
    }

    /// The paths that go on as it was begun; of no use if something was typed meanwhile.
    pub(super) fn found_paths(&mut self, wish: &PathWish, found: Completion) {
        let before = self.composer.text().get(..self.composer.cursor());
        if before.is_some_and(|before| wish.ends(before)) {
            self.completed(found);
        }
    }

    fn completed(&mut self, found: Completion) {
        if let Completion::Candidates {
            replace,
            candidates,
        } = found
        {
            self.put_in(Completing {
                from: replace.start,
                candidates,
                place: 0,
                left: (String::new(), 0),
            });
        }
    }

    fn put_in(&mut self, mut going: Completing) {
        let Some(candidate) = going.candidates.get(going.place) else {
            return;
        };
        let after = self.composer.text().get(self.composer.cursor()..);
        let spaced = after.is_some_and(|after| after.starts_with(' '));
        let text = match candidate.text.strip_suffix(' ') {
            Some(bare) if spaced => bare,
            _ => candidate.text.as_str(),
        };
        self.composer.replace(going.from, text);
        if going.candidates.len() > 1 {
            let others = going.candidates.iter().skip(going.place);
            let names = others.take(NAMED_MAX).map(|candidate| {
                let name = SafeText::line(candidate.text.trim_end(), NAME_CELLS);
                match candidate.note.as_str() {
                    note if note.starts_with(':') => format!("{name} {note}"),
                    _ => name.to_string(),
                }
            });
            let names: Vec<String> = names.collect();
            self.say_for_now(names.join("  "));
        }
        going.left = (self.composer.text().to_owned(), self.composer.cursor());
        self.completing = Some(going);
    }

    /// People of this conversation, then those of others.
    fn people_known(&self) -> Vec<Username> {
        let mut people: Vec<Username> = Vec::new();
        if let Some(pane) = &self.pane {
            let members = pane.overview.members.iter().map(|member| &member.name);
            people.extend(members.chain(pane.talk.person()).cloned());
        }
        let chats = self.list.chats().iter();
        people.extend(chats.filter_map(|chat| chat.talk.person().cloned()));
        people
    }
}

#[cfg(test)]
mod tests {
    use crate::tui::complete::{Completion, paths};
    use crate::tui::sim::Sim;

    fn in_bob() -> Sim {
        let mut sim = Sim::new((100, 30));
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
        sim
    }

    #[test]
    fn the_next_key_takes_the_next_candidate() {
        let mut sim = in_bob();
        sim.types("hi @");
        sim.press("tab");
        let first = sim.model.composer.text().to_owned();
        assert!(
            first.starts_with("hi @") && first.ends_with(' '),
            "{first:?}"
        );
        sim.types("x");
        sim.press("backspace");
        sim.model.composer.set("/re");
        sim.press("tab");
        let one = sim.model.composer.text().to_owned();
        sim.press("tab");
        let two = sim.model.composer.text().to_owned();
        assert!(
            one.starts_with("/re") && two.starts_with("/re") && one != two,
            "{one} {two}"
        );
        sim.model.composer.set("go :rocket");
        sim.press("tab");
        assert_eq!(sim.model.composer.text(), "go \u{1f680}");
    }

    #[test]
    fn paths_come_only_where_they_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        let mut sim = in_bob();
        let begun = format!("/send bob hi --file {}/no", folder.path().display());
        sim.model.composer.set(&begun);
        sim.model.complete(super::Way::Forward);
        let Some(crate::tui::ask::Ask::Paths(wish)) = sim.model.poll_ask() else {
            panic!("no path was asked for");
        };
        let found = paths::paths(&wish, None);
        assert!(matches!(found, Completion::Candidates { .. }));
        sim.model.composer.set("something else");
        sim.model.found_paths(&wish, found.clone());
        assert_eq!(sim.model.composer.text(), "something else");
        sim.model.composer.set(&begun);
        sim.model.found_paths(&wish, found);
        assert_eq!(sim.model.composer.text(), format!("{begun}tes.txt "));
    }
}
