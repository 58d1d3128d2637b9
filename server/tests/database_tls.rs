//! Postgres by TLS: encrypted and verified on every connection, refused in a sentence where it is
//! not what the configuration demands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use sotto_server::migrate::migrate;
use sotto_server::store::DatabaseAddress;
use sotto_stack::certs::Certificates;
use sotto_stack::postgres::Durability;
use sotto_stack::testing::{TestCluster, TestDatabase};
use support::person::{Person, append, appended};
use support::{Deployment, Process};

/// A cluster with a port and a certificate, a database in it, and who signed the certificate.
struct World {
    port: u16,
    database: TestDatabase,
    certificates: Certificates,
    admin: tokio_postgres::Client,
    cluster: TestCluster,
    folder: tempfile::TempDir,
}

async fn world() -> World {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (cluster, database) = tokio::task::spawn_blocking(move || {
        let cluster = TestCluster::launch_on_port(Durability::Fast, port).unwrap();
        let database = cluster.create_database().unwrap();
        (cluster, database)
    })
    .await
    .unwrap();
    migrate(database.url()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::ensure(&folder.path().join("certs"), support::now()).unwrap();
    give(&cluster.data(), &certificates.cert, "server.crt");
    give(&cluster.data(), &certificates.key, "server.key");
    let rules = cluster.data().join("pg_hba.conf");
    let former = std::fs::read_to_string(&rules).unwrap();
    let app = "hostssl all app 127.0.0.1/32 scram-sha-256\nhost all app 0.0.0.0/0 reject\n";
    std::fs::write(&rules, format!("{app}{former}")).unwrap();
    let (admin, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    admin
        .batch_execute("CREATE ROLE app SUPERUSER LOGIN PASSWORD 'c4n4ry'")
        .await
        .unwrap();
    let world = World {
        port,
        database,
        certificates,
        admin,
        cluster,
        folder,
    };
    world.encrypt("on").await;
    world
}

/// Gives the cluster a file of its own.
fn give(data: &Path, from: &Path, name: &str) {
    let owner = data.metadata().unwrap();
    let to = data.join(name);
    std::fs::copy(from, &to).unwrap();
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
}

impl World {
    async fn encrypt(&self, state: &str) {
        let set = format!("ALTER SYSTEM SET ssl = {state}");
        self.admin.batch_execute(&set).await.unwrap();
        self.admin
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .unwrap();
        support::eventually("the setting", async || {
            let row = self.admin.query_one("SHOW ssl", &[]).await.unwrap();
            row.get::<_, &str>(0) == state
        })
        .await;
    }

    /// How many of the servers' connections are so. They are opened as they are needed.
    async fn connections(&self, condition: &str) -> i64 {
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
             WHERE a.usename = 'app' AND ({condition})"
        );
        let row = self.admin.query_one(&count, &[]).await.unwrap();
        row.get(0)
    }

    /// Each connection is encrypted, and the bus of both servers is among them.
    async fn assert_encrypted(&self) {
        let clear = "NOT (s.ssl AND s.version = 'TLSv1.3')";
        assert_eq!(self.connections(clear).await, 0);
        support::eventually("the buses' connections", async || {
            let bus = "a.query LIKE ANY ('{%pg_notify%,%conversation WHERE id = ANY%}')";
            self.connections(bus).await >= 2
        })
        .await;
        assert_eq!(self.connections(clear).await, 0);
    }

    /// Ends the servers' connections.
    async fn cut_off(&self) {
        let end =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
        self.admin.query_one(end, &[]).await.unwrap();
    }

    fn url(&self, host: &str, options: &str) -> String {
        let (port, name) = (self.port, self.database.name());
        format!("postgresql://app:c4n4ry@{host}:{port}/{name}?{options}")
    }

    fn deployment(&self, url: String) -> Deployment {
        Deployment::over(url, None)
    }

    fn trusting(&self, authority: &Path) -> String {
        format!("database_ca = {authority:?}")
    }

    async fn end(self) {
        let Self {
            admin,
            database,
            cluster,
            ..
        } = self;
        drop(admin);
        tokio::task::spawn_blocking(move || drop((database, cluster)))
            .await
            .unwrap();
    }
}

/// That a server does not start on it, within what it takes to look, and says why.
fn refused(deployment: &Deployment, more: &str, sentence: &str) {
    let (mut child, _, log) = deployment.launch(more);
    let status = sotto_stack::process::wait_for_exit(&mut child, support::PATIENCE)
        .unwrap()
        .expect("the server went on");
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains(sentence), "{log}");
    assert!(!log.contains("c4n4ry"), "{log}");
}

/// Two new people, each on a server of their own, talk.
async fn talk(deployment: &Deployment, [first, second]: [&Process; 2], names: [&str; 2]) {
    let (alice, mut alice_client) = Person::register(names[0], deployment, first).await;
    let (bob, mut bob_client) = Person::register(names[1], deployment, second).await;
    bob.publish(&mut bob_client, 1).await;
    alice_client.resume().await;
    bob_client.resume().await;
    let (conversation, _) = alice.converse(&mut alice_client, &bob.username).await;
    bob_client.deliveries(1).await;
    for number in 0..10 {
        let text = append(conversation, 1, [number; 16], &[number]);
        appended(alice_client.ask(text).await);
        assert_eq!(bob_client.deliveries(1).await[0].payload, [number][..]);
    }
}

#[tokio::test]
async fn every_connection_is_encrypted_and_nothing_falls_back() {
    let world = world().await;
    // The password is bound to this very certificate.
    let deployment = world.deployment(world.url("localhost", "channel_binding=require"));
    let more = world.trusting(&world.certificates.ca);
    let first = deployment.start(&more);
    let second = deployment.start(&more);
    talk(&deployment, [&first, &second], ["alice", "bob"]).await;
    world.assert_encrypted().await;

    // While it runs, a Postgres without TLS is one that is away: nothing falls back.
    world.encrypt("off").await;
    world.cut_off().await;
    support::eventually("both to miss the database", async || {
        first.get("/readyz").await.0 == 503 && second.get("/readyz").await.0 == 503
    })
    .await;
    assert_eq!(world.connections("true").await, 0);
    world.encrypt("on").await;
    support::eventually("both to be back", async || {
        first.get("/readyz").await.0 == 200 && second.get("/readyz").await.0 == 200
    })
    .await;
    talk(&deployment, [&first, &second], ["carol", "dave"]).await;
    world.assert_encrypted().await;
    assert!(!first.log_text().contains("is not encrypted"));
    drop((first, second));
    world.end().await;
}

#[tokio::test]
async fn another_certificate_name_or_none_is_refused_in_a_sentence() {
    let world = world().await;
    let stranger = world.folder.path().join("stranger");
    let stranger = Certificates::ensure(&stranger, support::now()).unwrap();
    let ours = world.trusting(&world.certificates.ca);
    let right = world.deployment(world.url("localhost", ""));
    refused(
        &right,
        &world.trusting(&stranger.ca),
        "does not come from an authority",
    );
    refused(
        &right,
        &world.trusting(&world.folder.path().join("missing.pem")),
        "missing.pem",
    );
    let other_name = world.deployment(world.url("127.0.0.2", ""));
    refused(&other_name, &ours, "is not for the host in database_url");
    // `require` verifies: this machine does not trust the test's authority.
    let required = world.deployment(world.url("localhost", "sslmode=require"));
    refused(&required, "", "authorit");

    let address = |authority: PathBuf| DatabaseAddress {
        url: world.url("localhost", ""),
        authority: Some(authority),
    };
    assert!(migrate(address(stranger.ca.clone())).await.is_err());
    migrate(address(world.certificates.ca.clone()))
        .await
        .unwrap();
    assert_eq!(admin(&right, &stranger.ca), Some(2));
    assert_eq!(admin(&right, &world.certificates.ca), Some(0));

    // Somebody in between who offers no TLS gets neither password nor a word.
    world.encrypt("off").await;
    refused(&right, &ours, "set ssl = on");
    world.end().await;
}

/// The exit code of an operator's command.
fn admin(deployment: &Deployment, authority: &Path) -> Option<i32> {
    let file = deployment.folder.path().join("admin.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ndatabase_url = {:?}\n\
         database_ca = {authority:?}\ntls_cert = \"x\"\ntls_key = \"x\"\n",
        deployment.database_url
    );
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sotto-server"))
        .args(["admin", "--config"])
        .arg(&file)
        .arg("stats")
        .output()
        .unwrap();
    output.status.code()
}
