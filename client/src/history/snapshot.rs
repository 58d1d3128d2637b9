//! The account as a snapshot that another device begins with, and back.
//!
//! It names people, conversations, devices and settings, and holds no keys of
//! conversations: whoever restores it enters each by a commit of their own.
//! What cannot be read is left out of what is restored, never guessed.

use std::collections::BTreeMap;

use sotto_crypto::Body;
use sotto_crypto::content::Profile;
use sotto_protocol::wire::{
    AccountSnapshot, PastMessage, SnapshotConversation, SnapshotDevice, SnapshotPerson,
    SnapshotPreference,
};
use sotto_protocol::{ClientMessageId, ConversationId, DeviceId, Username};
use sotto_roster::Role;

use super::group::{role_number, role_of};
use super::{
    Baseline, ContactRow, ConversationRow, ConversationState, Fate, History, HistoryError,
    MessageRow, PeerRow, Relation, codec, message,
};
use crate::engine::api::{Direction, Keep};
use crate::talk::Talk;

/// The most that a snapshot names of anything.
const ENTRIES_MAX: usize = 100_000;
/// The most messages that one conversation adds to recent history.
const MESSAGES_MAX: u32 = 500;

impl History {
    /// The account as it stands here, without secrets, in a stable order.
    pub(crate) fn snapshot(&self) -> Result<AccountSnapshot, HistoryError> {
        let mut people = Vec::new();
        let mut places = BTreeMap::new();
        for peer in self.peers()? {
            let Some(identity) = peer.identity else {
                continue;
            };
            let contact = self.contact(&peer.name)?;
            places.insert(peer.name.clone(), u32::try_from(people.len()).unwrap_or(0));
            people.push(SnapshotPerson {
                username: peer.name.as_str().to_owned(),
                identity: identity.to_vec(),
                verified_at_ms: peer.verified_at_ms.unwrap_or(0),
                relation: u32::try_from(peer.relation.number()).unwrap_or(0),
                alias: contact.alias,
                note: contact.note,
            });
        }
        let mut rows = self.conversations()?;
        rows.retain(|row| row.state != ConversationState::Ended);
        rows.sort_by_key(|row| row.id);
        let conversations = rows
            .into_iter()
            .take(ENTRIES_MAX)
            .map(|row| self.snapshot_of(row, &places))
            .collect::<Result<_, _>>()?;
        let (own, _) = self.own_profile()?;
        let devices = self.own_devices()?.into_iter();
        Ok(AccountSnapshot {
            identity_secret: Vec::new(),
            people,
            conversations,
            devices: devices
                .map(|(device, name)| SnapshotDevice {
                    device_id: device.to_vec(),
                    name,
                })
                .collect(),
            preferences: self.preferences()?,
            display_name: own.display_name,
            status: own.status,
        })
    }

    fn snapshot_of(
        &self,
        row: ConversationRow,
        places: &BTreeMap<Username, u32>,
    ) -> Result<SnapshotConversation, HistoryError> {
        let mut taken = SnapshotConversation {
            conversation_id: row.id.to_vec(),
            peer: row
                .talk
                .person()
                .map_or_else(String::new, ToString::to_string),
            title: row.title.unwrap_or_default(),
            generation: row.generation,
            unsaved: row.keep == Keep::Unsaved,
            updated_at_ms: row.updated_at_ms,
            ..SnapshotConversation::default()
        };
        let me = self.account()?.username;
        for member in self.members(&row.id)? {
            let role = u32::try_from(role_number(member.role)).unwrap_or(0);
            match places.get(&member.name) {
                Some(place) => {
                    taken.members.push(*place);
                    taken.roles.push(role);
                }
                None if member.name == me => taken.own_role = role,
                None => {}
            }
        }
        Ok(taken)
    }

    /// The latest messages of the kept conversations in a snapshot, so many at
    /// most and as many as fit into so many bytes; oldest first. What
    /// disappears is left out.
    pub(crate) fn past_messages(
        &self,
        snapshot: &AccountSnapshot,
        (messages_max, bytes_max): (usize, usize),
    ) -> Result<Vec<PastMessage>, HistoryError> {
        let mut found = Vec::new();
        for (place, taken) in snapshot.conversations.iter().enumerate() {
            let Ok(id) = ConversationId::from_slice(&taken.conversation_id) else {
                continue;
            };
            if taken.unsaved {
                continue;
            }
            for row in self.last_messages(Keep::Saved, &id, MESSAGES_MAX)? {
                if row.fate != Fate::There || message::expires_after_s(&row.body) > 0 {
                    continue;
                }
                found.push(PastMessage {
                    conversation: u32::try_from(place).unwrap_or(u32::MAX),
                    seq: row.seq,
                    client_id: row.client_id.to_vec(),
                    sender: row.sender.as_str().to_owned(),
                    device_id: row.device.to_vec(),
                    epoch: row.epoch,
                    sent_at_ms: row.sent_at_ms,
                    stored_at_ms: row.stored_at_ms,
                    body: message::encode(&row.body)?,
                });
            }
        }
        found.sort_by_key(|message| std::cmp::Reverse(message.stored_at_ms));
        let mut left = bytes_max;
        let fits = |message: &PastMessage| {
            // With tag and length in front.
            let needed = prost::Message::encoded_len(message) + 6;
            let enough = needed <= left;
            left = left.saturating_sub(needed);
            enough
        };
        let latest = found.into_iter().take(messages_max);
        let mut kept: Vec<_> = latest.take_while(fits).collect();
        kept.reverse();
        Ok(kept)
    }

    /// Puts a snapshot into a store that holds the account and nothing else.
    pub(crate) fn restore(
        &self,
        snapshot: &AccountSnapshot,
        now_ms: u64,
    ) -> Result<(), HistoryError> {
        for person in snapshot.people.iter().take(ENTRIES_MAX) {
            self.restore_person(person)?;
        }
        for taken in snapshot.conversations.iter().take(ENTRIES_MAX) {
            self.restore_conversation(snapshot, taken, now_ms)?;
        }
        for device in snapshot.devices.iter().take(ENTRIES_MAX) {
            if let Ok(id) = DeviceId::from_slice(&device.device_id) {
                self.put_own_device(&id, &device.name)?;
            }
        }
        for preference in snapshot.preferences.iter().take(ENTRIES_MAX) {
            self.put_preference(&preference.name, &preference.value)?;
        }
        if !snapshot.display_name.is_empty() || !snapshot.status.is_empty() {
            self.put_own_profile(&Profile {
                display_name: snapshot.display_name.clone(),
                status: snapshot.status.clone(),
            })?;
        }
        Ok(())
    }

    fn restore_person(&self, person: &SnapshotPerson) -> Result<(), HistoryError> {
        let (Ok(name), Ok(identity)) = (
            Username::parse(&person.username),
            <[u8; 32]>::try_from(person.identity.as_slice()),
        ) else {
            return Ok(());
        };
        self.put_peer(&PeerRow {
            name: name.clone(),
            identity: Some(identity),
            changed_identity: None,
            verified_at_ms: (person.verified_at_ms > 0).then_some(person.verified_at_ms),
            relation: Relation::from_number(i64::from(person.relation)).unwrap_or(Relation::Known),
        })?;
        if person.alias.is_empty() && person.note.is_empty() {
            return Ok(());
        }
        let known = self.contact(&name)?;
        self.put_contact(&ContactRow {
            alias: person.alias.clone(),
            note: person.note.clone(),
            ..known
        })
    }

    fn restore_conversation(
        &self,
        snapshot: &AccountSnapshot,
        taken: &SnapshotConversation,
        now_ms: u64,
    ) -> Result<(), HistoryError> {
        let Ok(id) = ConversationId::from_slice(&taken.conversation_id) else {
            return Ok(());
        };
        let talk = match Username::parse(&taken.peer) {
            Ok(peer) => Talk::Person(peer),
            Err(_) if taken.peer.is_empty() => Talk::Group(id),
            Err(_) => return Ok(()),
        };
        self.put_conversation(&ConversationRow {
            id,
            talk,
            title: (!taken.title.is_empty()).then(|| taken.title.clone()),
            generation: taken.generation,
            // Its keys are not here: the engine enters it from outside.
            state: ConversationState::Broken,
            keep: match taken.unsaved {
                true => Keep::Unsaved,
                false => Keep::Saved,
            },
            baseline: Baseline::FirstSeen,
            cursor: 0,
            last_commit: Vec::new(),
            own_counter: 0,
            own_since_update: 0,
            update_due_ms: u64::MAX >> 1,
            updated_at_ms: match taken.updated_at_ms {
                0 => now_ms,
                at => at.min(now_ms),
            },
        })?;
        if !taken.peer.is_empty() {
            return Ok(());
        }
        for (place, role) in taken.members.iter().zip(&taken.roles) {
            let place = usize::try_from(*place).unwrap_or(usize::MAX);
            let person = snapshot.people.get(place);
            let name = person.and_then(|person| Username::parse(&person.username).ok());
            if let Some(name) = name {
                let role = role_of(i64::from(*role)).unwrap_or(Role::Member);
                self.put_member(&id, &name, role)?;
            }
        }
        let own = role_of(i64::from(taken.own_role)).unwrap_or(Role::Member);
        self.put_member(&id, &self.account()?.username, own)
    }

    /// Puts recent messages of kept conversations that are here beside what
    /// there is; they count as shown. `places` are the conversations that they
    /// name. Gives how many there were to put.
    pub(crate) fn restore_messages(
        &self,
        places: &[&[u8]],
        messages: &[PastMessage],
        now_ms: u64,
    ) -> Result<usize, HistoryError> {
        let me = self.account()?.username;
        let mut restored = 0;
        for past in messages.iter().take(ENTRIES_MAX) {
            let place = usize::try_from(past.conversation).unwrap_or(usize::MAX);
            let id = places.get(place);
            let Some(row) = id.and_then(|id| read_past(past, id, &me)) else {
                continue;
            };
            let conversation = self.conversation(&row.conversation)?;
            if conversation.is_some_and(|conversation| conversation.keep == Keep::Saved) {
                self.insert_message(Keep::Saved, &row)?;
                self.mark_shown(&row.conversation, row.seq, now_ms)?;
                restored += 1;
            }
        }
        Ok(restored)
    }

    fn peers(&self) -> Result<Vec<PeerRow>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT name FROM peer ORDER BY name LIMIT ?1")?;
        let rows = statement.query_map([i64::try_from(ENTRIES_MAX).unwrap_or(0)], |row| {
            Ok(codec::name(row, "name"))
        })?;
        let names: Vec<Username> = rows.map(|row| row?).collect::<Result<_, HistoryError>>()?;
        let mut peers = Vec::new();
        for name in names {
            peers.extend(self.peer(&name)?);
        }
        Ok(peers)
    }

    fn preferences(&self) -> Result<Vec<SnapshotPreference>, HistoryError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT name, value FROM preference ORDER BY name LIMIT 1000")?;
        let rows = statement.query_map([], |row| {
            Ok(SnapshotPreference {
                name: row.get("name")?,
                value: row.get("value")?,
            })
        })?;
        rows.map(|row| Ok(row?)).collect()
    }
}

fn read_past(past: &PastMessage, conversation: &[u8], me: &Username) -> Option<MessageRow> {
    let sender = Username::parse(&past.sender).ok()?;
    let direction = match sender == *me {
        true => Direction::Outgoing,
        false => Direction::Incoming,
    };
    Some(MessageRow {
        conversation: ConversationId::from_slice(conversation).ok()?,
        seq: past.seq,
        client_id: ClientMessageId::from_slice(&past.client_id).ok()?,
        sender,
        device: DeviceId::from_slice(&past.device_id).ok()?,
        epoch: past.epoch,
        direction,
        sent_at_ms: past.sent_at_ms,
        stored_at_ms: past.stored_at_ms,
        body: Body::from_bytes(&past.body).ok()?,
        fate: Fate::There,
        edited_seq: 0,
        mentions_me: false,
        expires_at_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use sotto_crypto::DatabaseKey;
    use sotto_protocol::DeploymentId;
    use zeroize::Zeroizing;

    use super::super::AccountRow;
    use super::*;
    use crate::engine::api::AccountState;

    fn store(folder: &std::path::Path, file: &str) -> History {
        let key = DatabaseKey::generate().unwrap();
        let history = History::create(&folder.join(file), &key).unwrap();
        let account = AccountRow {
            username: Username::parse("alice").unwrap(),
            deployment: DeploymentId::from_bytes([1; 16]),
            device: DeviceId::from_bytes([2; 16]),
            identity_secret: Zeroizing::new(vec![3; 32]),
            device_secret: Zeroizing::new(vec![4; 32]),
            certificate: Vec::new(),
            state: AccountState::Active,
            mailbox_cursor: 0,
            last_resort_at_ms: 0,
        };
        history.insert_account(&account).unwrap();
        history
    }

    fn people() -> Vec<SnapshotPerson> {
        [("bob", 1), ("carol", 0), ("mallory", 2)]
            .map(|(name, relation)| SnapshotPerson {
                username: name.to_owned(),
                identity: vec![7; 32],
                verified_at_ms: u64::from(relation),
                relation,
                alias: format!("{name}'s alias"),
                note: "a note".to_owned(),
            })
            .into()
    }

    fn sample() -> AccountSnapshot {
        AccountSnapshot {
            identity_secret: Vec::new(),
            people: people(),
            conversations: vec![
                SnapshotConversation {
                    conversation_id: vec![1; 16],
                    peer: "bob".to_owned(),
                    generation: 2,
                    unsaved: true,
                    updated_at_ms: 5,
                    ..SnapshotConversation::default()
                },
                SnapshotConversation {
                    conversation_id: vec![2; 16],
                    title: "team".to_owned(),
                    members: vec![0, 1],
                    roles: vec![1, 0],
                    own_role: 2,
                    updated_at_ms: 6,
                    ..SnapshotConversation::default()
                },
            ],
            devices: vec![SnapshotDevice {
                device_id: vec![9; 16],
                name: "laptop".to_owned(),
            }],
            preferences: vec![SnapshotPreference {
                name: "receipts".to_owned(),
                value: "off".to_owned(),
            }],
            display_name: "Alice".to_owned(),
            status: "here".to_owned(),
        }
    }

    #[test]
    fn what_is_restored_is_what_was_taken() {
        let folder = tempfile::tempdir().unwrap();
        let history = store(folder.path(), "one.db");
        history.restore(&sample(), 10).unwrap();
        assert_eq!(history.snapshot().unwrap(), sample());
        let broken = history.unsettled_talks().unwrap();
        assert_eq!(broken.len(), 2, "each conversation is to be entered");
    }

    #[test]
    fn past_messages_come_once_and_only_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        let history = store(folder.path(), "one.db");
        let mut taken = sample();
        taken.conversations[0].unsaved = false;
        taken.conversations[1].peer = "carol".to_owned();
        taken.conversations[1].unsaved = true;
        history.restore(&taken, 10).unwrap();
        let past = |conversation, seq| PastMessage {
            conversation,
            seq,
            client_id: vec![u8::try_from(seq).unwrap(); 16],
            sender: "bob".to_owned(),
            device_id: vec![5; 16],
            epoch: 1,
            sent_at_ms: seq,
            stored_at_ms: seq,
            body: message::encode(&Body::text(format!("text {seq}"))).unwrap(),
        };
        let mut odd = past(0, 9);
        odd.client_id = vec![1; 15];
        // The second is kept by nobody, the third is not here, the fourth was never named.
        let messages: Vec<_> = (1..=5)
            .map(|seq| past(0, seq))
            .chain([past(1, 6), past(2, 7), past(3, 8), odd])
            .collect();
        let places: [&[u8]; 3] = [&[1; 16], &[2; 16], &[3; 16]];
        for _ in 0..2 {
            assert_eq!(history.restore_messages(&places, &messages, 10).unwrap(), 5);
        }
        let kept = history.past_messages(&taken, (1_000, 1 << 20)).unwrap();
        assert_eq!(kept, messages[..5]);
        let few = history.past_messages(&taken, (2, 1 << 20)).unwrap();
        assert_eq!(few, messages[3..5], "the latest");
        assert!(history.past_messages(&taken, (9, 10)).unwrap().is_empty());
    }

    #[test]
    fn nonsense_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let history = store(folder.path(), "one.db");
        let mut nonsense = sample();
        nonsense.people[0].username = "Not A Name".to_owned();
        nonsense.people[1].identity = vec![1; 31];
        nonsense.conversations[0].conversation_id = vec![1; 15];
        nonsense.conversations[1].members = vec![2, 99];
        nonsense.conversations[1].roles = vec![77];
        nonsense.devices[0].device_id = Vec::new();
        history.restore(&nonsense, 10).unwrap();
        let kept = history.snapshot().unwrap();
        assert_eq!(kept.people.len(), 1);
        assert_eq!(kept.conversations.len(), 1);
        assert_eq!(kept.conversations[0].roles, [0]);
        assert_eq!(kept.devices, []);
    }
}
