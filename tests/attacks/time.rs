//! N: time, states and scopes.

use futures_util::FutureExt;
use time::{Duration, OffsetDateTime};
use tower_webhook::Clock;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Secret;
use tower_webhook::key::{KeyManager, KeyUpdate, ManageErrorKind, NewKey, Scope, Scopes};
use tower_webhook::store::MemoryKeyStore;

use super::fixture::{Fixture, forge};
use super::request::key;
use super::row::Code::{Forbidden, Invalid, Ok};
use super::row::{HEADER, Row, Setup, header, row, token};
use super::run::Corpus;
use crate::support::{NOW, owner, scope};

const EXPIRES: OffsetDateTime = NOW.saturating_add(Duration::HOUR);
const STARTS: OffsetDateTime = NOW.saturating_sub(Duration::HOUR);

macro_rules! at {
    ($name:literal, $now:expr) => {
        Setup::new($name, |f| {
            let keys = f.manager.verifier().with_clock(Clock::from_fn(|| $now));
            AuthLayer::token(keys, [header()]).unwrap()
        })
    };
}

const SCOPED: Setup =
    Setup::new("scoped", |f| token(f, [header()]).with_scope(scope("a")).unwrap());
/// Keys of another system, among them one with the id of a key of ours.
const OTHER: Setup = Setup::new("other keys", |f| {
    let keys = KeyManager::new(MemoryKeyStore::new()).with_clock(Clock::from_fn(|| NOW));
    let text = Secret::new(forge("whk", f.id.as_str(), &"0".repeat(38)));
    keys.import(&owner("alice"), text, Fixture::new_key()).now_or_never().unwrap().unwrap();
    AuthLayer::token(&keys, [header()]).unwrap()
});

#[test]
fn time_and_state_decide() {
    Corpus::run(rows);
}

fn rows(f: &Fixture) -> Vec<Row> {
    let (_, brief) =
        f.issue_now(Fixture::new_key().with_not_before(STARTS).with_expires_at(EXPIRES));
    let mut rows = Vec::new();
    for (id, setup, expected) in [
        ("N219.before", at!("n1", EXPIRES - Duration::NANOSECOND), Ok),
        ("N219.at", at!("n2", EXPIRES), Invalid),
        ("N219.after", at!("n3", EXPIRES + Duration::NANOSECOND), Invalid),
        ("N219.early", at!("n4", STARTS - Duration::NANOSECOND), Invalid),
        ("N219.start", at!("n5", STARTS), Ok),
        ("N221.back", at!("n6", NOW - Duration::HOUR * 2), Invalid),
        ("N221.forward", at!("n7", NOW + Duration::HOUR * 2), Invalid),
        ("N221.epoch", at!("n8", OffsetDateTime::UNIX_EPOCH - Duration::days(10_000)), Invalid),
        ("N221.end", at!("n9", OffsetDateTime::UNIX_EPOCH + Duration::days(2_900_000)), Invalid),
    ] {
        rows.push(row(id, setup, key(&brief), expected, 1));
    }
    let (id, revoked) = f.issue_now(Fixture::new_key());
    f.manager.revoke(&owner("alice"), &id).now_or_never().unwrap().unwrap();
    rows.push(row("N223", HEADER, key(&revoked), Invalid, 1));
    let (id, disabled) = f.issue_now(Fixture::new_key());
    f.manager.disable(&owner("alice"), &id).now_or_never().unwrap().unwrap();
    rows.push(row("N223.disabled", HEADER, key(&disabled), Invalid, 1));
    let (id, deleted) = f.issue_now(Fixture::new_key());
    f.manager.delete(&owner("alice"), &[id]).now_or_never().unwrap().unwrap();
    rows.push(row("N223.deleted", HEADER, key(&deleted), Invalid, 1));

    let with = |scopes: Scopes| f.issue_now(NewKey::new("scopes").with_scopes(scopes)).1;
    let many: Vec<Scope> = (0..1000).map(|n| scope(&format!("s{n}"))).chain([scope("a")]).collect();
    for (id, text, expected) in [
        ("none", with(Scopes::NONE), Forbidden),
        ("same", with(Scopes::new([scope("a")])), Ok),
        ("longer", with(Scopes::new([scope("ab")])), Forbidden),
        ("upper", with(Scopes::new([scope("A")])), Forbidden),
        ("all", with(Scopes::ALL), Ok),
        ("many", with(Scopes::new(many)), Ok),
    ] {
        rows.push(row(format!("N226.{id}"), SCOPED, key(text), expected, 1));
    }
    if let Result::Ok(pattern) = Scope::new("a*") {
        let text = with(Scopes::new([pattern]));
        rows.push(row("N226.pattern", SCOPED, key(text), Forbidden, 1));
    }
    let (id, emptied) = f.issue_now(NewKey::new("scopes").with_scopes(Scopes::new([scope("a")])));
    let update = KeyUpdate::new().with_scopes(Scopes::NONE);
    f.manager.update(&owner("alice"), &id, update).now_or_never().unwrap().unwrap();
    rows.push(row("N226.emptied", SCOPED, key(emptied), Forbidden, 1));
    f.store.take_finds();

    // The store that counts is not asked: it is the store of other keys.
    rows.push(row("N228", OTHER, key(&f.k), Invalid, 0));
    rows
}

#[tokio::test]
async fn revocation_is_final() {
    let f = Fixture::new().await;
    let (alice, id) = (owner("alice"), &f.id);
    f.manager.revoke(&alice, id).await.unwrap();

    let refused = [
        f.manager.extend(&alice, id, Duration::HOUR).await.map(drop),
        f.manager.enable(&alice, id).await.map(drop),
        f.manager.rotate(&alice, id, Duration::HOUR).await.map(drop),
        f.manager.import(&alice, Secret::new(f.k.as_str()), Fixture::new_key()).await.map(drop),
    ];

    for result in refused {
        let kind = result.unwrap_err().kind();
        assert!(
            matches!(kind, ManageErrorKind::Conflict | ManageErrorKind::Revoked),
            "N224, {kind:?}"
        );
    }
    assert!(f.manager.verifier().verify(f.k.as_bytes()).await.is_err());
}
