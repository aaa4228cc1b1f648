//! The content of a key file: a JSON array of records. A beginning of it is no array, so that a file which is half
//! written is noticed.

use serde_json::Deserializer;
use serde_json::error::Category;

use crate::key::{DecodeError, KeyRecord, StoredRecord, WriteOutcome};
use crate::store::MemoryKeyStore;

/// What is wrong with a content, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) line: usize,
}

#[derive(Debug)]
pub(super) enum FaultKind {
    Malformed,
    /// Without a cause if a member is missing, unknown or of another type.
    InvalidRecord(Option<DecodeError>),
    DuplicateId,
}

/// Reads a whole content, or nothing.
pub(super) fn parse(bytes: &[u8]) -> Result<MemoryKeyStore, Fault> {
    let keys = MemoryKeyStore::new();
    let mut input = Input { bytes, at: 0 };
    input.require(b'[')?;
    if !input.take(b']') {
        loop {
            if keys.insert_new(input.record()?) == WriteOutcome::Conflict {
                return Err(input.fault(FaultKind::DuplicateId));
            }
            if input.take(b']') {
                break;
            }
            input.require(b',')?;
        }
    }
    input.require_end()?;
    Ok(keys)
}

/// A content with one record on each line.
pub(super) fn write(keys: &MemoryKeyStore) -> Vec<u8> {
    let mut text = String::from("[");
    keys.for_each(|record| {
        text.push_str(if text.len() > 1 { ",\n" } else { "\n" });
        text.push_str(&record.encode());
    });
    text.push_str("\n]\n");
    text.into_bytes()
}

/// A reader of an array that knows where each of its records ends, which an error of serde does not say.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Skips this byte, and the blanks before it, if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is_next = self.rest().first() == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn require(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) { Ok(()) } else { Err(self.fault(FaultKind::Malformed)) }
    }

    fn require_end(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        if self.rest().is_empty() { Ok(()) } else { Err(self.fault(FaultKind::Malformed)) }
    }

    /// RFC 8259, section 2.
    fn skip_blanks(&mut self) {
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.rest().iter().take_while(is_blank).count();
    }

    fn record(&mut self) -> Result<KeyRecord, Fault> {
        let mut values = Deserializer::from_slice(self.rest()).into_iter::<StoredRecord<'a>>();
        let stored = match values.next() {
            Some(Ok(stored)) => stored,
            // The text of the error has parts of the content in it.
            Some(Err(error)) => {
                let kind = match error.classify() {
                    Category::Data => FaultKind::InvalidRecord(None),
                    _ => FaultKind::Malformed,
                };
                let line = self.line() + error.line().saturating_sub(1);
                return Err(Fault { kind, line });
            }
            None => return Err(self.fault(FaultKind::Malformed)),
        };
        self.at += values.byte_offset();
        stored.into_record().map_err(|error| self.fault(FaultKind::InvalidRecord(Some(error))))
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { kind, line: self.line() }
    }

    fn line(&self) -> usize {
        let before = self.bytes.get(..self.at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixtures::{full, plain};

    fn record(id: &str) -> String {
        plain().encode().replacen(plain().id().as_str(), id, 1)
    }

    fn lines(records: &[String]) -> String {
        format!("[\n{}\n]\n", records.join(",\n"))
    }

    fn fault(text: &str) -> (&'static str, usize) {
        let Fault { kind, line } = parse(text.as_bytes()).unwrap_err();
        let name = match kind {
            FaultKind::Malformed => "malformed",
            FaultKind::InvalidRecord(None) => "members",
            FaultKind::InvalidRecord(Some(_)) => "values",
            FaultKind::DuplicateId => "duplicate",
        };
        (name, line)
    }

    #[test]
    fn a_content_is_read_back_as_it_was() {
        for records in [vec![], vec![plain()], vec![full()]] {
            let keys = MemoryKeyStore::new();
            for record in records {
                let _ = keys.insert_new(record);
            }
            let text = write(&keys);
            let read = parse(&text).unwrap();
            assert_eq!((read.len(), write(&read)), (keys.len(), text));
        }
        let read = parse(lines(&[record("a"), record("b")]).as_bytes()).unwrap();
        assert_eq!(String::from_utf8(write(&read)).unwrap(), lines(&[record("a"), record("b")]));
    }

    #[test]
    fn every_beginning_of_a_content_is_refused() {
        let text = lines(&[record("a"), full().encode()]);
        let end = text.trim_end().len();
        for cut in 0..end {
            assert!(parse(&text.as_bytes()[..cut]).is_err(), "{cut}");
        }
        assert_eq!(parse(&text.as_bytes()[..end]).unwrap().len(), 2);
    }

    #[test]
    fn a_fault_has_its_line() {
        let [a, b, c] = ["a", "b", "c"].map(record);
        let name = format!("\"{}\"", plain().name());
        let cases = [
            (String::new(), ("malformed", 1)),
            (a.clone(), ("malformed", 1)),
            ("[\n1]".to_owned(), ("members", 2)),
            (lines(&[a.clone(), b.clone(), a.clone()]), ("duplicate", 4)),
            (lines(&[a.clone(), b.replace(&name, "\"\""), c.clone()]), ("values", 3)),
            (lines(&[a.clone(), b.clone(), a.clone(), c.clone()]), ("duplicate", 4)),
            ("[\n\n]\n\nx".to_owned(), ("malformed", 5)),
            (format!("[\n{a},\n]"), ("malformed", 3)),
            (lines(&[a.clone(), b.replace("\"schema\":1", "\"schema\":2")]), ("values", 3)),
            (lines(&[a.clone(), b.replacen('{', "{\"x\":1,", 1), c.clone()]), ("members", 3)),
            (lines(&[a.clone(), b, c.clone()]) + "[]", ("malformed", 6)),
            (format!("[\n{a}\n{c}\n]"), ("malformed", 3)),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_content_may_be_laid_out_otherwise() {
        let value: serde_json::Value = serde_json::from_str(&lines(&[full().encode()])).unwrap();
        let read = parse(serde_json::to_string_pretty(&value).unwrap().as_bytes()).unwrap();
        assert_eq!(String::from_utf8(write(&read)).unwrap(), lines(&[full().encode()]));
    }
}
