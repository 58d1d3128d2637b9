//! Messages as rows of cells: time, delivery mark, name and text in columns, what it answers
//! above, what else there is to it below. Where there is little room the text stands below the
//! name.

use sotto_protocol::Username;

use super::piece::{Piece, Row, Tone, padded, piece};
use crate::cli::inside::Zone;
use crate::engine::api::{Direction, Message, MessageBody, ReplyTo};
use crate::safe_text::SafeText;
use crate::tui::picture::{COLUMNS_MAX, ROWS_MAX as PICTURE_ROWS_MAX, Space};
use crate::tui::text::{self, Kind, Layout};
use crate::wording;

/// The most rows of one message.
const ROWS_MAX: usize = 400;
/// Cells of the time, the mark and the name with the blanks between them.
const TIME_CELLS: usize = 6;
const MARK_CELLS: usize = 3;
const NAME_CELLS: usize = 12;
const HEAD_CELLS: usize = TIME_CELLS + MARK_CELLS + NAME_CELLS + 1;
/// With fewer cells than this the text stands below the name.
const COLUMNS_FROM: usize = 48;
/// Cells before a text below its name.
const INDENT_CELLS: usize = 2;
/// Narrower pictures are none.
const PICTURE_COLUMNS_MIN: u16 = 6;

/// What is said below a message that is too long to stand among others.
const LONGER: &str = "… more: its details show all";

/// What is said of messages that wait for an answer about a changed identity.
const HELD: &str = "queued: waits for your answer about the new identity";

/// What of a message depends on more than the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// Cells of a row.
    pub(crate) width: usize,
    pub(crate) zone: &'a Zone,
    pub(crate) me: Option<&'a Username>,
    /// Other people in the conversation.
    pub(crate) others: usize,
    /// Whether what waits to be sent waits for the person's answer, not for the connection.
    pub(crate) held: bool,
    /// Whether the delivery of this message is said in words.
    pub(crate) delivery: Delivery,
    /// What there is of its file's picture.
    pub(crate) picture: Shape,
}

/// What there is of a file's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing.
    Nothing,
    /// It is there and not shown.
    Held,
    /// It takes so many rows.
    Rows(u16),
}

/// Columns and rows that a picture may take where messages have so many cells and rows; `None`
/// where there is no room for pictures.
pub(crate) fn picture_room((width, height): (usize, usize)) -> Option<Space> {
    let indent = if width >= COLUMNS_FROM {
        HEAD_CELLS
    } else {
        INDENT_CELLS
    };
    let columns = u16::try_from(width.saturating_sub(indent)).unwrap_or(COLUMNS_MAX);
    let rows = u16::try_from(height * 2 / 3).unwrap_or(PICTURE_ROWS_MAX);
    (columns >= PICTURE_COLUMNS_MIN && rows >= 2)
        .then_some((columns.min(COLUMNS_MAX), rows.min(PICTURE_ROWS_MAX)))
}

/// How a message's way is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Delivery {
    /// By its mark.
    Mark,
    /// In words too: it is the last own one.
    Words,
}

/// How far an own message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Queued,
    Sent,
    Delivered,
    Read,
}

impl Reach {
    /// Of an own message; `None` for others'.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        match (message.direction, message.seq) {
            (Direction::Incoming, _) => None,
            (Direction::Outgoing, 0) => Some(Self::Queued),
            _ if message.details.read_by > 0 => Some(Self::Read),
            _ if message.details.delivered_to > 0 => Some(Self::Delivered),
            _ => Some(Self::Sent),
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Queued => "…  ",
            Self::Sent => "✓  ",
            Self::Delivered | Self::Read => "✓✓ ",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Queued => Tone::Warning,
            Self::Sent | Self::Delivered => Tone::Dim,
            Self::Read => Tone::Good,
        }
    }

    /// In words.
    pub(crate) fn words(self, message: &Message, others: usize) -> String {
        let of = |number: u64| match others {
            0 | 1 => String::new(),
            others => format!(" by {number} of {others}"),
        };
        match self {
            Self::Queued => "queued: goes out with the connection".to_owned(),
            Self::Sent => "sent".to_owned(),
            Self::Delivered => format!("delivered{}", of(message.details.delivered_to)),
            Self::Read => format!("read{}", of(message.details.read_by)),
        }
    }
}

/// A message's time for people: the server's, or the sender's while there is none.
pub(crate) const fn time_of(message: &Message) -> u64 {
    match message.stored_at_ms {
        0 => message.sent_at_ms,
        stored => stored,
    }
}

/// `12:34` of a time.
pub(crate) fn clock(zone: &Zone, at_ms: u64) -> String {
    let whole = zone.date_and_time(at_ms);
    whole.get(11..).unwrap_or_default().to_owned()
}

/// `2026-11-20` of a time.
pub(crate) fn day(zone: &Zone, at_ms: u64) -> String {
    let whole = zone.date_and_time(at_ms);
    whole.get(..10).unwrap_or_default().to_owned()
}

/// The rows of a message.
pub(crate) fn message_rows(message: &Message, setting: &Setting<'_>) -> Vec<Row> {
    let columns = setting.width >= COLUMNS_FROM;
    let reach = Reach::of(message);
    let (mark, mark_tone) = reach.map_or(("   ", Tone::Dim), |reach| (reach.mark(), reach.tone()));
    let name_tone = match message.direction {
        Direction::Outgoing => Tone::Own,
        Direction::Incoming => Tone::Other,
    };
    let time = format!("{} ", clock(setting.zone, time_of(message)));
    let name = message.sender.as_str();
    let head = Row::of(Tone::Dim, time).with(mark_tone, mark);
    let (head, indent) = if columns {
        let name = format!("{} ", padded(name, NAME_CELLS));
        (head.with(name_tone, name), HEAD_CELLS)
    } else {
        (head.with(name_tone, name), INDENT_CELLS.min(setting.width))
    };
    let body = body_rows(
        message,
        setting,
        setting.width.saturating_sub(indent).max(1),
    );
    let margin = " ".repeat(indent);
    let indented = |mut row: Row| {
        row.pieces.insert(0, piece(Tone::Dim, &margin));
        row
    };
    let mut rows = Vec::with_capacity(body.len() + 1);
    let mut body = body.into_iter();
    if columns {
        let mut first = head;
        first.pieces.extend(body.next().unwrap_or_default().pieces);
        rows.push(first);
    } else {
        rows.push(head);
    }
    rows.extend(body.map(indented));
    rows
}

/// Letters that stand for nothing: blanks, fillers of Hangul, the empty pattern of Braille.
const BLANKS: [char; 5] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{2800}'];

/// Whether a text shows nothing.
fn is_invisible(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_whitespace() || BLANKS.contains(&c))
}

/// What a message says, with what stands above and below.
fn body_rows(message: &Message, setting: &Setting<'_>, width: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(reply) = &message.details.reply {
        rows.push(Row::from(Piece {
            text: SafeText::line(&quoted(reply), width),
            tone: Tone::Quote,
        }));
    }
    match &message.body {
        MessageBody::Text(text) if is_invisible(text) => {
            rows.push(Row::of(Tone::Dim, "(nothing that can be seen)"));
        }
        MessageBody::Text(text) => {
            rows.extend(text_rows(text, width, message, setting.me));
        }
        MessageBody::Attachment(file) => {
            let held = match setting.picture {
                Shape::Held => ", not shown",
                Shape::Nothing | Shape::Rows(_) => "",
            };
            let line = format!("[{}, {}{held}]", file.name, size(file.size));
            rows.push(Row::from(Piece {
                text: SafeText::line(&line, width),
                tone: Tone::Link,
            }));
            if let Shape::Rows(count) = setting.picture {
                rows.extend((0..count).map(|row| Row {
                    picture: Some(row),
                    ..Row::default()
                }));
            }
            if !file.caption.is_empty() {
                rows.extend(text_rows(&file.caption, width, message, setting.me));
            }
        }
        MessageBody::Deleted => rows.push(Row::of(Tone::Dim, "(taken back)")),
        MessageBody::Unknown => rows.push(Row::of(Tone::Dim, "(a newer kind of message)")),
    }
    if rows.len() > ROWS_MAX {
        rows.truncate(ROWS_MAX);
        let layout = Layout {
            width,
            ..Layout::default()
        };
        let more = text::wrap(LONGER, layout).into_iter();
        rows.extend(more.map(|row| Row::of(Tone::Key, row.text())));
    }
    if let Some(notes) = wording::notes(message) {
        rows.push(Row::from(Piece {
            text: SafeText::line(&notes, width),
            tone: Tone::Reaction,
        }));
    }
    if let (Delivery::Words, Some(reach)) = (setting.delivery, Reach::of(message)) {
        let words = match reach {
            Reach::Queued if setting.held => HELD.to_owned(),
            reach => reach.words(message, setting.others),
        };
        rows.push(Row::from(Piece {
            text: SafeText::line(&words, width),
            tone: reach.tone(),
        }));
    }
    rows
}

/// A text in rows, what speaks to somebody by name and addresses apart.
fn text_rows(said: &str, width: usize, message: &Message, me: Option<&Username>) -> Vec<Row> {
    let layout = Layout {
        first_cells: 0,
        width,
        // One more says that there is more.
        rows_max: ROWS_MAX + 1,
        mentions: &message.details.mentions,
        me,
    };
    let rows = text::wrap(said, layout).into_iter();
    rows.map(|row| Row {
        pieces: row
            .pieces
            .into_iter()
            .map(|piece| Piece {
                tone: match piece.kind {
                    Kind::Plain => Tone::Text,
                    Kind::Link => Tone::Link,
                    Kind::Mention => Tone::Found,
                    Kind::Me => Tone::Mention,
                },
                text: piece.text,
            })
            .collect(),
        picture: None,
    })
    .collect()
}

/// What an answer answers, in one line.
pub(crate) fn quoted(reply: &ReplyTo) -> String {
    match (&reply.sender, &reply.quote) {
        (Some(sender), Some(quote)) => format!("↩ {sender}: {quote}"),
        (Some(sender), None) => format!("↩ a message of {sender} that was taken back"),
        (None, Some(quote)) => format!("↩ quotes: {quote}"),
        (None, None) => "↩ a message that is not here".to_owned(),
    }
}

/// A message in one line, for lists.
pub(crate) fn preview(message: &Message) -> String {
    let said = match &message.body {
        MessageBody::Text(text) => text.clone(),
        MessageBody::Attachment(file) => format!("[{}] {}", file.name, file.caption),
        MessageBody::Deleted => "(taken back)".to_owned(),
        MessageBody::Unknown => "(a newer kind of message)".to_owned(),
    };
    match message.direction {
        Direction::Outgoing => format!("you: {said}"),
        Direction::Incoming if message.talk.group().is_some() => {
            format!("{}: {said}", message.sender)
        }
        Direction::Incoming => said,
    }
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}
