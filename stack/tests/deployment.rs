//! Starting that fails: everything is cleaned up, and the sentence says what to do. (Starting
//! that succeeds needs the whole program and is tested in the root package.)

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sotto_stack::deployment::{
    Cancel, DatabaseSource, Deployment, DeploymentError, Layout, Options, PublicPort,
};
use sotto_stack::postgres::{Durability, Install};

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Postgres runs as another user when the tests run as root.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn options(dir: &Path, program: &str) -> Options {
    Options {
        dir: dir.to_owned(),
        program: PathBuf::from(program),
        servers: 2,
        port: PublicPort::Any,
        database: DatabaseSource::Private {
            install: Install::Refused,
            durability: Durability::Fast,
        },
        cancel: Cancel::default(),
    }
}

#[test]
fn a_failing_program_is_named_and_nothing_is_left_running() {
    let folder = folder();
    let dir = folder.path().join("up");
    let mut told = Vec::new();
    let error = Deployment::start(options(&dir, "/bin/false"), &mut |line| {
        told.push(line.to_owned())
    })
    .unwrap_err();
    assert!(matches!(&error, DeploymentError::Process { name, .. } if name == "migrate"));
    assert!(error.to_string().contains("migrate.log"), "{error}");
    assert_eq!(told.len(), 2, "{told:?}");

    let layout = Layout::new(&dir).unwrap();
    assert_eq!(layout.launcher().unwrap(), None);
    assert!(!layout.env().exists());
    assert!(!dir.join("postgres/data/postmaster.pid").exists());
    assert!(dir.join("postgres/data/PG_VERSION").exists());
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let folder = folder();
    let dir = folder.path().join("up");
    let outcome = Deployment::start(options(&dir, "/nonexistent/sotto"), &mut |_| {});
    assert!(outcome.is_err());
    assert!(!dir.join("postgres/data/postmaster.pid").exists());
}

#[test]
fn a_taken_port_is_refused_before_anything_starts() {
    let folder = folder();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = options(&folder.path().join("up"), "/bin/false");
    options.port = PublicPort::Exactly(port);
    let error = Deployment::start(options, &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), format!("no free port: {port} is in use"));
    assert!(!folder.path().join("up/postgres").exists());
}

#[test]
fn a_folder_in_use_is_refused_with_the_way_out() {
    let folder = folder();
    let dir = folder.path().join("up");
    std::fs::create_dir(&dir).unwrap();
    let lock = std::fs::File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let error = Deployment::start(options(&dir, "/bin/false"), &mut |_| {}).unwrap_err();
    assert!(
        matches!(error, DeploymentError::AlreadyRunning { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("sotto down --dir"), "{error}");
}

#[test]
fn a_cancelled_start_ends_soon() {
    let folder = folder();
    let options = options(&folder.path().join("up"), "/bin/false");
    options.cancel.cancel();
    let error = Deployment::start(options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, DeploymentError::Cancelled), "{error}");
}

#[test]
fn the_number_of_servers_is_bounded() {
    let folder = folder();
    for servers in [0, 33] {
        let mut options = options(&folder.path().join("up"), "/bin/false");
        options.servers = servers;
        let error = Deployment::start(options, &mut |_| {}).unwrap_err();
        assert!(matches!(error, DeploymentError::ServerCount), "{error}");
    }
}
