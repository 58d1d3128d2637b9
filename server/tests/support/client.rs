//! A connection that speaks frames.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use sotto_protocol::frame::{FrameLimit, decode_frame, encode_frame};
use sotto_protocol::wire::client_frame::Body as Request;
use sotto_protocol::wire::server_frame::Body as Response;
use sotto_protocol::wire::{self, ClientFrame, ServerFrame};
use sotto_protocol::{ErrorCode, version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::PATIENCE;

/// What a client trusts.
pub fn tls_config(ca: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![version::ALPN.to_vec()];
    config
}

pub struct Client {
    stream: TlsStream<TcpStream>,
    arrived: BytesMut,
    pushed: VecDeque<Response>,
    next_id: u64,
}

impl Client {
    pub async fn connect(address: SocketAddr, ca: &Path) -> Self {
        Self::try_connect(address, ca).await.unwrap()
    }

    pub async fn try_connect(address: SocketAddr, ca: &Path) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Self::over(stream, ca).await
    }

    /// Brings TLS up over a connection on which something may have been said before.
    pub async fn over(stream: TcpStream, ca: &Path) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(tls_config(ca)));
        let name = ServerName::try_from("localhost").unwrap();
        Ok(Self {
            stream: connector.connect(name, stream).await?,
            arrived: BytesMut::new(),
            pushed: VecDeque::new(),
            next_id: 1,
        })
    }

    pub fn exporter(&self) -> [u8; 32] {
        let label = b"EXPORTER-sotto-device-login";
        self.stream
            .get_ref()
            .1
            .export_keying_material([0; 32], label, Some(&[]))
            .unwrap()
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends without waiting for an answer; returns the request's id.
    pub async fn send(&mut self, body: Request) -> u64 {
        let request_id = match body {
            Request::Acknowledge(_) | Request::Pong(_) => 0,
            _ => {
                self.next_id += 1;
                self.next_id
            }
        };
        let mut bytes = BytesMut::new();
        encode_frame(
            &ClientFrame {
                request_id,
                body: Some(body),
            },
            &mut bytes,
        )
        .unwrap();
        self.send_raw(&bytes).await.unwrap();
        request_id
    }

    /// The next frame, whatever it is; `None` at the end of the connection.
    pub async fn try_frame(&mut self) -> Option<ServerFrame> {
        loop {
            if let Some(frame) = decode_frame(&mut self.arrived, FrameLimit::AfterLogin).unwrap() {
                return Some(frame);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.arrived));
            match read.await.expect("the server said nothing") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn frame(&mut self) -> ServerFrame {
        self.try_frame().await.expect("the server closed")
    }

    /// The answer to a request; what is pushed meanwhile is kept.
    pub async fn answer(&mut self, request_id: u64) -> Response {
        loop {
            let frame = self.frame().await;
            if frame.request_id == request_id {
                return frame.body.unwrap();
            }
            assert_eq!(frame.request_id, 0, "an answer out of order: {frame:?}");
            self.keep(frame.body.unwrap()).await;
        }
    }

    async fn keep(&mut self, pushed: Response) {
        if matches!(pushed, Response::Ping(_)) {
            self.send(Request::Pong(wire::Pong {})).await;
        } else {
            self.pushed.push_back(pushed);
        }
    }

    pub async fn ask(&mut self, body: Request) -> Response {
        let id = self.send(body).await;
        self.answer(id).await
    }

    /// Asks for what must be refused.
    pub async fn refused(&mut self, body: Request) -> (ErrorCode, wire::Error) {
        error(self.ask(body).await)
    }

    /// The next thing that the server says unasked.
    pub async fn push(&mut self) -> Response {
        while self.pushed.is_empty() {
            let frame = self.frame().await;
            assert_eq!(frame.request_id, 0, "an answer to nothing: {frame:?}");
            self.keep(frame.body.unwrap()).await;
        }
        self.pushed.pop_front().unwrap()
    }

    /// Whether something was said unasked and not looked at yet.
    pub fn has_pushes(&self) -> bool {
        !self.pushed.is_empty()
    }

    pub async fn hello(&mut self) -> wire::HelloOk {
        let hello = wire::Hello {
            version_min: 1,
            version_max: 1,
            agent: "test".to_owned(),
        };
        match self.ask(Request::Hello(hello)).await {
            Response::HelloOk(ok) => ok,
            other => panic!("no greeting: {other:?}"),
        }
    }

    /// Entries of logs until there are `count` of them. Acknowledges each.
    pub async fn deliveries(&mut self, count: usize) -> Vec<wire::Envelope> {
        let mut all = Vec::new();
        while all.len() < count {
            if let Response::Deliver(deliver) = self.push().await {
                self.acknowledge(&deliver.envelopes).await;
                all.extend(deliver.envelopes);
            }
        }
        all
    }

    pub async fn acknowledge(&mut self, envelopes: &[wire::Envelope]) {
        let cursors = envelopes
            .iter()
            .map(|envelope| wire::Cursor {
                conversation_id: envelope.conversation_id.clone(),
                seq: envelope.seq,
            })
            .collect();
        self.send(Request::Acknowledge(wire::Acknowledge { cursors }))
            .await;
    }

    /// Everything that is delivered until the server says that that was all.
    pub async fn resume(&mut self) -> Vec<wire::Envelope> {
        let answer = self.ask(Request::Resume(wire::Resume::default())).await;
        assert!(matches!(answer, Response::Done(_)), "{answer:?}");
        let mut all = Vec::new();
        loop {
            match self.push().await {
                Response::Deliver(deliver) => {
                    self.acknowledge(&deliver.envelopes).await;
                    all.extend(deliver.envelopes);
                }
                Response::CaughtUp(_) => return all,
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
}

/// The error in an answer that must be one.
pub fn error(answer: Response) -> (ErrorCode, wire::Error) {
    match answer {
        Response::Error(error) => (ErrorCode::from_number(error.code), error),
        other => panic!("not refused: {other:?}"),
    }
}

impl Client {
    /// Sends a request and takes in every answer up to its own.
    pub async fn skip_to(&mut self, body: Request) -> Response {
        let id = self.send(body).await;
        loop {
            let frame = self.frame().await;
            if frame.request_id == id {
                return frame.body.unwrap();
            }
            assert!(!matches!(frame.body, Some(Response::Error(_))), "{frame:?}");
        }
    }
}
