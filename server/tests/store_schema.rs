//! Migrations and `schema.sql` build the same database, once, also when many migrate at a time.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod store_support;

use sotto_server::migrate::{SCHEMA_VERSION, migrate};
use sotto_server::store::{Store, StoreConfig, StoreError};
use sotto_stack::testing::TestCluster;
use store_support::sql;

/// Everything that the catalog knows of our tables, one line a fact.
const CATALOG: &str = "
    SELECT format('table %s %s %s', c.relname, c.relpersistence, c.reloptions) FROM pg_class c
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    UNION ALL
    SELECT format('column %s %s %s %s null=%s default=%s storage=%s identity=%s collation=%s',
                  c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                  NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attstorage, a.attidentity,
                  a.attcollation)
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
    UNION ALL
    SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT format('version %s', version) FROM schema_version
    UNION ALL
    SELECT format('other %s %s', relkind, relname) FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('r', 'i')
    UNION ALL
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1";

async fn catalog(url: &str) -> Vec<String> {
    let rows = sql(url).await.query(CATALOG, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn schema_sql_equals_the_migrations() {
    let migrated = TestCluster::shared().create_database().unwrap();
    let fresh = TestCluster::shared().create_database().unwrap();
    assert_eq!(migrate(migrated.url()).await.unwrap(), 0);
    let script = include_str!("../../schema.sql");
    sql(fresh.url()).await.batch_execute(script).await.unwrap();
    let (migrated, fresh) = (catalog(migrated.url()).await, catalog(fresh.url()).await);
    assert!(migrated.len() > 60);
    assert_eq!(migrated, fresh);
}

#[tokio::test]
async fn many_may_migrate_at_once_and_again() {
    let database = TestCluster::shared().create_database().unwrap();
    let unmigrated = Store::open(StoreConfig::new(database.url())).await;
    assert!(matches!(
        unmigrated.err(),
        Some(StoreError::SchemaVersion {
            found: 0,
            needed: SCHEMA_VERSION
        })
    ));
    let url = database.url();
    let (one, two, three) = tokio::join!(migrate(url), migrate(url), migrate(url));
    let mut found = [one.unwrap(), two.unwrap(), three.unwrap()];
    found.sort_unstable();
    assert_eq!(found, [0, SCHEMA_VERSION, SCHEMA_VERSION]);
    let (one, two) = tokio::join!(store_support::open(url), store_support::open(url));
    assert_eq!(one.deployment_id(), two.deployment_id());
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let database = TestCluster::shared().create_database().unwrap();
    migrate(database.url()).await.unwrap();
    let client = sql(database.url()).await;
    client
        .execute("INSERT INTO schema_version (version) VALUES (9999)", &[])
        .await
        .unwrap();
    for refused in [
        migrate(database.url()).await.err(),
        Store::open(StoreConfig::new(database.url())).await.err(),
    ] {
        assert!(matches!(
            refused,
            Some(StoreError::SchemaVersion { found: 9999, .. })
        ));
    }
}

#[tokio::test]
async fn an_absent_database_is_unavailable() {
    for url in [
        "postgresql://sotto@127.0.0.1:1/sotto",
        "postgresql:///x?host=/nonexistent",
        "not a url",
    ] {
        let refused = Store::open(StoreConfig::new(url)).await.err();
        assert!(
            matches!(refused, Some(StoreError::Unavailable(_))),
            "{url}: {refused:?}"
        );
    }
}
