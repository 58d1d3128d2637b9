//! What lies over the panes: lists, sheets, the safety number, questions, and the keys that can
//! follow after a pause.

use ratatui::layout::{Position, Rect};

use super::canvas::Canvas;
use super::panes::first_shown;
use super::safety;
use crate::safe_text::SafeText;
use crate::tui::keys::{Action, Mode};
use crate::tui::model::Model;
use crate::tui::model::mouse::Spot;
use crate::tui::model::overlay::{Asking, Notice, Overlay, Question, Sheet};
use crate::tui::model::picker::{Item, Kind, Picker};
use crate::tui::model::piece::{Row, Tone, padded};
use crate::tui::text::{self, Layout};

/// Cells of a box at most.
const WIDTH_MAX: u16 = 90;

/// Draws what lies over the panes; the cursor, where something is typed.
pub(super) fn draw(
    model: &Model,
    overlay: &Overlay,
    canvas: &mut Canvas<'_>,
    area: Rect,
) -> Option<Position> {
    match overlay {
        Overlay::Picker(list) => picker(list, canvas, area),
        Overlay::Sheet(sheet) => {
            self::sheet(sheet, canvas, area);
            None
        }
        Overlay::Safety(safety) => safety::draw(model, safety, canvas, area),
        Overlay::Question(question) => {
            self::question(model, question, canvas, area);
            None
        }
        Overlay::Notice(notice) => {
            self::notice(model, notice, canvas, area);
            None
        }
        Overlay::Form(asking) => self::asking(model, asking, canvas, area),
        Overlay::Recovery(step) => super::front::first_run(model, step, canvas, area),
    }
}

/// The keys that matter over the panes: keys and a word.
pub(super) fn hints(model: &Model, overlay: &Overlay) -> Vec<(String, &'static str)> {
    let requests = [Action::Accept, Action::Decline, Action::Block, Action::Back];
    let sheet = [
        Action::Down,
        Action::Up,
        Action::PageDown,
        Action::PageUp,
        Action::Back,
    ];
    let wanted: &[Action] = match overlay {
        Overlay::Picker(picker) if picker.kind == Kind::Requests => &requests,
        Overlay::Sheet(open) if open.copied().is_some() => &[Action::Copy, Action::Back],
        Overlay::Sheet(_) => &sheet,
        Overlay::Notice(_) => &[Action::Back],
        _ => return model.wishes.keymap.hints(model.mode()),
    };
    let mode = model.mode();
    let ways = wanted.iter().filter_map(|action| {
        let way = model.wishes.keymap.way(mode, *action)?;
        Some((way, action.short()))
    });
    ways.collect()
}

/// Where a box for so many rows is: in the middle.
fn outside(area: Rect, rows: u16) -> Rect {
    wide(area, (WIDTH_MAX, rows))
}

/// Where the box of a sheet for so many rows is: as wide as what it does not break.
fn outside_sheet(sheet: &Sheet, area: Rect, rows: u16) -> Rect {
    let wanted = u16::try_from(sheet.wanted_cells()).unwrap_or(u16::MAX);
    let width = wanted.saturating_add(4).max(WIDTH_MAX);
    wide(area, (width, rows))
}

/// The inside of the box of a sheet that is as high as it may be.
pub(super) fn inside_sheet(sheet: &Sheet, area: Rect) -> Rect {
    inside(outside_sheet(sheet, area, u16::MAX))
}

fn wide(area: Rect, (width_max, rows): (u16, u16)) -> Rect {
    let width = area.width.min(width_max);
    let height = rows.saturating_add(2).min(area.height);
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

/// What is inside of a box.
fn inside(outer: Rect) -> Rect {
    if outer.height < 3 || outer.width < 6 {
        return outer;
    }
    Rect {
        x: outer.x + 2,
        y: outer.y + 1,
        width: outer.width - 4,
        height: outer.height - 2,
    }
}

/// The inside of a box that is as high as it may be.
pub(super) fn inside_most(area: Rect) -> Rect {
    inside(outside(area, u16::MAX))
}

/// A box in the middle with words on its top edge; what is inside.
pub(super) fn boxed(canvas: &mut Canvas<'_>, area: Rect, (title, rows): (&str, u16)) -> Rect {
    framed(canvas, outside(area, rows), title)
}

/// As [`boxed`], with its place.
fn framed(canvas: &mut Canvas<'_>, outer: Rect, title: &str) -> Rect {
    let (width, height) = (outer.width, outer.height);
    canvas.clear(outer);
    canvas.paint(outer, canvas.theme.text);
    if height < 3 || width < 6 {
        return outer;
    }
    let style = canvas.theme.border_focused;
    let across = usize::from(width).saturating_sub(2);
    let head = SafeText::line(&format!("╭─ {title} "), across);
    let rest = across.saturating_sub(head.cells().saturating_sub(1));
    let head = SafeText::line(&format!("{head}{}╮", "─".repeat(rest)), usize::from(width));
    let foot = SafeText::line(&format!("╰{}╯", "─".repeat(across)), usize::from(width));
    let bar = SafeText::line("│", 1);
    canvas.text(outer, (outer.x, 0), &head, style);
    for line in 1..height - 1 {
        canvas.text(outer, (outer.x, line), &bar, style);
        canvas.text(outer, (outer.right() - 1, line), &bar, style);
    }
    canvas.text(outer, (outer.x, height - 1), &foot, style);
    inside(outer)
}

/// Rows of a list with its field.
fn picker_rows(area: Rect) -> u16 {
    area.height.saturating_sub(2).min(24)
}

/// Where the lines of a list are.
fn picker_list(inner: Rect) -> Rect {
    Rect {
        y: inner.y + 1,
        height: inner.height.saturating_sub(1),
        ..inner
    }
}

/// What is under a cell while something lies over the panes.
pub(super) fn spot(overlay: &Overlay, area: Rect, at: Position) -> Spot {
    let rows = match overlay {
        Overlay::Picker(_) => picker_rows(area),
        Overlay::Sheet(sheet) => u16::try_from(sheet.laid().len()).unwrap_or(u16::MAX),
        // Nothing in them is clicked, and nothing beside closes them.
        Overlay::Safety(_)
        | Overlay::Question(_)
        | Overlay::Notice(_)
        | Overlay::Form(_)
        | Overlay::Recovery(_) => {
            return Spot::Over;
        }
    };
    let outer = match overlay {
        Overlay::Sheet(sheet) => outside_sheet(sheet, area, rows),
        _ => outside(area, rows),
    };
    if !outer.contains(at) {
        return Spot::Beside;
    }
    let list = picker_list(inside(outer));
    match overlay {
        Overlay::Picker(picker) if list.contains(at) => {
            let first = first_shown(picker.marked(), usize::from(list.height));
            let place = first + usize::from(at.y - list.y);
            if place < picker.len() {
                Spot::Line(place)
            } else {
                Spot::Over
            }
        }
        _ => Spot::Over,
    }
}

fn picker(picker: &Picker, canvas: &mut Canvas<'_>, area: Rect) -> Option<Position> {
    let inner = boxed(canvas, area, (picker.kind.title(), picker_rows(area)));
    let width = usize::from(inner.width).max(2);
    let field = picker.field.rows(usize::MAX / 2);
    let prompt = SafeText::line("› ", 2);
    canvas.text(inner, (inner.x, 0), &prompt, canvas.theme.key);
    // Of a long field the part around the cursor.
    let cell = field.cursor.1;
    let skipped = cell.saturating_sub(width.saturating_sub(3));
    if let Some(row) = field.rows.first() {
        let text = tail(row.text.as_str(), skipped);
        canvas.text(inner, (inner.x + 2, 0), &text, canvas.theme.text);
    }
    let list = picker_list(inner);
    if picker.len() == 0 {
        let words = match picker.waiting {
            true => "looking…",
            false if picker.kind.is_asked() && !picker.field.is_empty() => "nothing found",
            false => picker.kind.empty(),
        };
        let rows = wrapped(Tone::Dim, &[words.to_owned()], list.width);
        for (line, row) in (0..list.height).zip(&rows) {
            canvas.row(list, line, row);
        }
    }
    let first = first_shown(picker.marked(), usize::from(list.height));
    let shown = picker.lines().enumerate().skip(first);
    for (line, (place, item)) in (0..list.height).zip(shown) {
        canvas.row(list, line, &item_row(item, width));
        if place == picker.marked() {
            let line = Rect::new(list.x, list.y + line, list.width, 1);
            canvas.paint(line, canvas.theme.selected);
        }
    }
    let x = inner.x + 2 + u16::try_from(cell - skipped).unwrap_or(0);
    Some(Position {
        x: x.min(inner.right().saturating_sub(1)),
        y: inner.y,
    })
}

/// A text without its first cells.
fn tail(text: &str, cells: usize) -> SafeText {
    use unicode_segmentation::UnicodeSegmentation as _;
    use unicode_width::UnicodeWidthStr as _;
    let mut skipped = 0;
    let rest = text.graphemes(true).skip_while(|grapheme| {
        let skip = skipped < cells;
        skipped += grapheme.width();
        skip
    });
    SafeText::line(&rest.collect::<String>(), usize::MAX)
}

fn item_row(item: &Item, width: usize) -> Row {
    let note = SafeText::line(item.note.as_str(), width / 2);
    let room = width.saturating_sub(note.cells() + 1);
    Row::of(item.tone, padded(item.label.as_str(), room))
        .with(Tone::Dim, " ")
        .with(Tone::Dim, note.as_str())
}

fn sheet(sheet: &Sheet, canvas: &mut Canvas<'_>, area: Rect) {
    let laid = sheet.laid();
    let rows = u16::try_from(laid.len()).unwrap_or(u16::MAX);
    let inner = framed(canvas, outside_sheet(sheet, area, rows), &sheet.title);
    let most = laid.len().saturating_sub(usize::from(inner.height));
    let first = sheet.scroll.min(most);
    for (line, row) in (0..inner.height).zip(laid.iter().skip(first)) {
        canvas.row(inner, line, row);
    }
    let below = most - first;
    if below > 0 && inner.width > 20 {
        let words = SafeText::line(&format!(" ↓ {below} more "), usize::from(inner.width));
        let edge = Rect::new(inner.x, inner.bottom(), inner.width, 1);
        canvas.text(edge, (edge.x, 0), &words, canvas.theme.key);
    }
}

/// A form and what to know before, as far as there is room for both.
fn asking(model: &Model, asking: &Asking, canvas: &mut Canvas<'_>, area: Rect) -> Option<Position> {
    let fields = asking.form.fields.len() * 2;
    let rows = asking.rows.len() + fields + 3;
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    let inner = boxed(canvas, area, (asking.title, rows));
    let room = usize::from(inner.height).saturating_sub(fields.min(2) + 1);
    let mut line = 0;
    for row in asking.rows.iter().take(room) {
        canvas.row(inner, line, row);
        line += 1;
    }
    super::front::form_with_keys(
        model,
        &asking.form,
        canvas,
        super::front::below(inner, line),
    )
}

/// A question with its answers: in one row where they are a yes and a no, else one a row with what
/// it means.
fn question(model: &Model, question: &Question, canvas: &mut Canvas<'_>, area: Rect) {
    let way = |action| {
        let way = model.wishes.keymap.way(Mode::Ask, action);
        way.unwrap_or_default()
    };
    let width = inside_most(area).width;
    let answers = question.doing.answers();
    let mut said = Vec::new();
    if let [(yes, yes_words), (no, no_words)] = answers {
        let row = Row::of(Tone::Key, way(*yes)).with(Tone::Dim, format!(" {yes_words}   "));
        said.push(
            row.with(Tone::Key, way(*no))
                .with(Tone::Dim, format!(" {no_words}")),
        );
    } else {
        for (action, words) in answers {
            let row = Row::of(Tone::Key, format!("{:6}", way(*action)));
            said.extend(row.with(Tone::Text, *words).wrapped(usize::from(width)));
        }
    }
    let mut words = wrapped(Tone::Text, &question.words, width);
    words.push(Row::default());
    let rows = u16::try_from(words.len() + said.len()).unwrap_or(u16::MAX);
    let inner = boxed(canvas, area, (question.doing.title(), rows));
    let room = usize::from(inner.height);
    // The answers first: without them nobody gets on.
    said.truncate(room);
    words.truncate(room - said.len());
    for (line, row) in (0..inner.height).zip(words.iter().chain(&said)) {
        canvas.row(inner, line, row);
    }
}

/// Rows of words that are cut nowhere.
pub(super) fn wrapped(tone: Tone, words: &[String], width: u16) -> Vec<Row> {
    let layout = Layout {
        width: usize::from(width).max(1),
        ..Layout::default()
    };
    let rows = words.iter().flat_map(|words| text::wrap(words, layout));
    rows.map(|row| Row::of(tone, row.text())).collect()
}

/// What must be seen, and the key that says that it was.
fn notice(model: &Model, notice: &Notice, canvas: &mut Canvas<'_>, area: Rect) {
    let room = inside_most(area);
    let (first, rest) = notice.words.split_at(notice.words.len().min(1));
    let first = wrapped(notice.tone, first, room.width);
    let rest = wrapped(Tone::Text, rest, room.width);
    let rows = u16::try_from(first.len() + rest.len() + 2).unwrap_or(u16::MAX);
    let inner = boxed(canvas, area, (notice.title, rows));
    let last = inner.height.saturating_sub(1);
    for (line, row) in (0..last).zip(first.iter().chain(&rest)) {
        canvas.row(inner, line, row);
    }
    let way = model.wishes.keymap.way(notice.mode(), Action::Back);
    let seen = Row::of(Tone::Key, way.unwrap_or_default()).with(Tone::Dim, " seen");
    canvas.row(inner, last, &seen);
}

/// The keys that can follow those that were pressed.
pub(super) fn pending(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let Some(pressed) = model.pending_keys() else {
        return;
    };
    let lines = model.wishes.keymap.following(model.mode(), pressed);
    let width = usize::from(inside_most(area).width);
    let lines = lines.iter().flat_map(|help| {
        let keys = Row::of(Tone::Key, format!("{:18} ", help.keys));
        keys.with(Tone::Text, help.action.help()).wrapped(width)
    });
    let lines: Vec<Row> = lines.collect();
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let inner = boxed(canvas, area, ("…and then", rows));
    for (line, row) in (0..inner.height).zip(&lines) {
        canvas.row(inner, line, row);
    }
}
