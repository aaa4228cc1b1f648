//! Who may write to the file, and what cannot be opened.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use sqlx::{query, raw_sql};
use tower_webhook::store::{SqliteFile, SqliteKeyStore, SqliteOpenErrorKind};

use super::support::{Folder, connect, found, insert, record};

async fn refusal(path: impl AsRef<Path>) -> SqliteOpenErrorKind {
    SqliteKeyStore::open(path).await.unwrap_err().kind()
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn a_new_file_and_its_companions_are_for_their_owner_alone() {
    let folder = Folder::new();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;

    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(entry.path()), 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["keys.db", "keys.db-shm", "keys.db-wal"]);
}

#[tokio::test]
async fn a_file_that_others_can_write_to_is_refused_unchanged() {
    for bits in [0o620, 0o602, 0o666, 0o660] {
        let folder = Folder::new();
        drop(SqliteKeyStore::open(folder.file()).await.unwrap());
        set_mode(folder.file(), bits);
        assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Permissions);
        assert_eq!(mode(folder.file()), bits);
    }
    for bits in [0o600, 0o640, 0o644] {
        let folder = Folder::new();
        drop(SqliteKeyStore::open(folder.file()).await.unwrap());
        set_mode(folder.file(), bits);
        drop(SqliteKeyStore::open(folder.file()).await.unwrap());
        assert_eq!(mode(folder.file()), bits);
    }
}

#[tokio::test]
async fn a_companion_that_another_user_may_have_made_is_refused() {
    for suffix in ["-wal", "-shm", "-journal"] {
        let folder = Folder::new();
        let companion = folder.path().join(format!("keys.db{suffix}"));
        fs::write(&companion, "").unwrap();
        set_mode(&companion, 0o666);
        assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Permissions);

        fs::remove_file(&companion).unwrap();
        symlink("/dev/null", &companion).unwrap();
        assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::NotAFile);
    }
}

#[tokio::test]
async fn a_folder_that_others_can_write_to_is_refused() {
    let folder = Folder::new();
    for bits in [0o777, 0o770, 0o775, 0o720, 0o702, 0o1777, 0o1770, 0o2775] {
        set_mode(folder.path(), bits);
        assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Permissions, "{bits:o}");
        assert!(!folder.file().exists());
        assert_eq!(mode(folder.path()), bits);
    }
    for bits in [0o755, 0o700, 0o750] {
        set_mode(folder.path(), bits);
        drop(SqliteKeyStore::open(folder.file()).await.unwrap());
    }
    // Also with a file that is in order.
    set_mode(folder.path(), 0o770);
    assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Permissions);
    let error = SqliteKeyStore::open_unchecked(folder.file()).await.unwrap_err();
    assert_eq!(error.kind(), SqliteOpenErrorKind::Permissions);
}

#[tokio::test]
async fn a_refusal_of_permissions_says_which_file_and_what_to_do() {
    let folder = Folder::new();
    drop(SqliteKeyStore::open(folder.file()).await.unwrap());
    fs::write(folder.path().join("keys.db-journal"), "").unwrap();
    for name in ["", "keys.db", "keys.db-journal"] {
        let path = if name.is_empty() { folder.path().into() } else { folder.path().join(name) };
        let before = mode(&path);
        set_mode(&path, before | 0o020);
        let error = SqliteKeyStore::open(folder.file()).await.unwrap_err();
        set_mode(&path, before);

        assert_eq!(error.kind(), SqliteOpenErrorKind::Permissions);
        let text = error.to_string();
        let path = path.canonicalize().unwrap();
        for part in [&format!("{path:?}"), "chmod go-w", "with_insecure_permissions"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[tokio::test]
async fn a_way_out_accepts_what_others_can_write_to() {
    let folder = Folder::new();
    let file = || SqliteFile::new(folder.file()).with_insecure_permissions();
    set_mode(folder.path(), 0o1777);
    drop(SqliteKeyStore::open(file()).await.unwrap());
    assert_eq!(mode(folder.file()), 0o600);

    set_mode(folder.path(), 0o770);
    set_mode(folder.file(), 0o660);
    let store = SqliteKeyStore::open(file()).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Permissions);

    // It is no way around anything else.
    let link = folder.path().join("link.db");
    symlink("keys.db", &link).unwrap();
    let link = SqliteFile::new(link).with_insecure_permissions();
    let error = SqliteKeyStore::open(link).await.unwrap_err();
    assert_eq!(error.kind(), SqliteOpenErrorKind::NotAFile);
}

#[tokio::test]
async fn a_link_and_what_is_no_file_are_refused() {
    let folder = Folder::new();
    drop(SqliteKeyStore::open(folder.file()).await.unwrap());
    let link = folder.path().join("link.db");
    for target in ["keys.db", "nowhere.db", "/dev/null"] {
        symlink(target, &link).unwrap();
        assert_eq!(refusal(&link).await, SqliteOpenErrorKind::NotAFile);
        fs::remove_file(&link).unwrap();
    }
    assert!(!folder.path().join("nowhere.db").exists());
    assert_eq!(refusal(folder.path()).await, SqliteOpenErrorKind::NotAFile);
    assert_eq!(refusal("/").await, SqliteOpenErrorKind::NotAFile);
    assert_eq!(refusal("/dev/null").await, SqliteOpenErrorKind::NotAFile);
    assert_eq!(refusal("").await, SqliteOpenErrorKind::Inaccessible);

    // A link to the folder is none to the file.
    let other = Folder::new();
    let linked = other.path().join("folder");
    symlink(folder.path(), &linked).unwrap();
    drop(SqliteKeyStore::open(linked.join("keys.db")).await.unwrap());
}

#[tokio::test]
async fn a_missing_folder_is_made_for_its_owner_alone() {
    let folder = Folder::new();
    let missing = folder.path().join("missing");
    let store = SqliteKeyStore::open(missing.join("keys.db")).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
    assert_eq!(mode(&missing), 0o700);
}

#[tokio::test]
async fn a_folder_in_a_missing_one_is_not_made() {
    let folder = Folder::new();
    let missing = folder.path().join("missing");
    let error = SqliteKeyStore::open(missing.join("folder/keys.db")).await.unwrap_err();
    assert_eq!(error.kind(), SqliteOpenErrorKind::Inaccessible);
    assert!(error.source().is_some());
    assert!(error.to_string().contains("missing/folder/keys.db"), "{error}");
    assert!(!missing.exists());

    symlink("nowhere", &missing).unwrap();
    assert_eq!(refusal(missing.join("keys.db")).await, SqliteOpenErrorKind::Inaccessible);
    assert!(!folder.path().join("nowhere").exists());
}

#[tokio::test]
async fn a_folder_that_takes_no_file_is_refused() {
    // No user can make a file here, not even root.
    assert_eq!(refusal("/proc/keys.db").await, SqliteOpenErrorKind::Inaccessible);
    assert_eq!(refusal("/proc/self/keys.db").await, SqliteOpenErrorKind::Inaccessible);
}

#[tokio::test]
async fn a_path_is_no_uri() {
    let folder = Folder::new();
    for name in ["file:keys.db?mode=memory", ":memory:", "a?b#c%41 d", "ü.db"] {
        let path = folder.path().join(name);
        let store = SqliteKeyStore::open(&path).await.unwrap();
        insert(&store, &record("k1", "ann", 0)).await;
        assert!(path.is_file(), "{name}");
        let store = SqliteKeyStore::open(&path).await.unwrap();
        assert!(found(&store, "k1").await.is_some());
    }
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_stays_as_it_is() {
    let folder = Folder::new();
    let text = "not a database, but long enough to have a header of a hundred bytes. ".repeat(20);
    for content in [&text[..], &text[..50]] {
        fs::write(folder.file(), content).unwrap();
        set_mode(folder.file(), 0o600);
        assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Foreign);
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), content);
        fs::remove_file(folder.file()).unwrap();
    }

    for statement in
        ["CREATE TABLE keys (id TEXT)", "PRAGMA user_version = 7", "PRAGMA application_id = 1"]
    {
        let folder = Folder::new();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.file());
        let options = options.create_if_missing(true);
        let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
        raw_sql(statement).execute(&mut other).await.unwrap();
        set_mode(folder.file(), 0o600);
        assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Foreign, "{statement}");
    }
}

#[tokio::test]
async fn an_empty_file_is_a_new_one() {
    let folder = Folder::new();
    fs::write(folder.file(), "").unwrap();
    set_mode(folder.file(), 0o600);
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    insert(&store, &record("k1", "ann", 0)).await;
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let folder = Folder::new();
    drop(SqliteKeyStore::open(folder.file()).await.unwrap());
    let mut connection = connect(&folder.file()).await;
    query("PRAGMA user_version = 3").execute(&mut connection).await.unwrap();

    assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::NewerSchema);
}

#[tokio::test]
async fn a_schema_that_was_changed_is_refused() {
    let changes = [
        "DROP INDEX keys_by_owner",
        "DROP TABLE keys",
        "ALTER TABLE keys ADD COLUMN note TEXT",
        "PRAGMA user_version = 0",
        "DROP INDEX keys_by_owner; CREATE INDEX keys_by_owner ON keys (owner, id)",
    ];
    for change in changes {
        let folder = Folder::new();
        drop(SqliteKeyStore::open(folder.file()).await.unwrap());
        let mut connection = connect(&folder.file()).await;
        raw_sql(change).execute(&mut connection).await.unwrap();
        assert_eq!(refusal(folder.file()).await, SqliteOpenErrorKind::Damaged, "{change}");
    }
}

#[tokio::test]
async fn a_missing_file_is_refused_and_not_created() {
    let folder = Folder::new();
    let missing = [folder.file(), folder.path().join("none/keys.db")];
    for file in &missing {
        let error = SqliteKeyStore::open_existing(file).await.unwrap_err();
        assert_eq!(error.kind(), SqliteOpenErrorKind::Missing);
        assert!(error.to_string().contains(&format!("{file:?}")), "{error}");
        assert!(!file.exists() && !folder.path().join("none").exists());
    }
    drop(SqliteKeyStore::open(folder.file()).await.unwrap());
    drop(SqliteKeyStore::open_existing(folder.file()).await.unwrap());
}

#[tokio::test]
async fn an_error_of_opening_names_the_file() {
    let folder = Folder::new();
    fs::write(folder.file(), "no database, but some text that is long enough for a header")
        .unwrap();
    let error = SqliteKeyStore::open(folder.file()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{:?}: ", folder.file())), "{error}");
}
