use std::error::Error as _;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::key::fixtures::{ann, at};
use crate::key::secret::Secret;
use crate::key::{
    GenerateError, IssuedKey, KeyDraft, KeyManager, NewKey, Pepper, StoreError, WriteOutcome,
};
use crate::store::fault_store::{Fault as Failure, FaultStore, Script};

fn clock(second: i64) -> Clock {
    Clock::from_fn(move || at(second))
}

fn pepper(name: &str) -> Pepper {
    Pepper::new(name, b"0123456789abcdef0123456789abcdef").unwrap()
}

async fn issue(store: &FaultStore, new: NewKey) -> IssuedKey {
    let keys = KeyManager::new(store.clone()).with_clock(clock(0));
    keys.generate(&ann(), new).await.unwrap()
}

async fn put(store: &FaultStore, record: KeyRecord) {
    let version = record.version();
    assert_eq!(store.memory().replace(record, version).await.unwrap(), WriteOutcome::Applied);
}

async fn kind(verifier: &KeyVerifier, text: &str) -> VerifyErrorKind {
    verifier.verify(text.as_bytes()).await.unwrap_err().kind()
}

/// The key with another secret and a right check.
fn with_other_secret(key: &str) -> String {
    let other = KeyId::new(&key[4..20]).unwrap();
    let owner = ann();
    let draft = KeyDraft::new(&owner, at(0)).with_id(&other);
    PrefixedFormat::default().generate(&draft).unwrap().expose_secret().to_owned()
}

#[test]
fn public_types_can_be_sent_and_shared() {
    fn check<T: Send + Sync + 'static>() {}
    fn check_send<T: Send + 'static>(_: T) {}
    check::<KeyVerifier>();
    check::<KeyManager>();
    check::<VerifiedKey>();
    check::<VerifyError>();
    check_send(async {
        let verifier = KeyVerifier::new(FaultStore::ready());
        verifier.verify(b"").await.map(drop)
    });
    check_send(async {
        let keys = KeyManager::new(FaultStore::ready());
        keys.rotate(&ann(), &KeyId::new("a").unwrap(), time::Duration::ZERO).await.map(drop)
    });
}

#[tokio::test]
async fn a_text_that_is_no_key_does_not_reach_the_store() {
    for store in [FaultStore::ready(), FaultStore::waiting()] {
        let issued = issue(&store, NewKey::new("a")).await;
        let verifier = KeyVerifier::new(store.clone());
        let key = issued.secret().expose_secret();
        let calls = store.calls();
        let mut changed = key.as_bytes().to_vec();
        changed[30] = 0xff;

        for text in [
            &b""[..],
            &[b'a'; 255],
            &[b'a'; 256],
            &[b'a'; 257],
            &[b'_'; 100_000],
            &changed,
            key.to_uppercase().as_bytes(),
            format!(" {key}").as_bytes(),
            format!("{key}\0").as_bytes(),
        ] {
            let error = verifier.verify(text).await.unwrap_err();
            assert_eq!(error.kind(), VerifyErrorKind::Malformed);
            assert!(error.key_id().is_none() && error.source().is_none());
        }
        assert_eq!(store.calls(), calls);
    }
}

#[tokio::test]
async fn a_format_never_sees_more_than_256_bytes() {
    struct Greedy;

    impl KeyFormat for Greedy {
        fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
            assert!(text.len() <= 256);
            Some(ParsedKey::new(KeyId::new("a").unwrap(), text))
        }

        fn generate(&self, _: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
            Err(GenerateError::new("no"))
        }
    }

    let verifier = KeyVerifier::new(FaultStore::ready()).with_format(Greedy);

    assert_eq!(kind(&verifier, &"a".repeat(256)).await, VerifyErrorKind::Unknown);
    assert_eq!(kind(&verifier, &"a".repeat(257)).await, VerifyErrorKind::Malformed);
}

#[tokio::test]
async fn every_character_of_the_secret_counts() {
    let store = FaultStore::ready();
    let issued = issue(&store, NewKey::new("a")).await;
    let format = PrefixedFormat::default();
    let parsed = format.parse(issued.secret().expose_secret()).unwrap();
    let hasher = KeyHasher::sha256();

    for position in 0..38 {
        let mut secret = parsed.secret().to_owned();
        let other = if secret.as_bytes()[position] == b'a' { "b" } else { "a" };
        secret.replace_range(position..=position, other);
        let changed = ParsedKey::fixed(parsed.id().clone(), &secret);
        assert!(!hasher.matches(issued.record().digest(), &changed).unwrap(), "{position}");
    }
    assert!(hasher.matches(issued.record().digest(), &parsed).unwrap());
}

#[tokio::test]
async fn an_unknown_key_and_a_wrong_secret_are_told_apart_for_logs() {
    for store in [FaultStore::ready(), FaultStore::waiting()] {
        let issued = issue(&store, NewKey::new("a")).await;
        let verifier = KeyVerifier::new(store.clone());
        let wrong = with_other_secret(issued.secret().expose_secret());

        let error = verifier.verify(wrong.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), VerifyErrorKind::WrongSecret);
        assert_eq!(error.key_id(), Some(issued.record().id()));

        let id = issued.record().id().clone();
        assert_eq!(store.memory().remove(&ann(), &[id]).await.unwrap(), WriteOutcome::Applied);
        let key = issued.secret().expose_secret();
        assert_eq!(kind(&verifier, key).await, VerifyErrorKind::Unknown);
    }
}

#[tokio::test]
async fn the_state_is_shown_only_to_who_has_the_secret() {
    let cases = [
        (VerifyErrorKind::Revoked, Some(at(1)), false, 100),
        (VerifyErrorKind::Disabled, None, true, 100),
        (VerifyErrorKind::Expired, None, false, 100),
        (VerifyErrorKind::NotYetValid, None, false, 5),
    ];
    for (expected, revoked_at, disabled, now) in cases {
        for store in [FaultStore::ready(), FaultStore::waiting()] {
            let issued = issue(&store, NewKey::new("a")).await;
            let record = issued.record().clone();
            let record = record
                .with_revoked_at(revoked_at)
                .with_disabled(disabled)
                .with_not_before(Some(at(10)))
                .with_expires_at(Some(at(20)));
            put(&store, record).await;
            let verifier = KeyVerifier::new(store).with_clock(clock(now));
            let key = issued.secret().expose_secret();

            assert_eq!(kind(&verifier, key).await, expected);
            assert_eq!(
                kind(&verifier, &with_other_secret(key)).await,
                VerifyErrorKind::WrongSecret
            );
            let inside = verifier.with_clock(clock(15)).verify(key.as_bytes()).await;
            assert_eq!(inside.is_ok(), revoked_at.is_none() && !disabled);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_store_is_never_a_verdict_about_the_key() {
    let ready = [Failure::Panic, Failure::Lie, Failure::NoVisit, Failure::TwoVisits];
    let waiting = [Failure::Error, Failure::Hang, Failure::Panic, Failure::Lie];
    let ready = ready.map(|fault| (FaultStore::ready(), "try_find_now", fault));
    let waiting = waiting.map(|fault| (FaultStore::waiting(), "find", fault));

    for (store, method, fault) in ready.into_iter().chain(waiting) {
        let issued = issue(&store, NewKey::new("a").with_all_scopes()).await;
        let _other = issue(&store, NewKey::new("b")).await;
        let verifier = KeyVerifier::new(store.clone());
        let key = issued.secret().expose_secret().to_owned();
        store.fail(method, fault);

        for text in [&key, &with_other_secret(&key)] {
            let error = verifier.verify(text.as_bytes()).await.unwrap_err();
            assert_eq!(error.kind(), VerifyErrorKind::StoreUnavailable, "{fault:?}");
            assert_eq!(error.key_id(), Some(issued.record().id()));
            assert!(error.source().is_some());
        }

        store.heal();
        assert!(verifier.verify(key.as_bytes()).await.is_ok(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_panic_before_the_future_is_made_is_contained() {
    struct Eager;

    #[async_trait::async_trait]
    impl KeyStore for Eager {
        fn find<'a, 'b, 'c>(
            &'a self,
            _: &'b KeyId,
        ) -> Pin<Box<dyn Future<Output = Result<Option<KeyRecord>, StoreError>> + Send + 'c>>
        where
            'a: 'c,
            'b: 'c,
            Self: 'c,
        {
            panic!("a panic of the store")
        }

        async fn insert(&self, _: KeyRecord) -> Result<WriteOutcome, StoreError> {
            Ok(WriteOutcome::Conflict)
        }

        async fn replace(&self, _: KeyRecord, _: u64) -> Result<WriteOutcome, StoreError> {
            Ok(WriteOutcome::Conflict)
        }

        async fn remove(&self, _: &Owner, _: &[KeyId]) -> Result<WriteOutcome, StoreError> {
            Ok(WriteOutcome::Conflict)
        }

        async fn list(
            &self,
            _: &Owner,
            _: Option<&crate::key::PageCursor>,
            _: usize,
        ) -> Result<Vec<KeyRecord>, StoreError> {
            Ok(Vec::new())
        }
    }

    let issued = issue(&FaultStore::ready(), NewKey::new("a")).await;
    let verifier = KeyVerifier::new(Eager);

    let key = issued.secret().expose_secret();
    assert_eq!(kind(&verifier, key).await, VerifyErrorKind::StoreUnavailable);
}

#[tokio::test]
async fn the_cause_of_a_fault_is_kept() {
    let store = FaultStore::waiting();
    let issued = issue(&store, NewKey::new("a")).await;
    store.fail("find", Failure::Error);

    let verifier = KeyVerifier::new(store);
    let error = verifier.verify(issued.secret().expose_secret().as_bytes()).await.unwrap_err();

    let store_error = error.source().unwrap();
    assert!(store_error.is::<StoreError>());
    assert_eq!(store_error.source().unwrap().to_string(), "disk on fire");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_store_is_kept() {
    let store = FaultStore::waiting();
    let issued = issue(&store, NewKey::new("a")).await;
    for (millisecond, in_time) in [(1, true), (999, true), (1001, false), (60_000, false)] {
        let before = Duration::from_millis(millisecond);
        store.set_reads(Script { before, ..Script::default() });
        let verifier = KeyVerifier::new(store.clone());
        let started = tokio::time::Instant::now();

        let verified = verifier.verify(issued.secret().expose_secret().as_bytes()).await;

        assert_eq!(verified.is_ok(), in_time, "{millisecond}");
        assert!(started.elapsed() <= Duration::from_millis(1002));
    }
}

#[tokio::test]
async fn the_time_is_read_after_the_record_has_arrived() {
    static NOW: AtomicI64 = AtomicI64::new(0);

    let store = FaultStore::waiting();
    let issued = issue(&store, NewKey::new("a").with_expires_at(at(10))).await;
    let verifier =
        KeyVerifier::new(store).with_clock(Clock::from_fn(|| at(NOW.load(Ordering::SeqCst))));

    let Verification::Pending(lookup) = verifier.begin(issued.secret().expose_secret().as_bytes())
    else {
        panic!("the store waits");
    };
    NOW.store(10, Ordering::SeqCst);

    assert_eq!(lookup.finish().await.unwrap_err().kind(), VerifyErrorKind::Expired);
}

#[tokio::test]
async fn the_time_is_read_once() {
    let reads = Arc::new(Mutex::new(0));
    let store = FaultStore::ready();
    let issued = issue(&store, NewKey::new("a").with_expires_at(at(10))).await;
    let counter = Arc::clone(&reads);
    let verifier = KeyVerifier::new(store).with_clock(Clock::from_fn(move || {
        *counter.lock().unwrap() += 1;
        at(0)
    }));

    assert!(verifier.verify(issued.secret().expose_secret().as_bytes()).await.is_ok());
    assert_eq!(*reads.lock().unwrap(), 1);
}

#[tokio::test]
async fn an_unknown_pepper_is_a_fault_and_not_a_wrong_secret() {
    for store in [FaultStore::ready(), FaultStore::waiting()] {
        let old = KeyHasher::peppered(pepper("2025"));
        let keys = KeyManager::new(store.clone()).with_hasher(old.clone());
        let issued = keys.generate(&ann(), NewKey::new("a")).await.unwrap();
        let key = issued.secret().expose_secret();
        let new = KeyHasher::peppered(pepper("2026"));
        let both = new.clone().with_previous_pepper(pepper("2025")).unwrap();

        for (hasher, expected) in [
            (old, None),
            (both, None),
            (new, Some(VerifyErrorKind::StoreUnavailable)),
            (KeyHasher::sha256(), Some(VerifyErrorKind::StoreUnavailable)),
        ] {
            let verifier = KeyVerifier::new(store.clone()).with_hasher(hasher);
            let found = verifier.verify(key.as_bytes()).await.map_err(|error| error.kind());
            assert_eq!(found.err(), expected);
        }
    }
}

#[tokio::test]
async fn an_unknown_pepper_counts_only_during_the_overlap() {
    let store = FaultStore::ready();
    let keys = KeyManager::new(store.clone()).with_clock(clock(0));
    let old = keys.clone().with_hasher(KeyHasher::peppered(pepper("2025")));
    let issued = old.generate(&ann(), NewKey::new("a")).await.unwrap();
    let overlap = time::Duration::seconds(10);
    let renewed = keys.rotate(&ann(), issued.record().id(), overlap).await.unwrap();
    let verifier = keys.verifier();
    let key = issued.secret().expose_secret();

    assert!(verifier.verify(renewed.secret().expose_secret().as_bytes()).await.is_ok());
    assert_eq!(kind(&verifier, key).await, VerifyErrorKind::StoreUnavailable);
    let verifier = verifier.with_clock(clock(10));
    assert_eq!(kind(&verifier, key).await, VerifyErrorKind::WrongSecret);
}

#[tokio::test]
async fn a_digest_in_the_wrong_record_opens_nothing() {
    let store = FaultStore::ready();
    let weak = issue(&store, NewKey::new("weak")).await;
    let strong = issue(&store, NewKey::new("strong").with_all_scopes()).await;
    put(&store, strong.record().clone().with_digest(weak.record().digest().clone())).await;
    let verifier = KeyVerifier::new(store);

    let weak = weak.secret().expose_secret();
    assert!(verifier.verify(weak.as_bytes()).await.unwrap().scopes().is_none());
    let moved = strong.secret().expose_secret();
    assert_eq!(kind(&verifier, moved).await, VerifyErrorKind::WrongSecret);
    // The secret of the one key under the id of the other.
    let format = PrefixedFormat::default();
    let secret = format.parse(weak).unwrap().secret();
    let mixed = ParsedKey::fixed(strong.record().id().clone(), secret);
    assert!(
        !KeyHasher::sha256()
            .matches(
                format.parse(weak).map(|key| KeyHasher::sha256().digest(&key)).as_ref().unwrap(),
                &mixed,
            )
            .unwrap()
    );
}

#[tokio::test]
async fn a_verifier_redacts_keys_of_its_format() {
    let store = FaultStore::ready();
    let issued = issue(&store, NewKey::new("a")).await;
    let line = format!("cookie: {}", issued.secret().expose_secret());

    let redacted = KeyVerifier::new(store).redact(&line);

    assert_eq!(redacted.as_deref(), Some("cookie: whk_[redacted]"));
}

#[tokio::test]
async fn no_text_of_a_public_type_shows_a_secret() {
    let store = FaultStore::waiting();
    let keys = KeyManager::new(store.clone());
    let issued =
        keys.generate(&ann(), NewKey::new("a").with_metadata("\"private\"")).await.unwrap();
    let key = issued.secret().expose_secret().to_owned();
    let canary = &key[21..59];
    let verifier = keys.verifier();
    let format = PrefixedFormat::default();
    let wrong = with_other_secret(&key);
    let pending = verifier.begin(key.as_bytes());
    let mut texts = vec![
        format!("{issued:?}"),
        format!("{:?}", issued.record()),
        format!("{:?}", issued.record().digest()),
        format!("{:?}", format.parse(&key)),
        format!("{format:?} {keys:?} {verifier:?} {pending:?}"),
        format!("{:?}", verifier.verify(key.as_bytes()).await),
    ];
    for text in [key.as_str(), &wrong, &format!("{key} "), "x"] {
        let error = verifier.verify(text.as_bytes()).await.err();
        texts.extend(error.map(|error| format!("{error} {error:?}")));
    }
    store.fail("find", Failure::Error);
    let error = verifier.verify(key.as_bytes()).await.unwrap_err();
    texts.push(format!("{error} {error:?}"));
    let imported = keys.import(&ann(), Secret::new(key.clone()), NewKey::new("b")).await;
    texts.push(format!("{imported:?}"));

    for text in texts {
        assert!(!text.contains(canary), "{text}");
        assert!(!text.contains("private"), "{text}");
        assert!(!text.contains(&wrong[21..59]), "{text}");
    }
}

/// What is presented in the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Presented {
    Current,
    Previous,
    Wrong,
}

proptest! {
    #[test]
    fn verification_agrees_with_the_model(
        presented in prop::sample::select(vec![
            Presented::Current, Presented::Previous, Presented::Wrong,
        ]),
        stored: bool,
        ready: bool,
        not_before in prop::option::of(-2..3_i64),
        expires_at in prop::option::of(-2..3_i64),
        until in prop::option::of(-2..3_i64),
        revoked: bool,
        disabled: bool,
        now in -3..4_i64,
    ) {
        use VerifyErrorKind::{Disabled, Expired, NotYetValid, Revoked, Unknown, WrongSecret};

        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let store = if ready { FaultStore::ready() } else { FaultStore::waiting() };
        let issued = runtime.block_on(issue(&store, NewKey::new("a")));
        let key = issued.secret().expose_secret();
        let previous = with_other_secret(key);
        let format = PrefixedFormat::default();
        let digest = KeyHasher::sha256().digest(&format.parse(&previous).unwrap());
        let record = issued.record().clone()
            .with_not_before(not_before.map(at))
            .with_expires_at(expires_at.map(at))
            .with_revoked_at(revoked.then(|| at(0)))
            .with_disabled(disabled)
            .with_previous_digest(until.map(|until| (digest, at(until))));
        if stored {
            runtime.block_on(put(&store, record));
        } else {
            let id = issued.record().id().clone();
            let _ = runtime.block_on(store.memory().remove(&ann(), &[id])).unwrap();
        }
        let wrong = with_other_secret(key);
        let text = match presented {
            Presented::Current => key,
            Presented::Previous => &previous,
            Presented::Wrong => &wrong,
        };

        let live = !revoked && !disabled
            && expires_at.is_none_or(|end| now < end)
            && not_before.is_none_or(|start| now >= start);
        let proven = match presented {
            Presented::Current => true,
            Presented::Previous => live && until.is_some_and(|until| now < until),
            Presented::Wrong => false,
        };
        let expected = if !stored { Some(Unknown) }
            else if !proven { Some(WrongSecret) }
            else if revoked { Some(Revoked) }
            else if disabled { Some(Disabled) }
            else if expires_at.is_some_and(|end| now >= end) { Some(Expired) }
            else if not_before.is_some_and(|start| now < start) { Some(NotYetValid) }
            else { None };

        let verifier = KeyVerifier::new(store).with_clock(clock(now));
        let found = runtime.block_on(verifier.verify(text.as_bytes()));
        prop_assert_eq!(found.as_ref().map_err(VerifyError::kind).err(), expected);
        if let Ok(verified) = found {
            prop_assert_eq!(verified.id(), issued.record().id());
            prop_assert_eq!(verified.name(), "a");
        }
    }
}
