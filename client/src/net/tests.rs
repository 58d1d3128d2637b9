//! Connections against real TLS on loopback: good ones, wrong ones, broken ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sotto_protocol::frame::{FrameLimit, decode_frame, encode_frame};
use sotto_protocol::wire::{ClientFrame, HelloOk, ServerFrame, client_frame, server_frame};
use sotto_protocol::{ErrorCode, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// A certificate authority in a file, and a server's side of TLS under it.
struct Authority {
    ca: PathBuf,
    tls: TlsAcceptor,
    _folder: tempfile::TempDir,
}

impl Authority {
    fn new(alpn: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, issuer.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.der().to_vec())],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        Self {
            ca,
            tls: TlsAcceptor::from(Arc::new(config)),
            _folder: folder,
        }
    }
}

fn dialer(servers: &str, ca: &Path) -> Dialer {
    Dialer::new(
        ServerList::parse(servers).unwrap(),
        client_config(Some(ca)).unwrap(),
    )
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// An address where nothing listens.
async fn closed_port() -> String {
    listener().await.1
}

async fn read_frame(stream: &mut TlsStream<TcpStream>) -> ClientFrame {
    let mut buffer = BytesMut::new();
    loop {
        if let Some(frame) = decode_frame(&mut buffer, FrameLimit::BeforeLogin).unwrap() {
            return frame;
        }
        assert!(stream.read_buf(&mut buffer).await.unwrap() > 0);
    }
}

async fn write_frame(stream: &mut TlsStream<TcpStream>, request_id: u64, body: server_frame::Body) {
    let mut buffer = BytesMut::new();
    let frame = ServerFrame {
        request_id,
        body: Some(body),
    };
    encode_frame(&frame, &mut buffer).unwrap();
    stream.write_all(&buffer).await.unwrap();
    stream.flush().await.unwrap();
}

/// Accepts one connection and answers its Hello.
async fn greet(listener: TcpListener, tls: TlsAcceptor) -> TlsStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = tls.accept(stream).await.unwrap();
    let hello = read_frame(&mut stream).await;
    assert!(matches!(hello.body, Some(client_frame::Body::Hello(_))));
    let ok = HelloOk {
        version: version::VERSION_MAX,
        deployment_id: vec![7; 16],
        nonce: vec![9; 32],
        node: "s1".to_owned(),
        ..HelloOk::default()
    };
    write_frame(
        &mut stream,
        hello.request_id,
        server_frame::Body::HelloOk(ok),
    )
    .await;
    stream
}

#[tokio::test]
async fn the_first_address_that_answers_is_used() {
    let authority = Authority::new(version::ALPN);
    let (listener, address) = listener().await;
    let server = tokio::spawn(greet(listener, authority.tls.clone()));
    let servers = format!("{},{address}", closed_port().await);
    let established = dialer(&servers, &authority.ca).dial().await.unwrap();
    let mut stream = server.await.unwrap();
    assert_eq!(established.info.nonce, [9; 32]);
    assert_eq!(established.info.node, "s1");
    let theirs = stream
        .get_mut()
        .1
        .export_keying_material([0; 32], b"EXPORTER-sotto-device-login", Some(&[]))
        .unwrap();
    assert_eq!(established.info.exporter, theirs);
}

#[tokio::test]
async fn frames_cross_whatever_their_size() {
    let authority = Authority::new(version::ALPN);
    let (listener, address) = listener().await;
    let tls = authority.tls.clone();
    let server = tokio::spawn(async move {
        let mut stream = greet(listener, tls).await;
        let node = "x".repeat(200_000);
        let large = HelloOk {
            node,
            ..HelloOk::default()
        };
        write_frame(&mut stream, 3, server_frame::Body::HelloOk(large)).await;
        stream.shutdown().await.unwrap();
    });
    let mut connection = dialer(&address, &authority.ca)
        .dial()
        .await
        .unwrap()
        .connection;
    connection.logged_in();
    assert_eq!(connection.next().await.unwrap().request_id, 3);
    assert!(matches!(connection.next().await, Err(LinkError::Closed)));
    server.await.unwrap();
}

#[tokio::test]
async fn a_frame_of_four_gigabytes_ends_the_connection() {
    let authority = Authority::new(version::ALPN);
    let (listener, address) = listener().await;
    let tls = authority.tls.clone();
    let server = tokio::spawn(async move {
        let mut stream = greet(listener, tls).await;
        stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    let mut connection = dialer(&address, &authority.ca)
        .dial()
        .await
        .unwrap()
        .connection;
    assert!(matches!(connection.next().await, Err(LinkError::Frame(_))));
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let authority = Authority::new(version::ALPN);
    let other = Authority::new(version::ALPN);
    let (listener, address) = listener().await;
    let tls = authority.tls.clone();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(tls.accept(stream).await.is_err());
    });
    let error = dialer(&address, &other.ca)
        .dial()
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, DialError::Certificate(..)), "{error}");
    assert!(error.is_final());
    assert_eq!(error.code(), "certificate_mismatch");
    server.await.unwrap();
}

#[tokio::test]
async fn what_is_no_server_is_called_so() {
    let authority = Authority::new(b"http/1.1");
    let (web, web_address) = listener().await;
    let tls = authority.tls.clone();
    let server = tokio::spawn(async move {
        let (stream, _) = web.accept().await.unwrap();
        let _ = tls.accept(stream).await;
    });
    let error = dialer(&web_address, &authority.ca)
        .dial()
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, DialError::NotSotto(..)), "{error}");
    server.await.unwrap();

    let (noise, noise_address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = noise.accept().await.unwrap();
        stream.write_all(b"220 mail ready\r\n").await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let error = dialer(&noise_address, &authority.ca)
        .dial()
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, DialError::NotSotto(..)), "{error}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_refusal_says_more_than_silence() {
    let authority = Authority::new(version::ALPN);
    let (listener, address) = listener().await;
    let tls = authority.tls.clone();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(stream).await.unwrap();
        let hello = read_frame(&mut stream).await;
        let refusal = sotto_protocol::wire::Error {
            code: ErrorCode::Unavailable as u32,
            message: "stopping".to_owned(),
            retry_after_ms: 250,
            ..Default::default()
        };
        write_frame(
            &mut stream,
            hello.request_id,
            server_frame::Body::Error(refusal),
        )
        .await;
        stream
    });
    let servers = format!("{address},{}", closed_port().await);
    let error = dialer(&servers, &authority.ca)
        .dial()
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert_eq!(error.retry_after_ms(), Some(250));
    assert!(!error.is_final());
    drop(server.await.unwrap());
}

#[tokio::test]
async fn a_goodbye_waits_until_the_server_has_read_it() {
    let authority = Authority::new(version::ALPN);
    let (listener, address) = listener().await;
    let tls = authority.tls.clone();
    let server = tokio::spawn(async move {
        let mut stream = greet(listener, tls).await;
        // Bytes that the client never reads must not cost what it still sends.
        let node = "y".repeat(60_000);
        let unread = HelloOk {
            node,
            ..HelloOk::default()
        };
        write_frame(&mut stream, 1, server_frame::Body::HelloOk(unread)).await;
        let frame = read_frame(&mut stream).await;
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        frame.request_id
    });
    let mut connection = dialer(&address, &authority.ca)
        .dial()
        .await
        .unwrap()
        .connection;
    let last = ClientFrame {
        request_id: 42,
        body: None,
    };
    connection.queue(&last).unwrap();
    tokio::time::timeout(Duration::from_secs(10), connection.close())
        .await
        .unwrap();
    assert_eq!(server.await.unwrap(), 42);
}
