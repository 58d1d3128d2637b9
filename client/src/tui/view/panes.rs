//! The panes: conversations, messages, members.

use std::rc::Rc;

use ratatui::layout::{Position, Rect};

use super::Placed;
use super::canvas::Canvas;
use crate::engine::api::{Chat, GroupMember, Invitation, Keep, MemberTrust, role_name};
use crate::safe_text::SafeText;
use crate::tui::model::list::Entry;
use crate::tui::model::mouse::Spot;
use crate::tui::model::piece::{Row, Tone, padded};
use crate::tui::model::rows::preview;
use crate::tui::model::{Focus, Model};
use sotto_roster::Role;

/// Whether a pane has a line at its left edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Ruled,
    Bare,
}

impl Edge {
    /// Of the messages on a screen so wide.
    pub(super) const fn on(columns: u16) -> Self {
        if columns >= super::TWO_FROM {
            Self::Ruled
        } else {
            Self::Bare
        }
    }
}

/// What is left of a pane beside the line at its left.
pub(super) fn inside(area: Rect, edge: Edge) -> Rect {
    let ruled = u16::from(edge == Edge::Ruled).min(area.width);
    Rect {
        x: area.x + ruled,
        width: area.width - ruled,
        ..area
    }
}

/// Whether a conversation is the one that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

/// The first line of a list that is shown, so that the marked one is among them.
pub(super) fn first_shown(marked: usize, height: usize) -> usize {
    marked.saturating_sub(height.saturating_sub(1))
}

/// The list of conversations.
pub(super) fn chats(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let entries = model.list.entries();
    if entries.is_empty() {
        empty(model, canvas, area);
        return;
    }
    let marked = model.list.marked().unwrap_or(0);
    let height = usize::from(area.height);
    let first = first_shown(marked, height);
    let cells = usize::from(area.width).saturating_sub(1);
    let open = model.pane.as_ref().map(|pane| &pane.talk);
    let shown = entries.iter().enumerate().skip(first).take(height);
    for (line, (place, entry)) in (0u16..).zip(shown) {
        let row = match entry {
            Entry::Request(request) => Row::of(
                Tone::Request,
                padded(&format!("? {} asks", request.from), cells),
            ),
            Entry::Invitation(invitation) => {
                Row::of(Tone::Request, padded(&invited(invitation), cells))
            }
            Entry::Chat(chat) if open == Some(&chat.talk) => chat_row(chat, cells, Open::Yes),
            Entry::Chat(chat) => chat_row(chat, cells, Open::No),
        };
        canvas.row(area, line, &row);
        if place == marked && model.focus == Focus::Chats {
            let line = Rect::new(area.x, area.y + line, area.width, 1);
            canvas.paint(line, canvas.theme.selected);
        }
    }
}

fn invited(invitation: &Invitation) -> String {
    match &invitation.title {
        Some(title) => format!("? {} invites to #{title}", invitation.from),
        None => format!("? {} invites", invitation.from),
    }
}

/// One conversation: its name, what is new, what was begun or said last.
fn chat_row(chat: &Chat, cells: usize, open: Open) -> Row {
    let mut badge = String::new();
    if chat.mentions > 0 {
        badge.push_str(&format!(" @{}", chat.mentions));
    }
    if chat.unread > 0 {
        badge.push_str(&format!(" ({})", chat.unread));
    }
    if chat.queued > 0 {
        badge.push_str(" …");
    }
    if chat.mute.is_some() {
        badge.push_str(" -");
    }
    let draft = chat.draft.is_some() && open == Open::No;
    if draft {
        badge.push_str(" ✎");
    }
    let badge = SafeText::line(&badge, cells);
    let mark = if open == Open::Yes { "▸ " } else { "  " };
    let unsaved = if chat.keep == Keep::Unsaved { "~" } else { "" };
    let name = format!("{unsaved}{}", chat.talk.label(chat.title.as_deref()));
    let tone = match (chat.mentions, chat.unread) {
        (1.., _) => Tone::Mention,
        (0, 1..) => Tone::Unread,
        _ => Tone::Text,
    };
    let room = cells.saturating_sub(2 + badge.cells());
    let name = SafeText::line(&name, room);
    let mut row = Row::of(Tone::Dim, mark).with(tone, name.as_str());
    let left = room.saturating_sub(name.cells());
    // The beginning of what was said last, where there is room for more than a word.
    let said = chat.last.as_ref().map(preview).unwrap_or_default();
    if left > 8 && !said.is_empty() {
        row = row.with(Tone::Dim, padded(&format!("  {said}"), left));
    } else {
        row = row.with(Tone::Dim, " ".repeat(left));
    }
    row.with(tone, badge.as_str())
}

/// What to do where there is no conversation yet.
fn empty(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    use crate::tui::keys::{Action, Mode};
    let way = |action| {
        model
            .wishes
            .keymap
            .way(Mode::List, action)
            .unwrap_or_default()
    };
    let rows = [
        Row::of(Tone::Dim, "nobody here yet"),
        Row::of(Tone::Key, way(Action::People)).with(Tone::Dim, " people"),
        Row::of(Tone::Key, way(Action::Rooms)).with(Tone::Dim, " rooms"),
        Row::of(Tone::Key, way(Action::Help)).with(Tone::Dim, " keys"),
    ];
    for (line, row) in (0..area.height).zip(&rows) {
        canvas.row(area, line, row);
    }
}

/// The messages of the open conversation.
pub(super) fn messages(model: &Model, canvas: &mut Canvas<'_>, (area, edge): (Rect, Edge)) {
    let focused = model.focus != Focus::Chats && model.overlay.is_none();
    let border = match focused {
        true => canvas.theme.border_focused,
        false => canvas.theme.border,
    };
    if edge == Edge::Ruled {
        canvas.rule(area, border);
    }
    let area = inside(area, edge);
    let Some(pane) = &model.pane else {
        return;
    };
    if !pane.is_loaded() {
        canvas.row(area, 0, &Row::of(Tone::Dim, "reading…"));
        return;
    }
    let shown = pane.shown();
    if shown.is_empty() {
        nothing_yet(model, canvas, area);
    }
    let start = first_line(area, shown.len());
    for (line, row) in (start..area.height).zip(&shown) {
        canvas.row(area, line, &row.row);
        if row.selected && model.focus == Focus::Messages {
            let line = Rect::new(area.x, area.y + line, area.width, 1);
            canvas.paint(line, canvas.theme.selected);
        }
    }
    for placed in placed(model, area) {
        canvas.picture(&placed);
    }
    let below = pane.below();
    if below > 0 && area.height > 1 {
        let words = SafeText::line(&format!(" ↓ {below} more rows "), usize::from(area.width));
        let cells = u16::try_from(words.cells()).unwrap_or(area.width);
        let x = area.right().saturating_sub(cells).max(area.x);
        let style = canvas.theme.status;
        canvas.text(area, (x, area.height - 1), &words, style);
    }
}

/// The line of a pane where its first row stands: what is there stands at the bottom, above what
/// is written.
fn first_line(area: Rect, rows: usize) -> u16 {
    area.height
        .saturating_sub(u16::try_from(rows).unwrap_or(u16::MAX))
}

/// Pictures that are on the screen, and where: inside of the messages' pane.
pub(super) fn placed(model: &Model, area: Rect) -> Vec<Placed> {
    let Some(pane) = model.pane.as_ref().filter(|_| !model.gallery.is_empty()) else {
        return Vec::new();
    };
    let shown = pane.shown();
    let start = first_line(area, shown.len());
    let mut all: Vec<Placed> = Vec::new();
    for (line, shown) in (start..area.height).zip(&shown) {
        let (Some(which), Some(row)) = (shown.file, shown.row.picture) else {
            continue;
        };
        if let Some(last) = all.last_mut().filter(|last| last.which == which) {
            last.rows.end = row + 1;
            last.area.height += 1;
        } else if let Some(picture) = model.gallery.picture(&which) {
            let indent = u16::try_from(shown.row.cells()).unwrap_or(area.width);
            let indent = indent.min(area.width);
            all.push(Placed {
                which,
                picture: Rc::clone(picture),
                rows: row..row + 1,
                area: Rect {
                    x: area.x + indent,
                    y: area.y + line,
                    width: area.width - indent,
                    height: 1,
                },
            });
        }
    }
    all.retain(|placed| !is_disturbed(model, placed, area));
    all
}

/// Whether something else is drawn on a picture that covers cells, or a part of it has no room:
/// it is not drawn then.
fn is_disturbed(model: &Model, placed: &Placed, area: Rect) -> bool {
    if !placed.picture.covers() {
        return false;
    }
    let whole = placed.rows == (0..placed.picture.size().height);
    let over = model.overlay.is_some() || model.pending_keys().is_some();
    let below = model.pane.as_ref().is_some_and(|pane| pane.below() > 0);
    !whole || over || (below && placed.area.bottom() >= area.bottom())
}

/// What is under a cell of the messages' pane.
pub(super) fn message_spot(model: &Model, (area, edge): (Rect, Edge), at: Position) -> Spot {
    let area = inside(area, edge);
    let rows = model.pane.as_ref().map_or(0, |pane| pane.shown().len());
    let start = usize::from(first_line(area, rows));
    let line = usize::from(at.y.saturating_sub(area.y));
    match line.checked_sub(start) {
        Some(row) if row < rows => Spot::Message(row),
        _ => Spot::Messages,
    }
}

/// What is under a cell of the list of conversations.
pub(super) fn chat_spot(model: &Model, area: Rect, at: Position) -> Spot {
    let marked = model.list.marked().unwrap_or(0);
    let first = first_shown(marked, usize::from(area.height));
    let place = first + usize::from(at.y.saturating_sub(area.y));
    if place < model.list.entries().len() {
        Spot::Chat(place)
    } else {
        Spot::Chats
    }
}

/// What to do where nothing was said yet.
fn nothing_yet(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    use crate::tui::keys::{Action, Mode};
    let alone = model
        .pane
        .as_ref()
        .is_some_and(|pane| pane.overview.members.len() == 1);
    let words = match alone {
        true => "Only you read what stands here, on all your devices.",
        false => "Nothing was said here yet.",
    };
    let way = |action| {
        let way = model.wishes.keymap.way(Mode::Compose, action);
        way.unwrap_or_default()
    };
    let mut rows = vec![Row::of(Tone::Dim, words), Row::default()];
    for (action, words) in [
        (Action::People, " people whom you can write to"),
        (Action::Rooms, " rooms that you can enter"),
        (Action::Palette, " another conversation, or a new one"),
        (Action::Help, " all keys"),
    ] {
        rows.push(Row::of(Tone::Key, way(action)).with(Tone::Dim, words));
    }
    let width = usize::from(area.width);
    let rows = rows.iter().flat_map(|row| row.wrapped(width));
    for (line, row) in (0..area.height).zip(rows) {
        canvas.row(area, line, &row);
    }
}

/// Who is in a group.
pub(super) fn members(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.rule(area, canvas.theme.border);
    let area = inside(area, Edge::Ruled);
    let Some(pane) = &model.pane else {
        return;
    };
    let members = &pane.overview.members;
    let cells = usize::from(area.width);
    let head = match members.len() {
        1 => " 1 member".to_owned(),
        count => format!(" {count} members"),
    };
    canvas.row(area, 0, &Row::of(Tone::Dim, padded(&head, cells)));
    let mut sorted: Vec<&GroupMember> = members.iter().collect();
    let rank = |role: Role| match role {
        Role::Owner => 0,
        Role::Admin => 1,
        Role::Member => 2,
    };
    sorted.sort_by_key(|member| (rank(member.role), member.name.as_str().to_owned()));
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let from = model.members_from.min(sorted.len().saturating_sub(room));
    for (line, member) in (1..area.height).zip(sorted.into_iter().skip(from)) {
        canvas.row(area, line, &member_row(member, cells));
    }
}

fn member_row(member: &GroupMember, cells: usize) -> Row {
    let (mark, tone) = match member.trust {
        MemberTrust::Own => (" ", Tone::Own),
        MemberTrust::Verified => ("✓", Tone::Good),
        MemberTrust::Pinned => (" ", Tone::Text),
        MemberTrust::Changed => ("!", Tone::Security),
    };
    let role = match member.role {
        Role::Member => "",
        role => role_name(role),
    };
    let waiting = if member.seen || member.trust == MemberTrust::Own {
        ""
    } else {
        " invited"
    };
    let note = format!("{role}{waiting}");
    let room = cells.saturating_sub(3 + SafeText::line(&note, cells).cells());
    Row::of(tone, format!(" {mark}"))
        .with(tone, padded(member.name.as_str(), room))
        .with(Tone::Dim, format!(" {note}"))
}
