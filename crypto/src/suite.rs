//! Which cryptography a conversation uses: a choice made once for each
//! generation of it.

use sotto_roster::public_group::profile::{SUITE_CLASSICAL, SUITE_HYBRID};

/// Leaves up to which a new group gets the hybrid suite: beyond, its tree weighs megabytes.
pub const HYBRID_LEAVES_MAX: usize = 100;

/// An MLS ciphersuite of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// X-Wing (X25519 and ML-KEM-768): safe against a later quantum computer.
    Hybrid,
    /// X25519 alone.
    Classical,
}

impl Suite {
    /// The suite for a new group of about this many devices.
    #[must_use]
    pub fn for_leaves(leaves: usize) -> Self {
        if leaves <= HYBRID_LEAVES_MAX {
            Self::Hybrid
        } else {
            Self::Classical
        }
    }

    /// The number of the MLS ciphersuite (RFC 9420 17.1), as key-package claims name it.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Hybrid => SUITE_HYBRID,
            Self::Classical => SUITE_CLASSICAL,
        }
    }

    /// The suite of a number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            SUITE_HYBRID => Some(Self::Hybrid),
            SUITE_CLASSICAL => Some(Self::Classical),
            _ => None,
        }
    }
}
