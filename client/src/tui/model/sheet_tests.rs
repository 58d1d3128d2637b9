//! Sheets: read to their end on every screen, with nothing cut.

use crate::engine::api::MessageBody;
use crate::tui::sim::Sim;

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (50, 12), (20, 5)];

/// Everything that a sheet shows while one goes down in it, without blanks and frames.
fn read_through(sim: &mut Sim, pages: usize) -> String {
    let mut all = String::new();
    for _ in 0..pages {
        all.push_str(&sim.words());
        sim.press("page-down");
    }
    all.replace([' ', '\n', '│'], "")
}

#[test]
fn a_long_message_is_read_to_its_end_in_its_details() {
    for size in SIZES {
        let mut sim = Sim::new(size);
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
        let lines: Vec<String> = (0..900).map(|line| format!("line {line} of it")).collect();
        sim.model
            .composer
            .set(&format!("{}\nthe very last words", lines.join("\n")));
        sim.press("enter");
        sim.press("ctrl-up");
        let pane = sim.model.pane.as_mut().unwrap();
        let mut long = pane.messages().last().unwrap().clone();
        if !matches!(&long.body, MessageBody::Text(text) if text.contains("very last")) {
            // Somebody answered.
            sim.press("up");
            long = sim.model.pane.as_ref().unwrap().selected().unwrap().clone();
        }
        let MessageBody::Text(text) = &long.body else {
            panic!("no text");
        };
        assert!(text.contains("the very last words"));
        if size.0 >= 80 {
            sim.press("end");
            let words = (0..60).any(|_| {
                let there = sim.words().contains("its details show all");
                sim.press("page-up");
                there
            });
            assert!(words, "it says how to read on");
            sim.press("ctrl-up");
            sim.press("up");
        }
        sim.press("space");
        sim.press("end");
        let words = sim.words();
        let squeezed = words.replace([' ', '\n', '│'], "");
        assert!(
            squeezed.contains("verylastwords") || squeezed.contains("lastwords"),
            "{words}"
        );
        sim.press("home");
        if size.1 > 12 {
            let all = read_through(&mut sim, 120);
            for line in [
                "line0ofit",
                "line450ofit",
                "line899ofit",
                "theverylastwords",
            ] {
                assert!(all.contains(line), "{size:?}: {line}");
            }
        }
    }
}

#[test]
fn no_key_and_no_word_of_the_key_help_is_cut() {
    let mut wide = Sim::new((120, 200));
    wide.press("f1");
    let keys = wide
        .model
        .wishes
        .keymap
        .help(crate::tui::keys::Mode::Compose);
    assert!(wide.words().contains("Keys that work here"));
    for size in SIZES {
        let mut sim = Sim::new(size);
        sim.press("f1");
        let all = read_through(&mut sim, 300);
        let all = all.replace(|c: char| "╭╮╰╯─".contains(c), "");
        if size.1 <= 12 {
            // A line may go on on the next page: its words are looked for one by one.
            for line in &keys {
                for word in line.action.help().split(' ') {
                    assert!(all.contains(word), "{size:?}: {word}");
                }
            }
            continue;
        }
        for line in &keys {
            let words = line.action.help().replace(' ', "");
            let keys = line.keys.replace(' ', "");
            assert!(all.contains(&words), "{size:?}: {words}");
            assert!(all.contains(&keys), "{size:?}: {keys}");
        }
    }
}

#[test]
fn a_text_of_very_many_lines_is_laid_out_frame_by_frame() {
    let text = (0..5_000)
        .map(|line| format!("line {line}\n"))
        .collect::<String>();
    let mut sim = Sim::new((80, 24));
    let sheet = super::Sheet::new("long", Vec::new()).with_text(text.trim_end());
    sim.model.overlay = Some(super::Overlay::Sheet(sheet));
    let mut laid = Vec::new();
    for _ in 0..40 {
        sim.model.tick(sim.now);
        let area = ratatui::layout::Rect::new(0, 0, 80, 24);
        crate::tui::view::prepare(&mut sim.model, area);
        let Some(super::Overlay::Sheet(sheet)) = &sim.model.overlay else {
            panic!("no sheet");
        };
        laid.push(sheet.laid().len());
        // As long as there is more the next frame comes by itself.
        let soon = sim.model.wakes_at() == Some(sim.now.monotonic_ms + 1);
        assert_eq!(soon, !sheet.is_whole());
    }
    assert_eq!((laid[0], laid[1], laid[39]), (500, 1_000, 5_000));
    sim.press("end");
    assert!(sim.words().contains("line 4999"), "{}", sim.words());
}

#[test]
fn from_the_end_of_a_sheet_every_key_up_is_seen() {
    let lines: Vec<String> = (0..60).map(|line| format!("line {line} of it")).collect();
    let mut sim = Sim::new((80, 24));
    let sheet = super::Sheet::new("long", Vec::new()).with_text(lines.join("\n"));
    sim.model.overlay = Some(super::Overlay::Sheet(sheet));
    sim.press("end");
    let end = sim.words();
    assert!(end.contains("line 59 of it"));
    sim.press("up");
    assert!(!sim.words().contains("line 59 of it"));
    sim.press("down");
    assert_eq!(sim.words(), end);
}

#[test]
fn a_key_that_leads_elsewhere_does_so_over_a_list_and_nothing_typed_goes_below() {
    let mut sim = Sim::new((80, 24));
    sim.press("ctrl-k");
    sim.types("bob");
    sim.press("enter");
    for below in ["f1", "f5", "f7", "f8"] {
        sim.press(below);
        assert!(sim.model.overlay.is_some(), "{below}");
        sim.press("ctrl-k");
        assert!(
            matches!(&sim.model.overlay, Some(super::Overlay::Picker(_))),
            "{below}"
        );
        sim.types("xyzzy");
        assert_eq!(sim.model.composer.text(), "", "{below}");
        sim.press("esc");
    }
    // Words typed over a sheet neither close it nor land in a message.
    sim.press("f1");
    sim.types("group");
    assert!(matches!(&sim.model.overlay, Some(super::Overlay::Sheet(_))));
    assert_eq!(sim.model.composer.text(), "");
    sim.press("f1");
    assert!(sim.model.overlay.is_none());
}
