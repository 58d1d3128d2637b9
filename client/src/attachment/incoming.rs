//! A file that arrives: opened as its bytes come, written under its unfinished name, and given
//! its own only when the whole is what the message describes.
//!
//! A download that was interrupted goes on: what lies there is checked again chunk by chunk, and
//! in the end with everything else. Nothing that does not verify is kept.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use sotto_crypto::attachment::{AttachmentError, Expected, FileKey, Opener};
use sotto_crypto::content::Attachment;

use super::save::{Folder, SaveError, Unfinished};

/// Why a file was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncomingError {
    /// It is not what was sent.
    #[error(transparent)]
    Mismatch(#[from] AttachmentError),
    /// It could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
}

impl IncomingError {
    /// The stable name.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Mismatch(_) => "attachment_mismatch",
            Self::Save(SaveError::Write(error)) if error.kind() == io::ErrorKind::StorageFull => {
                "disk_full"
            }
            Self::Save(SaveError::Folder { .. }) => "no_file",
            Self::Save(_) => "file_unwritable",
        }
    }
}

/// A file on its way in.
pub(crate) struct Incoming {
    unfinished: Unfinished,
    opener: Opener,
}

impl Incoming {
    /// Begins, or goes on with what an earlier run left in the folder.
    ///
    /// # Errors
    /// See [`IncomingError`].
    pub(crate) fn begin(folder: Folder, file: &Attachment) -> Result<Self, IncomingError> {
        let expected = Expected {
            size: file.size,
            sealed_size: file.sealed_size,
            plain_hash: file.plain_hash,
            sealed_hash: file.sealed_hash,
        };
        let key = FileKey::from_slice(file.key.expose()).ok_or(AttachmentError::Mismatch)?;
        let mut opener = Opener::new(&key, expected)?;
        let mut unfinished = folder.unfinished(&tag(file))?;
        replay(&mut opener, unfinished.file()).map_err(SaveError::Write)?;
        Ok(Self { unfinished, opener })
    }

    /// How many sealed bytes are here already.
    pub(crate) const fn received(&self) -> u64 {
        self.opener.received()
    }

    /// Takes the next sealed bytes.
    ///
    /// # Errors
    /// See [`IncomingError`].
    pub(crate) fn take(&mut self, sealed: &[u8]) -> Result<(), IncomingError> {
        let mut opened = Vec::with_capacity(sealed.len());
        self.opener.push(sealed, &mut opened)?;
        let file = self.unfinished.file();
        file.write_all(&opened).map_err(SaveError::Write)?;
        Ok(())
    }

    /// Gives the file its name, if it is what was sent; returns where it lies.
    ///
    /// # Errors
    /// See [`IncomingError`]; nothing is kept of what does not verify.
    pub(crate) fn finish(self, name: &str) -> Result<PathBuf, IncomingError> {
        if let Err(error) = self.opener.finish() {
            self.unfinished.discard();
            return Err(error.into());
        }
        Ok(self.unfinished.finish(name)?)
    }

    /// Keeps nothing.
    pub(crate) fn discard(self) {
        self.unfinished.discard();
    }
}

/// Names the unfinished file, telling nothing of where the blob lies.
fn tag(file: &Attachment) -> String {
    let digest = Sha256::new()
        .chain_update(b"sotto unfinished v1")
        .chain_update(file.blob_id)
        .chain_update(file.key.expose())
        .finalize();
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Takes the whole chunks that lie there; what is left of one is cut off.
fn replay(opener: &mut Opener, file: &mut std::fs::File) -> io::Result<()> {
    let mut kept = 0;
    file.seek(SeekFrom::Start(0))?;
    let there = file.metadata()?.len();
    while let Some(wanted) = opener.wants() {
        let length = u64::try_from(wanted).unwrap_or(u64::MAX);
        // Chunks of padding alone leave nothing: where they begin, the server is asked again.
        if wanted == 0 || kept + length > there {
            break;
        }
        let mut chunk = vec![0; wanted];
        file.read_exact(&mut chunk)?;
        if opener.replay(&chunk).is_err() {
            break;
        }
        kept += length;
    }
    file.set_len(kept)?;
    file.seek(SeekFrom::Start(kept))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sotto_crypto::SecretBytes;
    use sotto_crypto::attachment::{Plan, Sealer};
    use std::path::Path;

    fn sealed(content: &[u8]) -> (Attachment, Vec<u8>) {
        let key = FileKey::from_slice(&[7; 32]).unwrap();
        let plan = Plan::of(content).unwrap();
        let mut sealer = Sealer::new(&key, plan.clone());
        let (mut bytes, mut rest) = (Vec::new(), content);
        while let Some(wanted) = sealer.wants() {
            let (now, later) = rest.split_at(wanted);
            sealer.seal(now, &mut bytes).unwrap();
            rest = later;
        }
        let attachment = Attachment {
            blob_id: [3; 16],
            key: SecretBytes::from_slice(key.expose()).unwrap(),
            sealed_size: bytes.len() as u64,
            size: content.len() as u64,
            plain_hash: *plan.plain_hash(),
            sealed_hash: sealer.finish().unwrap(),
            name: "../a.txt".to_owned(),
            media_type: String::new(),
            thumbnail: Vec::new(),
            width: 0,
            height: 0,
            caption: String::new(),
            reply_to: None,
            expires_after_s: 0,
            forwarded: false,
        };
        (attachment, bytes)
    }

    fn begin(folder: &Path, file: &Attachment) -> Incoming {
        Incoming::begin(Folder::open(folder).unwrap(), file).unwrap()
    }

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_download_that_was_killed_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let content = vec![9; 400_000];
        let (file, bytes) = sealed(&content);
        let mut first = begin(folder.path(), &file);
        first.take(&bytes[..250_000]).unwrap();
        drop(first);
        let mut second = begin(folder.path(), &file);
        let at = usize::try_from(second.received()).unwrap();
        assert!(at > 150_000, "{at}");
        second.take(&bytes[at..]).unwrap();
        let path = second.finish(&file.name).unwrap();
        assert_eq!(path, folder.path().join("a.txt"));
        assert_eq!(std::fs::read(path).unwrap(), content);
        assert_eq!(entries(folder.path()), 1);
    }

    /// H14: at whatever point, and with whatever bytes.
    #[test]
    fn nothing_is_kept_of_what_is_not_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, bytes) = sealed(&vec![9; 400_000]);
        let mut changed = bytes.clone();
        changed[200_000] ^= 1;
        let other = sealed(&vec![8; 400_000]).1;
        let short = bytes[..bytes.len() - 1].to_vec();
        let long = [bytes.as_slice(), b"x"].concat();
        for served in [changed, other, short, long] {
            let mut incoming = begin(folder.path(), &file);
            let outcome = served
                .chunks(100_000)
                .try_for_each(|part| incoming.take(part));
            let error = match outcome {
                Err(error) => {
                    incoming.discard();
                    error
                }
                Ok(()) => incoming.finish(&file.name).err().unwrap(),
            };
            assert_eq!(error.code(), "attachment_mismatch");
            assert_eq!(entries(folder.path()), 0);
        }
    }

    #[test]
    fn an_unfinished_file_that_was_changed_is_noticed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (file, bytes) = sealed(&vec![9; 400_000]);
        let mut first = begin(folder.path(), &file);
        first.take(&bytes[..250_000]).unwrap();
        drop(first);
        let part = std::fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let mut content = std::fs::read(&part).unwrap();
        content[5] ^= 1;
        std::fs::write(&part, content).unwrap();
        let mut second = begin(folder.path(), &file);
        let at = usize::try_from(second.received()).unwrap();
        second.take(&bytes[at..]).unwrap();
        assert_eq!(
            second.finish(&file.name).err().unwrap().code(),
            "attachment_mismatch"
        );
        assert_eq!(entries(folder.path()), 0);
    }
}
