//! Linking a device: a code that the new device shows and a person types on an
//! old one, an offer sealed by the code, and an answer sealed to the key in it.
//!
//! The code is 100 random bits, so that nobody who carries the sealed messages
//! can search for it, and 20 bits more that notice a wrong letter. The answer
//! needs the code and the new device's X25519 key; it is bound to the very
//! offer that it answers. Refuses keys that contribute nothing to the secret.
//! Nothing here asks whether a person agrees: that is the interface's.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sotto_protocol::limits::{LINK_ANSWER_BYTES_MAX, LINK_OFFER_BYTES_MAX};
use sotto_protocol::{DeploymentId, DeviceId, Username, wire};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::padding;
use crate::secret::{NoRandomness, SecretBytes, random_bytes};

/// The letters of a code: no I, L, O, U, which are misread.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters that are random, 5 bits each.
const RANDOM_LETTERS: usize = 20;
/// Letters that check the others.
const CHECK_LETTERS: usize = 4;
/// The longest name of a device, in bytes.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
/// The size of every sealed offer, in bytes.
const OFFER_BYTES: usize = 1024;
const _: () = assert!(OFFER_BYTES <= LINK_OFFER_BYTES_MAX);
/// The smallest sealed answer, in bytes.
const ANSWER_BYTES_MIN: usize = 8 * 1024;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// The most bytes that an answer holds.
pub const ANSWER_PLAIN_BYTES_MAX: usize =
    LINK_ANSWER_BYTES_MAX - KEY_BYTES - NONCE_BYTES - TAG_BYTES - 4;

/// A code, offer or answer that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not 24 letters, or with one that no code has.
    #[error("a code has six groups of four letters and digits; type it as the new device shows it")]
    NotACode,
    /// The check letters do not fit.
    #[error("the code is mistyped; compare it with the new device's, group by group")]
    Mistyped,
    /// What came was not sealed by this code, or was changed.
    #[error(
        "what came was not made with this code; begin again with `sotto link` on the new device"
    )]
    NotSealedByCode,
    /// It opens and says nothing that makes sense.
    #[error("the other device says something that this version does not understand")]
    Malformed,
    /// It does not fit what the relay takes.
    #[error("this is too much for one answer")]
    TooLarge,
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The code that people carry from the new device to an old one.
pub struct LinkCode(SecretBytes<RANDOM_LETTERS>);

impl LinkCode {
    /// A fresh one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, LinkError> {
        let mut letters = SecretBytes::<RANDOM_LETTERS>::random()?;
        for letter in letters.expose_mut() {
            *letter = LETTERS[usize::from(*letter & 31)];
        }
        Ok(Self(letters))
    }

    /// Reads what a person typed: small letters, spaces and hyphens are fine,
    /// and O, I and L are taken for the digits that they look like.
    ///
    /// # Errors
    /// [`LinkError::NotACode`], [`LinkError::Mistyped`].
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let mut letters = Zeroizing::new(Vec::with_capacity(RANDOM_LETTERS + CHECK_LETTERS));
        for letter in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let letter = match letter.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let known = LETTERS.iter().find(|known| char::from(**known) == letter);
            letters.push(*known.ok_or(LinkError::NotACode)?);
            if letters.len() > RANDOM_LETTERS + CHECK_LETTERS {
                return Err(LinkError::NotACode);
            }
        }
        let (random, check) = letters
            .split_at_checked(RANDOM_LETTERS)
            .ok_or(LinkError::NotACode)?;
        if check.len() != CHECK_LETTERS {
            return Err(LinkError::NotACode);
        }
        let code = Self(SecretBytes::from_slice(random).ok_or(LinkError::NotACode)?);
        if check == code.check() {
            Ok(code)
        } else {
            Err(LinkError::Mistyped)
        }
    }

    /// Six groups of four letters, with hyphens between; wiped when dropped.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(32));
        let check = self.check();
        for (place, letter) in self.0.expose().iter().chain(&check).enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(*letter));
        }
        text
    }

    /// Where offer and answer meet: the first 16 bytes of SHA-256 over
    /// `sotto link v1` and the 20 random letters.
    #[must_use]
    pub fn rendezvous_id(&self) -> [u8; 16] {
        first(&[b"sotto link v1", self.0.expose()])
    }

    fn check(&self) -> [u8; CHECK_LETTERS] {
        letters(&first(&[b"sotto link check v1", self.0.expose()]))
    }

    fn offer_cipher(&self) -> XChaCha20Poly1305 {
        let keys = Hkdf::<Sha256>::new(None, self.0.expose());
        cipher(&keys, b"sotto link offer v1")
    }
}

/// What the new device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOffer {
    /// The deployment that it is to be on.
    pub deployment: DeploymentId,
    /// The account that it is to be of.
    pub username: Username,
    /// Its id.
    pub device: DeviceId,
    /// Its Ed25519 public key.
    pub device_key: [u8; 32],
    /// The X25519 public key that the answer is sealed to.
    pub agreement_key: [u8; 32],
    /// What it calls itself, unchecked text of 1 to 64 bytes.
    pub name: String,
}

impl LinkOffer {
    /// Eight letters that both devices show, to be compared by people.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash: [u8; 16] = first(&[
            b"sotto link fingerprint v1",
            &self.device_key,
            &self.agreement_key,
        ]);
        let text: [u8; 8] = letters(&hash);
        let text = text.map(char::from);
        let (one, other) = text.split_at(4);
        [one.iter().collect::<String>(), other.iter().collect()].join(" ")
    }

    /// Seals it by the code.
    ///
    /// # Errors
    /// When the name is too long or there is no randomness.
    pub fn seal(&self, code: &LinkCode) -> Result<Vec<u8>, LinkError> {
        if self.name.len() > DEVICE_NAME_BYTES_MAX {
            return Err(LinkError::TooLarge);
        }
        let body = wire::LinkOfferBody {
            deployment_id: self.deployment.to_vec(),
            username: self.username.as_str().to_owned(),
            device_id: self.device.to_vec(),
            device_key: self.device_key.to_vec(),
            agreement_key: self.agreement_key.to_vec(),
            name: self.name.clone(),
        };
        let plain = padding::pad(
            &body.encode_to_vec(),
            NONCE_BYTES + TAG_BYTES,
            (OFFER_BYTES, OFFER_BYTES),
        )
        .ok_or(LinkError::TooLarge)?;
        encrypt(&code.offer_cipher(), &plain, &code.rendezvous_id())
    }

    /// Opens what lay at the code's place.
    ///
    /// # Errors
    /// [`LinkError::NotSealedByCode`], [`LinkError::Malformed`].
    pub fn open(code: &LinkCode, sealed: &[u8]) -> Result<Self, LinkError> {
        let plain = decrypt(&code.offer_cipher(), sealed, &code.rendezvous_id())?;
        let read = || {
            let body = wire::LinkOfferBody::decode(padding::unpad(&plain)?).ok()?;
            let named = (1..=DEVICE_NAME_BYTES_MAX).contains(&body.name.len());
            named.then_some(())?;
            Some(Self {
                deployment: DeploymentId::from_slice(&body.deployment_id).ok()?,
                username: Username::parse(&body.username).ok()?,
                device: DeviceId::from_slice(&body.device_id).ok()?,
                device_key: body.device_key.as_slice().try_into().ok()?,
                agreement_key: body.agreement_key.as_slice().try_into().ok()?,
                name: body.name,
            })
        };
        read().ok_or(LinkError::Malformed)
    }
}

/// The new device's secret half of the key in its offer; for one answer.
pub struct AgreementKey(StaticSecret);

impl AgreementKey {
    /// A fresh one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, LinkError> {
        let secret = SecretBytes::<32>::random()?;
        Ok(Self(StaticSecret::from(*secret.expose())))
    }

    /// The X25519 public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// Opens the answer to an offer, which is given as it was sealed.
    ///
    /// # Errors
    /// [`LinkError::NotSealedByCode`] when it was not made by somebody who had
    /// the code and this offer.
    pub fn open_answer(
        &self,
        code: &LinkCode,
        sealed_offer: &[u8],
        answer: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let (theirs, sealed) = answer
            .split_first_chunk::<KEY_BYTES>()
            .ok_or(LinkError::NotSealedByCode)?;
        let cipher = answer_cipher(
            code,
            &self.0,
            theirs,
            [theirs, &self.public()],
            sealed_offer,
        )?;
        let plain = decrypt(&cipher, sealed, &code.rendezvous_id())?;
        let bytes = padding::unpad(&plain).ok_or(LinkError::Malformed)?;
        Ok(Zeroizing::new(bytes.to_vec()))
    }
}

/// Seals an answer of at most [`ANSWER_PLAIN_BYTES_MAX`] bytes to whoever made
/// an offer, which is given opened and as it was sealed. What leaves has one of
/// four sizes.
///
/// # Errors
/// [`LinkError::TooLarge`]; [`LinkError::Malformed`] for an offered key that
/// makes no secret.
pub fn seal_answer(
    code: &LinkCode,
    offer: &LinkOffer,
    sealed_offer: &[u8],
    bytes: &[u8],
) -> Result<Vec<u8>, LinkError> {
    let own = AgreementKey::generate()?;
    let public = own.public();
    let plain = padding::pad(
        bytes,
        KEY_BYTES + NONCE_BYTES + TAG_BYTES,
        (ANSWER_BYTES_MIN, LINK_ANSWER_BYTES_MAX),
    )
    .ok_or(LinkError::TooLarge)?;
    let keys = [&public, &offer.agreement_key];
    let cipher = answer_cipher(code, &own.0, &offer.agreement_key, keys, sealed_offer)?;
    let sealed = encrypt(&cipher, &plain, &code.rendezvous_id())?;
    Ok([public.as_slice(), &sealed].concat())
}

/// The key of an answer: from the agreed secret, salted by the code, bound to
/// both public keys and the sealed offer.
fn answer_cipher(
    code: &LinkCode,
    own: &StaticSecret,
    theirs: &[u8; 32],
    [answerer, offerer]: [&[u8; 32]; 2],
    sealed_offer: &[u8],
) -> Result<XChaCha20Poly1305, LinkError> {
    let shared = own.diffie_hellman(&PublicKey::from(*theirs));
    if !shared.was_contributory() {
        return Err(LinkError::Malformed);
    }
    let keys = Hkdf::<Sha256>::new(Some(code.0.expose()), shared.as_bytes());
    let offer: [u8; 32] = Sha256::digest(sealed_offer).into();
    let info = [
        b"sotto link answer v1".as_slice(),
        answerer,
        offerer,
        &offer,
    ]
    .concat();
    Ok(cipher(&keys, &info))
}

fn cipher(keys: &Hkdf<Sha256>, info: &[u8]) -> XChaCha20Poly1305 {
    let mut key = SecretBytes::<32>::take(&mut [0; 32]);
    // 32 bytes are far below what HKDF can give.
    let _ = keys.expand(info, key.expose_mut());
    XChaCha20Poly1305::new(key.expose().into())
}

fn encrypt(
    cipher: &XChaCha20Poly1305,
    plain: &[u8],
    place: &[u8; 16],
) -> Result<Vec<u8>, LinkError> {
    let nonce: [u8; NONCE_BYTES] = random_bytes()?;
    let payload = Payload {
        msg: plain,
        aad: place,
    };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| LinkError::TooLarge)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn decrypt(
    cipher: &XChaCha20Poly1305,
    sealed: &[u8],
    place: &[u8; 16],
) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(LinkError::NotSealedByCode)?;
    let payload = Payload {
        msg: sealed,
        aad: place,
    };
    cipher
        .decrypt(&XNonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| LinkError::NotSealedByCode)
}

fn first(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.split_at(16).0);
    bytes
}

/// Letters of the alphabet out of the first bits of a hash, 5 each.
fn letters<const N: usize>(hash: &[u8; 16]) -> [u8; N] {
    let bits = u128::from_be_bytes(*hash);
    std::array::from_fn(|place| {
        let shifted = bits >> (128 - 5 * (place + 1));
        LETTERS[usize::try_from(shifted & 31).unwrap_or(0)]
    })
}

#[cfg(test)]
mod tests;
