//! Keys, a store that counts, and ways to forge keys.

use std::sync::Mutex;

use futures_util::FutureExt;
use tower_webhook::Clock;
use tower_webhook::key::{KeyId, KeyManager, NewKey, Scopes};

use crate::support::{NOW, TestStore, owner, scope};

pub(super) const ID_LEN: usize = 16;
pub(super) const SECRET_LEN: usize = 38;

pub(super) struct Fixture {
    pub(super) store: TestStore,
    pub(super) manager: KeyManager,
    /// A good key of alice with the scope `deploy`.
    pub(super) k: String,
    pub(super) id: KeyId,
    /// Another one.
    pub(super) k2: String,
    /// Every key that was issued.
    issued: Mutex<Vec<String>>,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let store = TestStore::default();
        let manager = KeyManager::new(store.clone()).with_clock(Clock::from_fn(|| NOW));
        let mut fixture = Self {
            store,
            manager,
            k: String::new(),
            id: KeyId::new("0").unwrap(),
            k2: String::new(),
            issued: Mutex::default(),
        };
        (fixture.id, fixture.k) = fixture.issue(Self::new_key()).await;
        (_, fixture.k2) = fixture.issue(Self::new_key()).await;
        fixture
    }

    pub(super) fn new_key() -> NewKey {
        NewKey::new("corpus").with_scopes(Scopes::new([scope("deploy")]))
    }

    async fn issue(&self, new: NewKey) -> (KeyId, String) {
        let issued = self.manager.generate(&owner("alice"), new).await.unwrap();
        let (record, secret) = issued.into_parts();
        let text = secret.expose_secret().to_owned();
        self.issued.lock().unwrap().push(text.clone());
        (record.id().clone(), text)
    }

    /// Another key. The store of these tests does not wait.
    pub(super) fn issue_now(&self, new: NewKey) -> (KeyId, String) {
        self.issue(new).now_or_never().unwrap()
    }

    /// The secret of the key, without its check.
    pub(super) fn secret(&self) -> &str {
        secret_of(&self.k)
    }

    /// What must never be seen again, in lower case: the halves of the secrets.
    pub(super) fn canaries(&self) -> Vec<String> {
        let halves = |key: &String| {
            let (first, second) = secret_of(key).split_at(SECRET_LEN / 2);
            [first.to_ascii_lowercase(), second.to_ascii_lowercase()]
        };
        self.issued.lock().unwrap().iter().flat_map(halves).collect()
    }
}

fn secret_of(key: &str) -> &str {
    &key[key.len() - 6 - SECRET_LEN..key.len() - 6]
}

/// A key text with a right check.
pub(super) fn forge(prefix: &str, id: &str, secret: &str) -> String {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let start = format!("{prefix}_{id}_{secret}");
    let mut crc = u32::MAX;
    for byte in start.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut check = [b'0'; 6];
    for character in check.iter_mut().rev() {
        *character = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    start + std::str::from_utf8(&check).unwrap()
}

/// The text with another character in one place.
pub(super) fn with_char(text: &str, index: usize, character: char) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    characters[index] = character;
    characters.into_iter().collect()
}
