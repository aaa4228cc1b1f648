use std::path::PathBuf;
use std::sync::Arc;

use ::support::measure::{Case, Cost, Ratio, Report, Table};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, query};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tower_webhook::key::KeyStore;
use tower_webhook::store::SqliteKeyStore;

use crate::case;
use crate::shared::id;
use crate::sqlite_file::fill;
use crate::support::folder::Folder;

const STORED: &str = "1,000 keys";
const FEW: &str = "many keys, few of them used";
const ALL: &str = "many keys, all of them used";
const BARE: &str = "1,000 keys, bare client";
const FEW_BARE: &str = "many keys, few used, bare client";
const ALL_BARE: &str = "many keys, all used, bare client";

/// Files that every table reads, made when they are needed.
#[derive(Default)]
pub(crate) struct Files(Option<(Folder, Folder)>);

pub(crate) fn look_ups(
    report: &mut Report,
    runtime: &Arc<Runtime>,
    threads: &str,
    files: &mut Files,
) {
    let title = format!("SQLite, {threads}");
    if !report.options().wants(&title) {
        return;
    }
    let count = report.options().keys.max(1000);
    let fill = || runtime.block_on(async { (filled(1000).await, filled(count).await) });
    let (few, many) = files.0.get_or_insert_with(fill);
    // A hundred of many keys, far from each other.
    let apart = count / 100;
    let look_up = |name, folder: &Folder, of, apart| {
        look_up(name, runtime, folder.file(), Keys { of, apart })
    };
    let bare =
        |name, folder: &Folder, of, apart| bare(name, runtime, folder.file(), Keys { of, apart });
    let table = Table::new(title, || look_up(STORED, few, 1000, 1))
        .with(look_up(FEW, many, 100, apart))
        .with(look_up(ALL, many, count, 1))
        .with(bare(BARE, few, 1000, 1))
        .with(bare(FEW_BARE, many, 100, apart))
        .with(bare(ALL_BARE, many, count, 1));
    let ratio = |name, cost, of| Ratio::new(name, Cost::Whole(cost), Cost::Whole(of));
    let ratios = [
        ratio("a look-up, few of many keys used, against 1,000", FEW, STORED),
        ratio("a look-up, all of many keys used, against 1,000", ALL, STORED),
        ratio("the same, bare client", ALL_BARE, BARE),
        ratio("a look-up, against the bare client", STORED, BARE),
        ratio("the same, few of many keys used", FEW, FEW_BARE),
        ratio("the same, all of many keys used", ALL, ALL_BARE),
    ];
    report.table(table, &ratios);
}

/// Every key in turn, in an order that no cache foresees, or one of so many of them.
#[derive(Clone, Copy)]
struct Keys {
    of: usize,
    apart: usize,
}

impl Keys {
    fn id(self, index: usize) -> String {
        format!("{:016}", index.wrapping_mul(2_654_435_761) % self.of * self.apart)
    }
}

/// Look-ups in a store of their own, so that no case finds the pages of another one in its cache.
fn look_up(name: &'static str, runtime: &Arc<Runtime>, file: PathBuf, keys: Keys) -> Case {
    let store = runtime.block_on(SqliteKeyStore::open_unchecked(file)).expect("the file");
    case(name, runtime, move |index| {
        let store = store.clone();
        async move {
            let found = store.find(&id(&keys.id(index))).await.expect("an answer");
            assert!(found.is_some());
        }
    })
}

/// The statement of a look-up, on a connection with the settings of the store.
fn bare(name: &'static str, runtime: &Arc<Runtime>, file: PathBuf, keys: Keys) -> Case {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .pragma("cell_size_check", "ON")
        .pragma("trusted_schema", "OFF")
        .pragma("query_only", "ON")
        .pragma("cache_size", "-16384")
        .disable_statement_logging();
    let connection = Arc::new(Mutex::new(runtime.block_on(options.connect()).expect("the file")));
    case(name, runtime, move |index| {
        let connection = Arc::clone(&connection);
        async move {
            let select = query("SELECT record, checksum FROM keys WHERE id = ?1");
            let select = select.bind(keys.id(index));
            select.fetch_one(&mut *connection.lock().await).await.expect("a row");
        }
    })
}

/// A file with so many keys.
async fn filled(count: usize) -> Folder {
    let folder = Folder::new();
    fill(&folder.file(), u32::try_from(count).expect("not so many keys")).await;
    folder
}
