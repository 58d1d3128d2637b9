//! What the terminal holds of pictures besides cells: pixels that it keeps under an id, and
//! pictures that cover cells. Says what it is to be given before a frame so that the frame shows
//! them, and that nothing is left of those that went.
//!
//! It writes nothing itself, and makes nothing but what `picture` makes of pixels.

use std::collections::BTreeSet;

use ratatui::layout::Rect;
use sotto_crypto::content::MessageRef;

use super::picture::Pictures;
use super::view::Placed;

/// What the terminal holds.
#[derive(Debug, Default)]
pub(crate) struct Easel {
    /// Ids whose pixels it keeps.
    given: BTreeSet<u32>,
    /// Pictures over cells, as they were drawn last.
    covered: Vec<(MessageRef, Rect)>,
}

/// Whether the screen is cleared before a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clear {
    No,
    Yes,
}

impl Easel {
    /// What is written before a frame with these pictures.
    pub(crate) fn prepare(&mut self, placed: &[Placed]) -> (Clear, String) {
        let covers = placed.iter().filter(|placed| placed.picture.covers());
        let covered: Vec<_> = covers.map(|placed| (placed.which, placed.area)).collect();
        let clear = match covered == self.covered {
            true => Clear::No,
            false => Clear::Yes,
        };
        self.covered = covered;
        let mut sequences = String::new();
        for placed in placed {
            if let Some((id, given)) = placed.picture.given()
                && self.given.insert(id)
            {
                sequences.push_str(given);
            }
        }
        (clear, sequences)
    }

    /// What lets the terminal forget these, as far as it has them.
    pub(crate) fn forget(&mut self, ids: &[u32], pictures: Pictures) -> String {
        let known = ids.iter().filter(|id| self.given.remove(id));
        known.map(|id| pictures.forget(*id)).collect()
    }

    /// What lets the terminal forget all of them.
    pub(crate) fn forget_all(&mut self, pictures: Pictures) -> String {
        let all: Vec<u32> = self.given.iter().copied().collect();
        self.covered.clear();
        self.forget(&all, pictures)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::attachment::picture::Images;
    use crate::attachment::preview::Pixels;
    use sotto_protocol::{ClientMessageId, DeviceId};

    fn pictures(chosen: Images) -> Pictures {
        Pictures::new(chosen, |_| None, None)
    }

    fn placed(chosen: Images, number: u8, y: u16) -> Placed {
        let pixels = Pixels::new(16, 24, vec![number; 16 * 24 * 3]).unwrap();
        let picture = pictures(chosen).encode(&pixels, u32::from(number)).unwrap();
        let size = picture.size();
        Placed {
            which: MessageRef {
                device: DeviceId::from_bytes([number; 16]),
                id: ClientMessageId::from_bytes([number; 16]),
            },
            picture: Rc::new(picture),
            rows: 0..size.height,
            area: Rect::new(0, y, size.width, size.height),
        }
    }

    #[test]
    fn pixels_are_given_once_and_taken_back() {
        let mut easel = Easel::default();
        let (one, two) = (placed(Images::Kitty, 1, 0), placed(Images::Kitty, 2, 4));
        let (clear, given) = easel.prepare(&[one]);
        assert_eq!(clear, Clear::No);
        assert_eq!(given.matches("a=T").count(), 1);
        let (_, given) = easel.prepare(&[placed(Images::Kitty, 1, 7), two]);
        assert_eq!(given.matches("a=T").count(), 1, "only the other");
        let how = pictures(Images::Kitty);
        assert_eq!(
            easel.forget(&[1, 9], how),
            "\u{1b}_Ga=d,d=I,i=1,q=2\u{1b}\\",
            "what it never had is not taken back"
        );
        assert_eq!(easel.forget_all(how), "\u{1b}_Ga=d,d=I,i=2,q=2\u{1b}\\");
        assert_eq!(easel.forget_all(how), "");
        // The terminal may have lost it: it gets it again.
        let (_, given) = easel.prepare(&[placed(Images::Kitty, 1, 0)]);
        assert_eq!(given.matches("a=T").count(), 1);
    }

    #[test]
    fn the_screen_is_cleared_when_a_picture_over_cells_moves_or_goes() {
        let mut easel = Easel::default();
        let at = |y| [placed(Images::Sixel, 1, y)];
        assert_eq!(easel.prepare(&at(3)).0, Clear::Yes);
        assert_eq!(easel.prepare(&at(3)).0, Clear::No);
        assert_eq!(easel.prepare(&at(2)).0, Clear::Yes);
        assert_eq!(easel.prepare(&[]).0, Clear::Yes);
        assert_eq!(easel.prepare(&[]).0, Clear::No);
        // What is made of cells goes with them.
        assert_eq!(easel.prepare(&[placed(Images::Blocks, 1, 3)]).0, Clear::No);
        assert_eq!(easel.prepare(&[]).0, Clear::No);
    }
}
