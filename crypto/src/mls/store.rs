//! The MLS library's storage: tables in the caller's database, written inside
//! the caller's transaction. The caller opens the connection and sets its
//! pragmas: an SQLCipher key, `secure_delete = ON`, and a rollback journal;
//! with a write-ahead log, deleted keys would stay in the file.

use openmls::prelude::{Ciphersuite, SignatureScheme};
use openmls_rust_crypto::RustCrypto;
use openmls_sqlite_storage::{Codec, SqliteStorageProvider};
use openmls_traits::OpenMlsProvider;
use openmls_traits::signatures::{Signer, SignerError};
use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::identity::LocalDevice;
use crate::suite::Suite;

/// The key store failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The database refused.
    #[error("key store: {0}")]
    Database(#[from] rusqlite::Error),
    /// The tables could not be made.
    #[error("key store could not be prepared")]
    Migration,
}

/// Makes or updates the key store's tables.
///
/// # Errors
/// See [`KeyStoreError`].
pub fn migrate_key_store(connection: &mut Connection) -> Result<(), KeyStoreError> {
    SqliteStorageProvider::<Cbor, &mut Connection>::new(connection)
        .run_migrations()
        .map_err(|_| KeyStoreError::Migration)
}

/// Key material in a database connection. Cheap to make; make one for each transaction.
pub struct KeyStore<'c> {
    crypto: RustCrypto,
    storage: SqliteStorageProvider<Cbor, &'c Connection>,
    connection: &'c Connection,
}

impl<'c> KeyStore<'c> {
    /// A key store over a connection that [`migrate_key_store`] prepared.
    #[must_use]
    pub fn new(connection: &'c Connection) -> Self {
        Self {
            crypto: RustCrypto::default(),
            storage: SqliteStorageProvider::new(connection),
            connection,
        }
    }

    /// Runs a step so that an error leaves nothing of it behind.
    pub(super) fn attempt<T, E: From<rusqlite::Error>>(
        &self,
        step: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute_batch("SAVEPOINT sotto_attempt")?;
        let outcome = step();
        if outcome.is_err() {
            self.undo()?;
        } else {
            self.connection.execute_batch("RELEASE sotto_attempt")?;
        }
        outcome
    }

    /// Runs a step whose writes are always undone.
    pub(super) fn rehearse<T, E: From<rusqlite::Error>>(
        &self,
        step: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute_batch("SAVEPOINT sotto_attempt")?;
        let outcome = step();
        self.undo()?;
        outcome
    }

    fn undo(&self) -> Result<(), rusqlite::Error> {
        self.connection
            .execute_batch("ROLLBACK TO sotto_attempt; RELEASE sotto_attempt")
    }
}

impl<'c> OpenMlsProvider for KeyStore<'c> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = SqliteStorageProvider<Cbor, &'c Connection>;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}

/// The encoding of stored values.
#[derive(Debug, Default)]
pub struct Cbor;

/// A stored value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[error("stored value is damaged")]
pub struct CborError;

impl Codec for Cbor {
    type Error = CborError;

    fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).map_err(|_| CborError)?;
        Ok(bytes)
    }

    fn from_slice<T: DeserializeOwned>(slice: &[u8]) -> Result<T, CborError> {
        ciborium::from_reader(slice).map_err(|_| CborError)
    }
}

/// Signs MLS structures with the device's key.
pub(super) struct DeviceSigner<'a>(pub(super) &'a LocalDevice);

impl Signer for DeviceSigner<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.key().sign(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// The library's name of a suite.
pub(super) fn ciphersuite(suite: Suite) -> Ciphersuite {
    match suite {
        Suite::Hybrid => Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519,
        Suite::Classical => Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
    }
}
