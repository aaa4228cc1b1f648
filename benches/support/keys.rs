//! Stores with keys in them.

use tower_webhook::key::{KeyId, KeyManager, KeyStore, NewKey, Owner};
use tower_webhook::store::MemoryKeyStore;

pub use crate::pending::Pending;
use crate::requests::wait;

/// A manager over a memory store with so many keys, and the texts of the first hundred.
#[must_use]
pub fn keys(count: usize) -> (KeyManager, Vec<String>) {
    let mut texts = Vec::with_capacity(100);
    let manager = fill(MemoryKeyStore::new(), count, |text| {
        if texts.len() < 100 {
            texts.push(text.to_owned());
        }
    });
    (manager, texts)
}

/// A manager over a store with so many keys, whose texts are shown to the closure.
pub fn fill(store: impl KeyStore, count: usize, mut text: impl FnMut(&str)) -> KeyManager {
    let manager = KeyManager::new(store);
    let owners: Vec<_> = (0..1000).map(owner).collect();
    for index in 0..count {
        let new = NewKey::new("bench").with_all_scopes();
        let issued = wait(manager.generate(&owners[index % owners.len()], new)).expect("a key");
        text(issued.secret().expose_secret());
    }
    manager
}

/// One of the owners of the keys.
#[must_use]
pub fn owner(index: usize) -> Owner {
    Owner::new(format!("owner-{index}")).expect("an owner")
}

/// Texts that are made as keys are, and whose checksum is wrong.
#[must_use]
pub fn junk(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| format!("{}000000", &text[..text.len() - 6])).collect()
}

/// Keys that are well formed and in no other store.
#[must_use]
pub fn unknown() -> Vec<String> {
    keys(100).1
}

/// Keys that have the ids of these, and other secrets.
#[must_use]
pub fn wrong_secrets(texts: &[String]) -> Vec<String> {
    let manager = KeyManager::new(MemoryKeyStore::new());
    let other = |text: &String| {
        let id = KeyId::new(text.split('_').nth(1).expect("a key")).expect("an id");
        let new = NewKey::new("bench").with_id(id);
        let issued = wait(manager.generate(&owner(0), new)).expect("a key");
        issued.secret().expose_secret().to_owned()
    };
    texts.iter().map(other).collect()
}
