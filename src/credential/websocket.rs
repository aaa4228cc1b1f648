//! A key among the subprotocols of a WebSocket.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use zeroize::Zeroizing;

use super::presented::Text;
use super::scheme::{MAX_ENCODED_LEN, list};
use crate::content::is_token_byte;

/// What a protocol begins with that is a key.
const PREFIX: &[u8] = b"key.";

/// The keys that are offered as protocols. The field is a list, in one line or in several.
pub(super) fn keys(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    protocols(headers).filter_map(|protocol| protocol.strip_prefix(PREFIX))
}

/// Whether a protocol is offered that is no key.
pub(super) fn offers_other(headers: &HeaderMap) -> bool {
    protocols(headers).any(|protocol| !is_key(protocol))
}

pub(super) fn is_key(protocol: &[u8]) -> bool {
    protocol.starts_with(PREFIX)
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(|value| list(value.as_bytes()))
}

/// The key that a text means: what base64url makes of it (RFC 4648, section 5, without padding), if that is a text
/// that could not be sent as it is. A key that is a token is sent as it is.
pub(super) fn decoded(text: &[u8]) -> Text<'_> {
    if text.len() > MAX_ENCODED_LEN {
        return text.into();
    }
    match URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new) {
        Ok(decoded) if is_text(&decoded) && !decoded.iter().copied().all(is_token_byte) => {
            Text::Owned(decoded)
        }
        _ => text.into(),
    }
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_decoded_if_it_could_not_be_sent_as_it_is() {
        let cases: [(&str, &str); 10] = [
            ("YSBi", "a b"),
            ("w6Q", "\u{e4}"),
            ("YTovYj89", "a:/b?="),
            // base64url of `abc`, which is a token.
            ("YWJj", "YWJj"),
            ("opensesame", "opensesame"),
            ("a.b~c", "a.b~c"),
            // With padding, not canonical, no text, a control character.
            ("YSBiIGM=", "YSBiIGM="),
            ("YSBiIG", "YSBiIG"),
            ("_w", "_w"),
            ("YQpi", "YQpi"),
        ];
        for (sent, expected) in cases {
            assert_eq!(&*decoded(sent.as_bytes()), expected.as_bytes(), "{sent}");
        }
    }

    proptest! {
        #[test]
        fn a_key_that_is_no_token_arrives(key in "[ -~\u{e4}\u{20ac}]{0,20}[ ,:/=@\u{e4}][ -~]{0,20}") {
            let sent = URL_SAFE_NO_PAD.encode(&key);
            prop_assert_eq!(&*decoded(sent.as_bytes()), key.as_bytes());
        }

        #[test]
        fn a_key_of_the_default_format_arrives(key in "whk_[0-9A-Za-z]{16}_[0-9A-Za-z]{38}") {
            prop_assert_eq!(&*decoded(key.as_bytes()), key.as_bytes());
        }
    }
}
