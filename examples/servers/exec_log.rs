//! What executors were given, one JSON text per line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;

/// What executors were given, one JSON text per line. Clones share the file.
#[derive(Clone, Debug, Default)]
pub struct ExecLog(Option<Arc<Mutex<File>>>);

impl ExecLog {
    /// Appends to a file, or to nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened.
    pub fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Writes one line, which is in the file when this returns. `json` is not asked for if there is no file.
    ///
    /// # Errors
    ///
    /// Returns an error if the line cannot be written.
    pub fn append(&self, json: impl FnOnce() -> String) -> io::Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        // Between the tokens of a sender's JSON a line break is white space, and inside of a text there is none.
        let line = json().replace(['\n', '\r'], " ") + "\n";
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_one_line() {
        let path = std::env::temp_dir().join(format!("exec-log-{}", std::process::id()));
        let log = ExecLog::open(Some(&path)).unwrap();
        log.append(|| "{\"a\":\n1}".to_owned()).unwrap();
        log.clone().append(|| "{}".to_owned()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\": 1}\n{}\n");
        std::fs::remove_file(path).unwrap();

        ExecLog::open(None).unwrap().append(|| panic!("this is read by no test")).unwrap();
    }
}
