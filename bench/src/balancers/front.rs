//! Private instances of the fronts, in a temporary folder, without privileges.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use sotto_stack::process::{
    DeathSignal, RunAs, bound_command, find_in_path, spawn, stop, wait_until,
};

use super::backend::{Backend, Preface};
use super::front_config;
use crate::error::BenchError;
use crate::procfs;

/// An instance takes connections within this.
const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(2);
/// What a failed start shows of what was said.
const LOG_LINES: usize = 10;
/// nginx relays TCP with this module, which Debian packages apart.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Which front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrontKind {
    /// Sotto's balancer.
    Sotto,
    /// HAProxy, which reads the hello too.
    HaProxy,
    /// nginx with its stream module, which reads nothing.
    Nginx,
}

impl FrontKind {
    /// All, Sotto's first.
    pub(crate) const ALL: [Self; 3] = [Self::Sotto, Self::HaProxy, Self::Nginx];

    /// Its name, also that of the program.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sotto => crate::comparison::OURS,
            Self::HaProxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// What its backends read first.
    pub(crate) const fn preface(self) -> Preface {
        match self {
            Self::Sotto | Self::HaProxy => Preface::Proxy,
            Self::Nginx => Preface::None,
        }
    }

    /// Whether its programs are on this machine.
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Sotto => true,
            Self::HaProxy => find_in_path("haproxy").is_some(),
            Self::Nginx => find_in_path("nginx").is_some() && Path::new(NGINX_STREAM).exists(),
        }
    }
}

/// A running instance; ends with this value.
pub(crate) struct Front {
    /// Where clients connect to.
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    child: Child,
}

impl Front {
    /// Starts one in a folder of its own below `parent`.
    ///
    /// # Errors
    /// When it does not take connections within 20 s.
    pub(crate) fn start(
        kind: FrontKind,
        sotto: &Path,
        parent: &Path,
        backends: &[Backend],
    ) -> Result<Self, BenchError> {
        let making = || BenchError::io("making a front's folder");
        let user = sotto_stack::postgres::choose_user()
            .map_err(|error| BenchError::Peer(error.to_string()))?;
        let folder = parent.join(kind.name());
        fs::create_dir_all(&folder).map_err(making())?;
        let address = free_address().map_err(making())?;
        let text = match kind {
            FrontKind::Sotto => front_config::sotto(address, backends),
            FrontKind::HaProxy => front_config::haproxy(address, backends),
            FrontKind::Nginx => front_config::nginx(address, backends, &folder),
        };
        let config = folder.join("config");
        fs::write(&config, text).map_err(making())?;
        for path in [&folder, &config] {
            user.own(path).map_err(making())?;
        }
        let child = launch(kind, sotto, &folder, &config, &user)?;
        let mut front = Self {
            address,
            folder,
            child,
        };
        front.await_ready(kind)?;
        Ok(front)
    }

    /// CPU time that it has used so far, all its processes together.
    pub(crate) fn cpu(&self) -> Duration {
        procfs::cpu_tree(self.child.id())
    }

    /// Resident memory of all its processes.
    pub(crate) fn memory(&self) -> u64 {
        procfs::memory_tree(self.child.id())
    }

    fn await_ready(&mut self, kind: FrontKind) -> Result<(), BenchError> {
        let mut has_ended = false;
        let address = self.address;
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
            kind.name(),
            tail.unwrap_or_default().join("\n")
        )))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // What cannot be stopped is killed by the kernel with this process; its folder is temporary.
        let _ = stop(&mut self.child, Signal::TERM, STOP_GRACE);
    }
}

/// An address that nobody had a moment ago.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn launch(
    kind: FrontKind,
    sotto: &Path,
    folder: &Path,
    config: &Path,
    user: &RunAs,
) -> Result<Child, BenchError> {
    let found = match kind {
        FrontKind::Sotto => Some(sotto.to_owned()),
        FrontKind::HaProxy | FrontKind::Nginx => find_in_path(kind.name()),
    };
    let program =
        found.ok_or_else(|| BenchError::Peer(format!("{} is not installed", kind.name())))?;
    let mut command = bound_command(&program, DeathSignal::Kill);
    match kind {
        FrontKind::Sotto => command.args(["balancer", "--config"]).arg(config),
        FrontKind::HaProxy => command.args(["-db", "-f"]).arg(config),
        FrontKind::Nginx => command.arg("-p").arg(folder).arg("-c").arg(config),
    };
    let log = File::create(folder.join("out.log")).map_err(BenchError::io("making a log"))?;
    let errors = log.try_clone().map_err(BenchError::io("making a log"))?;
    command
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    user.apply(&mut command);
    spawn(command).map_err(BenchError::io("starting a front"))
}
