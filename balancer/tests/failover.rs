//! Sick backends: what refuses, closes, stays silent, goes down, drains or comes back must
//! fail no new client.

mod support;

use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn bare(backends: &[&Backend]) -> Vec<String> {
    backends
        .iter()
        .map(|backend| backend.bare_table())
        .collect()
}

async fn three() -> [Backend; 3] {
    [
        Backend::start("s1").await,
        Backend::start("s2").await,
        Backend::start("s3").await,
    ]
}

/// Which backends forty clients from forty prefixes reach; each must reach one.
async fn forty(balancer: &sotto_balancer::Balancer) -> Vec<String> {
    let mut reached = Vec::new();
    for n in 1..=40 {
        reached.extend(client(balancer, [127, 0, 1, n]).await.1);
    }
    assert_eq!(reached.len(), 40, "no new client fails");
    reached
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_lands_on_the_same_server_each_time_and_the_server_knows_it() {
    let backends = three().await;
    let [a, b, c] = &backends;
    let balancer = start_ready(&[a, b, c], "").await;
    let mut homes = std::collections::HashSet::new();
    for n in 1..=20 {
        let (socket, home) = client(&balancer, [127, 0, 2, n]).await;
        let address = socket.local_addr().unwrap();
        let home = home.unwrap();
        let backend = backends.iter().find(|backend| backend.id == home).unwrap();
        assert!(
            backend.sources.lock().unwrap().contains(&address),
            "PROXY names the client"
        );
        drop(socket);
        until_connections(&balancer, 0).await;
        assert_eq!(client(&balancer, [127, 0, 2, n]).await.1.unwrap(), home);
        until_connections(&balancer, 0).await;
        homes.insert(home);
    }
    assert_eq!(homes.len(), 3, "all share the work");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_spreads_over_all_servers() {
    let [a, b, c] = three().await;
    let balancer = start_ready(&[&a, &b, &c], "").await;
    let mut open = Vec::new();
    for _ in 0..90 {
        let (socket, home) = client(&balancer, [127, 0, 0, 1]).await;
        assert!(home.is_some());
        open.push(socket);
    }
    let status = status(&balancer).await;
    for backend in status["backends"].as_array().unwrap() {
        let connections = backend["connections"].as_u64().unwrap();
        assert!((12..=38).contains(&connections), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_fails_no_client() {
    let [a, b, c] = three().await;
    let balancer = start(&bare(&[&a, &b, &c]), "");
    b.stop();
    let reached = forty(&balancer).await;
    assert!(reached.iter().all(|id| id != "s2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_fails_no_client() {
    let [a, b, c] = three().await;
    let balancer = start(&bare(&[&a, &b, &c]), "");
    b.manner.send_replace(Manner::Close);
    let reached = forty(&balancer).await;
    assert!(reached.iter().all(|id| id != "s2"));
    assert!(b.attempts() > 0, "the hello was replayed after an attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_fails_no_client_and_comes_back() {
    let [a, b, c] = three().await;
    let more = "[timeouts]\nfirst_byte_ms = 200\n[health]\neject_base_ms = 300\n";
    let balancer = start(&bare(&[&a, &b, &c]), more);
    b.manner.send_replace(Manner::Silent);
    let reached = forty(&balancer).await;
    assert!(reached.iter().all(|id| id != "s2"));
    assert!(
        (3..40).contains(&b.attempts()),
        "ejected after its third silence"
    );

    b.manner.send_replace(Manner::Serve);
    until("the trial that brings it back", || async {
        for n in 1..=20 {
            assert!(client(&balancer, [127, 0, 3, n]).await.1.is_some());
        }
        status(&balancer).await["backends"][1]["state"] == "up"
    })
    .await;
    assert!(forty(&balancer).await.iter().any(|id| id == "s2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_down_has_its_connections_closed() {
    let [a, b, c] = three().await;
    let balancer = start_ready(&[&a, &b, &c], "").await;
    let mut lost = Vec::new();
    let mut kept = Vec::new();
    for n in 1..=40 {
        let (socket, home) = client(&balancer, [127, 0, 4, n]).await;
        if home.unwrap() == "s1" {
            lost.push(socket)
        } else {
            kept.push(socket)
        }
    }
    assert!(!lost.is_empty() && !kept.is_empty());
    a.readiness.send_replace(Readiness::Hung);
    for socket in &mut lost {
        until_closed(socket).await;
    }
    for socket in &mut kept {
        socket.write_all(b"x").await.unwrap();
        assert_eq!(within("an echo", socket.read_u8()).await.unwrap(), b'x');
    }
    assert!(forty(&balancer).await.iter().all(|id| id != "s1"));
    a.readiness.send_replace(Readiness::Ready);
    until_states(&balancer, "up", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_keeps_its_clients_and_gets_no_new_ones() {
    let [a, b, c] = three().await;
    let balancer = start_ready(&[&a, &b, &c], "").await;
    let mut open = Vec::new();
    for n in 1..=30 {
        let (socket, home) = client(&balancer, [127, 0, 5, n]).await;
        open.push((socket, home.unwrap()));
    }
    a.readiness.send_replace(Readiness::NotReady);
    until_states(&balancer, "not_ready", 1).await;
    let before = a.attempts();
    forty(&balancer).await;
    assert_eq!(a.attempts(), before);
    for (socket, _) in &mut open {
        socket.write_all(b"y").await.unwrap();
        assert_eq!(within("an echo", socket.read_u8()).await.unwrap(), b'y');
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_servers_down_clients_are_closed_promptly() {
    let [a, b, c] = three().await;
    let balancer = start_ready(&[&a, &b, &c], "").await;
    for backend in [&a, &b, &c] {
        backend.stop();
    }
    until_states(&balancer, "down", 3).await;
    let started = tokio::time::Instant::now();
    let (_, home) = client(&balancer, [127, 0, 0, 1]).await;
    assert_eq!(home, None);
    assert!(started.elapsed() < Duration::from_secs(3));
    let admin = balancer.admin_address().unwrap();
    assert!(get(admin, "/readyz").await.0.contains("503"));
    assert!(get(admin, "/livez").await.0.contains("200"));
    assert_eq!(
        status(&balancer).await["totals"]["refused"]["no_backend"],
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_only_look_down_are_tried_anyway() {
    let backend = Backend::start("s1").await;
    backend.readiness.send_replace(Readiness::Hung);
    let balancer = start(&[backend.table()], QUICK);
    until_states(&balancer, "down", 1).await;
    assert_eq!(
        client(&balancer, [127, 0, 0, 1]).await.1.as_deref(),
        Some("s1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_clients_meets_a_stopped_and_a_dead_server() {
    let backends = three().await;
    let [a, b, c] = &backends;
    let balancer = start(&bare(&[a, b, c]), "[timeouts]\nfirst_byte_ms = 400\n");
    a.manner.send_replace(Manner::Silent);
    b.stop();
    let address = front(&balancer);
    let storm: Vec<_> = (0..600_u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            tokio::spawn(async move {
                let mut socket = connect_from([127, 1, high, low.max(1)], address).await;
                (greet(&mut socket).await, socket)
            })
        })
        .collect();
    let mut open = Vec::new();
    for client in storm {
        let (home, socket) = within("a client", client).await.unwrap();
        assert_eq!(home.as_deref(), Some("s3"), "no client fails");
        open.push(socket);
    }
    assert_eq!(status(&balancer).await["totals"]["connections"], 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_balancers_send_a_client_to_the_same_server() {
    let backends = three().await;
    let [a, b, c] = &backends;
    let here = start_ready(&[a, b, c], "").await;
    let there = start_ready(&[c, a, b], "").await;
    for n in 1..=20 {
        let (socket, home) = client(&here, [127, 0, 10, n]).await;
        assert!(home.is_some());
        drop(socket);
        assert_eq!(client(&there, [127, 0, 10, n]).await.1, home);
        until_connections(&here, 0).await;
        until_connections(&there, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_only_slow_fail_no_client() {
    // Each answers long after the next one is asked.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = format!(
        "[[backend]]\nid = \"slow\"\naddress = \"{}\"\n",
        listener.local_addr().unwrap()
    );
    let dead = Backend::start("dead").await;
    dead.stop();
    let more = "[timeouts]\nfirst_byte_ms = 50\nlast_answer_ms = 20000\n";
    let balancer = start(&[table, dead.bare_table()], more);
    let mut socket = tokio::net::TcpStream::connect(front(&balancer))
        .await
        .unwrap();
    socket.write_all(&hello()).await.unwrap();
    let (mut server, _) = within("the attempt", listener.accept()).await.unwrap();
    // The other one has been asked, in vain, before this one says its first byte.
    until("both failures", || async {
        status(&balancer).await["totals"]["failures"] == 2
    })
    .await;
    server.write_all(b"!").await.unwrap();
    assert_eq!(within("a byte", socket.read_u8()).await.unwrap(), b'!');
    drop((socket, server));
    until_connections(&balancer, 0).await;
    let status = status(&balancer).await;
    for backend in status["backends"].as_array().unwrap() {
        assert_eq!(
            (&backend["connections"], &backend["handshakes"]),
            (&0.into(), &0.into())
        );
    }
}
