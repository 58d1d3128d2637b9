//! The client as processes: exit codes, clean streams, and the password
//! prompt in a real pseudo-terminal.
//!
//! This program is its own client: with `AS_CLIENT` set it runs the client
//! with its arguments, else it runs the tests below.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test without the harness that clippy knows tests by"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

const AS_CLIENT: &str = "SOTTO_TEST_AS_CLIENT";
const DEADLINE: Duration = Duration::from_secs(30);
/// The local-mode bit of a terminal that echoes, the same on Linux and BSD.
const ECHO: u64 = 8;
const CANARY: &str = "canary-7f3a9c51e0d24b68";

const TESTS: &[(&str, fn())] = &[
    ("alone_it_says_how_to_start", alone_it_says_how_to_start),
    (
        "usage_errors_are_json_on_stderr_only",
        usage_errors_are_json_on_stderr_only,
    ),
    ("without_a_profile_it_says_so", without_a_profile_it_says_so),
    (
        "without_a_server_nothing_is_asked",
        without_a_server_nothing_is_asked,
    ),
    (
        "without_a_terminal_no_password_is_asked",
        without_a_terminal_no_password_is_asked,
    ),
    ("a_bad_ca_file_is_named", a_bad_ca_file_is_named),
    ("a_closed_pipe_is_no_error", a_closed_pipe_is_no_error),
    (
        "the_prompt_shows_dots_and_nothing_else",
        the_prompt_shows_dots_and_nothing_else,
    ),
    ("short_passwords_are_refused", short_passwords_are_refused),
    (
        "the_terminal_comes_back_after_ctrl_c",
        the_terminal_comes_back_after_ctrl_c,
    ),
    (
        "the_terminal_comes_back_after_sigterm",
        the_terminal_comes_back_after_sigterm,
    ),
    ("memory_is_private", memory_is_private),
    (
        "image_bombs_end_only_a_worker",
        image_bombs_end_only_a_worker,
    ),
    (
        "a_worker_has_little_to_work_with",
        a_worker_has_little_to_work_with,
    ),
];

fn main() -> ExitCode {
    if std::env::var_os(AS_CLIENT).is_some() {
        return sotto_client::main(std::env::args_os().skip(1).collect());
    }
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let mut failed = 0;
    for (name, test) in TESTS {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let outcome = std::panic::catch_unwind(test);
        println!(
            "test {name} ... {}",
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
        failed += u8::from(outcome.is_err());
    }
    ExitCode::from(failed.min(1))
}

fn client(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env_clear()
        .env(AS_CLIENT, "1")
        .env("SOTTO_HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .args(args)
        .stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    client(home.path(), args).output().unwrap()
}

fn error_of(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!value["error"]["message"].as_str().unwrap().is_empty());
    (
        output.status.code().unwrap(),
        value["error"]["code"].as_str().unwrap().to_owned(),
    )
}

fn alone_it_says_how_to_start() {
    let output = run(&[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("sotto register"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(run(&["--help"]).status.success());
}

fn usage_errors_are_json_on_stderr_only() {
    for args in [
        &["--json"][..],
        &["--json", "no-such-command"],
        &["--json", "send", "bob"],
        &["--json", "register", "Not A Name"],
        &["--json", "listen", "--for", "soon"],
        &["register", "alice", "--json", "--password", "x"],
    ] {
        assert_eq!(error_of(&run(args)), (2, "usage".to_owned()), "{args:?}");
    }
    assert_eq!(run(&["no-such-command"]).status.code(), Some(2));
}

fn without_a_profile_it_says_so() {
    for command in ["whoami", "chats", "requests", "logout"] {
        assert_eq!(
            error_of(&run(&["--json", command])),
            (4, "no_profile".to_owned()),
            "{command}"
        );
    }
}

fn without_a_server_nothing_is_asked() {
    let ca = File::open("/etc/ssl/certs/ca-certificates.crt").is_ok();
    for args in [
        &["--json", "register", "alice"][..],
        &["--json", "send", "bob", "hi"],
        &["--json", "listen"],
    ] {
        assert_eq!(
            error_of(&run(args)),
            (2, "usage".to_owned()),
            "{args:?} {ca}"
        );
    }
}

fn without_a_terminal_no_password_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let ca = write_ca(home.path());
    let mut command = Command::new("setsid");
    let inner = client(
        home.path(),
        &[
            "--json",
            "--server",
            "127.0.0.1:9",
            "--ca",
            &ca,
            "register",
            "alice",
        ],
    );
    command
        .arg("--wait")
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let Ok(output) = command.output() else {
        println!("(no setsid here)");
        return;
    };
    assert_eq!(error_of(&output), (3, "password_needed".to_owned()));
}

fn a_bad_ca_file_is_named() {
    let output = run(&[
        "--json",
        "--server",
        "127.0.0.1:9",
        "--ca",
        "/no/such/file",
        "listen",
    ]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error_of(&output).0, 2);
    assert!(text.contains("/no/such/file"), "{text}");
}

fn a_closed_pipe_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let mut child = client(home.path(), &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}

fn write_ca(folder: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let path = folder.join("ca.pem");
    std::fs::write(&path, certificate.pem()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A client in a pseudo-terminal, with everything that it wrote there.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    /// Kept open, so that the terminal outlives the client.
    _slave: Box<dyn SlavePty + Send>,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    _home: tempfile::TempDir,
}

impl Terminal {
    fn start(args: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let ca = write_ca(home.path());
        let size = PtySize {
            rows: 24,
            cols: 80,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.env_clear();
        command.env(AS_CLIENT, "1");
        command.env("TERM", "xterm-256color");
        command.args([
            "--home",
            home.path().to_str().unwrap(),
            "--server",
            "127.0.0.1:9",
            "--ca",
            &ca,
        ]);
        command.args(args);
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, screen) = sync_channel(1000);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            _slave: pair.slave,
            screen,
            seen: Vec::new(),
            _home: home,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.text().contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => panic!("no {text:?} in {:?}", self.text()),
            }
        }
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    fn echoes(&self) -> bool {
        u64::from(self.master.get_termios().unwrap().local_flags.bits()) & ECHO != 0
    }

    fn signal(&self, name: &str) {
        let pid = self.child.process_id().unwrap().to_string();
        let done = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .unwrap();
        assert!(done.success());
    }

    fn exit_code(&mut self) -> u32 {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(Instant::now() < end, "still running: {:?}", self.text());
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

fn the_prompt_shows_dots_and_nothing_else() {
    let mut terminal = Terminal::start(&["register", "alice"]);
    terminal.wait_for("Choose a password: ");
    assert!(!terminal.echoes());
    terminal.type_keys(&format!("{CANARY}\n"));
    terminal.wait_for("Repeat it: ");
    let pid = terminal.child.process_id().unwrap();
    for file in ["cmdline", "environ"] {
        // Only root may read these of a process that keeps its memory private.
        if let Ok(bytes) = std::fs::read(format!("/proc/{pid}/{file}")) {
            assert!(!contains(&bytes, CANARY), "{file}");
        }
    }
    terminal.type_keys("something else\n");
    terminal.wait_for("differ");
    assert_eq!(terminal.exit_code(), 2);
    assert!(terminal.echoes());
    let text = terminal.text();
    assert!(
        !text.contains(CANARY) && !text.contains("something else"),
        "{text}"
    );
    assert_eq!(
        text.matches('•').count(),
        CANARY.len() + "something else".len()
    );
}

fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

fn short_passwords_are_refused() {
    let mut terminal = Terminal::start(&["register", "alice"]);
    terminal.wait_for("Choose a password: ");
    terminal.type_keys("seven77\n");
    terminal.wait_for("at least 8");
    assert_eq!(terminal.exit_code(), 2);
}

fn the_terminal_comes_back_after_ctrl_c() {
    let mut terminal = Terminal::start(&["login", "alice"]);
    terminal.wait_for("Password: ");
    assert!(!terminal.echoes());
    terminal.type_keys("half a pass\u{3}");
    terminal.wait_for("interrupted");
    assert_eq!(terminal.exit_code(), 1);
    assert!(terminal.echoes());
}

fn the_terminal_comes_back_after_sigterm() {
    let mut terminal = Terminal::start(&["login", "alice"]);
    terminal.wait_for("Password: ");
    assert!(!terminal.echoes());
    terminal.signal("TERM");
    assert_eq!(terminal.exit_code(), 1);
    assert!(terminal.echoes());
}

fn memory_is_private() {
    let mut terminal = Terminal::start(&["login", "alice"]);
    terminal.wait_for("Password: ");
    let pid = terminal.child.process_id().unwrap();
    if let Ok(limits) = std::fs::read_to_string(format!("/proc/{pid}/limits")) {
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        assert_eq!(core.split_whitespace().nth(5), Some("0"), "{core}");
    }
    terminal.type_keys("\u{3}");
    terminal.exit_code();
}

fn png_chunk(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    let mut chunk = kind.to_vec();
    chunk.extend_from_slice(contents);
    let step = |sum: u32, _| (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1));
    let sum = !chunk.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), step)
    });
    let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
    [&length[..], &chunk, &sum.to_be_bytes()].concat()
}

/// A PNG of this size, whose data is zeros, as far as there is any.
fn bomb(side: u32, profile: &[u8]) -> Vec<u8> {
    let mut header = [side.to_be_bytes(), side.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(png_chunk(b"IHDR", &header));
    png.extend(png_chunk(b"iCCP", profile));
    let mut data = vec![0x78, 1];
    for _ in 0..2_000 {
        data.extend([0, 0xff, 0xff, 0, 0]);
        data.resize(data.len() + 0xffff, 0);
        if data.len() > 8 << 20 {
            break;
        }
    }
    png.extend(png_chunk(b"IDAT", &data));
    png
}

/// H16: what an image may do to its decoder, it does to nothing else.
fn image_bombs_end_only_a_worker() {
    let home = tempfile::tempdir().unwrap();
    let mut gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    for _ in 0..10_000 {
        gif.extend(b",\0\0\0\0\xff\xff\xff\xff\0\x02\x01\x44\0");
    }
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xc2, 0, 17, 8, 0xff, 0xff, 0xff, 0xff, 3];
    jpeg.extend([1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
    for (what, image) in [
        ("large", bomb(60_000, b"p\0\0")),
        ("within the side's bound", bomb(31_000, b"p\0\0")),
        (
            "with a profile",
            bomb(20_000, &[b"p\0\0".as_slice(), &[0x78; 100_000]].concat()),
        ),
        ("frames", gif),
        ("progressive", jpeg),
        ("cut", bomb(100, b"p\0\0")[..60].to_vec()),
    ] {
        let began = Instant::now();
        let mut child = client(home.path(), &["preview-worker"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have seen enough before the end.
        let _ = child.stdin.take().unwrap().write_all(&image);
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success(), "{what} had a preview");
        assert!(output.stdout.is_empty(), "{what}");
        assert!(began.elapsed() < DEADLINE, "{what}: {:?}", began.elapsed());
    }
}

fn a_worker_has_little_to_work_with() {
    let home = tempfile::tempdir().unwrap();
    let mut child = client(home.path(), &["preview-worker"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
    let end = Instant::now() + DEADLINE;
    let limit = |name: &str| -> Option<u64> {
        let limits = of("limits");
        let line = limits.lines().find(|line| line.starts_with(name))?;
        line[name.len()..].split_whitespace().next()?.parse().ok()
    };
    // The last one that it sets.
    while limit("Max open files") != Some(0) {
        assert!(Instant::now() < end, "{}", of("limits"));
        thread::yield_now();
    }
    assert_eq!(limit("Max cpu time"), Some(1));
    assert_eq!(limit("Max file size"), Some(0));
    let pages: u64 = of("statm").split(' ').next().unwrap().parse().unwrap();
    let memory = limit("Max address space").unwrap();
    assert!(memory <= pages * 4096 + (64 << 20), "{memory}");
    child.kill().unwrap();
    child.wait().unwrap();
}
