//! H23 and H16 on the full screen: a photo that somebody sends is seen as cells or as pixels that
//! the client's own decoder made, never before its sender is known, and nothing of it stays.

use std::path::PathBuf;

use base64::Engine as _;

use super::story::open_chat;
use super::{ESC, Screen, Sequence, sequences};
use crate::groups::group_of;
use crate::support::{Deployment, Person, wait_for};

const BLOCK: &str = "▀";
/// Ctrl-Home: the oldest message.
const TOP: &str = "\u{1b}[1;5H";
const RED: (u8, u8, u8) = (220, 40, 40);
const BLUE: (u8, u8, u8) = (40, 60, 220);

/// A picture, red at the left and blue at the right, with words of its own in its metadata.
fn photo(person: &Person) -> PathBuf {
    let picture = image::RgbImage::from_fn(320, 200, |x, _| {
        let (r, g, b) = if x < 160 { RED } else { BLUE };
        image::Rgb([r, g, b])
    });
    let path = person.home().join("flag.png");
    picture.save(&path).unwrap();
    path
}

fn send_photo(from: &Person, to: &str) {
    let path = photo(from);
    from.ok(&["send", to, "look", "--file", path.to_str().unwrap()]);
}

/// Whether two colours are as alike as a photo's compression leaves them.
fn alike(cell: vt100::Color, (r, g, b): (u8, u8, u8)) -> bool {
    let near = |a: u8, b: u8| a.abs_diff(b) < 24;
    matches!(cell, vt100::Color::Rgb(x, y, z) if near(x, r) && near(y, g) && near(z, b))
}

impl Screen {
    /// Half blocks of some colour.
    fn blocks(&self, colour: (u8, u8, u8)) -> usize {
        let seen = self.seen.lock().unwrap();
        let screen = seen.terminal.screen();
        let (rows, columns) = screen.size();
        let places = (0..rows.get()).flat_map(|y| (0..columns.get()).map(move |x| (y, x)));
        let cells = places.filter_map(|(y, x)| screen.cell(y, x));
        cells
            .filter(|cell| cell.contents() == BLOCK && alike(cell.fgcolor(), colour))
            .count()
    }
}

/// Rows of text below the picture, so that there is something to scroll through.
fn long_text() -> String {
    let lines: Vec<String> = (1..=60).map(|line| format!("line number {line}")).collect();
    lines.join("\n")
}

#[test]
fn a_photo_is_seen_as_half_blocks_and_leaves_nothing_behind() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    send_photo(&alice, &bob.name);
    alice.ok(&["send", &bob.name, &long_text()]);
    let mut screen = Screen::open(&bob, &["tui"], (100, 30));
    screen.shows(&alice.name);
    open_chat(&mut screen, &alice.name);
    screen.shows("line number 60");
    screen.types(TOP);
    screen.shows("[flag.png");
    screen.shows(BLOCK);
    let (red, blue) = wait_for("all of it", || {
        let halves = (screen.blocks(RED), screen.blocks(BLUE));
        (halves.0 >= 250 && halves.0.abs_diff(halves.1) <= 20).then_some(halves)
    });
    // Scrolled away, and back.
    screen.types("\u{1b}[6~\u{1b}[6~\u{1b}[6~\u{1b}[6~");
    screen.shows("line number 60");
    screen.hides(BLOCK);
    screen.types("\u{1b}[5~\u{1b}[5~\u{1b}[5~\u{1b}[5~");
    screen.shows(BLOCK);
    // Another size, another picture.
    screen.resize(56, 16);
    screen.until("a smaller picture", |shown| {
        let blocks = shown.matches(BLOCK).count();
        blocks > 0 && blocks < red + blue
    });
    screen.resize(100, 30);
    screen.shows(BLOCK);
    // A locked screen shows none.
    screen.types("\u{1b}l");
    screen.hides(BLOCK);
    screen.types(&format!("{}\r", bob.password));
    screen.shows(BLOCK);
    screen.types("\u{11}");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn a_strangers_photo_is_seen_only_when_it_is_asked_for() {
    let deployment = Deployment::shared();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|stem| deployment.registered(stem));
    alice.befriend(&bob);
    alice.befriend(&carol);
    let id = group_of("walkers", &[&alice, &bob, &carol]);
    // Of the two that are in the group with bob he knows only alice.
    send_photo(&carol, &id);
    let mut screen = Screen::open(&bob, &["tui"], (100, 40));
    screen.shows("walkers");
    open_chat(&mut screen, "walkers");
    screen.shows("flag.png");
    screen.shows(", not shown]");
    assert!(!screen.contents().contains(BLOCK));
    // The key says that one wants to see it.
    screen.types("\u{1b}[1;5A");
    screen.types("v");
    screen.shows(BLOCK);
    screen.types("v");
    screen.hides(BLOCK);
    screen.shows(", not shown]");
    screen.types(ESC);
    send_photo(&alice, &id);
    screen.shows(BLOCK);
    screen.types("\u{11}");
    assert_eq!(screen.ends(), 0);
}

/// [`Screen::ends`] looks at every byte: what kitty is given holds nothing but pixels.
#[test]
fn kitty_is_given_pixels_and_told_to_forget_them() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    send_photo(&alice, &bob.name);
    alice.ok(&["send", &bob.name, &long_text()]);
    // It would be asked to notify the desktop too, which is tried elsewhere.
    let home = bob.home().join("sotto");
    std::fs::write(home.join("tui.toml"), "notifications = \"off\"\n").unwrap();
    let kitty = [("TERM", "xterm-kitty")];
    let mut screen = Screen::open_on(&bob, &["tui"], (100, 30), &kitty);
    screen.shows(&alice.name);
    open_chat(&mut screen, &alice.name);
    screen.shows("line number 60");
    screen.types(TOP);
    screen.shows("\u{10eeee}");
    let text = String::from_utf8(screen.bytes()).unwrap();
    let (mut pixels, mut ids) = (String::new(), Vec::new());
    for sequence in sequences(&text) {
        if let Sequence::Apc(body) = sequence {
            let (head, data) = body.split_once(';').unwrap();
            let id = head.split(',').find_map(|field| field.strip_prefix("i="));
            ids.extend(id.map(str::to_owned));
            pixels.push_str(data);
        }
    }
    let pixels = base64::engine::general_purpose::STANDARD
        .decode(pixels)
        .unwrap();
    assert_eq!(ids.len(), 1, "given once: {ids:?}");
    let near = |pixel: &[u8], (r, _, b): (u8, u8, u8)| {
        pixel[0].abs_diff(r) < 24 && pixel[2].abs_diff(b) < 24
    };
    let red = pixels.chunks(3).filter(|pixel| near(pixel, RED)).count();
    assert!(red * 3 > pixels.len() / 3, "{red} of {}", pixels.len());
    screen.types("\u{1b}[6~\u{1b}[6~\u{1b}[6~\u{1b}[6~");
    screen.shows("line number 60");
    screen.hides("\u{10eeee}");
    screen.types("\u{1b}l");
    let forgotten = format!("\u{1b}_Ga=d,d=I,i={},q=2\u{1b}\\", ids[0]);
    wait_for("the terminal to be told", || {
        let text = String::from_utf8(screen.bytes()).unwrap();
        text.contains(&forgotten).then_some(())
    });
    screen.signal("TERM");
    screen.ends();
}
