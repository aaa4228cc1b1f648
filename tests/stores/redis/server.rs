//! A Redis server of a test's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::Value;

use crate::support::port::Port;

/// A server on a free port of the loopback address, with a folder of its own. It ends with this value.
pub(crate) struct Server {
    child: Option<Child>,
    folder: PathBuf,
    port: Port,
    arguments: Vec<String>,
}

impl Server {
    /// A server that writes every change to its disk before it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tower-webhook-redis-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { child: None, folder, port: Port::reserve(), arguments };
        while !server.run() {
            // Another process took the port.
            server.port = Port::reserve();
        }
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port.number())
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts the server again, with the data that it had.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let started = Instant::now();
        while !self.run() {
            assert!(started.elapsed() < Duration::from_secs(10), "the port is not free again");
        }
    }

    /// Starts the server again, without its data.
    pub(crate) fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.folder).unwrap();
        fs::create_dir(&self.folder).unwrap();
        self.restart();
    }

    /// Stops the process until [`resume`](Self::resume). Its connections stay open.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// Runs a command on a connection of its own.
    pub(crate) fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap()
    }

    pub(crate) fn try_command(&self, words: &[&str]) -> redis::RedisResult<Value> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    fn run(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.number().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--daemonize", "no", "--logfile", "log"])
            .args(["--dir", self.folder.to_str().unwrap()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need a Redis server: apt-get install redis-server");
        let child = self.child.insert(child);
        let started = Instant::now();
        loop {
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            let client =
                redis::Client::open(format!("redis://127.0.0.1:{}/", self.port.number())).unwrap();
            let timeout = Duration::from_secs(1);
            if let Ok(mut connection) = client.get_connection_with_timeout(timeout) {
                let pong: redis::RedisResult<Value> = redis::cmd("PING").query(&mut connection);
                match pong {
                    Ok(_) => return true,
                    // It answers, and has an opinion.
                    Err(error) if matches!(error.code(), Some("NOAUTH")) => return true,
                    Err(_) => {}
                }
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
