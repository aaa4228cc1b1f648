#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::key::{KeyManager, NewKey, Owner};
use crate::store::MemoryKeyStore;

const SECOND: Duration = Duration::from_secs(1);

fn id(number: u32) -> KeyId {
    KeyId::new(format!("key{number}")).unwrap()
}

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(second)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Works,
    Fails,
    Hangs,
    Panics,
}

/// Keeps every batch. Clones share everything.
#[derive(Clone)]
struct Sink(Arc<Mutex<(Mode, Vec<Batch>)>>);

type Batch = Vec<(KeyId, OffsetDateTime)>;

impl Sink {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Mode::Works, Vec::new()))))
    }

    fn set(&self, mode: Mode) {
        self.0.lock().unwrap().0 = mode;
    }

    /// The batches so far, with sorted keys.
    fn take(&self) -> Vec<Vec<(String, i64)>> {
        let batches = std::mem::take(&mut self.0.lock().unwrap().1);
        let mut batches: Vec<Vec<_>> = batches
            .into_iter()
            .map(|batch| {
                batch.iter().map(|(id, at)| (id.to_string(), at.unix_timestamp())).collect()
            })
            .collect();
        batches.iter_mut().for_each(|batch| batch.sort());
        batches
    }
}

#[async_trait]
impl LastUsedSink for Sink {
    async fn write(&self, batch: Vec<(KeyId, OffsetDateTime)>) -> Result<(), StoreError> {
        let mode = self.0.lock().unwrap().0;
        match mode {
            Mode::Works => {
                self.0.lock().unwrap().1.push(batch);
                Ok(())
            }
            Mode::Fails => Err(StoreError::new("disk on fire")),
            Mode::Hangs => std::future::pending().await,
            Mode::Panics => panic!("a panic of the sink"),
        }
    }
}

fn tracker(sink: &Sink) -> LastUsedTracker {
    LastUsedTracker::new(sink.clone())
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_written_once_in_an_interval_with_its_latest_time() {
    let sink = Sink::new();
    let usage = tracker(&sink);
    tokio::spawn(usage.run());
    settle().await;
    for second in [3, 1, 2] {
        usage.record(&id(1), at(second));
        usage.record(&id(2), at(10 * second));
    }
    advance(59 * SECOND).await;
    settle().await;
    assert_eq!(sink.take(), Vec::<Vec<_>>::new());

    advance(SECOND).await;
    settle().await;
    assert_eq!(sink.take(), [[("key1".to_owned(), 3), ("key2".to_owned(), 30)]]);

    usage.record(&id(1), at(4));
    advance(60 * SECOND).await;
    settle().await;
    assert_eq!(sink.take(), [[("key1".to_owned(), 4)]]);
    assert_eq!(usage.last_used(&id(1)), Some(at(4)));

    advance(600 * SECOND).await;
    settle().await;
    assert_eq!(sink.take(), Vec::<Vec<_>>::new());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_part_of_the_next_batch() {
    for mode in [Mode::Fails, Mode::Hangs, Mode::Panics] {
        let sink = Sink::new();
        let usage = tracker(&sink);
        tokio::spawn(usage.run());
        settle().await;
        usage.record(&id(1), at(1));
        sink.set(mode);
        advance(60 * SECOND).await;
        settle().await;
        advance(10 * SECOND).await;
        settle().await;
        assert_eq!(usage.stats().failed, 1, "{mode:?}");
        usage.record(&id(2), at(2));
        sink.set(Mode::Works);

        advance(60 * SECOND).await;
        settle().await;

        assert_eq!(sink.take(), [[("key1".to_owned(), 1), ("key2".to_owned(), 2)]], "{mode:?}");
        assert_eq!(usage.stats().written, 2);
    }
}

#[tokio::test]
async fn a_key_that_is_written_and_not_used_is_forgotten() {
    let usage = tracker(&Sink::new());
    usage.record(&id(1), at(1));

    usage.flush().await.unwrap();
    assert_eq!(usage.last_used(&id(1)), Some(at(1)));
    assert_eq!(usage.stats().keys, 1);

    usage.flush().await.unwrap();
    assert_eq!(usage.last_used(&id(1)), None);
    assert_eq!(usage.stats().keys, 0);

    usage.record(&id(1), at(2));
    assert_eq!(usage.last_used(&id(1)), Some(at(2)));
}

#[tokio::test]
async fn keys_beyond_the_bound_are_dropped_and_counted() {
    let sink = Sink::new();
    let usage = tracker(&sink).with_max_keys(10);
    for number in 0..1000 {
        usage.record(&id(number), at(1));
        usage.record(&id(0), at(i64::from(number)));
    }
    assert_eq!((usage.stats().keys, usage.stats().dropped), (10, 990));
    assert_eq!(usage.last_used(&id(0)), Some(at(999)));
    assert_eq!(usage.last_used(&id(10)), None);

    // What is written makes place.
    usage.flush().await.unwrap();
    usage.flush().await.unwrap();
    usage.record(&id(10), at(1));
    assert_eq!(usage.last_used(&id(10)), Some(at(1)));
    assert_eq!(sink.take()[0].len(), 10);
}

#[tokio::test]
async fn a_batch_has_at_most_1000_keys() {
    let sink = Sink::new();
    let usage = tracker(&sink);
    (0..2500).for_each(|number| usage.record(&id(number), at(1)));

    usage.flush().await.unwrap();

    let mut sizes: Vec<_> = sink.take().iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [500, 1000, 1000]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_task_and_writes_what_is_left() {
    let sink = Sink::new();
    let usage = tracker(&sink);
    let running = tokio::spawn(usage.run());
    settle().await;
    usage.record(&id(1), at(1));
    sink.set(Mode::Fails);
    assert!(usage.shutdown().await.is_err());
    sink.set(Mode::Works);

    usage.shutdown().await.unwrap();

    assert_eq!(sink.take(), [[("key1".to_owned(), 1)]]);
    running.await.unwrap();
    // A task that starts after the end does nothing.
    usage.run().await;
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_when_it_is_the_last_to_have_the_tracker() {
    let sink = Sink::new();
    let usage = tracker(&sink);
    let running = tokio::spawn(usage.run());
    usage.record(&id(1), at(1));
    drop(usage);

    running.await.unwrap();

    assert_eq!(sink.take(), [[("key1".to_owned(), 1)]]);
}

#[tokio::test]
async fn a_verifier_records_good_keys_only() {
    let usage = tracker(&Sink::new());
    let keys = KeyManager::new(MemoryKeyStore::new()).with_clock(crate::Clock::from_fn(|| at(7)));
    let verifier = keys.verifier().with_last_used(usage.clone());
    let ann = Owner::new("ann").unwrap();
    let good = keys.generate(&ann, NewKey::new("a")).await.unwrap();
    let revoked = keys.generate(&ann, NewKey::new("b")).await.unwrap();
    keys.revoke(&ann, revoked.record().id()).await.unwrap();
    for issued in [&good, &revoked] {
        let _ = verifier.verify(issued.secret().expose_secret().as_bytes()).await;
    }
    let wrong = keys.rotate(&ann, good.record().id(), time::Duration::ZERO).await.unwrap();
    drop(wrong);

    assert_eq!(usage.last_used(good.record().id()), Some(at(7)));
    assert_eq!(usage.last_used(revoked.record().id()), None);
    assert_eq!(usage.stats().keys, 1);
}

#[test]
fn an_interval_of_less_than_a_second_is_refused() {
    assert!(LastUsedTracker::new(Sink::new()).with_interval(Duration::from_millis(999)).is_err());
    assert!(LastUsedTracker::new(Sink::new()).with_interval(SECOND).is_ok());
}

#[test]
fn uses_from_many_threads_during_flushes_are_not_lost() {
    let sink = Sink::new();
    let usage = tracker(&sink);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let usage = usage.clone();
                scope.spawn(move || {
                    for second in 0..5000 {
                        usage.record(&id(thread % 2), at(second));
                    }
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            runtime.block_on(usage.flush()).unwrap();
        }
    });
    runtime.block_on(usage.flush()).unwrap();

    let mut latest = HashMap::new();
    for (id, second) in sink.take().into_iter().flatten() {
        let entry = latest.entry(id).or_insert(second);
        *entry = second.max(*entry);
    }
    assert_eq!(latest, HashMap::from([("key0".to_owned(), 4999), ("key1".to_owned(), 4999)]));
    runtime.block_on(usage.flush()).unwrap();
    assert_eq!(usage.stats().keys, 0);
    assert_eq!(usage.stats().dropped, 0);
}

proptest! {
    #[test]
    fn everything_recorded_is_written_or_dropped_and_counted(
        uses in prop::collection::vec((0..20_u32, 0..50_i64, 0..20_u8), 0..200),
        max in 1..25_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let sink = Sink::new();
            let usage = tracker(&sink).with_max_keys(max);
            let mut recorded: HashMap<String, i64> = HashMap::new();
            let mut written: HashMap<String, i64> = HashMap::new();
            let mut dropped = 0;
            for (number, second, action) in uses {
                usage.record(&id(number), at(second));
                if usage.stats().dropped == dropped {
                    let entry = recorded.entry(id(number).to_string()).or_insert(second);
                    *entry = second.max(*entry);
                    prop_assert!(usage.last_used(&id(number)).unwrap() >= at(second));
                }
                dropped = usage.stats().dropped;
                prop_assert!(usage.stats().keys <= max as u64);
                if action < 3 {
                    sink.set(if action == 0 { Mode::Fails } else { Mode::Works });
                    let _ = usage.flush().await;
                }
            }
            sink.set(Mode::Works);
            usage.shutdown().await.unwrap();
            for (id, second) in sink.take().into_iter().flatten() {
                let entry = written.entry(id).or_insert(second);
                *entry = second.max(*entry);
            }
            prop_assert_eq!(written, recorded);
            Ok(())
        })?;
    }
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_tracker_that_is_not_run_logs_one_warning() {
    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let warnings = || {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.matches("LastUsedTracker::run was not spawned").count()
    };
    let (run, idle) = (LastUsedTracker::new(Sink::new()), LastUsedTracker::new(Sink::new()));
    tokio::spawn(run.run());
    for second in 0..3 {
        run.record(&id(1), at(second));
        idle.record(&id(1), at(second));
        assert_eq!(warnings(), 0);
        tokio::time::sleep(39 * SECOND).await;
    }
    advance(10 * SECOND).await;
    for second in 0..3 {
        run.record(&id(2), at(second));
        idle.record(&id(2), at(second));
    }
    assert_eq!(warnings(), 1);
}

/// Has written times.
struct Written;

#[async_trait]
impl LastUsedSink for Written {
    async fn write(&self, _batch: Batch) -> Result<(), StoreError> {
        Ok(())
    }

    fn source(&self) -> Option<&dyn LastUsedSource> {
        Some(self)
    }
}

#[async_trait]
impl LastUsedSource for Written {
    async fn last_used(&self, _ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, StoreError> {
        Ok(vec![Some(at(10)), Some(at(10)), None, None])
    }
}

#[tokio::test]
async fn a_tracker_is_a_source_of_the_later_time() {
    let asked: Vec<KeyId> = (0..4).map(id).collect();
    let record = |tracker: &LastUsedTracker| {
        for (key, second) in [(0, 5), (1, 20), (2, 30)] {
            tracker.record(&id(key), at(second));
        }
    };
    let alone = LastUsedTracker::new(Sink::new());
    record(&alone);
    let used = LastUsedSource::last_used(&alone, &asked).await.unwrap();
    assert_eq!(used, [Some(at(5)), Some(at(20)), Some(at(30)), None]);

    let tracker = LastUsedTracker::new(Written);
    record(&tracker);
    let used = LastUsedSource::last_used(&tracker, &asked).await.unwrap();
    assert_eq!(used, [Some(at(10)), Some(at(20)), Some(at(30)), None]);
}
