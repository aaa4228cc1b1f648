//! `FileKeyStore` on real files: read again, replaced, broken and shared.

mod access;
mod records;
mod reload;

use std::fs;
use std::path::PathBuf;

use tower_webhook::key::KeyRecord;
use tower_webhook::store::FileKeyStore;

use crate::shared::{Folder, record};

fn path(folder: &Folder) -> PathBuf {
    folder.path().join("keys.json")
}

/// The content of a file with these keys of ann.
fn content(ids: &[&str]) -> String {
    content_of(ids.iter().map(|id| record(id, "ann", 0)))
}

fn content_of(records: impl IntoIterator<Item = KeyRecord>) -> String {
    let lines: Vec<String> = records.into_iter().map(|record| record.encode()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// Puts a file in the place of the one that is there, as another program does.
fn put(folder: &Folder, content: &str) {
    let new = folder.path().join("other");
    fs::write(&new, content).unwrap();
    fs::rename(new, path(folder)).unwrap();
}

async fn open(folder: &Folder) -> FileKeyStore {
    FileKeyStore::open(path(folder)).await.unwrap()
}
