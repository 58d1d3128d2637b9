//! Files by the client's own way, without a command line or a profile: read, cleaned, sealed, and
//! moved over a connection of their own; fetched, checked and kept. For programs that move or
//! measure files as the client does.
//!
//! Keeps no record of what was begun: an interrupted transfer goes on by itself for a minute, and
//! not in another process. Tells nobody of a file; that is the message's work.

use std::path::{Path, PathBuf};

use sotto_crypto::LocalDevice;
use sotto_crypto::attachment::FileKey;
use sotto_crypto::content::Attachment;
use sotto_protocol::BlobId;

use crate::attachment::incoming::{Incoming, IncomingError};
use crate::attachment::outgoing::{Metadata, prepare};
use crate::attachment::save::Folder;
use crate::exit::Failure;
use crate::net::{Dialer, ServerList, Transfer, TransferLogin, client_config};

/// Moves files for one device.
pub struct Courier<'a> {
    dialer: Dialer,
    device: &'a LocalDevice,
}

impl<'a> Courier<'a> {
    /// For a deployment at `HOST:PORT` whose certificate comes from one of the authorities in the
    /// PEM file `ca`.
    ///
    /// # Errors
    /// When the address is none or the file holds no certificate.
    pub fn new(server: &str, ca: &Path, device: &'a LocalDevice) -> Result<Self, Failure> {
        let servers = ServerList::parse(server)
            .map_err(|error| Failure::named("usage", error.to_string()))?;
        let tls = client_config(Some(ca))
            .map_err(|error| Failure::named("certificate_mismatch", error.to_string()))?;
        Ok(Self {
            dialer: Dialer::new(servers, tls),
            device,
        })
    }

    fn transfer(&self) -> Transfer<'a> {
        let login = TransferLogin {
            username: self.device.certificate().username().as_str(),
            device: self.device,
        };
        Transfer::new(self.dialer.clone(), login)
    }

    /// Seals a file and sends it; what comes back is what a message says of it.
    ///
    /// # Errors
    /// When the file cannot be read or changes, a server refuses, or nothing moves for a minute.
    pub async fn send(&self, path: &Path) -> Result<Attachment, Failure> {
        let internal = |reason: &str| Failure::named("internal", reason);
        let outgoing = prepare(path, Metadata::Strip).await?;
        let blob = BlobId::from_bytes(rand::random());
        let key = FileKey::generate().map_err(|error| internal(&error.to_string()))?;
        let mut attachment = outgoing
            .describe(blob, &key, String::new())
            .ok_or_else(|| internal("no key"))?;
        let mut sealing = outgoing.seal(&key);
        let mut transfer = self.transfer();
        transfer
            .upload((blob, attachment.sealed_size), &mut sealing, |_| {})
            .await?;
        transfer.close().await;
        attachment.sealed_hash = sealing
            .sealed_hash()
            .ok_or_else(|| internal("the file was not sealed to its end"))?;
        Ok(attachment)
    }

    /// Fetches a file, checks it whole, and keeps it in a folder; returns where.
    ///
    /// # Errors
    /// When it is not what the message says, cannot be written, a server refuses, or nothing moves
    /// for a minute.
    pub async fn fetch(&self, file: &Attachment, folder: &Path) -> Result<PathBuf, Failure> {
        let folder = Folder::open(folder).map_err(IncomingError::Save)?;
        let mut incoming = Incoming::begin(folder, file)?;
        let blob = (BlobId::from_bytes(file.blob_id), file.sealed_size);
        let from = incoming.received();
        let mut transfer = self.transfer();
        transfer
            .download(blob, from, |sealed| incoming.take(sealed))
            .await?;
        transfer.close().await;
        Ok(incoming.finish(&file.name)?)
    }

    /// Deletes a file of this device's account at the servers. One attempt: what stays expires.
    pub async fn delete(&self, file: &Attachment) {
        let mut transfer = self.transfer();
        transfer.delete(BlobId::from_bytes(file.blob_id)).await;
        transfer.close().await;
    }
}
