//! This test program again, as another process.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// This program again, as a process that runs only the test `name` and does what it does when `file`
/// is given to it.
pub(crate) fn child(name: &str, file: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("TOWER_WEBHOOK_FILE", file).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The file that a parent process gave to this one.
pub(crate) fn given_file() -> Option<PathBuf> {
    env::var_os("TOWER_WEBHOOK_FILE").map(PathBuf::from)
}

/// Ends a process when the test ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
