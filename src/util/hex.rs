//! Hexadecimal digits of either case, written in lower case.

pub(crate) fn encode(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => u8::MAX,
    };
    // Checked once at the end: `u8::MAX` marks a character that is no digit.
    let mut all = 0;
    let byte = |[high, low]: &[u8; 2]| {
        let (high, low) = (digit(*high), digit(*low));
        all |= high | low;
        (high << 4) | (low & 15)
    };
    let bytes = pairs.iter().map(byte).collect();
    (rest.is_empty() && all < 16).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hexadecimal_digits_are_read_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(decode(&encode(&bytes).to_uppercase()), Some(bytes));
        }

        #[test]
        fn only_hexadecimal_digits_are_read(high: u8, low: u8) {
            let text = String::from_iter([char::from(high), char::from(low)]);
            let is_byte = text.bytes().all(|digit| digit.is_ascii_hexdigit());
            prop_assert_eq!(decode(&text).is_some(), is_byte);
            prop_assert_eq!(decode(&text), is_byte.then(|| vec![u8::from_str_radix(&text, 16).unwrap()]));
        }
    }
}
