//! A file that is going to be sent: read, cleaned, surveyed and sealed.
//!
//! An image that is cleaned is held in memory from then on; anything else is read again while it
//! is sealed, and sealed only as long as it is what was surveyed. Sends no file that cannot be
//! read to its end, is no file, or changes meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sotto_crypto::SecretBytes;
use sotto_crypto::attachment::{AttachmentError, FileKey, Plan, Sealer, Survey};
use sotto_crypto::content::Attachment;
use sotto_protocol::BlobId;
use sotto_protocol::limits::BLOB_PIECE_BYTES_MAX as PIECE_BYTES;

use super::clean::{CleanError, IMAGE_BYTES_MAX, clean};
use super::kind::{HEAD_BYTES, Kind, Sniffed};
use super::preview::{self, Thumbnail};
use crate::exit::cause;
use crate::net::Source;

/// Bytes read at once while a file is surveyed.
const READ_BYTES: usize = 256 * 1024;
/// The longest name that is sent, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Whether an image keeps what it says beside the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// It is taken out.
    Strip,
    /// The file is sent as it is.
    Keep,
}

/// Why a file cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutgoingError {
    /// There is none.
    #[error("there is no file {}; check the path", .0.display())]
    Missing(PathBuf),
    /// A folder, a device, a pipe.
    #[error("{} is not a plain file; send files only", .0.display())]
    NotAFile(PathBuf),
    /// The system refuses.
    #[error("{} cannot be read: {}", .0.display(), cause(.1))]
    Unreadable(PathBuf, io::Error),
    /// An image that stays as it is.
    #[error("{0}. To send it as it is, add --keep-metadata")]
    Clean(#[from] CleanError),
    /// An image larger than what is held in memory.
    #[error(
        "the image has more than 128 MiB, too many to clean; to send it as it is, add --keep-metadata"
    )]
    ImageTooLarge,
    /// Too large, or it changed.
    #[error(transparent)]
    Sealing(#[from] AttachmentError),
}

impl OutgoingError {
    /// The stable name.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "no_file",
            Self::NotAFile(_) | Self::Unreadable(..) => "file_unreadable",
            Self::Clean(_) | Self::ImageTooLarge => "metadata",
            Self::Sealing(error) => error.code(),
        }
    }
}

/// A file ready to be sealed.
pub(crate) struct Outgoing {
    /// Its name on this disk, without folders.
    pub(crate) name: String,
    /// By its bytes.
    pub(crate) media_type: &'static str,
    /// What is sealed.
    pub(crate) plan: Plan,
    /// For pictures.
    pub(crate) thumbnail: Option<Thumbnail>,
    content: Content,
    path: PathBuf,
}

enum Content {
    Bytes(Vec<u8>),
    File(File),
}

/// Reads a file and makes it ready.
///
/// # Errors
/// See [`OutgoingError`].
pub(crate) async fn prepare(path: &Path, metadata: Metadata) -> Result<Outgoing, OutgoingError> {
    let mut file = open(path)?;
    let unreadable = |error| OutgoingError::Unreadable(path.to_owned(), error);
    let mut head = Vec::new();
    let most = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
    Read::by_ref(&mut file)
        .take(most)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let sniffed = Sniffed::of(&head);
    let whole = match (sniffed.is_picture(), metadata, sniffed.kind) {
        (_, Metadata::Strip, Kind::OtherImage) => return Err(CleanError::Unsupported.into()),
        (true, ..) => read_image(&mut file, path)?,
        _ => None,
    };
    let thumbnail = match &whole {
        Some(bytes) => preview::thumbnail(bytes).await,
        None => None,
    };
    let content = match (whole, metadata) {
        (Some(bytes), Metadata::Strip) => {
            Content::Bytes(clean(sniffed.kind, &bytes)?.unwrap_or(bytes))
        }
        (None, Metadata::Strip) if sniffed.is_picture() => {
            return Err(OutgoingError::ImageTooLarge);
        }
        _ => Content::File(file),
    };
    let plan = match &content {
        Content::Bytes(bytes) => Plan::of(bytes)?,
        Content::File(file) => survey(file).map_err(|error| error.at(path))?,
    };
    Ok(Outgoing {
        name: name_of(path),
        media_type: sniffed.media_type,
        plan,
        thumbnail,
        content,
        path: path.to_owned(),
    })
}

fn open(path: &Path) -> Result<File, OutgoingError> {
    // A pipe that nobody writes to must not hold the program up.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let file = File::options()
        .read(true)
        .custom_flags(i32::try_from(nonblocking).unwrap_or(0))
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OutgoingError::Missing(path.to_owned()),
            _ => OutgoingError::Unreadable(path.to_owned(), error),
        })?;
    let found = file
        .metadata()
        .map_err(|error| OutgoingError::Unreadable(path.to_owned(), error))?;
    if found.is_file() {
        Ok(file)
    } else {
        Err(OutgoingError::NotAFile(path.to_owned()))
    }
}

/// The whole image; `None` when it is too large to be held.
fn read_image(file: &mut File, path: &Path) -> Result<Option<Vec<u8>>, OutgoingError> {
    let unreadable = |error| OutgoingError::Unreadable(path.to_owned(), error);
    let mut bytes = Vec::new();
    Read::by_ref(file)
        .take(IMAGE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= IMAGE_BYTES_MAX);
    Ok(fits.then_some(bytes))
}

enum SurveyError {
    Io(io::Error),
    Sealing(AttachmentError),
}

impl SurveyError {
    fn at(self, path: &Path) -> OutgoingError {
        match self {
            Self::Io(error) => OutgoingError::Unreadable(path.to_owned(), error),
            Self::Sealing(error) => error.into(),
        }
    }
}

fn survey(mut file: &File) -> Result<Plan, SurveyError> {
    let mut survey = Survey::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer).map_err(SurveyError::Io)?;
        if count == 0 {
            break;
        }
        survey
            .update(buffer.get(..count).unwrap_or_default())
            .map_err(SurveyError::Sealing)?;
    }
    file.rewind().map_err(SurveyError::Io)?;
    survey.finish().map_err(SurveyError::Sealing)
}

/// The last part of a path, cut to what a message takes.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = (0..=name.len().min(NAME_BYTES_MAX))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    name.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

impl Outgoing {
    /// Bytes of the client's own, which have no name.
    ///
    /// # Errors
    /// When they are more than a file may have.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Result<Self, OutgoingError> {
        Ok(Self {
            name: String::new(),
            media_type: "application/octet-stream",
            plan: Plan::of(&bytes)?,
            thumbnail: None,
            content: Content::Bytes(bytes),
            path: PathBuf::new(),
        })
    }

    /// What the message says of it, but for the hash of the sealed file, which comes with sealing.
    pub(crate) fn describe(
        &self,
        blob: BlobId,
        key: &FileKey,
        caption: String,
    ) -> Option<Attachment> {
        let layout = self.plan.layout();
        let thumbnail = self.thumbnail.as_ref();
        Some(Attachment {
            blob_id: *blob.as_bytes(),
            key: SecretBytes::from_slice(key.expose())?,
            sealed_size: layout.sealed_size(),
            size: layout.size(),
            plain_hash: *self.plan.plain_hash(),
            sealed_hash: [0; 32],
            name: self.name.clone(),
            media_type: self.media_type.to_owned(),
            width: thumbnail.map_or(0, |thumbnail| thumbnail.width),
            height: thumbnail.map_or(0, |thumbnail| thumbnail.height),
            thumbnail: thumbnail.map_or_else(Vec::new, |thumbnail| thumbnail.jpeg.clone()),
            caption,
            reply_to: None,
            expires_after_s: 0,
            forwarded: false,
        })
    }

    /// Seals it under a key that serves this file alone.
    pub(crate) fn seal(self, key: &FileKey) -> Sealing {
        Sealing {
            sealer: Some(Sealer::new(key, self.plan)),
            content: match self.content {
                Content::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
                Content::File(file) => Box::new(file),
            },
            path: self.path,
            ready: Vec::new(),
            sealed_hash: None,
        }
    }
}

/// A file being sealed, piece after piece.
pub(crate) struct Sealing {
    /// Until the last chunk.
    sealer: Option<Sealer>,
    content: Box<dyn Read>,
    path: PathBuf,
    /// Sealed bytes that do not make a piece yet.
    ready: Vec<u8>,
    sealed_hash: Option<[u8; 32]>,
}

impl Sealing {
    /// SHA-256 of the sealed file, once all of it was given out.
    pub(crate) const fn sealed_hash(&self) -> Option<[u8; 32]> {
        self.sealed_hash
    }

    fn seal_chunk(&mut self) -> Result<(), OutgoingError> {
        let Some(sealer) = &mut self.sealer else {
            return Ok(());
        };
        let Some(wanted) = sealer.wants() else {
            return self.end();
        };
        let mut chunk = vec![0; wanted];
        self.content
            .read_exact(&mut chunk)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => AttachmentError::FileChanged.into(),
                _ => OutgoingError::Unreadable(self.path.clone(), error),
            })?;
        Ok(sealer.seal(&chunk, &mut self.ready)?)
    }

    fn end(&mut self) -> Result<(), OutgoingError> {
        let more = self
            .content
            .read(&mut [0])
            .map_err(|error| OutgoingError::Unreadable(self.path.clone(), error))?;
        if more > 0 {
            return Err(AttachmentError::FileChanged.into());
        }
        if let Some(sealer) = self.sealer.take() {
            self.sealed_hash = Some(sealer.finish()?);
        }
        Ok(())
    }
}

impl Source for Sealing {
    type Error = OutgoingError;

    fn next_piece(&mut self) -> Result<Option<Bytes>, OutgoingError> {
        while self.ready.len() < PIECE_BYTES && self.sealer.is_some() {
            self.seal_chunk()?;
        }
        let rest = self.ready.split_off(self.ready.len().min(PIECE_BYTES));
        let piece = std::mem::replace(&mut self.ready, rest);
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    async fn plain(path: &Path) -> Outgoing {
        prepare(path, Metadata::Strip).await.unwrap()
    }

    fn key() -> FileKey {
        FileKey::from_slice(&[7; 32]).unwrap()
    }

    #[tokio::test]
    async fn a_file_leaves_in_pieces_of_one_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, vec![5; 700_000]).unwrap();
        let outgoing = plain(&path).await;
        let sealed_size = outgoing.plan.layout().sealed_size();
        let mut sealing = outgoing.seal(&key());
        let mut sizes = Vec::new();
        while let Some(piece) = sealing.next_piece().unwrap() {
            sizes.push(piece.len());
        }
        let (last, others) = sizes.split_last().unwrap();
        assert!(others.iter().all(|size| *size == PIECE_BYTES) && *last <= PIECE_BYTES);
        assert_eq!(sizes.iter().sum::<usize>() as u64, sealed_size);
        assert!(sealing.sealed_hash().is_some());
    }

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for change in ["longer", "shorter", "other"] {
            std::fs::write(&path, vec![5; 700_000]).unwrap();
            let mut sealing = plain(&path).await.seal(&key());
            assert!(sealing.next_piece().unwrap().is_some());
            let mut file = File::options().append(true).open(&path).unwrap();
            match change {
                "longer" => file.write_all(b"more").unwrap(),
                "shorter" => file.set_len(650_000).unwrap(),
                _ => std::fs::write(&path, vec![6; 700_000]).unwrap(),
            }
            let error = loop {
                match sealing.next_piece() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{change} was not noticed"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.code(), "file_changed", "{change}");
            assert!(sealing.sealed_hash().is_none());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let missing = prepare(&folder.path().join("no"), Metadata::Strip).await;
        assert_eq!(missing.err().unwrap().code(), "no_file");
        let of_folder = prepare(folder.path(), Metadata::Strip).await;
        assert_eq!(of_folder.err().unwrap().code(), "file_unreadable");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let of_pipe = prepare(&pipe, Metadata::Strip).await;
        assert_eq!(of_pipe.err().unwrap().code(), "file_unreadable");
        // An image that would tell where it was made, and one that is damaged.
        let heic = folder.path().join("a.jpg");
        std::fs::write(&heic, b"\0\0\0\x18ftypheic\0\0\0\0heicmif1").unwrap();
        let refused = prepare(&heic, Metadata::Strip).await;
        assert_eq!(refused.err().unwrap().code(), "metadata");
        std::fs::write(&heic, b"\xff\xd8\xff\xe1\xff\xff").unwrap();
        let refused = prepare(&heic, Metadata::Strip).await;
        assert_eq!(refused.err().unwrap().code(), "metadata");
    }
}
