//! Looking at pictures: which are asked for, what the key for it does, what comes back.

use sotto_crypto::content::MessageRef;

use super::gallery::Toggled;
use super::overlay::{Doing, Overlay, Question};
use super::piece::Tone;
use super::rows::{picture_room, size};
use super::{Effect, Model};
use crate::engine::api::{Message, MessageBody};
use crate::tui::ask::{Ask, Seen, reference};
use crate::tui::picture::Pictures;

/// Files larger than this are not fetched for a picture, in bytes: what the decoder takes.
const FETCHED_BYTES_MAX: u64 = 12 << 20;

impl Model {
    /// Asks for the pictures of what is on the screen or near it, and forgets those of what is
    /// not in the window any more.
    pub(super) fn look_around(&mut self, messages: (usize, usize)) {
        let (Some(pane), None) = (&self.pane, &self.locked) else {
            return self.forget_pictures();
        };
        self.gallery.keep(pane.files());
        if let Some(room) = picture_room(messages).filter(|_| self.wishes.pictures.are_shown()) {
            let near = pane.files_near();
            let find = |which: &MessageRef| pane.messages().find(|it| reference(it) == *which);
            let near: Vec<&Message> = near.iter().filter_map(find).collect();
            let looks = self.gallery.look(&near, (self.wishes.pictures, room));
            for look in looks {
                self.ask(Ask::Look(Box::new(look)));
            }
        }
        self.tell_gone();
    }

    /// No picture is kept any more.
    pub(super) fn forget_pictures(&mut self) {
        self.gallery.clear();
        self.tell_gone();
    }

    fn tell_gone(&mut self) {
        let gone = self.gallery.take_gone();
        if !gone.is_empty() {
            self.effect(Effect::Forget(gone));
        }
    }

    /// The terminal draws pictures in another way than before.
    pub(crate) fn set_pictures(&mut self, pictures: Pictures) {
        if self.wishes.pictures != pictures {
            self.wishes.pictures = pictures;
            self.forget_pictures();
        }
    }

    /// The worker looked at a picture.
    pub(super) fn seen(&mut self, which: &MessageRef, seen: Seen) {
        self.gallery.came(which, seen);
        self.tell_gone();
    }

    /// Shows the picture of the selected message, or hides it.
    pub(super) fn show_picture(&mut self, message: &Message) {
        let MessageBody::Attachment(file) = &message.body else {
            return self.say(Tone::Dim, "the message holds no file");
        };
        if !self.wishes.pictures.are_shown() {
            let words = "no pictures on this terminal; images in tui.toml says how they are drawn";
            return self.say(Tone::Dim, words);
        }
        match self.gallery.toggle(message) {
            Toggled::Hidden | Toggled::Coming => {}
            Toggled::Nothing => self.say(Tone::Dim, "no picture can be made of this file"),
            Toggled::Missing if !file.media_type.starts_with("image/") => {
                self.say(Tone::Dim, "the file is no picture");
            }
            Toggled::Missing if file.size > FETCHED_BYTES_MAX => {
                self.say(
                    Tone::Dim,
                    "the picture is too large for this; save it instead",
                );
            }
            Toggled::Missing => {
                let words = vec![
                    format!("Get this file ({}) to show its picture?", size(file.size)),
                    "It has no small one. The file is looked at and not kept.".to_owned(),
                ];
                let doing = Doing::Fetch(reference(message));
                self.overlay = Some(Overlay::Question(Question { words, doing }));
            }
        }
        self.tell_gone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::picture::Images;
    use crate::tui::ask::News;
    use crate::tui::sim::{Sim, pictures};

    /// In the conversation with a picture, at the message that holds it.
    fn at_the_picture(images: Images) -> Sim {
        let mut sim = Sim::new((100, 40));
        sim.model.wishes.pictures = pictures(images);
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
        sim.press("ctrl-up");
        sim.press("up");
        sim
    }

    fn selected(sim: &Sim) -> Message {
        let pane = sim.model.pane.as_ref().unwrap();
        pane.selected().unwrap().clone()
    }

    #[test]
    fn the_key_hides_a_picture_and_shows_it_again() {
        let mut sim = at_the_picture(Images::Blocks);
        assert!(matches!(selected(&sim).body, MessageBody::Attachment(_)));
        assert_eq!(sim.pictures().len(), 1);
        sim.press("v");
        assert!(sim.pictures().is_empty());
        assert!(sim.words().contains(", not shown]"), "{}", sim.words());
        sim.press("v");
        assert_eq!(sim.pictures().len(), 1);
        sim.press("up");
        sim.press("v");
        assert!(sim.words().contains("the message holds no file"));
    }

    #[test]
    fn where_pictures_are_off_none_is_asked_for() {
        let mut sim = at_the_picture(Images::Off);
        sim.press("v");
        assert!(sim.words().contains("no pictures on this terminal"));
        assert!(!sim.asked.contains(&"look"));
    }

    #[test]
    fn a_strangers_picture_waits_for_the_key() {
        let mut sim = at_the_picture(Images::Blocks);
        let which = reference(&selected(&sim));
        sim.model.forget_pictures();
        sim.model.prepare((60, 30));
        while !matches!(sim.model.poll_ask().unwrap(), Ask::Look(_)) {}
        let seen = Seen::Withheld;
        sim.hear(News::Seen { which, seen });
        assert!(sim.words().contains(", not shown]"));
        assert!(!sim.words().contains('▀'));
        sim.press("v");
        assert!(sim.words().contains('▀'));
    }

    #[test]
    fn the_terminal_forgets_what_is_not_wanted() {
        for way in ["hidden", "locked", "left", "another way"] {
            let mut sim = at_the_picture(Images::Kitty);
            assert_eq!(sim.pictures().len(), 1);
            sim.model.take_effects();
            match way {
                "hidden" => sim.press("v"),
                "locked" => sim.model.lock(),
                "left" => {
                    sim.press("ctrl-k");
                    sim.types("notes");
                    sim.press("enter");
                }
                _ => sim.model.set_pictures(pictures(Images::Sixel)),
            }
            sim.settle();
            let effects = sim.model.take_effects();
            assert!(
                effects.contains(&Effect::Forget(vec![1])),
                "{way}: {effects:?}"
            );
        }
    }

    #[test]
    fn the_pictures_of_whoever_is_blocked_go_at_once() {
        let mut sim = at_the_picture(Images::Kitty);
        let name = selected(&sim).sender;
        for way in ["key", "command"] {
            assert_eq!(sim.pictures().len(), 1);
            sim.model.take_effects();
            sim.asked.clear();
            match way {
                "key" => sim.model.ask(Ask::Block { name: name.clone() }),
                _ => sim.hear(News::Ran {
                    label: "block".to_owned(),
                    said: Vec::new(),
                    exit: crate::exit::Exit::Done,
                }),
            }
            sim.settle();
            let effects = sim.model.take_effects();
            let forgets = |effect: &Effect| matches!(effect, Effect::Forget(_));
            assert!(effects.iter().any(forgets), "{way}: {effects:?}");
            // Whoever still may be looked at is looked at again.
            assert!(sim.asked.contains(&"look"), "{way}: {:?}", sim.asked);
        }
    }

    #[test]
    fn a_file_with_nothing_small_is_fetched_after_a_question() {
        let mut sim = at_the_picture(Images::Blocks);
        let mut message = selected(&sim);
        let MessageBody::Attachment(file) = &mut message.body else {
            panic!("no file");
        };
        file.thumbnail.clear();
        sim.model.forget_pictures();
        sim.model.pane.as_mut().unwrap().add(message.clone());
        sim.settle();
        assert!(sim.pictures().is_empty());
        sim.press("v");
        assert!(
            sim.words().contains("Get this file (89.5 KiB)"),
            "{}",
            sim.words()
        );
        sim.press("y");
        assert!(sim.asked.contains(&"fetch"));
        let which = reference(&message);
        let image = vec![1];
        sim.hear(News::Fetched { which, image });
        assert_eq!(sim.pictures().len(), 1);
    }

    #[test]
    fn a_picture_over_cells_is_drawn_whole_and_alone() {
        let mut sim = at_the_picture(Images::Sixel);
        let placed = sim.pictures();
        assert_eq!(placed.len(), 1);
        let rows = placed[0].picture.size().height;
        assert_eq!(placed[0].rows, 0..rows);
        sim.press("f1");
        assert!(sim.pictures().is_empty(), "something lies over it");
        sim.press("esc");
        assert_eq!(sim.pictures().len(), 1);
        for height in (8..40).rev() {
            sim.resize((100, height));
            let placed = sim.pictures();
            let whole = |it: &crate::tui::view::Placed| it.rows == (0..it.picture.size().height);
            assert!(placed.iter().all(whole), "{height}");
        }
    }
}
