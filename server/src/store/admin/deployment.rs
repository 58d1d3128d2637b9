//! The deployment as a whole, for operators: invites, retention, servers, figures, the audit log.

use std::time::Duration;

use sotto_protocol::limits::RESTORED_LEAP;

use super::{AdminError, AdminStore, Change, Order, count};
use crate::store::accounts::invite_hash;
use crate::store::{StoreError, column, fixed};

/// Characters by which an invite is named: of the hash of its code, in hexadecimal.
const INVITE_ID_CHARS: usize = 12;

const NEW_INVITE: &str = "\
    INSERT INTO invite (code_hash, uses_left, expires_at, label)
    VALUES ($1, $2, now() + $3 * interval '1 second', $4)";

const INVITES: &str = "\
    SELECT substr(encode(code_hash, 'hex'), 1, 12), label, uses_left::bigint,
           (extract(epoch FROM expires_at) * 1000)::bigint, expires_at > now() AND uses_left > 0
    FROM invite ORDER BY created_at DESC, code_hash LIMIT 1000";

/// `$1` is the id, `$2` the hash of what was given, in case it is a code.
const REVOKE: &str = "\
    DELETE FROM invite WHERE substr(encode(code_hash, 'hex'), 1, 12) = $1 OR code_hash = $2
    RETURNING substr(encode(code_hash, 'hex'), 1, 12)";

const NODES: &str = "\
    SELECT n.id, n.name, n.address, (extract(epoch FROM n.started_at) * 1000)::bigint,
           (SELECT count(*) FROM session s WHERE s.node_id = n.id)
    FROM node n WHERE n.heartbeat_at > now() - interval '15 seconds'
    ORDER BY n.name, n.id LIMIT 1000";

/// Large tables are counted by the database's own estimate, as `ANALYZE` left it.
const STATS: &str = "\
    SELECT (SELECT count(*) FROM account),
           (SELECT count(*) FROM account WHERE disabled AND NOT banned),
           (SELECT count(*) FROM account WHERE banned),
           (SELECT count(*) FROM device),
           (SELECT count(DISTINCT d.account_id) FROM session s
            JOIN device d ON d.id = s.device_id
            JOIN node n ON n.id = s.node_id AND n.heartbeat_at > now() - interval '15 seconds'),
           (SELECT count(*) FROM conversation WHERE kind = 1),
           (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'envelope'::regclass),
           pg_total_relation_size('envelope')::bigint,
           pg_database_size(current_database())::bigint,
           (SELECT max(version) FROM schema_version)::bigint";

/// Logs go on beyond whatever they had given out before the restore.
const LEAP: &str = "UPDATE conversation SET head = head + $1";

/// Some of them were used after the backup, and their private parts are gone. Devices make others
/// when they log in; until then their last-resort packages serve.
const FORGET_KEY_PACKAGES: &str = "DELETE FROM key_package WHERE NOT last_resort";

const ENTRIES: &str = "\
    SELECT id, (extract(epoch FROM at) * 1000)::bigint, operator, role, action, subject,
           details::text
    FROM audit WHERE $1::text IS NULL OR subject = $1 ORDER BY id DESC LIMIT $2";

/// One invite of a list. Its code is not known here: only a hash of it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedInvite {
    /// What it is revoked by.
    pub id: String,
    /// For whom it is.
    pub label: String,
    /// Registrations that it is still good for.
    pub uses_left: u64,
    /// When it expires; milliseconds since 1970.
    pub expires_at_ms: u64,
    /// Whether it can still be used.
    pub usable: bool,
}

/// One running server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, made anew with each start.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Since when; milliseconds since 1970.
    pub started_at_ms: u64,
    /// Devices with a session there.
    pub sessions: u64,
}

impl Node {
    /// The id as people write it: 32 hexadecimal digits.
    #[must_use]
    pub fn id_text(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Figures of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Accounts.
    pub accounts: u64,
    /// Of these, disabled and not banned.
    pub disabled: u64,
    /// Of these, banned.
    pub banned: u64,
    /// Devices.
    pub devices: u64,
    /// Accounts with a session now.
    pub online: u64,
    /// Conversations of any number of people.
    pub conversations: u64,
    /// Envelopes that wait for somebody, estimated.
    pub envelopes: u64,
    /// Bytes that these take.
    pub envelope_bytes: u64,
    /// Bytes of the whole database.
    pub database_bytes: u64,
    /// The schema's version.
    pub schema_version: u64,
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number; grows, with gaps.
    pub id: u64,
    /// When; milliseconds since 1970.
    pub at_ms: u64,
    /// The account of the machine that acted.
    pub operator: String,
    /// The database's role that it used.
    pub role: String,
    /// What was done.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// A JSON object.
    pub details: String,
}

impl AdminStore {
    /// Invites, the latest first; at most 1,000.
    ///
    /// # Errors
    /// As the store.
    pub async fn invites(&self) -> Result<Vec<ListedInvite>, AdminError> {
        let rows = self.query(INVITES, &[]).await?;
        let mut invites = Vec::with_capacity(rows.len());
        for row in &rows {
            invites.push(ListedInvite {
                id: column(row, 0)?,
                label: column(row, 1)?,
                uses_left: count(row, 2)?,
                expires_at_ms: count(row, 3)?,
                usable: column(row, 4)?,
            });
        }
        Ok(invites)
    }

    /// Servers that showed themselves in the last 15 s; at most 1,000.
    ///
    /// # Errors
    /// As the store.
    pub async fn nodes(&self) -> Result<Vec<Node>, AdminError> {
        let rows = self.query(NODES, &[]).await?;
        let mut nodes = Vec::with_capacity(rows.len());
        for row in &rows {
            nodes.push(Node {
                id: fixed(column(row, 0)?)?,
                name: column(row, 1)?,
                address: column(row, 2)?,
                started_at_ms: count(row, 3)?,
                sessions: count(row, 4)?,
            });
        }
        Ok(nodes)
    }

    /// The figures now.
    ///
    /// # Errors
    /// As the store.
    pub async fn stats(&self) -> Result<Stats, AdminError> {
        let rows = self.query(STATS, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Corrupt("no figures".into()))?;
        Ok(Stats {
            accounts: count(row, 0)?,
            disabled: count(row, 1)?,
            banned: count(row, 2)?,
            devices: count(row, 3)?,
            online: count(row, 4)?,
            conversations: count(row, 5)?,
            envelopes: count(row, 6)?,
            envelope_bytes: count(row, 7)?,
            database_bytes: count(row, 8)?,
            schema_version: count(row, 9)?,
        })
    }

    /// Days that undelivered envelopes are kept, where that was set for all servers.
    ///
    /// # Errors
    /// As the store.
    pub async fn retention_days(&self) -> Result<Option<u32>, AdminError> {
        let rows = self
            .query("SELECT retention_days FROM deployment", &[])
            .await?;
        let days: Option<i32> = match rows.first() {
            Some(row) => column(row, 0)?,
            None => None,
        };
        Ok(days.and_then(|days| u32::try_from(days).ok()))
    }

    /// The latest entries of the audit log, oldest first, of one subject or of all.
    ///
    /// # Errors
    /// As the store.
    pub async fn audit(
        &self,
        subject: Option<&str>,
        last: u32,
    ) -> Result<Vec<AuditEntry>, AdminError> {
        let rows = self.query(ENTRIES, &[&subject, &i64::from(last)]).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows.iter().rev() {
            entries.push(AuditEntry {
                id: count(row, 0)?,
                at_ms: count(row, 1)?,
                operator: column(row, 2)?,
                role: column(row, 3)?,
                action: column(row, 4)?,
                subject: column(row, 5)?,
                details: column(row, 6)?,
            });
        }
        Ok(entries)
    }
}

impl Change<'_> {
    /// Stores an invite code, as its hash. Returns what it is listed and revoked by.
    ///
    /// # Errors
    /// As the store.
    pub async fn create_invite(
        &self,
        code: &str,
        uses: u32,
        valid_for: Duration,
        label: &str,
    ) -> Result<String, AdminError> {
        let hash = invite_hash(code);
        let uses = i32::try_from(uses).unwrap_or(i32::MAX);
        self.execute(
            NEW_INVITE,
            &[&hash.as_slice(), &uses, &valid_for.as_secs_f64(), &label],
        )
        .await?;
        let id: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(id.chars().take(INVITE_ID_CHARS).collect())
    }

    /// Takes an invite back, by its id or its code. Returns its id.
    ///
    /// # Errors
    /// `NotFound`, or as the store.
    pub async fn revoke_invite(&self, id_or_code: &str) -> Result<String, AdminError> {
        let hash = invite_hash(id_or_code);
        let rows = self
            .query(REVOKE, &[&id_or_code.trim(), &hash.as_slice()])
            .await?;
        match rows.first() {
            Some(row) => Ok(column(row, 0)?),
            None => Err(AdminError::NotFound("such invite".to_owned())),
        }
    }

    /// Sets the days that undelivered envelopes are kept, for all servers; `None` leaves it to
    /// their configuration.
    ///
    /// # Errors
    /// As the store.
    pub async fn set_retention(&self, days: Option<u32>) -> Result<(), AdminError> {
        let days = days.map(|days| i32::try_from(days).unwrap_or(i32::MAX));
        let fresh: [u8; 16] = rand::random();
        self.execute(
            "INSERT INTO deployment (id, retention_days) VALUES ($1, $2)
             ON CONFLICT (single) DO UPDATE SET retention_days = excluded.retention_days",
            &[&fresh.as_slice(), &days],
        )
        .await?;
        Ok(())
    }

    /// Makes an older database that was restored safe to serve from: every log goes on
    /// [`RESTORED_LEAP`] further, and the one-time key packages are forgotten. Returns how many
    /// logs and how many packages there were.
    ///
    /// # Errors
    /// As the store.
    pub async fn mark_restored(&self) -> Result<(u64, u64), AdminError> {
        // It touches every conversation once.
        self.execute("SET LOCAL statement_timeout = 0", &[]).await?;
        let leap = i64::try_from(RESTORED_LEAP).unwrap_or(i64::MAX);
        let logs = self.execute(LEAP, &[&leap]).await?;
        let packages = self.execute(FORGET_KEY_PACKAGES, &[]).await?;
        Ok((logs, packages))
    }

    /// Tells a server to send its clients elsewhere, and to stay unready.
    ///
    /// # Errors
    /// As the store.
    pub async fn drain(&self, node: &Node) -> Result<(), AdminError> {
        self.order(Order::Drain(node.id)).await
    }

    /// Tells a drained server to serve again.
    ///
    /// # Errors
    /// As the store.
    pub async fn end_drain(&self, node: &Node) -> Result<(), AdminError> {
        self.order(Order::Serve(node.id)).await
    }
}
