//! Random histories of look-ups, changes, faults and clocks. What the cache answers has to be something
//! that the store held, late enough.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use proptest::prelude::*;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

use super::*;
use crate::key::{KeyHasher, ParsedKey};
use crate::store::fault_store::{Fault, FaultStore, Script};

const TTL: Duration = Duration::from_secs(5);
const NEGATIVE_TTL: Duration = Duration::from_secs(1);
const LOOKUP_DEADLINE: Duration = Duration::from_secs(2);
const IDS: u8 = 3;

#[derive(Clone, Copy, Debug)]
enum Change {
    Insert,
    Replace,
    Remove,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Find(u8),
    /// A change through the cache, of a record with a deadline so many milliseconds away.
    Local(Change, u8, Option<i64>),
    /// A change past the cache.
    Foreign(Change, u8, Option<i64>),
    /// Drops what was started so many steps ago.
    Abort(usize),
    Reads(Fault, u64, u64),
    Writes(Fault, u64, u64),
    Wait(u64),
    TurnClock(i64),
    Invalidate(u8),
    InvalidateAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || 0..IDS;
    let change = || prop_oneof![Just(Change::Insert), Just(Change::Replace), Just(Change::Remove)];
    let deadline = || prop::option::weighted(0.3, 0..6_000_i64);
    let fault = || {
        prop_oneof![
            8 => Just(Fault::None),
            1 => Just(Fault::Error),
            1 => Just(Fault::Hang),
            1 => Just(Fault::Panic),
            2 => Just(Fault::Lie),
        ]
    };
    let delay = || prop_oneof![2 => Just(0), 1 => 0..900_u64];
    let step = prop_oneof![
        8 => id().prop_map(Step::Find),
        4 => (change(), id(), deadline()).prop_map(|(change, id, end)| Step::Local(change, id, end)),
        4 => (change(), id(), deadline()).prop_map(|(change, id, end)| Step::Foreign(change, id, end)),
        1 => (1..5_usize).prop_map(Step::Abort),
        2 => (fault(), delay(), delay()).prop_map(|(fault, a, b)| Step::Reads(fault, a, b)),
        2 => (fault(), delay(), delay()).prop_map(|(fault, a, b)| Step::Writes(fault, a, b)),
        6 => prop_oneof![0..50_u64, 0..1_200_u64, 0..6_000_u64].prop_map(Step::Wait),
        1 => (-7_000..7_000_i64).prop_map(Step::TurnClock),
        1 => id().prop_map(Step::Invalidate),
        1 => Just(Step::InvalidateAll),
    ];
    prop::collection::vec(step, 1..80)
}

fn at(millisecond: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(millisecond)
}

fn id(number: u8) -> KeyId {
    KeyId::new(format!("key{number}")).unwrap()
}

fn owner() -> Owner {
    Owner::new("ann").unwrap()
}

/// What the store held for a while.
#[derive(Debug)]
struct Held {
    version: Option<u64>,
    until: Option<Instant>,
    /// The latest that the clock showed in the meantime.
    latest: OffsetDateTime,
}

struct World {
    store: FaultStore,
    cache: CachedKeyStore<FaultStore>,
    clock: Clock,
    skew: Arc<AtomicI64>,
    held: Mutex<HashMap<KeyId, Vec<Held>>>,
    /// For each id, the first thing held that may still be answered.
    floors: Mutex<HashMap<KeyId, usize>>,
    versions: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        let skew = Arc::new(AtomicI64::new(0));
        let (start, step) = (Instant::now(), Arc::clone(&skew));
        let clock = Clock::from_fn(move || {
            let elapsed = time::Duration::try_from(start.elapsed()).unwrap();
            at(1_000_000 + step.load(Ordering::SeqCst)) + elapsed
        });
        let store = FaultStore::default();
        let cache = CachedKeyStore::new(store.clone())
            .with_ttl(TTL)
            .and_then(|cache| cache.with_negative_ttl(NEGATIVE_TTL))
            .unwrap()
            .with_lookup_deadline(LOOKUP_DEADLINE)
            .with_clock(clock.clone());
        let nothing =
            |number| (id(number), vec![Held { version: None, until: None, latest: clock.now() }]);
        let world = Arc::new(Self {
            held: Mutex::new((0..IDS).map(nothing).collect()),
            floors: Mutex::new((0..IDS).map(|number| (id(number), 0)).collect()),
            versions: AtomicU64::new(1),
            store,
            cache,
            clock,
            skew,
        });
        let weak = Arc::downgrade(&world);
        world.store.on_change(move |id, record| {
            let world = weak.upgrade().unwrap();
            world.look_at_clock();
            let mut held = world.held();
            let held = held.get_mut(id).unwrap();
            held.last_mut().unwrap().until = Some(Instant::now());
            let version = record.map(KeyRecord::version);
            held.push(Held { version, until: None, latest: world.clock.now() });
        });
        world
    }

    fn held(&self) -> MutexGuard<'_, HashMap<KeyId, Vec<Held>>> {
        self.held.lock().unwrap()
    }

    fn look_at_clock(&self) {
        let now = self.clock.now();
        for held in self.held().values_mut() {
            let held = held.last_mut().unwrap();
            held.latest = held.latest.max(now);
        }
    }

    fn floor(&self, id: &KeyId) -> usize {
        self.floors.lock().unwrap()[id]
    }

    /// From now on, only what is held now or later may be answered.
    fn raise_floor(&self, id: &KeyId) {
        let now = self.held()[id].len() - 1;
        self.floors.lock().unwrap().insert(id.clone(), now);
    }

    /// Panics unless the answer was held at or after `floor`, at or after `since`, and at or after each
    /// deadline of the record that is over.
    fn check(&self, id: &KeyId, answer: Option<&KeyRecord>, floor: usize, since: Option<Instant>) {
        self.look_at_clock();
        let now = self.clock.now();
        let version = answer.map(KeyRecord::version);
        let over = answer.and_then(KeyRecord::expires_at).filter(|deadline| *deadline <= now);
        let held = self.held();
        let is_good = |held: &Held| {
            held.version == version
                && held.until.is_none_or(|until| since.is_none_or(|since| until >= since))
                && over.is_none_or(|deadline| held.latest >= deadline)
        };
        let good = held[id].iter().skip(floor).any(is_good);
        assert!(good, "{id} {version:?} from {floor} since {since:?} of {:#?}", held[id]);
    }

    fn check_cache(&self) {
        for number in 0..IDS {
            let id = id(number);
            let _ = self.cache.try_find_now(&id, &mut |record| {
                let ttl = if record.is_some() { TTL } else { NEGATIVE_TTL };
                self.check(&id, record, self.floor(&id), Instant::now().checked_sub(ttl));
            });
        }
    }

    fn record(&self, id: &KeyId, deadline: Option<i64>) -> KeyRecord {
        let digest = KeyHasher::sha256().digest(&ParsedKey::new(id.clone(), "secret"));
        let deadline = deadline.map(|after| self.clock.now() + time::Duration::milliseconds(after));
        KeyRecord::new(id.clone(), owner(), "laptop", digest, at(0))
            .unwrap()
            .with_expires_at(deadline)
            .with_version(self.versions.fetch_add(1, Ordering::SeqCst))
    }

    fn foreign(&self, change: Change, id: &KeyId, deadline: Option<i64>) {
        match (change, self.store.now(id)) {
            (Change::Insert, None) | (Change::Replace, Some(_)) => {
                self.store.put(id, Some(self.record(id, deadline)));
            }
            (Change::Remove, Some(_)) => self.store.put(id, None),
            _ => {}
        }
    }

    async fn local(self: Arc<Self>, change: Change, id: KeyId, deadline: Option<i64>) {
        let record = self.record(&id, deadline);
        let _ = match change {
            Change::Insert => self.cache.insert(record).await,
            Change::Replace => {
                let expected = self.store.now(&id).map_or(0, |record| record.version());
                self.cache.replace(record, expected).await
            }
            Change::Remove => self.cache.remove(&owner(), std::slice::from_ref(&id)).await,
        };
        // Not reached by a call that was dropped: its change is made a little later.
        self.raise_floor(&id);
    }

    async fn find(self: Arc<Self>, id: KeyId) {
        let floor = self.floor(&id);
        // A load that is joined may be as old as its deadline.
        let since = Instant::now().checked_sub(LOOKUP_DEADLINE);
        if let Ok(answer) = self.cache.find(&id).await {
            self.check_found(&id, answer.as_ref(), floor, since);
        }
    }

    /// The clock says nothing here: only the cache has rules about it.
    fn check_found(
        &self,
        id: &KeyId,
        answer: Option<&KeyRecord>,
        floor: usize,
        since: Option<Instant>,
    ) {
        let answer = answer.cloned().map(|record| record.with_expires_at(None));
        self.check(id, answer.as_ref(), floor, since);
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn script(fault: Fault, before: u64, after: u64) -> Script {
    Script { fault, before: Duration::from_millis(before), after: Duration::from_millis(after) }
}

async fn finish(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        assert!(error.is_cancelled(), "{error}");
    }
}

async fn run(steps: Vec<Step>) {
    let world = World::new();
    let mut tasks: Vec<(JoinHandle<()>, bool)> = Vec::new();
    for step in steps {
        match step {
            Step::Find(number) => {
                tasks.push((tokio::spawn(Arc::clone(&world).find(id(number))), true));
            }
            Step::Local(change, number, deadline) => {
                let local = Arc::clone(&world).local(change, id(number), deadline);
                tasks.push((tokio::spawn(local), false));
            }
            Step::Foreign(change, number, deadline) => {
                world.foreign(change, &id(number), deadline);
            }
            Step::Abort(back) => {
                if let Some((task, _)) = tasks.iter().rev().nth(back) {
                    task.abort();
                }
            }
            Step::Reads(fault, before, after) => {
                world.store.set_reads(script(fault, before, after));
            }
            Step::Writes(fault, before, after) => {
                world.store.set_writes(script(fault, before, after));
            }
            Step::Wait(milliseconds) => advance(Duration::from_millis(milliseconds)).await,
            Step::TurnClock(milliseconds) => {
                world.look_at_clock();
                world.skew.fetch_add(milliseconds, Ordering::SeqCst);
            }
            Step::Invalidate(number) => {
                world.cache.invalidate(&id(number));
                world.raise_floor(&id(number));
            }
            Step::InvalidateAll => {
                world.cache.invalidate_all();
                (0..IDS).for_each(|number| world.raise_floor(&id(number)));
            }
        }
        settle().await;
        world.check_cache();
    }

    // Once the store works again, so does the cache.
    world.store.set_reads(Script::default());
    world.store.set_writes(Script::default());
    for (task, is_find) in tasks {
        if !is_find {
            task.abort();
        }
        finish(task).await;
    }
    tokio::time::sleep(LOOKUP_DEADLINE).await;
    for number in 0..IDS {
        let id = id(number);
        let expected = world.store.now(&id).map(|record| record.version());
        let found = world.cache.find(&id).await.unwrap().map(|record| record.version());
        assert_eq!(found, expected);
        let mut cached = None;
        let answered = world.cache.try_find_now(&id, &mut |it| cached = it.map(KeyRecord::version));
        assert!(answered && cached == expected);
    }
    assert!(world.cache.0.lookups.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn guarantees_1_to_9_hold_in_any_history(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps));
    }
}
