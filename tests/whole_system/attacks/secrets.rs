//! F1, I1, I2, I4: passwords, messages and keys, looked for in every log at
//! its most talkative, in the memory of every process of the deployment, and
//! in every byte that Postgres keeps.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sotto_crypto::KdfParameters;
use sotto_crypto::password::{account_salt, derive_keys};
use sotto_protocol::{DeploymentId, Username};

use super::plain;
use crate::support::{Deployment, Person, SOTTO, canary};

const TALKATIVE: &[(&str, &str)] = &[("RUST_LOG", "trace"), ("SOTTO_UP_LOG", "trace")];

/// A secret in the forms in which a program may have kept it.
struct Needle {
    what: &'static str,
    bytes: Vec<u8>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// base64 without its last, padded group; standard or URL-safe.
fn base64(bytes: &[u8], last: [char; 2]) -> String {
    let letters: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(last)
        .collect();
    let groups = bytes.chunks_exact(3).flat_map(|group| {
        let all = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        [18, 12, 6, 0].map(|shift| letters[(all >> shift & 63) as usize])
    });
    groups.collect()
}

/// Every usual way to write these bytes.
fn forms(what: &'static str, secret: &[u8]) -> Vec<Needle> {
    let wide = secret.iter().flat_map(|byte| [*byte, 0]).collect();
    // How `{:?}` shows a list of bytes, shortened to what is telling.
    let listed: Vec<_> = secret.iter().take(16).map(u8::to_string).collect();
    [
        secret.to_vec(),
        hex(secret).into_bytes(),
        hex(secret).to_uppercase().into_bytes(),
        base64(secret, ['+', '/']).into_bytes(),
        base64(secret, ['-', '_']).into_bytes(),
        wide,
        listed.join(", ").into_bytes(),
    ]
    .into_iter()
    .map(|bytes| Needle { what, bytes })
    .collect()
}

/// What the server is given instead of the password.
fn authentication_key(person: &Person) -> String {
    let account = person.ok(&["whoami"]).events[0].clone();
    let deployment = DeploymentId::from_hex(account["deployment"].as_str().unwrap()).unwrap();
    let username = Username::parse(&person.name).unwrap();
    let salt = account_salt(&deployment, &username);
    let keys = derive_keys(&person.password, &salt, KdfParameters::CURRENT).unwrap();
    keys.authentication.to_text()
}

/// The key that opens a profile while it is unlocked: outside of its home.
fn session_key(person: &Person) -> Vec<u8> {
    let folder = person.home().join("run/sotto");
    let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    fs::read(file.path()).unwrap()
}

/// Runs the client with its log at trace; stderr goes into `logs`.
fn talkative(person: &Person, arguments: &[&str], logs: &mut Vec<u8>) -> i32 {
    let output = plain(person, arguments)
        .env("SOTTO_LOG", "trace")
        .output()
        .unwrap();
    logs.extend(output.stderr);
    output.status.code().unwrap()
}

/// Two people, a conversation, and things that go wrong; all at trace.
fn scene(deployment: &Deployment, text: &str, logs: &mut Vec<u8>) -> [Person; 2] {
    let mut people =
        ["alice", "bob"].map(|stem| deployment.person(&crate::support::fresh_name(stem)));
    let [alice, bob] = &people;
    for person in &people {
        assert_eq!(talkative(person, &["register", &person.name], logs), 0);
    }
    assert_eq!(talkative(alice, &["send", &bob.name, text], logs), 0);
    let listen = ["listen", "--for", "20s", "--count", "1"];
    assert_eq!(talkative(bob, &listen, logs), 0);
    assert_eq!(talkative(bob, &["accept", &alice.name], logs), 0);
    assert_eq!(talkative(bob, &["send", &alice.name, text], logs), 0);
    assert_eq!(talkative(alice, &listen, logs), 0);
    for wrong in [
        &["send", "nobody-at-all", text][..],
        &["accept", &bob.name],
        &["verify", &bob.name, "--confirm", "12345"],
        &[
            "send",
            &bob.name,
            text,
            "--wait",
            "read",
            "--timeout",
            "100ms",
        ],
        &["register", &alice.name],
        &["login", &bob.name],
        &["--profile", "second", "login", &bob.name],
    ] {
        talkative(alice, wrong, logs);
    }
    let lost = [
        "send".to_owned(),
        people[1].name.clone(),
        text.to_owned(),
        "--timeout".to_owned(),
        "300ms".to_owned(),
    ];
    let real = std::mem::replace(&mut people[0].server, "127.0.0.1:9".to_owned());
    let lost = lost.each_ref().map(String::as_str);
    assert_ne!(talkative(&people[0], &lost, logs), 0);
    people[0].server = real;
    for address in addresses(&deployment.status()) {
        // Neither a balancer's header nor TLS.
        let mut socket = TcpStream::connect(address).unwrap();
        socket
            .write_all(text.split('-').next().unwrap().as_bytes())
            .unwrap();
    }
    people
}

fn addresses(status: &Value) -> Vec<String> {
    let processes = status["processes"].as_array().unwrap().iter();
    let reached = processes.filter(|process| process["kind"] != "postgres");
    reached
        .filter_map(|process| process["address"].as_str().map(str::to_owned))
        .collect()
}

fn processes(status: &Value) -> Vec<u64> {
    let processes = status["processes"].as_array().unwrap();
    processes
        .iter()
        .filter_map(|process| process["pid"].as_u64())
        .collect()
}

/// These processes and all that they started.
fn with_children(roots: &[u64]) -> BTreeSet<u64> {
    let mut all: BTreeSet<u64> = roots.iter().copied().collect();
    let parents: Vec<(u64, u64)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split(' ').nth(2)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut grown = true;
    while grown {
        let before = all.len();
        all.extend(
            parents
                .iter()
                .filter(|(_, up)| all.contains(up))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        grown = all.len() > before;
    }
    all
}

/// The needles that stand in the writable memory of a process; memory that it
/// shares is looked at once, as `shared` keeps. `None` where this account may
/// not read it.
fn in_memory(
    pid: u64,
    needles: &[Needle],
    shared: &mut BTreeSet<String>,
) -> Option<BTreeSet<&'static str>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut found = BTreeSet::new();
    for line in maps.lines() {
        let mut fields = line.splitn(3, ' ');
        let (range, may) = (fields.next()?, fields.next()?);
        let what = fields.next()?;
        let seen = may.ends_with('s') && !shared.insert(what.to_owned());
        if !may.starts_with("rw") || seen {
            continue;
        }
        let (from, to) = range.split_once('-')?;
        let from = u64::from_str_radix(from, 16).ok()?;
        let to = u64::from_str_radix(to, 16).ok()?;
        search_range(&memory, from..to, needles, &mut found);
    }
    Some(found)
}

fn search_range(
    memory: &File,
    range: Range<u64>,
    needles: &[Needle],
    found: &mut BTreeSet<&'static str>,
) {
    // A needle may lie across the border of two pieces.
    const OVERLAP: usize = 4096;
    let mut buffer = vec![0; 64 * 4096];
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap();
        let wanted = buffer.len().min(left);
        let Ok(read @ 1..) = memory.read_at(&mut buffer[..wanted], at) else {
            return;
        };
        search(&buffer[..read], needles, found);
        let step = if read > OVERLAP && read < left {
            read - OVERLAP
        } else {
            read
        };
        at += u64::try_from(step).unwrap();
    }
}

fn search(bytes: &[u8], needles: &[Needle], found: &mut BTreeSet<&'static str>) {
    const BLANK: [u8; 4096] = [0; 4096];
    let mut first = [false; 256];
    for needle in needles {
        first[usize::from(needle.bytes[0])] = true;
    }
    for start in (0..bytes.len()).step_by(BLANK.len()) {
        let page = &bytes[start..bytes.len().min(start + BLANK.len())];
        if page == &BLANK[..page.len()] {
            continue;
        }
        for (place, byte) in page.iter().enumerate() {
            if first[usize::from(*byte)] {
                let rest = &bytes[start + place..];
                let here = needles
                    .iter()
                    .filter(|needle| rest.starts_with(&needle.bytes));
                found.extend(here.map(|needle| needle.what));
            }
        }
    }
}

/// Where Postgres keeps its files; not below the deployment's folder when that
/// is closed to the account that Postgres runs as.
fn database_folder(deployment: &Deployment) -> PathBuf {
    let settings = fs::read(deployment.dir.join("settings.json")).unwrap();
    let settings: Value = serde_json::from_slice(&settings).unwrap();
    PathBuf::from(settings["postgres_home"].as_str().unwrap())
}

/// The needles in any file below a folder.
fn in_files(folder: &Path, needles: &[Needle]) -> BTreeSet<(PathBuf, &'static str)> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        // Postgres removes files while they are being looked for.
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let mut here = BTreeSet::new();
                search(
                    &fs::read(entry.path()).unwrap_or_default(),
                    needles,
                    &mut here,
                );
                found.extend(here.into_iter().map(|what| (entry.path(), what)));
            }
        }
    }
    found
}

#[test]
fn no_secret_is_in_a_log_at_trace_in_memory_of_a_server_or_in_the_database() {
    let deployment = Deployment::start_with(1, TALKATIVE);
    let text = format!("message-{}", canary());
    let mut logs = Vec::new();
    let people = scene(&deployment, &text, &mut logs);
    let [alice, bob] = &people;
    let mut sealed = forms("the message", text.as_bytes());
    sealed.extend(forms("alice's password", alice.password.as_bytes()));
    sealed.extend(forms("bob's password", bob.password.as_bytes()));
    for person in &people {
        sealed.extend(forms(
            "the key of an unlocked profile",
            &session_key(person),
        ));
    }

    // Memory: of servers, balancer, Postgres with all its backends.
    let control = || Needle {
        what: "control",
        bytes: alice.name.clone().into_bytes(),
    };
    let mut kept = sealed;
    kept.push(control());
    let (mut shared, mut found) = (BTreeSet::new(), BTreeSet::new());
    let pids = with_children(&processes(&deployment.status()));
    let mut readable = 0;
    for pid in pids {
        if let Some(here) = in_memory(pid, &kept, &mut shared) {
            readable += 1;
            found.extend(here);
        }
    }
    // Where the kernel lets nobody look, there is nothing to find.
    let control_found = found.remove("control");
    assert!(readable == 0 || control_found, "the search finds nothing");
    assert_eq!(found, BTreeSet::new(), "in memory");

    // Files, where the key that the server compares is kept as a hash only.
    kept.pop();
    for person in &people {
        kept.extend(forms(
            "an authentication key",
            authentication_key(person).as_bytes(),
        ));
    }
    let database = database_folder(&deployment);
    assert_eq!(in_files(&database, &kept), BTreeSet::new());
    assert_eq!(in_files(&deployment.dir, &kept), BTreeSet::new());
    assert!(
        !in_files(&database, &[control()]).is_empty(),
        "names are known there"
    );

    // Logs of clients; those of servers are below the deployment's folder.
    let server_logs = deployment.dir.join("log");
    let talk = [" TRACE ", " DEBUG "].map(|level| Needle {
        what: "talk",
        bytes: level.as_bytes().to_vec(),
    });
    assert!(
        !in_files(&server_logs, &talk).is_empty(),
        "the servers were not talkative"
    );
    found_in_clients(&logs, &talk, &kept);
}

/// The clients said much, and nothing of this.
fn found_in_clients(logs: &[u8], talk: &[Needle], kept: &[Needle]) {
    let mut found = BTreeSet::new();
    search(logs, talk, &mut found);
    assert!(!found.is_empty(), "the clients were not talkative");
    found.clear();
    search(logs, kept, &mut found);
    assert!(found.is_empty(), "{found:?} in what clients logged");
}

/// I4: nobody but root reads a client's memory, and no core is ever written.
#[test]
fn a_clients_memory_is_its_own() {
    const NOBODY: &str = "65534";
    let deployment = Deployment::shared();
    let mut alice = deployment.registered("alice");
    let folder = tempfile::tempdir().unwrap();
    let as_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if as_root {
        // Root's processes belong to root either way: this one is somebody else's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), open).unwrap();
        let program = folder.path().join("sotto");
        fs::copy(SOTTO, &program).unwrap();
        let ca = folder.path().join("ca.pem");
        fs::copy(&alice.ca, &ca).unwrap();
        alice.ca = ca.to_str().unwrap().to_owned();
        let chown = ["-R", NOBODY, alice.home().to_str().unwrap()];
        assert!(
            Command::new("chown")
                .args(chown)
                .status()
                .unwrap()
                .success()
        );
        let ordinary = plain(&alice, &["listen"]);
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(program).args(ordinary.get_args()).env_clear();
        for (name, value) in ordinary.get_envs() {
            command.env(name, value.unwrap());
        }
        command
    } else {
        plain(&alice, &["listen"])
    };
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says so when it has logged in; by then it keeps secrets.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("listening"), "{said}");
    let at = |name: &str| format!("/proc/{}/{name}", child.id());
    let limits = fs::read_to_string(at("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
        ["0", "0"],
        "{core}"
    );
    let status = fs::read_to_string(at("status")).unwrap();
    let owner = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    assert_eq!(owner.contains(NOBODY), as_root, "{owner}");
    // What the kernel neither dumps nor lets others trace belongs to root, whoever runs it.
    assert_eq!(fs::metadata(at("environ")).unwrap().uid(), 0);
    let mut reader = Command::new("setpriv");
    if as_root {
        reader.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    }
    let refused = reader.args(["cat", &at("environ")]).output().unwrap();
    assert!(
        !refused.status.success() && refused.stdout.is_empty(),
        "{refused:?}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}
