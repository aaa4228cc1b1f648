use std::error::Error;

use sqlx::{Row, query};
use tower_webhook::key::KeyStore;
use tower_webhook::store::{PostgresKeyStore, conformance};

use super::server::{Server, shared};
use super::support::{at, found, id, insert, new_schema, owner, record, store, store_in};
use crate::shared::records;
use crate::shared::scan::a_scan_visits_the_keys_of_all_owners;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_of_stores_is_kept() {
    let server = shared();
    let url = server.url();
    conformance::check(async || store(&url).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_outlives_the_store() {
    let server = shared();
    let (url, schema) = (server.url(), new_schema());
    conformance::check_durable(async || store_in(&url, &schema).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_an_outage() {
    let server = Server::start();
    let store = store(&server.url()).await;
    server.kill();
    conformance::check_outage(async || store.clone()).await;
}

#[tokio::test]
async fn a_key_lives_its_life_across_stores() {
    let (server, schema) = (shared(), new_schema());
    records::a_key_lives_its_life(async || store_in(&server.url(), &schema).await).await;
}

#[tokio::test]
async fn a_record_is_read_back_as_it_was() {
    let server = shared();
    records::are_read_back_as_they_were(&store(&server.url()).await).await;
}

#[tokio::test]
async fn a_version_is_compared_in_all_its_64_bits() {
    let server = shared();
    records::versions_have_64_bits(&store(&server.url()).await).await;
}

#[tokio::test]
async fn records_are_listed_by_time_to_the_nanosecond_and_then_by_id() {
    let server = shared();
    records::are_listed_by_time_to_the_nanosecond_and_then_by_id(&store(&server.url()).await).await;
}

#[tokio::test]
async fn pages_are_stable_while_keys_are_added_and_removed() {
    let server = shared();
    records::pages_are_stable(&store(&server.url()).await).await;
}

#[tokio::test]
async fn keys_are_removed_together_or_not_at_all() {
    let server = shared();
    records::are_removed_together_or_not_at_all(&store(&server.url()).await).await;
}

#[tokio::test]
async fn a_record_that_changes_its_owner_and_time_moves_in_the_lists() {
    let server = shared();
    records::a_record_moves_in_the_lists(&store(&server.url()).await).await;
}

#[tokio::test]
async fn generated_columns_show_the_record_and_are_read_only() {
    let server = shared();
    let schema = new_schema();
    let store = store_in(&server.url(), &schema).await;
    let made = record("k1", "ann", 0).with_expires_at(Some(at(60))).with_disabled(true);
    insert(&store, &made).await;
    let mut connection = server.connect().await;

    let sql = format!("SELECT *, version::text AS version_text FROM {schema}.webhook_keys");
    let row = query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
    let text = |column| row.get::<Option<String>, _>(column);
    assert_eq!(text("id").as_deref(), Some("k1"));
    assert_eq!(text("owner").as_deref(), Some("ann"));
    assert_eq!(text("name").as_deref(), Some("laptop"));
    assert_eq!(text("created_at").as_deref(), Some("1970-01-01T00:00:00.000000000Z"));
    assert_eq!(text("expires_at").as_deref(), Some("1970-01-01T00:01:00Z"));
    assert!(row.get::<bool, _>("disabled"));
    assert_eq!(text("revoked_at"), None);
    assert_eq!(text("version_text").as_deref(), Some("1"));

    for column in ["owner", "created_at", "expires_at", "disabled", "revoked_at", "version"] {
        let sql = format!("UPDATE {schema}.webhook_keys SET {column} = NULL");
        let update = query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await;
        assert!(update.is_err(), "{column}");
    }
    let sql = format!("UPDATE {schema}.webhook_keys SET id = 'k2'");
    assert!(query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.is_err());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_no_unknown_key() {
    let server = shared();
    let changes = [
        "replace(record, '\"schema\":1', '\"schema\":2')",
        "replace(record, '\"hex\":\"', '\"hex\":\"ab')",
        "replace(record, 'sha256', 'md5')",
        "(record::jsonb - 'expires_at')::text",
        "(record::jsonb || '{\"note\":1}')::text",
    ];
    for change in changes {
        let schema = new_schema();
        let store = store_in(&server.url(), &schema).await;
        insert(&store, &record("k1", "ann", 0)).await;
        let mut connection = server.connect().await;
        let sql = format!("UPDATE {schema}.webhook_keys SET record = {change}");
        query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();

        let error = store.find(&id("k1")).await.unwrap_err();
        assert_eq!(error.to_string(), "the key store cannot answer");
        assert!(error.source().is_some());
        assert!(store.list(&owner("ann"), None, 10).await.is_err(), "{change}");
        assert!(store.find(&id("k2")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn many_can_migrate_at_once_and_again() {
    let server = shared();
    let schema = new_schema();
    let migrations = (0..8).map(|number| {
        let (url, schema) = (server.url(), schema.clone());
        tokio::spawn(async move {
            let store = store_in(&url, &schema).await;
            insert(&store, &record(&format!("k{number}"), "ann", 0)).await;
            store.migrate().await.unwrap();
            store
        })
    });
    let stores = futures_util::future::join_all(migrations).await;
    for store in stores {
        let store = store.unwrap();
        store.check().await.unwrap();
        assert_eq!(store.list(&owner("ann"), None, 100).await.unwrap().len(), 8);
    }
}

#[tokio::test]
async fn stores_with_other_schemas_and_prefixes_are_apart() {
    let server = shared();
    let one = store(&server.url()).await;
    let two = one.clone().with_table_prefix("select").unwrap();
    assert!(two.find(&id("k1")).await.is_err());
    two.migrate().await.unwrap();
    insert(&two, &record("k1", "ann", 0)).await;
    assert!(found(&one, "k1").await.is_none());
    assert!(one.clone().with_schema("a\"b").is_err());
    assert!(one.with_table_prefix("").is_err());
}

#[tokio::test]
async fn a_pool_of_the_application_serves() {
    let server = shared();
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    let store = PostgresKeyStore::new(pool.clone()).with_schema(&new_schema()).unwrap();
    store.migrate().await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    pool.close().await;
    assert!(store.find(&id("k1")).await.is_err());
}

#[test]
fn outside_of_a_runtime_a_call_is_an_error() {
    let server = shared();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(store(&server.url()));

    let error = futures_util::FutureExt::now_or_never(store.find(&id("k1"))).unwrap().unwrap_err();
    assert!(error.source().unwrap().to_string().contains("runtime"));
    let connect = PostgresKeyStore::connect("postgres://localhost/x");
    assert!(futures_util::FutureExt::now_or_never(connect).unwrap().is_err());
}

#[tokio::test]
async fn a_scan_visits_every_key_once_it_is_there() {
    let server = shared();
    a_scan_visits_the_keys_of_all_owners(&store(&server.url()).await).await;
}
