//! The messages of the window as rows: laid out for a screen, and those of them that are on it.

use std::rc::Rc;

use sotto_crypto::content::MessageRef;
use sotto_protocol::Username;

use super::{Pane, Shown};
use crate::cli::inside::Zone;
use crate::engine::api::{Direction, MessageBody};
use crate::tui::ask::reference;
use crate::tui::model::gallery::Gallery;
use crate::tui::model::item::{DAY, Item, Key, NEW, SYSTEM, item, line};
use crate::tui::model::piece::{Row, Tone};
use crate::tui::model::rows::{Delivery, Setting, Shape, day, message_rows, time_of};

impl Pane {
    /// Lays the window out for a screen.
    pub(crate) fn lay(
        &mut self,
        size: (usize, usize),
        (zone, me): (&Zone, Option<&Username>),
        gallery: &Gallery,
    ) {
        self.size = size;
        let others = self.overview.others;
        let last_own = self
            .messages()
            .rev()
            .find(|message| message.direction == Direction::Outgoing)
            .map(|message| message.id);
        let mut items = Vec::with_capacity(self.messages.len() + 8);
        let mut today = String::new();
        let mut cache = std::mem::take(&mut self.cache);
        let mut system = self.system.iter().peekable();
        let waiting = self.waiting.iter().enumerate();
        let stored = self.messages.iter().map(|message| (0, message));
        for (place, message) in stored.chain(waiting) {
            let key = Key::of(message, place);
            let mut count = 0;
            while let Some((after, row)) = system.next_if(|(after, _)| *after < key.0) {
                items.push(told(Key(*after, SYSTEM + count), row, size.0));
                count += 1;
            }
            let now = day(zone, time_of(message));
            if now != today {
                items.push(item(Key(key.0, DAY), line(&now, Tone::Dim, size.0)));
                today = now;
            }
            if self.divider == Some(message.seq) {
                items.push(item(Key(key.0, NEW), line("new", Tone::Unread, size.0)));
            }
            let delivery = match last_own == Some(message.id) {
                true => Delivery::Words,
                false => Delivery::Mark,
            };
            let file = match &message.body {
                MessageBody::Attachment(_) => Some(reference(message)),
                _ => None,
            };
            let shape = file.map_or(Shape::Nothing, |file| gallery.shape(&file));
            let setting = Setting {
                width: size.0,
                zone,
                me,
                others,
                held: !self.overview.changed.is_empty(),
                delivery,
                picture: shape,
            };
            let made_for = (size.0, delivery, shape);
            let rows = match cache.remove(&key) {
                Some((known, rows)) if known == made_for => rows,
                _ => message_rows(message, &setting).into(),
            };
            self.cache.insert(key, (made_for, Rc::clone(&rows)));
            items.push(Item { key, rows, file });
        }
        for (count, (after, row)) in (0..).zip(system) {
            items.push(told(Key(*after, SYSTEM + count), row, size.0));
        }
        self.items = items;
    }

    /// The rows that are on the screen.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let (offset, height) = (self.offset(), self.size.1);
        let rows = self.items.iter().flat_map(|item| {
            let selected = self.selected == Some(item.key);
            item.rows.iter().map(move |row| (row, selected, item.file))
        });
        rows.skip(offset)
            .take(height)
            .map(|(row, selected, file)| Shown {
                row: row.clone(),
                selected,
                file,
            })
            .collect()
    }

    /// Messages with files on the screen and within a screen of it; those on it first.
    pub(crate) fn files_near(&self) -> Vec<MessageRef> {
        let (offset, height) = (self.offset(), self.size.1);
        let (mut on, mut near) = (Vec::new(), Vec::new());
        let mut start = 0;
        for item in &self.items {
            let end = start + item.rows.len();
            if start > offset + height * 2 {
                break;
            }
            match item.file {
                Some(file) if end > offset && start < offset + height => on.push(file),
                Some(file) if end + height > offset => near.push(file),
                _ => {}
            }
            start = end;
        }
        on.append(&mut near);
        on
    }

    /// All messages of the window with files.
    pub(crate) fn files(&self) -> impl Iterator<Item = MessageRef> {
        self.items.iter().filter_map(|item| item.file)
    }

    /// Selects the message that has this row of the screen, if one has.
    pub(crate) fn select_row(&mut self, row: usize) {
        let at = self.offset() + row;
        let mut end = 0;
        let found = self.items.iter().find(|item| {
            end += item.rows.len();
            at < end
        });
        if let Some(key) = found.map(|item| item.key).filter(Key::is_message) {
            self.selected = Some(key);
        }
    }
}

/// A line of the client's own: nothing of it is cut.
fn told(key: Key, row: &Row, width: usize) -> Item {
    Item {
        key,
        rows: row.wrapped(width).into(),
        file: None,
    }
}
