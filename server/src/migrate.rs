//! Brings a database to this server's schema: numbered files, applied once each, in order, under
//! an advisory lock. Refuses to touch a database of a newer schema.

use tokio_postgres::Client;

use crate::store::connect::{self, Database, Profile};
use crate::store::{DatabaseAddress, StoreError};

/// The schema version that this server was built for: the last migration's.
pub const SCHEMA_VERSION: i32 = 8;

/// Migrations are added, never edited; the first is version 1.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("../migrations/0001_init.sql"),
    include_str!("../migrations/0002_append.sql"),
    include_str!("../migrations/0003_people.sql"),
    include_str!("../migrations/0004_operator.sql"),
    include_str!("../migrations/0005_blobs.sql"),
    include_str!("../migrations/0006_identity.sql"),
    include_str!("../migrations/0007_revoked.sql"),
    include_str!("../migrations/0008_join_use_request.sql"),
];

/// The advisory lock that migrations hold ("sotto" and a number, in ASCII).
const LOCK: i64 = 0x736f_7474_6f01;

/// Applies what is missing and returns the version that was found, 0 for an empty database. Any
/// number of servers may call it at once: one works, the others wait and find nothing to do.
///
/// # Errors
/// When the database does not answer, refuses a statement or is of a newer version.
pub async fn migrate(database: impl Into<DatabaseAddress>) -> Result<i32, StoreError> {
    let database = Database::new(&database.into())?;
    let link = connect::open(&database, Profile::Migration).await?;
    let client = link.client();
    // A session lock: a migration may hold several transactions. It ends with the connection.
    client
        .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await
        .map_err(StoreError::from_db)?;
    let found = version(client).await?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::SchemaVersion {
            found,
            needed: SCHEMA_VERSION,
        });
    }
    for (number, statements) in (1..).zip(MIGRATIONS) {
        if number > found {
            apply(client, number, statements).await?;
            tracing::info!(version = number, "schema migrated");
        }
    }
    Ok(found)
}

/// The schema version of a database; 0 when it has none.
pub(crate) async fn version(client: &Client) -> Result<i32, StoreError> {
    let exists: bool = client
        .query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[])
        .await
        .map_err(StoreError::from_db)?
        .try_get(0)
        .map_err(StoreError::from_db)?;
    if !exists {
        return Ok(0);
    }
    client
        .query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[])
        .await
        .map_err(StoreError::from_db)?
        .try_get(0)
        .map_err(StoreError::from_db)
}

async fn apply(client: &Client, number: i32, statements: &str) -> Result<(), StoreError> {
    // One implicit transaction: both parts or neither.
    let script = format!(
        "BEGIN;
         CREATE TABLE IF NOT EXISTS schema_version (
             version integer PRIMARY KEY,
             applied_at timestamptz NOT NULL DEFAULT now()
         );
         {statements}
         INSERT INTO schema_version (version) VALUES ({number});
         COMMIT;"
    );
    client
        .batch_execute(&script)
        .await
        .map_err(StoreError::from_db)
}
