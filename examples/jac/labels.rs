//! What keys are called and what they are for: a table beside the keys, because names are unique and a key's
//! lists may hold any text.

use std::collections::HashMap;
use std::path::Path;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Row, query};
use tower_webhook::key::{KeyId, Owner};

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
    pub(crate) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
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
