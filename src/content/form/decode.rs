use std::borrow::Cow;

/// Undoes percent-encoding, and `+` if it is asked to, byte by byte and without a copy.
#[derive(Clone)]
pub(crate) struct DecodedBytes<'a> {
    raw: &'a [u8],
    plus_is_space: bool,
}

impl<'a> DecodedBytes<'a> {
    /// By the rules of forms (WHATWG URL standard, section 5.1).
    pub(super) const fn of_form(raw: &'a [u8]) -> Self {
        Self { raw, plus_is_space: true }
    }

    /// All bytes. They never outgrow the room that they are given, so no piece of a secret stays behind in a
    /// block that was too small.
    fn collected(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.raw.len());
        bytes.extend(self);
        bytes
    }
}

impl Iterator for DecodedBytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.raw
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.raw = rest;
            return Some(high << 4 | low);
        }
        let (first, rest) = self.raw.split_first()?;
        self.raw = rest;
        Some(if *first == b'+' && self.plus_is_space { b' ' } else { *first })
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The bytes of a name or a value of a form. Copies only what is encoded.
pub(super) fn decoded(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        Cow::Owned(DecodedBytes::of_form(raw).collected())
    } else {
        Cow::Borrowed(raw)
    }
}

/// The bytes of a segment of a path. Copies only what is encoded.
pub(crate) fn percent_decoded(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.contains(&b'%') {
        Cow::Owned(DecodedBytes { raw, plus_is_space: false }.collected())
    } else {
        Cow::Borrowed(raw)
    }
}

/// The characters of a text in UTF-8, with U+FFFD as `String::from_utf8_lossy` puts it, one by one and
/// without a copy.
#[derive(Clone)]
pub(crate) struct LossyChars<I> {
    bytes: I,
    /// The bytes ahead, from the first one: the longest character has four.
    ahead: [u8; 4],
    length: usize,
    /// Whether a byte was replaced.
    replaced: bool,
}

impl<I: Iterator<Item = u8>> LossyChars<I> {
    pub(super) const fn new(bytes: I) -> Self {
        Self { bytes, ahead: [0; 4], length: 0, replaced: false }
    }

    /// Whether all characters are those that were sent.
    pub(super) fn into_is_utf8(mut self) -> bool {
        self.by_ref().for_each(drop);
        !self.replaced
    }

    fn consume(&mut self, count: usize) {
        self.ahead.copy_within(count.min(4).., 0);
        self.length = self.length.saturating_sub(count);
    }
}

impl<I: Iterator<Item = u8>> Iterator for LossyChars<I> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        if self.length == 0 {
            let first = self.bytes.next()?;
            if first.is_ascii() {
                return Some(char::from(first));
            }
            self.ahead = [first, 0, 0, 0];
            self.length = 1;
        }
        while let Some(slot) = self.ahead.get_mut(self.length) {
            let Some(byte) = self.bytes.next() else { break };
            *slot = byte;
            self.length += 1;
        }
        let ahead = self.ahead.get(..self.length).unwrap_or_default();
        let (valid, broken) = match std::str::from_utf8(ahead) {
            Ok(text) => (text.chars().next(), 0),
            Err(error) => {
                let valid = ahead.get(..error.valid_up_to()).unwrap_or_default();
                let valid = std::str::from_utf8(valid).ok().and_then(|text| text.chars().next());
                (valid, error.error_len().unwrap_or(self.length))
            }
        };
        match valid {
            Some(char) => {
                self.consume(char.len_utf8());
                Some(char)
            }
            None => {
                self.replaced = true;
                self.consume(broken);
                Some(char::REPLACEMENT_CHARACTER)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chars_are_those_of_a_lossy_copy(
            bytes in "[a%é\u{20ac}\u{1f639}]{0,9}".prop_flat_map(|text| {
                // Bytes of whole characters, of which some are lost or broken.
                prop::collection::vec(any::<(u8, bool)>(), text.len()).prop_map(move |noise| {
                    text.bytes()
                        .zip(noise)
                        .map(|(byte, (other, keeps))| if keeps { byte } else { other })
                        .collect::<Vec<u8>>()
                })
            })
        ) {
            let chars = LossyChars::new(bytes.iter().copied());
            prop_assert_eq!(chars.clone().into_is_utf8(), std::str::from_utf8(&bytes).is_ok());
            let chars: String = chars.collect();
            prop_assert_eq!(chars, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn segments_agree_with_percent_encoding(raw in "([a+%/é]|%[0-9a-fA-F]{2}){0,9}") {
            let expected: Vec<u8> = percent_encoding::percent_decode_str(&raw).collect();
            prop_assert_eq!(&*percent_decoded(raw.as_bytes()), &expected[..]);
        }
    }
}
