//! The safety number: its digits, its QR code, and the field for what the other reads out. The code
//! stands below the digits or beside them where there is room for both, else in their place; where
//! it has none, it says how much it needs.

use ratatui::layout::{Position, Rect};

use super::canvas::Canvas;
use super::front::{below, fields};
use super::over::{boxed, inside_most, wrapped};
use crate::engine::api::Pin;
use crate::safe_text::SafeText;
use crate::tui::keys::{Action, Mode};
use crate::tui::model::Model;
use crate::tui::model::overlay::{Safety, Showing};
use crate::tui::model::piece::{Row, Tone};
use crate::tui::qr::{self, Code};
use crate::tui::theme::Colours;

/// Cells of the words at least that stand beside a code.
const BESIDE_CELLS_MIN: u16 = 30;
/// Cells between the two.
const GAP: u16 = 2;
/// Rows of the field with its label.
const FIELD_ROWS: u16 = 2;

/// Where the code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Below,
    Beside,
    Instead,
    Nowhere,
}

/// Draws it; the cursor in its field.
pub(super) fn draw(
    model: &Model,
    safety: &Safety,
    canvas: &mut Canvas<'_>,
    area: Rect,
) -> Option<Position> {
    let title = format!("Safety number with {}", safety.name);
    let colours = match canvas.theme.code.fg {
        Some(_) => Colours::Shown,
        None => Colours::None,
    };
    let number = safety.number.as_ref();
    let code = number.and_then(|number| qr::code(&qr::digits_only(&number.digits), colours));
    let room = inside_most(area);
    let size = code.as_ref().map_or((0, 0), size);
    let stand = match &code {
        Some(_) => stand(safety, size, room),
        None => Stand::Below,
    };
    let width = match stand {
        Stand::Beside => room.width - size.0 - GAP,
        _ => room.width,
    };
    let mut rows = number_rows(safety, width);
    rows.extend(way_to_code(model, stand, size, width));
    rows.extend(purpose_rows(width));
    let count = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    if stand == Stand::Instead && safety.showing == Showing::Code {
        return alone(model, (&title, code.as_ref()), canvas, area);
    }
    let height = match stand {
        Stand::Below => count + size.1 + FIELD_ROWS + 1,
        Stand::Beside => (count + FIELD_ROWS + 1).max(size.1),
        Stand::Instead | Stand::Nowhere => count + FIELD_ROWS + 1,
    };
    let inner = boxed(canvas, area, (&title, height));
    let text = Rect {
        width: width.min(inner.width),
        ..inner
    };
    // The field is there, whatever else has no room.
    let most = inner.height.saturating_sub(FIELD_ROWS);
    let shown = count.min(most);
    for (line, row) in (0..shown).zip(&rows) {
        canvas.row(text, line, row);
    }
    let mut line = shown;
    if let (Some(code), Stand::Below) = (&code, stand) {
        paint(code, canvas, below(inner, line));
        line += size.1;
    } else if let (Some(code), Stand::Beside) = (&code, stand) {
        let place = Rect {
            x: inner.x + width + GAP,
            width: size.0,
            ..inner
        };
        paint(code, canvas, place);
    }
    fields(&safety.form, canvas, below(text, line))
}

/// Columns and rows of a code.
fn size(code: &Code) -> (u16, u16) {
    let cells = u16::try_from(code.cells).unwrap_or(u16::MAX);
    (cells, u16::try_from(code.rows.len()).unwrap_or(u16::MAX))
}

fn stand(safety: &Safety, (columns, rows): (u16, u16), room: Rect) -> Stand {
    let lines = |width| {
        let rows = number_rows(safety, width).len() + purpose_rows(width).len();
        u16::try_from(rows).unwrap_or(u16::MAX)
    };
    let beside = room.width.saturating_sub(columns + GAP);
    if room.width >= columns && room.height > lines(room.width) + rows + FIELD_ROWS {
        Stand::Below
    } else if beside >= BESIDE_CELLS_MIN
        && room.height >= rows
        && room.height > lines(beside) + FIELD_ROWS
    {
        Stand::Beside
    } else if room.width >= columns && room.height > rows {
        Stand::Instead
    } else {
        Stand::Nowhere
    }
}

/// The digits, and how they stand.
fn number_rows(safety: &Safety, width: u16) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut say = |tone, words: &str| rows.extend(wrapped(tone, &[words.to_owned()], width));
    match &safety.number {
        Some(number) => {
            for four in number.digits.split(' ').collect::<Vec<_>>().chunks(4) {
                say(Tone::Title, &format!(" {} ", four.join("  ")));
            }
            match (number.pin, number.verified_at_ms) {
                (Pin::Changed, _) => {
                    say(Tone::Security, "This identity is NEW and not accepted yet.");
                }
                (Pin::Same, Some(_)) => say(Tone::Good, "You compared this number before."),
                (Pin::Same, None) => say(Tone::Warning, "Nobody compared this number yet."),
            }
        }
        None if safety.waiting => say(Tone::Dim, "asking…"),
        None => say(Tone::Warning, "nobody of this name is known"),
    }
    rows
}

/// What the number is for.
fn purpose_rows(width: u16) -> Vec<Row> {
    let words = [
        "Both see the same digits, unless somebody is in the middle.".to_owned(),
        "Compare them by voice, or let the other scan the code.".to_owned(),
    ];
    wrapped(Tone::Dim, &words, width)
}

/// How one gets to see the code where it is not there.
fn way_to_code(model: &Model, stand: Stand, (columns, rows): (u16, u16), width: u16) -> Vec<Row> {
    match stand {
        Stand::Below | Stand::Beside => Vec::new(),
        Stand::Instead => vec![turning(model, "the QR code")],
        // With the box around it, the status line and a line of words.
        Stand::Nowhere => {
            let words = format!(
                "The QR code needs a window of {} columns and {} rows.",
                columns + 4,
                rows + 4
            );
            wrapped(Tone::Dim, &[words], width)
        }
    }
}

fn turning(model: &Model, to: &str) -> Row {
    let way = model.wishes.keymap.way(Mode::Form, Action::FocusNext);
    Row::of(Tone::Key, way.unwrap_or_default()).with(Tone::Dim, format!(" shows {to}"))
}

/// The code in the place of everything else.
fn alone(
    model: &Model,
    (title, code): (&str, Option<&Code>),
    canvas: &mut Canvas<'_>,
    area: Rect,
) -> Option<Position> {
    let code = code?;
    let (columns, rows) = size(code);
    let inner = boxed(canvas, area, (title, rows + 1));
    let place = Rect {
        x: inner.x + (inner.width - columns.min(inner.width)) / 2,
        width: columns.min(inner.width),
        ..inner
    };
    paint(code, canvas, place);
    canvas.row(inner, rows, &turning(model, "the digits"));
    None
}

fn paint(code: &Code, canvas: &mut Canvas<'_>, area: Rect) {
    let style = canvas.theme.code;
    for (line, row) in (0..area.height).zip(&code.rows) {
        let text = SafeText::line(row, usize::from(area.width));
        canvas.text(area, (area.x, line), &text, style);
    }
}
