//! Bytes: whole, in order, both ways, under pressure, half-closed, and through real TLS.

mod support;

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn much_data_passes_whole_even_when_nobody_reads_for_a_while() {
    let backend = Backend::start("s1").await;
    let balancer = start_ready(&[&backend], "").await;
    let (socket, home) = client(&balancer, [127, 0, 0, 1]).await;
    assert!(home.is_some());
    let (mut reader, mut writer) = socket.into_split();
    // A period of the pattern divides no buffer, so a lost or doubled part is noticed.
    let period = pattern(251 * 4_096);
    let mut sent = 0;
    let stalls = loop {
        let write = writer.write(&period[sent % 251..]);
        match tokio::time::timeout(Duration::from_millis(500), write).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break true,
        }
        // The echo has filled every buffer on the way long before.
        if sent > 512 * 1024 * 1024 {
            break false;
        }
    };
    assert!(stalls, "back pressure reaches the sender");
    writer.shutdown().await.unwrap();
    let mut received = Vec::new();
    within("everything", reader.read_to_end(&mut received))
        .await
        .unwrap();
    assert_eq!(received.len(), sent);
    assert!((0..sent).all(|n| received[n] == (n % 251) as u8));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_run_at_the_same_time() {
    let backend = Backend::start("s1").await;
    let balancer = start_ready(&[&backend], "").await;
    let (socket, _) = client(&balancer, [127, 0, 0, 1]).await;
    let (mut reader, mut writer) = socket.into_split();
    let sent = pattern(16 * 1024 * 1024);
    let copy = sent.clone();
    let write = tokio::spawn(async move {
        writer.write_all(&copy).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    within("the echo", reader.read_to_end(&mut received))
        .await
        .unwrap();
    within("the writer", write).await.unwrap();
    assert_eq!(received.len(), sent.len());
    assert_eq!(received, sent);
    until_connections(&balancer, 0).await;
}

/// More than there are pipes: some go by pipe and some by copies, and each changes between both.
#[tokio::test(flavor = "multi_thread")]
async fn many_move_much_and_little_in_turns_and_nobody_meets_anothers_bytes() {
    const CLIENTS: u8 = 120;
    let backend = Backend::start("s1").await;
    let balancer = start_ready(&[&backend], "").await;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (socket, _) = client(&balancer, [127, 0, 0, 1]).await;
        all.spawn(async move {
            let (mut reader, mut writer) = socket.into_split();
            let mut much = pattern(1024 * 1024 + usize::from(number));
            much.iter_mut().for_each(|byte| *byte ^= number);
            for length in [much.len(), 10, much.len() / 2, 1] {
                let (sent, mut received) = (much[..length].to_vec(), vec![0; length]);
                let writing = async { writer.write_all(&sent).await.unwrap() };
                let reading = async { reader.read_exact(&mut received).await.map(drop).unwrap() };
                within("an echo", async { tokio::join!(writing, reading) }).await;
                assert!(received == sent, "client {number}, {length} bytes");
            }
            // Some leave in the middle of it, with bytes in their pipes.
            if number % 3 == 0 {
                let _ =
                    tokio::time::timeout(Duration::from_millis(2), writer.write_all(&much)).await;
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    until_connections(&balancer, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_connection_ends_in_bounded_time() {
    // A server that never finishes sending, after its client has.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = format!(
        "[[backend]]\nid = \"s1\"\naddress = \"{}\"\n",
        listener.local_addr().unwrap()
    );
    let balancer = start(&[table], "[timeouts]\nhalf_close_ms = 200\n");
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"!").await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        let finished_first = socket.write_all(b"after").await.is_ok();
        let mut byte = [0];
        // Ends only when the balancer gives up.
        while socket.read(&mut byte).await.unwrap_or(0) > 0 {}
        finished_first
    });
    let mut socket = TcpStream::connect(front(&balancer)).await.unwrap();
    socket.write_all(&hello()).await.unwrap();
    assert_eq!(within("a byte", socket.read_u8()).await.unwrap(), b'!');
    socket.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = within("the end", socket.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"after", "the other direction goes on");
    assert!(within("the server", server).await.unwrap());
    until_connections(&balancer, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_closes_its_client_and_the_other_way_round() {
    let backend = Backend::start("s1").await;
    let balancer = start_ready(&[&backend], "").await;
    let (socket, _) = client(&balancer, [127, 0, 0, 1]).await;
    drop(socket);
    until_connections(&balancer, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_passes_end_to_end_with_the_hybrid_handshake() {
    let key = rcgen::generate_simple_self_signed(vec!["sotto.test".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let secret = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let server = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], secret.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = format!(
        "[[backend]]\nid = \"s1\"\naddress = \"{}\"\n",
        listener.local_addr().unwrap()
    );
    let silent = Backend::start("a-silent-one").await;
    silent.manner.send_replace(Manner::Silent);
    let balancer = start(
        &[table, silent.bare_table()],
        "[timeouts]\nfirst_byte_ms = 300\n",
    );
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut header = [0; 28];
                socket.read_exact(&mut header).await.unwrap();
                let mut tls = acceptor.accept(socket).await.unwrap();
                let mut message = [0; 5];
                tls.read_exact(&mut message).await.unwrap();
                tls.write_all(&message).await.unwrap();
                let _ = tls.shutdown().await;
            });
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    // From several prefixes: some prefer the silent server and have their hello replayed.
    for n in 1..=8 {
        let socket = connect_from([127, 0, 6, n], front(&balancer)).await;
        let name = ServerName::try_from("sotto.test").unwrap();
        let mut tls = within("TLS", connector.connect(name, socket))
            .await
            .unwrap();
        tls.write_all(b"hello").await.unwrap();
        let mut echoed = [0; 5];
        within("the echo", tls.read_exact(&mut echoed))
            .await
            .unwrap();
        assert_eq!(&echoed, b"hello");
    }
    assert!(silent.attempts() > 0, "at least one hello was replayed");
}
