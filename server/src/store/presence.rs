//! Who is online: sessions of this server, written in batches, believed while its heart beats.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sotto_protocol::DeviceId;
use tokio::sync::Notify;

use super::connect::Link;
use super::error::StoreError;
use super::{Store, StoreConfig, column};

/// Sessions of one statement.
const BATCH_MAX: usize = 5_000;

const BEAT: &str = "\
    INSERT INTO node (id, name, address) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
    RETURNING xmax = 0";

const START: &str = "\
    WITH seen AS (
        UPDATE device SET last_seen = current_date
        WHERE id = ANY($1::bytea[]) AND last_seen < current_date
    ), minute AS (
        INSERT INTO last_seen (account_id, at)
        SELECT DISTINCT account_id, date_trunc('minute', now()) FROM device
        WHERE id = ANY($1::bytea[]) ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET at = excluded.at WHERE last_seen.at < excluded.at
    )
    INSERT INTO session (device_id, node_id) SELECT id, $2 FROM unnest($1::bytea[]) AS i (id)
    ON CONFLICT DO NOTHING";

/// Accounts are locked in the order of their numbers, so that no two servers wait for each other.
const END: &str = "\
    WITH minute AS (
        INSERT INTO last_seen (account_id, at)
        SELECT DISTINCT account_id, date_trunc('minute', now()) FROM device
        WHERE id = ANY($1::bytea[]) ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET at = excluded.at WHERE last_seen.at < excluded.at
    )
    DELETE FROM session WHERE node_id = $2 AND device_id = ANY($1::bytea[])";

const LEAVE: &str = "\
    WITH sessions AS (DELETE FROM session WHERE node_id = $1)
    DELETE FROM node WHERE id = $1";

#[derive(Default, Clone, Copy)]
struct Sessions {
    live: u32,
    written: bool,
}

/// What is written of a device.
#[derive(Clone, Copy)]
enum Edge {
    Came,
    Went,
}

/// The sessions of this server.
pub(super) struct Presence {
    node: [u8; 16],
    name: String,
    address: String,
    /// Devices with a session here, and those whose end is not yet written.
    devices: Mutex<HashMap<DeviceId, Sessions>>,
    nudge: OnceLock<Arc<Notify>>,
}

/// A device counts as online while this lives.
#[must_use = "dropping it ends the presence"]
pub struct OnlineGuard {
    presence: Arc<Presence>,
    device: DeviceId,
}

impl Drop for OnlineGuard {
    fn drop(&mut self) {
        self.presence.ended(self.device);
    }
}

impl Store {
    /// The device is online until the guard is dropped. Written in the background.
    pub fn online(&self, device: DeviceId) -> OnlineGuard {
        self.inner.presence.started(device);
        OnlineGuard {
            presence: Arc::clone(&self.inner.presence),
            device,
        }
    }
}

impl Presence {
    pub(super) fn new(config: &StoreConfig) -> Self {
        Self {
            node: rand::random(),
            name: config.node_name.clone(),
            address: config.node_address.clone(),
            devices: Mutex::default(),
            nudge: OnceLock::new(),
        }
    }

    /// This server's id in the table of nodes.
    pub(super) fn node_id(&self) -> [u8; 16] {
        self.node
    }

    pub(super) fn wake_with(&self, nudge: Arc<Notify>) {
        let _ = self.nudge.set(nudge);
    }

    fn devices(&self) -> MutexGuard<'_, HashMap<DeviceId, Sessions>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, device: DeviceId) {
        self.devices().entry(device).or_default().live += 1;
        self.nudge();
    }

    fn ended(&self, device: DeviceId) {
        if let Some(sessions) = self.devices().get_mut(&device) {
            sessions.live = sessions.live.saturating_sub(1);
        }
        self.nudge();
    }

    fn nudge(&self) {
        if let Some(nudge) = self.nudge.get() {
            nudge.notify_one();
        }
    }

    /// Shows that this server lives. After a crash of Postgres the tables are empty: then
    /// everything is written again.
    pub(super) async fn beat(&self, link: &mut Link) -> Result<(), StoreError> {
        let statement = link.prepare(BEAT).await?;
        let row = link
            .client()
            .query_one(
                &statement,
                &[&self.node.as_slice(), &self.name, &self.address],
            )
            .await
            .map_err(StoreError::from_db)?;
        if column(&row, 0)? {
            for sessions in self.devices().values_mut() {
                sessions.written = false;
            }
        }
        Ok(())
    }

    /// Writes who came and who went.
    pub(super) async fn write(&self, link: &mut Link) -> Result<(), StoreError> {
        let (mut came, mut went) = (Vec::new(), Vec::new());
        self.devices().retain(|device, sessions| {
            match (sessions.live > 0, sessions.written) {
                (true, false) => came.push(*device),
                (false, true) => went.push(*device),
                (true, true) => {}
                (false, false) => return false,
            }
            true
        });
        self.write_all(link, Edge::Came, &came).await?;
        self.write_all(link, Edge::Went, &went).await
    }

    async fn write_all(
        &self,
        link: &mut Link,
        edge: Edge,
        devices: &[DeviceId],
    ) -> Result<(), StoreError> {
        let (sql, written) = match edge {
            Edge::Came => (START, true),
            Edge::Went => (END, false),
        };
        for batch in devices.chunks(BATCH_MAX) {
            let statement = link.prepare(sql).await?;
            let ids: Vec<&[u8]> = batch.iter().map(|d| d.as_bytes().as_slice()).collect();
            link.client()
                .execute(&statement, &[&ids, &self.node.as_slice()])
                .await
                .map_err(StoreError::from_db)?;
            let mut known = self.devices();
            for device in batch {
                if let Some(sessions) = known.get_mut(device) {
                    sessions.written = written;
                }
            }
        }
        Ok(())
    }

    /// Takes this server out of the tables.
    pub(super) async fn leave(&self, link: &mut Link) -> Result<(), StoreError> {
        let statement = link.prepare(LEAVE).await?;
        link.client()
            .execute(&statement, &[&self.node.as_slice()])
            .await
            .map(drop)
            .map_err(StoreError::from_db)
    }
}
