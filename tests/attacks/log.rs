//! Everything that is logged at TRACE, as text and as JSON, kept apart by thread.
//!
//! Left out are the frames that `h2` logs, in the client as in the server: dozens of lines for each request.
//!
//! The runtimes of these tests have one thread each, so what a thread has logged is what its test has.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use tracing::Level;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{filter, fmt};

thread_local! {
    static TEXT: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(1 << 20));
    static JSON: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(1 << 20));
}

type Buffer = &'static std::thread::LocalKey<RefCell<Vec<u8>>>;

struct ToBuffer(Buffer);

impl io::Write for ToBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.with_borrow_mut(|buffer| buffer.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts to listen, in the whole process.
pub(super) fn listen() {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        let text = fmt::layer().with_ansi(false).with_writer(|| ToBuffer(&TEXT));
        let json = fmt::layer().json().with_writer(|| ToBuffer(&JSON));
        let levels =
            filter::Targets::new().with_default(Level::TRACE).with_target("h2", Level::INFO);
        tracing_subscriber::registry().with(text).with(json).with(levels).init();
    });
    // The buffers are there before anything is measured.
    take();
}

/// What was logged since the last call.
pub(super) struct Logged {
    pub(super) text: String,
    pub(super) json: String,
}

pub(super) fn take() -> Logged {
    let take = |buffer: Buffer| {
        buffer.with_borrow_mut(|buffer| {
            let text = String::from_utf8(buffer.clone()).expect("the log is UTF-8");
            buffer.clear();
            text
        })
    };
    Logged { text: take(&TEXT), json: take(&JSON) }
}

impl Logged {
    /// The fields of the events of this crate.
    pub(super) fn events(&self) -> Vec<serde_json::Value> {
        self.json
            .lines()
            .inspect(|line| assert!(line.starts_with('{') && line.ends_with('}'), "{line}"))
            .filter(|line| line.contains(r#""target":"tower_webhook""#))
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].take())
            .collect()
    }
}
