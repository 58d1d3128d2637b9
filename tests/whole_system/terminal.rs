//! `listen` on a narrow terminal: one bell for a burst, lines that fit, and
//! colours only where they are wanted. `chat`: a line that is edited while
//! messages arrive, and a terminal that comes back.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread;

use portable_pty::{CommandBuilder, PtyPair, PtySize, native_pty_system};

use crate::support::{Deployment, Person, wait_for};

const COLUMNS: u16 = 40;

/// A pseudo-terminal, and a command for people that is ready to run in it.
fn terminal(
    person: &Person,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> (PtyPair, CommandBuilder) {
    let size = PtySize {
        rows: 24,
        cols: COLUMNS,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pair = native_pty_system().openpty(size).unwrap();
    let command = person.command(arguments);
    let mut inside = CommandBuilder::new(command.get_program());
    inside.env_clear();
    inside.args(command.get_args().filter(|argument| *argument != "--json"));
    for (name, value) in command.get_envs() {
        inside.env(name, value.unwrap());
    }
    inside.env("TERM", "xterm-256color");
    for (name, value) in env {
        inside.env(name, value);
    }
    (pair, inside)
}

/// Runs a command for people in a pseudo-terminal; everything it wrote there.
fn on_terminal(person: &Person, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let (pair, inside) = terminal(person, arguments, env);
    let mut child = pair.slave.spawn_command(inside).unwrap();
    drop(pair.slave);
    let (screen, reader) = follow(&*pair.master);
    let status = wait_for("the command to end", || child.try_wait().unwrap());
    reader.join().unwrap();
    let seen = screen.lock().unwrap().clone();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(status.success(), "{arguments:?}: {seen:?}");
    seen
}

/// What the terminal shows, as it grows.
fn follow(master: &dyn portable_pty::MasterPty) -> (Arc<Mutex<Vec<u8>>>, thread::JoinHandle<()>) {
    let mut reader = master.try_clone_reader().unwrap();
    let screen = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&screen);
    let follower = thread::spawn(move || {
        let mut buffer = [0; 4096];
        // A terminal whose last program is gone gives an error, not an end.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    (screen, follower)
}

/// The text without colours.
pub(crate) fn bare(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text
}

/// H24.
#[test]
fn a_burst_rings_once_and_fits_a_narrow_terminal() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let text = "a message that does not fit into one line of forty columns";
    for _ in 0..8 {
        alice.ok(&["send", &bob.name, text]);
    }
    // Receives them without showing them: the burst comes from the disk.
    bob.ok(&["requests"]);
    let screen = on_terminal(&bob, &["listen", "--for", "30s", "--count", "8"], &[]);
    assert_eq!(screen.matches('\u{7}').count(), 1, "{screen:?}");
    assert!(screen.contains("\u{1b}[1;32m"), "no colour: {screen:?}");
    let shown = bare(&screen).replace('\u{7}', "");
    assert_eq!(shown.matches("a message that").count(), 8, "{shown}");
    for line in shown.lines().map(|line| line.trim_end_matches('\r')) {
        assert!(
            line.chars().count() <= usize::from(COLUMNS),
            "{line:?} in {shown}"
        );
    }

    alice.ok(&["send", &bob.name, "plain"]);
    let plain = on_terminal(
        &bob,
        &["listen", "--for", "30s", "--count", "1"],
        &[("NO_COLOR", "1")],
    );
    assert!(plain.contains("plain"), "{plain:?}");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert_eq!(plain.matches('\u{7}').count(), 1, "{plain:?}");
}

/// E14.
#[test]
fn notifications_say_nothing_of_what_came_unless_that_is_wanted() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let terminal = [("TERM_PROGRAM", "WezTerm")];
    let listen = ["listen", "--for", "30s", "--count", "1"];
    let after = |screen: &str| {
        let (_, after) = screen.split_once("\u{1b}]9;").unwrap();
        after.split_once("\u{1b}\\").unwrap().0.to_owned()
    };
    alice.ok(&["send", &bob.name, "a secret"]);
    let bare = on_terminal(&bob, &listen, &terminal);
    assert_eq!(after(&bare), "Sotto: Something new for you");
    assert_eq!(bare.matches("\u{1b}]").count(), 1, "{bare:?}");
    alice.ok(&["send", &bob.name, "a\u{1b}]0;x\u{7} secret"]);
    let full = on_terminal(
        &bob,
        &[&listen[..], &["--notify", "full"]].concat(),
        &terminal,
    );
    let told = after(&full);
    assert!(
        told.starts_with(&alice.name) && told.ends_with("secret"),
        "{told}"
    );
    assert_eq!(full.matches("\u{1b}]").count(), 1, "{full:?}");
    alice.ok(&["send", &bob.name, "a secret"]);
    let off = on_terminal(
        &bob,
        &[&listen[..], &["--notify", "off"]].concat(),
        &terminal,
    );
    assert!(!off.contains("\u{1b}]"), "{off:?}");
}

/// Where lines are not edited, a terminal drops what exceeds its longest one: a part is never sent as if it were all.
#[test]
fn a_line_that_the_terminal_has_cut_is_not_sent() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut chat = Chat::start(&alice, &bob, &[("TERM", "dumb")]);
    chat.types(&"q".repeat(6_000));
    chat.types("\n");
    chat.shows("too long for the");
    chat.types("short\n\u{4}");
    let (screen, status) = chat.ends();
    assert_eq!(status, 0, "{screen:?}");
    assert_eq!(
        alice.ok(&["history", &bob.name]).texts(),
        ["hello", "short"]
    );
}

/// A chat, or another command, on a terminal with somebody at its keys.
pub(crate) struct Chat {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    master: Box<dyn portable_pty::MasterPty + Send>,
    keyboard: Box<dyn std::io::Write + Send>,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Chat {
    fn start(person: &Person, other: &Person, env: &[(&str, &str)]) -> Self {
        let chat = Self::of(person, &["chat", &other.name], env);
        chat.shows("type and press Enter");
        chat
    }

    /// Any command that asks something.
    pub(crate) fn of(person: &Person, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let (pair, inside) = terminal(person, arguments, env);
        Self::in_pair(pair, inside)
    }

    /// The same, where the password is asked for too.
    pub(crate) fn asked(person: &Person, arguments: &[&str]) -> Self {
        let (pair, mut inside) = terminal(person, arguments, &[]);
        let words = inside.get_argv_mut();
        if let Some(place) = words.iter().position(|word| word == "--password-file") {
            words.drain(place..place + 2);
        }
        Self::in_pair(pair, inside)
    }

    fn in_pair(pair: PtyPair, inside: CommandBuilder) -> Self {
        let child = pair.slave.spawn_command(inside).unwrap();
        drop(pair.slave);
        let (screen, reader) = follow(&*pair.master);
        Self {
            child,
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            screen,
            reader,
        }
    }

    /// Everything so far.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    pub(crate) fn shows(&self, words: &str) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !self.screen().contains(words) {
            let late = std::time::Instant::now() > end;
            assert!(!late, "no {words:?} in {:?}", self.screen());
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether the terminal echoes and edits lines by itself, as before.
    fn modes(&self) -> u64 {
        let modes = self.master.get_termios().unwrap().local_flags.bits();
        u64::from(modes)
    }

    pub(crate) fn ends(mut self) -> (String, u32) {
        let status = wait_for("the chat to end", || self.child.try_wait().unwrap());
        self.reader.join().unwrap();
        let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
        (screen, status.exit_code())
    }
}

#[test]
fn what_arrives_leaves_the_line_that_is_typed_whole() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut chat = Chat::start(&alice, &bob, &[]);
    chat.shows("> ");
    chat.types("half a");
    chat.shows("half a");
    bob.ok(&["send", &alice.name, "arrived meanwhile"]);
    chat.shows("arrived meanwhile");
    // Drawn again below it.
    let after = |chat: &Chat| {
        let screen = chat.screen();
        let (_, after) = screen.split_once("arrived meanwhile").unwrap();
        bare(after).contains("> half a").then_some(())
    };
    wait_for("the line to be drawn again", || after(&chat));
    chat.master
        .resize(PtySize {
            rows: 20,
            cols: 60,
            pixel_width: 0,
            pixel_height: 0,
        })
        .unwrap();
    chat.types(" sentence\r");
    // A paste is taken into the line, its lines and its sequences too, and sends nothing.
    chat.types("\u{1b}[200~one\ntwo \u{1b}]0;owned\u{7}\u{1b}[201~");
    chat.shows("two");
    chat.types("!\r");
    // The arrow up brings back what was sent, the arrow left moves in it.
    chat.types("first\r");
    wait_for("three messages", || {
        let texts = bob.run(&["history", &alice.name]).texts();
        let all = bob.run(&["listen", "--for", "1s"]).events.len() + texts.len();
        (all >= 4).then_some(())
    });
    chat.types("\u{1b}[A\u{1b}[D\u{1b}[D-\r/quit\r");
    let (screen, status) = chat.ends();
    assert_eq!(status, 0, "{screen:?}");
    let texts = alice.ok(&["history", &bob.name]).texts();
    assert_eq!(
        texts[..3],
        ["hello", "arrived meanwhile", "half a sentence"]
    );
    assert!(
        texts[3].starts_with("one\ntwo ") && texts[3].ends_with('!'),
        "{texts:?}"
    );
    assert_eq!(texts[4..], ["first", "fir-st"]);
    for sequence in ["\u{1b}]", "\u{1b}P", "\u{1b}_", "\u{1b}[?1049", "\u{1b}[2J"] {
        assert!(!screen.contains(sequence), "{sequence:?} in {screen:?}");
    }
}

#[test]
fn the_terminal_comes_back_however_a_chat_ends() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    for keys in ["\u{3}", "\u{4}", "SIGTERM"] {
        let mut chat = Chat::start(&alice, &bob, &[]);
        chat.shows("\u{1b}[?2004h");
        let raw = chat.modes();
        if keys == "SIGTERM" {
            crate::support::signal("TERM", u64::from(chat.child.process_id().unwrap()));
        } else {
            chat.types(keys);
        }
        wait_for("the chat to end", || chat.child.try_wait().unwrap());
        assert_ne!(chat.modes(), raw, "{keys:?}");
        // ECHO and ICANON.
        assert_eq!(chat.modes() & 10, 10, "{keys:?}");
        let (screen, _) = chat.ends();
        assert!(
            screen.rfind("\u{1b}[?2004l") > screen.rfind("\u{1b}[?2004h"),
            "{keys:?}: {screen:?}"
        );
    }
}

/// Commands behind `/` are those of the command line; they leave the line that is typed and what
/// arrives alone.
#[test]
fn commands_in_a_chat_are_those_of_the_command_line() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    bob.ok(&["send", &alice.name, "a question"]);
    let mut chat = Chat::start(&alice, &bob, &[]);
    chat.shows("a question");
    chat.types("/reply @theirs an answer\r");
    chat.shows(&format!("sent to {}", bob.name));
    chat.types("/history --last 1\r");
    chat.shows("↩");
    chat.types("/nonsense\r");
    chat.shows("unrecognized subcommand");
    chat.types("/timer 1h\r");
    chat.shows("timer set");
    bob.ok(&["send", &alice.name, "still heard"]);
    chat.shows("still heard");
    chat.types("and said\r/quit\r");
    let (screen, status) = chat.ends();
    assert_eq!(status, 0, "{screen:?}");
    bob.ok(&["listen", "--for", "5s", "--count", "2"]);
    let heard = bob.ok(&["history", &alice.name]);
    let texts = heard.texts();
    assert!(
        texts.contains(&"an answer".to_owned()) && texts.contains(&"and said".to_owned()),
        "{texts:?}"
    );
    let answer = heard
        .events
        .iter()
        .find(|event| event["text"] == "an answer");
    assert_eq!(answer.unwrap()["reply_to"]["quote"], "a question");
    assert_eq!(
        bob.ok(&["timer", &alice.name]).events[0]["expires_after_s"],
        3600
    );
}
