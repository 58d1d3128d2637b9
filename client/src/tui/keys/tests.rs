//! Tests of the keys: the presets hold their own rules, settings that do not go together are
//! named, and a key is found whatever was bound.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::load::{Ways, judge};
use super::*;

fn keys(text: &str) -> Vec<Key> {
    Key::sequence(text).unwrap()
}

fn event(text: &str) -> KeyEvent {
    let (code, modifiers) = match text {
        "shift-tab" => (KeyCode::BackTab, KeyModifiers::SHIFT),
        "ctrl-k" => (KeyCode::Char('k'), KeyModifiers::CONTROL),
        "G" => (KeyCode::Char('G'), KeyModifiers::SHIFT),
        "g" => (KeyCode::Char('g'), KeyModifiers::NONE),
        "ctrl-7" => (KeyCode::Char('7'), KeyModifiers::CONTROL),
        other => panic!("{other}"),
    };
    KeyEvent::new(code, modifiers)
}

fn settings(text: &str) -> Overrides {
    toml::from_str(text).unwrap()
}

fn conflicts(preset: Preset, text: &str) -> Vec<String> {
    match Keymap::load(preset, &settings(text)) {
        Ok(_) => Vec::new(),
        Err(error) => error.conflicts.iter().map(Conflict::to_string).collect(),
    }
}

#[test]
fn every_way_of_the_presets_names_keys() {
    for way in presets::written() {
        assert!(Key::sequence(way).is_ok(), "{way}");
    }
}

#[test]
fn presets_have_no_conflicts_and_reach_every_action() {
    for preset in Preset::ALL {
        let conflicts = judge(&Keymap::preset(*preset));
        let named: Vec<String> = conflicts.iter().map(Conflict::to_string).collect();
        assert!(named.is_empty(), "{preset:?}: {named:#?}");
    }
}

#[test]
fn every_action_is_in_the_key_help_of_every_preset() {
    for preset in Preset::ALL {
        let keymap = Keymap::preset(*preset);
        let helped: BTreeSet<Action> = Mode::ALL
            .iter()
            .flat_map(|mode| keymap.help(*mode))
            .map(|line| line.action)
            .collect();
        for action in Action::ALL {
            assert!(helped.contains(action), "{preset:?} {action:?}");
        }
    }
}

#[test]
fn names_and_help_are_complete_and_different() {
    let names: BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
    let helps: BTreeSet<_> = Action::ALL.iter().map(|action| action.help()).collect();
    assert_eq!(names.len(), Action::ALL.len());
    assert_eq!(helps.len(), Action::ALL.len());
    for action in Action::ALL {
        assert_eq!(Action::named(action.name()), Some(*action));
        assert!(action.help().len() <= 64, "{action:?}: one line");
        assert!(action.short().len() <= 14, "{action:?}");
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(action.name().chars().all(plain), "{action:?}");
    }
}

#[test]
fn everything_that_a_help_line_says_is_true() {
    for preset in Preset::ALL {
        let keymap = Keymap::preset(*preset);
        for mode in Mode::ALL {
            for binding in keymap.effective(*mode) {
                let found = keymap.find(*mode, &binding.keys);
                assert_eq!(found, Found::Action(binding.action), "{preset:?} {mode:?}");
                for begun in 1..binding.keys.len() {
                    let found = keymap.find(*mode, &binding.keys[..begun]);
                    assert_eq!(found, Found::Prefix, "{preset:?} {mode:?} {binding:?}");
                }
            }
        }
    }
}

#[test]
fn the_status_line_has_something_to_say_in_every_mode() {
    for preset in Preset::ALL {
        let keymap = Keymap::preset(*preset);
        for mode in Mode::ALL {
            assert!(keymap.hints(*mode).len() >= 2, "{preset:?} {mode:?}");
        }
    }
}

#[test]
fn keys_are_read_from_events() {
    let keymap = Keymap::preset(Preset::Vim);
    let found = |mode, keys: &[&str]| {
        let events: Vec<KeyEvent> = keys.iter().map(|key| event(key)).collect();
        keymap.action(mode, &events)
    };
    assert_eq!(found(Mode::Browse, &["g"]), Found::Prefix);
    assert_eq!(found(Mode::Browse, &["g", "g"]), Found::Action(Action::Top));
    assert_eq!(found(Mode::Browse, &["G"]), Found::Action(Action::Bottom));
    assert_eq!(found(Mode::Compose, &["g"]), Found::None);
    assert_eq!(
        found(Mode::Compose, &["ctrl-k"]),
        Found::Action(Action::Palette)
    );
    assert_eq!(found(Mode::Form, &["ctrl-k"]), Found::None);
    assert_eq!(
        found(Mode::Compose, &["shift-tab"]),
        Found::Action(Action::CompletePrevious)
    );
    // As terminals send Ctrl-_ and Ctrl-/.
    assert_eq!(
        found(Mode::Compose, &["ctrl-7"]),
        Found::Action(Action::Undo)
    );
    assert_eq!(keymap.action(Mode::Compose, &[]), Found::None);
}

#[test]
fn what_can_follow_is_told() {
    let keymap = Keymap::preset(Preset::Vim);
    let lines = keymap.following(Mode::Browse, &[event("g")]);
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.keys.as_str(), line.action))
        .collect();
    assert!(told.contains(&("g", Action::Top)) && told.contains(&("t", Action::NextChat)));
    assert!(keymap.following(Mode::Browse, &[event("G")]).is_empty());
}

#[test]
fn a_key_has_one_form_however_it_is_written() {
    for (one, other) in [
        ("ctrl-k", "C-k"),
        ("ctrl-K", "Control-k"),
        ("alt-enter", "M-Return"),
        ("shift-tab", "S-TAB"),
        ("ctrl-x b", "C-x  b"),
        ("ctrl-_", "ctrl-/"),
        ("alt-X", "alt-shift-x"),
    ] {
        assert_eq!(keys(one), keys(other), "{one} {other}");
    }
    assert_ne!(keys("alt-x"), keys("alt-X"));
    for (text, shown) in [
        ("ctrl-k", "Ctrl-K"),
        ("M-enter", "Alt-Enter"),
        ("g g", "g g"),
        ("f12", "F12"),
        ("space", "Space"),
        ("C-x ?", "Ctrl-X ?"),
        ("-", "-"),
    ] {
        assert_eq!(spell(&keys(text)), shown);
    }
    for bad in [
        "",
        "ctrl-",
        "hyper-k",
        "f99",
        "ctrl-i",
        "ctrl-m",
        "a b c d e",
        "\u{1b}",
        "entr",
    ] {
        assert!(Key::sequence(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_change_takes_the_place_of_the_presets_keys() {
    let text = "[compose]\nsend = \"ctrl-s\"\nnew-line = [\"enter\", \"alt-enter\"]\n";
    let keymap = Keymap::load(Preset::Default, &settings(text)).unwrap();
    assert_eq!(
        keymap.find(Mode::Compose, &keys("ctrl-s")),
        Found::Action(Action::Send)
    );
    assert_eq!(
        keymap.find(Mode::Compose, &keys("enter")),
        Found::Action(Action::NewLine)
    );
    assert_eq!(keymap.find(Mode::Compose, &keys("ctrl-j")), Found::None);
    let send = keymap
        .help(Mode::Compose)
        .into_iter()
        .find(|line| line.action == Action::Send);
    assert_eq!(send.unwrap().keys, "Ctrl-S");
}

#[test]
fn every_conflict_is_named() {
    let said = conflicts(Preset::Default, "[compose]\nnew-line = \"enter\"\n");
    assert_eq!(
        said,
        ["Enter would be both send and new-line in compose; give one of them other keys"]
    );
    let said = conflicts(Preset::Vim, "[browse]\nreply = \"g\"\n");
    assert!(
        said.iter()
            .any(|line| line.contains("g is reply in browse, so g g")),
        "{said:?}"
    );
    let said = conflicts(Preset::Default, "[compose]\nattach = \"x\"\n");
    assert!(said[0].contains("could not be typed"), "{said:?}");
    let said = conflicts(Preset::Default, "[everywhere]\nquit = \"q\"\n");
    assert!(said[0].contains("could not be typed"), "{said:?}");
    let said = conflicts(Preset::Default, "[everywhere]\nlock = []\n");
    assert!(said[0].contains("no key is left for lock"), "{said:?}");
    let said = conflicts(Preset::Default, "[palette]\nconfirm = []\n");
    assert_eq!(
        said,
        ["no key is left for confirm in palette, where one cannot do without"]
    );
    // Keys of a mode go before those of everywhere, but not before the last way out.
    let said = conflicts(Preset::Default, "[compose]\nattach = \"esc\"\n");
    assert_eq!(
        said,
        ["no key is left for back in compose, where one cannot do without"]
    );
    assert!(conflicts(Preset::Default, "[compose]\nattach = \"ctrl-n\"\n").is_empty());
}

#[test]
fn mistakes_in_writing_are_named_with_a_guess() {
    let said = conflicts(
        Preset::Default,
        "[composer]\nsend = \"enter\"\n[list]\nnext_unreads = \"n\"\nconfirm = \"ctrl-m\"\n",
    );
    assert!(said[0].contains("composer"), "{said:?}");
    let all = said.join("\n");
    assert!(all.contains("did you mean next-unread?"), "{all}");
    assert!(all.contains("cannot tell \"ctrl-m\" from enter"), "{all}");
    let said = conflicts(
        Preset::Default,
        "[\"\\u001b[2J\"]\nsend = \"\\u001b]0;x\\u0007\"\n",
    );
    assert!(
        said.iter().all(|line| !line.contains(char::is_control)),
        "{said:?}"
    );
}

#[test]
fn settings_without_end_are_refused() {
    let many = (0..2_000).map(|n| (format!("a{n}"), Ways::Many(Vec::new())));
    let overrides = Overrides::from([("list".to_owned(), many.collect())]);
    let error = Keymap::load(Preset::Default, &overrides).unwrap_err();
    assert_eq!(error.conflicts, [Conflict::TooMany]);
}

proptest! {
    /// Whatever is bound to whatever: either it is refused with words, or every action is found by
    /// its keys and every mode keeps its way out.
    #[test]
    fn loaded_keys_work(
        mode in prop::sample::select(Mode::ALL),
        changed in prop::collection::vec(
            (prop::sample::select(Action::ALL), "(ctrl-|alt-|)[a-z]|f[1-9]|esc|enter|tab|up"), 1..4),
        preset in prop::sample::select(Preset::ALL),
    ) {
        let table = changed.iter().map(|(action, way)| {
            (action.name().to_owned(), Ways::One(way.clone()))
        });
        let overrides = Overrides::from([(mode.name().to_owned(), table.collect())]);
        match Keymap::load(preset, &overrides) {
            Err(error) => prop_assert!(error.conflicts.iter().all(|c| !c.to_string().is_empty())),
            Ok(keymap) => {
                prop_assert!(judge(&keymap).is_empty());
                for mode in Mode::ALL {
                    for binding in keymap.effective(*mode) {
                        prop_assert_eq!(
                            keymap.find(*mode, &binding.keys),
                            Found::Action(binding.action)
                        );
                    }
                }
            }
        }
    }

    /// No text whatever makes reading a key fail otherwise than with words.
    #[test]
    fn any_text_is_a_key_or_a_sentence(text in "\\PC{0,20}|(C-|M-|ctrl-|alt-){0,3}\\PC{0,3}") {
        if let Err(error) = Key::sequence(&text) {
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
    }
}
