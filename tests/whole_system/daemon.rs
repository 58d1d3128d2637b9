//! One profile, many programs: bots over the socket, and the command line through it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use serde_json::{Value, json};

use crate::support::{DEADLINE, Deployment, Person, wait_for, with_input};

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

/// It costs its sender an error or the connection, nobody else anything.
fn talk_nonsense(other: &mut Program) {
    other.write("not json\n{\"method\":5}\n[]\n");
    let complaints: Vec<_> = (0..3)
        .map(|_| {
            loop {
                let line = other.next();
                if line["method"].is_null() {
                    break line["error"]["code"].as_i64().unwrap();
                }
            }
        })
        .collect();
    assert_eq!(complaints, [-32700, -32600, -32600]);
    let _ = other.stream.write_all(&vec![b'x'; 2 << 20]);
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
    for unfit in ["passwd", "listen", "daemon", "nonsense"] {
        let answer = bot.ask(unfit, &[]);
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
