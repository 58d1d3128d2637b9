//! Secret bytes: wiped when dropped, never printed, never serialised, never
//! compared in variable time.

use rand::TryRng as _;
use rand::rngs::SysRng;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// `N` secret bytes on the heap.
pub struct SecretBytes<const N: usize>(Box<[u8; N]>);

impl<const N: usize> SecretBytes<N> {
    /// Takes the bytes over; the caller's copy is wiped.
    #[must_use]
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let mut secret = Self(Box::new([0; N]));
        secret.0.copy_from_slice(bytes);
        bytes.zeroize();
        secret
    }

    /// Copies a slice of exactly `N` bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self(Box::new([0; N]));
        (bytes.len() == N).then(|| {
            secret.0.copy_from_slice(bytes);
            secret
        })
    }

    /// Fresh random bytes from the operating system.
    ///
    /// # Errors
    /// When it has none.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut secret = Self(Box::new([0; N]));
        SysRng
            .try_fill_bytes(secret.0.as_mut())
            .map_err(|_| NoRandomness)?;
        Ok(secret)
    }

    /// The bytes, for the one use that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// Compares without telling by time where the difference is.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_ref()).into()
    }
}

/// A second holder of the same secret; each wipes its own bytes.
impl<const N: usize> Clone for SecretBytes<N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// In constant time, as [`SecretBytes::same_as`].
impl<const N: usize> PartialEq for SecretBytes<N> {
    fn eq(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

impl<const N: usize> Eq for SecretBytes<N> {}

impl<const N: usize> Drop for SecretBytes<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Fresh random bytes that are not secret: ids, nonces, salts.
///
/// # Errors
/// When the operating system has none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| NoRandomness)?;
    Ok(bytes)
}
