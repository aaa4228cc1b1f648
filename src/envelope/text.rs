use std::io;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Appends a JSON object, member by member.
pub(super) struct ObjectWriter<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> ObjectWriter<'a> {
    pub(super) fn new(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
    }

    /// Appends a member whose value is what `write` appends. Returns the place of the value.
    pub(super) fn member(&mut self, name: &str, write: impl FnOnce(&mut String)) -> Range<usize> {
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
        push_string(self.out, name);
        self.out.push(':');
        let start = self.out.len();
        write(self.out);
        start..self.out.len()
    }

    pub(super) fn finish(self) {
        self.out.push('}');
    }
}

/// Appends a JSON array of what `write` appends for each item.
pub(super) fn push_array<T>(
    out: &mut String,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Appends a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    // Looks at every byte, which is faster than to stop at the first that needs an escape.
    let is_plain = text
        .bytes()
        .fold(true, |plain, byte| plain & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'));
    if is_plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    // Neither the serializer of a string nor this writer can fail.
    let _ = serde_json::to_writer(Appender(out), text);
}

/// Appends bytes as a JSON string if they are UTF-8, and marked as base64 otherwise.
pub(super) fn push_bytes(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_string(out, text),
        Err(_) => {
            out.push_str("{\"base64\":\"");
            STANDARD.encode_string(bytes, out);
            out.push_str("\"}");
        }
    }
}

struct Appender<'a>(&'a mut String);

impl io::Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The serializer splits a text only at characters that it escapes, so nothing is replaced.
        self.0.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
