use std::error::Error;

use sqlx::{Row, query};
use time::Duration;
use tower_webhook::key::{
    KeyManager, KeyRecord, KeyStore, ManageErrorKind, NewKey, PageCursor, Scopes, VerifyErrorKind,
    WriteOutcome,
};
use tower_webhook::store::{PostgresKeyStore, conformance};

use super::server::{Server, shared};
use super::support::{at, found, id, insert, new_schema, owner, record, store, store_in};

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
    let server = shared();
    let ann = owner("ann");
    let schema = new_schema();
    let keys = KeyManager::new(store_in(&server.url(), &schema).await);
    let issued = keys.generate(&ann, NewKey::new("laptop")).await.unwrap();
    let key = issued.record().id().clone();
    let first = issued.secret().expose_secret().as_bytes();

    let keys = KeyManager::new(store_in(&server.url(), &schema).await);
    assert_eq!(keys.verifier().verify(first).await.unwrap().owner(), &ann);
    let rotated = keys.rotate(&ann, &key, Duration::HOUR).await.unwrap();
    let second = rotated.secret().expose_secret().as_bytes();
    keys.verifier().verify(first).await.unwrap();
    keys.verifier().verify(second).await.unwrap();
    keys.revoke(&ann, &key).await.unwrap();

    let keys = KeyManager::new(store_in(&server.url(), &schema).await);
    let revoked = keys.verifier().verify(second).await.unwrap_err();
    assert_eq!(revoked.kind(), VerifyErrorKind::Revoked);
    keys.delete(&ann, std::slice::from_ref(&key)).await.unwrap();
    let deleted = keys.get(&ann, &key).await.unwrap_err();
    assert_eq!(deleted.kind(), ManageErrorKind::NotFound);
}

#[tokio::test]
async fn a_record_is_read_back_as_it_was() {
    let server = shared();
    let store = store(&server.url()).await;
    let digest = record("k", "ann", 0).digest().clone();
    let full = record("k2", "Ann Lée \"quoted\" 'single' \\x 日本", 7)
        .with_name("it's 100 % \\ ünïcode $1")
        .unwrap()
        .with_scopes(Scopes::parse(["deploy", "read"]).unwrap())
        .with_previous_digest(Some((digest, at(9))))
        .with_not_before(Some(at(1)))
        .with_expires_at(Some(at(2) + Duration::nanoseconds(1)))
        .with_revoked_at(Some(at(3)))
        .with_disabled(true)
        .with_version(u64::MAX)
        .with_metadata(Some(format!("{{\"a\": \"{}\\u0000\"}}", "x".repeat(60_000))))
        .unwrap();
    for record in [record("k1", "ann", 0), full] {
        insert(&store, &record).await;
        assert_eq!(found(&store, record.id().as_str()).await, Some(record.encode()));
        let listed = store.list(record.owner(), None, 10).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].encode(), record.encode());
    }
}

#[tokio::test]
async fn a_version_is_compared_in_all_its_64_bits() {
    let server = shared();
    let store = store(&server.url()).await;
    let old = record("k", "ann", 0).with_version(u64::MAX - 1);
    insert(&store, &old).await;
    for wrong in [0, 1, u64::MAX, u64::MAX - 2, (u64::MAX - 1) / 2, i64::MAX as u64] {
        assert_eq!(
            store.replace(old.clone(), wrong).await.unwrap(),
            WriteOutcome::Conflict,
            "{wrong}"
        );
    }
    let new = old.with_version(u64::MAX);
    assert_eq!(store.replace(new.clone(), u64::MAX - 1).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(found(&store, "k").await, Some(new.encode()));
}

#[tokio::test]
async fn records_are_listed_by_time_to_the_nanosecond_and_then_by_id() {
    let server = shared();
    let store = store(&server.url()).await;
    let years = [-62_167_219_200, -1, 0, 1_700_000_000, 253_402_300_798];
    let steps = [0, 1, 100_000_000, 120_000_000, 999_999_999];
    let mut expected = Vec::new();
    for second in years {
        for nanosecond in steps {
            for key in ["Z", "a", "b.", "b:", "b-1", "b_1", "b1"] {
                let key = format!("{key}.{second}.{nanosecond}");
                let made = at(second) + Duration::nanoseconds(nanosecond);
                let digest = record("k", "ann", 0).digest().clone();
                let record = KeyRecord::new(id(&key), owner("ann"), "a", digest, made).unwrap();
                insert(&store, &record).await;
                expected.push(PageCursor::of(&record));
            }
        }
    }
    expected.sort();
    for limit in [3, 1000] {
        let mut listed = Vec::new();
        loop {
            let page = store.list(&owner("ann"), listed.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            listed.extend(page.iter().map(PageCursor::of));
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(listed, expected, "{limit}");
    }
    assert!(store.list(&owner("ann"), None, 0).await.unwrap().is_empty());
    let last = expected.last();
    assert!(store.list(&owner("ann"), last, usize::MAX).await.unwrap().is_empty());
    assert!(store.list(&owner("bob"), None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn pages_are_stable_while_keys_are_added_and_removed() {
    let server = shared();
    let store = store(&server.url()).await;
    for second in 0..40 {
        insert(&store, &record(&format!("old{second}"), "ann", second * 10)).await;
    }
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for second in 0..60 {
                insert(&store, &record(&format!("new{second}"), "ann", second * 7 + 1)).await;
                let gone = [id(&format!("new{second}"))];
                if second % 2 == 0 {
                    assert_eq!(
                        store.remove(&owner("ann"), &gone).await.unwrap(),
                        WriteOutcome::Applied
                    );
                }
            }
        })
    };
    while !writer.is_finished() {
        let mut seen: Vec<PageCursor> = Vec::new();
        loop {
            let page = store.list(&owner("ann"), seen.last(), 3).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(PageCursor::of));
        }
        assert!(seen.is_sorted_by(|a, b| a < b));
        let old = seen.iter().filter(|cursor| cursor.id().as_str().starts_with("old")).count();
        assert_eq!(old, 40);
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn keys_are_removed_together_or_not_at_all() {
    let server = shared();
    let store = store(&server.url()).await;
    for key in ["a", "b", "c"] {
        insert(&store, &record(key, "ann", 0)).await;
    }
    insert(&store, &record("d", "bob", 0)).await;
    let ann = owner("ann");
    for wrong in [vec!["a", "missing"], vec!["a", "b", "d"], vec!["d"], vec!["a", "A"]] {
        let ids: Vec<_> = wrong.iter().map(|key| id(key)).collect();
        assert_eq!(store.remove(&ann, &ids).await.unwrap(), WriteOutcome::Conflict, "{wrong:?}");
        assert_eq!(store.list(&ann, None, 10).await.unwrap().len(), 3);
    }
    assert_eq!(store.remove(&ann, &[]).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(
        store.remove(&ann, &[id("a"), id("b"), id("a")]).await.unwrap(),
        WriteOutcome::Applied
    );
    assert_eq!(store.list(&ann, None, 10).await.unwrap().len(), 1);
    assert!(found(&store, "d").await.is_some());
}

#[tokio::test]
async fn a_record_that_changes_its_owner_and_time_moves_in_the_lists() {
    let server = shared();
    let store = store(&server.url()).await;
    insert(&store, &record("a", "ann", 5)).await;
    insert(&store, &record("b", "bob", 3)).await;

    let moved = record("a", "bob", 2).with_version(2);
    assert_eq!(store.replace(moved, 1).await.unwrap(), WriteOutcome::Applied);

    assert!(store.list(&owner("ann"), None, 10).await.unwrap().is_empty());
    let listed = store.list(&owner("bob"), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.id().as_str()).collect::<Vec<_>>(), ["a", "b"]);
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
