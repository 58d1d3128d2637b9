//! Real sockets for the balancer's tests: backends that behave or misbehave, raw clients.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: each binary uses a part of it, and panics are its verdicts"
)]

use sotto_balancer::Balancer;
use sotto_balancer::config::Config;
use sotto_protocol::proxy_v2::{Decoded, Header, decode};
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No wait in these tests is longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How a backend treats a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Says its id and a line feed, then echoes.
    Serve,
    /// Accepts, reads and closes without a byte.
    Close,
    /// Accepts and says nothing, like a stopped process.
    Silent,
}

/// What its health port answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady,
    /// Accepts and never answers.
    Hung,
}

/// A backend on real sockets, which reads PROXY headers as a server does.
pub struct Backend {
    pub id: String,
    pub address: SocketAddr,
    pub health: SocketAddr,
    pub manner: watch::Sender<Manner>,
    pub readiness: watch::Sender<Readiness>,
    /// The client addresses that PROXY headers named.
    pub sources: Arc<Mutex<Vec<SocketAddr>>>,
    pub attempts: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Backend {
    pub async fn start(id: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(4_096).unwrap();
        let health = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut backend = Self {
            id: id.to_owned(),
            address: listener.local_addr().unwrap(),
            health: health.local_addr().unwrap(),
            manner: watch::Sender::new(Manner::Serve),
            readiness: watch::Sender::new(Readiness::Ready),
            sources: Arc::default(),
            attempts: Arc::default(),
            tasks: Vec::new(),
        };
        let (id, manner) = (backend.id.clone(), backend.manner.subscribe());
        let (sources, attempts) = (Arc::clone(&backend.sources), Arc::clone(&backend.attempts));
        backend.tasks.push(tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                attempts.fetch_add(1, Ordering::Relaxed);
                let (id, sources, manner) = (id.clone(), Arc::clone(&sources), *manner.borrow());
                tokio::spawn(async move { treat(socket, &id, &sources, manner).await });
            }
        }));
        let readiness = backend.readiness.subscribe();
        backend.tasks.push(tokio::spawn(async move {
            while let Ok((socket, _)) = health.accept().await {
                let readiness = *readiness.borrow();
                tokio::spawn(answer_probe(socket, readiness));
            }
        }));
        backend
    }

    /// Its table in the balancer's configuration, with a health address.
    pub fn table(&self) -> String {
        format!(
            "{}health = \"http://{}/readyz\"\n",
            self.bare_table(),
            self.health
        )
    }

    /// The same without one: only attempts speak about it.
    pub fn bare_table(&self) -> String {
        format!(
            "[[backend]]\nid = \"{}\"\naddress = \"{}\"\n",
            self.id, self.address
        )
    }

    /// Stops listening on both ports.
    pub fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    pub fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn treat(mut socket: TcpStream, id: &str, sources: &Mutex<Vec<SocketAddr>>, manner: Manner) {
    let mut seen = Vec::new();
    let consumed = loop {
        if socket.read_buf(&mut seen).await.unwrap_or(0) == 0 {
            return;
        }
        match decode(&seen).unwrap() {
            Decoded::NeedMore => {}
            Decoded::Complete {
                consumed,
                header: Header::Proxied { source, .. },
            } => {
                sources.lock().unwrap().push(source);
                break consumed;
            }
            Decoded::Complete {
                header: Header::Local,
                ..
            } => panic!("never sent"),
        }
    };
    match manner {
        Manner::Close => {}
        Manner::Silent => std::future::pending().await,
        Manner::Serve => {
            let _ = socket.write_all(format!("{id}\n").as_bytes()).await;
            let _ = socket.write_all(&seen[consumed..]).await;
            let (mut reader, mut writer) = socket.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        }
    }
}

async fn answer_probe(mut socket: TcpStream, readiness: Readiness) {
    let mut request = [0; 512];
    let _ = socket.read(&mut request).await;
    let status = match readiness {
        Readiness::Ready => "200 OK",
        Readiness::NotReady => "503 Service Unavailable",
        Readiness::Hung => return std::future::pending().await,
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    let _ = socket.write_all(answer.as_bytes()).await;
}

/// The smallest thing that has the shape of a ClientHello.
pub fn hello() -> Vec<u8> {
    let mut bytes = vec![22, 3, 1, 0, 104, 1, 0, 0, 100];
    bytes.resize(9 + 100, 0xab);
    bytes
}

/// A balancer over `tables`, quick in everything.
pub fn configuration(tables: &[String], more: &str) -> Config {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{}\n{more}",
        tables.concat()
    );
    Config::from_parts(&text, HashMap::<String, String>::new()).unwrap()
}

pub const QUICK: &str = "[health]\ninterval_ms = 50\ntimeout_ms = 300\n";

pub fn start(tables: &[String], more: &str) -> Balancer {
    Balancer::start(configuration(tables, more)).unwrap()
}

/// Starts and waits until `count` backends are up.
pub async fn start_ready(backends: &[&Backend], more: &str) -> Balancer {
    let tables: Vec<String> = backends.iter().map(|backend| backend.table()).collect();
    let balancer = start(&tables, &format!("{QUICK}{more}"));
    until_states(&balancer, "up", backends.len()).await;
    balancer
}

pub fn front(balancer: &Balancer) -> SocketAddr {
    balancer.listen_addresses()[0]
}

/// Connects from any loopback address, so that tests have as many prefixes as they like.
pub async fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::new(IpAddr::from(source), 0))
        .unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends a hello and reads which backend answered; `None` if the connection was closed.
pub async fn greet(client: &mut TcpStream) -> Option<String> {
    let _ = client.write_all(&hello()).await;
    let mut id = Vec::new();
    loop {
        match within("an answer", client.read_u8()).await {
            Ok(b'\n') => break,
            Ok(byte) => id.push(byte),
            Err(_) => return None,
        }
    }
    let mut echoed = vec![0; hello().len()];
    within("the echo", client.read_exact(&mut echoed))
        .await
        .ok()?;
    assert_eq!(echoed, hello(), "the hello arrives unchanged and once");
    Some(String::from_utf8(id).unwrap())
}

pub async fn client(balancer: &Balancer, source: [u8; 4]) -> (TcpStream, Option<String>) {
    let mut socket = connect_from(source, front(balancer)).await;
    let id = greet(&mut socket).await;
    (socket, id)
}

/// Waits for the end of a connection, whatever comes before it.
pub async fn until_closed(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = within("the end of a connection", socket.read_to_end(&mut rest)).await;
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Asks again and again, with a deadline, until `holds`.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let ask = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            ticks.tick().await;
        }
    };
    within(what, ask).await;
}

/// A GET on the admin port: status line and body.
pub async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the admin port", socket.read_to_string(&mut answer))
        .await
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

pub async fn status(balancer: &Balancer) -> serde_json::Value {
    status_at(balancer.admin_address().unwrap()).await
}

pub async fn status_at(admin: SocketAddr) -> serde_json::Value {
    serde_json::from_str(&get(admin, "/status.json").await.1).unwrap()
}

pub async fn until_states(balancer: &Balancer, state: &str, count: usize) {
    until_states_at(balancer.admin_address().unwrap(), state, count).await;
}

pub async fn until_states_at(admin: SocketAddr, state: &str, count: usize) {
    until(&format!("{count} backends {state}"), || async {
        let status = status_at(admin).await;
        let backends = status["backends"].as_array().unwrap().iter();
        backends.filter(|backend| backend["state"] == state).count() == count
    })
    .await;
}

pub async fn until_connections(balancer: &Balancer, count: u64) {
    until(&format!("{count} connections"), || async {
        status(balancer).await["totals"]["connections"] == count
    })
    .await;
}

/// How many clients were closed without a server for a reason.
pub async fn refused(balancer: &Balancer, reason: &str) -> u64 {
    status(balancer).await["totals"]["refused"][reason]
        .as_u64()
        .unwrap()
}
