//! Operators' commands: the real program on a real database, beside real servers with clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sotto_crypto::password::{KdfParameters, account_salt, derive_keys};
use sotto_protocol::ErrorCode;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self};
use support::client::{Client, error};
use support::person::{Person, append, appended};
use support::{Deployment, Process, eventually};

/// The program, on this deployment's database.
struct Operator {
    config: PathBuf,
}

impl Operator {
    fn of(deployment: &Deployment) -> Self {
        let config = deployment.folder.path().join("admin.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndatabase_url = {:?}\n\
             tls_cert = {:?}\ntls_key = {:?}\nbcrypt_cost = 4\n",
            deployment.database_url, deployment.certificates.cert, deployment.certificates.key,
        );
        std::fs::write(&config, text).unwrap();
        Self { config }
    }

    fn run(&self, words: &[&str]) -> Output {
        run_admin(&self.config, words)
    }

    /// What it says in JSON, when it succeeds.
    fn ok(&self, words: &[&str]) -> Vec<Value> {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn one(&self, words: &[&str]) -> Value {
        let mut objects = self.ok(words);
        assert_eq!(objects.len(), 1, "{words:?}: {objects:?}");
        objects.remove(0)
    }

    /// The exit code and the error's code.
    fn refused(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(&[words, &["--json"]].concat());
        let error: Value = serde_json::from_slice(&output.stderr)
            .unwrap_or_else(|_| panic!("{words:?}: {output:?}"));
        assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
        let code = error["error"]["code"].as_str().unwrap().to_owned();
        (output.status.code().unwrap(), code)
    }
}

fn run_admin(config: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sotto-server"))
        .args(["admin", "--config"])
        .arg(config)
        .args(words)
        .output()
        .unwrap()
}

async fn connect(deployment: &Deployment, server: &Process) -> (Client, wire::HelloOk) {
    let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
    let hello = client.hello().await;
    (client, hello)
}

/// How the server answers this device's login.
async fn device_login(deployment: &Deployment, server: &Process, person: &Person) -> Response {
    let (mut client, hello) = connect(deployment, server).await;
    let login = person.device_login(&hello, &client);
    client.ask(Request::DeviceLogin(login)).await
}

async fn ended(client: &mut Client) {
    while client.try_frame().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_is_out_at_once_on_every_server_and_comes_back_whole() {
    let deployment = Deployment::new();
    let (one, two) = (deployment.start(""), deployment.start(""));
    let operator = Operator::of(&deployment);
    let (alice, mut first) = Person::register("alice", &deployment, &one).await;
    let mut second = alice.log_in(&deployment, &two).await;
    let (_bob, mut other) = Person::register("bob", &deployment, &one).await;

    let rehearsed = operator.one(&["disable", "alice", "--dry-run"]);
    assert_eq!(rehearsed["dry_run"], true);
    assert!(matches!(
        device_login(&deployment, &two, &alice).await,
        Response::LoggedIn(_)
    ));

    let done = operator.one(&["disable", "alice", "--reason", "spam"]);
    assert_eq!(
        (&done["event"], &done["devices"], &done["dry_run"]),
        (&"disabled".into(), &1.into(), &false.into())
    );
    ended(&mut first).await;
    ended(&mut second).await;
    let answer = device_login(&deployment, &two, &alice).await;
    assert_eq!(error(answer).0, ErrorCode::AccountDisabled);
    // Nobody else is touched.
    assert!(matches!(
        other.ask(Request::Ping(wire::Ping {})).await,
        Response::Pong(_)
    ));

    assert_eq!(
        operator.refused(&["disable", "alice"]),
        (5, "refused".into())
    );
    assert_eq!(
        operator.refused(&["disable", "carol"]),
        (4, "not_found".into())
    );
    operator.one(&["enable", "alice"]);
    eventually("the order to be forgotten", async || {
        let mut client = alice.log_in(&deployment, &one).await;
        let pause = std::time::Duration::from_millis(1_500);
        tokio::time::timeout(pause, client.try_frame())
            .await
            .is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_removes_devices_and_keeps_the_name() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let operator = Operator::of(&deployment);
    let (mallory, mut client) = Person::register("mallory", &deployment, &server).await;
    assert_eq!(operator.one(&["ban", "mallory"])["devices"], 1);
    ended(&mut client).await;
    let (mut other, hello) = connect(&deployment, &server).await;
    let id = sotto_protocol::DeploymentId::from_slice(&hello.deployment_id).unwrap();
    for name in ["mallory", "ma1lory"] {
        let taken = other
            .refused(Person::new(name, id).register_request())
            .await;
        assert_eq!(taken.0, ErrorCode::NameTaken, "{name}");
    }
    assert_eq!(
        operator.refused(&["enable", "mallory"]),
        (5, "refused".into())
    );
    let listed = operator.ok(&["users", "--banned"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["state"], &listed[0]["devices"]),
        (&"banned".into(), &0.into())
    );
    let (mut refused, _) = connect(&deployment, &server).await;
    let answer = refused.refused(mallory.password_request()).await;
    assert_eq!(answer.0, ErrorCode::AccountDisabled);
    operator.one(&["unban", "mallory"]);
    assert_eq!(
        operator.refused(&["unban", "mallory"]),
        (5, "refused".into())
    );
    let (mut again, _) = connect(&deployment, &server).await;
    let answer = again.ask(mallory.password_request()).await;
    assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");
}

/// The login that a client makes of a password.
fn with_password(person: &Person, password: &str) -> wire::PasswordLogin {
    let deployment = person.me.certificate().deployment();
    let salt = account_salt(deployment, &person.username);
    let keys = derive_keys(password, &salt, KdfParameters::CURRENT).unwrap();
    wire::PasswordLogin {
        authentication_key: keys.authentication.to_text(),
        ..person.password_login()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_password_logs_in_for_a_time_and_lets_devices_stay() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let operator = Operator::of(&deployment);
    let (alice, mut client) = Person::register("alice", &deployment, &server).await;
    let reset = operator.one(&["reset-password", "alice"]);
    let password = reset["password"].as_str().unwrap().to_owned();
    assert!(matches!(
        client.ask(Request::Ping(wire::Ping {})).await,
        Response::Pong(_)
    ));
    let (mut other, _) = connect(&deployment, &server).await;
    let old = other.refused(alice.password_request()).await;
    assert_eq!(old.0, ErrorCode::WrongCredentials);
    let phone = alice.second_device();
    let login = with_password(&phone, &password);
    let answer = other.ask(Request::PasswordLogin(login.clone())).await;
    assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");

    // Its time over, it counts no more, and whoever knows it is told why.
    let database = sql(&deployment).await;
    let lapse = "UPDATE account SET password_until = now() - interval '1 second'";
    database.execute(lapse, &[]).await.unwrap();
    let (mut late, _) = connect(&deployment, &server).await;
    let refused = late.refused(Request::PasswordLogin(login)).await;
    assert_eq!(refused.0, ErrorCode::WrongCredentials);
    assert!(
        refused.1.message.contains("for a time"),
        "{}",
        refused.1.message
    );

    // A given one is not shown, and devices can be ended with it.
    let file = deployment.folder.path().join("given");
    std::fs::write(&file, "a good passphrase\n").unwrap();
    let file = file.to_str().unwrap();
    let reset = operator.one(&[
        "reset-password",
        "alice",
        "--password-file",
        file,
        "--end-devices",
    ]);
    assert!(reset["password"].is_null());
    assert_eq!(reset["devices_removed"], 2);
    ended(&mut client).await;
    let answer = device_login(&deployment, &server, &alice).await;
    assert_eq!(error(answer).0, ErrorCode::WrongCredentials);
    std::fs::write(file, "short\n").unwrap();
    assert_eq!(
        operator.refused(&["reset-password", "alice", "--password-file", file]),
        (2, "usage".into())
    );
    let log = operator.run(&["audit", "--json"]);
    let log = String::from_utf8(log.stdout).unwrap();
    assert!(!log.contains(&password) && !log.contains("passphrase"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_are_made_listed_used_and_revoked() {
    let deployment = Deployment::new();
    let server = deployment.start("registration = \"invite\"");
    let operator = Operator::of(&deployment);
    let made = operator.one(&["invite", "create", "--uses", "2", "--label", "the garden"]);
    let (code, id) = (made["code"].as_str().unwrap(), made["id"].as_str().unwrap());
    let (mut client, hello) = connect(&deployment, &server).await;
    let deployment_id = sotto_protocol::DeploymentId::from_slice(&hello.deployment_id).unwrap();
    let with_code = |name: &str, code: &str| {
        let Request::Register(request) = Person::new(name, deployment_id).register_request() else {
            unreachable!()
        };
        Request::Register(wire::Register {
            invite_code: code.to_owned(),
            ..request
        })
    };
    let answer = client.ask(with_code("alice", code)).await;
    assert!(matches!(answer, Response::LoggedIn(_)), "{answer:?}");
    let listed = operator.one(&["invite", "list"]);
    assert_eq!(
        (&listed["id"], &listed["uses_left"], &listed["label"]),
        (&id.into(), &1.into(), &"the garden".into())
    );
    assert!(!listed.to_string().contains(code));
    assert_eq!(operator.one(&["invite", "revoke", id])["id"], id);
    assert_eq!(
        operator.refused(&["invite", "revoke", id]),
        (4, "not_found".into())
    );
    let (mut client, _) = connect(&deployment, &server).await;
    let late = client.refused(with_code("bob", code)).await;
    assert_eq!(late.0, ErrorCode::InviteRequired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_server_sends_its_clients_away_until_it_is_told_otherwise() {
    let deployment = Deployment::new();
    let (one, two) = (deployment.start(""), deployment.start(""));
    let operator = Operator::of(&deployment);
    let (alice, mut client) = Person::register("alice", &deployment, &one).await;
    eventually("the servers to be known", async || {
        operator.ok(&["stats"]).len() == 3
    })
    .await;
    assert_eq!(
        operator.refused(&["drain", "elsewhere"]),
        (4, "not_found".into())
    );
    operator.one(&["drain", "s1"]);
    assert!(matches!(client.push().await, Response::Move(_)));
    ended(&mut client).await;
    assert_eq!(one.get("/readyz").await.0, 503);
    assert_eq!(two.get("/readyz").await.0, 200);
    drop(alice.log_in(&deployment, &two).await);
    operator.one(&["drain", "s1", "--cancel"]);
    eventually("the server to serve", async || {
        one.get("/readyz").await.0 == 200
    })
    .await;
    drop(alice.log_in(&deployment, &one).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_kept_and_every_change_is_in_the_log() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let operator = Operator::of(&deployment);
    drop(Person::register("alice", &deployment, &server).await);
    assert!(operator.one(&["quota", "show", "alice"])["bytes"].is_null());
    operator.one(&["quota", "set", "alice", "2G"]);
    assert_eq!(
        operator.one(&["quota", "show", "alice"])["bytes"],
        2_u64 << 30
    );
    operator.one(&["quota", "set", "alice", "1M", "--dry-run"]);
    assert_eq!(
        operator.one(&["quota", "show", "alice"])["bytes"],
        2_u64 << 30
    );
    operator.one(&["retention", "set", "30"]);
    assert_eq!(operator.one(&["retention", "show"])["days"], 30);
    operator.one(&["retention", "set", "default"]);
    assert!(operator.one(&["retention", "show"])["days"].is_null());
    // Numbers that running servers know must not leap under them.
    assert_eq!(operator.refused(&["restored"]), (5, "refused".to_owned()));
    let entries = operator.ok(&["audit"]);
    let actions: Vec<_> = entries
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["quota", "retention", "retention"]);
    assert_eq!(entries[0]["subject"], "alice");
    assert_eq!(entries[0]["details"]["bytes"], 2_u64 << 30);
    assert!(!entries[0]["operator"].as_str().unwrap().is_empty());
    let database = sql(&deployment).await;
    for tampering in [
        "DELETE FROM audit",
        "UPDATE audit SET operator = 'nobody'",
        "TRUNCATE audit",
    ] {
        assert!(
            database.execute(tampering, &[]).await.is_err(),
            "{tampering}"
        );
    }
    let stats = operator.ok(&["stats"]);
    assert_eq!(stats[0]["accounts"], 1);
    // For people it is one line each, without control sequences.
    let lines = operator.run(&["audit"]);
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert_eq!(lines.lines().count(), 3);
    assert!(!lines.contains('\u{1b}'));
}

#[test]
fn what_cannot_work_says_so_by_its_exit_code() {
    let deployment = Deployment::new();
    let operator = Operator::of(&deployment);
    for wrong in [
        &["disable", "A"][..],
        &["quota", "set", "alice", "1T"],
        &["retention", "set", "0"],
        &["invite", "create", "--expires", "1w"],
        &["users", "--limit", "0"],
    ] {
        assert_eq!(operator.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let text = std::fs::read_to_string(&operator.config).unwrap();
    let away = text.replace(&deployment.database_url, "postgresql://sotto@127.0.0.1:1/x");
    let elsewhere = deployment.folder.path().join("elsewhere.toml");
    std::fs::write(&elsewhere, away).unwrap();
    assert_eq!(run_admin(&elsewhere, &["stats"]).status.code(), Some(69));
    let unknown = format!("{text}lisen = 1\n");
    std::fs::write(&elsewhere, unknown).unwrap();
    assert_eq!(run_admin(&elsewhere, &["stats"]).status.code(), Some(2));
}

async fn sql(deployment: &Deployment) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&deployment.database_url, tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client
}

fn start_upload(id: u8, size: u64) -> Request {
    Request::StartUpload(wire::StartUpload {
        blob_id: vec![id; 16],
        size,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_shows_what_is_used_and_counts_at_once() {
    let deployment = Deployment::new();
    let server = deployment.start("blob_quota_bytes = 700000");
    let operator = Operator::of(&deployment);
    let (_alice, mut client) = Person::register("alice", &deployment, &server).await;
    let begun = client.ask(start_upload(1, 1_500)).await;
    assert!(matches!(begun, Response::UploadState(_)), "{begun:?}");
    let shown = operator.one(&["quota", "show", "alice"]);
    assert_eq!(
        (&shown["used"], &shown["bytes"]),
        (&1_500.into(), &Value::Null)
    );
    assert!(shown["max"].as_u64().unwrap() > 1_500, "{shown}");
    operator.one(&["quota", "set", "alice", "2K"]);
    let shown = operator.one(&["quota", "show", "alice"]);
    assert_eq!(
        (&shown["used"], &shown["max"]),
        (&1_500.into(), &2_048.into())
    );
    let refused = client.refused(start_upload(2, 600)).await;
    assert_eq!(refused.0, ErrorCode::QuotaExceeded);
    operator.one(&["quota", "set", "alice", "default"]);
    let begun = client.ask(start_upload(2, 600)).await;
    assert!(matches!(begun, Response::UploadState(_)), "{begun:?}");
}

/// What nobody came for goes after the time that the configuration says, or the operator in its place.
#[tokio::test(flavor = "multi_thread")]
async fn retention_is_what_the_configuration_or_the_operator_says() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let operator = Operator::of(&deployment);
    let (alice, mut alice_client) = Person::register("alice", &deployment, &server).await;
    let (bob, mut bob_client) = Person::register("bob", &deployment, &server).await;
    alice.publish(&mut alice_client, 3).await;
    let (conversation, _) = bob.converse(&mut bob_client, &alice.username).await;
    for number in 1..=2 {
        let said = append(conversation, 1, [number; 16], b"sealed");
        appended(bob_client.ask(said).await);
    }
    let url = &deployment.database_url;
    let (database, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let age = "UPDATE envelope SET stored_at = now() - $2 * interval '1 day'
        WHERE conversation_id = $1 AND client_id = $3";
    let key = conversation.to_vec();
    for (number, days) in [(1_u8, 4.0), (2, 2.0)] {
        let id = vec![number; 16];
        let aged = database.execute(age, &[&key, &days, &id]).await.unwrap();
        assert_eq!(aged, 1);
    }
    let left = async |number: u8| {
        let sql = "SELECT FROM envelope WHERE conversation_id = $1 AND client_id = $2";
        let id = vec![number; 16];
        !database.query(sql, &[&key, &id]).await.unwrap().is_empty()
    };
    let _three_days = deployment.start("retention_days = 3");
    eventually("what is four days old to go", async || !left(1).await).await;
    assert!(left(2).await, "two days are not three");
    operator.one(&["retention", "set", "1"]);
    let _hundred_days = deployment.start("retention_days = 100");
    eventually("what is two days old to go", async || !left(2).await).await;
}
