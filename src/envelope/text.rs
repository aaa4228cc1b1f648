use std::io;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What JSON is appended to: a text, or the length that it is going to have.
pub(super) trait Sink {
    fn push_str(&mut self, text: &str);

    fn len(&self) -> usize;
}

impl Sink for String {
    fn push_str(&mut self, text: &str) {
        self.push_str(text);
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// Counts bytes and keeps none.
#[derive(Default)]
pub(super) struct Length(pub(super) usize);

impl Sink for Length {
    fn push_str(&mut self, text: &str) {
        self.0 = self.0.saturating_add(text.len());
    }

    fn len(&self) -> usize {
        self.0
    }
}

/// Appends a JSON object, member by member.
pub(super) struct ObjectWriter<'a, S> {
    out: &'a mut S,
    is_empty: bool,
}

impl<'a, S: Sink> ObjectWriter<'a, S> {
    pub(super) fn new(out: &'a mut S) -> Self {
        out.push_str("{");
        Self { out, is_empty: true }
    }

    /// Appends a member whose value is what `write` appends. Returns the place of the value.
    pub(super) fn member(&mut self, name: &str, write: impl FnOnce(&mut S)) -> Range<usize> {
        self.member_named(|out| push_string(out, name), write)
    }

    /// [`member`](Self::member), whose name is the JSON string that `name` appends.
    pub(super) fn member_named(
        &mut self,
        name: impl FnOnce(&mut S),
        write: impl FnOnce(&mut S),
    ) -> Range<usize> {
        if !self.is_empty {
            self.out.push_str(",");
        }
        self.is_empty = false;
        name(self.out);
        self.out.push_str(":");
        let start = self.out.len();
        write(self.out);
        start..self.out.len()
    }

    pub(super) fn finish(self) {
        self.out.push_str("}");
    }
}

/// Appends a JSON array of what `write` appends for each item.
pub(super) fn push_array<S: Sink, T>(
    out: &mut S,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut S, T),
) {
    out.push_str("[");
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(",");
        }
        write(out, item);
    }
    out.push_str("]");
}

/// Appends a JSON string.
pub(super) fn push_string(out: &mut impl Sink, text: &str) {
    // Looks at every byte, which is faster than to stop at the first that needs an escape.
    let is_plain = text
        .bytes()
        .fold(true, |plain, byte| plain & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'));
    if is_plain {
        out.push_str("\"");
        out.push_str(text);
        out.push_str("\"");
        return;
    }
    // Neither the serializer of a string nor this writer can fail.
    let _ = serde_json::to_writer(Appender(out), text);
}

/// [`push_string`] for a text that comes in characters, so that nothing has to be copied.
pub(super) fn push_chars(out: &mut impl Sink, chars: impl Iterator<Item = char>) {
    out.push_str("\"");
    for char in chars {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => {
                const DIGITS: [&str; 16] = [
                    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f",
                ];
                let (high, low) = (char as usize >> 4, char as usize & 15);
                out.push_str("\\u00");
                out.push_str(DIGITS.get(high).unwrap_or(&""));
                out.push_str(DIGITS.get(low).unwrap_or(&""));
            }
            other => out.push_str(other.encode_utf8(&mut [0; 4])),
        }
    }
    out.push_str("\"");
}

/// Appends bytes as a JSON string if they are UTF-8, and marked as base64 otherwise.
pub(super) fn push_bytes(out: &mut impl Sink, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_string(out, text),
        Err(_) => push_base64(out, bytes),
    }
}

/// Appends bytes that are marked as base64.
pub(super) fn push_base64(out: &mut impl Sink, bytes: &[u8]) {
    // Without a remainder, so that the pieces join without padding.
    const PIECE: usize = 3 * 256;

    out.push_str("{\"base64\":\"");
    let mut encoded = String::new();
    for piece in bytes.chunks(PIECE) {
        encoded.clear();
        STANDARD.encode_string(piece, &mut encoded);
        out.push_str(&encoded);
    }
    out.push_str("\"}");
}

struct Appender<'a, S>(&'a mut S);

impl<S: Sink> io::Write for Appender<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The serializer splits a text only at characters that it escapes, so nothing is replaced.
        self.0.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_in_characters_is_written_like_a_text(
            text in "[\u{0}-\u{24}a\\\\\u{7f}-\u{80}\u{2028}\u{1f639}]{0,20}"
        ) {
            let (mut whole, mut chars, mut length) = (String::new(), String::new(), Length(0));
            push_string(&mut whole, &text);
            push_chars(&mut chars, text.chars());
            push_string(&mut length, &text);
            prop_assert_eq!(&chars, &whole);
            prop_assert_eq!(&whole, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(length.len(), whole.len());
        }

        #[test]
        fn bytes_are_encoded_as_a_whole(bytes in prop::collection::vec(0x80_u8..0xc0, 1..3_000)) {
            let mut text = String::new();
            push_bytes(&mut text, &bytes);
            prop_assert_eq!(text, format!("{{\"base64\":\"{}\"}}", STANDARD.encode(&bytes)));
        }
    }
}
