//! Public group state as one byte string: the storage that the MLS library
//! writes to, in memory, and its encoding. It holds no proposals, since
//! conversations have only commits.

use std::cell::RefCell;
use std::collections::BTreeMap;

use openmls_traits::public_storage::PublicStorageProvider;
use openmls_traits::storage::{CURRENT_VERSION, traits};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of an encoded snapshot.
const VERSION: u8 = 1;
/// The largest snapshot read.
const SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A value that could not be encoded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("group state is malformed")]
pub(super) struct SnapshotError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Tree = 1,
    TranscriptHash = 2,
    Context = 3,
    ConfirmationTag = 4,
}

/// The parts of one group's public state, each encoded.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    parts: RefCell<BTreeMap<Part, Vec<u8>>>,
}

impl Snapshot {
    /// Version byte, then each part: its number, its length in four bytes, its bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for (part, value) in self.parts.borrow().iter() {
            bytes.push(*part as u8);
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(value);
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let Some((&VERSION, mut rest)) = bytes.split_first() else {
            return Err(SnapshotError);
        };
        if bytes.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError);
        }
        let mut parts = BTreeMap::new();
        for part in [
            Part::Tree,
            Part::TranscriptHash,
            Part::Context,
            Part::ConfirmationTag,
        ] {
            let (head, after) = rest.split_first_chunk::<5>().ok_or(SnapshotError)?;
            let [number, a, b, c, d] = *head;
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let (value, after) = after.split_at_checked(length).ok_or(SnapshotError)?;
            if number != part as u8 {
                return Err(SnapshotError);
            }
            parts.insert(part, value.to_vec());
            rest = after;
        }
        if rest.is_empty() {
            Ok(Self {
                parts: RefCell::new(parts),
            })
        } else {
            Err(SnapshotError)
        }
    }

    fn write(&self, part: Part, value: &impl Serialize) -> Result<(), SnapshotError> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).map_err(|_| SnapshotError)?;
        self.parts.borrow_mut().insert(part, bytes);
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, part: Part) -> Result<Option<T>, SnapshotError> {
        self.parts
            .borrow()
            .get(&part)
            .map(|bytes| ciborium::from_reader(bytes.as_slice()).map_err(|_| SnapshotError))
            .transpose()
    }

    fn delete(&self, part: Part) -> Result<(), SnapshotError> {
        self.parts.borrow_mut().remove(&part);
        Ok(())
    }
}

impl PublicStorageProvider<CURRENT_VERSION> for Snapshot {
    type PublicError = SnapshotError;

    fn write_tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
        tree: &T,
    ) -> Result<(), SnapshotError> {
        self.write(Part::Tree, tree)
    }

    fn write_interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        H: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        hash: &H,
    ) -> Result<(), SnapshotError> {
        self.write(Part::TranscriptHash, hash)
    }

    fn write_context<
        G: traits::GroupId<CURRENT_VERSION>,
        C: traits::GroupContext<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        context: &C,
    ) -> Result<(), SnapshotError> {
        self.write(Part::Context, context)
    }

    fn write_confirmation_tag<
        G: traits::GroupId<CURRENT_VERSION>,
        T: traits::ConfirmationTag<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        tag: &T,
    ) -> Result<(), SnapshotError> {
        self.write(Part::ConfirmationTag, tag)
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &R,
        _: &P,
    ) -> Result<(), SnapshotError> {
        Err(SnapshotError)
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Vec<(R, P)>, SnapshotError> {
        Ok(Vec::new())
    }

    fn tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, SnapshotError> {
        self.read(Part::Tree)
    }

    fn group_context<
        G: traits::GroupId<CURRENT_VERSION>,
        C: traits::GroupContext<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Option<C>, SnapshotError> {
        self.read(Part::Context)
    }

    fn interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        H: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Option<H>, SnapshotError> {
        self.read(Part::TranscriptHash)
    }

    fn confirmation_tag<
        G: traits::GroupId<CURRENT_VERSION>,
        T: traits::ConfirmationTag<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Option<T>, SnapshotError> {
        self.read(Part::ConfirmationTag)
    }

    fn delete_tree<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), SnapshotError> {
        self.delete(Part::Tree)
    }

    fn delete_confirmation_tag<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), SnapshotError> {
        self.delete(Part::ConfirmationTag)
    }

    fn delete_context<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), SnapshotError> {
        self.delete(Part::Context)
    }

    fn delete_interim_transcript_hash<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), SnapshotError> {
        self.delete(Part::TranscriptHash)
    }

    fn remove_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &R,
    ) -> Result<(), SnapshotError> {
        Ok(())
    }

    fn clear_proposal_queue<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<(), SnapshotError> {
        Ok(())
    }
}
