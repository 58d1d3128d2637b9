//! The private clusters, tried against a real Postgres.

use std::process::{Command, Stdio};
use std::time::Duration;

use sotto_stack::postgres::Durability;
use sotto_stack::process::wait_until;
use sotto_stack::sql;
use sotto_stack::testing::{TestCluster, TestDatabase};

#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests, which clippy does not recognise as one"
)]
fn one(database: &TestDatabase, query: &str) -> String {
    sql::rows(database.url(), query).unwrap()[0][0]
        .clone()
        .unwrap()
}

#[test]
fn databases_of_one_cluster_know_nothing_of_each_other() {
    let cluster = TestCluster::shared();
    let first = cluster.create_database().unwrap();
    let second = cluster.create_database().unwrap();
    sql::execute(
        first.url(),
        "CREATE TABLE t (n int); INSERT INTO t VALUES (7)",
    )
    .unwrap();
    assert_eq!(one(&first, "SELECT n FROM t"), "7");
    assert!(sql::rows(second.url(), "SELECT n FROM t").is_err());
}

#[test]
fn a_template_is_prepared_once_and_copied() {
    let cluster = TestCluster::shared();
    let prepared = std::sync::atomic::AtomicU32::new(0);
    let databases: Vec<_> = (0..3)
        .map(|_| {
            cluster.create_prepared("a template", |url| async {
                prepared.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let url = url;
                sql::execute(&url, "CREATE TABLE made (n int)")
            })
        })
        .map(Result::unwrap)
        .collect();
    assert_eq!(prepared.into_inner(), 1);
    for database in &databases {
        assert_eq!(one(database, "SELECT count(*) FROM made"), "0");
    }
}

#[test]
fn committed_rows_survive_kill_and_immediate_stop() {
    let cluster = TestCluster::launch(Durability::Durable).unwrap();
    let database = cluster.create_database().unwrap();
    assert_eq!(one(&database, "SHOW fsync"), "on");
    sql::execute(
        database.url(),
        "CREATE TABLE t (n int); INSERT INTO t VALUES (1)",
    )
    .unwrap();
    cluster.kill9();
    cluster.start().unwrap();
    assert_eq!(one(&database, "SELECT count(*) FROM t"), "1");
    sql::execute(database.url(), "INSERT INTO t VALUES (2)").unwrap();
    cluster.restart_immediate().unwrap();
    assert_eq!(one(&database, "SELECT count(*) FROM t"), "2");
    cluster.stop_immediate();
    assert!(sql::rows(database.url(), "SELECT 1").is_err());
}

#[tokio::test]
async fn a_database_can_be_made_inside_a_runtime() {
    let database = TestCluster::shared().create_database().unwrap();
    assert_eq!(one(&database, "SELECT 1"), "1");
}

/// Not a test of its own: the body of the process that the next test kills.
#[test]
fn child_that_holds_a_cluster() {
    if std::env::var_os("SOTTO_TEST_HOLD_CLUSTER").is_none() {
        return;
    }
    let cluster = TestCluster::launch(Durability::Fast).unwrap();
    println!("\nDATA {}", cluster.data().display());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// Whether a process runs; one that ended and that nobody has reaped does not.
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests, which clippy does not recognise as one"
)]
fn runs(pid: i32) -> bool {
    if cfg!(target_os = "linux") {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        return stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'));
    }
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

#[test]
fn a_killed_test_process_leaves_no_postgres_behind() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_holds_a_cluster", "--exact", "--nocapture"])
        .env("SOTTO_TEST_HOLD_CLUSTER", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    let data = std::io::BufRead::lines(output)
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("DATA ").map(str::to_owned))
        .unwrap();
    let pid_file = std::path::Path::new(&data).join("postmaster.pid");
    let text = std::fs::read_to_string(&pid_file).unwrap();
    let pid: i32 = text.lines().next().unwrap().parse().unwrap();
    assert!(runs(pid));

    child.kill().unwrap();
    child.wait().unwrap();
    let gone = wait_until(Duration::from_secs(20), || !runs(pid));
    if cfg!(target_os = "linux") {
        assert!(gone, "postgres outlived the process that started it");
    }

    // The next process that asks for a cluster removes what the killed one left.
    drop(TestCluster::launch(Durability::Fast).unwrap());
    assert!(!std::path::Path::new(&data).exists());
}

#[test]
fn postgres_does_not_run_as_root() {
    let database = TestCluster::shared().create_database().unwrap();
    let data = one(&database, "SHOW data_directory");
    let meta = std::fs::metadata(data).unwrap();
    assert_ne!(std::os::unix::fs::MetadataExt::uid(&meta), 0);
}
