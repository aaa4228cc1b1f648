//! Who may write to the file, and what cannot be opened.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tower_webhook::key::KeyStore;
use tower_webhook::store::{FileKeyStore, FileStoreError, FileStoreErrorKind, KeyFile};

use super::{content, open, path, put};
use crate::shared::{Folder, found, insert, record};

async fn refusal(path: impl AsRef<Path>) -> FileStoreError {
    FileKeyStore::open(path).await.unwrap_err()
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn a_missing_file_is_refused_and_created_on_request_only() {
    let folder = Folder::new();
    let error = refusal(path(&folder)).await;
    assert_eq!(error.kind(), FileStoreErrorKind::Inaccessible);
    assert!(error.to_string().starts_with(&format!("{:?}: ", path(&folder))), "{error}");
    assert!(error.source().is_some());
    assert!(!path(&folder).exists());

    drop(FileKeyStore::create(path(&folder)).await.unwrap());
    assert_eq!(mode(path(&folder)), 0o600);
    put(&folder, &content(&["k1"]));
    let store = FileKeyStore::create(path(&folder)).await.unwrap();
    assert!(found(&store, "k1").await.is_some());
    let nowhere = FileKeyStore::create(folder.path().join("none/keys.json")).await;
    assert_eq!(nowhere.unwrap_err().kind(), FileStoreErrorKind::Inaccessible);
}

#[tokio::test]
async fn a_file_or_folder_that_others_can_write_to_is_refused() {
    let folder = Folder::new();
    put(&folder, &content(&["k1"]));
    for bits in [0o620, 0o602, 0o666, 0o660] {
        set_mode(path(&folder), bits);
        let error = refusal(path(&folder)).await;
        assert_eq!(error.kind(), FileStoreErrorKind::Permissions, "{bits:o}");
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }
    set_mode(path(&folder), 0o644);
    for bits in [0o777, 0o770, 0o702] {
        set_mode(folder.path(), bits);
        let error = refusal(path(&folder)).await;
        assert_eq!(error.kind(), FileStoreErrorKind::Permissions, "{bits:o}");
        let insecure = KeyFile::new(path(&folder)).with_insecure_permissions();
        drop(FileKeyStore::open(insecure).await.unwrap());
    }
    // With the sticky bit only the owner of a file can replace it.
    set_mode(folder.path(), 0o1777);
    drop(open(&folder).await);
}

#[tokio::test]
async fn what_is_no_file_is_refused_without_waiting() {
    let folder = Folder::new();
    for path in [folder.path(), Path::new("/dev/null"), Path::new("/")] {
        assert_eq!(refusal(path).await.kind(), FileStoreErrorKind::NotAFile, "{path:?}");
    }
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    set_mode(&pipe, 0o600);
    assert_eq!(refusal(&pipe).await.kind(), FileStoreErrorKind::NotAFile);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused() {
    let folder = Folder::new();
    let file = fs::File::create(path(&folder)).unwrap();
    file.set_len(FileKeyStore::MAX_LEN + 1).unwrap();
    assert_eq!(refusal(path(&folder)).await.kind(), FileStoreErrorKind::TooLarge);
}

/// A Secret in Kubernetes: `keys.json` leads to `..data/keys.json`, and `..data` to a folder that is replaced.
#[tokio::test]
async fn a_mounted_secret_is_read_and_never_changed() {
    let folder = Folder::new();
    let mount = |name: &str, ids: &[&str]| {
        fs::create_dir(folder.path().join(name)).unwrap();
        set_mode(folder.path().join(name), 0o755);
        fs::write(folder.path().join(name).join("keys.json"), content(ids)).unwrap();
        symlink(name, folder.path().join("..data_tmp")).unwrap();
        fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    };
    mount("..2026_11_24", &["k1"]);
    symlink("..data/keys.json", path(&folder)).unwrap();
    set_mode(folder.path(), 0o1777);
    let store = open(&folder).await;
    assert!(found(&store, "k1").await.is_some());

    mount("..2026_11_25", &["k2"]);
    fs::remove_dir_all(folder.path().join("..2026_11_24")).unwrap();
    assert!(store.reload().await.unwrap());
    assert!(found(&store, "k1").await.is_none());
    assert!(found(&store, "k2").await.is_some());

    let refused = store.insert(record("k3", "ann", 0)).await.unwrap_err();
    let cause = refused.source().unwrap().downcast_ref::<FileStoreError>().unwrap();
    assert_eq!(cause.kind(), FileStoreErrorKind::ReadOnly);
    assert!(path(&folder).is_symlink());
    assert!(found(&store, "k3").await.is_none());

    set_mode(folder.path().join("..2026_11_25"), 0o777);
    assert_eq!(store.reload().await.unwrap_err().kind(), FileStoreErrorKind::Permissions);
    assert!(found(&store, "k2").await.is_some());
}

#[tokio::test]
async fn a_change_keeps_the_mode_and_clears_what_a_killed_writer_left() {
    let folder = Folder::new();
    put(&folder, &content(&[]));
    set_mode(path(&folder), 0o640);
    let left_over = folder.path().join(".keys.json.new");
    fs::write(&left_over, "[").unwrap();
    let store = open(&folder).await;
    insert(&store, &record("k1", "ann", 0)).await;
    assert_eq!(mode(path(&folder)), 0o640);
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["keys.json"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_an_error_while_another_process_holds_the_folder() {
    let folder = Folder::new();
    put(&folder, &content(&["k1"]));
    let store = open(&folder).await;
    let lock = fs::File::open(folder.path()).unwrap();
    lock.lock().unwrap();

    assert!(store.insert(record("k2", "ann", 0)).await.is_err());
    assert!(found(&store, "k1").await.is_some());
    store.reload().await.unwrap();
    drop(lock);
    insert(&store, &record("k2", "ann", 0)).await;
}
