//! What the client does to a file without any network: the first look (its digests), sealing, and
//! opening. Reads the file from the disk's cache and writes nothing.

use std::io::Read as _;
use std::path::Path;

use sotto_crypto::attachment::{AttachmentError, Expected, FileKey, Opener, Plan, Sealer, Survey};

use crate::clock::now;
use crate::error::BenchError;

/// Bytes read or taken at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Seconds of each step.
pub(super) struct Steps {
    pub(super) survey: f64,
    pub(super) seal: f64,
    pub(super) open: f64,
}

impl Steps {
    /// What a sender does.
    pub(super) fn up(&self) -> f64 {
        self.survey + self.seal
    }

    /// What a receiver does.
    pub(super) fn down(&self) -> f64 {
        self.open
    }
}

/// Times the three steps over one file.
pub(super) fn measure(path: &Path) -> Result<Steps, BenchError> {
    let failed = BenchError::crypto::<AttachmentError>;
    let key = FileKey::generate().map_err(BenchError::crypto("making a key"))?;
    let started = now();
    let plan = survey(path)?;
    let survey = (now() - started).as_secs_f64();
    let layout = plan.layout();
    let plain_hash = *plan.plain_hash();
    let mut file = open(path)?;
    let started = now();
    let mut sealer = Sealer::new(&key, plan);
    let mut sealed = Vec::with_capacity(usize::try_from(layout.sealed_size()).unwrap_or(0));
    while let Some(wanted) = sealer.wants() {
        let mut chunk = vec![0; wanted];
        file.read_exact(&mut chunk)
            .map_err(BenchError::io("reading the file"))?;
        sealer
            .seal(&chunk, &mut sealed)
            .map_err(failed("sealing"))?;
    }
    let sealed_hash = sealer.finish().map_err(failed("sealing"))?;
    let seal = (now() - started).as_secs_f64();
    let started = now();
    let expected = Expected {
        size: layout.size(),
        sealed_size: layout.sealed_size(),
        plain_hash,
        sealed_hash,
    };
    let mut opener = Opener::new(&key, expected).map_err(failed("opening"))?;
    let mut opened = Vec::with_capacity(PIECE_BYTES);
    for piece in sealed.chunks(PIECE_BYTES) {
        opened.clear();
        opener.push(piece, &mut opened).map_err(failed("opening"))?;
    }
    opener.finish().map_err(failed("opening"))?;
    let open = (now() - started).as_secs_f64();
    Ok(Steps { survey, seal, open })
}

fn open(path: &Path) -> Result<std::fs::File, BenchError> {
    std::fs::File::open(path).map_err(BenchError::io("opening the file"))
}

fn survey(path: &Path) -> Result<Plan, BenchError> {
    let failed = BenchError::crypto::<AttachmentError>;
    let mut file = open(path)?;
    let mut survey = Survey::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(BenchError::io("reading the file"))?;
        if read == 0 {
            return survey.finish().map_err(failed("looking at a file"));
        }
        survey
            .update(buffer.get(..read).unwrap_or_default())
            .map_err(failed("looking at a file"))?;
    }
}
