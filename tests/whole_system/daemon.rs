//! One profile, many programs: bots over the socket, and the command line through it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Deployment, Person, said, wait_for, with_input};

/// A daemon of somebody's profile.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(person: &Person) -> Self {
        let mut child = person
            .command(&["daemon"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let socket = PathBuf::from(ready["socket"].as_str().unwrap());
        Self { child, socket }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program at the socket.
struct Program {
    stream: UnixStream,
    lines: Receiver<Value>,
    number: u64,
}

impl Program {
    fn connect(daemon: &Daemon) -> Self {
        let stream = UnixStream::connect(&daemon.socket).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let (sender, lines) = sync_channel(10_000);
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            stream,
            lines,
            number: 0,
        }
    }

    fn write(&mut self, line: &str) {
        self.stream.write_all(line.as_bytes()).unwrap();
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    /// Asks, and gives the answer; what is heard meanwhile is dropped.
    fn ask(&mut self, method: &str, params: &[&str]) -> Value {
        self.number += 1;
        let request =
            json!({ "jsonrpc": "2.0", "id": self.number, "method": method, "params": params });
        self.write(&format!("{request}\n"));
        loop {
            let answer = self.next();
            if answer["id"] == self.number {
                return answer;
            }
        }
    }

    fn hears(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let heard = self
                .lines
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("nothing heard of {what}"));
            if heard["method"] == "event" && is_it(&heard["params"]) {
                return heard["params"].clone();
            }
        }
    }
}

/// It costs its sender an error, nobody else anything.
fn talk_nonsense(other: &mut Program) {
    other.write("not json\n{\"method\":5}\n[]\n");
    other.stream.write_all(b"\xff\xfe\n").unwrap();
    let mut long = vec![b'x'; 2 << 20];
    long.push(b'\n');
    other.stream.write_all(&long).unwrap();
    let complaints: Vec<_> = (0..5)
        .map(|_| {
            loop {
                let line = other.next();
                if line["method"].is_null() {
                    break line["error"]["code"].as_i64().unwrap();
                }
            }
        })
        .collect();
    assert_eq!(complaints, [-32700, -32600, -32600, -32700, -32600]);
    // It goes on being served.
    let answer = other.ask("whoami", &[]);
    assert_eq!(answer["result"][0]["event"], "account", "{answer}");
    other.write("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"whoami\"}\n");
    let answer = loop {
        let line = other.next();
        if line["method"].is_null() {
            break line;
        }
    };
    assert!(
        answer["id"].is_null() && answer["result"].is_array(),
        "{answer}"
    );
    for (method, params, code) in [
        ("frobnicate", [].as_slice(), -32601),
        ("group frobnicate", &[], -32601),
        ("whoami", &["--profile", "mallory"], -32602),
    ] {
        let answer = other.ask(method, params);
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
}

#[test]
fn many_programs_work_on_one_profile_and_the_command_line_with_them() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let daemon = Daemon::start(&alice);
    let mode = std::fs::metadata(&daemon.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // A command is a method, its objects are the result, its refusal the error.
    let mut bot = Program::connect(&daemon);
    let sent = bot.ask("send", &[&bob.name, "from a bot"]);
    assert_eq!(sent["result"][0]["event"], "sent", "{sent}");
    let refused = bot.ask("send", &["nobody-of-this-name", "x"]);
    assert_eq!(
        refused["error"]["data"]["code"], "unknown_user",
        "{refused}"
    );
    assert_eq!(refused["error"]["data"]["exit"], 4, "{refused}");
    for unfit in [
        "passwd",
        "listen",
        "chat bob",
        "daemon",
        "recovery new",
        "send bob -",
    ] {
        let words: Vec<&str> = unfit.split(' ').collect();
        let answer = bot.ask(words[0], &words[1..]);
        assert_eq!(answer["error"]["code"], -32000, "{answer}");
    }

    // Two listen; the command line comes through, in its own words and with its own exit codes.
    let mut other = Program::connect(&daemon);
    assert_eq!(bot.ask("subscribe", &[])["result"], true);
    assert_eq!(other.ask("subscribe", &[])["result"], true);
    assert_eq!(alice.ok(&["whoami"]).events[0]["username"], alice.name);
    let said = alice.ok(&["send", &bob.name, "from the command line"]);
    assert_eq!(said.events[0]["event"], "sent");
    let output = with_input(alice.command(&["send", &bob.name, "-"]), "from stdin\n");
    assert!(output.status.success(), "{output:?}");
    let said = alice.fails(&["history", "nobody-of-this-name"], 4);
    assert_eq!(said.error_code(), "not_found");
    assert_eq!(alice.fails(&["logout"], 7).error_code(), "profile_in_use");
    let mut listening = alice.listen();
    // It has subscribed once it hears the first of these.
    bob.ok(&["listen", "--for", "1s"]);
    wait_for("a message to reach everybody", || {
        bob.ok(&["send", &alice.name, "to everybody"]);
        let mut heard = false;
        listening.try_collect();
        heard |= listening
            .events
            .iter()
            .any(|event| event["text"] == "to everybody");
        heard.then_some(())
    });
    for program in [&bot, &other] {
        let message = program.hears("the message", |event| event["text"] == "to everybody");
        assert_eq!(message["sender"], bob.name);
    }
    let texts = alice.ok(&["history", &bob.name]).texts();
    for text in ["from a bot", "from the command line", "from stdin"] {
        assert!(texts.iter().any(|shown| shown == text), "{texts:?}");
    }

    talk_nonsense(&mut other);
    assert_eq!(bot.ask("shutdown", &[])["result"], true);
    let mut daemon = daemon;
    wait_for("the daemon to end", || daemon.child.try_wait().unwrap());
    assert!(!daemon.socket.exists());
    // Without it commands work as before.
    alice.ok(&["whoami"]);
}

/// Two terminals, one profile: each talks, answers and runs commands through the daemon.
#[test]
fn two_chats_go_through_one_daemon() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    bob.ok(&["send", &alice.name, "a question"]);
    let daemon = Daemon::start(&alice);
    let chat = |input: &str| said(with_input(alice.command(&["chat", &bob.name]), input));
    let first = chat("from one\n/reply @theirs don't \"ask\n/users --online\n/nonsense x\n");
    assert_eq!(first.code, 0, "{first:?}");
    assert!(
        first.texts().contains(&"a question".to_owned()),
        "{first:?}"
    );
    let users = first.events.iter().filter(|event| event["event"] == "user");
    assert!(users.count() > 0, "{first:?}");
    assert_eq!(first.error_code(), "usage", "{first:?}");
    let mut listening = bob.listen();
    let second = chat("from two\n//slash\n");
    assert_eq!(second.code, 0, "{second:?}");
    let wanted = ["from one", "don't \"ask", "from two", "/slash"];
    listening.until("what was typed", |events| {
        let texts = crate::support::texts(events);
        wanted
            .iter()
            .all(|text| texts.iter().any(|shown| shown == text))
    });
    let answer = listening
        .events
        .iter()
        .find(|event| event["text"] == wanted[1]);
    let quote = &answer.unwrap()["reply_to"]["quote"];
    assert_eq!(quote, "a question");
    let own = chat("/send carol -\n/logout\n");
    assert_eq!(
        (own.code, own.error_code()),
        (0, "profile_in_use".to_owned()),
        "{own:?}"
    );
    let nobody = alice.fails(&["chat", "#no such group"], 4);
    assert_eq!(nobody.error_code(), "not_found");
    drop(daemon);
}

/// The connection has caught up long before a command comes: nothing says so once more.
#[test]
fn a_command_through_a_daemon_waits_for_nothing_that_has_happened() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    let daemon = Daemon::start(&bob);
    let mut bot = Program::connect(&daemon);
    assert_eq!(bot.ask("subscribe", &[])["result"], true);
    alice.ok(&["send", &bob.name, "hello"]);
    alice.ok(&["group", "new", "team", &bob.name]);
    bot.hears("the invitation", |event| event["event"] == "invitation");
    let began = Instant::now();
    let done = |answer: Value| assert!(answer["error"].is_null(), "{answer}");
    done(bot.ask("requests", &[]));
    done(bot.ask("accept", &[&alice.name]));
    done(bot.ask("invites", &[]));
    done(bot.ask("join", &["#team"]));
    done(bot.ask("typing", &[&alice.name]));
    // Each of them would wait for ten seconds or more.
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// Set for the program that the next test starts as another user.
const AS_ANOTHER: &str = "SOTTO_TEST_SOCKET";

#[test]
fn a_program_of_another_user_is_refused() {
    if let Some(socket) = std::env::var_os(AS_ANOTHER) {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream
            .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"whoami\"}\n")
            .unwrap();
        let mut answer = String::new();
        let end = BufReader::new(stream).read_line(&mut answer);
        assert!(end.is_err() || answer.is_empty(), "{answer}");
        return;
    }
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        // Only root can be somebody else for a moment.
        return;
    }
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let daemon = Daemon::start(&alice);
    // Without what the folders' modes keep out already.
    let mut open = daemon.socket.as_path();
    std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o666)).unwrap();
    while let Some(folder) = open
        .parent()
        .filter(|folder| folder.starts_with(alice.home()))
    {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        open = folder;
    }
    let test = "daemon::a_program_of_another_user_is_refused";
    let other = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact"])
        .env(AS_ANOTHER, &daemon.socket)
        .output()
        .unwrap();
    assert!(other.status.success(), "{other:?}");
    let ran = String::from_utf8_lossy(&other.stdout).contains("1 passed");
    assert!(ran, "{other:?}");
    // The owner is still served.
    let answer = Program::connect(&daemon).ask("whoami", &[]);
    assert_eq!(answer["result"][0]["username"], alice.name.as_str());
}
