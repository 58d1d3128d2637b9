//! Clients that misbehave: slow, loud, many, or speaking something else.

mod support;

use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn one(more: &str) -> (Backend, sotto_balancer::Balancer) {
    let backend = Backend::start("s1").await;
    let balancer = start_ready(&[&backend], more).await;
    (backend, balancer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_hello_is_closed_in_time_while_others_are_served() {
    let (_backend, balancer) = one("[timeouts]\nhello_ms = 400\n").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut socket = TcpStream::connect(front(&balancer)).await.unwrap();
        socket.write_all(&hello()[..7]).await.unwrap();
        slow.push(socket);
    }
    assert!(client(&balancer, [127, 0, 0, 9]).await.1.is_some());
    for socket in &mut slow {
        // One byte now and then does not help.
        let _ = socket.write_all(&[0]).await;
        until_closed(socket).await;
    }
    assert_eq!(refused(&balancer, "hello_timeout").await, 200);
    until_connections(&balancer, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_and_random_bytes_reach_no_server() {
    let (backend, balancer) = one("").await;
    let header = sotto_protocol::proxy_v2::encode(
        "192.0.2.1:1".parse().unwrap(),
        "192.0.2.2:2".parse().unwrap(),
    );
    let mut spoofed = header.clone();
    spoofed.extend_from_slice(&hello());
    let mut junk: Vec<Vec<u8>> = vec![
        spoofed,
        header,
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 100_000],
        vec![22, 3, 1, 0xff, 0xff],
        vec![22, 3, 1, 0, 9, 2, 0, 0, 5],
    ];
    // A fixed xorshift sequence: the same "random" bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for length in 1..200 {
        let mut bytes = Vec::new();
        for _ in 0..length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.push(state as u8);
        }
        if bytes[0] != 22 {
            junk.push(bytes);
        }
    }
    for bytes in junk {
        let mut socket = TcpStream::connect(front(&balancer)).await.unwrap();
        let _ = socket.write_all(&bytes).await;
        until_closed(&mut socket).await;
    }
    assert_eq!(backend.attempts(), 0);
    assert!(
        client(&balancer, [127, 0, 0, 9]).await.1.is_some(),
        "still serving"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_has_so_many_connections_and_no_more() {
    let (_backend, balancer) = one("[limits]\nconnections_per_prefix_max = 3\n").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(client(&balancer, [127, 0, 0, 1]).await);
    }
    assert!(open.iter().all(|(_, home)| home.is_some()));
    assert_eq!(client(&balancer, [127, 0, 0, 1]).await.1, None);
    assert!(
        client(&balancer, [127, 0, 0, 2]).await.1.is_some(),
        "others are not affected"
    );
    assert_eq!(refused(&balancer, "prefix_connections").await, 1);
    open.pop();
    until("a place", || async {
        client(&balancer, [127, 0, 0, 1]).await.1.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_comes_so_fast_and_no_faster() {
    let limits = "[limits]\nconnection_rate_per_prefix = 1\nconnection_burst_per_prefix = 5\n";
    let (_backend, balancer) = one(limits).await;
    let mut served = 0;
    for _ in 0..30 {
        served += u32::from(client(&balancer, [127, 0, 0, 1]).await.1.is_some());
    }
    assert!((5..20).contains(&served), "{served}");
    assert!(client(&balancer, [127, 0, 0, 2]).await.1.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_of_connections_the_next_one_waits() {
    let (_backend, balancer) = one("[limits]\nconnections_max = 2\n").await;
    let first = client(&balancer, [127, 0, 0, 1]).await;
    let second = client(&balancer, [127, 0, 0, 1]).await;
    assert!(first.1.is_some() && second.1.is_some());
    let mut third = TcpStream::connect(front(&balancer)).await.unwrap();
    third.write_all(&hello()).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(200), third.read_u8()).await;
    assert!(waits.is_err(), "not accepted yet");
    drop(first);
    assert_eq!(within("its turn", third.read_u8()).await.unwrap(), b's');
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_in_flight_are_limited_per_server() {
    let limits = "[limits]\nhandshakes_per_backend_max = 2\n[timeouts]\nfirst_byte_ms = 20000\n";
    let (backend, balancer) = one(limits).await;
    backend.manner.send_replace(Manner::Silent);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(front(&balancer)).await.unwrap();
        socket.write_all(&hello()).await.unwrap();
        waiting.push(socket);
    }
    until("two handshakes", || async {
        status(&balancer).await["backends"][0]["handshakes"] == 2
    })
    .await;
    assert_eq!(client(&balancer, [127, 0, 0, 1]).await.1, None);
    assert_eq!(refused(&balancer, "busy").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_everything() {
    let (_backend, balancer) = one("").await;
    for n in 0..50 {
        let mut socket = TcpStream::connect(front(&balancer)).await.unwrap();
        if n % 2 == 0 {
            let _ = socket.write_all(&hello()[..n]).await;
        } else {
            greet(&mut socket).await;
        }
    }
    until_connections(&balancer, 0).await;
    assert_eq!(status(&balancer).await["backends"][0]["connections"], 0);
    assert_eq!(status(&balancer).await["backends"][0]["handshakes"], 0);
}
