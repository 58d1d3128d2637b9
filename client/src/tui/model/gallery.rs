//! Pictures of the messages in the window: which are here, on their way, held back or hidden.
//!
//! Pure, and bounded: [`PICTURES_MAX`] are kept, those that were not near the screen for the
//! longest time go first and keep their place among the messages. It decodes nothing and decides
//! nothing of who is known: that is asked of the worker.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use ratatui::layout::Size;
use sotto_crypto::content::MessageRef;

use super::rows::Shape;
use crate::engine::api::{Message, MessageBody};
use crate::tui::ask::{Consent, Look, Seen, reference};
use crate::tui::picture::{Picture, Pictures, Space};

/// Pictures that are kept at once.
pub(crate) const PICTURES_MAX: usize = 24;
/// A picture that fits is made anew for this many more columns or rows, and not for fewer.
const WORTH_IT: u16 = 4;

/// Where a picture stands.
#[derive(Debug, Default)]
enum State {
    /// Nobody asked for it yet.
    #[default]
    New,
    /// It can be drawn.
    Here(Rc<Picture>),
    /// It went to make room; its place stays.
    Away(Size),
    /// Its sender is nobody that is known.
    Withheld,
    /// The person does not want to see it.
    Hidden,
    /// There can be none.
    Nothing,
}

/// What is known of one message's picture.
#[derive(Debug, Default)]
struct Slot {
    state: State,
    /// For which room it was made, or is being made.
    room: Space,
    /// It is on its way.
    awaited: bool,
    /// The person wants to see it.
    wanted: bool,
    /// What the whole file was made small to, where the message has nothing small.
    image: Option<Vec<u8>>,
    /// When it was near the screen last, in looks.
    used: u64,
}

/// What a wish to show or hide a picture leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toggled {
    /// It is hidden now.
    Hidden,
    /// It comes.
    Coming,
    /// There is nothing small of it: the file itself has to be looked at.
    Missing,
    /// None can be made.
    Nothing,
}

/// All pictures of the window.
#[derive(Debug, Default)]
pub(crate) struct Gallery {
    slots: BTreeMap<MessageRef, Slot>,
    looks: u64,
    /// Ids of pictures that the terminal keeps and that are not wanted any more.
    gone: Vec<u32>,
}

/// Something small that shows a file: at most 16 KiB.
fn small<'a>(message: &'a Message, slot: Option<&'a Slot>) -> Option<&'a [u8]> {
    let MessageBody::Attachment(file) = &message.body else {
        return None;
    };
    if !file.thumbnail.is_empty() {
        return Some(&file.thumbnail);
    }
    slot?.image.as_deref()
}

impl Gallery {
    /// What a message's rows leave room for.
    pub(crate) fn shape(&self, which: &MessageRef) -> Shape {
        match self.slots.get(which).map(|slot| &slot.state) {
            Some(State::Here(picture)) => Shape::Rows(picture.size().height),
            Some(State::Away(size)) => Shape::Rows(size.height),
            Some(State::Withheld | State::Hidden) => Shape::Held,
            Some(State::New | State::Nothing) | None => Shape::Nothing,
        }
    }

    /// A picture that can be drawn.
    pub(crate) fn picture(&self, which: &MessageRef) -> Option<&Rc<Picture>> {
        match &self.slots.get(which)?.state {
            State::Here(picture) => Some(picture),
            _ => None,
        }
    }

    /// Whether there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// These messages are on the screen or near it, the first of them on it: what is to be asked
    /// for.
    pub(crate) fn look(
        &mut self,
        near: &[&Message],
        (pictures, room): (Pictures, Space),
    ) -> Vec<Look> {
        self.looks += 1;
        let near = near.get(..PICTURES_MAX).unwrap_or(near);
        for message in near {
            if let Some(slot) = self.slots.get_mut(&reference(message)) {
                slot.used = self.looks;
            }
        }
        let mut asked = Vec::new();
        for message in near {
            asked.extend(self.wish(message, (pictures, room)));
        }
        asked
    }

    fn wish(&mut self, message: &Message, (pictures, room): (Pictures, Space)) -> Option<Look> {
        let which = reference(message);
        let image = small(message, self.slots.get(&which))?.to_vec();
        let slot = self.slots.entry(which).or_default();
        let needed = match &slot.state {
            _ if slot.awaited => false,
            State::New | State::Away(_) => true,
            State::Here(picture) => !does(picture.size(), slot.room, room),
            State::Withheld | State::Hidden | State::Nothing => false,
        };
        if !needed {
            return None;
        }
        let consent = match slot.wanted {
            true => Consent::Given,
            false => Consent::NotGiven,
        };
        (slot.awaited, slot.room, slot.used) = (true, room, self.looks);
        Some(Look {
            which,
            sender: message.sender.clone(),
            direction: message.direction,
            consent,
            image,
            pictures,
            room,
        })
    }

    /// The worker answers.
    pub(crate) fn came(&mut self, which: &MessageRef, seen: Seen) {
        let Some(slot) = self.slots.get_mut(which).filter(|slot| slot.awaited) else {
            return;
        };
        slot.awaited = false;
        let state = match (&slot.state, seen) {
            // Hidden meanwhile.
            (State::Hidden, _) => return,
            (_, Seen::Picture(picture)) => State::Here(Rc::new(*picture)),
            // Asked for by the person meanwhile: it is asked for again.
            (_, Seen::Withheld) if slot.wanted => State::New,
            (_, Seen::Withheld) => State::Withheld,
            (_, Seen::Nothing) => State::Nothing,
        };
        let before = std::mem::replace(&mut slot.state, state);
        self.let_go(&before);
        self.make_room();
    }

    /// A file was looked at, and this small image shows it.
    pub(crate) fn fetched(&mut self, which: &MessageRef, image: Vec<u8>) {
        if let Some(slot) = self.slots.get_mut(which) {
            slot.image = Some(image);
            slot.state = State::New;
        }
    }

    /// Shows a picture or hides it.
    pub(crate) fn toggle(&mut self, message: &Message) -> Toggled {
        let which = reference(message);
        if small(message, self.slots.get(&which)).is_none() {
            // A place for what comes of the file.
            self.slots.entry(which).or_default().wanted = true;
            return Toggled::Missing;
        }
        let slot = self.slots.entry(which).or_default();
        let (state, toggled) = match &slot.state {
            State::Here(_) | State::Away(_) => (State::Hidden, Toggled::Hidden),
            State::Nothing => (State::Nothing, Toggled::Nothing),
            State::New | State::Withheld | State::Hidden => (State::New, Toggled::Coming),
        };
        slot.wanted = toggled == Toggled::Coming;
        let before = std::mem::replace(&mut slot.state, state);
        self.let_go(&before);
        toggled
    }

    /// Forgets what is not among these any more.
    pub(crate) fn keep(&mut self, present: impl Iterator<Item = MessageRef>) {
        if self.slots.is_empty() {
            return;
        }
        let mut kept = BTreeMap::new();
        for which in present {
            if let Entry::Occupied(slot) = self.slots.entry(which) {
                kept.insert(which, slot.remove());
            }
        }
        for slot in std::mem::replace(&mut self.slots, kept).into_values() {
            self.let_go(&slot.state);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.keep(std::iter::empty());
    }

    /// Ids of pictures that the terminal can forget.
    pub(crate) fn take_gone(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.gone)
    }

    fn let_go(&mut self, state: &State) {
        if let State::Here(picture) = state
            && let Some((id, _)) = picture.given()
        {
            self.gone.push(id);
        }
    }

    /// Lets pictures go while there are too many, those first that were longest away.
    fn make_room(&mut self) {
        loop {
            let here = |slot: &&mut Slot| matches!(slot.state, State::Here(_));
            let count = self.slots.values_mut().filter(here).count();
            let oldest = self.slots.values_mut().filter(here);
            let Some(oldest) = oldest.min_by_key(|slot| slot.used) else {
                return;
            };
            if count <= PICTURES_MAX {
                return;
            }
            let size = match &oldest.state {
                State::Here(picture) => picture.size(),
                _ => Size::ZERO,
            };
            let before = std::mem::replace(&mut oldest.state, State::Away(size));
            self.let_go(&before);
        }
    }
}

/// Whether a picture that was made for one room does in another.
const fn does(size: Size, made_for: Space, room: Space) -> bool {
    let fits = size.width <= room.0 && size.height <= room.1;
    let more = room.0 >= made_for.0 + WORTH_IT || room.1 >= made_for.1 + WORTH_IT;
    fits && !more
}

#[cfg(test)]
#[path = "gallery_tests.rs"]
mod tests;
