//! What stands before the conversations: the first run, and the locked screen, which shows
//! nothing but that it is locked.

use ratatui::layout::{Position, Rect};

use super::canvas::Canvas;
use super::over::{boxed, inside_most};
use crate::safe_text::SafeText;
use crate::tui::keys::{Action, Mode};
use crate::tui::model::Model;
use crate::tui::model::form::{Field, FirstRun, Form, Purpose};
use crate::tui::model::piece::{Row, Tone, padded};
use crate::tui::text::{self, Layout};

/// The locked screen.
pub(super) fn locked(
    model: &Model,
    form: &Form,
    canvas: &mut Canvas<'_>,
    area: Rect,
) -> Option<Position> {
    let inner = boxed(canvas, area, ("Locked", 4));
    form_with_keys(model, form, canvas, inner)
}

/// A step of the first run.
pub(super) fn first_run(
    model: &Model,
    step: &FirstRun,
    canvas: &mut Canvas<'_>,
    area: Rect,
) -> Option<Position> {
    match step {
        FirstRun::Form(form) | FirstRun::Check(_, form) => {
            let (title, words) = words_for(form.purpose);
            let width = inside_most(area).width;
            let words = words
                .iter()
                .flat_map(|words| wrapped(Tone::Dim, words, width));
            let words: Vec<Row> = words.collect();
            let needed = form.fields.len() * 2 + 1 + remark_rows(form, width).len().max(2);
            let rows = u16::try_from(words.len() + needed).unwrap_or(u16::MAX);
            let inner = boxed(canvas, area, (title, rows));
            let mut line = 0;
            if usize::from(inner.height) >= words.len() + needed - 2 {
                for row in &words {
                    canvas.row(inner, line, row);
                    line += 1;
                }
            }
            form_with_keys(model, form, canvas, below(inner, line))
        }
        FirstRun::Busy(words) => {
            let inner = boxed(canvas, area, ("Sotto", 1));
            canvas.row(inner, 0, &Row::of(Tone::Text, *words));
            None
        }
        FirstRun::Waiting(lines) => {
            waiting(model, lines, canvas, area);
            None
        }
        FirstRun::Offer => {
            offer(model, canvas, area);
            None
        }
        FirstRun::Drop(_) => {
            drop_words(model, canvas, area);
            None
        }
        FirstRun::Words(words) => {
            self::words(model, words, canvas, area);
            None
        }
    }
}

/// The key that answers, for the status of a question.
fn way(model: &Model, action: Action) -> String {
    let way = model.wishes.keymap.way(Mode::Ask, action);
    way.unwrap_or_default()
}

/// Whether to make a recovery key.
fn offer(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let yes = Row::of(Tone::Key, way(model, Action::Yes)).with(Tone::Text, " show it now");
    let no = Row::of(Tone::Key, way(model, Action::No)).with(Tone::Text, " later");
    let rows = [
        Row::of(Tone::Good, "Welcome. This device is ready."),
        Row::default(),
        Row::of(
            Tone::Text,
            "A recovery key of twelve words gets the account back when every device is lost. It \
             can be made later, too, but not then.",
        ),
        Row::default(),
        yes.clone()
            .with(Tone::Text, "   ")
            .with(Tone::Key, way(model, Action::No))
            .with(Tone::Text, " later, with: sotto recovery new"),
    ];
    let short = [Row::of(Tone::Text, "Make one?"), yes, no];
    sheet(canvas, area, ("Recovery key", &rows, &short));
}

/// Whether the words of a recovery key are not wanted.
fn drop_words(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let yes = Row::of(Tone::Key, way(model, Action::Yes)).with(Tone::Text, " without");
    let no = Row::of(Tone::Key, way(model, Action::No)).with(Tone::Text, " the words again");
    let rows = [
        Row::of(Tone::Warning, "Go on without these words?"),
        Row::default(),
        Row::of(
            Tone::Text,
            "They are not shown again, and get nothing back; others can be made later, with: \
             sotto recovery new",
        ),
        Row::default(),
        yes.clone()
            .with(Tone::Text, " them   ")
            .with(Tone::Key, way(model, Action::No))
            .with(Tone::Text, " see the words again"),
    ];
    let short = [Row::of(Tone::Warning, "Drop the words?"), yes, no];
    sheet(canvas, area, ("Recovery key", &rows, &short));
}

/// What is to be done elsewhere, and how to stop waiting for it.
fn waiting(model: &Model, lines: &[String], canvas: &mut Canvas<'_>, area: Rect) {
    let way = model.wishes.keymap.way(Mode::Browse, Action::Back);
    let room = inside_most(area);
    let back = Row::of(Tone::Key, way.unwrap_or_default()).with(Tone::Dim, " stop waiting");
    let rows = lines
        .iter()
        .flat_map(|line| wrapped(Tone::Text, line, room.width));
    let mut rows: Vec<Row> = rows.collect();
    let mut short = rows.clone();
    short.truncate(usize::from(room.height).saturating_sub(1));
    short.push(back.clone());
    rows.extend([Row::default(), back]);
    sheet(canvas, area, ("One moment", &rows, &short));
}

/// Rows to read, or where they have no room others that have.
fn sheet(canvas: &mut Canvas<'_>, area: Rect, (title, rows, short): (&str, &[Row], &[Row])) {
    let room = inside_most(area);
    let width = usize::from(room.width);
    let mut rows: Vec<Row> = rows.iter().flat_map(|row| row.wrapped(width)).collect();
    if rows.len() > usize::from(room.height) {
        rows = short.iter().flat_map(|row| row.wrapped(width)).collect();
    }
    let count = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    let inner = boxed(canvas, area, (title, count));
    for (line, row) in (0..inner.height).zip(&rows) {
        canvas.row(inner, line, row);
    }
}

/// Over the words of a recovery key.
const WRITE_DOWN: &str = "Write these words down, in their order; they are shown once:";
/// In their place where they have no room.
const TOO_SMALL: &str = "Make the window larger to see all the words.";
/// Cells of a word with its number.
const WORD_CELLS: u16 = 14;

/// All words with their numbers, as many in a row as have room there.
fn numbered_rows(words: &str, width: u16) -> Vec<Row> {
    let each = usize::from((width / WORD_CELLS).clamp(1, 4));
    let words: Vec<&str> = words.split(' ').collect();
    let mut rows = Vec::new();
    for (line, chunk) in words.chunks(each).enumerate() {
        let mut row = Row::default();
        for (place, word) in chunk.iter().enumerate() {
            row = row
                .with(Tone::Dim, format!("{:>3} ", line * each + place + 1))
                .with(Tone::Key, padded(word, 10));
        }
        rows.push(row);
    }
    rows
}

/// Words in as many rows as they take.
fn wrapped(tone: Tone, words: &str, width: u16) -> Vec<Row> {
    let layout = Layout {
        width: usize::from(width).max(1),
        ..Layout::default()
    };
    let rows = text::wrap(words, layout).into_iter();
    rows.map(|row| Row::of(tone, row.text())).collect()
}

fn words(model: &Model, words: &str, canvas: &mut Canvas<'_>, area: Rect) {
    let answers = Row::of(Tone::Key, way(model, Action::Yes))
        .with(Tone::Text, " written down   ")
        .with(Tone::Key, way(model, Action::No))
        .with(Tone::Text, " without one for now");
    let room = inside_most(area);
    let mut rows = wrapped(Tone::Text, WRITE_DOWN, room.width);
    let numbered = numbered_rows(words, room.width);
    if rows.len() + numbered.len() + 1 > usize::from(room.height) {
        // Cut, some would be missing, and nobody would see that.
        rows = wrapped(Tone::Warning, TOO_SMALL, room.width);
    } else {
        rows.extend(numbered);
        rows.push(answers);
    }
    sheet(canvas, area, ("Recovery key", &rows, &rows));
}

const fn words_for(purpose: Purpose) -> (&'static str, &'static [&'static str]) {
    match purpose {
        Purpose::Server => (
            "Welcome to Sotto",
            &[
                "End-to-end encrypted chat that you or your team run yourselves.",
                "Where is the deployment? Whoever runs it knows its address.",
                "",
            ],
        ),
        Purpose::Register => (
            "A new account",
            &[
                "→ an account that you have   ← one whose devices are lost",
                "",
            ],
        ),
        Purpose::Login => (
            "Log in",
            &[
                "On the machine on which you had it before.",
                "→ on a further machine   ← a new account",
                "",
            ],
        ),
        Purpose::Link => (
            "A further device",
            &[
                "With a device at hand that has the account: this one shows a",
                "code, which is typed there.",
                "→ without any device   ← log in",
                "",
            ],
        ),
        Purpose::Recover => (
            "Recover an account",
            &[
                "With its password and the words of its recovery key.",
                "→ a new account   ← with a device at hand",
                "",
            ],
        ),
        Purpose::Unlock => ("Unlock", &[]),
        Purpose::Locked => ("Locked", &[]),
        Purpose::Check => (
            "Recovery key",
            &[
                "Three of the words once more, to see that they are written down.",
                "",
            ],
        ),
        Purpose::Digits => ("Safety number", &[]),
        Purpose::Code => ("Add a device", &[]),
        Purpose::Agree => ("Let this device in?", &[]),
        Purpose::Passwd => ("Another password", &[]),
    }
}

/// Whether a field is the one that is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Now,
    Else,
}

/// The keys that apply, on the last line.
fn keys(model: &Model, form: &Form, canvas: &mut Canvas<'_>, inner: Rect) {
    let mut row = Row::default();
    if form.is_way_in() {
        row = row
            .with(Tone::Key, "← →")
            .with(Tone::Dim, " other ways in  ");
    }
    let mut hints = model.wishes.keymap.hints(model.mode());
    // Nothing leads back from a locked screen but the password.
    hints.retain(|(_, words)| model.locked.is_none() || *words != Action::Back.short());
    for (keys, words) in hints {
        row = row
            .with(Tone::Key, keys)
            .with(Tone::Dim, format!(" {words}  "));
    }
    canvas.row(inner, inner.height.saturating_sub(1), &row);
}

/// What is left of an area below some lines.
pub(super) fn below(area: Rect, lines: u16) -> Rect {
    let lines = lines.min(area.height);
    Rect {
        y: area.y + lines,
        height: area.height - lines,
        ..area
    }
}

/// What is said about a form, in rows.
fn remark_rows(form: &Form, width: u16) -> Vec<Row> {
    let remark = form.remark.as_ref();
    remark.map_or_else(Vec::new, |(tone, words)| wrapped(*tone, words, width))
}

/// A form with the keys that apply on the last line, where there is room for them beside the field
/// that is filled in and what is said about it.
pub(super) fn form_with_keys(
    model: &Model,
    form: &Form,
    canvas: &mut Canvas<'_>,
    area: Rect,
) -> Option<Position> {
    let said = u16::from(form.remark.is_some());
    let mut area = area;
    if area.height > 2 + said {
        keys(model, form, canvas, area);
        area.height -= 1;
    }
    fields(form, canvas, area)
}

/// The fields of a form, and below them what is said about it; the cursor. Where not all have
/// room, the one that is filled in is there, and nothing stands on another.
pub(super) fn fields(form: &Form, canvas: &mut Canvas<'_>, area: Rect) -> Option<Position> {
    let mut remark = remark_rows(form, area.width);
    remark.truncate(usize::from(area.height.saturating_sub(2)));
    let said = u16::try_from(remark.len()).unwrap_or(0);
    let room = usize::from((area.height - said) / 2).max(1);
    let first = (form.at + 1).saturating_sub(room);
    let mut line = 0;
    let mut cursor = None;
    for (place, field) in form.fields.iter().enumerate().skip(first).take(room) {
        let at = field_at(
            field,
            canvas,
            (area, line),
            match place == form.at {
                true => Filled::Now,
                false => Filled::Else,
            },
        );
        cursor = cursor.or(at);
        line += 2;
    }
    for row in &remark {
        canvas.row(area, line, row);
        line += 1;
    }
    cursor
}

/// A field: its label, and below it what was typed, of which the end is shown; the cursor, where
/// it is the one that is filled in.
fn field_at(
    field: &Field,
    canvas: &mut Canvas<'_>,
    (area, line): (Rect, u16),
    filled_in: Filled,
) -> Option<Position> {
    let tone = match filled_in {
        Filled::Now => Tone::Key,
        Filled::Else => Tone::Dim,
    };
    let label = SafeText::line(&field.label, usize::from(area.width));
    canvas.row(area, line, &Row::of(tone, label.as_str()));
    let shown = field.shown();
    let width = usize::from(area.width).saturating_sub(3).max(1);
    let text = SafeText::line(&shown, usize::MAX);
    let text = if text.cells() > width {
        let skipped = shown.chars().count().saturating_sub(width / 2);
        let end: String = shown.chars().skip(skipped).collect();
        SafeText::line(&end, width)
    } else {
        text
    };
    let prompt = SafeText::line("› ", 2);
    let x = canvas.text(area, (area.x, line + 1), &prompt, canvas.theme.dim);
    let end = canvas.text(area, (x, line + 1), &text, canvas.theme.text);
    (filled_in == Filled::Now && line + 1 < area.height).then(|| Position {
        x: end.min(area.right().saturating_sub(1)),
        y: area.y + line + 1,
    })
}
