//! A PostgreSQL server that belongs to the tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::support::port::Port;

pub(crate) struct Server {
    data: PathBuf,
    port: Port,
    /// Whether a commit waits for the disk. No machine crashes in tests.
    waits_for_disk: bool,
    process: Mutex<Child>,
    _template: Arc<Folder>,
}

/// The server that tests share which only need one.
pub(crate) fn shared() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    server.upgrade().unwrap_or_else(|| {
        let new = Arc::new(Server::start());
        *server = Arc::downgrade(&new);
        new
    })
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(false)
    }

    /// A server whose commits wait for the disk, to be measured.
    #[allow(dead_code, reason = "for benches")]
    pub(crate) fn start_durable() -> Self {
        Self::start_with(true)
    }

    fn start_with(waits_for_disk: bool) -> Self {
        let (data, template) = (new_folder(), template());
        let mut copy = as_postgres("cp");
        copy.args(["-r", "--"]).arg(template.0.join("data")).arg(&data);
        assert!(copy.status().unwrap().success());
        for _ in 0..5 {
            let port = Port::reserve();
            let mut process = spawn(&data, port.number(), waits_for_disk);
            if wait_until_ready(&mut process, port.number()) {
                let process = Mutex::new(process);
                return Self { data, port, waits_for_disk, process, _template: template };
            }
        }
        panic!("the server does not start: {}", log(&data));
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn url(&self) -> String {
        url(self.port.number())
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        self.url().parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    /// Ends the server at once, as a crash does.
    pub(crate) fn kill(&self) {
        let mut process = self.process.lock().unwrap();
        let children = children(process.id());
        process.kill().unwrap();
        process.wait().unwrap();
        for child in children {
            signal("KILL", child);
        }
    }

    /// Starts the server again, on the same port and data.
    pub(crate) fn restart(&self) {
        let started = Instant::now();
        loop {
            let mut process = spawn(&self.data, self.port.number(), self.waits_for_disk);
            if wait_until_ready(&mut process, self.port.number()) {
                *self.process.lock().unwrap() = process;
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{}", log(&self.data));
            sleep(Duration::from_millis(100));
        }
    }

    /// Lets no process of the server write beyond this size of a file, as if the disk were full; or lifts
    /// that limit.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let postmaster = self.process.lock().unwrap().id();
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        for process in [vec![postmaster], children(postmaster)].concat() {
            let mut prlimit = as_postgres("prlimit");
            prlimit.args(["--pid", &process.to_string(), &format!("--fsize={limit}:unlimited")]);
            let _ = prlimit.stderr(Stdio::null()).status().expect("`prlimit` is in util-linux");
        }
    }

    /// Stops the server and everything in it, until it is resumed.
    pub(crate) fn pause(&self) {
        let postmaster = self.process.lock().unwrap().id();
        signal("STOP", postmaster);
        for child in children(postmaster) {
            signal("STOP", child);
        }
    }

    pub(crate) fn resume(&self) {
        let postmaster = self.process.lock().unwrap().id();
        for child in children(postmaster) {
            signal("CONT", child);
        }
        signal("CONT", postmaster);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.data);
        let _ = fs::remove_file(self.data.with_extension("log"));
    }
}

pub(crate) fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
}

fn spawn(data: &Path, port: u16, waits_for_disk: bool) -> Child {
    let log = fs::File::options().append(true).create(true).open(data.with_extension("log"));
    let mut command = as_postgres(&program("postgres"));
    command.arg("-D").arg(data).arg("-p").arg(port.to_string());
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=60",
        "shared_buffers=32MB",
        "deadlock_timeout=300ms",
        if waits_for_disk { "fsync=on" } else { "fsync=off" },
        "autovacuum=off",
    ];
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.unwrap());
    command.spawn().unwrap()
}

fn wait_until_ready(process: &mut Child, port: u16) -> bool {
    let port = port.to_string();
    while process.try_wait().unwrap().is_none() {
        let mut ready = Command::new(program("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port]).stdout(Stdio::null());
        if ready.status().unwrap().success() {
            return true;
        }
        sleep(Duration::from_millis(30));
    }
    false
}

fn log(data: &Path) -> String {
    fs::read_to_string(data.with_extension("log")).unwrap_or_default()
}

/// The processes that the server has started.
fn children(postmaster: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent == Some(&postmaster.to_string()) {
            children.push(pid);
        }
    }
    children
}

fn signal(name: &str, process: u32) {
    let mut kill = Command::new("kill");
    let _ = kill.args([format!("-{name}"), process.to_string()]).stderr(Stdio::null()).status();
}

/// A data folder that was just made. Copies of it save time.
fn template() -> Arc<Folder> {
    static TEMPLATE: Mutex<Weak<Folder>> = Mutex::new(Weak::new());
    let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    template.upgrade().unwrap_or_else(|| {
        let new = Arc::new(Folder(new_folder()));
        make_data(&new.0);
        *template = Arc::downgrade(&new);
        new
    })
}

fn make_data(folder: &Path) {
    fs::create_dir(folder).unwrap();
    if is_root() {
        let (user, group) = postgres_ids();
        chown(folder, Some(user), Some(group)).unwrap();
    }
    let mut initdb = as_postgres(&program("initdb"));
    initdb.arg("-D").arg(folder.join("data"));
    initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]);
    let output = initdb.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A folder that is gone when it is not needed any more.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn new_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("tower-webhook-postgres-{}-{count}", process::id()))
}

/// A program of the newest server that is installed.
pub(crate) fn program(name: &str) -> String {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = installed.map(|version| version.path().join("bin").join(name));
    let newest = programs.filter(|program| program.exists()).max();
    let newest = newest.expect("these tests need a PostgreSQL server: apt-get install postgresql");
    newest.to_str().unwrap().to_owned()
}

/// A command that does not run as root, which the server refuses.
fn as_postgres(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let (user, group) = postgres_ids();
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}")]);
    command.args(["--clear-groups", program]);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn postgres_ids() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find(|line| line.starts_with("postgres:"));
    let user = user.expect("these tests need the user `postgres`: apt-get install postgresql");
    let mut parts = user.split(':').skip(2).map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}
