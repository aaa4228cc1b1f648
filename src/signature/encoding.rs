//! Hex and base64 of signatures, read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::util::hex;

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Encoding {
    /// Hex, of either case. Senders write lower case.
    Hex,
    /// Base64 of the standard alphabet, with padding.
    Base64,
    /// The bytes as they are: a token.
    Text,
}

impl Encoding {
    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => hex::decode(text),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Text => Some(text.as_bytes().to_vec()),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_texts_are_no_hex_and_no_base64() {
        for text in ["a", "ag", "0x00", "+1", " 00", "00 ", "é0"] {
            assert_eq!(Encoding::Hex.decode(text), None, "{text:?}");
        }
        assert_eq!(Encoding::Hex.decode("aB"), Some(vec![0xab]));
        for text in ["YQ", "YQ=", "YQ==\n", "Y Q==", "YR==", "_-8="] {
            assert_eq!(Encoding::Base64.decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: Vec<u8>) {
            for encoding in [Encoding::Hex, Encoding::Base64] {
                let read = encoding.decode(&encoding.encode(&bytes));
                prop_assert_eq!(read.as_ref(), Some(&bytes));
            }
        }
    }
}
