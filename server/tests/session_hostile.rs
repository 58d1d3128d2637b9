//! Peers that do not play by the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests end at the first surprise"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use rustls_pki_types::ServerName;
use sotto_protocol::ErrorCode;
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, ServerFrame};
use support::client::{Client, error, tls_config};
use support::person::Person;
use support::{Deployment, PATIENCE, Process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a raw connection is told before it ends: all of it.
async fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the connection was left open");
    answer
}

async fn assert_serves(deployment: &Deployment, server: &Process) {
    Client::connect(server.listen, &deployment.certificates.ca)
        .await
        .hello()
        .await;
}

/// G3: a length beyond the limit is refused before its bytes.
#[tokio::test]
async fn a_frame_of_four_gigabytes_is_refused_by_its_length() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    for length in [u32::MAX, 8 * 1024 * 1024 - 1, 16 * 1024 + 1] {
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        client.send_raw(&length.to_be_bytes()).await.unwrap();
        let ServerFrame { request_id, body } = client.frame().await;
        assert_eq!(
            (request_id, error(body.unwrap()).0),
            (0, ErrorCode::TooLarge)
        );
        assert!(client.try_frame().await.is_none());
    }
    let (_, mut client) = Person::register("alice", &deployment, &server).await;
    client
        .send_raw(&(1024u32 * 1024 + 1).to_be_bytes())
        .await
        .unwrap();
    assert_eq!(
        error(client.frame().await.body.unwrap()).0,
        ErrorCode::TooLarge
    );
    assert!(client.try_frame().await.is_none());
}

/// G5, G6: bytes that are no message end the connection with a reason, and nothing else.
#[tokio::test]
async fn frames_that_do_not_decode_end_the_connection() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let deep = {
        // A group opened again and again.
        let mut bytes = vec![0x13; 15_000];
        bytes.push(0x14);
        bytes
    };
    for body in [vec![0xff; 100], deep, (0..=255).collect::<Vec<u8>>()] {
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        let mut frame = BytesMut::new();
        frame.put_u32(u32::try_from(body.len()).unwrap());
        frame.put_slice(&body);
        client.send_raw(&frame).await.unwrap();
        assert_eq!(
            error(client.frame().await.body.unwrap()).0,
            ErrorCode::Malformed
        );
        assert!(client.try_frame().await.is_none());
    }
    assert_serves(&deployment, &server).await;
}

#[tokio::test]
async fn what_comes_out_of_turn_is_refused_and_the_connection_goes_on() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
    let sync = Request::GetSync(wire::GetSync::default());
    assert_eq!(client.refused(sync.clone()).await.0, ErrorCode::NotLoggedIn);
    client.hello().await;
    assert_eq!(client.refused(sync).await.0, ErrorCode::NotLoggedIn);
    let append = Request::Append(wire::Append::default());
    assert_eq!(client.refused(append).await.0, ErrorCode::NotLoggedIn);
    assert!(matches!(
        client.ask(Request::Ping(wire::Ping {})).await,
        Response::Pong(_)
    ));
    // An unknown kind of request.
    let mut unknown = BytesMut::new();
    unknown.put_u32(5);
    unknown.put_slice(&[0x08, 0x07, 0xfa, 0x07, 0x00]);
    client.send_raw(&unknown).await.unwrap();
    let ServerFrame { request_id, body } = client.frame().await;
    assert_eq!(
        (request_id, error(body.unwrap()).0),
        (7, ErrorCode::Malformed)
    );
    assert!(matches!(
        client.ask(Request::Ping(wire::Ping {})).await,
        Response::Pong(_)
    ));
}

#[tokio::test]
async fn a_version_from_elsewhere_is_told_so() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
    let hello = wire::Hello {
        version_min: 7,
        version_max: 9,
        agent: String::new(),
    };
    assert_eq!(
        client.refused(Request::Hello(hello)).await.0,
        ErrorCode::UnsupportedVersion
    );
    assert!(client.try_frame().await.is_none());
}

/// G7: TLS 1.2 is refused in the handshake; 1.3 without our protocol, too.
#[tokio::test]
async fn older_tls_and_other_protocols_are_refused() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    // A ClientHello that offers TLS 1.2 and one of its suites, and nothing of 1.3.
    let hello = [
        &[0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3][..],
        &[7; 32],
        &[0, 0, 4, 0xc0, 0x2f, 0, 0xff, 1, 0],
    ]
    .concat();
    let mut stream = TcpStream::connect(server.listen).await.unwrap();
    stream.write_all(&hello).await.unwrap();
    let answer = until_closed(stream).await;
    assert_eq!(
        answer.first(),
        Some(&0x15),
        "an alert and no ServerHello: {answer:?}"
    );

    for protocols in [vec![b"h2".to_vec()], Vec::new()] {
        let mut config = tls_config(&deployment.certificates.ca);
        config.alpn_protocols = protocols;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(server.listen).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let ended = match connector.connect(name, stream).await {
            Err(_) => true,
            Ok(mut stream) => {
                let read = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
                read.expect("left open").is_err()
            }
        };
        assert!(ended);
    }
}

/// A client can keep nothing for a shortened or early handshake.
#[tokio::test]
async fn no_session_is_resumed() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let config = Arc::new(tls_config(&deployment.certificates.ca));
    for _ in 0..2 {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let stream = TcpStream::connect(server.listen).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_ne!(kind, Some(rustls::HandshakeKind::Resumed));
        assert_eq!(
            stream.get_ref().1.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
    }
}

/// G9: a PROXY header counts only from configured fronts, and from those it is a must.
#[tokio::test]
async fn proxy_headers_are_believed_from_fronts_only() {
    let deployment = Deployment::new();
    let direct = deployment.start("");
    let behind =
        deployment.start("trusted_proxies = [\"127.0.0.1/32\"]\nregistrations_per_hour = 1");
    let ca = &deployment.certificates.ca;
    let header = sotto_protocol::proxy_v2::encode(
        "203.0.113.9:4000".parse().unwrap(),
        "198.51.100.1:443".parse().unwrap(),
    );
    let mut spoofed = TcpStream::connect(direct.listen).await.unwrap();
    spoofed.write_all(&header).await.unwrap();
    assert!(Client::over(spoofed, ca).await.is_err());
    assert!(
        Client::try_connect(behind.listen, ca).await.is_err(),
        "a front without a header"
    );
    // The header's address is what limits count, in however small pieces it comes.
    for (name, source, allowed) in [
        ("alice", "203.0.113.9:4000", true),
        ("bob", "203.0.113.9:4001", false),
        ("carol", "203.0.113.10:4000", true),
    ] {
        let header = sotto_protocol::proxy_v2::encode(
            source.parse().unwrap(),
            "198.51.100.1:443".parse().unwrap(),
        );
        let mut stream = TcpStream::connect(behind.listen).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in header {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut client = Client::over(stream, ca).await.unwrap();
        let hello = client.hello().await;
        let id = sotto_protocol::DeploymentId::from_slice(&hello.deployment_id).unwrap();
        let answer = client.ask(Person::new(name, id).register_request()).await;
        assert_eq!(
            matches!(answer, Response::LoggedIn(_)),
            allowed,
            "{name}: {answer:?}"
        );
    }
}

/// G1, G6: whoever says nothing, or nonsense, is gone within the handshake's time.
#[tokio::test]
async fn slow_and_random_bytes_are_cut_off() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let began = tokio::time::Instant::now();
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(server.listen).await.unwrap();
        slow.spawn(async move {
            // A record that claims to be long, byte by byte.
            let _ = stream.write_all(&[0x16, 3, 1, 0x3f]).await;
            until_closed(stream).await
        });
    }
    for seed in 0..50u8 {
        let mut stream = TcpStream::connect(server.listen).await.unwrap();
        let noise: Vec<u8> = (0..600u32)
            .map(|place| {
                (place
                    .wrapping_mul(2_654_435_761)
                    .rotate_left(u32::from(seed))
                    >> 13) as u8
            })
            .collect();
        let _ = stream.write_all(&noise).await;
        until_closed(stream).await;
    }
    assert_serves(&deployment, &server).await;
    slow.join_all().await;
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(server.metric("handshakes_failed_total").await >= 150);
    assert_serves(&deployment, &server).await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let deployment = Deployment::new();
    let server = deployment.start("connections_max = 3");
    let ca = &deployment.certificates.ca;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Client::connect(server.listen, ca).await);
    }
    assert!(Client::try_connect(server.listen, ca).await.is_err());
    held.pop();
    support::eventually("a place is free again", async || {
        Client::try_connect(server.listen, ca).await.is_ok()
    })
    .await;
}

/// F10: while guesses fill the password queue, they are refused fast and others go on.
#[tokio::test]
async fn a_flood_of_password_logins_is_refused_fast() {
    let deployment = Deployment::new();
    let server = deployment.start("bcrypt_cost = 11\npassword_workers = 1");
    let (_, mut other) = Person::register("other", &deployment, &server).await;
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..60 {
        let mut client = Client::connect(server.listen, &deployment.certificates.ca).await;
        let hello = client.hello().await;
        let id = sotto_protocol::DeploymentId::from_slice(&hello.deployment_id).unwrap();
        flood.spawn(async move {
            let person = Person::new(&format!("guess{number}"), id);
            client.refused(person.password_request()).await.0
        });
    }
    for _ in 0..20 {
        assert!(matches!(
            other.ask(Request::Ping(wire::Ping {})).await,
            Response::Pong(_)
        ));
    }
    let answers = flood.join_all().await;
    let limited = answers
        .iter()
        .filter(|code| **code == ErrorCode::RateLimited)
        .count();
    assert!(limited >= 20, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|code| { matches!(code, ErrorCode::RateLimited | ErrorCode::WrongCredentials) })
    );
}

/// Names, ids and keys stay out of the log at its ordinary level.
#[tokio::test]
async fn the_log_names_nobody() {
    let deployment = Deployment::new();
    let server = deployment.start("");
    let (alice, mut client) = Person::register("canary-7f3a", &deployment, &server).await;
    client.refused(alice.password_request()).await;
    client
        .refused(Request::GetAccount(wire::GetAccount {
            username: "canary-9c".to_owned(),
        }))
        .await;
    let text = server.log_text();
    assert!(text.contains("serving"));
    for canary in ["canary", &alice.device().to_string(), "pppp"] {
        assert!(!text.contains(canary), "{canary} in {text}");
    }
}
