//! A process that is killed while it writes, and one that runs out of space.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_webhook::key::{KeyRecord, KeyStore, WriteOutcome};
use tower_webhook::store::SqliteKeyStore;

use super::support::{
    Folder, Running, at, child, found, given_file, id, insert, owner, record, setting,
};

/// A small generator of numbers that need not be good, only different in every run.
struct Numbers(u64);

impl Numbers {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(now.subsec_nanos().into())
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What the writer says before and after each change, one line each: `begin`, a space, the change,
/// and `done`. A change is the text of a record, or `-` and the ids that are removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_to_be_killed() {
    let Some(file) = given_file() else { return };
    let store = SqliteKeyStore::open(file).await.unwrap();
    let mut numbers = Numbers::new();
    println!();
    loop {
        let key = format!("k{}", numbers.below(40));
        let old = store.find(&id(&key)).await.unwrap();
        let write = match (old, numbers.below(4)) {
            (None, _) => {
                let new = record(&key, "ann", 0);
                println!("begin {}", new.encode());
                store.insert(new).await
            }
            (Some(old), 0) => {
                let other = format!("k{}", numbers.below(40));
                let mut ids = vec![old.id().clone()];
                if store.find(&id(&other)).await.unwrap().is_some() {
                    ids.push(id(&other));
                }
                let names: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
                println!("begin -{}", names.join(" "));
                store.remove(&owner("ann"), &ids).await
            }
            (Some(old), change) => {
                let version = old.version();
                let new = old.with_version(version + 1);
                let new = match change {
                    1 => new.with_revoked_at(Some(at(7))),
                    2 => new.with_metadata(Some(format!("\"{}\"", "x".repeat(9000)))).unwrap(),
                    _ => new.with_metadata(None::<&str>).unwrap(),
                };
                println!("begin {}", new.encode());
                store.replace(new, version).await
            }
        };
        assert_eq!(write.unwrap(), WriteOutcome::Applied);
        println!("done");
    }
}

type Model = BTreeMap<String, String>;

fn apply(model: &mut Model, change: &str) {
    if let Some(ids) = change.strip_prefix('-') {
        for id in ids.split(' ') {
            model.remove(id);
        }
        return;
    }
    let record = KeyRecord::decode(change).unwrap();
    model.insert(record.id().to_string(), change.to_owned());
}

#[tokio::test]
async fn a_killed_writer_has_lost_nothing_that_it_acknowledged() {
    let folder = Folder::new();
    let kills: u32 = setting("TOWER_WEBHOOK_KILLS", 20);
    let mut numbers = Numbers::new();
    let mut model = Model::new();
    let mut acknowledged = 0;
    for _ in 0..kills {
        let mut command = child("sqlite::crash::a_writer_that_is_to_be_killed", &folder.file());
        let mut writer = Running(command.spawn().unwrap());
        let mut output = BufReader::new(writer.0.stdout.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("begin") {
            assert_ne!(output.read_line(&mut lines).unwrap(), 0, "the writer did not start");
        }
        let patience = Duration::from_micros(numbers.below(60_000));
        let reader = thread::spawn(move || {
            output.read_to_string(&mut lines).unwrap();
            lines
        });
        thread::sleep(patience);
        writer.0.kill().unwrap();
        writer.0.wait().unwrap();
        let lines = reader.join().unwrap();

        let mut under_way = None;
        for line in lines.split_inclusive('\n') {
            if let Some(change) = line.strip_prefix("begin ") {
                // A line that was cut short was not acted upon.
                under_way = change.strip_suffix('\n');
            } else if line == "done\n" {
                apply(&mut model, under_way.take().unwrap());
                acknowledged += 1;
            }
        }
        let mut other = model.clone();
        if let Some(change) = under_way {
            apply(&mut other, change);
        }
        // Opening reads every record.
        let store = SqliteKeyStore::open(folder.file()).await.unwrap();
        let listed = store.list(&owner("ann"), None, 1000).await.unwrap();
        let listed = listed.iter().map(|record| (record.id().to_string(), record.encode()));
        let listed: Model = listed.collect();
        assert!(listed == model || listed == other, "{under_way:?}\n{listed:#?}\n{model:#?}");
        for number in 0..40 {
            let key = format!("k{number}");
            assert_eq!(found(&store, &key).await.as_ref(), listed.get(&key));
        }
        model = listed;
    }
    assert!(acknowledged > kills, "{acknowledged} changes in {kills} runs are too few");
}

#[tokio::test]
async fn a_writer_that_runs_out_of_space() {
    let Some(file) = given_file() else { return };
    let store = SqliteKeyStore::open(file).await.unwrap();
    let large = |number: u32, version| {
        let record = record(&format!("k{number}"), "ann", i64::from(number)).with_version(version);
        record.with_metadata(Some(format!("\"{}\"", "x".repeat(20_000)))).unwrap()
    };
    let (mut count, mut failures) = (0, 0);
    // The log can start again at its beginning after a first failure.
    while failures < 5 {
        match store.insert(large(count, 1)).await {
            Ok(_) => (count, failures) = (count + 1, 0),
            Err(_) => failures += 1,
        }
        assert!(count < 1000, "there is no limit");
    }
    // What is there stays there, and nothing is half made.
    assert!(store.replace(large(0, 2), 1).await.is_err());
    for number in 0..count {
        assert_eq!(found(&store, &format!("k{number}")).await, Some(large(number, 1).encode()));
    }
    assert_eq!(found(&store, &format!("k{count}")).await, None);

    println!("\nfull {count}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    insert(&store, &large(count, 1)).await;
    assert_eq!(store.replace(large(0, 2), 1).await.unwrap(), WriteOutcome::Applied);
    println!("works {}", count + 1);
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_ends_when_there_is_space_again() {
    let folder = Folder::new();
    let program = child("sqlite::crash::a_writer_that_runs_out_of_space", &folder.file());
    // A limit on the size of files, which the shell sets, without a signal.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 2000; exec \"$0\" \"$@\""]);
    command.arg(program.get_program()).args(program.get_args());
    command.env("TOWER_WEBHOOK_FILE", folder.file());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut writer = Running(command.spawn().unwrap());
    let mut output = BufReader::new(writer.0.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("full ") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the writer failed");
    }

    let pid = writer.0.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    assert!(lifted.expect("`prlimit` is in Debian's util-linux").success());
    writeln!(writer.0.stdin.take().unwrap()).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(writer.0.wait().unwrap().success(), "{rest}");

    let count: usize =
        rest.lines().find_map(|line| line.strip_prefix("works ")).unwrap().parse().unwrap();
    let store = SqliteKeyStore::open(folder.file()).await.unwrap();
    assert_eq!(store.list(&owner("ann"), None, 2000).await.unwrap().len(), count);
}
