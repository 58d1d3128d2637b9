//! Changing the pool under running connections.

mod support;

use sotto_balancer::{Drained, ReloadError};
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn echoes(socket: &mut TcpStream) -> bool {
    socket.write_all(b"z").await.is_ok()
        && within("an echo", socket.read_u8())
            .await
            .is_ok_and(|byte| byte == b'z')
}

/// The reloaded configuration names the same listeners as the running one.
fn configuration_like(tables: &[String], more: &str) -> sotto_balancer::config::Config {
    configuration(tables, &format!("{QUICK}{more}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_server_gets_its_share_and_nobody_is_cut_off() {
    let (a, b) = (Backend::start("s1").await, Backend::start("s2").await);
    let balancer = start_ready(&[&a], "").await;
    let mut open = Vec::new();
    for n in 1..=30 {
        let (socket, home) = client(&balancer, [127, 0, 7, n]).await;
        assert_eq!(home.as_deref(), Some("s1"));
        open.push(socket);
    }
    balancer
        .reload(configuration_like(&[a.table(), b.table()], ""))
        .unwrap();
    until_states(&balancer, "up", 2).await;
    let mut newcomers = 0;
    for n in 31..=60 {
        let (socket, home) = client(&balancer, [127, 0, 7, n]).await;
        newcomers += usize::from(home.unwrap() == "s2");
        open.push(socket);
    }
    assert!(
        newcomers >= 15,
        "bounded load fills the empty server first: {newcomers}"
    );
    for socket in &mut open {
        assert!(echoes(socket).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_drains() {
    let (a, b) = (Backend::start("s1").await, Backend::start("s2").await);
    let balancer = start_ready(&[&a, &b], "").await;
    let mut on_b = Vec::new();
    for n in 1..=20 {
        let (socket, home) = client(&balancer, [127, 0, 8, n]).await;
        if home.unwrap() == "s2" {
            on_b.push(socket);
        }
    }
    assert!(!on_b.is_empty());
    let before = b.attempts();
    balancer
        .reload(configuration_like(&[a.table()], ""))
        .unwrap();
    assert_eq!(status(&balancer).await["backends"][1]["state"], "draining");
    for n in 1..=20 {
        assert_eq!(
            client(&balancer, [127, 0, 8, n]).await.1.as_deref(),
            Some("s1")
        );
    }
    assert_eq!(b.attempts(), before);
    for socket in &mut on_b {
        assert!(echoes(socket).await);
    }
    // A second removal, with no patience, closes what is left.
    balancer
        .reload(configuration_like(&[a.table(), b.table()], ""))
        .unwrap();
    until_states(&balancer, "up", 2).await;
    for socket in &mut on_b {
        assert!(echoes(socket).await);
    }
    on_b.clear();
    until("the drained server to be forgotten", || async {
        status(&balancer).await["backends"]
            .as_array()
            .unwrap()
            .len()
            == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_is_closed_when_its_time_is_over() {
    let (a, b) = (Backend::start("s1").await, Backend::start("s2").await);
    let balancer = start_ready(&[&a, &b], "").await;
    let mut on_b = Vec::new();
    for n in 1..=20 {
        let (socket, home) = client(&balancer, [127, 0, 9, n]).await;
        if home.unwrap() == "s2" {
            on_b.push(socket);
        }
    }
    let quickly = "[timeouts]\nbackend_drain_ms = 100\n";
    balancer
        .reload(configuration_like(&[a.table()], quickly))
        .unwrap();
    for socket in &mut on_b {
        until_closed(socket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_changes_nothing() {
    let a = Backend::start("s1").await;
    let balancer = start_ready(&[&a], "").await;
    let other = configuration_like(&[a.table()], "[limits]\nconnections_max = 7\n");
    assert_eq!(
        balancer.reload(other),
        Err(ReloadError::NeedsRestart("limits.connections_max"))
    );
    assert!(client(&balancer, [127, 0, 0, 1]).await.1.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_waits_for_clients_and_then_closes_the_rest() {
    let a = Backend::start("s1").await;
    let balancer = start_ready(&[&a], "[timeouts]\ndrain_ms = 20000\n").await;
    let address = front(&balancer);
    let (mut socket, _) = client(&balancer, [127, 0, 0, 1]).await;
    let drain = tokio::spawn(balancer.drain());
    until("no further clients", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert!(echoes(&mut socket).await, "who is there may finish");
    drop(socket);
    assert_eq!(
        within("the drain", drain).await.unwrap(),
        Drained::Completely
    );

    let balancer = start_ready(&[&a], "[timeouts]\ndrain_ms = 100\n").await;
    let (mut socket, _) = client(&balancer, [127, 0, 0, 1]).await;
    assert_eq!(
        within("the drain", balancer.drain()).await,
        Drained::Closed(1)
    );
    until_closed(&mut socket).await;
}
