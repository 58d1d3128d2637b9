//! What people read when things go well and when they do not: short sentences
//! of our own, no texts of libraries.

use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{DEADLINE, Deployment, Person, fresh_name};

/// A command as people give it: without `--json`.
fn for_people(person: &Person, arguments: &[&str]) -> Command {
    let programs = person.command(arguments);
    let mut command = Command::new(programs.get_program());
    command.env_clear();
    for (name, value) in programs.get_envs() {
        command.env(name, value.unwrap());
    }
    command
        .args(programs.get_args().filter(|argument| *argument != "--json"))
        .stdin(Stdio::null());
    command
}

#[test]
fn a_login_greets_and_whoami_tells_the_details() {
    let deployment = Deployment::shared();
    let person = deployment.person(&fresh_name("greta"));
    let name = person.name.as_str();
    let output = for_people(&person, &["register", name]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.lines().next(),
        Some(format!("welcome, {name}. This device is ready.").as_str())
    );
    assert_eq!(text.lines().count(), 2, "{text}");

    let output = for_people(&person, &["whoami"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let labels: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        labels,
        ["name", "state", "device", "deployment", "identity"],
        "{text}"
    );
}

#[test]
fn a_damaged_store_is_one_sentence() {
    let deployment = Deployment::shared();
    let person = deployment.registered("greta");
    let store = person.home().join("sotto/default/profile.db");
    std::fs::write(&store, [7; 8192]).unwrap();
    let said = person.fails(&["chats"], 1);
    assert_eq!(said.error_code(), "store_damaged");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
}

/// A way to the server that can be cut.
struct Wire {
    address: String,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let (server, kept) = (server.to_owned(), Arc::clone(&ends));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else {
                    continue;
                };
                let mut kept = kept.lock().unwrap();
                kept.push(client.try_clone().unwrap());
                kept.push(server.try_clone().unwrap());
                pass_on(client.try_clone().unwrap(), server.try_clone().unwrap());
                pass_on(server, client);
            }
        });
        Self { address, ends }
    }

    fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn until(lines: &Receiver<String>, wanted: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line| line != wanted) {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => seen.push(line),
            Err(_) => panic!("no {wanted:?} in {seen:?}"),
        }
    }
    seen
}

#[test]
fn a_broken_connection_is_one_short_line() {
    let deployment = Deployment::shared();
    let mut person = deployment.registered("greta");
    let wire = Wire::to(&person.server);
    person.server = wire.address.clone();
    let mut child = for_people(&person, &["listen"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = sync_channel(1_000);
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    until(&lines, "listening; Ctrl-C ends");
    wire.cut();
    assert_eq!(
        until(&lines, "connected again"),
        [
            "the connection to the server broke; connecting again…",
            "connected again"
        ]
    );
    child.kill().unwrap();
    child.wait().unwrap();
}
