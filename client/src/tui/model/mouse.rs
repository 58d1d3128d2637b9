//! The mouse: a click goes where it points, the wheel turns what is under it.

use super::overlay::Overlay;
use super::{Focus, Model};
use crate::engine::api::Now;
use crate::tui::keys::Action;

/// Rows of messages that one step of the wheel moves.
const WHEEL_ROWS: isize = 3;

/// What is under the pointer; the view says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// This entry of the list of conversations.
    Chat(usize),
    /// The list beside its entries.
    Chats,
    /// This row of the messages on the screen.
    Message(usize),
    /// The messages' pane where no message is.
    Messages,
    Members,
    /// This row and cell of what is written.
    Composer(usize, usize),
    /// This line of the list that lies over the panes.
    Line(usize),
    /// What lies over the panes.
    Over,
    /// Beside what lies over the panes.
    Beside,
    Elsewhere,
}

/// What the mouse did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// The left button went down.
    Click,
    /// The wheel: steps, down is positive.
    Wheel(isize),
}

impl Model {
    /// The mouse did something.
    pub(crate) fn handle_mouse(&mut self, touch: Touch, spot: Spot, now: Now) {
        self.now = now;
        self.pressed_at_ms = now.monotonic_ms;
        self.pending.clear();
        match touch {
            Touch::Click => self.click(spot),
            Touch::Wheel(steps) => self.wheel(steps, spot),
        }
    }

    fn click(&mut self, spot: Spot) {
        match spot {
            Spot::Chat(place) => {
                self.list.mark_place(place);
                self.focus = Focus::Chats;
                self.enter_marked();
            }
            Spot::Chats => self.focus = Focus::Chats,
            Spot::Message(row) => {
                if let Some(pane) = &mut self.pane {
                    pane.select_row(row);
                    self.focus = Focus::Messages;
                }
            }
            Spot::Messages if self.pane.is_some() => self.focus = Focus::Messages,
            Spot::Composer(row, cell) => {
                self.enter_composer();
                if self.blocked_by().is_none() {
                    self.composer.point((row, cell), self.composer_cells);
                }
            }
            Spot::Line(place) => {
                if let Some(Overlay::Picker(picker)) = &mut self.overlay {
                    picker.mark(place);
                    self.act(Action::Confirm);
                }
            }
            // What asks something stays until it is answered.
            Spot::Beside => match self.overlay {
                Some(Overlay::Picker(_)) => self.overlay = None,
                Some(Overlay::Sheet(_)) => self.close_sheet(),
                _ => {}
            },
            Spot::Messages | Spot::Members | Spot::Over | Spot::Elsewhere => {}
        }
    }

    fn wheel(&mut self, steps: isize, spot: Spot) {
        let rows = steps.saturating_mul(WHEEL_ROWS);
        match spot {
            Spot::Chat(_) | Spot::Chats => self.list.step(steps),
            Spot::Message(_) | Spot::Messages | Spot::Composer(..) => {
                if let Some(pane) = &mut self.pane {
                    pane.scroll(rows);
                }
            }
            Spot::Members => {
                let pane = self.pane.as_ref();
                let most = pane.map_or(0, |pane| pane.overview.members.len().saturating_sub(1));
                self.members_from = self.members_from.saturating_add_signed(steps).min(most);
            }
            Spot::Line(_) | Spot::Over => match &mut self.overlay {
                Some(Overlay::Sheet(sheet)) => sheet.scroll(rows),
                Some(Overlay::Picker(picker)) => picker.step(steps),
                _ => {}
            },
            Spot::Beside | Spot::Elsewhere => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::api::{GroupMember, MemberTrust};
    use crate::tui::ask::News;
    use crate::tui::sim::Sim;
    use sotto_protocol::Username;
    use sotto_roster::Role;

    const SIZE: (u16, u16) = (120, 30);

    /// The row of the screen that has these words between two columns.
    fn row_of(sim: &mut Sim, words: &str, columns: std::ops::Range<usize>) -> u16 {
        let rows = sim.rows();
        let found = rows.iter().position(|row| {
            let part: String = row
                .chars()
                .skip(columns.start)
                .take(columns.len())
                .collect();
            part.contains(words)
        });
        u16::try_from(found.unwrap_or_else(|| panic!("{words}: {rows:#?}"))).unwrap()
    }

    #[test]
    fn a_click_opens_a_conversation() {
        let mut sim = Sim::new(SIZE);
        let row = row_of(&mut sim, "bob", 0..30);
        sim.touch(Touch::Click, (4, row));
        assert!(sim.words().contains("this is a demonstration"));
        assert_eq!(sim.model.focus, Focus::Composer);
        // A request is shown, not answered.
        let row = row_of(&mut sim, "erin", 0..30);
        sim.touch(Touch::Click, (4, row));
        assert!(sim.words().contains("Somebody wants to talk with you"));
        assert!(!sim.asked.contains(&"accept"));
        // What asks something is answered by keys alone.
        sim.touch(Touch::Click, (1, 0));
        assert!(sim.words().contains("Somebody wants to talk with you"));
        sim.press("esc");
        sim.touch(Touch::Click, (4, 25));
        assert_eq!(sim.model.focus, Focus::Chats, "below the last");
    }

    #[test]
    fn a_click_selects_a_message_and_another_begins_to_write() {
        let mut sim = Sim::new(SIZE);
        let row = row_of(&mut sim, "I can", 31..98);
        sim.touch(Touch::Click, (60, row));
        assert_eq!(sim.model.focus, Focus::Messages);
        let selected = sim.model.pane.as_ref().unwrap().selected().unwrap();
        assert_eq!(selected.sender.as_str(), "you");
        // Its other rows are the same message; a line of a day is none.
        sim.touch(Touch::Click, (60, row + 1));
        let selected = sim.model.pane.as_ref().unwrap().selected().unwrap();
        assert_eq!(selected.sender.as_str(), "you");
        sim.touch(Touch::Click, (60, 28));
        assert_eq!(sim.model.focus, Focus::Composer);
        sim.types("one two");
        sim.touch(Touch::Click, (35, 28));
        sim.types("X");
        assert_eq!(sim.model.composer.text(), "oneX two");
        sim.touch(Touch::Click, (90, 28));
        sim.types("!");
        assert_eq!(sim.model.composer.text(), "oneX two!");
    }

    #[test]
    fn the_wheel_turns_what_is_under_it() {
        let mut sim = Sim::new(SIZE);
        for number in 0..60 {
            sim.types(&format!("number {number}"));
            sim.press("enter");
        }
        let newest = |sim: &mut Sim| sim.model.pane.as_ref().unwrap().below() == 0;
        assert!(newest(&mut sim));
        let before = sim.model.composer.text().to_owned();
        sim.touch(Touch::Wheel(-1), (60, 10));
        assert_eq!(sim.model.pane.as_ref().unwrap().below(), 3);
        sim.touch(Touch::Wheel(-9), (60, 10));
        assert!(!newest(&mut sim));
        sim.touch(Touch::Wheel(10), (60, 28));
        assert!(newest(&mut sim), "above the composer it turns the messages");
        assert_eq!(sim.model.composer.text(), before);
        let marked = sim.model.list.marked();
        sim.touch(Touch::Wheel(1), (4, 10));
        assert_eq!(sim.model.list.marked(), marked.map(|place| place + 1));
        assert!(newest(&mut sim), "and the messages stay");
    }

    #[test]
    fn the_wheel_turns_members_and_lists() {
        let mut sim = Sim::new(SIZE);
        let pane = sim.model.pane.as_ref().unwrap();
        let (talk, mut overview) = (pane.talk.clone(), pane.overview.clone());
        for number in 0..60 {
            overview.members.push(GroupMember {
                name: Username::parse(&format!("person{number:02}")).unwrap(),
                role: Role::Member,
                trust: MemberTrust::Pinned,
                seen: true,
            });
        }
        let overview = Box::new(overview);
        sim.hear(News::Overview { talk, overview });
        assert!(!sim.words().contains("person59"));
        sim.touch(Touch::Wheel(70), (110, 10));
        assert!(sim.words().contains("person59"));
        sim.touch(Touch::Wheel(-70), (110, 10));
        assert!(sim.words().contains("✓bob"));
        sim.press("ctrl-k");
        sim.touch(Touch::Wheel(1), (60, 10));
        let Some(Overlay::Picker(picker)) = &sim.model.overlay else {
            panic!("no list");
        };
        assert_eq!(picker.marked(), 1);
        let row = row_of(&mut sim, "bob", 15..100);
        sim.touch(Touch::Click, (40, row));
        assert!(sim.model.overlay.is_none());
        assert!(sim.words().contains("this is a demonstration"));
    }

    #[test]
    fn a_question_is_not_answered_by_a_click() {
        let mut sim = Sim::new(SIZE);
        let row = row_of(&mut sim, "I can", 31..98);
        sim.touch(Touch::Click, (60, row));
        sim.press("d");
        assert!(sim.words().contains("Really?"));
        for y in 0..SIZE.1 {
            for x in [0, 40, 60, 119] {
                sim.touch(Touch::Click, (x, y));
            }
        }
        assert!(sim.words().contains("Really?"));
        assert!(!sim.asked.contains(&"delete"));
        // A locked screen has nothing to click.
        sim.press("esc");
        sim.model.lock();
        for y in 0..SIZE.1 {
            sim.touch(Touch::Click, (60, y));
            sim.touch(Touch::Wheel(1), (60, y));
        }
        assert!(sim.model.locked.is_some());
    }

    #[test]
    fn any_cell_of_any_screen_can_be_clicked() {
        for size in [(20, 5), (1, 1), (50, 12), (80, 24)] {
            let mut sim = Sim::new(size);
            for open in ["alt-c", "ctrl-k", "f1", "f5", "alt-v"] {
                sim.press(open);
                for (x, y) in (0..size.0)
                    .step_by(3)
                    .flat_map(|x| (0..size.1).map(move |y| (x, y)))
                {
                    sim.touch(Touch::Wheel(2), (x, y));
                    sim.touch(Touch::Click, (x, y));
                }
                sim.model.overlay = None;
            }
        }
    }
}
