//! Files at both ends: what they are, what they must not tell, how they are shown and kept.
//!
//! What comes from a person's own disk is cleaned of what it says beside the picture; what comes
//! from somebody else is a claim until its bytes were looked at. Images are decoded in a process
//! of their own with little memory and time (`worker`); nothing decodes one here. A file that
//! arrives gets a clean name, in the folder that was asked for, and never takes another's place.

pub(crate) mod clean;
pub(crate) mod incoming;
pub(crate) mod kind;
pub(crate) mod name;
pub(crate) mod outgoing;
pub(crate) mod picture;
pub(crate) mod preview;
pub(crate) mod save;
pub(crate) mod worker;

pub use clean::{CleanError, clean};
pub use kind::{Kind, Sniffed};
pub use name::clean_name;
