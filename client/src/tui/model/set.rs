//! The list of settings: what counts, which values each may have, and choosing another.
//!
//! It reads and writes no file; the worker does.

use super::overlay::Overlay;
use super::picker::{Item, Kind, Picker, Value};
use super::piece::Tone;
use super::{Model, Wishes};
use crate::tui::ask::Ask;
use crate::tui::change::{CHOICES, Choice};

impl Model {
    /// What counts, and what else it may be.
    pub(super) fn show_settings(&mut self) {
        let settings = self.wishes.settings.iter();
        let items = settings.map(|(name, value)| {
            let choice = CHOICES.iter().find(|choice| choice.name == name);
            let label = format!("{name}: {value}");
            let Some(choice) = choice else {
                return Item::new(&label, "keys and more", Tone::Dim, Value::Nothing);
            };
            let others = choice.values.iter().filter(|other| **other != value);
            let others: Vec<&str> = others.copied().collect();
            let note = format!("or {}", others.join(", "));
            Item::new(&label, &note, Tone::Text, Value::Setting(choice.name))
        });
        let items = items.collect();
        self.show(Picker::new(Kind::Settings, items));
    }

    /// The values of one.
    pub(super) fn pick_value(&mut self, name: &'static str) {
        let Some(choice) = CHOICES.iter().find(|choice| choice.name == name) else {
            return;
        };
        let mut settings = self.wishes.settings.iter();
        let now = settings.find(|(known, _)| known == name);
        let item = |value: &&'static str| {
            let note = match now.is_some_and(|(_, now)| now == value) {
                true => "as it is",
                false => "",
            };
            Item::new(value, note, Tone::Text, Value::Set(name, value))
        };
        let items = choice.values.iter().map(item).collect();
        self.show(Picker::new(Kind::Setting(name), items));
        let Choice { about, .. } = choice;
        self.say(Tone::Dim, format!("{name}: {about}"));
    }

    /// Has a value written.
    pub(super) fn set_value(&mut self, name: &'static str, value: &'static str) {
        self.ask(Ask::Set { name, value });
    }

    /// Other settings count.
    pub(crate) fn adopt(&mut self, wishes: Wishes) {
        let before = std::mem::replace(&mut self.wishes, wishes);
        // Where the file is does not change.
        let file = before.settings.into_iter().find(|(name, _)| name == "file");
        self.wishes.settings.extend(file);
        self.pending.clear();
        if before.pictures != self.wishes.pictures {
            self.forget_pictures();
        }
        let quiet = match &self.overlay {
            None => true,
            Some(Overlay::Picker(picker)) => picker.kind == Kind::Settings,
            Some(_) => false,
        };
        if quiet && self.first_run.is_none() {
            self.show_settings();
        }
        self.say(Tone::Good, "set, and written to tui.toml");
    }
}

#[cfg(test)]
mod tests {
    use crate::tui::keys::{Keymap, Preset};
    use crate::tui::model::Effect;
    use crate::tui::sim::Sim;

    #[test]
    fn a_program_that_nobody_chose_is_named_before_it_opens() {
        let mut sim = Sim::new((100, 30));
        sim.model.wishes.stranger = crate::tui::editor::stranger(|_| None);
        let opens = |sim: &mut Sim| {
            sim.press("ctrl-o");
            let effects = sim.model.take_effects();
            effects
                .iter()
                .any(|effect| matches!(effect, Effect::Edit(_)))
        };
        assert!(!opens(&mut sim));
        assert!(sim.words().contains(":q!"), "{}", sim.words());
        assert!(opens(&mut sim));
    }

    #[test]
    fn a_setting_is_chosen_among_its_values() {
        let mut sim = Sim::new((100, 30));
        sim.press("f12");
        let shown = sim.words();
        assert!(shown.contains("theme: dark"), "{shown}");
        assert!(shown.contains("light, high-contrast"), "{shown}");
        sim.types("theme");
        sim.press("enter");
        sim.types("light");
        sim.model
            .handle_key(ratatui::crossterm::event::KeyCode::Enter.into(), sim.now);
        let asked = std::iter::from_fn(|| sim.model.poll_ask()).any(|ask| {
            matches!(
                ask,
                crate::tui::ask::Ask::Set {
                    name: "theme",
                    value: "light"
                }
            )
        });
        assert!(asked);
        let mut wishes = sim.model.wishes.clone();
        wishes.keymap = Keymap::preset(Preset::Vim);
        wishes.settings = vec![("theme".to_owned(), "light".to_owned())];
        sim.model.adopt(wishes);
        let shown = sim.words();
        assert!(shown.contains("theme: light"), "{shown}");
    }
}
