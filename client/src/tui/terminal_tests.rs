//! A panic in whatever thread gives the terminal back: in a process of its own on a
//! pseudo-terminal, whose bytes and modes are looked at.

use std::io::Read as _;

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::*;

/// The modes of a terminal, all of them.
fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

/// Runs one of the tests below in a process of its own; what its terminal was given.
fn on_a_terminal(test: &str) -> String {
    let size = PtySize {
        rows: 24,
        cols: 80,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pair = native_pty_system().openpty(size).unwrap();
    let before = modes(&*pair.master);
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.arg(format!("tui::terminal::tests::{test}"));
    command.env("TERM", "xterm-256color");
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut output = pair.master.try_clone_reader().unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // A terminal whose last program is gone gives an error, not an end.
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    child.wait().unwrap();
    assert_eq!(modes(&*pair.master), before, "{test}");
    String::from_utf8(bytes).unwrap()
}

fn draw(screen: &mut Screen, words: &'static str) {
    screen
        .draw(|frame| frame.render_widget(words, frame.area()))
        .unwrap();
}

/// Everything was taken, and everything is given back after it; the words come after that.
fn assert_given_back(bytes: &str, words: &str) {
    let (taken, rest) = bytes.split_once("drawn").unwrap();
    // Whoever reads the words reads them on the screen that was there before.
    let (given_back, after) = rest.split_once(words).unwrap();
    for (on, off) in [
        ("\u{1b}[?1049h", "\u{1b}[?1049l"),
        ("\u{1b}[?2004h", "\u{1b}[?2004l"),
        ("\u{1b}[?1000h", "\u{1b}[?1000l"),
        ("\u{1b}[?1006h", "\u{1b}[?1006l"),
    ] {
        assert!(taken.contains(on), "{on:?} {bytes:?}");
        assert!(given_back.contains(off), "{off:?} {bytes:?}");
        assert!(!after.contains(on), "{on:?} {bytes:?}");
    }
    assert!(given_back.contains("\u{1b}[?25h"), "{bytes:?}");
    assert!(!after.contains("\u{1b}[?25l"), "{bytes:?}");
}

#[test]
fn a_panic_while_drawing_gives_the_terminal_back() {
    let bytes = on_a_terminal("panics_while_drawing");
    assert_given_back(&bytes, "the drawing thread fell over");
}

#[test]
fn a_panic_of_another_thread_gives_the_terminal_back_and_nothing_is_drawn_after_it() {
    let bytes = on_a_terminal("panics_elsewhere");
    assert_given_back(&bytes, "another thread fell over");
    assert!(!bytes.contains("too late"), "{bytes:?}");
    assert_eq!(bytes.matches("\u{1b}[?1049l").count(), 1, "{bytes:?}");
}

#[test]
#[ignore = "panics: the tests above run it in a process of its own"]
fn panics_while_drawing() {
    let mut screen = Screen::take(Mouse::On).unwrap();
    draw(&mut screen, "drawn");
    let _ = screen.draw(|_| panic!("the drawing thread fell over"));
}

#[test]
#[ignore = "panics: the tests above run it in a process of its own"]
fn panics_elsewhere() {
    let mut screen = Screen::take(Mouse::On).unwrap();
    draw(&mut screen, "drawn");
    let other = std::thread::spawn(|| panic!("another thread fell over"));
    assert!(other.join().is_err());
    draw(&mut screen, "too late");
}
