//! The lines around the panes: title, warnings, what is written, status.

use ratatui::layout::{Position, Rect};

use super::canvas::Canvas;
use super::over;
use crate::engine::api::{Direction, Message};
use crate::engine::screen::{Overview, Standing};
use crate::safe_text::SafeText;
use crate::tui::ask::Link;
use crate::tui::keys::{Action, Mode};
use crate::tui::model::mouse::Spot;
use crate::tui::model::piece::{Row, Tone, padded};
use crate::tui::model::rows::{preview, size};
use crate::tui::model::told::Alarm;
use crate::tui::model::{About, Focus, Model};
use crate::tui::text::{self, Layout};

/// Cells that a name has in the title before how it is sealed is said in fewer words.
const NAME_CELLS_MIN: usize = 14;
/// Cells from which on a part of a description is of use, with what parts it from the rest.
const DESCRIPTION_CELLS_MIN: usize = 12;
/// Rows of a warning at most.
const ALARM_ROWS_MAX: usize = 3;
/// Cells of the status line beside the key that shows all keys.
const STATUS_CELLS_MIN: u16 = 8;
/// What stands before the written text.
const PROMPT: &str = "› ";
/// Between the connection and what just happened.
const REMARK_SIGN: &str = "  ";
/// Rows of what just happened at most.
const REMARK_ROWS_MAX: usize = 3;

/// The name of the open conversation, and how it is sealed.
pub(super) fn title(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.paint(area, canvas.theme.title);
    let width = usize::from(area.width);
    let words = match &model.pane {
        Some(pane) => title_words(&model.list.label(&pane.talk), &pane.overview, width),
        None => format!(" Sotto · {}", own_name(model)),
    };
    canvas.row(area, 0, &Row::of(Tone::Title, padded(&words, width)));
}

fn own_name(model: &Model) -> &str {
    let who = model.me.as_ref();
    who.map_or("nobody yet", |who| who.username.as_str())
}

/// The title: what has no room is cut from the name, which others gave, and never from how the
/// conversation is sealed; no name can say that in its place.
fn title_words(name: &str, overview: &Overview, width: usize) -> String {
    let own_sign = |text: &str| text.replace('·', ".");
    let name = SafeText::line(&own_sign(name), usize::MAX);
    let room = |seal: &str| {
        let taken = SafeText::line(seal, usize::MAX).cells() + 4;
        width.saturating_sub(taken)
    };
    let wanted = name.cells().min(NAME_CELLS_MIN);
    let seals = sealings(overview);
    let fitting = seals.iter().find(|seal| room(seal) >= wanted);
    let seal = fitting.or(seals.last()).map_or("", String::as_str);
    let name = SafeText::line(name.as_str(), room(seal));
    let said = match name.as_str() {
        "" => format!(" {seal}"),
        name => format!(" {name} · {seal}"),
    };
    let left = width.saturating_sub(SafeText::line(&said, usize::MAX).cells());
    match overview.description.as_str() {
        words if !words.is_empty() && left >= DESCRIPTION_CELLS_MIN => {
            format!("{said} · {}", own_sign(words))
        }
        _ => said,
    }
}

/// How a conversation is sealed, in fewer and fewer words.
fn sealings(overview: &Overview) -> [String; 3] {
    if overview.standing == Standing::Ended {
        let long = "you are out; nothing comes here any more";
        return [long, "you are out", "you are out"].map(str::to_owned);
    }
    let (sealed, short, shortest) = match overview.post_quantum {
        Some(true) => ("encrypted, post-quantum", "encrypted+pq", "e2e+pq"),
        Some(false) => ("encrypted", "encrypted", "e2e"),
        None => ("encrypted from the first message", "encrypted", "e2e"),
    };
    let (others, verified) = (overview.others, overview.verified);
    let (words, count) = match (others, verified) {
        (0, _) => ("only you".to_owned(), "alone".to_owned()),
        (1, 0) => ("not verified".to_owned(), "0/1✓".to_owned()),
        (1, _) => ("verified".to_owned(), "1/1✓".to_owned()),
        _ => (
            format!("{verified} of {others} verified"),
            format!("{verified}/{others}✓"),
        ),
    };
    let (standing, word) = match overview.standing {
        Standing::Open | Standing::Ended => ("", ""),
        Standing::Blocked => (" · blocked by you", " blocked"),
        Standing::Repairing => (" · being repaired", " repairs"),
    };
    [
        format!("{sealed} · {words}{standing}"),
        format!("{short} · {words}{standing}"),
        format!("{shortest} {count}{word}"),
    ]
}

/// A warning that nobody may overlook, in as many rows as it needs up to three.
pub(super) fn alarm_rows(model: &Model, width: u16) -> Vec<Row> {
    let Some(Alarm { words, .. }) = model.alarms.front() else {
        return Vec::new();
    };
    let way = model.wishes.keymap.way(model.mode(), Action::Back);
    let way = way.unwrap_or_default();
    let more = match model.alarms.len() {
        0 | 1 => String::new(),
        count => format!(" (+{})", count - 1),
    };
    wrapped(
        &format!("! {words}{more}  {way}: seen"),
        width,
        ALARM_ROWS_MAX,
    )
}

/// The warning itself.
pub(super) fn alarm(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.paint(area, canvas.theme.security);
    for (line, row) in (0..area.height).zip(alarm_rows(model, area.width)) {
        canvas.row(area, line, &row);
    }
}

/// Words that cannot be overlooked, in rows of a width with a blank at either side.
fn wrapped(words: &str, width: u16, rows_max: usize) -> Vec<Row> {
    let layout = Layout {
        width: usize::from(width.saturating_sub(2)).max(2),
        rows_max,
        ..Layout::default()
    };
    let rows = text::wrap(words, layout).into_iter();
    let padded_row = |row: text::Row| padded(&format!(" {}", row.text()), usize::from(width));
    rows.map(|row| Row::of(Tone::Security, padded_row(row)))
        .collect()
}

/// What is answered or changed, else who writes and what runs.
pub(super) fn about(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let cells = usize::from(area.width);
    let row = match &model.about {
        Some(About::Reply(message)) => Row::of(Tone::Quote, answers(message)),
        Some(About::Edit(_)) => {
            let way = model.wishes.keymap.way(model.mode(), Action::Back);
            let way = way.unwrap_or_default();
            Row::of(
                Tone::Warning,
                format!("changes your message; {way} leaves it as it is"),
            )
        }
        None if model.composer.is_command() => Row::of(
            Tone::Key,
            "a command; it is never sent as text (//text sends /text)",
        ),
        None => match model.writing() {
            Some(name) => Row::of(Tone::Dim, format!("{name} is writing…")),
            None => Row::of(Tone::Dim, "─".repeat(cells)),
        },
    };
    canvas.row(area, 0, &row);
}

/// Whom one answers, and what they said; a preview often names its writer already.
fn answers(message: &Message) -> String {
    let preview = preview(message);
    let named = message.direction == Direction::Outgoing || message.talk.group().is_some();
    match named {
        true => format!("↩ answers {preview}"),
        false => format!("↩ answers {}: {preview}", message.sender),
    }
}

/// What is written; the cursor, where the composer has the keys.
pub(super) fn composer(model: &Model, canvas: &mut Canvas<'_>, area: Rect) -> Option<Position> {
    model.pane.as_ref()?;
    if model.blocked_by().is_some() {
        banner(model, canvas, area);
        return None;
    }
    let style = canvas.theme.dim;
    let prompt = SafeText::line(PROMPT, 2);
    canvas.text(area, (area.x, 0), &prompt, style);
    let inner = Rect {
        x: area.x + 2.min(area.width),
        width: area.width.saturating_sub(2),
        ..area
    };
    if model.composer.is_empty() && model.focus != Focus::Composer {
        let way = model.wishes.keymap.way(model.mode(), Action::FocusComposer);
        let words = format!("{} to write", way.unwrap_or_default());
        canvas.row(inner, 0, &Row::of(Tone::Dim, words));
        return None;
    }
    let rows = model.composer.rows(usize::from(inner.width).max(2));
    let first = first_row(rows.cursor.0, area);
    let style = match model.focus {
        Focus::Composer => canvas.theme.text,
        _ => canvas.theme.draft,
    };
    for (line, row) in (0..area.height).zip(rows.rows.iter().skip(first)) {
        canvas.text(inner, (inner.x, line), &row.text, style);
    }
    let (row, cell) = rows.cursor;
    let x = inner.x
        + u16::try_from(cell)
            .unwrap_or(0)
            .min(inner.width.saturating_sub(1));
    let y = area.y + u16::try_from(row - first).unwrap_or(0);
    (model.focus == Focus::Composer).then_some(Position { x, y })
}

/// The first row of what is written that is shown.
fn first_row(cursor_row: usize, area: Rect) -> usize {
    cursor_row.saturating_sub(usize::from(area.height.max(1)) - 1)
}

/// What is written under a cell of the composer: its row, and a cell of that.
pub(super) fn composer_spot(model: &Model, area: Rect, at: Position) -> Spot {
    let rows = model.composer.rows(model.composer_cells);
    let first = first_row(rows.cursor.0, area);
    let row = first + usize::from(at.y.saturating_sub(area.y));
    let cell = usize::from(at.x.saturating_sub(area.x + super::PROMPT_CELLS));
    Spot::Composer(row, cell)
}

/// What a changed identity asks for, in the place of what is written.
pub(super) fn banner_rows(model: &Model, width: u16) -> Vec<Row> {
    let Some(name) = model.blocked_by() else {
        return Vec::new();
    };
    let way = |action| {
        let way = model.wishes.keymap.way(Mode::Ask, action);
        way.unwrap_or_default()
    };
    let words = format!(
        "! {name} has another identity than before, as after a new phone, or with somebody in the \
         middle. Nothing is sent until you answer. {}: compare the safety number. {}: accept it \
         unseen.",
        way(Action::Verify),
        way(Action::Accept)
    );
    wrapped(&words, width, 0)
}

fn banner(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.paint(area, canvas.theme.security);
    for (line, row) in (0..area.height).zip(banner_rows(model, area.width)) {
        canvas.row(area, line, &row);
    }
}

/// The part of the status line that is left beside the key that shows all keys.
fn status_room(model: &Model, width: u16) -> (u16, Row) {
    let help = match model.wishes.keymap.way(model.mode(), Action::Help) {
        Some(way) if model.overlay.is_none() => {
            Row::of(Tone::Key, format!(" {way}")).with(Tone::Dim, " keys ")
        }
        _ => Row::default(),
    };
    let cells = u16::try_from(help.cells()).unwrap_or(u16::MAX);
    match width.checked_sub(cells) {
        Some(room) if room >= STATUS_CELLS_MIN => (room, help),
        _ => (width, help),
    }
}

/// The connection and how much is queued: never without them, however little room there is.
fn link_row(model: &Model, width: usize) -> Row {
    let (mark, tone, words) = match &model.link {
        Link::Online if model.unanswered_s().is_some() => {
            let seconds = model.unanswered_s().unwrap_or_default();
            ("◐", Tone::Warning, format!("no answer for {seconds} s"))
        }
        Link::Online => ("●", Tone::Good, format!("{} online", own_name(model))),
        Link::Reading => ("◐", Tone::Warning, "reading".to_owned()),
        Link::Connecting => ("○", Tone::Warning, "connecting".to_owned()),
        Link::Offline(why) => ("○", Tone::Warning, format!("offline: {why}")),
        Link::GivenUp(why) => ("✗", Tone::Security, why.clone()),
    };
    let queued = match (model.list.queued(), width) {
        (0, _) => String::new(),
        (count, ..30) => format!(" {count}…"),
        (count, _) => format!(" · {count} queued"),
    };
    let queued = SafeText::line(&queued, width);
    let room = width.saturating_sub(queued.cells() + 4);
    let words = SafeText::line(&words, (width / 3).max(10).min(room));
    let row = Row::of(tone, format!(" {mark} ")).with(Tone::Text, words.as_str());
    row.with(Tone::Warning, queued.as_str())
}

/// What just happened, where it has no room in the status line: in rows of its own above it, so
/// that it neither hides the connection nor is cut.
pub(super) fn remark_rows(model: &Model, width: u16) -> Vec<Row> {
    let Some(remark) = &model.remark else {
        return Vec::new();
    };
    let (room, _) = status_room(model, width);
    let room = usize::from(room);
    let beside = on_the_way(model, link_row(model, room)).cells() + REMARK_SIGN.len();
    if beside + SafeText::line(&remark.text, usize::MAX).cells() < room {
        return Vec::new();
    }
    let layout = Layout {
        width: usize::from(width.saturating_sub(2)).max(2),
        rows_max: REMARK_ROWS_MAX,
        ..Layout::default()
    };
    let rows = text::wrap(&remark.text, layout).into_iter();
    rows.map(|row| Row::of(remark.tone, format!(" {}", row.text())))
        .collect()
}

/// What just happened, above the status line.
pub(super) fn remark(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.clear(area);
    canvas.paint(area, canvas.theme.status);
    for (line, row) in (0..area.height).zip(remark_rows(model, area.width)) {
        canvas.row(area, line, &row);
    }
}

/// The connection, what is queued, what just happened, and the keys that apply now. However little
/// room there is, the key that shows all keys has some.
pub(super) fn status(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.paint(area, canvas.theme.status);
    let (room, help) = status_room(model, area.width);
    let place = Rect {
        x: area.x + room,
        width: area.width - room,
        ..area
    };
    canvas.row(place, 0, &help);
    let above = !remark_rows(model, area.width).is_empty();
    let area = Rect {
        width: room,
        ..area
    };
    let width = usize::from(area.width);
    let row = link_row(model, width);
    let row = match (&model.remark, &model.overlay) {
        (Some(remark), _) if !above => {
            on_the_way(model, row).with(remark.tone, format!("{REMARK_SIGN}{}", remark.text))
        }
        (_, Some(_)) => hints(model, row.with(Tone::Dim, " · "), width),
        (_, None) => {
            let row = on_the_way(model, waiting(model, row));
            hints(model, row.with(Tone::Dim, " · "), width)
        }
    };
    canvas.row(area, 0, &row);
}

/// Who waits for an answer, and how much is new.
fn waiting(model: &Model, mut row: Row) -> Row {
    let asks = model.list.requests().len() + model.list.invitations().len();
    if asks > 0 {
        row = row.with(Tone::Request, format!(" · {asks} waiting for your answer"));
    }
    let unread = model.list.unread();
    if unread > 0 {
        row = row.with(Tone::Unread, format!(" · {unread} new"));
    }
    row
}

/// What runs, and which file waits to go on.
fn on_the_way(model: &Model, row: Row) -> Row {
    if let Some(running) = &model.running {
        return row.with(Tone::Key, format!(" · {}", progress(running)));
    }
    match model.paused.back() {
        Some(paused) => row.with(Tone::Key, format!(" · {} paused", paused.name())),
        None => row,
    }
}

fn progress(running: &crate::tui::model::Running) -> String {
    match &running.progress {
        Some(progress) => {
            let percent = (progress.done * 100)
                .checked_div(progress.total)
                .unwrap_or(100);
            format!("{} {percent}% of {}", progress.name, size(progress.total))
        }
        None => format!("/{}…", running.label),
    }
}

fn hints(model: &Model, mut row: Row, width: usize) -> Row {
    let hints = match &model.overlay {
        Some(overlay) => over::hints(model, overlay),
        // Here yes and no answer nothing.
        None if model.mode() == Mode::Ask => {
            let answers = [Action::Verify, Action::Accept, Action::Palette];
            let ways = answers.into_iter().filter_map(|action| {
                let way = model.wishes.keymap.way(Mode::Ask, action)?;
                Some((way, action.short()))
            });
            ways.collect()
        }
        // That of the help has its own place.
        None => {
            let keymap = &model.wishes.keymap;
            let mut hints = keymap.hints(model.mode());
            hints.retain(|(_, words)| *words != Action::Help.short());
            hints
        }
    };
    for (keys, words) in hints {
        let hint = format!(" {words}  ");
        let cells = SafeText::line(&keys, width).cells() + hint.len();
        if row.cells() + cells > width {
            break;
        }
        row = row.with(Tone::Key, keys).with(Tone::Dim, hint);
    }
    row
}
