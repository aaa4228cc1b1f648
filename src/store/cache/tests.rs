use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, mpsc};

use time::OffsetDateTime;
use tokio::time::{Instant, advance};

use super::*;
use crate::key::{
    KeyHasher, KeyManager, KeyUpdate, KeyVerifier, ManageErrorKind, NewKey, ParsedKey,
    VerifyErrorKind,
};
use crate::store::fault_store::{Fault, FaultStore, Script};
use crate::store::{Invalidation, MemoryKeyStore};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn id(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

fn ann() -> Owner {
    Owner::new("ann").unwrap()
}

fn at(millisecond: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(millisecond)
}

fn record(text: &str, version: u64) -> KeyRecord {
    let digest = KeyHasher::sha256().digest(&ParsedKey::new(id(text), "secret"));
    KeyRecord::new(id(text), ann(), "laptop", digest, at(0)).unwrap().with_version(version)
}

/// A cache over a store, on tokio's clock: 1970 plus the time since the start, plus `skew`.
struct World {
    store: FaultStore,
    cache: CachedKeyStore<FaultStore>,
    skew: Arc<AtomicI64>,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let store = FaultStore::default();
        let skew = Arc::new(AtomicI64::new(0));
        let (start, step) = (Instant::now(), Arc::clone(&skew));
        let clock = Clock::from_fn(move || {
            at(start.elapsed().as_millis() as i64 + step.load(Ordering::SeqCst))
        });
        let cache = CachedKeyStore::new(store.clone()).with_clock(clock.clone());
        Self { store, cache, skew, clock }
    }

    fn put(&self, record: KeyRecord) {
        self.store.put(&record.id().clone(), Some(record));
    }

    fn step_clock(&self, milliseconds: i64) {
        self.skew.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// The version that the cache answers with by itself.
    fn cached(&self, text: &str) -> Option<Option<u64>> {
        let mut visits = Vec::new();
        let answered = self.cache.try_find_now(&id(text), &mut |record| {
            visits.push(record.map(KeyRecord::version));
        });
        assert_eq!(visits.len(), usize::from(answered));
        visits.pop()
    }

    async fn find(&self, text: &str) -> Option<u64> {
        self.cache.find(&id(text)).await.unwrap().map(|record| record.version())
    }

    /// The error of a look-up, with its cause.
    async fn fail(&self, text: &str) -> String {
        self.cache.find(&id(text)).await.unwrap_err().source().unwrap().to_string()
    }

    /// A look-up that is under way in a task of its own.
    fn spawn_find(&self, text: &str) -> tokio::task::JoinHandle<Result<Option<u64>, StoreError>> {
        let (cache, id) = (self.cache.clone(), id(text));
        tokio::spawn(async move { Ok(cache.find(&id).await?.map(|record| record.version())) })
    }
}

/// Lets every task that can go on do so, without moving the clock.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn delayed(before: Duration, after: Duration) -> Script {
    Script { before, after, ..Script::default() }
}

fn failing(fault: Fault) -> Script {
    Script { fault, ..Script::default() }
}

#[tokio::test(start_paused = true)]
async fn guarantee_1_a_change_is_seen_when_it_returns() {
    let world = World::new();
    assert_eq!(world.find("a").await, None);
    assert_eq!(world.cached("a"), Some(None));

    assert_eq!(world.cache.insert(record("a", 1)).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, Some(1));
    assert_eq!(world.cached("a"), Some(Some(1)));

    assert_eq!(world.cache.replace(record("a", 2), 1).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, Some(2));

    assert_eq!(world.cache.remove(&ann(), &[id("a")]).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, None);
    assert_eq!(world.cached("a"), Some(None));
}

#[tokio::test(start_paused = true)]
async fn guarantee_1_a_change_that_is_refused_is_seen_too() {
    let world = World::new();
    world.find("a").await;
    world.put(record("a", 7));

    assert_eq!(world.cache.insert(record("a", 1)).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(world.cached("a"), None);

    world.find("a").await;
    world.put(record("a", 8));
    assert_eq!(world.cache.replace(record("a", 8), 7).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, Some(8));
}

#[tokio::test(start_paused = true)]
async fn guarantee_1_a_change_of_unknown_outcome_is_seen() {
    for fault in [Fault::Error, Fault::Lie] {
        let world = World::new();
        world.put(record("a", 1));
        world.store.set_writes(failing(fault));
        let stored = |version| if fault == Fault::Lie { Some(version) } else { Some(1) };

        world.find("a").await;
        assert!(world.cache.replace(record("a", 2), 1).await.is_err());
        assert_eq!(world.cached("a"), None);
        assert_eq!(world.find("a").await, stored(2));

        assert!(world.cache.remove(&ann(), &[id("a")]).await.is_err());
        assert_eq!(world.cached("a"), None);
        let expected = (fault != Fault::Lie).then_some(1);
        assert_eq!(world.find("a").await, expected);

        world.find("b").await;
        assert!(world.cache.insert(record("b", 1)).await.is_err());
        assert_eq!(world.cached("b"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn guarantee_1_an_abandoned_change_is_seen_when_it_ends() {
    let world = World::new();
    world.put(record("a", 1));
    world.store.set_writes(delayed(SECOND, SECOND));
    let late = tokio::time::timeout(MILLISECOND, world.cache.replace(record("a", 2), 1)).await;
    assert!(late.is_err());
    assert_eq!(world.find("a").await, Some(1));

    tokio::time::sleep(1_500 * MILLISECOND).await;
    // The change is made, and the store has not said so.
    assert_eq!(world.cached("a"), Some(Some(1)));
    tokio::time::sleep(600 * MILLISECOND).await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn guarantee_1_a_change_whose_store_panics_is_seen() {
    let world = World::new();
    world.put(record("a", 1));
    world.find("a").await;
    world.store.set_writes(failing(Fault::Panic));

    let error = world.cache.replace(record("a", 2), 1).await.unwrap_err();

    assert_eq!(error.source().unwrap().to_string(), "the call panicked");
    assert_eq!(world.cached("a"), None);
}

#[test]
fn guarantee_1_a_change_cut_short_by_a_runtime_is_seen() {
    let store = FaultStore::default();
    store.put(&id("a"), Some(record("a", 1)));
    store.set_writes(failing(Fault::Hang));
    let cache = CachedKeyStore::new(store);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let is_cached = || cache.try_find_now(&id("a"), &mut |_| ());
    let (first, second) = (runtime(), runtime());
    first.block_on(async {
        let cache = cache.clone();
        tokio::spawn(async move { cache.replace(record("a", 2), 1).await });
        settle().await;
    });
    second.block_on(cache.find(&id("a"))).unwrap();
    assert!(is_cached());

    drop(first);

    assert!(!is_cached());
}

#[tokio::test(start_paused = true)]
async fn guarantee_2_a_record_is_kept_for_the_ttl() {
    let world = World::new();
    world.put(record("a", 1));
    world.find("a").await;
    // Another process revokes it.
    world.put(record("a", 2).with_revoked_at(Some(at(0))));

    advance(5 * SECOND - MILLISECOND).await;
    assert_eq!(world.cached("a"), Some(Some(1)));
    advance(MILLISECOND).await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn guarantee_2_the_time_runs_from_the_start_of_the_load() {
    let world = World::new();
    world.put(record("a", 1));
    world.store.set_reads(delayed(Duration::ZERO, SECOND));
    world.find("a").await;

    advance(4 * SECOND - MILLISECOND).await;
    assert_eq!(world.cached("a"), Some(Some(1)));
    advance(MILLISECOND).await;
    assert_eq!(world.cached("a"), None);
}

#[tokio::test(start_paused = true)]
async fn guarantee_2_each_clock_alone_ends_the_time() {
    let world = World::new();
    world.put(record("a", 1));
    let frozen = world.cache.clone().with_clock(Clock::from_fn(|| at(0)));
    let frozen = World { cache: frozen, ..World { store: world.store.clone(), ..World::new() } };

    // The process was stopped, and the clock says nothing about it.
    frozen.find("a").await;
    assert_eq!(frozen.cached("a"), Some(Some(1)));
    advance(60 * SECOND).await;
    assert_eq!(frozen.cached("a"), None);

    // The machine was asleep, and the monotonic clock says nothing about it.
    world.find("a").await;
    world.step_clock(4_999);
    assert_eq!(world.cached("a"), Some(Some(1)));
    world.step_clock(1);
    assert_eq!(world.cached("a"), None);

    // The clock was set back.
    world.find("a").await;
    world.step_clock(-1);
    assert_eq!(world.cached("a"), None);
    world.step_clock(-3_600_000);
    world.find("a").await;
    assert_eq!(world.cached("a"), Some(Some(1)));
    world.step_clock(7_200_000);
    assert_eq!(world.cached("a"), None);
}

#[tokio::test]
async fn guarantee_2_no_more_than_60_seconds_can_be_set() {
    let cache = || CachedKeyStore::new(FaultStore::default());

    assert!(cache().with_ttl(60 * SECOND).is_ok());
    assert!(cache().with_ttl(60 * SECOND + Duration::from_nanos(1)).is_err());
    assert!(cache().with_ttl(Duration::ZERO).is_err());
    assert!(cache().with_negative_ttl(60 * SECOND).is_ok());
    assert!(cache().with_negative_ttl(61 * SECOND).is_err());
    assert!(cache().with_negative_ttl(Duration::ZERO).is_ok());
}

#[tokio::test(start_paused = true)]
async fn guarantee_3_a_record_is_not_kept_beyond_its_next_deadline() {
    let previous = |end| {
        let record = record("a", 1);
        let digest = record.digest().clone();
        record.with_previous_digest(Some((digest, at(end))))
    };
    let records: [fn(KeyRecord, i64) -> KeyRecord; 2] = [
        |record, end| record.with_expires_at(Some(at(end))),
        |record, end| record.with_not_before(Some(at(end))),
    ];
    let both = |end| records.iter().map(move |with| with(record("a", 1), end));

    for record in both(1_500).chain([previous(1_500)]) {
        let world = World::new();
        world.put(record);
        world.find("a").await;
        advance(1_499 * MILLISECOND).await;
        assert_eq!(world.cached("a"), Some(Some(1)));
        advance(MILLISECOND).await;
        assert_eq!(world.cached("a"), None);

        // The deadline is over: from here on it is a record like any other.
        world.find("a").await;
        advance(5 * SECOND - MILLISECOND).await;
        assert_eq!(world.cached("a"), Some(Some(1)));
        advance(MILLISECOND).await;
        assert_eq!(world.cached("a"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn guarantee_3_the_earliest_of_several_deadlines_counts() {
    let world = World::new();
    let digest = record("a", 1).digest().clone();
    world.put(
        record("a", 1)
            .with_not_before(Some(at(-1)))
            .with_previous_digest(Some((digest, at(2_000))))
            .with_expires_at(Some(at(3_000))),
    );
    for ready_until in [2_000, 3_000] {
        world.find("a").await;
        let left = ready_until - world.clock.now().unix_timestamp() * 1000;
        advance(Duration::from_millis(left as u64) - MILLISECOND).await;
        assert_eq!(world.cached("a"), Some(Some(1)));
        advance(MILLISECOND).await;
        assert_eq!(world.cached("a"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn guarantee_4_an_outage_extends_no_time_to_live() {
    let world = World::new();
    world.put(record("a", 1));
    world.find("a").await;
    world.find("none").await;
    world.store.set_reads(failing(Fault::Error));

    advance(SECOND - MILLISECOND).await;
    assert_eq!(world.cached("none"), Some(None));
    advance(MILLISECOND).await;
    assert_eq!(world.cached("none"), None);
    assert_eq!(world.fail("none").await, "disk on fire");

    advance(4 * SECOND).await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.fail("a").await, "disk on fire");
    assert_eq!(world.cached("a"), None);
}

#[tokio::test(start_paused = true)]
async fn guarantee_5_unknown_ids_push_no_record_out() {
    let mut world = World::new();
    world.cache = world.cache.with_max_entries(10).with_max_negative_entries(1000);
    for number in 0..5 {
        world.put(record(&format!("key{number}"), 1));
        world.find(&format!("key{number}")).await;
    }

    for number in 0..100_000 {
        assert_eq!(world.find(&format!("junk{number}")).await, None);
    }

    assert!(world.cache.stats().negative_entries <= 1000, "{:?}", world.cache.stats());
    assert_eq!(world.cache.stats().entries, 5);
    assert!(world.cache.0.lookups.is_empty());
    for number in 0..5 {
        assert_eq!(world.cached(&format!("key{number}")), Some(Some(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn guarantee_5_an_unknown_id_is_kept_for_its_own_time() {
    let mut world = World::new();
    world.cache = world.cache.with_negative_ttl(2 * SECOND).unwrap();
    world.find("a").await;
    // Another process makes the key.
    world.put(record("a", 1));

    advance(2 * SECOND - MILLISECOND).await;
    assert_eq!(world.cached("a"), Some(None));
    advance(MILLISECOND).await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, Some(1));
    assert_eq!(world.cached("a"), Some(Some(1)));
    // And takes it away.
    world.store.put(&id("a"), None);
    assert_eq!(world.find("a").await, None);
    assert_eq!(world.cached("a"), Some(None));

    world.cache = world.cache.with_negative_ttl(Duration::ZERO).unwrap();
    world.find("b").await;
    assert_eq!(world.cached("b"), None);

    // Once it is known to be there, an older answer does not come back.
    world.cache = world.cache.with_negative_ttl(60 * SECOND).unwrap();
    world.find("b").await;
    world.put(record("b", 1));
    world.find("b").await;
    advance(6 * SECOND).await;
    assert_eq!(world.cached("b"), None);
}

#[tokio::test(start_paused = true)]
async fn guarantee_6_errors_are_not_kept() {
    let world = World::new();
    world.put(record("a", 1));
    world.store.set_reads(failing(Fault::Error));
    for calls in 1..=3 {
        assert_eq!(world.fail("a").await, "disk on fire");
        assert_eq!(world.cached("a"), None);
        assert_eq!(world.store.finds(), calls);
    }
    world.store.set_reads(Script::default());
    assert_eq!(world.find("a").await, Some(1));
    assert_eq!(world.cache.stats().failed, 3);
}

#[tokio::test(start_paused = true)]
async fn guarantee_6_an_answer_with_another_record_is_an_error() {
    let world = World::new();
    world.put(record("a", 1));
    world.put(record("b", 1));
    world.store.set_reads(failing(Fault::Lie));

    assert_eq!(world.fail("a").await, "the key store answered with another record");
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.cached("b"), None);
}

#[tokio::test(start_paused = true)]
async fn guarantee_7_a_thousand_callers_ask_once() {
    let world = World::new();
    world.put(record("a", 1));
    world.store.set_reads(delayed(10 * MILLISECOND, 10 * MILLISECOND));

    let callers: Vec<_> = (0..1000).map(|_| world.spawn_find("a")).collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), Some(1));
    }

    assert_eq!(world.store.finds(), 1);
    assert_eq!((world.cache.stats().loads, world.cache.stats().coalesced), (1, 999));
    assert!(world.cache.0.lookups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn guarantee_7_a_load_survives_its_first_caller() {
    let world = World::new();
    world.put(record("a", 1));
    world.store.set_reads(delayed(10 * MILLISECOND, Duration::ZERO));

    let leader = world.spawn_find("a");
    settle().await;
    let followers: Vec<_> = (0..10).map(|_| world.spawn_find("a")).collect();
    settle().await;
    leader.abort();
    for follower in followers {
        assert_eq!(follower.await.unwrap().unwrap(), Some(1));
    }
    assert_eq!(world.store.finds(), 1);
}

#[tokio::test(start_paused = true)]
async fn guarantee_7_what_goes_wrong_is_an_error_for_all_who_wait() {
    let cases = [
        (Fault::Error, "disk on fire"),
        (Fault::Panic, "the look-up ended without an answer"),
        (Fault::Hang, "deadline has elapsed"),
    ];
    for (fault, expected) in cases {
        let world = World::new();
        world.put(record("a", 1));
        world.store.set_reads(Script { fault, before: 10 * MILLISECOND, ..Script::default() });

        let callers: Vec<_> = (0..10).map(|_| world.spawn_find("a")).collect();
        for caller in callers {
            let error = caller.await.unwrap().unwrap_err();
            assert_eq!(error.source().unwrap().to_string(), expected);
        }

        assert_eq!(world.store.finds(), 1, "{fault:?}");
        assert_eq!(world.cache.stats().failed, 1, "{fault:?}");
        assert!(world.cache.0.lookups.is_empty());
        world.store.set_reads(Script::default());
        assert_eq!(world.find("a").await, Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn guarantee_7_the_store_has_until_its_deadline() {
    let mut world = World::new();
    world.cache = world.cache.with_lookup_deadline(100 * MILLISECOND);
    world.put(record("a", 1));

    world.store.set_reads(delayed(99 * MILLISECOND, Duration::ZERO));
    assert_eq!(world.find("a").await, Some(1));
    world.store.set_reads(delayed(101 * MILLISECOND, Duration::ZERO));
    assert_eq!(world.fail("b").await, "deadline has elapsed");
}

#[test]
fn guarantee_7_a_runtime_that_ends_is_an_error_on_another() {
    let store = FaultStore::default();
    store.set_reads(failing(Fault::Hang));
    let cache = CachedKeyStore::new(store.clone());
    let (other, clone) = (tokio::runtime::Runtime::new().unwrap(), cache.clone());
    let (send, receive) = mpsc::channel();
    other.spawn(async move {
        let waiter = clone.0.look_up(&id("a"));
        send.send(()).unwrap();
        let _ = waiter.unwrap().answer().await;
    });
    receive.recv().unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let error = runtime.block_on(async {
        let follower = tokio::spawn(async move { cache.find(&id("a")).await });
        settle().await;
        other.shutdown_background();
        follower.await.unwrap().unwrap_err()
    });

    assert_eq!(error.source().unwrap().to_string(), "the look-up ended without an answer");
}

#[test]
fn guarantee_7_without_a_runtime_a_look_up_is_an_error() {
    let cache = CachedKeyStore::new(FaultStore::default());
    let id = id("a");
    let mut find = cache.find(&id);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());

    let polled = find.as_mut().poll(&mut context);

    assert!(matches!(polled, std::task::Poll::Ready(Err(_))));
    assert!(cache.0.lookups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn guarantee_8_records_are_bounded_in_number_and_in_bytes() {
    let world = World::new();
    let metadata = format!("\"{}\"", "a".repeat(10_000));
    for number in 0..3000 {
        let heavy = record(&format!("key{number}"), 1).with_metadata(Some(metadata.as_str()));
        world.put(heavy.unwrap());
        world.put(record(&format!("light{number}"), 1));
    }
    let few = world.cache.clone().with_max_entries(100);
    let small = world.cache.clone().with_max_bytes(1_000_000);
    let none = world.cache.clone().with_max_entries(0);

    for number in 0..3000 {
        for cache in [&few, &small, &none] {
            cache.find(&id(&format!("key{number}"))).await.unwrap();
        }
        few.find(&id(&format!("light{number}"))).await.unwrap();
    }

    assert!((50..=100).contains(&few.stats().entries), "{:?}", few.stats());
    assert!((50..=95).contains(&small.stats().entries), "{:?}", small.stats());
    assert!(small.stats().bytes <= 1_000_000);
    assert_eq!(none.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn guarantee_8_loads_under_way_are_bounded() {
    let mut world = World::new();
    world.cache = world.cache.with_max_lookups(3);
    world.store.set_reads(failing(Fault::Hang));

    let stuck: Vec<_> = ["a", "b", "c"].map(|text| world.spawn_find(text)).into();
    settle().await;
    advance(SECOND).await;
    let fourth = world.spawn_find("d");
    // To join a load is no further load.
    let joined = world.spawn_find("a");
    settle().await;
    assert_eq!((world.store.finds(), fourth.is_finished()), (3, false));

    // At the deadline of the first ones it is the turn of the other one.
    world.store.set_reads(Script::default());
    for caller in stuck.into_iter().chain([joined]) {
        assert!(caller.await.unwrap().is_err());
    }
    assert_eq!(fourth.await.unwrap().unwrap(), None);
    assert_eq!((world.store.finds(), world.cache.stats().refused), (4, 0));
    assert!(world.cache.0.lookups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn guarantee_8_a_load_waits_for_a_permit_until_the_deadline() {
    let mut world = World::new();
    world.cache = world.cache.with_max_lookups(1);
    world.store.set_reads(failing(Fault::Hang));
    let first = world.spawn_find("a");
    settle().await;

    // Three in line: two of them have a turn one after the other, the last one has none.
    let [second, third, fourth] = ["b", "c", "d"].map(|text| world.spawn_find(text));
    settle().await;
    let started = Instant::now();
    for late in [first, second, third, fourth] {
        assert!(late.await.unwrap().is_err());
    }
    assert!(started.elapsed() <= 4 * SECOND + MILLISECOND, "{:?}", started.elapsed());
    let stats = world.cache.stats();
    assert_eq!((stats.loads + stats.refused, stats.loads), (4, world.store.finds() as u64));
    assert!(stats.refused >= 2, "{stats:?}");
    assert!(world.cache.0.lookups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn guarantee_8_loads_that_are_not_joined_any_more_count() {
    let mut world = World::new();
    world.cache = world.cache.with_max_lookups(3);
    world.put(record("a", 1));
    world.store.set_reads(failing(Fault::Hang));
    let mut stuck = Vec::new();
    for _ in 0..3 {
        stuck.push(world.spawn_find("a"));
        settle().await;
        world.cache.invalidate(&id("a"));
    }

    let last = world.spawn_find("a");
    settle().await;
    assert_eq!((world.store.finds(), last.is_finished()), (3, false));
    for caller in stuck {
        caller.abort();
    }
    settle().await;
    assert_eq!(world.store.finds(), 4);
}

#[tokio::test(start_paused = true)]
async fn guarantee_7_a_load_ends_when_its_last_caller_has_left() {
    let world = World::new();
    world.put(record("a", 1));
    world.store.set_reads(delayed(80 * MILLISECOND, Duration::ZERO));
    let callers: Vec<_> = (0..3).map(|_| world.spawn_find("a")).collect();
    settle().await;
    for caller in &callers[..2] {
        caller.abort();
    }
    settle().await;
    assert_eq!((world.cache.stats().abandoned, world.store.running()), (0, 1));
    callers[2].abort();
    settle().await;
    assert_eq!((world.cache.stats().abandoned, world.store.running()), (1, 0));
    assert_eq!(world.cache.stats().failed, 0);
    assert!(world.cache.0.lookups.is_empty());

    // Who comes later asks again.
    assert_eq!(world.find("a").await, Some(1));
    assert_eq!(world.store.finds(), 2);
}

#[tokio::test(start_paused = true)]
async fn guarantee_8_changes_under_way_are_bounded() {
    let world = World::new();
    world.store.set_writes(failing(Fault::Hang));
    for version in 0..1024 {
        let cache = world.cache.clone();
        tokio::spawn(async move { cache.replace(record("a", version), 1).await });
    }
    settle().await;

    let error = world.cache.insert(record("b", 1)).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "too many calls are under way");
    assert_eq!(world.find("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn guarantee_9_a_load_overtaken_by_a_revocation_is_discarded() {
    let world = World::new();
    world.put(record("a", 1));
    world.store.set_reads(delayed(Duration::ZERO, 100 * MILLISECOND));
    let early = world.spawn_find("a");
    settle().await;

    let revoked = record("a", 2).with_revoked_at(Some(at(0)));
    assert_eq!(world.cache.replace(revoked, 1).await.unwrap(), WriteOutcome::Applied);
    // A load of its own, although the other one is still under way.
    assert_eq!(world.find("a").await, Some(2));
    assert_eq!(world.store.finds(), 2);

    // A caller from before the change may get the record from before it.
    assert_eq!(early.await.unwrap().unwrap(), Some(1));
    settle().await;
    assert_eq!(world.cached("a"), Some(Some(2)));
    assert_eq!(world.cache.stats().discarded, 1);
    assert!(world.cache.0.lookups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn guarantee_9_it_holds_for_none_and_for_everything() {
    let world = World::new();
    world.store.set_reads(delayed(Duration::ZERO, 100 * MILLISECOND));
    let early = world.spawn_find("a");
    settle().await;
    let _ = world.cache.insert(record("a", 1)).await.unwrap();
    assert_eq!(early.await.unwrap().unwrap(), None);
    assert_eq!(world.cached("a"), None);

    let early = world.spawn_find("a");
    settle().await;
    world.cache.invalidate_all();
    assert_eq!(early.await.unwrap().unwrap(), Some(1));
    assert_eq!(world.cached("a"), None);

    assert_eq!(world.find("a").await, Some(1));
    assert_eq!(world.cached("a"), Some(Some(1)));
    world.cache.invalidate_all();
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.cache.stats().invalidate_all, 2);
}

#[tokio::test(start_paused = true)]
async fn guarantee_10_an_older_version_is_an_error() {
    let world = World::new();
    world.put(record("a", 5).with_revoked_at(Some(at(0))));
    world.find("a").await;
    // A replica that lags behind.
    world.put(record("a", 4));

    let expected = "the key store answered with an older record than before";
    assert_eq!(world.fail("a").await, expected);
    assert_eq!(world.cached("a"), Some(Some(5)));
    advance(6 * SECOND).await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.fail("a").await, expected);
    assert_eq!(world.cached("a"), None);

    // An invalidation resets the comparison.
    world.cache.invalidate(&id("a"));
    assert_eq!(world.find("a").await, Some(4));
    assert_eq!(world.cached("a"), Some(Some(4)));

    // It may have been deleted and imported again: in the end the store is right.
    world.put(record("a", 1));
    advance(10 * SECOND - MILLISECOND).await;
    assert_eq!(world.fail("a").await, expected);
    advance(MILLISECOND).await;
    assert_eq!(world.find("a").await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn guarantee_11_what_a_subscription_tells_is_forgotten() {
    let world = World::new();
    let channel = InvalidationChannel::new();
    let following = tokio::spawn(world.cache.follow(channel.subscribe()));
    for text in ["a", "b", "c"] {
        world.put(record(text, 1));
        world.find(text).await;
    }

    channel.send(Invalidation::Key(id("a")));
    settle().await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.cached("b"), Some(Some(1)));

    channel.send(Invalidation::All);
    settle().await;
    assert_eq!(world.cached("b"), None);
    assert_eq!(world.cached("c"), None);

    drop(channel);
    following.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn guarantee_11_a_lagging_subscription_clears_the_cache() {
    let world = World::new();
    let channel = InvalidationChannel::new();
    world.put(record("a", 1));
    tokio::spawn(world.cache.follow(channel.subscribe()));
    settle().await;
    world.find("a").await;

    for number in 0..1100 {
        channel.send(Invalidation::Key(id(&format!("other{number}"))));
    }
    settle().await;

    assert_eq!(world.cached("a"), None);
    assert_eq!(world.cache.stats().invalidate_all, 1);
}

/// A subscription that does what a list says, and then waits.
struct Scripted(Vec<Result<Option<Invalidation>, StoreError>>, Vec<Duration>);

#[async_trait]
impl InvalidationStream for Scripted {
    async fn next(&mut self) -> Result<Option<Invalidation>, StoreError> {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        pause(self.1.pop()).await;
        self.0.remove(0)
    }
}

async fn pause(duration: Option<Duration>) {
    if let Some(duration) = duration {
        tokio::time::sleep(duration).await;
    }
}

#[tokio::test(start_paused = true)]
async fn guarantee_11_a_lost_connection_and_its_return_forget_all() {
    let world = World::new();
    world.put(record("a", 1));
    world.find("a").await;
    let lost = || Err(StoreError::new("connection lost"));
    let back = Ok(Some(Invalidation::Key(id("other"))));
    let script = Scripted(vec![lost(), lost(), back], vec![]);
    let started = Instant::now();
    let following = tokio::spawn(world.cache.follow(script));

    settle().await;
    assert_eq!(world.cached("a"), None);
    // In the meantime the cache goes on, within the time that it always has.
    assert_eq!(world.find("a").await, Some(1));
    assert_eq!(world.cached("a"), Some(Some(1)));

    advance(100 * MILLISECOND).await;
    settle().await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(world.find("a").await, Some(1));
    advance(199 * MILLISECOND).await;
    settle().await;
    assert_eq!(world.cached("a"), Some(Some(1)));
    advance(MILLISECOND).await;
    settle().await;
    assert_eq!(world.cached("a"), None);
    assert_eq!(started.elapsed(), 300 * MILLISECOND);
    assert_eq!(
        (world.cache.stats().subscription_errors, world.cache.stats().invalidate_all),
        (2, 3)
    );
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn guarantee_11_the_end_of_a_subscription_forgets_everything() {
    let world = World::new();
    world.put(record("a", 1));

    world.find("a").await;
    world.cache.follow(Scripted(vec![Ok(None)], vec![])).await;
    assert_eq!(world.cached("a"), None);

    world.find("a").await;
    let following = tokio::spawn(world.cache.follow(Scripted(vec![], vec![])));
    settle().await;
    assert_eq!(world.cached("a"), Some(Some(1)));
    following.abort();
    settle().await;
    assert_eq!(world.cached("a"), None);
}

#[tokio::test(start_paused = true)]
async fn guarantee_11_the_task_alone_does_not_keep_the_cache() {
    let world = World::new();
    let channel = InvalidationChannel::new();
    let following = tokio::spawn(world.cache.follow(channel.subscribe()));
    settle().await;
    let inner = Arc::downgrade(&world.cache.0);
    drop(world);

    assert!(inner.upgrade().is_none());
    channel.send(Invalidation::All);
    following.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn guarantee_11_changes_through_one_cache_reach_another() {
    let world = World::new();
    let channel = InvalidationChannel::new();
    let admin = CachedKeyStore::new(world.store.clone()).with_invalidation_channel(&channel);
    tokio::spawn(world.cache.follow(channel.subscribe()));
    world.put(record("a", 1));
    world.find("a").await;
    world.find("b").await;

    let _ = admin.replace(record("a", 2), 1).await.unwrap();
    let _ = admin.insert(record("b", 1)).await.unwrap();
    settle().await;

    assert_eq!(world.cached("a"), None);
    assert_eq!(world.cached("b"), None);
}

#[tokio::test(start_paused = true)]
async fn guarantee_12_management_does_not_read_the_cache() {
    let world = World::new();
    let keys = KeyManager::new(world.cache.clone()).with_clock(world.clock.clone());
    let elsewhere = KeyManager::new(world.store.clone()).with_clock(world.clock.clone());
    let issued = keys.generate(&ann(), NewKey::new("laptop")).await.unwrap();
    let key = issued.record().id();
    keys.disable(&ann(), key).await.unwrap();
    keys.get(&ann(), key).await.unwrap();
    // The cache has a record that is disabled. Another process enables it.
    elsewhere.enable(&ann(), key).await.unwrap();

    keys.disable(&ann(), key).await.unwrap();

    assert!(world.store.now(key).unwrap().disabled());
    elsewhere.delete(&ann(), std::slice::from_ref(key)).await.unwrap();
    let update = keys.update(&ann(), key, KeyUpdate::new()).await;
    assert_eq!(update.unwrap_err().kind(), ManageErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn guarantee_13_hits_visit_one_record_without_a_load() {
    let world = World::new();
    world.put(record("a", 1));
    world.find("a").await;
    let address = || {
        let mut address = 0;
        let answered = world.cache.try_find_now(&id("a"), &mut |record| {
            address = std::ptr::from_ref(record.unwrap()).addr();
        });
        assert!(answered);
        address
    };

    let first = address();
    for _ in 0..1000 {
        assert_eq!(address(), first);
    }

    assert_eq!(world.store.finds(), 1);
    let stats = world.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.loads), (1001, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cached_record_is_checked_at_the_time_of_the_request() {
    let world = World::new();
    let manager = KeyManager::new(world.cache.clone()).with_clock(world.clock.clone());
    let verifier = manager.verifier();
    let new = NewKey::new("laptop").with_expires_in(time::Duration::milliseconds(2500));
    let issued = manager.generate(&ann(), new).await.unwrap();
    let secret = issued.secret().expose_secret().as_bytes();
    let kind = |verdict: Result<_, crate::key::VerifyError>| verdict.err().map(|it| it.kind());

    for _ in 0..3 {
        assert_eq!(kind(verifier.verify(secret).await), None);
        advance(800 * MILLISECOND).await;
    }
    advance(100 * MILLISECOND).await;
    assert_eq!(kind(verifier.verify(secret).await), Some(VerifyErrorKind::Expired));

    manager.extend(&ann(), issued.record().id(), time::Duration::HOUR).await.unwrap();
    assert_eq!(kind(verifier.verify(secret).await), None);
    manager.revoke(&ann(), issued.record().id()).await.unwrap();
    assert_eq!(kind(verifier.verify(secret).await), Some(VerifyErrorKind::Revoked));
    assert_eq!(kind(verifier.verify(secret).await), Some(VerifyErrorKind::Revoked));

    world.store.set_reads(failing(Fault::Error));
    advance(5 * SECOND).await;
    assert_eq!(kind(verifier.verify(secret).await), Some(VerifyErrorKind::StoreUnavailable));
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_gives_up_ends_its_load() {
    let world = World::new();
    let keys = KeyManager::new(world.cache.clone());
    let verifier = KeyVerifier::new(world.cache.clone()).with_store_deadline(50 * MILLISECOND);
    let issued = keys.generate(&ann(), NewKey::new("laptop")).await.unwrap();
    let secret = issued.secret().expose_secret().as_bytes();
    world.store.set_reads(delayed(80 * MILLISECOND, Duration::ZERO));

    let refused = verifier.verify(secret).await.unwrap_err();
    assert_eq!(refused.kind(), VerifyErrorKind::StoreUnavailable);
    settle().await;
    assert_eq!((world.store.finds(), world.store.running()), (1, 0));
    assert!(world.cache.0.lookups.is_empty());

    world.store.set_reads(Script::default());
    assert!(verifier.verify(secret).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guarantee_1_no_thread_sees_a_record_from_before_a_change() {
    let store = FaultStore::default();
    let cache = CachedKeyStore::new(store.clone());
    store.put(&id("a"), Some(record("a", 1)));
    /// The version that every look-up has to see at least.
    static FLOOR: Mutex<u64> = Mutex::new(1);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                loop {
                    let floor = *FLOOR.lock().unwrap();
                    let mut seen = None;
                    if !cache.try_find_now(&id("a"), &mut |it| seen = it.map(KeyRecord::version)) {
                        seen = cache.find(&id("a")).await.unwrap().map(|it| it.version());
                    }
                    assert!(seen.unwrap() >= floor, "{seen:?} {floor}");
                    if floor == 2000 {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for version in 2..=2000 {
        let written = cache.replace(record("a", version), version - 1).await.unwrap();
        assert_eq!(written, WriteOutcome::Applied);
        *FLOOR.lock().unwrap() = version;
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_cache_keeps_the_contract_of_key_stores() {
    crate::store::conformance::check(async || CachedKeyStore::new(MemoryKeyStore::new())).await;
    let small = async || {
        CachedKeyStore::new(MemoryKeyStore::new()).with_max_entries(2).with_max_negative_entries(2)
    };
    crate::store::conformance::check(small).await;
    let cache = async || CachedKeyStore::new(CachedKeyStore::new(MemoryKeyStore::new()));
    crate::store::conformance::check(cache).await;
}

#[test]
fn debug_shows_settings_and_no_records() {
    let cache = CachedKeyStore::new(FaultStore::default());

    assert!(format!("{cache:?}").starts_with("CachedKeyStore { ttl: 5s"));
}
