//! Private instances of other servers, in a temporary folder, without privileges.
//!
//! They are run from the programs that the system has installed and never touch the system's own
//! instance, its configuration or its data. Each ends with this value, and by the kernel when this
//! process is killed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use sotto_stack::certs::Certificates;
use sotto_stack::process::{
    DeathSignal, RunAs, bound_command, find_in_path, spawn, stop, wait_until,
};

use super::peer_config;
use crate::clock::unix_ms;
use crate::error::BenchError;
use crate::target::{Sources, Target};

/// An instance takes connections within this.
const START_LIMIT: Duration = Duration::from_secs(90);
/// What is asked to stop in good order has so long.
const RESTART_GRACE: Duration = Duration::from_secs(30);
/// An instance's certificate, both ways; ejabberd's timers hold no more than seven weeks.
const VALID_FOR: Duration = Duration::from_secs(20 * 24 * 3600);
/// What is asked to stop has so long; its data is thrown away all the same.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// What XMPP is called in TLS.
const ALPN: &[u8] = b"xmpp-client";
/// What a failed start shows of what was said.
const LOG_LINES: usize = 20;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerKind {
    /// ejabberd, in Erlang, with its built-in database.
    Ejabberd,
    /// Prosody, in Lua, with its files.
    Prosody,
}

impl PeerKind {
    /// Its name, also that of Debian's package.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ejabberd => "ejabberd",
            Self::Prosody => "prosody",
        }
    }

    /// Its configuration's file; both tell the format by the name.
    const fn config_name(self) -> &'static str {
        match self {
            Self::Ejabberd => "ejabberd.yml",
            Self::Prosody => "prosody.cfg.lua",
        }
    }

    /// Whether its programs are on this machine.
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Ejabberd => find_in_path("erl").is_some() && ejabberd_libraries().is_some(),
            Self::Prosody => find_in_path("prosody").is_some(),
        }
    }
}

/// Where Debian keeps ejabberd's compiled files: `/usr/lib/ARCHITECTURE/ejabberd-VERSION`.
fn ejabberd_libraries() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    folders.map(|folder| folder.path()).find(|folder| {
        let inside = fs::read_dir(folder).into_iter().flatten();
        inside
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
    })
}

/// A private instance.
pub(crate) struct Peer {
    kind: PeerKind,
    folder: PathBuf,
    run_as: RunAs,
    port: u16,
    target: Target,
    child: Child,
}

impl Peer {
    /// Starts one in a folder of its own below `parent`, which is made.
    ///
    /// # Errors
    /// When it does not take connections within 90 s.
    pub(crate) fn start(kind: PeerKind, parent: &Path) -> Result<Self, BenchError> {
        let run_as = sotto_stack::postgres::choose_user()
            .map_err(|error| BenchError::Peer(error.to_string()))?;
        let folder = parent.join(kind.name());
        let making = |error| BenchError::io("making a peer's folder")(error);
        fs::create_dir_all(folder.join("data")).map_err(making)?;
        let certificates = self_signed(&folder, &run_as)?;
        let port = free_port().map_err(making)?;
        let config = match kind {
            PeerKind::Ejabberd => peer_config::ejabberd(&folder, &certificates, port),
            PeerKind::Prosody => peer_config::prosody(&folder, &certificates, port),
        };
        fs::write(folder.join(kind.config_name()), config).map_err(making)?;
        let config = folder.join(kind.config_name());
        for path in [folder.clone(), folder.join("data"), config] {
            run_as.own(&path).map_err(making)?;
        }
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let target = Target::speaking(&address, &certificates.ca, Sources::Spread, ALPN)?;
        let child = launch(kind, &folder, &run_as)?;
        let mut peer = Self {
            kind,
            folder,
            run_as,
            port,
            target,
            child,
        };
        peer.await_ready()?;
        Ok(peer)
    }

    /// Which server it is.
    pub(crate) fn kind(&self) -> PeerKind {
        self.kind
    }

    /// Where its clients connect to.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and starts it again at once, with its data; it may not be ready yet.
    ///
    /// # Errors
    /// When it cannot be started again.
    pub(crate) fn kill_and_restart(&mut self) -> Result<(), BenchError> {
        self.child
            .kill()
            .map_err(BenchError::io("killing a peer"))?;
        self.child
            .wait()
            .map_err(BenchError::io("killing a peer"))?;
        self.child = launch(self.kind, &self.folder, &self.run_as)?;
        Ok(())
    }

    /// Stops it in good order, so that all it holds is on disk, and starts it again: ejabberd keeps
    /// new accounts in memory for up to three minutes, and a SIGKILL before that loses them.
    ///
    /// # Errors
    /// When it does not stop within 30 s or does not take connections within 90 s.
    pub(crate) fn restart(&mut self) -> Result<(), BenchError> {
        stop(&mut self.child, Signal::TERM, RESTART_GRACE)
            .map_err(BenchError::io("stopping a peer"))?;
        self.child = launch(self.kind, &self.folder, &self.run_as)?;
        self.await_ready()
    }

    fn await_ready(&mut self) -> Result<(), BenchError> {
        let address = (Ipv4Addr::LOCALHOST, self.port);
        let mut has_ended = false;
        let is_ready = wait_until(START_LIMIT, || {
            has_ended = !matches!(self.child.try_wait(), Ok(None));
            has_ended || TcpStream::connect(address).is_ok()
        });
        if is_ready && !has_ended {
            return Ok(());
        }
        let said = fs::read_to_string(self.folder.join("out.log")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES)..);
        Err(BenchError::Peer(format!(
            "{} did not start:\n{}",
            self.kind.name(),
            tail.unwrap_or_default().join("\n")
        )))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // What cannot be stopped is killed by the kernel with this process; its folder is temporary.
        let _ = stop(&mut self.child, Signal::TERM, STOP_GRACE);
    }
}

/// A certificate of the instance's own, which is its own authority: Erlang stops at the limits on
/// addresses that the development authority carries.
fn self_signed(folder: &Path, run_as: &RunAs) -> Result<Certificates, BenchError> {
    let names = vec![
        peer_config::DOMAIN.to_owned(),
        Ipv4Addr::LOCALHOST.to_string(),
    ];
    let refused = |error| BenchError::Peer(format!("making a certificate: {error}"));
    let mut params = rcgen::CertificateParams::new(names).map_err(refused)?;
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(unix_ms());
    params.not_before = now - VALID_FOR;
    params.not_after = now + VALID_FOR;
    let key = rcgen::KeyPair::generate().map_err(refused)?;
    let cert = params.self_signed(&key).map_err(refused)?;
    let paths = Certificates::in_folder(folder);
    for (path, text) in [
        (&paths.ca, cert.pem()),
        (&paths.cert, cert.pem()),
        (&paths.key, key.serialize_pem()),
    ] {
        fs::write(path, text)
            .and_then(|()| run_as.own(path))
            .map_err(BenchError::io("writing a peer's certificate"))?;
    }
    Ok(paths)
}

/// A port that nobody had a moment ago.
fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn launch(kind: PeerKind, folder: &Path, run_as: &RunAs) -> Result<Child, BenchError> {
    let program = match kind {
        PeerKind::Ejabberd => "erl",
        PeerKind::Prosody => "prosody",
    };
    let missing = || BenchError::Peer(format!("{} is not installed", kind.name()));
    let program = find_in_path(program).ok_or_else(missing)?;
    let mut command = bound_command(&program, DeathSignal::Kill);
    let config = folder.join(kind.config_name());
    match kind {
        PeerKind::Ejabberd => {
            // As `ejabberdctl foreground` does, without a node name: nobody is to reach it.
            let data = format!("\"{}\"", folder.join("data").display());
            command
                .args(["+K", "true", "+P", "250000", "-noinput", "-mnesia", "dir"])
                .arg(data)
                .args(["-s", "ejabberd"])
                .env("EJABBERD_CONFIG_PATH", &config)
                .env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"))
                .env("ERL_CRASH_DUMP", "/dev/null")
                .env("ERL_MAX_PORTS", "32000")
                .env("ERL_LIBS", ejabberd_libraries().ok_or_else(missing)?);
        }
        PeerKind::Prosody => {
            command.arg("-F").arg("--config").arg(&config);
        }
    }
    let log = File::create(folder.join("out.log")).map_err(BenchError::io("making a log"))?;
    let errors = log.try_clone().map_err(BenchError::io("making a log"))?;
    command
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    run_as.apply(&mut command);
    spawn(command).map_err(BenchError::io("starting a peer"))
}
