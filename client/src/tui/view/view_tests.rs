//! Screens as they look: words and colours at three sizes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ratatui::buffer::Buffer;

use crate::attachment::picture::Images;
use crate::tui::model::form::FirstRun;
use crate::tui::model::mouse::Touch;
use crate::tui::sim::{Sim, pictures};

/// The words of a buffer and, below them, a letter for the look of each cell.
fn picture(buffer: &Buffer) -> String {
    let mut looks = BTreeMap::new();
    let (mut words, mut letters) = (String::new(), String::new());
    let area = *buffer.area();
    for y in area.top()..area.bottom() {
        let (mut row, mut look_row) = (String::new(), String::new());
        let mut covered = 0;
        for x in area.left()..area.right() {
            let cell = &buffer[(x, y)];
            if covered == 0 {
                row.push_str(cell.symbol());
                covered = unicode_width::UnicodeWidthStr::width(cell.symbol());
            }
            covered = covered.saturating_sub(1);
            let style = cell.style();
            let look = format!("{:?} on {:?} {:?}", style.fg, style.bg, style.add_modifier);
            let next = u8::try_from(looks.len()).unwrap();
            let letter = *looks.entry(look).or_insert(char::from(b'a' + next));
            look_row.push(letter);
        }
        let _ = writeln!(words, "{}", row.trim_end());
        let _ = writeln!(letters, "{look_row}");
    }
    let mut legend: Vec<_> = looks
        .into_iter()
        .map(|(look, letter)| (letter, look))
        .collect();
    legend.sort();
    let legend: String = legend
        .into_iter()
        .map(|(letter, look)| format!("{letter} {look}\n"))
        .collect();
    format!("{words}\n{letters}\n{legend}")
}

const SIZES: [(&str, (u16, u16)); 3] = [
    ("120x40", (120, 40)),
    ("80x24", (80, 24)),
    ("50x12", (50, 12)),
];

fn shots(name: &str, mut act: impl FnMut(&mut Sim)) {
    for (size_name, size) in SIZES {
        let mut sim = Sim::new(size);
        act(&mut sim);
        insta::assert_snapshot!(format!("{name}_{size_name}"), picture(&sim.draw()));
    }
}

#[test]
fn the_conversations() {
    shots("conversations", |sim| sim.press("alt-c"));
}

#[test]
fn a_conversation_with_an_answer_being_written() {
    shots("writing", |sim| {
        sim.press("enter");
        sim.press("ctrl-up");
        sim.press("up");
        sim.press("r");
        sim.types("I bring the can\u{1b}[2J");
    });
}

#[test]
fn the_palette() {
    shots("palette", |sim| {
        sim.press("ctrl-k");
        sim.types("o");
    });
}

#[test]
fn the_key_help() {
    shots("help", |sim| sim.press("f1"));
}

#[test]
fn requests() {
    shots("requests", |sim| sim.press("f5"));
}

#[test]
fn a_changed_identity_and_a_warning() {
    use crate::engine::api::{Event, SecurityEvent, SecurityKind};
    use crate::tui::ask::News;
    shots("changed", |sim| {
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
        let pane = sim.model.pane.as_ref().unwrap();
        let (talk, mut overview) = (pane.talk.clone(), pane.overview.clone());
        overview.changed = talk.person().cloned().into_iter().collect();
        sim.hear(News::Event(Box::new(Event::Security(SecurityEvent {
            kind: SecurityKind::KeyChanged,
            conversation: None,
            subject: talk.person().cloned(),
            action: "nothing is sent to this person until you compare the safety number".to_owned(),
            count: 0,
        }))));
        sim.model.handle_news(
            News::Overview {
                talk,
                overview: Box::new(overview),
            },
            sim.now,
        );
    });
}

#[test]
fn the_locked_screen() {
    shots("locked", |sim| sim.model.lock());
}

#[test]
fn a_picture_among_the_messages() {
    shots("picture", |sim| {
        sim.model.wishes.pictures = pictures(Images::Blocks);
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
    });
}

/// Nothing of a picture stays where it was: neither while one scrolls past it, nor after.
#[test]
fn a_picture_that_is_scrolled_away_leaves_nothing() {
    for size in SIZES.map(|(_, size)| size) {
        let mut sim = Sim::new(size);
        sim.model.wishes.pictures = pictures(Images::Blocks);
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
        for number in 0..3 {
            sim.types(&format!("line {number}"));
            sim.press("enter");
        }
        sim.press("ctrl-up");
        let whole = sim
            .pictures()
            .first()
            .map_or(0, |it| it.picture.size().height);
        let mut seen = std::collections::BTreeSet::new();
        for step in [[-1; 40], [1; 40]].concat() {
            sim.touch(Touch::Wheel(step), (size.0 - 30, 4));
            let placed = sim.pictures();
            let first = placed.first();
            let rows = first.map_or(0, |it| usize::from(it.rows.end - it.rows.start));
            let width = first.map_or(0, |it| usize::from(it.picture.size().width));
            let blocks = sim.words().matches('▀').count();
            // The words about what is below may stand on its last row.
            assert!(blocks <= rows * width, "{size:?}");
            assert!(blocks + 20 >= rows * width, "{size:?}");
            seen.insert(rows);
        }
        assert!(whole > 0 || seen.len() > 1, "{size:?}: {seen:?}");
        sim.press("v");
        sim.model.lock();
        assert!(!sim.words().contains('▀'));
        assert!(sim.model.gallery.is_empty());
    }
}

/// What the pages show of the screen is what the screen shows.
#[test]
fn the_pages_show_the_screen_as_it_is() {
    let mut sim = Sim::new((100, 18));
    sim.press("enter");
    sim.types("I bring the can");
    let picture = picture(&sim.draw());
    let words = picture.split("\n\n").next().unwrap();
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screen.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(words), "{words}");
}

/// A recovery key is shown whole or not at all: what is cut off nobody would miss.
#[test]
fn words_of_a_recovery_key_are_shown_all_or_none() {
    let words: Vec<String> = ('a'..='l')
        .map(|letter| letter.to_string().repeat(8))
        .collect();
    for size in [
        (120, 40),
        (80, 24),
        (60, 12),
        (50, 12),
        (40, 8),
        (30, 20),
        (20, 5),
    ] {
        let mut sim = Sim::new(size);
        sim.model.first_run = Some(FirstRun::Words(words.join(" ").into()));
        let shown = sim.words();
        let count = words.iter().filter(|word| shown.contains(*word)).count();
        match count {
            12 => assert!(shown.contains("written down"), "{size:?}: {shown}"),
            _ => assert_eq!(count, 0, "{size:?}: {shown}"),
        }
        let fits = !matches!(size, (40, 8) | (20, 5));
        assert_eq!(count == 12, fits, "{size:?}: {shown}");
    }
}

/// Where there is room for it the code of a safety number is there; elsewhere a key leads to it, or
/// it says what it needs. The field for the digits is always there.
#[test]
fn the_code_of_a_safety_number_is_seen_or_a_way_to_it() {
    let blocks = |words: &str| words.chars().filter(|c| "█▀▄".contains(*c)).count();
    for (size, way) in [
        ((120, 40), "there"),
        ((80, 24), "there"),
        ((80, 45), "there"),
        ((50, 24), "instead"),
        ((50, 12), "QR code needs a window of"),
        ((20, 5), ""),
    ] {
        let mut sim = Sim::new(size);
        sim.press("ctrl-k");
        sim.types("bob");
        sim.press("enter");
        sim.press("alt-v");
        sim.types("12345");
        let words = sim.words();
        assert!(words.contains("› 12345"), "{size:?}: {words}");
        match way {
            "there" => assert!(blocks(&words) > 150, "{size:?}: {words}"),
            "instead" => {
                assert_eq!(blocks(&words), 0, "{words}");
                sim.press("tab");
                assert!(blocks(&sim.words()) > 150, "{size:?}: {}", sim.words());
                sim.press("tab");
                assert!(sim.words().contains("› 12345"));
            }
            says => assert!(words.contains(says), "{size:?}: {words}"),
        }
    }
}

/// The words with which one begins are cut nowhere, and the answers are there.
#[test]
fn the_offer_of_a_recovery_key_is_read_whole() {
    for size in [(120, 40), (80, 24), (50, 12), (40, 12)] {
        let mut sim = Sim::new(size);
        sim.model.first_run = Some(FirstRun::Offer);
        let words = sim.words().replace(['\n', ' ', '│'], "");
        for part in [
            "everydeviceislost",
            "butnotthen",
            "showitnow",
            "sottorecoverynew",
        ] {
            assert!(words.contains(part), "{size:?}: {part} in {}", sim.words());
        }
    }
}
