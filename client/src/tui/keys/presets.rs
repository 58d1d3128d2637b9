//! The three presets as tables: where, what, and by which keys.
//!
//! Nothing but tables; the tests hold them to the rules of [`super::load`].

use super::Action::{self, *};
use super::Layer::{self, Everywhere, In};
use super::Mode::{Ask, Browse, Compose, Form, List, Palette};
use super::{Binding, Key, Mode, Preset};

/// What is done by which keys; several ways are separated by a blank bar.
type Table = &'static [(Layer, Action, &'static str)];

/// In every preset, and in every mode but forms.
const GENERAL: Table = &[
    (Everywhere, Help, "f1"),
    (Everywhere, Commands, "f2 | alt-x"),
    (Everywhere, Members, "f3"),
    (Everywhere, ToggleMembers, "f4"),
    (Everywhere, Requests, "f5"),
    (Everywhere, FocusNext, "f6"),
    (Everywhere, FocusPrevious, "shift-f6"),
    (Everywhere, People, "f7"),
    (Everywhere, Rooms, "f8"),
    (Everywhere, Pins, "f10"),
    (Everywhere, Devices, "f9"),
    (Everywhere, Settings, "f12"),
    (Everywhere, Redraw, "ctrl-l"),
    (Everywhere, Suspend, "ctrl-z"),
    (Everywhere, NextUnread, "alt-a"),
    (Everywhere, PageUp, "page-up"),
    (Everywhere, PageDown, "page-down"),
    (Everywhere, Top, "ctrl-home"),
    (Everywhere, Bottom, "ctrl-end"),
    (In(Browse), Up, "up"),
    (In(Browse), Down, "down"),
    (In(Browse), Confirm, "enter"),
    (In(Browse), FocusNext, "tab"),
    (In(Browse), FocusPrevious, "shift-tab"),
    (In(Browse), Help, "?"),
    (In(Browse), Accept, "alt-y"),
    (In(List), Up, "up"),
    (In(List), Down, "down"),
    (In(List), Confirm, "enter"),
    (In(List), FocusNext, "tab"),
    (In(List), FocusPrevious, "shift-tab"),
    (In(List), Help, "?"),
    (In(List), Accept, "alt-y"),
    (In(Palette), Up, "up | ctrl-p"),
    (In(Palette), Down, "down | ctrl-n"),
    (In(Palette), Confirm, "enter"),
    (In(Palette), Accept, "alt-y"),
    (In(Palette), Decline, "alt-n"),
    (In(Palette), Block, "alt-!"),
    (In(Compose), Send, "enter"),
    (In(Compose), NewLine, "alt-enter | shift-enter | ctrl-j"),
    (In(Compose), Complete, "tab"),
    (In(Compose), CompletePrevious, "shift-tab"),
    (In(Form), Help, "f1"),
    (In(Form), Redraw, "ctrl-l"),
    (In(Form), Confirm, "enter"),
    (In(Form), FocusNext, "tab | down"),
    (In(Form), FocusPrevious, "shift-tab | up"),
    (In(Ask), Yes, "y"),
    (In(Ask), No, "n"),
    (In(Ask), Accept, "alt-y"),
    (In(Ask), AcceptUnsaved, "u"),
    (In(Ask), Block, "alt-!"),
    (In(Ask), Up, "up"),
    (In(Ask), Down, "down"),
];

/// Wherever text is typed, in every preset.
const EDITING: &[(Action, &str)] = &[
    (Left, "left"),
    (Right, "right"),
    (WordLeft, "ctrl-left | alt-b"),
    (WordRight, "ctrl-right | alt-f"),
    (LineStart, "home | ctrl-a"),
    (LineEnd, "end | ctrl-e"),
    (DeleteBack, "backspace | ctrl-h"),
    (DeleteForward, "delete | ctrl-d"),
    (DeleteWord, "ctrl-w | alt-backspace"),
    (Yank, "ctrl-y"),
    (Undo, "ctrl-_ | alt-z"),
    (Redo, "alt-_ | alt-Z"),
];

const DEFAULT: Table = &[
    (Everywhere, Action::Palette, "ctrl-k"),
    (Everywhere, Back, "esc"),
    (Everywhere, Quit, "ctrl-q | ctrl-c"),
    (Everywhere, Lock, "alt-l"),
    (Everywhere, NextChat, "ctrl-n | alt-down"),
    (Everywhere, PreviousChat, "ctrl-p | alt-up"),
    (Everywhere, FocusChats, "alt-c"),
    (Everywhere, FocusMessages, "ctrl-up"),
    (Everywhere, FocusComposer, "ctrl-down"),
    (Everywhere, SearchHere, "ctrl-f"),
    (Everywhere, Search, "alt-s"),
    (Everywhere, Verify, "alt-v"),
    (In(Compose), HistoryPrevious, "up"),
    (In(Compose), HistoryNext, "down"),
    (In(Compose), EditLast, "alt-e"),
    (In(Compose), OpenEditor, "ctrl-o"),
    (In(Compose), Attach, "ctrl-t"),
    (In(Form), Back, "esc"),
    (In(Form), Quit, "ctrl-q | ctrl-c"),
    (In(Browse), Top, "home"),
    (In(Browse), Bottom, "end"),
    (In(Browse), FocusComposer, "i"),
    (In(Browse), SearchHere, "/"),
    (In(Browse), Reply, "r"),
    (In(Browse), Edit, "e"),
    (In(Browse), Delete, "d | delete"),
    (In(Browse), React, "+"),
    (In(Browse), Copy, "c"),
    (In(Browse), Save, "s"),
    (In(Browse), Details, "space"),
    (In(Browse), Forward, "f"),
    (In(Browse), Pin, "p"),
    (In(Browse), ShowPicture, "v"),
    (In(Browse), JumpToReply, "o"),
    (In(Browse), Transfer, "t"),
    (In(List), Top, "home"),
    (In(List), Bottom, "end"),
    (In(List), FocusComposer, "i"),
    (In(List), Action::Palette, "/"),
];

const VIM: Table = &[
    (Everywhere, Action::Palette, "ctrl-k"),
    (Everywhere, Back, "esc | ctrl-c"),
    (Everywhere, Quit, "ctrl-q"),
    (Everywhere, Lock, "alt-l"),
    (Everywhere, NextChat, "alt-down"),
    (Everywhere, PreviousChat, "alt-up"),
    (Everywhere, Verify, "alt-v"),
    (Everywhere, Search, "alt-s"),
    (In(Compose), HistoryPrevious, "up"),
    (In(Compose), HistoryNext, "down"),
    (In(Compose), EditLast, "alt-e"),
    (In(Compose), OpenEditor, "ctrl-o"),
    (In(Compose), Attach, "ctrl-t"),
    (In(Compose), Complete, "ctrl-n"),
    (In(Compose), CompletePrevious, "ctrl-p"),
    (In(Form), Back, "esc | ctrl-c"),
    (In(Form), Quit, "ctrl-q"),
    (In(Browse), Up, "k"),
    (In(Browse), Down, "j"),
    (In(Browse), PageUp, "ctrl-u | ctrl-b"),
    (In(Browse), PageDown, "ctrl-d | ctrl-f"),
    (In(Browse), Top, "g g"),
    (In(Browse), Bottom, "G"),
    (In(Browse), FocusComposer, "i | a"),
    (In(Browse), FocusChats, "h | ctrl-w h"),
    (In(Browse), FocusNext, "ctrl-w w | ctrl-w l"),
    (In(Browse), NextChat, "g t"),
    (In(Browse), PreviousChat, "g T"),
    (In(Browse), NextUnread, "] u"),
    (In(Browse), SearchHere, "/"),
    (In(Browse), Commands, ":"),
    (In(Browse), Quit, "Z Z"),
    (In(Browse), Reply, "r"),
    (In(Browse), Edit, "c c"),
    (In(Browse), Delete, "d d"),
    (In(Browse), React, "+"),
    (In(Browse), Copy, "y y"),
    (In(Browse), Save, "s"),
    (In(Browse), Details, "K"),
    (In(Browse), Forward, "f"),
    (In(Browse), Pin, "p"),
    (In(Browse), ShowPicture, "v"),
    (In(Browse), JumpToReply, "g d"),
    (In(Browse), Transfer, "t"),
    (In(List), Up, "k"),
    (In(List), Down, "j"),
    (In(List), Top, "g g"),
    (In(List), Bottom, "G"),
    (In(List), FocusMessages, "l | ctrl-w l"),
    (In(List), FocusNext, "ctrl-w w"),
    (In(List), FocusComposer, "i | a"),
    (In(List), NextUnread, "] u"),
    (In(List), Action::Palette, "/"),
    (In(List), Commands, ":"),
    (In(List), Quit, "Z Z"),
];

const EMACS: Table = &[
    (Everywhere, Help, "ctrl-x ?"),
    (Everywhere, Action::Palette, "ctrl-x b"),
    (Everywhere, Back, "ctrl-g | esc"),
    (Everywhere, Quit, "ctrl-x ctrl-c"),
    (Everywhere, Lock, "ctrl-x l"),
    (Everywhere, FocusNext, "ctrl-x o"),
    (Everywhere, FocusChats, "ctrl-x ctrl-b"),
    (Everywhere, FocusMessages, "ctrl-x m"),
    (Everywhere, FocusComposer, "ctrl-x i"),
    (Everywhere, NextChat, "alt-n"),
    (Everywhere, PreviousChat, "alt-p"),
    (Everywhere, PageUp, "alt-v"),
    (Everywhere, PageDown, "ctrl-v"),
    (Everywhere, Top, "alt-<"),
    (Everywhere, Bottom, "alt->"),
    (Everywhere, SearchHere, "ctrl-s"),
    (Everywhere, Search, "alt-s"),
    (Everywhere, Verify, "ctrl-x v"),
    (In(Compose), HistoryPrevious, "up | ctrl-p"),
    (In(Compose), HistoryNext, "down | ctrl-n"),
    (In(Compose), EditLast, "alt-e"),
    (In(Compose), OpenEditor, "ctrl-x ctrl-e"),
    (In(Compose), Attach, "ctrl-x ctrl-f"),
    (In(Form), Back, "ctrl-g | esc"),
    (In(Form), Quit, "ctrl-x ctrl-c"),
    (In(Browse), Up, "p | ctrl-p"),
    (In(Browse), Down, "n | ctrl-n"),
    (In(Browse), Reply, "r"),
    (In(Browse), Edit, "e"),
    (In(Browse), Delete, "d"),
    (In(Browse), React, "+"),
    (In(Browse), Copy, "alt-w"),
    (In(Browse), Save, "s | ctrl-x ctrl-s"),
    (In(Browse), Details, "space"),
    (In(Browse), Forward, "f"),
    (In(Browse), Pin, "!"),
    (In(Browse), ShowPicture, "v"),
    (In(Browse), JumpToReply, "alt-."),
    (In(Browse), Transfer, "t"),
    (In(List), Up, "p | ctrl-p"),
    (In(List), Down, "n | ctrl-n"),
];

/// Editing keys that the presets do not share.
const fn own_editing(preset: Preset) -> &'static [(Action, &'static str)] {
    match preset {
        Preset::Default | Preset::Vim => &[(DeleteToStart, "ctrl-u"), (DeleteToEnd, "alt-k")],
        Preset::Emacs => &[
            (Left, "ctrl-b"),
            (Right, "ctrl-f"),
            (DeleteToStart, "ctrl-x backspace"),
            (DeleteToEnd, "ctrl-k"),
            (Undo, "ctrl-x u"),
        ],
    }
}

/// All bindings of a preset.
pub(super) fn bindings(preset: Preset) -> Vec<Binding> {
    let own = match preset {
        Preset::Default => DEFAULT,
        Preset::Vim => VIM,
        Preset::Emacs => EMACS,
    };
    let editing = Mode::ALL
        .iter()
        .filter(|mode| mode.takes_text())
        .flat_map(|mode| {
            let lines = EDITING.iter().chain(own_editing(preset));
            lines.map(|(action, ways)| (In(*mode), *action, *ways))
        });
    let lines = own.iter().chain(GENERAL).copied();
    lines
        .chain(editing)
        .flat_map(|(layer, action, ways)| {
            // What is written above names keys, as a test checks.
            let ways = ways.split(" | ").filter_map(|way| Key::sequence(way).ok());
            ways.map(move |keys| Binding {
                layer,
                keys,
                action,
            })
        })
        .collect()
}

/// Every way that is written above, for the test that all of them name keys.
#[cfg(test)]
pub(super) fn written() -> Vec<&'static str> {
    let tables = [GENERAL, DEFAULT, VIM, EMACS];
    let lines = tables.into_iter().flatten().map(|(_, _, ways)| *ways);
    let editing = Preset::ALL.iter().flat_map(|preset| own_editing(*preset));
    lines
        .chain(EDITING.iter().chain(editing).map(|(_, ways)| *ways))
        .flat_map(|ways| ways.split(" | "))
        .collect()
}
