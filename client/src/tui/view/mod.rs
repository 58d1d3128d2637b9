//! Draws the model: three panes from 100 columns, two from 60, one below; a title on top, the
//! composer and a status line at the bottom, and what lies over them.
//!
//! It decides where things are, nothing else; it changes nothing and waits for nothing.

mod bars;
mod canvas;
mod front;
mod over;
mod panes;
mod safety;

use std::ops::Range;
use std::rc::Rc;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use sotto_crypto::content::MessageRef;

use super::model::mouse::Spot;
use super::model::overlay::Overlay;
use super::model::pick::MEMBERS_FROM;
use super::model::{Focus, Model};
use super::picture::Picture;
use canvas::Canvas;

/// From so many columns on the conversations stand beside the messages.
const TWO_FROM: u16 = 60;
/// Rows of the composer at most, and as a part of the screen.
const COMPOSER_ROWS_MAX: u16 = 10;
/// Cells before what is written.
const PROMPT_CELLS: u16 = 2;

/// Where everything is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) title: Rect,
    pub(crate) alarm: Rect,
    pub(crate) chats: Option<Rect>,
    pub(crate) messages: Option<Rect>,
    pub(crate) members: Option<Rect>,
    /// What the composer's words are about, and who writes.
    pub(crate) about: Rect,
    pub(crate) composer: Rect,
    /// What just happened, where it has no room in the status line.
    pub(crate) remark: Rect,
    pub(crate) status: Rect,
}

/// What lies over the panes leaves the status line and what just happened, where there is room.
fn over_panes(model: &Model, area: Rect) -> Rect {
    let rows = if area.height > 7 { 1 } else { 0 };
    let remark = places(model, area).remark.height;
    Rect {
        height: area.height.saturating_sub(rows + remark),
        ..area
    }
}

/// Lays the screen out.
pub(crate) fn places(model: &Model, area: Rect) -> Places {
    let mut rest = area;
    let take = |rest: &mut Rect, rows: u16| {
        let rows = rows.min(rest.height);
        let taken = Rect::new(rest.x, rest.y, rest.width, rows);
        rest.y += rows;
        rest.height -= rows;
        taken
    };
    let title = take(&mut rest, 1);
    let alarm = match area.height {
        0..=3 => 0,
        height => rows_of(&bars::alarm_rows(model, area.width)).min(height / 3),
    };
    let alarm = take(&mut rest, alarm);
    let status = Rect::new(area.x, area.bottom().saturating_sub(1), area.width, 1);
    rest.height = rest.height.saturating_sub(1);
    let remark = rows_of(&bars::remark_rows(model, area.width)).min(area.height / 4);
    rest.height = rest.height.saturating_sub(remark);
    let remark = Rect {
        y: status.y - remark.min(status.y - area.y),
        height: remark,
        ..status
    };
    let one = area.width < TWO_FROM;
    let only_chats = one && (model.focus == Focus::Chats || model.pane.is_none());
    let mut places = Places {
        title,
        alarm,
        remark,
        status,
        ..Places::default()
    };
    if only_chats {
        places.chats = Some(rest);
        return places;
    }
    if !one {
        let width = (area.width / 4).clamp(18, 32);
        places.chats = Some(Rect { width, ..rest });
        rest.x += width;
        rest.width -= width;
    }
    let group = model
        .pane
        .as_ref()
        .is_some_and(|pane| !pane.overview.members.is_empty());
    if area.width >= MEMBERS_FROM && group && model.members_shown {
        let width = 22;
        rest.width -= width;
        places.members = Some(Rect {
            x: rest.right(),
            width,
            ..rest
        });
    }
    lay_composer(model, rest, &mut places);
    places
}

fn rows_of<T>(rows: &[T]) -> u16 {
    u16::try_from(rows.len()).unwrap_or(u16::MAX)
}

/// The composer below the messages.
fn lay_composer(model: &Model, rest: Rect, places: &mut Places) {
    let cells = usize::from(rest.width.saturating_sub(PROMPT_CELLS).max(2));
    let blocked = model.blocked_by().is_some();
    let wanted = match blocked {
        true => rows_of(&bars::banner_rows(model, rest.width)),
        false => rows_of(&model.composer.rows(cells).rows),
    };
    let part = if blocked { 2 } else { 3 };
    let most = (rest.height / part).clamp(1, COMPOSER_ROWS_MAX);
    let rows = wanted.clamp(1, most).min(rest.height);
    let about = u16::from(rest.height > rows + 2);
    let messages = rest.height - rows - about.min(rest.height - rows);
    places.messages = Some(Rect {
        height: messages,
        ..rest
    });
    places.about = Rect::new(rest.x, rest.y + messages, rest.width, about);
    places.composer = Rect::new(rest.x, rest.y + messages + about, rest.width, rows);
}

/// Makes the model ready for a screen of this size.
pub(crate) fn prepare(model: &mut Model, area: Rect) {
    let places = places(model, area);
    model.columns = area.width;
    model.composer_cells = usize::from(places.composer.width.saturating_sub(PROMPT_CELLS).max(2));
    let size = places.messages.map_or((0, 0), |messages| {
        let inner = panes::inside(messages, panes::Edge::on(area.width));
        (usize::from(inner.width), usize::from(inner.height))
    });
    let over = match &model.overlay {
        Some(Overlay::Sheet(sheet)) => over::inside_sheet(sheet, over_panes(model, area)),
        _ => over::inside_most(over_panes(model, area)),
    };
    model.sheet_rows = usize::from(over.height);
    if let Some(Overlay::Sheet(sheet)) = &mut model.overlay {
        sheet.lay((usize::from(over.width), model.sheet_rows));
    }
    model.prepare(size);
}

/// A picture on the screen.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) which: MessageRef,
    pub(crate) picture: Rc<Picture>,
    /// Its rows that are on the screen.
    pub(crate) rows: Range<u16>,
    /// Where they are; at the right there may be more room than it takes.
    pub(crate) area: Rect,
}

/// The pictures on a screen that is ready.
pub(crate) fn pictures(model: &Model, area: Rect) -> Vec<Placed> {
    if model.locked.is_some() || model.first_run.is_some() {
        return Vec::new();
    }
    let messages = places(model, area).messages;
    let inner = messages.map(|messages| panes::inside(messages, panes::Edge::on(area.width)));
    inner.map_or_else(Vec::new, |inner| panes::placed(model, inner))
}

/// What is under a cell of the screen.
pub(crate) fn spot(model: &Model, area: Rect, at: Position) -> Spot {
    if model.locked.is_some() || model.first_run.is_some() {
        return Spot::Elsewhere;
    }
    if let Some(overlay) = &model.overlay {
        return over::spot(overlay, over_panes(model, area), at);
    }
    let places = places(model, area);
    let under = |place: Option<Rect>| place.filter(|place| place.contains(at));
    if let Some(chats) = under(places.chats) {
        return panes::chat_spot(model, chats, at);
    }
    if let Some(messages) = under(places.messages) {
        return panes::message_spot(model, (messages, panes::Edge::on(area.width)), at);
    }
    if under(places.members).is_some() {
        return Spot::Members;
    }
    match under(Some(places.composer)) {
        Some(composer) if model.pane.is_some() => bars::composer_spot(model, composer, at),
        _ => Spot::Elsewhere,
    }
}

/// Draws everything.
pub(crate) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let cursor = {
        let theme = model.wishes.theme;
        let mut canvas = Canvas::new(frame.buffer_mut(), &theme);
        draw_all(model, &mut canvas, area)
    };
    if let Some(cursor) = cursor.filter(|at| area.contains(*at)) {
        frame.set_cursor_position(cursor);
    }
}

fn draw_all(model: &Model, canvas: &mut Canvas<'_>, area: Rect) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    canvas.paint(area, canvas.theme.text);
    if let Some(form) = &model.locked {
        return front::locked(model, form, canvas, area);
    }
    if let Some(first_run) = &model.first_run {
        let cursor = front::first_run(model, first_run, canvas, area);
        return match &model.overlay {
            Some(overlay) => over::draw(model, overlay, canvas, over_panes(model, area)),
            None => cursor,
        };
    }
    let places = places(model, area);
    bars::title(model, canvas, places.title);
    bars::alarm(model, canvas, places.alarm);
    if let Some(chats) = places.chats {
        panes::chats(model, canvas, chats);
    }
    if let Some(messages) = places.messages {
        panes::messages(model, canvas, (messages, panes::Edge::on(area.width)));
    }
    if let Some(members) = places.members {
        panes::members(model, canvas, members);
    }
    bars::about(model, canvas, places.about);
    let cursor = bars::composer(model, canvas, places.composer);
    bars::remark(model, canvas, places.remark);
    bars::status(model, canvas, places.status);
    let cursor = match &model.overlay {
        Some(overlay) => over::draw(model, overlay, canvas, over_panes(model, area)),
        None => cursor,
    };
    over::pending(model, canvas, area);
    cursor
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
