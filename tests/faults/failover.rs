//! The database's machine is lost and its synchronous standby takes over: servers that were given
//! both addresses find it by themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sotto_stack::postgres::{Binaries, Durability, Install, choose_user};
use sotto_stack::process::{self, DeathSignal, RunAs};
use sotto_stack::sql;
use sotto_stack::testing::TestCluster;

use crate::support::{Deployment, texts, wait_for};

/// A copy of another Postgres that follows it.
struct Standby {
    postgres: Child,
    socket: String,
    home: tempfile::TempDir,
}

impl Standby {
    fn follow(primary: &str) -> Self {
        let binaries = Binaries::find_or_install(Install::Allowed).unwrap();
        let user = choose_user().unwrap();
        let home = tempfile::Builder::new()
            .prefix("sotto-standby-")
            .tempdir()
            .unwrap();
        own(&user, home.path());
        let data = home.path().join("data");
        let mut copy = Command::new(binaries.program("pg_basebackup"));
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--dbname", primary, "--pgdata"])
            .arg(&data)
            .current_dir("/")
            .stdin(Stdio::null());
        user.apply(&mut copy);
        let output = copy.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let program = binaries.program("postgres");
        let mut command = process::bound_command(&program, DeathSignal::Quit);
        let log = fs::File::create(home.path().join("log")).unwrap();
        let socket = home.path().to_str().unwrap().to_owned();
        command
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses="])
            .args(["-c", "fsync=off"])
            .args(["-c", "max_connections=400"])
            .args(["-c", &format!("unix_socket_directories={socket}")])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        user.apply(&mut command);
        let postgres = process::spawn(command).unwrap();
        let standby = Self {
            postgres,
            socket,
            home,
        };
        let url = standby.url("postgres");
        wait_for("the standby to answer", || {
            sql::rows(&url, "SELECT 1").ok().map(|_| ())
        });
        standby
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&user=sotto", self.socket)
    }

    fn promote(&self) {
        let done = sql::rows(&self.url("postgres"), "SELECT pg_promote()").unwrap();
        assert_eq!(done[0][0].as_deref(), Some("t"));
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.postgres.kill();
        let _ = self.postgres.wait();
        let _ = self.home.path();
    }
}

/// Gives a folder to Postgres' user; the socket in it is for everybody on the way to it.
fn own(user: &RunAs, folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
    user.own(folder).unwrap();
}

/// K: promotion of a synchronous standby. Nothing acknowledged is lost, doubled or reordered.
#[test]
fn a_promoted_standby_has_everything_and_servers_find_it() {
    let primary = TestCluster::launch(Durability::Fast).unwrap();
    let database = primary.create_database().unwrap();
    let at_primary = database.url().to_owned();
    let standby = Standby::follow(&at_primary);
    // Only now, so that the standby does not wait for another one when it is promoted.
    for statement in [
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "SELECT pg_reload_conf()",
    ] {
        sql::execute(&at_primary, statement).unwrap();
    }
    wait_for("the standby to be synchronous", || {
        let rows = sql::rows(&at_primary, "SELECT sync_state FROM pg_stat_replication").ok()?;
        (rows.first()?[0].as_deref() == Some("sync")).then_some(())
    });
    // Not as a URL: there a path with a comma is one path.
    let (_, primary_socket) = at_primary.split_once("host=").unwrap();
    let (primary_socket, _) = primary_socket.split_once('&').unwrap();
    let url = format!(
        "host={primary_socket},{} dbname={} user=sotto target_session_attrs=read-write",
        standby.socket,
        database.name()
    );
    let variables: &'static [(&str, &str)] = Box::leak(Box::new([(
        "SOTTO_DATABASE_URL",
        &*Box::leak(url.into_boxed_str()),
    )]));
    let deployment = Deployment::start_with(2, variables);
    let (alice, bob) = (deployment.registered("alice"), deployment.registered("bob"));
    alice.befriend(&bob);
    let mut at_bob = bob.listen();
    let sent: Vec<String> = (0..20).map(|number| format!("message {number}")).collect();
    for (number, text) in sent.iter().enumerate() {
        if number == 10 {
            primary.kill9();
            standby.promote();
        }
        // One that is only queued leaves with the next.
        alice.run(&["send", &bob.name, text, "--timeout", "20s"]);
    }
    alice.ok(&["send", &bob.name, "the last", "--timeout", "60s"]);
    at_bob.until("all messages", |events| {
        texts(events).contains(&"the last".to_owned())
    });
    let heard: Vec<_> = texts(&at_bob.events)
        .into_iter()
        .filter(|text| sent.contains(text))
        .collect();
    assert_eq!(heard, sent);
}
