//! An app with keys of its own, in a table with their unsalted SHA-256, moves over. No key is issued again: the old
//! ones go on working, and new ones are in the format of this crate.
//!
//! ```text
//! cargo run --example migrate
//! ```
//!
//! prints two `curl` lines, one with a key from before and one with a new key, and serves. Both answer `hello` and the
//! owner. In SQL the rows are those of
//!
//! ```sql
//! SELECT owner, name, sha256, expires_at FROM api_keys WHERE revoked_at IS NULL
//! ```
//!
//! where `sha256` is `encode(sha256(key::bytea), 'hex')`. The old table is only read. The migration can be run again,
//! and while the app issues keys: it skips what it finds in its place. When no old key has been used for a while
//! (`LastUsedTracker`), revoke those that are left and drop the old format.

use std::{env, error::Error};

use axum::{Extension, Router, routing::get};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tower_webhook::key::{Formats, ManageErrorKind, PrefixedFormat, Scopes, Sha256Format};
use tower_webhook::{AuthLayer, Identity, KeyManager, MemoryKeyStore, NewKey, Owner, Placement};

/// A row of the old table.
struct Row {
    owner: &'static str,
    name: &'static str,
    sha256: &'static str,
    expires_at: Option<OffsetDateTime>,
}

/// What the query returns, in place of a database. The first key is `sk_live_0123456789abcdef0123456789abcdef`.
const TABLE: [Row; 2] = [
    Row {
        owner: "alice",
        name: "laptop",
        sha256: "0dd9d97a3da0cbadcbce40a79d539c8a79745dae25b2c85bdefc9a44b219663e",
        expires_at: None,
    },
    Row {
        owner: "bob",
        name: "deploy bot",
        sha256: "1778cfe109373c218a6dbab551850cb47b276575a317786b221f6e11ea48bb0d",
        expires_at: Some(OffsetDateTime::UNIX_EPOCH),
    },
];

/// Keys of both kinds: new ones as `acme_..`, and old ones as `sk_live_..`.
fn keys(store: MemoryKeyStore) -> Result<KeyManager, Box<dyn Error>> {
    let old = Sha256Format::new().with_prefix("sk_live_")?;
    let formats = Formats::new(PrefixedFormat::new("acme")?).with_previous(old);
    Ok(KeyManager::new(store).with_format(formats))
}

/// Imports the rows, and returns how many were new.
async fn migrate(keys: &KeyManager, table: &[Row]) -> Result<usize, Box<dyn Error>> {
    let mut imported = 0;
    for row in table {
        // What an old key may do is a decision of the app. Here it is all that there is.
        let mut new = NewKey::new(row.name).with_scopes(Scopes::ALL);
        if let Some(expires_at) = row.expires_at {
            new = new.with_expires_at(expires_at);
        }
        let sha256 = decode_hex(row.sha256).ok_or("a digest is not 64 hexadecimal digits")?;
        match keys.import_digest(&Owner::new(row.owner)?, sha256, new).await {
            Ok(_) => imported += 1,
            // It was imported before.
            Err(error) if error.kind() == ManageErrorKind::Conflict => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(imported)
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().ok()?;
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

async fn hello(Extension(identity): Extension<Identity>) -> String {
    format!("hello {}\n", identity.owner())
}

fn app(keys: &KeyManager) -> Result<Router, Box<dyn Error>> {
    let auth = AuthLayer::token(keys, [Placement::header("x-api-key")?])?;
    Ok(Router::new().route("/hello", get(hello)).route_layer(auth))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    if address.starts_with('-') {
        println!("usage: migrate [ADDRESS:PORT]");
        return Ok(());
    }
    let keys = keys(MemoryKeyStore::new())?;
    println!("{} keys are imported", migrate(&keys, &TABLE).await?);
    let issued = keys.generate(&Owner::new("carol")?, NewKey::new("phone")).await?;

    let listener = TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    println!(
        "  curl -s -H 'X-API-Key: sk_live_0123456789abcdef0123456789abcdef' http://{address}/hello"
    );
    println!(
        "  curl -s -H 'X-API-Key: {}' http://{address}/hello",
        issued.secret().expose_secret()
    );
    axum::serve(listener, app(&keys)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::{Request, StatusCode};
    use sha2::{Digest, Sha256};
    use tower::ServiceExt;

    use super::*;

    const ALICE: &str = "sk_live_0123456789abcdef0123456789abcdef";
    const BOB: &str = "sk_live_fedcba9876543210fedcba9876543210";

    async fn call(keys: &KeyManager, key: &str) -> (StatusCode, String) {
        let request = Request::get("/hello").header("x-api-key", key).body(Body::empty()).unwrap();
        let response = app(keys).unwrap().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_table_has_the_digests_of_the_keys() {
        for (row, key) in TABLE.iter().zip([ALICE, BOB]) {
            let digest: [u8; 32] = Sha256::digest(key).into();
            assert_eq!(decode_hex(row.sha256), Some(digest));
        }
        for text in ["", "0", "zz", &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            assert_eq!(decode_hex(text), None, "{text:?}");
        }
    }

    #[tokio::test]
    async fn old_and_new_keys_work_beside_each_other() {
        let keys = keys(MemoryKeyStore::new()).unwrap();
        assert_eq!(call(&keys, ALICE).await.0, StatusCode::UNAUTHORIZED);

        assert_eq!(migrate(&keys, &TABLE).await.unwrap(), 2);
        assert_eq!(migrate(&keys, &TABLE).await.unwrap(), 0);

        let carol = Owner::new("carol").unwrap();
        let issued = keys.generate(&carol, NewKey::new("phone")).await.unwrap();
        let new = issued.secret().expose_secret();
        assert!(new.starts_with("acme_"));
        assert_eq!(call(&keys, ALICE).await, (StatusCode::OK, "hello alice\n".to_owned()));
        assert_eq!(call(&keys, new).await, (StatusCode::OK, "hello carol\n".to_owned()));
        // What had expired stays expired, and what was never a key is none.
        assert_eq!(call(&keys, BOB).await.0, StatusCode::UNAUTHORIZED);
        for row in &TABLE {
            assert_eq!(call(&keys, row.sha256).await.0, StatusCode::UNAUTHORIZED);
        }
        let unknown = "sk_live_00000000000000000000000000000000";
        assert_eq!(call(&keys, unknown).await.0, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn an_old_key_is_listed_revoked_and_replaced() {
        let keys = keys(MemoryKeyStore::new()).unwrap();
        migrate(&keys, &TABLE).await.unwrap();
        let alice = Owner::new("alice").unwrap();
        let page = keys.list(&alice, None, 10).await.unwrap();
        let id = page.keys()[0].id();
        // The id of a key is found in the old table: left(sha256, 24).
        assert_eq!(id.as_str(), &TABLE[0].sha256[..24]);

        let rotated = keys.rotate(&alice, id, time::Duration::HOUR).await.unwrap();
        let new = rotated.secret().expose_secret();
        assert!(new.starts_with("acme_"));
        assert_eq!(call(&keys, new).await.0, StatusCode::OK);
        assert_eq!(call(&keys, ALICE).await.0, StatusCode::OK);
        keys.revoke(&alice, id).await.unwrap();
        assert_eq!(call(&keys, ALICE).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(call(&keys, new).await.0, StatusCode::OK);
    }
}
