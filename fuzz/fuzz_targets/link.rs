//! Codes, offers, answers, recovery words and backups, as anybody may send or type them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_crypto::link::{AgreementKey, LinkCode, LinkOffer};
use sotto_crypto::recovery::{BackupKey, RecoveryKey};
use sotto_protocol::{DeploymentId, Username};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(code) = LinkCode::parse(text) {
            assert!(LinkCode::parse(&code.to_text()).is_ok());
        }
        if let Ok(key) = RecoveryKey::parse(text) {
            assert!(RecoveryKey::parse(&key.to_words()).is_ok());
        }
    }
    let (Ok(code), Ok(agreement)) = (LinkCode::generate(), AgreementKey::generate()) else {
        return;
    };
    assert!(LinkOffer::open(&code, bytes).is_err());
    assert!(agreement.open_answer(&code, b"offer", bytes).is_err());
    let (Some(key), Ok(name)) = (BackupKey::from_slice(&[7; 32]), Username::parse("alice")) else {
        return;
    };
    assert!(key.open(&DeploymentId::from_bytes([7; 16]), &name, bytes).is_err());
});
