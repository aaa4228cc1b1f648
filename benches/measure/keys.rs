//! The keys that are looked up.

use axum::body::Body;
use http::Request;
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::Placement;
use tower_webhook::key::{KeyId, KeyManager, KeyStore, NewKey, Owner};

use crate::Result;

/// How many keys the requests use in turn.
pub(crate) const USED_KEYS: usize = 100;
pub(crate) const HEADER: &str = "x-api-key";

/// Keys in a store, and the texts of those that the requests use.
pub(crate) struct Keys {
    manager: KeyManager,
    owner: Owner,
    ids: Vec<KeyId>,
    pub(crate) texts: Vec<String>,
}

impl Keys {
    pub(crate) async fn issue(store: impl KeyStore, count: usize) -> Result<Self> {
        let manager = KeyManager::new(store);
        let owner = Owner::new("measure")?;
        let (mut ids, mut texts) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let issued = manager.generate(&owner, NewKey::new("measure")).await?;
            ids.push(issued.record().id().clone());
            if texts.len() < USED_KEYS {
                texts.push(issued.secret().expose_secret().to_owned());
            }
        }
        Ok(Self { manager, owner, ids, texts })
    }

    pub(crate) async fn delete(self) -> Result<()> {
        for ids in self.ids.chunks(100) {
            self.manager.delete(&self.owner, ids).await?;
        }
        Ok(())
    }

    pub(crate) fn layer(&self) -> Result<AuthLayer> {
        Ok(AuthLayer::token(&self.manager, [Placement::header(HEADER)?])?)
    }

    /// The next requests, with one key after the other.
    pub(crate) fn requests(&self, count: usize) -> Result<Vec<Request<Body>>> {
        let request = |key: &String| {
            Request::get("/")
                .header("host", "localhost")
                .header("user-agent", "measure")
                .header("accept", "*/*")
                .header(HEADER, key)
                .body(Body::empty())
        };
        Ok(self.texts.iter().cycle().take(count).map(request).collect::<http::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tower_webhook::store::MemoryKeyStore;

    use super::*;

    #[test]
    fn the_keys_are_gone_afterwards() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let store = std::sync::Arc::new(MemoryKeyStore::new());
        let keys = runtime.block_on(Keys::issue(store.clone(), 250)).unwrap();
        let owner = keys.owner.clone();
        assert_eq!((keys.ids.len(), keys.texts.len()), (250, USED_KEYS));

        runtime.block_on(keys.delete()).unwrap();
        let left = runtime.block_on(store.list(&owner, None, 10)).unwrap();
        assert!(left.is_empty());
    }
}
