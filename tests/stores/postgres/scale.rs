//! A table with many keys.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Row, raw_sql};
use tower_webhook::key::KeyStore;

use super::server::Server;
use super::support::{found, id, owner, record, setting, store_in};

#[tokio::test]
async fn look_ups_and_lists_use_an_index_among_many_keys() {
    let server = Server::start();
    let count: u32 = setting("TOWER_WEBHOOK_KEYS", 50_000);
    let store = store_in(&server.url(), "big").await;
    let mut admin = server.connect().await;
    let template = record("TEMPLATE", "OWNER", 0).encode();
    let fill = format!(
        "INSERT INTO big.webhook_keys (id, record) SELECT id, replace(replace('{template}', \
         'TEMPLATE', id), 'OWNER', 'owner' || number % 1000) FROM (SELECT number, \
         lpad(number::text, 16, '0') AS id FROM generate_series(0, {} - 1) AS number) AS numbers; \
         ANALYZE big.webhook_keys",
        count
    );
    raw_sql(AssertSqlSafe(fill)).execute(&mut admin).await.unwrap();

    let plans = [
        ("SELECT record FROM big.webhook_keys WHERE id = '0000000000000007'", "webhook_keys_pkey"),
        (
            "SELECT record FROM big.webhook_keys WHERE owner = 'owner7' \
             AND (created_at, id) > ('', '') ORDER BY created_at, id LIMIT 20",
            "webhook_keys_by_owner",
        ),
        (
            "UPDATE big.webhook_keys SET record = record WHERE id = '7' AND version = 1::numeric",
            "webhook_keys_pkey",
        ),
    ];
    for (statement, index) in plans {
        let explain = AssertSqlSafe(format!("EXPLAIN {statement}"));
        let plan = raw_sql(explain).fetch_all(&mut admin).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(&format!("Index Scan using {index}")), "{plan}");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
    }

    for sample in 0..3 {
        let started = Instant::now();
        for number in 0..1000_u32 {
            let number = number.wrapping_mul(2_654_435_761) % count;
            assert!(found(&store, &format!("{number:016}")).await.is_some());
        }
        println!("{count} keys, sample {sample}: {:?} a look-up", started.elapsed() / 1000);
    }
    let started = Instant::now();
    let listed = store.list(&owner("owner7"), None, 20).await.unwrap();
    println!("a page in {:?}", started.elapsed());
    assert_eq!(listed.len(), 20);
    assert!(store.find(&id("missing")).await.unwrap().is_none());
}
