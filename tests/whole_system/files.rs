//! Files through a real deployment: byte for byte in spite of killed servers and clients, without
//! what they must not tell, and never when somebody changed them on the way.

use std::fs;
use std::io::{BufRead as _, BufReader, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Deployment, Person, canary, signal};

/// Bytes that do not repeat.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

fn file(person: &Person, name: &str, bytes: &[u8]) -> PathBuf {
    let path = person.home().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn folder(person: &Person) -> PathBuf {
    let path = person.home().join("saved");
    fs::create_dir_all(&path).unwrap();
    path
}

fn entries(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits for the next file from anybody; the message.
fn attachment(person: &Person) -> Value {
    let heard = person.ok(&["listen", "--for", "30s", "--count", "1"]);
    let found = heard
        .events
        .iter()
        .find(|event| event["kind"] == "attachment");
    found
        .unwrap_or_else(|| panic!("no file: {heard:?}"))
        .clone()
}

fn send(person: &Person, to: &Person, path: &Path, text: &str) {
    person.ok(&["send", &to.name, text, "--file", path.to_str().unwrap()]);
}

/// Saves what a message tells of; where it lies.
fn save(person: &Person, message: &Value) -> PathBuf {
    let to = folder(person);
    let id = message["id"].as_str().unwrap();
    let saved = person.ok(&["save", id, "--to", to.to_str().unwrap()]);
    let event = saved.events.iter().find(|event| event["event"] == "saved");
    PathBuf::from(event.unwrap()["path"].as_str().unwrap())
}

/// A command under way, whose progress is read.
struct Moving {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Moving {
    fn start(person: &Person, arguments: &[&str]) -> Self {
        let mut child = person
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    fn event(&mut self) -> Option<Value> {
        let line = self.lines.next()?.unwrap();
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Reads on until a part has moved.
    fn halfway(&mut self) -> u64 {
        while let Some(event) = self.event() {
            let done = event["done"].as_u64().unwrap_or(0);
            if event["event"] == "progress" && done > 0 {
                assert!(
                    done < event["total"].as_u64().unwrap(),
                    "too fast for this test"
                );
                return done;
            }
        }
        panic!("it ended before anything moved: {:?}", self.child.wait());
    }

    /// Lets nothing happen in it while `what` is done.
    fn meanwhile(&self, what: impl FnOnce()) {
        signal("STOP", self.child.id().into());
        what();
        signal("CONT", self.child.id().into());
    }

    fn finish(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.event() {
            events.push(event);
        }
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?} {events:?}");
        events
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// SIGKILL for every server that somebody is connected to.
fn kill_servers_in_use(deployment: &Deployment) {
    let status = deployment.status();
    let mut killed = 0;
    for process in status["processes"].as_array().unwrap() {
        if process["kind"] == "server" && process["sessions"].as_u64().unwrap_or(0) > 0 {
            signal("KILL", process["pid"].as_u64().unwrap());
            killed += 1;
        }
    }
    assert!(killed > 0, "nobody was connected: {status}");
}

/// K1, and that a file is in nobody's way.
#[test]
fn a_large_file_survives_killed_servers_both_ways() {
    let deployment = Deployment::start(3);
    let [alice, bob, carol, dave] =
        ["alice", "bob", "carol", "dave"].map(|stem| deployment.registered(stem));
    alice.befriend(&bob);
    carol.befriend(&dave);
    let bytes = content(20_000_000);
    let path = file(&alice, "data.bin", &bytes);
    let path = path.to_str().unwrap();
    let mut upload = Moving::start(&alice, &["send", &bob.name, "for you", "--file", path]);
    upload.halfway();
    upload.meanwhile(|| kill_servers_in_use(&deployment));
    // A text has its own connection, and is not behind the file.
    let began = Instant::now();
    carol.ok(&["send", &dave.name, "meanwhile"]);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let events = upload.finish();
    assert!(
        events.iter().any(|event| event["event"] == "sent"),
        "{events:?}"
    );
    let message = attachment(&bob);
    assert_eq!(message["text"], "for you");
    assert_eq!(message["file"]["name"], "data.bin");
    assert_eq!(message["file"]["size"], 20_000_000);
    let to = folder(&bob);
    let id = message["id"].as_str().unwrap();
    let mut download = Moving::start(&bob, &["save", id, "--to", to.to_str().unwrap()]);
    download.halfway();
    download.meanwhile(|| kill_servers_in_use(&deployment));
    let events = download.finish();
    assert!(
        events.iter().any(|event| event["event"] == "saved"),
        "{events:?}"
    );
    assert_eq!(entries(&to), ["data.bin"]);
    assert!(
        fs::read(to.join("data.bin")).unwrap() == bytes,
        "it is another file"
    );
}

#[test]
fn a_killed_client_goes_on_where_it_was() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let bytes = content(16_000_000);
    let path = file(&alice, "data.bin", &bytes);
    let arguments = ["send", &bob.name, "", "--file", path.to_str().unwrap()];
    let mut first = Moving::start(&alice, &arguments);
    let done = first.halfway();
    first.kill();
    let mut second = Moving::start(&alice, &arguments);
    assert!(
        second.halfway() >= done,
        "what was stored is not sent again"
    );
    second.finish();
    let message = attachment(&bob);
    let to = folder(&bob);
    let id = message["id"].as_str().unwrap();
    let arguments = ["save", id, "--to", to.to_str().unwrap()];
    let mut first = Moving::start(&bob, &arguments);
    first.halfway();
    first.kill();
    assert!(!to.join("data.bin").exists(), "half a file has no name");
    Moving::start(&bob, &arguments).finish();
    assert_eq!(entries(&to), ["data.bin"]);
    assert!(
        fs::read(to.join("data.bin")).unwrap() == bytes,
        "it is another file"
    );
    // Once more, beside the first.
    assert!(save(&bob, &message).ends_with("data (1).bin"));
}

/// A JPEG that says where it was made.
fn photo(marker: &str) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(600, 400, |x, y| {
        image::Rgb([(x / 3) as u8, (y / 2) as u8, 120])
    });
    let mut plain = Cursor::new(Vec::new());
    picture
        .write_to(&mut plain, image::ImageFormat::Jpeg)
        .unwrap();
    let plain = plain.into_inner();
    let exif = format!("Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0GPS {marker}");
    let length = u16::try_from(exif.len() + 2).unwrap();
    let mut talkative = vec![0xff, 0xd8, 0xff, 0xe1];
    talkative.extend(length.to_be_bytes());
    talkative.extend(exif.as_bytes());
    talkative.extend(&plain[2..]);
    talkative.extend(marker.as_bytes());
    talkative
}

/// H17, H12.
#[test]
fn a_photo_arrives_without_what_it_must_not_tell() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let marker = canary();
    let bytes = photo(&marker);
    // Named as some cameras do, whatever they write.
    let path = file(&alice, "IMG_0001.HEIC", &bytes);
    send(&alice, &bob, &path, "look");
    let message = attachment(&bob);
    assert_eq!(message["file"]["media_type"], "image/jpeg");
    assert_eq!(message["file"]["width"], 600, "it has a preview");
    let saved = fs::read(save(&bob, &message)).unwrap();
    let holds = |bytes: &[u8]| bytes.windows(32).any(|part| part == marker.as_bytes());
    assert!(holds(&bytes) && !holds(&saved));
    let (before, after) = (
        image::load_from_memory(&bytes),
        image::load_from_memory(&saved),
    );
    assert!(before.unwrap() == after.unwrap(), "the picture is the same");
    // As it is, where that is asked for.
    alice.ok(&[
        "send",
        &bob.name,
        "",
        "--keep-metadata",
        "--file",
        path.to_str().unwrap(),
    ]);
    let kept = save(&bob, &attachment(&bob));
    assert!(holds(&fs::read(kept).unwrap()));
}

#[test]
fn what_a_file_really_is_is_told() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let program = fs::read("/bin/true").unwrap();
    let path = file(&alice, "photo.jpg", &program);
    send(&alice, &bob, &path, "");
    let message = attachment(&bob);
    let to = folder(&bob);
    let id = message["id"].as_str().unwrap();
    let said = bob.ok(&["save", id, "--to", to.to_str().unwrap()]);
    let saved = said
        .events
        .iter()
        .find(|event| event["event"] == "saved")
        .unwrap();
    assert!(
        saved["warning"].as_str().unwrap().contains("program"),
        "{saved}"
    );
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(to.join("photo.jpg"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn limits_and_mistakes_are_told_clearly() {
    let limits: &'static [(&str, &str)] = &[
        ("SOTTO_UP_SERVER_BLOB_BYTES_MAX", "400000"),
        ("SOTTO_UP_SERVER_BLOB_QUOTA_BYTES", "600000"),
    ];
    let deployment = Deployment::start_with(1, limits);
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let refused = |path: &Path, exit: i32, code: &str| {
        let path = path.to_str().unwrap();
        let said = alice.fails(&["send", &bob.name, "", "--file", path], exit);
        assert_eq!(said.error_code(), code, "{said:?}");
    };
    refused(&file(&alice, "large", &content(1_000_000)), 5, "too_large");
    let fits = file(&alice, "fits", &content(300_000));
    send(&alice, &bob, &fits, "");
    refused(
        &file(&alice, "second", &content(300_001)),
        5,
        "quota_exceeded",
    );
    refused(Path::new("/no/such/file"), 4, "no_file");
    refused(Path::new("/"), 1, "file_unreadable");
    refused(
        &file(&alice, "bad.jpg", b"\xff\xd8\xff\xe1\xff\xff"),
        5,
        "metadata",
    );
    let said = bob.fails(&["save", "00000000"], 4);
    assert!(!said.error_code().is_empty(), "{said:?}");
    let message = attachment(&bob);
    let id = message["id"].as_str().unwrap();
    bob.fails(&["save", id, "--to", "/no/such/folder"], 4);
}

/// H14: whoever holds the database may change what lies there, and gains nothing.
#[test]
fn a_file_that_was_changed_at_the_server_is_never_kept() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let bytes = content(700_000);
    send(&alice, &bob, &file(&alice, "a.bin", &bytes), "");
    let message = attachment(&bob);
    let of_alice = format!(
        "SELECT b.id FROM blob b JOIN account a ON a.id = b.account_id WHERE a.username = '{}'",
        alice.name
    );
    let flip = format!(
        "UPDATE blob_piece SET data = set_byte(data, 9, get_byte(data, 9) # 1)
         WHERE piece = 1 AND blob_id IN ({of_alice})"
    );
    let swap = format!(
        "UPDATE blob_piece SET data = (SELECT data FROM blob_piece p WHERE p.piece = 0
             AND p.blob_id = blob_piece.blob_id)
         WHERE piece = 1 AND blob_id IN ({of_alice})"
    );
    let cut = format!(
        "UPDATE blob_piece SET data = substr(data, 1, 1000)
         WHERE piece = 2 AND blob_id IN ({of_alice})"
    );
    let to = folder(&bob);
    let id = message["id"].as_str().unwrap();
    for (statement, code) in [
        (&flip, "attachment_mismatch"),
        (&swap, "attachment_mismatch"),
    ] {
        execute(deployment, statement);
        let said = bob.fails(&["save", id, "--to", to.to_str().unwrap()], 5);
        assert_eq!(said.error_code(), code);
        let alarm = said
            .events
            .iter()
            .find(|event| event["event"] == "security");
        assert_eq!(alarm.unwrap()["kind"], "attachment_mismatch", "{said:?}");
        assert!(entries(&to).is_empty(), "{:?}", entries(&to));
    }
    execute(deployment, &cut);
    let said = bob.run(&["save", id, "--to", to.to_str().unwrap()]);
    assert!(said.code != 0 && entries(&to).is_empty(), "{said:?}");
}

fn execute(deployment: &Deployment, statement: &str) {
    sotto_stack::sql::execute(deployment.env("SOTTO_DATABASE_URL"), statement).unwrap();
}

#[test]
fn an_export_holds_the_files_and_says_which_are_missing() {
    let deployment = Deployment::shared();
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let (kept, lost) = (content(300_000), content(5_000));
    send(&alice, &bob, &file(&alice, "plan.pdf", &kept), "the plan");
    send(&bob, &alice, &file(&bob, "notes", &lost), "");
    alice.ok(&["listen", "--for", "30s", "--count", "1"]);
    let of_bob = format!(
        "DELETE FROM blob WHERE account_id = (SELECT id FROM account WHERE username = '{}')",
        bob.name
    );
    execute(deployment, &of_bob);

    let out = alice.home().join("out");
    let words = ["export", &bob.name, "--to", out.to_str().unwrap()];
    let exported = alice.ok(&words).events.pop().unwrap();
    assert_eq!(
        (&exported["attachments"], &exported["missing"]),
        (&1.into(), &1.into())
    );
    let files = entries(&out.join("files"));
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].ends_with("-plan.pdf"), "{files:?}");
    assert_eq!(fs::read(out.join("files").join(&files[0])).unwrap(), kept);
    let lines = fs::read_to_string(out.join("messages.jsonl")).unwrap();
    let objects: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let with = |key: &str| {
        objects
            .iter()
            .find(|object| !object[key].is_null())
            .unwrap()
    };
    assert_eq!(with("saved_as")["saved_as"], format!("files/{}", files[0]));
    assert_eq!(with("missing")["missing"], "unknown_blob");
    let text = fs::read_to_string(out.join("messages.txt")).unwrap();
    assert!(text.contains(&format!("in files/{}", files[0])), "{text}");

    // Begun before: what is whole is not fetched again, what is not is.
    fs::remove_file(out.join("messages.jsonl")).unwrap();
    fs::remove_file(out.join("messages.txt")).unwrap();
    alice.ok(&words);
    assert_eq!(entries(&out.join("files")), files);
    let plain = alice.home().join("plain");
    alice.ok(&[
        "export",
        &bob.name,
        "--no-files",
        "--to",
        plain.to_str().unwrap(),
    ]);
    assert_eq!(entries(&plain), ["messages.jsonl", "messages.txt"]);
}
