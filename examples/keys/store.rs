//! The store that `--store` names.

use std::sync::Arc;

use tower_webhook::key::KeyManager;
use tower_webhook::store::MemoryKeyStore;

use crate::Opened;
use crate::failure::Failure;

/// Opens the store that a text names, and sets it up before if `create`.
pub(crate) async fn open(text: &str, create: bool) -> Result<Opened, Failure> {
    let scheme = text.split(':').next().unwrap_or_default();
    match scheme {
        "memory" if text == "memory" => Ok(Opened::in_memory()),
        "sqlite" if text.len() > "sqlite:".len() => sqlite(text, create).await,
        "file" if text.len() > "file:".len() => json_file(text, create).await,
        "postgres" | "postgresql" => postgres(text, create).await,
        "redis" | "rediss" => redis(text, create).await,
        _ => Err(Failure::usage(
            "the store is sqlite:FILE, file:FILE, postgres://.., redis://.. or memory",
        )),
    }
}

impl Opened {
    pub(crate) fn in_memory() -> Self {
        let store = Arc::new(MemoryKeyStore::new());
        Self { keys: KeyManager::new(store.clone()), scan: store, last_used: None }
    }

    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
    fn in_database<S>(store: S) -> Self
    where
        S: tower_webhook::key::KeyStore
            + tower_webhook::store::KeyScan
            + tower_webhook::store::LastUsedSource
            + Clone,
    {
        let shared = Arc::new(store.clone());
        Self { keys: KeyManager::new(store), scan: shared.clone(), last_used: Some(shared) }
    }
}

#[cfg(feature = "sqlite")]
async fn sqlite(text: &str, create: bool) -> Result<Opened, Failure> {
    let file = existing(text.strip_prefix("sqlite:").unwrap_or_default(), create)?;
    let store = tower_webhook::store::SqliteKeyStore::open(file).await;
    let store = store.map_err(|error| Failure::fault(&error))?;
    Ok(Opened::in_database(store))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_text: &str, _create: bool) -> Result<Opened, Failure> {
    Err(without("SQLite", "sqlite"))
}

/// A JSON file, which a server reads again.
#[cfg(feature = "file")]
async fn json_file(text: &str, create: bool) -> Result<Opened, Failure> {
    let file = existing(text.strip_prefix("file:").unwrap_or_default(), create)?;
    let store = match create {
        true => tower_webhook::store::FileKeyStore::create(file).await,
        false => tower_webhook::store::FileKeyStore::open(file).await,
    };
    let store = store.map_err(|error| Failure::fault(&error))?;
    Ok(Opened { keys: KeyManager::new(store.clone()), scan: Arc::new(store), last_used: None })
}

#[cfg(not(feature = "file"))]
async fn json_file(_text: &str, _create: bool) -> Result<Opened, Failure> {
    Err(without("key file in JSON", "file"))
}

/// The path of a file, which only some commands may create.
#[cfg(any(feature = "file", feature = "sqlite"))]
fn existing(file: &str, create: bool) -> Result<&str, Failure> {
    if create || std::path::Path::new(file).exists() {
        return Ok(file);
    }
    Err(Failure::usage("there is no such file, and only init or --create makes one"))
}

#[cfg(feature = "postgres")]
async fn postgres(text: &str, create: bool) -> Result<Opened, Failure> {
    let store = tower_webhook::store::PostgresKeyStore::connect(text).await;
    let store = store.map_err(|error| Failure::fault(&error))?;
    if create {
        store.migrate().await.map_err(|error| Failure::fault(&error))?;
    }
    Ok(Opened::in_database(store))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_text: &str, _create: bool) -> Result<Opened, Failure> {
    Err(without("PostgreSQL", "postgres"))
}

#[cfg(feature = "redis")]
async fn redis(text: &str, create: bool) -> Result<Opened, Failure> {
    let store = tower_webhook::store::RedisKeyStore::connect(text).await;
    let store = store.map_err(|error| Failure::fault(&error))?;
    if create {
        store.initialize().await.map_err(|error| Failure::fault(&error))?;
    }
    Ok(Opened::in_database(store))
}

#[cfg(not(feature = "redis"))]
async fn redis(_text: &str, _create: bool) -> Result<Opened, Failure> {
    Err(without("Redis", "redis"))
}

/// A store that was left out of this build.
#[allow(dead_code, reason = "with every feature nothing is left out")]
fn without(name: &str, feature: &str) -> Failure {
    Failure::usage(format!("this build has no {name}: build it with `--features {feature}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_is_named_by_its_scheme() {
        assert!(open("memory", false).await.is_ok());
        for text in ["", "memory:", "sqlite:", "sqlite", "file:", "mysql://secret@host/", "keys.db"]
        {
            let failure = open(text, false).await.map(|_| ()).unwrap_err();
            assert_eq!(failure.code, 2, "{text}");
            assert!(!failure.text.contains("secret"));
        }
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn only_create_makes_a_file() {
        let folder = std::env::temp_dir().join(format!("keys-example-{}", std::process::id()));
        let file = folder.join("keys.db");
        let text = format!("sqlite:{}", file.display());
        let failure = open(&text, false).await.map(|_| ()).unwrap_err();
        assert_eq!((failure.code, file.exists()), (2, false));

        assert!(open(&text, true).await.is_ok());
        assert!(open(&text, false).await.is_ok());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(feature = "file")]
    #[tokio::test]
    async fn only_create_makes_a_json_file() {
        let folder = std::env::temp_dir().join(format!("keys-example-json-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("keys.json");
        let text = format!("file:{}", file.display());
        let failure = open(&text, false).await.map(|_| ()).unwrap_err();
        assert_eq!((failure.code, file.exists()), (2, false));

        let made = open(&text, true).await.unwrap();
        let ann = tower_webhook::Owner::new("ann").unwrap();
        made.keys.generate(&ann, tower_webhook::NewKey::new("laptop")).await.unwrap();
        let opened = open(&text, false).await.unwrap();
        assert_eq!(opened.keys.list(&ann, None, 10).await.unwrap().keys().len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(not(feature = "sqlite"))]
    #[tokio::test]
    async fn a_store_that_was_left_out_names_its_feature() {
        let failure = open("sqlite:keys.db", false).await.map(|_| ()).unwrap_err();
        assert!(failure.text.contains("`--features sqlite`"));
    }
}
