//! The execution log: one line for each run of a walker, with what it was given.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::json::quoted;
use crate::walkers::Visit;

#[derive(Clone, Debug, Default)]
pub(crate) struct ExecLog(Option<Arc<Mutex<File>>>);

impl ExecLog {
    /// Appends to a file, or to nothing.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Writes the line. It is in the file when this returns.
    pub(crate) fn append(&self, walker: &str, visit: &Visit<'_>) -> std::io::Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let line = line(walker, visit);
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }
}

fn line(walker: &str, visit: &Visit<'_>) -> String {
    let node = visit.node.map_or("null".to_owned(), |node| quoted(&node.reference()));
    // Between JSON's tokens a line break is white space, and inside of a text there is none.
    let fields = visit.fields.replace(['\n', '\r'], " ");
    format!("{{\"walker\":{},\"node\":{node},\"fields\":{fields}}}\n", quoted(walker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_line() {
        let visit = Visit { node: None, fields: "{\"a\":[\r\n1]}" };
        let expected = "{\"walker\":\"w\\\"\",\"node\":null,\"fields\":{\"a\":[  1]}}\n";
        assert_eq!(line("w\"", &visit), expected);
    }
}
