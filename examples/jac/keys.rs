//! The keys of all users: [`KeyManager`] for the keys themselves, and beside them a table of what they are
//! called and what they are for, because names are unique and a key's lists may hold any text.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration as StdDuration;

use servers::{DataFolder, Error};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{Row, query};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use tower_webhook::credential::Secret;
use tower_webhook::key::{
    KeyDraft, KeyFormat, KeyHasher, KeyId, KeyManager, KeyRecord, KeyVerifier, ManageError,
    ManageErrorKind, NewKey, OpaqueFormat, Owner, Pepper, SealingKeys, random_base62,
};
use tower_webhook::store::SqliteKeyStore;

use crate::validation::KeyRequest;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    manager: KeyManager,
    labels: Labels,
    format: OpaqueFormat,
    pub(crate) takes_quota: bool,
    /// Serializes changes of the taken names, across both tables.
    naming: Arc<Mutex<()>>,
}

/// A key as its owner sees it.
#[derive(Debug)]
pub(crate) struct ShownKey {
    pub(crate) record: KeyRecord,
    pub(crate) label: Label,
    pub(crate) key: Secret,
}

/// Why a key is not made, changed or shown.
#[derive(Debug)]
pub(crate) enum KeyError {
    /// The owner has no such key.
    NotFound,
    /// The owner has a key of this name.
    NameTaken,
    /// The new expiry would be beyond the year 9999.
    BeyondTime,
    /// A fault of ours.
    Failed(Error),
}

impl From<sqlx::Error> for KeyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ManageError> for KeyError {
    fn from(error: ManageError) -> Self {
        match error.kind() {
            ManageErrorKind::NotFound => Self::NotFound,
            _ => Self::Failed(error.into()),
        }
    }
}

impl Keys {
    pub(crate) async fn open(folder: &DataFolder) -> Result<Self, Error> {
        let pepper = Pepper::new("jac", folder.key_material("pepper")?)?;
        let sealing = SealingKeys::new(folder.key_material("sealing-key")?);
        let format = format().with_pepper(pepper.clone());
        let manager = KeyManager::new(SqliteKeyStore::open(folder.file("keys.db")).await?)
            .with_format(format.clone())
            .with_hasher(KeyHasher::peppered(pepper))
            .with_recoverable(sealing);
        let labels = Labels::open(folder.database("labels.db")?).await?;
        Ok(Self { manager, labels, format, takes_quota: false, naming: Arc::default() })
    }

    /// Sets whether a new key may have a rate limit.
    pub(crate) fn with_rate_limits(self, takes_quota: bool) -> Self {
        Self { takes_quota, ..self }
    }

    /// What walkers ask whether a key is good.
    pub(crate) fn verifier(&self) -> KeyVerifier {
        self.manager.verifier().with_store_deadline(StdDuration::from_secs(5))
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.manager.clock().now()
    }

    /// What a good key is for; `None` if it was deleted just now.
    pub(crate) async fn label(&self, id: &KeyId) -> Result<Option<Label>, KeyError> {
        Ok(self.labels.get(id).await?)
    }

    /// Makes a key.
    pub(crate) async fn generate(
        &self,
        owner: &Owner,
        request: KeyRequest,
    ) -> Result<ShownKey, KeyError> {
        let (keys, owner) = (self.clone(), owner.clone());
        to_its_end(async move { keys.make(&owner, request).await }).await
    }

    /// The id of a key follows from its text, so the label can be there first.
    async fn make(&self, owner: &Owner, request: KeyRequest) -> Result<ShownKey, KeyError> {
        let KeyRequest { name, walkers, nodes, lifetime, quota } = request;
        let label = Label { name, walkers, nodes };
        let _naming = self.naming.lock().await;
        if self.is_taken(owner, &label.name).await? {
            return Err(KeyError::NameTaken);
        }
        let key = self.format.generate(&KeyDraft::new(owner, self.now()));
        let key = key.map_err(|error| KeyError::Failed(error.into()))?;
        let parsed = self.format.parse(key.expose_secret());
        let parsed =
            parsed.ok_or_else(|| KeyError::Failed("a new key is not well-formed".into()))?;
        self.labels.put(owner, parsed.id(), &label).await?;

        // What the key is for is in its label.
        let new = NewKey::new("jac").with_all_scopes().with_expires_in(lifetime);
        let new = match quota {
            Some(quota) => new.with_rate_limit(quota),
            None => new,
        };
        let imported = self.manager.import(owner, key.clone(), new).await;
        let record = imported.map_err(beyond_time)?;
        Ok(ShownKey { record, label, key })
    }

    /// The keys of an owner, oldest first.
    pub(crate) async fn list(&self, owner: &Owner) -> Result<Vec<ShownKey>, KeyError> {
        let mut records = Vec::new();
        let mut after = None;
        loop {
            let page = self.manager.list(owner, after, KeyManager::MAX_PAGE_LEN).await?;
            after = page.next().cloned();
            records.extend(page.into_keys());
            if after.is_none() {
                break;
            }
        }
        // A label is there before its key: one that is missing now belongs to a key that was just deleted.
        let mut labels = self.labels.of(owner).await?;
        let labelled = records.into_iter().filter_map(|record| {
            let label = labels.remove(record.id().as_str())?;
            Some((record, label))
        });
        let shown = labelled.map(|(record, label)| {
            let key = self.manager.recover_record(&record)?;
            Ok(ShownKey { record, label, key })
        });
        shown.collect()
    }

    pub(crate) async fn extend(
        &self,
        owner: &Owner,
        id: &str,
        interval: Duration,
    ) -> Result<(), KeyError> {
        let id = KeyId::new(id).map_err(|_| KeyError::NotFound)?;
        let extended = self.manager.extend(owner, &id, interval).await;
        extended.map(drop).map_err(beyond_time)
    }

    /// Deletes all of these keys, or none.
    pub(crate) async fn delete(&self, owner: &Owner, ids: &[String]) -> Result<(), KeyError> {
        let ids: Result<BTreeSet<KeyId>, _> = ids.iter().map(KeyId::new).collect();
        let ids = Vec::from_iter(ids.map_err(|_| KeyError::NotFound)?);
        let (keys, owner) = (self.clone(), owner.clone());
        to_its_end(async move {
            let _naming = keys.naming.lock().await;
            keys.manager.delete(&owner, &ids).await?;
            Ok(keys.labels.remove(&ids).await?)
        })
        .await
    }

    /// Whether an owner has a key that is called so. A label that a kill has left behind does not count.
    async fn is_taken(&self, owner: &Owner, name: &str) -> Result<bool, KeyError> {
        let Some(id) = self.labels.named(owner, name).await? else { return Ok(false) };
        let id = KeyId::new(id).map_err(|error| KeyError::Failed(error.into()))?;
        match self.manager.get(owner, &id).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ManageErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Does not stop halfway when the caller goes away: what is written to one table would then be without its
/// match in the other, and names would be given while a write is still on its way.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, KeyError>> + Send + 'static,
) -> Result<T, KeyError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(KeyError::Failed(error.into())))
}

/// The only thing about an interval that the manager can find invalid is where it leads.
fn beyond_time(error: ManageError) -> KeyError {
    match error.kind() {
        ManageErrorKind::Invalid => KeyError::BeyondTime,
        _ => error.into(),
    }
}

/// `<root id>:<Unix seconds>:<32 random characters>`
fn format() -> OpaqueFormat {
    OpaqueFormat::new().with_generator(|draft: &KeyDraft<'_>| {
        let random = random_base62(32)?;
        let seconds = draft.now().unix_timestamp();
        Ok(Secret::new(format!("{}:{seconds}:{}", draft.owner(), random.expose_secret())))
    })
}

/// A label without its key counts for nothing. It is written before the key and removed after it, so that a
/// kill in between leaves no key without one.
#[derive(Clone, Debug)]
pub(crate) struct Labels(SqlitePool);

/// What is known of one key, apart from the key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Label {
    pub(crate) name: String,
    /// The names of walkers, or all of them if there is none.
    pub(crate) walkers: Vec<String>,
    /// The types of nodes, or all of them if there is none.
    pub(crate) nodes: Vec<String>,
}

impl Labels {
    pub(crate) async fn open(options: SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        query(
            "CREATE TABLE IF NOT EXISTS labels (
                id TEXT NOT NULL PRIMARY KEY,
                owner TEXT NOT NULL,
                name TEXT NOT NULL,
                walkers TEXT NOT NULL,
                nodes TEXT NOT NULL,
                UNIQUE (owner, name)
            ) STRICT",
        )
        .execute(&pool)
        .await?;
        Ok(Self(pool))
    }

    /// The key that is called so.
    pub(crate) async fn named(
        &self,
        owner: &Owner,
        name: &str,
    ) -> Result<Option<String>, sqlx::Error> {
        let row = query("SELECT id FROM labels WHERE owner = ?1 AND name = ?2");
        let row = row.bind(owner.as_str()).bind(name).fetch_optional(&self.0).await?;
        row.map(|row| row.try_get("id")).transpose()
    }

    /// Gives a key its label, in the place of one that has the same name.
    pub(crate) async fn put(
        &self,
        owner: &Owner,
        id: &KeyId,
        label: &Label,
    ) -> Result<(), sqlx::Error> {
        let put = query("INSERT OR REPLACE INTO labels VALUES (?1, ?2, ?3, ?4, ?5)");
        let put = put.bind(id.as_str()).bind(owner.as_str()).bind(&label.name);
        let put = put.bind(written(&label.walkers)).bind(written(&label.nodes));
        put.execute(&self.0).await.map(drop)
    }

    pub(crate) async fn get(&self, id: &KeyId) -> Result<Option<Label>, sqlx::Error> {
        let row = query("SELECT name, walkers, nodes FROM labels WHERE id = ?1");
        let row = row.bind(id.as_str()).fetch_optional(&self.0).await?;
        row.as_ref().map(read).transpose()
    }

    /// The labels of an owner by the ids of their keys.
    pub(crate) async fn of(&self, owner: &Owner) -> Result<HashMap<String, Label>, sqlx::Error> {
        let rows = query("SELECT id, name, walkers, nodes FROM labels WHERE owner = ?1");
        let rows = rows.bind(owner.as_str()).fetch_all(&self.0).await?;
        rows.iter().map(|row| Ok((row.try_get("id")?, read(row)?))).collect()
    }

    pub(crate) async fn remove(&self, ids: &[KeyId]) -> Result<(), sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        for id in ids {
            let delete = query("DELETE FROM labels WHERE id = ?1").bind(id.as_str());
            delete.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }
}

fn read(row: &SqliteRow) -> Result<Label, sqlx::Error> {
    let texts = |column: &str| -> Result<Vec<String>, sqlx::Error> {
        let text: &str = row.try_get(column)?;
        serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    Ok(Label { name: row.try_get("name")?, walkers: texts("walkers")?, nodes: texts("nodes")? })
}

/// A list of texts as JSON.
pub(crate) fn written(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that ends takes the work of its handler with it.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_key_loses_its_label_when_a_caller_gives_up() {
        let folder = std::env::temp_dir().join(format!("tower-webhook-jac-{}", std::process::id()));
        let keys = Keys::open(&DataFolder::open(&folder).unwrap()).await.unwrap();
        let owner = Owner::new("65f0a1b2c3d4e5f6a7b8c9d0").unwrap();
        let request = || KeyRequest {
            name: "x".to_owned(),
            walkers: Vec::new(),
            nodes: Vec::new(),
            lifetime: Duration::DAY,
            quota: None,
        };
        for round in 0..40 {
            let calls = [0, 1, 2].map(|call| {
                let (keys, owner) = (keys.clone(), owner.clone());
                tokio::spawn(async move {
                    let patience = StdDuration::from_micros(400 * (round + call));
                    let made = keys.generate(&owner, request());
                    let _ = tokio::time::timeout(patience, made).await;
                })
            });
            for call in calls {
                call.await.unwrap();
            }
            let naming = keys.naming.lock().await;
            let stored = keys.manager.list(&owner, None, 100).await.unwrap().into_keys();
            let labels = keys.labels.of(&owner).await.unwrap();
            drop(naming);
            assert!(stored.len() <= 1 && stored.len() == labels.len(), "{round}: {stored:?}");
            let ids: Vec<String> = stored.iter().map(|key| key.id().to_string()).collect();
            if !ids.is_empty() {
                keys.delete(&owner, &ids).await.unwrap();
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
