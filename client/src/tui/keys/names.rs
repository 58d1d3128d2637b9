//! Everything that keys do, by the names that the settings have for it: the page `docs/keys.md`, and
//! what `sotto tui --keys` says.
//!
//! It is made of the tables that the keys come from, so that it cannot say anything else.

use std::fmt::Write as _;

use super::{Action, Binding, Keymap, Layer, Mode, Preset, spell};
use crate::tui::keys::action::Group;

/// The page, in lines that are a table for a reader of Markdown too.
pub(crate) fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    let modes: Vec<&str> = Mode::ALL.iter().map(|mode| mode.name()).collect();
    let _ = writeln!(page, "Modes: everywhere, {}.", modes.join(", "));
    let maps: Vec<Keymap> = Preset::ALL
        .iter()
        .map(|preset| Keymap::preset(*preset))
        .collect();
    let mut group: Option<Group> = None;
    for action in Action::ALL {
        if group != Some(action.group()) {
            group = Some(action.group());
            let _ = write!(page, "\n## {}\n\n{HEAD}", action.group().title());
        }
        let keys: Vec<String> = maps.iter().map(|map| ways(map, *action)).collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            action.name(),
            action.help(),
            keys.join(" | ")
        );
    }
    page
}

const INTRODUCTION: &str = "\
# Keys and their names

`sotto tui --keys` says this page. Every name below can stand in `tui.toml`, in
the table of a mode, with one way, several or none; what is written there takes
the place of all keys that the preset has for it in that mode:

```toml
[keys.compose]
send = \"ctrl-s\"
new-line = [\"enter\", \"alt-enter\"]
attach = []
```

A way is a key or several one after another (`\"g g\"`): a character, or one of
enter, esc, tab, space, backspace, delete, insert, up, down, left, right, home,
end, page-up, page-down, f1 to f12, with ctrl-, alt- or shift- before it.
";

const HEAD: &str = "| name | what it does | default | vim | emacs |\n|---|---|---|---|---|\n";

/// The keys of an action: those of everywhere, then those of single modes.
fn ways(map: &Keymap, action: Action) -> String {
    let of = |layer: Layer| {
        let bindings = map.of(layer).filter(|binding| binding.action == action);
        let spelled = |binding: &Binding| format!("`{}`", spell(&binding.keys));
        bindings.map(spelled).collect::<Vec<_>>()
    };
    let mut parts = of(Layer::Everywhere);
    let mut told: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for mode in Mode::ALL {
        let keys = of(Layer::In(*mode));
        match told.iter_mut().find(|(known, _)| *known == keys) {
            _ if keys.is_empty() => {}
            Some((_, modes)) => modes.push(mode.name()),
            None => told.push((keys, vec![mode.name()])),
        }
    }
    for (keys, modes) in told {
        parts.push(format!("{} in {}", keys.join(" "), modes.join(", ")));
    }
    // A bar would end the cell.
    parts.join("; ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keys.md")
    }

    /// `cargo test --lib the_page_of_keys_is_written -- --ignored` writes the page again.
    #[test]
    #[ignore = "writes docs/keys.md"]
    fn the_page_of_keys_is_written() {
        std::fs::write(file(), page()).unwrap();
    }

    #[test]
    fn the_page_of_keys_is_true() {
        assert_eq!(std::fs::read_to_string(file()).unwrap(), page());
    }

    #[test]
    fn every_action_has_a_line_with_a_key_in_every_preset() {
        let page = page();
        for action in Action::ALL {
            let start = format!("| `{}` |", action.name());
            let line = page.lines().find(|line| line.starts_with(&start)).unwrap();
            assert!(!line.contains("|  |"), "{line}");
        }
    }
}
