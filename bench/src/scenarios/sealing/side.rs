//! One side of a conversation with its database: the client's own tables, and the statements that
//! the client runs for a message.

use std::path::Path;

use rusqlite::{Connection, named_params};
use sotto_crypto::{
    Address, Content, Group, GroupError, KeyPackageUse, KeyStore, LocalDevice, Opened, Sealed,
    Suite, make_key_package, migrate_key_store,
};
use sotto_protocol::wire::EnvelopeKind;
use sotto_protocol::{ClientMessageId, ConversationId};
use sotto_roster::Policy;

use crate::clock::unix_ms;
use crate::error::BenchError;
use crate::pair::{SHORT_TEXT, short_message};

/// The client's tables.
const SCHEMA: &str = concat!(
    include_str!("../../../../client/src/history/migrations/0001_start.sql"),
    include_str!("../../../../client/src/history/migrations/0002_talk.sql"),
);
/// The client's settings: encrypted, deleted rows overwritten, no write-ahead log.
const SETTINGS: &str = "PRAGMA cipher_page_size = 2048;
    PRAGMA cipher_hmac_algorithm = HMAC_SHA256;
    PRAGMA cipher_memory_security = ON;
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = TRUNCATE;
    PRAGMA secure_delete = ON;
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;";

/// A device, its database and its conversation.
pub(super) struct Side {
    database: Connection,
    device: LocalDevice,
    group: Group,
    conversation: ConversationId,
    peer: String,
}

/// What a writer hands to a reader: id, number and sealed payload.
pub(super) type Message = (ClientMessageId, u64, Vec<u8>);

/// Makes both sides and their conversation.
pub(super) fn acquaint(
    writer_path: &Path,
    writer: LocalDevice,
    reader_path: &Path,
    reader: LocalDevice,
) -> Result<(Side, Side), BenchError> {
    let mls = BenchError::crypto::<GroupError>;
    let now_ms = unix_ms();
    let (ours, theirs) = (open_database(writer_path)?, open_database(reader_path)?);
    let (store, their_store) = (KeyStore::new(&ours), KeyStore::new(&theirs));
    let purpose = KeyPackageUse::OneTime;
    let package = make_key_package(&their_store, &reader, Suite::Hybrid, purpose, now_ms)
        .map_err(mls("making a key package"))?;
    let policy = Policy::pair(
        writer.certificate().username().clone(),
        reader.certificate().username().clone(),
    )
    .map_err(BenchError::crypto("making a policy"))?;
    let address = Address {
        conversation: ConversationId::from_bytes(rand::random()),
        generation: 0,
    };
    let mut group = Group::create(&store, &writer, address, &policy, Suite::Hybrid, now_ms)
        .map_err(mls("making a group"))?;
    let client_id = ClientMessageId::from_bytes(rand::random());
    let pending = group
        .stage_add(&store, &writer, &client_id, &[package.bytes], None, now_ms)
        .map_err(mls("adding the peer"))?;
    group
        .merge_pending(&store, &pending.commit, now_ms)
        .map_err(mls("merging the first commit"))?;
    let welcome = pending.welcome.unwrap_or_default();
    let (joined, _) = Group::join(&their_store, &reader, address, &welcome)
        .map_err(BenchError::crypto("joining"))?;
    let writer_name = writer.certificate().username().to_string();
    let reader_name = reader.certificate().username().to_string();
    let writer = Side::new(ours, writer, group, reader_name)?;
    let reader = Side::new(theirs, reader, joined, writer_name)?;
    Ok((writer, reader))
}

fn open_database(path: &Path) -> Result<Connection, BenchError> {
    let mut database = Connection::open(path)?;
    let key: String = rand::random::<[u8; 32]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    database.execute_batch(&format!("PRAGMA key = \"x'{key}'\"; {SETTINGS} {SCHEMA}"))?;
    database.set_prepared_statement_cache_capacity(64);
    migrate_key_store(&mut database).map_err(BenchError::crypto("making a key store"))?;
    Ok(database)
}

impl Side {
    fn new(
        database: Connection,
        device: LocalDevice,
        group: Group,
        peer: String,
    ) -> Result<Self, BenchError> {
        let conversation = group.address().conversation;
        database.execute("INSERT INTO peer (name, relation) VALUES (?1, 1)", [&peer])?;
        database.execute(
            "INSERT INTO conversation VALUES (?1, ?2, NULL, 0, 1, 1, 1, 1, x'00', 0, 0, 0, 0)",
            (conversation.as_bytes(), &peer),
        )?;
        Ok(Self {
            database,
            device,
            group,
            conversation,
            peer,
        })
    }

    /// Makes durable what was done since the last time.
    pub(super) fn commit(&mut self) -> Result<(), BenchError> {
        Ok(self.database.execute_batch("COMMIT")?)
    }

    /// Puts a short message into the outbox, sealed; not committed yet.
    pub(super) fn seal(
        &mut self,
        client_id: &ClientMessageId,
        counter: u64,
    ) -> Result<Vec<u8>, BenchError> {
        self.database.execute_batch("BEGIN")?;
        let content = short_message(counter);
        let store = KeyStore::new(&self.database);
        let sealed = self
            .group
            .seal(&store, &self.device, client_id, &content)
            .map_err(BenchError::crypto("sealing"))?;
        let mut statement = self.database.prepare_cached(
            "INSERT INTO outbox (client_id, talk, kind, body, created_at_ms, counter, generation,
                 epoch, sealed)
             VALUES (:id, :talk, 0, :body, :created, :counter, 0, :epoch, :sealed)",
        )?;
        statement.execute(named_params! {
            ":id": client_id.as_bytes(),
            ":talk": self.peer,
            ":body": SHORT_TEXT.as_bytes(),
            ":created": content.sent_at_ms,
            ":counter": counter,
            ":epoch": self.group.epoch(),
            ":sealed": sealed,
        })?;
        let mut statement = self
            .database
            .prepare_cached("UPDATE conversation SET own_counter = ?2 WHERE id = ?1")?;
        statement.execute((self.conversation.as_bytes(), counter))?;
        Ok(sealed)
    }

    /// Moves a message from the outbox into the history, as after the acknowledgement; not
    /// committed yet.
    pub(super) fn settle(
        &mut self,
        client_id: &ClientMessageId,
        seq: u64,
    ) -> Result<(), BenchError> {
        self.database.execute_batch("BEGIN")?;
        self.database
            .prepare_cached("DELETE FROM outbox WHERE client_id = ?1")?
            .execute([client_id.as_bytes()])?;
        self.database
            .prepare_cached("INSERT INTO own_sent VALUES (?1, ?2, ?3)")?
            .execute((self.conversation.as_bytes(), client_id.as_bytes(), seq))?;
        let me = self.device.certificate();
        let (name, device) = (me.username().as_str(), *me.device_id().as_bytes());
        self.insert(client_id, seq, (name, device), 1)
    }

    /// Opens messages of the peer and puts them into the history; not committed yet.
    pub(super) fn open(&mut self, messages: &[Message]) -> Result<(), BenchError> {
        self.database.execute_batch("BEGIN")?;
        for (client_id, seq, payload) in messages {
            let sealed = Sealed {
                kind: EnvelopeKind::Application,
                client_id,
                payload,
            };
            let store = KeyStore::new(&self.database);
            let opened = self
                .group
                .open(&store, &sealed, unix_ms())
                .map_err(BenchError::crypto("opening"))?;
            let Opened::Message(message) = opened else {
                return Err(BenchError::Protocol("an entry that is no message"));
            };
            let content: &Content = &message.content;
            if content.sender_counter != *seq {
                return Err(BenchError::Protocol("a message with another number"));
            }
            let sender = &message.sender;
            let (name, device) = (sender.username().as_str(), *sender.device_id().as_bytes());
            self.insert(client_id, *seq, (name, device), 0)?;
            self.database
                .prepare_cached(
                    "INSERT INTO sender_counter VALUES (?1, ?2, ?3)
                     ON CONFLICT (conversation, device) DO UPDATE SET counter = excluded.counter",
                )?
                .execute((self.conversation.as_bytes(), &device, seq))?;
            self.database
                .prepare_cached("UPDATE conversation SET cursor = ?2 WHERE id = ?1")?
                .execute((self.conversation.as_bytes(), seq))?;
        }
        Ok(())
    }

    fn insert(
        &self,
        client_id: &ClientMessageId,
        seq: u64,
        (sender, device): (&str, [u8; 16]),
        direction: u8,
    ) -> Result<(), BenchError> {
        let mut statement = self.database.prepare_cached(
            "INSERT OR IGNORE INTO message (conversation, seq, client_id, sender, device, epoch,
                 direction, sent_at_ms, stored_at_ms, content, text, shown)
             VALUES (:conversation, :seq, :id, :sender, :device, :epoch, :direction, :sent,
                 :stored, :content, :text, :direction)",
        )?;
        let now_ms = unix_ms();
        statement.execute(named_params! {
            ":conversation": self.conversation.as_bytes(),
            ":seq": seq,
            ":id": client_id.as_bytes(),
            ":sender": sender,
            ":device": device,
            ":epoch": self.group.epoch(),
            ":direction": direction,
            ":sent": now_ms,
            ":stored": now_ms,
            ":content": SHORT_TEXT.as_bytes(),
            ":text": SHORT_TEXT,
        })?;
        Ok(())
    }

    /// The smallest transaction there is, for comparison.
    pub(super) fn bare_commit(&mut self) -> Result<(), BenchError> {
        self.database.execute_batch("BEGIN")?;
        self.database
            .prepare_cached("UPDATE conversation SET updated_at_ms = ?2 WHERE id = ?1")?
            .execute((self.conversation.as_bytes(), unix_ms()))?;
        self.commit()
    }
}
