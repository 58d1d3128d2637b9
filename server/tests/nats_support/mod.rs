//! A real nats-server of one test, which may be killed, stopped and started again.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its part, and tests end at the first surprise"
)]

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use sotto_stack::packages;
use sotto_stack::process::{self, DeathSignal, Signal};

/// One nats-server.
pub struct NatsServer {
    pub port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl NatsServer {
    /// Starts one on a port of its own; `arguments` are further ones of its command line.
    pub fn start(arguments: &[&str]) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let child = launch(port, &arguments);
        Self {
            port,
            arguments,
            child,
        }
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The line of a server's configuration that names it.
    pub fn as_bus(&self) -> String {
        format!("bus = \"nats://127.0.0.1:{}\"", self.port)
    }

    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.child = launch(self.port, &self.arguments);
    }

    /// It keeps its connections and says nothing: a partition.
    pub fn freeze(&self) {
        process::signal(&self.child, Signal::STOP).unwrap();
    }

    pub fn thaw(&self) {
        process::signal(&self.child, Signal::CONT).unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(port: u16, arguments: &[String]) -> Child {
    let program = packages::find_or_install("nats-server", "nats-server").unwrap();
    let mut command = process::bound_command(&program, DeathSignal::Kill);
    command
        .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = process::spawn(command).unwrap();
    assert!(
        process::wait_until(Duration::from_secs(30), || greets(port)),
        "nats-server does not answer on port {port}"
    );
    child
}

/// It says INFO to whoever connects.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let mut first = [0; 4];
    stream.read_exact(&mut first).is_ok() && &first == b"INFO"
}
