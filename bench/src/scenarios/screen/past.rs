//! A profile with a long conversation in it, made as a linked device makes its own: from an
//! account's snapshot and what another device hands over.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prost::Message as _;
use sotto_client::engine::Engine;
use sotto_client::engine::api::{Details, Direction, Login, Message, MessageBody, Now};
use sotto_client::profile::{self, Handover, Location, NewAccount, Newcomer, Profile};
use sotto_client::talk::Talk;
use sotto_crypto::IdentityKey;
use sotto_crypto::content::Body;
use sotto_protocol::wire::{
    AccountSnapshot, PastMessage, PastMessages, SnapshotConversation, SnapshotPerson,
};
use sotto_protocol::{ClientMessageId, ConversationId, DeploymentId, DeviceId, Username};
use sotto_stack::certs::Certificates;

use crate::clock::unix_ms;
use crate::error::BenchError;

/// Messages that are handed over at a time; a file of another device has no more.
const CHUNK: u64 = 1_000;
const PASSWORD: &str = "a password for measuring";
/// Between two messages, in milliseconds.
const EVERY_MS: u64 = 60_000;
/// What people write: short, long, in several lines, in wide letters, with marks and signs.
const TEXTS: [&str; 6] = [
    "yes",
    "see you at nine, I bring the can and the long hose, and somebody should tell dave about it",
    "two things:\n- the gate is open\n- the light in the shed is not",
    "日本語も折り返します: 庭の水やりは日曜日の朝です",
    "Żółć 🌱 e\u{301}te\u{301} 👩‍🌾 https://example.org/a/rather/long/path?with=a&query=of#things",
    "I wrote it all down: first the beds along the wall, then the tomatoes, which want it only at \
     their feet, then the two pear trees, a can each, and what is left goes to the hedge. Whoever \
     comes last turns the water off, both taps, and puts the key behind the third stone.",
];

/// The word by which a message is known on the screen.
pub(super) fn token(number: u64) -> String {
    format!("m{number}.")
}

/// The numbers of all words such as [`token`] makes.
pub(super) fn tokens(words: &str) -> impl Iterator<Item = u64> {
    words.split_whitespace().filter_map(|word| {
        let digits = word.strip_prefix('m')?.strip_suffix('.')?;
        digits.parse().ok()
    })
}

/// A profile on disk, and what is in it.
pub(super) struct Past {
    folder: PathBuf,
    ca: PathBuf,
    peer: Username,
    conversation: ConversationId,
    /// Messages in the conversation.
    pub(super) count: u64,
    /// Bytes of their texts.
    pub(super) bytes: u64,
    began_ms: u64,
}

impl Past {
    /// Makes it.
    ///
    /// # Errors
    /// When the disk or the store does not take it.
    pub(super) fn make(folder: &Path, count: u64) -> Result<Self, BenchError> {
        let count = count.max(100);
        fs::create_dir_all(folder).map_err(BenchError::io("making a folder"))?;
        fs::write(folder.join("password"), PASSWORD)
            .map_err(BenchError::io("writing the password"))?;
        let now_ms = unix_ms();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
        let certificates = Certificates::ensure(&folder.join("certs"), time)
            .map_err(|error| BenchError::Deployment(error.to_string()))?;
        let mut past = Self {
            folder: folder.to_owned(),
            ca: certificates.ca,
            peer: name("bob")?,
            conversation: ConversationId::from_bytes([7; 16]),
            count,
            bytes: 0,
            began_ms: now_ms.saturating_sub((count + 10) * EVERY_MS),
        };
        past.fill(now_ms)?;
        Ok(past)
    }

    /// The profile, for a screen.
    pub(super) fn profile(&self) -> sotto_client::rehearsal::Profile<'_> {
        sotto_client::rehearsal::Profile {
            home: &self.folder,
            password_file: self.folder.join("password"),
            // Nobody listens there.
            server: "127.0.0.1:1".to_owned(),
            ca: self.ca.clone(),
        }
    }

    fn text(number: u64) -> String {
        let place = usize::try_from(number).unwrap_or(0) % TEXTS.len();
        let text = TEXTS.get(place).copied().unwrap_or_default();
        format!("{} {text}", token(number))
    }

    /// A message that arrives now.
    pub(super) fn arrival(&self, number: u64) -> Message {
        let at_ms = self.began_ms + number * EVERY_MS;
        Message {
            conversation: self.conversation,
            talk: Talk::from(&self.peer),
            title: None,
            id: id(number),
            seq: number,
            sender: self.peer.clone(),
            device: DeviceId::from_bytes([2; 16]),
            epoch: 1,
            direction: Direction::Incoming,
            body: MessageBody::Text(Self::text(number)),
            details: Box::new(Details::default()),
            sent_at_ms: at_ms,
            stored_at_ms: at_ms,
        }
    }

    fn fill(&mut self, now_ms: u64) -> Result<(), BenchError> {
        let store =
            |error: sotto_client::engine::EngineError| BenchError::Screen(error.to_string());
        let now = Now {
            unix_ms: now_ms,
            monotonic_ms: 0,
        };
        let profile = self.begin(now)?;
        let mut engine = Engine::new(profile, Login::Device, rand::random(), now).map_err(store)?;
        let mut number = 0;
        while number < self.count {
            let until = self.count.min(number + CHUNK);
            let mut past = PastMessages {
                conversation_ids: vec![self.conversation.as_bytes().to_vec()],
                messages: Vec::new(),
            };
            for number in number + 1..=until {
                past.messages.push(self.past(number)?);
            }
            let kept = engine
                .keep_past(&past.encode_to_vec(), now)
                .map_err(store)?;
            if kept as u64 != until - number {
                return Err(BenchError::Screen(format!("{kept} messages were taken")));
            }
            number = until;
        }
        Ok(())
    }

    fn past(&mut self, number: u64) -> Result<PastMessage, BenchError> {
        let own = number.is_multiple_of(3);
        let text = Self::text(number);
        self.bytes += text.len() as u64;
        let at_ms = self.began_ms + number * EVERY_MS;
        let sender = if own {
            name("alice")?
        } else {
            self.peer.clone()
        };
        Ok(PastMessage {
            conversation: 0,
            seq: number,
            client_id: id(number).as_bytes().to_vec(),
            sender: sender.to_string(),
            device_id: vec![if own { 1 } else { 2 }; 16],
            epoch: 1,
            sent_at_ms: at_ms,
            stored_at_ms: at_ms,
            body: Body::text(text)
                .to_bytes()
                .map_err(BenchError::crypto("encoding a message"))?,
        })
    }

    /// The empty profile, with one conversation.
    fn begin(&self, now: Now) -> Result<Profile, BenchError> {
        let client = |error: profile::ProfileError| BenchError::Screen(error.to_string());
        let account = NewAccount {
            username: name("alice")?,
            deployment: DeploymentId::from_bytes([9; 16]),
        };
        let key = || IdentityKey::generate().map_err(BenchError::crypto("making a key"));
        let (identity, other) = (key()?, key()?);
        let newcomer = Newcomer::generate().map_err(client)?;
        let certificate = identity
            .certify(
                account.deployment,
                &account.username,
                newcomer.device,
                newcomer.key.public(),
                now.unix_ms,
            )
            .map_err(BenchError::crypto("certifying a device"))?;
        let person = SnapshotPerson {
            username: self.peer.to_string(),
            identity: other.public().to_vec(),
            relation: 1,
            ..SnapshotPerson::default()
        };
        let talk = SnapshotConversation {
            conversation_id: self.conversation.as_bytes().to_vec(),
            peer: self.peer.to_string(),
            generation: 1,
            updated_at_ms: now.unix_ms,
            ..SnapshotConversation::default()
        };
        let handover = Handover {
            snapshot: AccountSnapshot {
                identity_secret: identity.to_secret().expose().to_vec(),
                people: vec![person],
                conversations: vec![talk],
                ..AccountSnapshot::default()
            },
            certificate: Some(certificate.as_bytes().to_vec()),
            history: Vec::new(),
        };
        let location = Location {
            home: self.folder.clone(),
            name: "default".to_owned(),
            runtime: self.folder.join("runtime"),
        };
        let made = Profile::create_from(&location, &account, PASSWORD, (&newcomer, &handover), now);
        made.map(|(profile, _)| profile).map_err(client)
    }
}

fn name(text: &str) -> Result<Username, BenchError> {
    Username::parse(text).map_err(BenchError::crypto("reading a name"))
}

fn id(number: u64) -> ClientMessageId {
    let mut bytes = [0; 16];
    let (first, _) = bytes.split_at_mut(8);
    first.copy_from_slice(&number.to_be_bytes());
    ClientMessageId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_known_by_their_words() {
        let words = format!("12:04 bob {} yes m. mail. 3m. {}", token(12), token(7));
        assert_eq!(tokens(&words).collect::<Vec<_>>(), [12, 7]);
    }
}
