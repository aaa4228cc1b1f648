use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::key::fixtures::{ann, at};
use crate::key::{
    KeyState, KeyUpdate, OpaqueFormat, ParsedKey, Scopes, VerifyErrorKind, random_base62,
};
use crate::rate_limit::Quota;
use crate::store::MemoryKeyStore;
use crate::store::fault_store::{Fault, FaultStore};

/// A clock that tests turn.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn turn_to(&self, second: i64) {
        self.0.store(second, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let second = Arc::clone(&self.0);
        Clock::from_fn(move || at(second.load(Ordering::SeqCst)))
    }
}

fn seconds(count: i64) -> Duration {
    Duration::seconds(count)
}

fn bob() -> Owner {
    Owner::new("bob").unwrap()
}

fn manager(store: impl KeyStore) -> (KeyManager, Hand) {
    let hand = Hand::default();
    (KeyManager::new(store).with_clock(hand.clock()), hand)
}

async fn opens(keys: &KeyManager, secret: &Secret) -> Option<VerifyErrorKind> {
    let verified = keys.verifier().verify(secret.expose_secret().as_bytes()).await;
    verified.map_err(|error| error.kind()).err()
}

fn kind<T: fmt::Debug>(result: Result<T, ManageError>) -> ManageErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn a_new_key_grants_nothing_unless_it_is_written() {
    let (keys, _) = manager(MemoryKeyStore::new());
    let verifier = keys.verifier();
    let deploy = Scopes::parse(["deploy"]).unwrap();
    for (new, expected) in [
        (NewKey::new("a"), Scopes::NONE),
        (NewKey::new("b").with_scopes(deploy.clone()), deploy),
        (NewKey::new("c").with_all_scopes(), Scopes::ALL),
    ] {
        let issued = keys.generate(&ann(), new).await.unwrap();
        let verified = verifier.verify(issued.secret().expose_secret().as_bytes()).await.unwrap();
        assert_eq!(*verified.scopes(), expected);
        assert_eq!(*verified.owner(), ann());
    }
}

#[tokio::test]
async fn the_life_of_a_key() {
    let (keys, hand) = manager(MemoryKeyStore::new());
    let new = NewKey::new("laptop")
        .with_not_before(at(10))
        .with_expires_in(seconds(20))
        .with_metadata("{}");
    let (record, secret) = keys.generate(&ann(), new).await.unwrap().into_parts();
    let id = record.id().clone();
    assert_eq!(record.created_at(), at(0));
    assert_eq!(record.metadata(), Some("{}"));

    assert_eq!(opens(&keys, &secret).await, Some(VerifyErrorKind::NotYetValid));
    hand.turn_to(10);
    assert_eq!(opens(&keys, &secret).await, None);
    hand.turn_to(20);
    assert_eq!(opens(&keys, &secret).await, Some(VerifyErrorKind::Expired));
    // From now, since the key has expired.
    hand.turn_to(30);
    let record = keys.extend(&ann(), &id, seconds(5)).await.unwrap();
    assert_eq!(record.expires_at(), Some(at(35)));
    assert_eq!(opens(&keys, &secret).await, None);
    // From the expiry, since it has not.
    let record = keys.extend(&ann(), &id, seconds(5)).await.unwrap();
    assert_eq!(record.expires_at(), Some(at(40)));

    assert!(keys.disable(&ann(), &id).await.unwrap().disabled());
    assert_eq!(opens(&keys, &secret).await, Some(VerifyErrorKind::Disabled));
    let version = keys.disable(&ann(), &id).await.unwrap().version();
    assert_eq!(keys.get(&ann(), &id).await.unwrap().version(), version);
    assert!(!keys.enable(&ann(), &id).await.unwrap().disabled());
    assert_eq!(opens(&keys, &secret).await, None);

    let update =
        KeyUpdate::new().with_name("desktop").with_scopes(Scopes::ALL).with_metadata(None::<&str>);
    let record = keys.update(&ann(), &id, update).await.unwrap();
    assert_eq!((record.name(), record.metadata()), ("desktop", None));
    assert!(record.scopes().is_all());
    let unchanged = keys.update(&ann(), &id, KeyUpdate::new()).await.unwrap();
    assert_eq!(unchanged.version(), record.version());

    let revoked = keys.revoke(&ann(), &id).await.unwrap();
    assert_eq!(revoked.revoked_at(), Some(at(30)));
    assert_eq!(opens(&keys, &secret).await, Some(VerifyErrorKind::Revoked));
    keys.delete(&ann(), std::slice::from_ref(&id)).await.unwrap();
    assert_eq!(opens(&keys, &secret).await, Some(VerifyErrorKind::Unknown));
    assert_eq!(kind(keys.get(&ann(), &id).await), ManageErrorKind::NotFound);
}

#[tokio::test]
async fn revocation_is_final() {
    let (keys, hand) = manager(MemoryKeyStore::new());
    let new = NewKey::new("a").with_expires_in(seconds(10));
    let (record, secret) = keys.generate(&ann(), new).await.unwrap().into_parts();
    let (ann, id) = (ann(), record.id());
    keys.revoke(&ann, id).await.unwrap();
    let stored = keys.get(&ann, id).await.unwrap().encode();
    hand.turn_to(5);

    assert_eq!(kind(keys.extend(&ann, id, seconds(1)).await), ManageErrorKind::Revoked);
    assert_eq!(kind(keys.rotate(&ann, id, seconds(1)).await), ManageErrorKind::Revoked);
    assert_eq!(kind(keys.enable(&ann, id).await), ManageErrorKind::Revoked);
    assert_eq!(kind(keys.disable(&ann, id).await), ManageErrorKind::Revoked);
    let update = KeyUpdate::new().with_name("b");
    assert_eq!(kind(keys.update(&ann, id, update).await), ManageErrorKind::Revoked);
    assert_eq!(keys.revoke(&ann, id).await.unwrap().revoked_at(), Some(at(0)));
    let again = keys.import(&ann, secret.clone(), NewKey::new("a")).await;
    assert_eq!(kind(again), ManageErrorKind::Conflict);

    assert_eq!(keys.get(&ann, id).await.unwrap().encode(), stored);
    assert_eq!(opens(&keys, &secret).await, Some(VerifyErrorKind::Revoked));
}

#[tokio::test]
async fn a_revocation_wins_every_race() {
    for operation in 0..4 {
        let store = FaultStore::ready();
        let (keys, _) = manager(store.clone());
        let new = NewKey::new("a").with_expires_in(seconds(10));
        let (record, secret) = keys.generate(&ann(), new).await.unwrap().into_parts();
        let id = record.id().clone();
        // Another process revokes between the read and the write.
        let revoked = record.clone().with_revoked_at(Some(at(0)));
        let revoked = revoked.with_version(record.version() + 1);
        let mut once = Some(revoked);
        store.before_replace(move |memory| {
            if let Some(revoked) = once.take() {
                memory.put_now(&revoked.id().clone(), Some(revoked));
            }
        });

        let changed = match operation {
            0 => keys.extend(&ann(), &id, seconds(1)).await.map(drop),
            1 => keys.rotate(&ann(), &id, seconds(1)).await.map(drop),
            2 => keys.disable(&ann(), &id).await.map(drop),
            _ => keys.update(&ann(), &id, KeyUpdate::new().with_name("b")).await.map(drop),
        };

        assert_eq!(kind(changed), ManageErrorKind::Revoked, "{operation}");
        assert_eq!(opens(&keys, &secret).await, Some(VerifyErrorKind::Revoked));
    }
}

#[tokio::test]
async fn another_owner_finds_nothing_and_changes_nothing() {
    let store = Arc::new(MemoryKeyStore::new());
    let (keys, _) = manager(Arc::clone(&store));
    let new = NewKey::new("a").with_expires_in(seconds(10));
    let (record, _) = keys.generate(&ann(), new).await.unwrap().into_parts();
    let own = keys.generate(&bob(), NewKey::new("a")).await.unwrap();
    let (bob, id) = (bob(), record.id());
    let missing = KeyId::new("missing").unwrap();

    for id in [id, &missing] {
        let not_found = ManageErrorKind::NotFound;
        assert_eq!(kind(keys.get(&bob, id).await), not_found);
        assert_eq!(kind(keys.extend(&bob, id, seconds(1)).await), not_found);
        assert_eq!(kind(keys.rotate(&bob, id, seconds(1)).await), not_found);
        assert_eq!(kind(keys.disable(&bob, id).await), not_found);
        assert_eq!(kind(keys.enable(&bob, id).await), not_found);
        assert_eq!(kind(keys.revoke(&bob, id).await), not_found);
        let update = KeyUpdate::new().with_name("b");
        assert_eq!(kind(keys.update(&bob, id, update).await), not_found);
        assert_eq!(kind(keys.delete(&bob, std::slice::from_ref(id)).await), not_found);
        let both = [own.record().id().clone(), id.clone()];
        assert_eq!(kind(keys.delete(&bob, &both).await), not_found);
    }
    let listed = keys.list(&bob, None, 10).await.unwrap().into_keys();
    assert!(listed.iter().all(|record| record.owner() == &bob) && listed.len() == 1);
    assert_eq!(keys.get(&ann(), id).await.unwrap().encode(), record.encode());
    assert_eq!(store.len(), 2);
}

#[tokio::test]
async fn deletion_is_all_or_nothing() {
    let store = Arc::new(MemoryKeyStore::new());
    let (keys, _) = manager(Arc::clone(&store));
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let issued = keys.generate(&ann(), NewKey::new(name)).await.unwrap();
        ids.push(issued.record().id().clone());
    }
    let missing = [&ids[..], &[KeyId::new("missing").unwrap()]].concat();

    assert_eq!(kind(keys.delete(&ann(), &[]).await), ManageErrorKind::Invalid);
    assert_eq!(kind(keys.delete(&ann(), &missing).await), ManageErrorKind::NotFound);
    assert_eq!(store.len(), 3);
    let twice = [ids[0].clone(), ids[1].clone(), ids[0].clone()];
    keys.delete(&ann(), &twice).await.unwrap();
    assert_eq!(store.len(), 1);
    assert_eq!(kind(keys.delete(&ann(), &twice).await), ManageErrorKind::NotFound);
}

#[tokio::test]
async fn values_outside_their_limits_are_refused() {
    let store = FaultStore::ready();
    let (keys, hand) = manager(store.clone());
    hand.turn_to(100);
    let new = || NewKey::new("a");
    for new in [
        NewKey::new(""),
        NewKey::new("a\n"),
        NewKey::new("a".repeat(10_000)),
        new().with_expires_in(Duration::ZERO),
        new().with_expires_in(seconds(-1)),
        new().with_expires_in(Duration::MAX),
        new().with_expires_in(Duration::days(9_000_000)),
        new().with_expires_at(at(100)),
        new().with_expires_at(at(99)),
        new().with_not_before(at(110)).with_expires_at(at(110)),
        new().with_metadata("{"),
        new().with_metadata("1".repeat(70_000)),
    ] {
        let made = keys.generate(&ann(), new.clone()).await;
        assert_eq!(kind(made), ManageErrorKind::Invalid, "{new:?}");
    }
    assert!(keys.list(&ann(), None, 10).await.unwrap().keys().is_empty());

    let issued = keys.generate(&ann(), new().with_expires_in(seconds(10))).await.unwrap();
    let id = issued.record().id();
    let version = issued.record().version();
    for interval in [Duration::ZERO, seconds(-1), Duration::MIN, Duration::MAX] {
        let extended = keys.extend(&ann(), id, interval).await;
        assert_eq!(kind(extended), ManageErrorKind::Invalid, "{interval}");
    }
    for overlap in [seconds(-1), Duration::MIN, Duration::MAX] {
        let rotated = keys.rotate(&ann(), id, overlap).await;
        assert_eq!(kind(rotated), ManageErrorKind::Invalid, "{overlap}");
    }
    let update = KeyUpdate::new().with_name("\u{1b}");
    assert_eq!(kind(keys.update(&ann(), id, update).await), ManageErrorKind::Invalid);
    assert_eq!(kind(keys.list(&ann(), None, 0).await), ManageErrorKind::Invalid);
    assert_eq!(keys.get(&ann(), id).await.unwrap().version(), version);
}

#[tokio::test]
async fn an_extension_ends_at_the_year_9999() {
    let (keys, _) = manager(MemoryKeyStore::new());
    let last = OffsetDateTime::from_unix_timestamp(253_402_300_799).unwrap();
    let new = NewKey::new("a").with_expires_at(last - seconds(10));
    let issued = keys.generate(&ann(), new).await.unwrap();
    let id = issued.record().id();

    assert_eq!(kind(keys.extend(&ann(), id, seconds(11)).await), ManageErrorKind::Invalid);
    let extended = keys.extend(&ann(), id, seconds(10)).await.unwrap();
    assert_eq!(extended.expires_at(), Some(last));
}

#[tokio::test]
async fn a_key_that_never_expires_stays_so() {
    let (keys, _) = manager(MemoryKeyStore::new());
    let issued = keys.generate(&ann(), NewKey::new("a")).await.unwrap();

    let extended = keys.extend(&ann(), issued.record().id(), seconds(1)).await.unwrap();

    assert_eq!(extended.expires_at(), None);
    assert_eq!(extended.version(), issued.record().version());
}

#[test]
fn extensions_at_the_same_time_all_count() {
    let store = Arc::new(MemoryKeyStore::new());
    let (keys, _) = manager(store);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let new = NewKey::new("a").with_expires_in(seconds(1));
    let issued = runtime().block_on(keys.generate(&ann(), new)).unwrap();
    let id = issued.record().id();

    std::thread::scope(|scope| {
        for thread in 0..8 {
            let keys = &keys;
            scope.spawn(move || {
                runtime().block_on(async {
                    for round in 0..50 {
                        keys.extend(&ann(), id, seconds(1)).await.unwrap();
                        if (thread + round) % 10 == 0 {
                            keys.rotate(&ann(), id, seconds(1)).await.unwrap();
                        }
                    }
                });
            });
        }
    });

    let record = runtime().block_on(keys.get(&ann(), id)).unwrap();
    assert_eq!(record.expires_at(), Some(at(1 + 8 * 50)));
    assert_eq!(record.version(), issued.record().version() + 8 * 50 + 8 * 5);
}

#[tokio::test]
async fn a_rotation_keeps_the_record_and_ends_the_old_secret() {
    let (keys, hand) = manager(MemoryKeyStore::new());
    let new = NewKey::new("a").with_all_scopes().with_expires_in(seconds(100));
    let (record, first) = keys.generate(&ann(), new).await.unwrap().into_parts();
    let id = record.id();

    let (rotated, second) = keys.rotate(&ann(), id, seconds(10)).await.unwrap().into_parts();
    assert_eq!(rotated.id(), id);
    assert_eq!(rotated.expires_at(), record.expires_at());
    assert_eq!(opens(&keys, &first).await, None);
    assert_eq!(opens(&keys, &second).await, None);
    hand.turn_to(10);
    assert_eq!(opens(&keys, &first).await, Some(VerifyErrorKind::WrongSecret));
    assert_eq!(opens(&keys, &second).await, None);

    // Another one within the overlap ends the older secret.
    let (_, third) = keys.rotate(&ann(), id, seconds(10)).await.unwrap().into_parts();
    let (_, fourth) = keys.rotate(&ann(), id, seconds(10)).await.unwrap().into_parts();
    assert_eq!(opens(&keys, &second).await, Some(VerifyErrorKind::WrongSecret));
    assert_eq!(opens(&keys, &third).await, None);

    // Without an overlap the old secret is gone at once.
    let (rotated, fifth) = keys.rotate(&ann(), id, Duration::ZERO).await.unwrap().into_parts();
    assert!(rotated.previous_digest().is_none());
    assert_eq!(opens(&keys, &fourth).await, Some(VerifyErrorKind::WrongSecret));
    assert_eq!(opens(&keys, &fifth).await, None);

    // Revocation ends both.
    let (_, sixth) = keys.rotate(&ann(), id, seconds(10)).await.unwrap().into_parts();
    keys.revoke(&ann(), id).await.unwrap();
    assert_eq!(opens(&keys, &fifth).await, Some(VerifyErrorKind::WrongSecret));
    assert_eq!(opens(&keys, &sixth).await, Some(VerifyErrorKind::Revoked));
}

#[tokio::test]
async fn a_rate_limit_is_changed_and_outlives_every_rotation() {
    let quota = Quota::per_minute(7).unwrap();
    let (keys, _) = manager(MemoryKeyStore::new());
    for keys in [keys.clone(), keys.with_format(OpaqueFormat::new())] {
        let issued = keys.generate(&ann(), NewKey::new("a").with_rate_limit(quota)).await.unwrap();
        let rotated = keys.rotate(&ann(), issued.record().id(), seconds(9)).await.unwrap();
        assert_eq!(rotated.record().rate_limit(), Some(quota));

        let id = rotated.record().id();
        let other = Some(Quota::per_hour(1).unwrap());
        for new in [other, other, None] {
            let update = KeyUpdate::new().with_rate_limit(new);
            let updated = keys.update(&ann(), id, update).await.unwrap();
            assert_eq!(updated.rate_limit(), new);
        }
    }
}

#[tokio::test]
async fn a_rotation_of_a_derived_id_makes_a_successor() {
    let (keys, hand) = manager(MemoryKeyStore::new());
    let keys = keys.with_format(OpaqueFormat::new());
    let new = NewKey::new("a")
        .with_scopes(Scopes::parse(["deploy"]).unwrap())
        .with_expires_in(seconds(100))
        .with_metadata("[1]");
    let (old, first) = keys.generate(&ann(), new).await.unwrap().into_parts();
    hand.turn_to(5);

    let (new, second) = keys.rotate(&ann(), old.id(), seconds(10)).await.unwrap().into_parts();

    assert_ne!(new.id(), old.id());
    assert_eq!((new.name(), new.scopes(), new.metadata()), ("a", old.scopes(), Some("[1]")));
    assert_eq!((new.owner(), new.expires_at()), (old.owner(), old.expires_at()));
    assert_eq!(keys.get(&ann(), old.id()).await.unwrap().expires_at(), Some(at(15)));
    assert_eq!(opens(&keys, &first).await, None);
    hand.turn_to(15);
    assert_eq!(opens(&keys, &first).await, Some(VerifyErrorKind::Expired));
    assert_eq!(opens(&keys, &second).await, None);

    // A long overlap does not make the old key live longer.
    keys.rotate(&ann(), new.id(), seconds(1000)).await.unwrap();
    assert_eq!(keys.get(&ann(), new.id()).await.unwrap().expires_at(), Some(at(100)));
}

#[tokio::test]
async fn a_rotation_that_fails_leaves_no_successor() {
    for fault in [Fault::Error, Fault::Conflict] {
        let store = FaultStore::ready();
        let (keys, _) = manager(store.clone());
        let keys = keys.with_format(OpaqueFormat::new());
        let issued = keys.generate(&ann(), NewKey::new("a")).await.unwrap();
        store.fail("replace", fault);

        let rotated = keys.rotate(&ann(), issued.record().id(), seconds(1)).await;

        let expected = match fault {
            Fault::Error => ManageErrorKind::Unavailable,
            _ => ManageErrorKind::Conflict,
        };
        assert_eq!(kind(rotated), expected);
        assert_eq!(store.memory().len(), 1);
        assert_eq!(opens(&keys, issued.secret()).await, None);
    }
}

#[tokio::test]
async fn a_key_that_was_made_elsewhere_is_taken_over() {
    let (keys, _) = manager(MemoryKeyStore::new());
    let keys = keys.with_format(OpaqueFormat::new());
    let text =
        || Secret::new("507f1f77bcf86cd799439011:1700000000:abcdefghijklmnopqrstuvwxyzABCDEF");

    let record = keys.import(&ann(), text(), NewKey::new("old")).await.unwrap();

    assert_eq!(record.id().as_str().len(), 24);
    assert_eq!(opens(&keys, &text()).await, None);
    for owner in [ann(), bob()] {
        let again = keys.import(&owner, text(), NewKey::new("again")).await;
        assert_eq!(kind(again), ManageErrorKind::Conflict);
    }
    let expired = NewKey::new("expired").with_expires_at(at(-1));
    let record = keys.import(&ann(), Secret::new("b"), expired).await.unwrap();
    assert_eq!(record.state_at(at(0)), KeyState::Expired);
    for text in ["", "a b", "é"] {
        let refused = keys.import(&ann(), Secret::new(text), NewKey::new("c")).await;
        assert_eq!(kind(refused), ManageErrorKind::Invalid, "{text:?}");
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let (keys, hand) = manager(MemoryKeyStore::new());
    let mut names = Vec::new();
    for second in [3, 1, 1, 2, 0] {
        hand.turn_to(second);
        keys.generate(&ann(), NewKey::new(second.to_string())).await.unwrap();
        keys.generate(&bob(), NewKey::new("other")).await.unwrap();
    }
    for limit in 1..8 {
        names.clear();
        let mut after = None;
        loop {
            let page = keys.list(&ann(), after, limit).await.unwrap();
            assert!(page.keys().len() <= limit);
            names.extend(page.keys().iter().map(|record| record.name().to_owned()));
            match page.next() {
                None => break,
                // The text form goes through the caller and back.
                Some(next) => after = Some(next.to_string().parse().unwrap()),
            }
        }
        assert_eq!(names, ["0", "1", "1", "2", "3"], "{limit}");
    }
    let stranger = Owner::new("stranger").unwrap();
    let page = keys.list(&stranger, None, 10).await.unwrap();
    assert!(page.keys().is_empty() && page.next().is_none());
    assert_eq!(keys.list(&ann(), None, usize::MAX).await.unwrap().keys().len(), 5);
}

/// Makes a key with a fixed id a number of times, and then other keys.
struct Repeating {
    id: &'static str,
    left: AtomicUsize,
}

impl KeyFormat for Repeating {
    fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
        let (id, secret) = text.split_once('.')?;
        Some(ParsedKey::new(KeyId::new(id).ok()?, secret))
    }

    fn generate(&self, _: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
        let secret = random_base62(43)?;
        let taken =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let id = if taken.is_ok() { self.id } else { "free" };
        Ok(Secret::new(format!("{id}.{}", secret.expose_secret())))
    }
}

#[tokio::test]
async fn an_id_that_is_taken_is_drawn_again_and_never_overwritten() {
    let store = Arc::new(MemoryKeyStore::new());
    let (keys, _) = manager(Arc::clone(&store));
    let repeating = |left| Repeating { id: "taken", left: AtomicUsize::new(left) };
    let keys = keys.with_format(repeating(4));
    let first = keys.generate(&ann(), NewKey::new("first")).await.unwrap();

    let second = keys.generate(&bob(), NewKey::new("second")).await.unwrap();

    assert_eq!(first.record().id().as_str(), "taken");
    assert_eq!(second.record().id().as_str(), "free");
    assert_eq!(opens(&keys, first.secret()).await, None);
    let stuck = keys.clone().with_format(repeating(1000));
    assert_eq!(kind(stuck.generate(&bob(), NewKey::new("third")).await), ManageErrorKind::Conflict);
    assert_eq!(store.len(), 2);
}

#[tokio::test]
async fn a_key_is_made_under_the_asked_id_or_not_at_all() {
    let store = Arc::new(MemoryKeyStore::new());
    let (keys, _) = manager(Arc::clone(&store));
    let id = KeyId::new("0123456789abcdEF").unwrap();
    let new = || NewKey::new("a").with_id(id.clone());

    let first = keys.generate(&ann(), new()).await.unwrap();
    assert_eq!(first.record().id(), &id);
    for owner in [ann(), bob()] {
        assert_eq!(kind(keys.generate(&owner, new()).await), ManageErrorKind::Conflict);
    }
    assert_eq!(opens(&keys, first.secret()).await, None);

    let other = NewKey::new("a").with_id(KeyId::new("short").unwrap());
    assert_eq!(kind(keys.generate(&ann(), other).await), ManageErrorKind::Invalid);
    let opaque = keys.with_format(OpaqueFormat::new());
    assert_eq!(kind(opaque.generate(&ann(), new()).await), ManageErrorKind::Invalid);
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn an_update_changes_everything_in_one_step() {
    let (keys, _) = manager(MemoryKeyStore::new());
    let issued = keys.generate(&ann(), NewKey::new("a")).await.unwrap();
    let id = issued.record().id();
    let update = KeyUpdate::new().with_name("b").with_disabled(true);

    let updated = keys.update(&ann(), id, update).await.unwrap();
    let version = issued.record().version() + 1;
    assert_eq!((updated.name(), updated.disabled(), updated.version()), ("b", true, version));
    let same = keys.update(&ann(), id, KeyUpdate::new().with_disabled(true)).await.unwrap();
    assert_eq!(same.version(), version);
    let enabled = keys.update(&ann(), id, KeyUpdate::new().with_disabled(false)).await.unwrap();
    assert_eq!((enabled.name(), enabled.disabled()), ("b", false));
}

#[tokio::test]
async fn a_generator_that_fails_changes_nothing() {
    let store = FaultStore::ready();
    let (keys, _) = manager(store.clone());
    let issued = keys.generate(&ann(), NewKey::new("a")).await.unwrap();
    let broken = OpaqueFormat::new().with_generator(|_| Err(GenerateError::new("no entropy")));
    let unreadable = OpaqueFormat::new().with_generator(|_| Ok(Secret::new("two words")));

    for format in [broken, unreadable] {
        let keys = keys.clone().with_format(format);
        let calls = store.calls();
        let error = keys.generate(&ann(), NewKey::new("b")).await.unwrap_err();
        assert_eq!(error.kind(), ManageErrorKind::Random);
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(store.calls(), calls);
        let rotated = keys.rotate(&ann(), issued.record().id(), seconds(1)).await;
        assert_eq!(kind(rotated), ManageErrorKind::Random);
    }
    assert_eq!(opens(&keys, issued.secret()).await, None);
}

#[tokio::test]
async fn an_error_of_the_store_is_passed_on() {
    let store = FaultStore::ready();
    let (keys, _) = manager(store.clone());
    let new = NewKey::new("a").with_expires_in(seconds(10));
    let issued = keys.generate(&ann(), new).await.unwrap();
    let _other = keys.generate(&bob(), NewKey::new("b")).await.unwrap();
    let id = issued.record().id();
    let unavailable = ManageErrorKind::Unavailable;

    store.fail("insert", Fault::Error);
    store.fail("replace", Fault::Error);
    store.fail("remove", Fault::Error);
    assert_eq!(kind(keys.generate(&ann(), NewKey::new("c")).await), unavailable);
    assert_eq!(kind(keys.extend(&ann(), id, seconds(1)).await), unavailable);
    assert_eq!(kind(keys.rotate(&ann(), id, seconds(1)).await), unavailable);
    assert_eq!(kind(keys.revoke(&ann(), id).await), unavailable);
    assert_eq!(kind(keys.delete(&ann(), std::slice::from_ref(id)).await), unavailable);
    for fault in [Fault::Error, Fault::Lie] {
        store.heal();
        store.fail("find", fault);
        store.fail("list", fault);
        let error = keys.get(&ann(), id).await.unwrap_err();
        assert_eq!(error.kind(), unavailable);
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(kind(keys.extend(&ann(), id, seconds(1)).await), unavailable);
        assert_eq!(kind(keys.list(&ann(), None, 10).await), unavailable);
    }
    store.heal();
    assert_eq!(keys.get(&ann(), id).await.unwrap().encode(), issued.record().encode());
}

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Extend(i64),
    Rotate(i64),
    Disable,
    Enable,
    Revoke,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6_i64).prop_map(Step::Wait),
        (1..8_i64).prop_map(Step::Extend),
        (0..8_i64).prop_map(Step::Rotate),
        Just(Step::Disable),
        Just(Step::Enable),
        Just(Step::Revoke),
    ];
    prop::collection::vec(step, 0..20)
}

proptest! {
    /// In every life of a key, a model says when which secret works, and no secret
    /// but the newest works beyond its own overlap.
    #[test]
    fn a_life_follows_the_model(steps in steps(), opaque: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (keys, hand) = manager(MemoryKeyStore::new());
            let keys = if opaque { keys.with_format(OpaqueFormat::new()) } else { keys };
            let new = NewKey::new("a").with_expires_in(seconds(10));
            let (mut record, mut secret) = keys.generate(&ann(), new).await.unwrap().into_parts();
            // Every older secret, and the last moment at which it may work.
            let mut old: Vec<(Secret, i64)> = Vec::new();
            let (mut now, mut expiry, mut disabled, mut revoked) = (0, 10, false, false);
            for step in steps {
                let id = record.id().clone();
                let changed = match step {
                    Step::Wait(count) => {
                        now += count;
                        hand.turn_to(now);
                        Ok(())
                    }
                    Step::Extend(count) => keys.extend(&ann(), &id, seconds(count)).await.map(|_| {
                        expiry = expiry.max(now) + count;
                    }),
                    Step::Rotate(count) => {
                        keys.rotate(&ann(), &id, seconds(count)).await.map(|issued| {
                            let (new_record, new_secret) = issued.into_parts();
                            old.push((std::mem::replace(&mut secret, new_secret), expiry.min(now + count)));
                            record = new_record;
                        })
                    }
                    Step::Disable => keys.disable(&ann(), &id).await.map(|_| disabled = true),
                    Step::Enable => keys.enable(&ann(), &id).await.map(|_| disabled = false),
                    Step::Revoke => keys.revoke(&ann(), &id).await.map(|_| revoked = true),
                };
                if changed.is_err() {
                    assert_eq!(kind(changed), ManageErrorKind::Revoked);
                    assert!(revoked);
                }
                let live = now < expiry && !disabled && !revoked;
                assert_eq!(opens(&keys, &secret).await.is_none(), live);
                for (secret, until) in &old {
                    let works = opens(&keys, secret).await.is_none();
                    assert!(!works || now < *until, "an old secret outlived its overlap");
                }
                let stored = keys.get(&ann(), record.id()).await.unwrap();
                assert_eq!(stored.expires_at(), Some(at(expiry)));
            }
        });
    }
}
