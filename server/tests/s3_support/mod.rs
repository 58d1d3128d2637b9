//! A real S3-compatible server in this process, over a folder; it can be away for a while.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests end at the first surprise"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub const BUCKET: &str = "sotto";

pub struct S3Server {
    pub address: SocketAddr,
    folder: TempDir,
    presence: watch::Sender<Presence>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Here,
    Away,
    Gone,
}

impl S3Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let root = folder.path().to_owned();
        let (presence, watched) = watch::channel(Presence::Here);
        let (tell, told) = sync_channel(1);
        std::thread::spawn(move || serve(&root, watched, &tell));
        let address = told.recv_timeout(Duration::from_secs(30)).unwrap();
        Self {
            address,
            folder,
            presence,
        }
    }

    /// Lines for a server's configuration.
    pub fn configuration(&self) -> String {
        format!(
            "s3_bucket = \"{BUCKET}\"\ns3_endpoint = \"http://{}\"\ns3_prefix = \"blobs/\"\n\
             s3_access_key_id = \"id\"\ns3_secret_access_key = \"secret\"",
            self.address
        )
    }

    pub fn set(&self, presence: Presence) {
        self.presence.send(presence).unwrap();
    }

    /// The file of an object.
    pub fn object(&self, name: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join("blobs").join(name)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.presence.send(Presence::Gone);
    }
}

fn serve(
    root: &Path,
    mut presence: watch::Receiver<Presence>,
    tell: &std::sync::mpsc::SyncSender<SocketAddr>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        builder.set_auth(SimpleAuth::from_single("id", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        let listener = Arc::new(listener);
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let now = *presence.borrow_and_update();
            if now == Presence::Gone {
                return;
            }
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    if now == Presence::Here {
                        let service = service.clone();
                        connections.spawn(async move {
                            let _ = Builder::new(TokioExecutor::new())
                                .serve_connection(TokioIo::new(stream), service)
                                .await;
                        });
                    }
                }
                changed = presence.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    connections.abort_all();
                }
            }
        }
    });
}
