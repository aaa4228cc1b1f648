//! What every store does with times of last use.

use time::{Duration, OffsetDateTime};
use tower_webhook::key::{KeyId, KeyRecord, KeyStore, Owner, WriteOutcome};
use tower_webhook::store::{LastUsedSink, LastUsedSource, LastUsedTracker};

use super::{at, id, owner, record};

fn ids(texts: &[&str]) -> Vec<KeyId> {
    texts.iter().map(|text| id(text)).collect()
}

fn ann() -> Owner {
    owner("ann")
}

async fn insert(store: &impl KeyStore, key: &str) -> KeyRecord {
    let record = record(key, "ann", 0);
    super::insert(store, &record).await;
    record
}

async fn write(store: &impl LastUsedSink, batch: &[(&str, OffsetDateTime)]) {
    let batch = batch.iter().map(|&(key, time)| (id(key), time)).collect();
    store.write(batch).await.unwrap();
}

pub(crate) async fn keeps_the_later_time<S: KeyStore + LastUsedSink + LastUsedSource>(store: &S) {
    let (a, _) = (insert(store, "a").await, insert(store, "b:-._").await);
    let asked = ids(&["b:-._", "unknown", "a", "a"]);
    assert_eq!(store.last_used(&asked).await.unwrap(), [None; 4]);
    assert_eq!(store.last_used(&[]).await.unwrap(), []);

    write(store, &[]).await;
    write(store, &[("a", at(100)), ("unknown", at(200)), ("b:-._", at(-7))]).await;
    let used = [Some(at(-7)), None, Some(at(100)), Some(at(100))];
    assert_eq!(store.last_used(&asked).await.unwrap(), used);
    // The same once more, an earlier one, and a later one with a fraction of a second.
    write(store, &[("a", at(100))]).await;
    write(store, &[("a", at(99)), ("b:-._", at(5) + Duration::milliseconds(999))]).await;
    assert_eq!(store.last_used(&ids(&["a", "b:-._"])).await.unwrap(), [Some(at(100)), Some(at(5))]);
    let last = OffsetDateTime::from_unix_timestamp(253_402_300_799).unwrap();
    write(store, &[("b:-._", last)]).await;
    assert_eq!(store.last_used(&ids(&["b:-._"])).await.unwrap(), [Some(last)]);

    // The record is as it was, and can be replaced.
    assert_eq!(store.find(&id("a")).await.unwrap().unwrap().encode(), a.encode());
    assert_eq!(store.replace(a.with_version(2), 1).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(store.last_used(&ids(&["a"])).await.unwrap(), [Some(at(100))]);

    // It goes with the key. A later key of that id begins anew, and an unknown one stays so.
    assert_eq!(store.remove(&ann(), &ids(&["a"])).await.unwrap(), WriteOutcome::Applied);
    write(store, &[("a", at(300))]).await;
    insert(store, "a").await;
    insert(store, "unknown").await;
    assert_eq!(store.last_used(&ids(&["a", "unknown"])).await.unwrap(), [None, None]);
}

/// Several write, in other orders, while keys come and go.
pub(crate) async fn keeps_the_later_time_of_many<S>(store: &S)
where
    S: KeyStore + LastUsedSink + LastUsedSource + Clone,
{
    let names: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    for name in &names {
        insert(store, name).await;
    }
    let writers = (0..8).map(|writer| {
        let (store, mut names) = (store.clone(), names.clone());
        tokio::spawn(async move {
            for step in 0..20 {
                names.rotate_left(writer * 3 + step);
                if writer % 2 == 0 {
                    names.reverse();
                }
                let time = at(((step * 7 + writer * 11) % 100) as i64);
                let batch = names.iter().map(|name| (id(name), time)).collect();
                store.write(batch).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 0..20 {
        let name = format!("gone{round}");
        insert(store, &name).await;
        write(store, &[(&name, at(1)), ("k0", at(0))]).await;
        assert_eq!(store.remove(&ann(), &ids(&[&name])).await.unwrap(), WriteOutcome::Applied);
        assert_eq!(store.last_used(&ids(&[&name])).await.unwrap(), [None]);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let all: Vec<KeyId> = names.iter().map(|name| id(name)).collect();
    let expected = (0..8).flat_map(|w| (0..20).map(move |s| (s * 7 + w * 11) % 100)).max();
    let expected = Some(at(expected.unwrap()));
    assert_eq!(store.last_used(&all).await.unwrap(), vec![expected; 50]);
}

/// Two times of two trackers are there after an outage in between. Both are kept by a store that is
/// opened again.
pub(crate) async fn loses_no_time_in_an_outage<S>(
    store: &S,
    down: impl AsyncFnOnce(),
    up: impl AsyncFnOnce(),
) where
    S: KeyStore + LastUsedSink + LastUsedSource + Clone,
{
    for key in ["a", "b", "c"] {
        insert(store, key).await;
    }
    let trackers = [LastUsedTracker::new(store.clone()), LastUsedTracker::new(store.clone())];
    trackers[0].record(&id("a"), at(10));
    trackers[0].flush().await.unwrap();
    down().await;
    trackers[0].record(&id("a"), at(20));
    trackers[0].record(&id("b"), at(30));
    trackers[1].record(&id("b"), at(25));
    for tracker in &trackers {
        assert!(tracker.flush().await.is_err());
    }
    trackers[1].record(&id("c"), at(40));
    up().await;
    for tracker in &trackers {
        let started = std::time::Instant::now();
        while let Err(error) = tracker.flush().await {
            assert!(started.elapsed().as_secs() < 10, "{error:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(tracker.stats().failed > 0);
    }
    is_kept(store).await;
}

pub(crate) async fn is_kept(store: &impl LastUsedSource) {
    let used = store.last_used(&ids(&["a", "b", "c"])).await.unwrap();
    assert_eq!(used, [Some(at(20)), Some(at(30)), Some(at(40))]);
}
