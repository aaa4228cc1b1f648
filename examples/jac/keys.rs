//! The keys of all users: [`KeyManager`] for the keys themselves, and their labels beside them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use servers::{DataFolder, Error};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use tower_webhook::credential::Secret;
use tower_webhook::key::{
    KeyDraft, KeyFormat, KeyHasher, KeyId, KeyManager, KeyRecord, KeyVerifier, ManageErrorKind,
    NewKey, OpaqueFormat, Owner, Pepper, SealingKeys, SqliteKeyStore, random_base62,
};

use crate::answers::Refusal;
use crate::labels::{Label, Labels};
use crate::validation::{EXPIRATION, EXTENSION, KeyRequest, beyond_time};

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    manager: KeyManager,
    labels: Labels,
    format: OpaqueFormat,
    /// Held by whoever changes which names are taken, across both tables.
    naming: Arc<Mutex<()>>,
}

/// A key as its owner sees it.
#[derive(Debug)]
pub(crate) struct ShownKey {
    pub(crate) record: KeyRecord,
    pub(crate) label: Label,
    pub(crate) key: Secret,
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
        let labels = Labels::open(&folder.file("labels.db")).await?;
        Ok(Self { manager, labels, format, naming: Arc::default() })
    }

    /// What walkers ask whether a key is good.
    pub(crate) fn verifier(&self) -> KeyVerifier {
        self.manager.verifier().with_store_deadline(StdDuration::from_secs(5))
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.manager.clock().now()
    }

    /// What a good key is for; `None` if it was deleted just now.
    pub(crate) async fn label(&self, id: &KeyId) -> Result<Option<Label>, Refusal> {
        Ok(self.labels.get(id).await?)
    }

    /// Makes a key. Its id follows from its text, so the label can be there first.
    pub(crate) async fn generate(
        &self,
        owner: &Owner,
        request: KeyRequest,
    ) -> Result<ShownKey, Refusal> {
        let KeyRequest { name, walkers, nodes, lifetime } = request;
        let label = Label { name, walkers, nodes };
        let _naming = self.naming.lock().await;
        if self.is_taken(owner, &label.name).await? {
            return Err(Refusal::Conflict);
        }
        let key = self.format.generate(&KeyDraft::new(owner, self.now()));
        let key = key.map_err(|error| Refusal::unavailable(&error))?;
        let parsed = self.format.parse(key.expose_secret()).ok_or(Refusal::Unavailable)?;
        self.labels.put(owner, parsed.id(), &label).await?;

        // What the key is for is in its label.
        let new = NewKey::new("jac").with_all_scopes().with_expires_in(lifetime);
        let imported = self.manager.import(owner, key.clone(), new).await;
        let record = imported.map_err(|error| match error.kind() {
            ManageErrorKind::Invalid => Refusal::Invalid(vec![beyond_time(EXPIRATION)]),
            _ => error.into(),
        })?;
        Ok(ShownKey { record, label, key })
    }

    /// The keys of an owner, oldest first.
    pub(crate) async fn list(&self, owner: &Owner) -> Result<Vec<ShownKey>, Refusal> {
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
    ) -> Result<(), Refusal> {
        let id = KeyId::new(id).map_err(|_| Refusal::NotFound)?;
        let extended = self.manager.extend(owner, &id, interval).await;
        extended.map(drop).map_err(|error| match error.kind() {
            ManageErrorKind::Invalid => Refusal::Invalid(vec![beyond_time(EXTENSION)]),
            _ => error.into(),
        })
    }

    /// Deletes all of these keys, or none.
    pub(crate) async fn delete(&self, owner: &Owner, ids: &[String]) -> Result<(), Refusal> {
        let ids: Result<BTreeSet<KeyId>, _> = ids.iter().map(KeyId::new).collect();
        let ids = Vec::from_iter(ids.map_err(|_| Refusal::NotFound)?);
        let _naming = self.naming.lock().await;
        self.manager.delete(owner, &ids).await?;
        Ok(self.labels.remove(&ids).await?)
    }

    /// Whether an owner has a key that is called so. A label that a kill has left behind does not count.
    async fn is_taken(&self, owner: &Owner, name: &str) -> Result<bool, Refusal> {
        let Some(id) = self.labels.named(owner, name).await? else { return Ok(false) };
        let id = KeyId::new(id).map_err(|error| Refusal::unavailable(&error))?;
        match self.manager.get(owner, &id).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ManageErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
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
