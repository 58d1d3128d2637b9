//! Several devices of one account: linked by a code, ended by another, got
//! back by a recovery key, and nothing of it by a password alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;

use serde_json::Value;

use crate::support::{
    Deployment, Person, canary, files_holding, said, texts, wait_for, with_input,
};

/// A new device that shows a code and waits.
pub(crate) struct Linking {
    child: Child,
    pub(crate) code: String,
    pub(crate) fingerprint: String,
    id: String,
    rest: Receiver<String>,
}

impl Linking {
    pub(crate) fn start(person: &Person, name: &str) -> Self {
        let mut child = person
            .command(&["link", name, "--device-name", "second"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, rest) = std::sync::mpsc::sync_channel(1000);
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            use std::io::BufRead as _;
            for line in std::io::BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
            {
                let _ = sender.send(line);
            }
        });
        let line = rest.recv_timeout(crate::support::DEADLINE).unwrap();
        let shown: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(shown["event"], "link_code");
        let text = |name: &str| shown[name].as_str().unwrap().to_owned();
        Self {
            code: text("code"),
            fingerprint: text("fingerprint"),
            id: text("id"),
            child,
            rest,
        }
    }

    pub(crate) fn finish(self) -> Vec<Value> {
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = self.rest.iter();
        lines
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect()
    }

    fn give_up(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A second machine of the same person.
pub(crate) fn machine(deployment: &Deployment, of: &Person) -> Person {
    let mut machine = deployment.person(&of.name);
    machine.password.clone_from(&of.password);
    machine.password_file.clone_from(&of.password_file);
    machine
}

pub(crate) fn linked(deployment: &Deployment, old: &Person) -> (Person, String) {
    let new = machine(deployment, old);
    let linking = Linking::start(&new, &old.name);
    let (code, id) = (
        linking.code.to_lowercase().replace('-', " "),
        linking.id.clone(),
    );
    let answer = said(with_input(
        old.command(&["devices", "link"]),
        &format!("{code}\nyes\n"),
    ));
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(
        answer.events[0]["fingerprint"],
        linking.fingerprint.as_str()
    );
    assert_eq!(answer.events[0]["device_name"], "second");
    let events = linking.finish();
    assert_eq!(events.last().unwrap()["event"], "linked", "{events:?}");
    (new, id)
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect()
}

#[test]
fn a_linked_device_reads_writes_is_announced_and_ends_when_revoked() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut listening = bob.listen();
    let (second, id) = linked(deployment, &alice);
    listening.until("the new device to be announced", |events| {
        kinds(events).contains(&"device_added")
    });
    listening.kill();
    let before = second.ok(&["history", &bob.name]);
    assert_eq!(before.texts(), ["hello"], "recent history came along");

    bob.ok(&["send", &alice.name, "to both of you"]);
    for device in [&alice, &second] {
        let heard = device.ok(&["listen", "--for", "30s", "--count", "1"]);
        assert_eq!(heard.texts(), ["to both of you"], "{heard:?}");
    }
    second.ok(&["send", &bob.name, "from the second"]);
    let mut first = alice.listen();
    first.until("the other device's message", |events| {
        texts(events).contains(&"from the second".to_owned())
    });
    let shown = first.kill();
    let own = shown
        .iter()
        .find(|event| event["text"] == "from the second")
        .unwrap();
    assert_eq!(own["sender"], alice.name.as_str());
    assert_eq!(own["direction"], "out", "{own:?}");

    let names = alice.ok(&["devices"]);
    let listed = names.events.iter().find(|event| event["id"] == id.as_str());
    assert_eq!(listed.unwrap()["name"], "second", "{names:?}");
    alice.ok(&["devices", "rename", &id[..8], "laptop"]);
    alice.ok(&["devices", "revoke", &id]);
    let refused = second.fails(&["send", &bob.name, "am I still here"], 3);
    assert_eq!(refused.error_code(), "not_logged_in", "{refused:?}");
    assert_eq!(second.ok(&["whoami"]).events[0]["state"], "revoked");
    assert_eq!(alice.ok(&["devices"]).events.len(), 1);
    bob.ok(&["send", &alice.name, "only to the first"]);
    let heard = alice.ok(&["listen", "--for", "30s", "--count", "1"]);
    assert_eq!(heard.texts(), ["only to the first"]);
}

/// B11: a code that was mistyped, never shown, or not agreed to adds nothing,
/// and no argument takes one.
#[test]
fn only_a_code_that_is_shown_and_agreed_to_adds_a_device() {
    let deployment = Deployment::shared();
    let alice = deployment.registered("alice");
    let new = machine(deployment, &alice);
    let linking = Linking::start(&new, &alice.name);
    let link = |input: &str| said(with_input(alice.command(&["devices", "link"]), input));
    let last = if linking.code.ends_with('A') {
        'B'
    } else {
        'A'
    };
    let mistyped = format!("{}{last}\nyes\n", &linking.code[..linking.code.len() - 1]);
    assert_eq!(link(&mistyped).code, 2);
    assert_ne!(link(&format!("{}\nno\n", linking.code)).code, 0);
    assert_ne!(link(&format!("{}\n", linking.code)).code, 0);
    assert_eq!(alice.run(&["devices", "link", &linking.code]).code, 2);
    assert_eq!(alice.ok(&["devices"]).events.len(), 1);

    // Of another account: whoever is lured into typing it adds nothing.
    let mallory = deployment.registered("mallory");
    let input = format!("{}\nyes\n", linking.code);
    let lured = said(with_input(mallory.command(&["devices", "link"]), &input));
    assert_eq!(lured.error_code(), "wrong_account", "{lured:?}");
    assert_eq!(mallory.ok(&["devices"]).events.len(), 1);
    linking.give_up();
    assert!(!new.home().join("sotto/default/profile.db").exists());
}

/// A sound recovery key, of nobody here.
const OTHER_WORDS: &str =
    "legal winner thank year wave sausage worth useful legal winner thank yellow";

/// F13, I10: with the password and all that the server has, but without the
/// twelve words, nothing is restored; with them everything is.
#[test]
fn the_recovery_key_and_nothing_less_brings_an_account_back() {
    let deployment = Deployment::shared();
    let (alice, bob) = (
        deployment.person(&crate::support::fresh_name("alice")),
        deployment.registered("bob"),
    );
    let words = alice.home().join("words");
    let path = words.to_str().unwrap();
    alice.ok(&["register", &alice.name, "--recovery-key-file", path]);
    let mode = fs::metadata(&words).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    alice.befriend(&bob);
    let note = canary();
    alice.ok(&["contact", &bob.name, "--note", &note]);
    // A new key backs up at once what is there now.
    let words = alice.home().join("new-words");
    alice.ok(&[
        "recovery",
        "new",
        "--recovery-key-file",
        words.to_str().unwrap(),
    ]);
    assert_eq!(
        files_holding(&deployment.dir, note.as_bytes()),
        Vec::<std::path::PathBuf>::new()
    );

    let thief = machine(deployment, &alice);
    assert_eq!(
        thief.fails(&["login", &alice.name], 3).error_code(),
        "identity_mismatch"
    );
    let wrong = thief.home().join("wrong");
    fs::write(&wrong, OTHER_WORDS).unwrap();
    let recover = |who: &Person, words: &Path, code: i32| {
        let said = who.run(&[
            "recover",
            &alice.name,
            "--recovery-key-file",
            words.to_str().unwrap(),
        ]);
        assert_eq!(said.code, code, "{said:?}");
        said
    };
    recover(&thief, &wrong, 3);
    recover(&thief, &alice.home().join("words"), 3);
    assert!(!thief.home().join("sotto/default/profile.db").exists());
    assert_eq!(
        alice.ok(&["devices"]).events.len(),
        1,
        "a password adds no device"
    );

    let new = machine(deployment, &alice);
    let back = recover(&new, &words, 0);
    assert_eq!(back.events.last().unwrap()["event"], "recovered");
    assert_eq!(
        new.ok(&["whoami"]).events[0]["identity"],
        alice.ok(&["whoami"]).events[0]["identity"]
    );
    let contacts = new.ok(&["contacts"]);
    assert!(
        contacts
            .events
            .iter()
            .any(|event| event["note"] == note.as_str()),
        "{contacts:?}"
    );
    bob.ok(&["send", &alice.name, "welcome back"]);
    let heard = new.ok(&["listen", "--for", "30s", "--count", "1"]);
    assert_eq!(heard.texts(), ["welcome back"]);
    new.ok(&["send", &bob.name, "thank you"]);
}

/// More than fits beside the answer comes in a sealed file, which is gone from the servers then.
#[test]
fn a_linked_device_gets_a_thousand_earlier_messages() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let secret = canary();
    let lines: String = (0..150)
        .map(|number| format!("{number} {secret} {}\n", "x".repeat(900)))
        .collect();
    let chat = said(with_input(alice.command(&["chat", &bob.name]), &lines));
    assert!(matches!(chat.code, 0 | 6), "{chat:?}");
    // What a slow machine did not send in time goes out with the next commands.
    wait_for("all of it to be sent", || {
        alice.run(&["requests"]);
        let chats = alice.ok(&["chats"]).events;
        (chats[0]["queued"] == 0).then_some(())
    });
    let before = alice.ok(&["history", &bob.name, "--last", "1000"]).texts();
    assert_eq!(before.len(), 151);
    let (second, _) = linked(deployment, &alice);
    let came = second.ok(&["history", &bob.name, "--last", "1000"]);
    assert_eq!(came.texts(), before);
    assert_eq!(
        second
            .ok(&["search", &secret, "--last", "1000"])
            .events
            .len(),
        150
    );
    let unread = &second.ok(&["chats"]).events[0]["unread"];
    assert_eq!(*unread, 0);
    let left = alice.ok(&["settings"]).events[0]["file_bytes_used"].clone();
    assert_eq!(left, 0, "nothing of it is left at the servers");
    let found = files_holding(&deployment.dir, secret.as_bytes());
    assert!(found.is_empty(), "{found:?}");
}
