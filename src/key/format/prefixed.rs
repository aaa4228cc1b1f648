use std::fmt;

use super::{
    BASE62, GenerateError, KeyDraft, KeyFormat, ParsedKey, RandomSource, base62_from, system_random,
};
use crate::ConfigError;
use crate::key::KeyId;
use crate::key::secret::Secret;

const ID_LEN: usize = 16;
const SECRET_LEN: usize = 38;
const CHECK_LEN: usize = 6;
/// Id, `_` and secret.
const BODY_LEN: usize = ID_LEN + 1 + SECRET_LEN;
const TAIL_LEN: usize = 1 + BODY_LEN + CHECK_LEN;

/// The default format: `prefix_<16 id>_<38 secret><6 check>`.
///
/// 1. The prefix is the issuer's, such as `whk` or `acme_live`: a lower-case letter, then 1 to 23 of
///    `a-z`, `0-9` and `_`.
/// 2. Id, secret and check are of `0-9A-Za-z`. The key needs no escaping in a header, a query, a
///    path, a form, JSON or a shell, and a double click selects all of it.
/// 3. The id (95 random bits) is public. The secret has 226 random bits from the operating system.
/// 4. The check is the CRC-32/ISO-HDLC of everything before it, in base 62 with leading zeros. It
///    catches typing errors, cut and wrapped lines and random junk before the store is asked. It is no
///    protection, since anyone can compute it.
///
/// A key is not trimmed, case-folded or decoded.
///
/// # Examples
///
/// ```
/// use tower_webhook::key::{KeyDraft, KeyFormat, Owner, PrefixedFormat};
///
/// let format = PrefixedFormat::new("acme_live")?;
/// let owner = Owner::new("ann")?;
/// let key = format.generate(&KeyDraft::new(&owner, time::OffsetDateTime::now_utc()))?;
///
/// assert!(key.expose_secret().starts_with("acme_live_"));
/// assert!(format.parse(key.expose_secret()).is_some());
/// assert!(format.parse(&key.expose_secret().to_lowercase()).is_none());
/// assert_eq!(format.regex(), r"\bacme_live_[0-9A-Za-z]{16}_[0-9A-Za-z]{44}\b");
///
/// let line = format!("GET /hook?key={}", key.expose_secret());
/// assert_eq!(format.redact(&line).as_deref(), Some("GET /hook?key=acme_live_[redacted]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PrefixedFormat {
    prefix: Box<str>,
}

impl PrefixedFormat {
    /// Keys that start with `prefix` and `_`.
    ///
    /// # Errors
    ///
    /// Refuses a prefix that is not a lower-case letter and 1 to 23 of `a-z`, `0-9` and `_`.
    pub fn new(prefix: &str) -> Result<Self, ConfigError> {
        let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let well_formed = (2..=24).contains(&prefix.len())
            && prefix.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && prefix.as_bytes().iter().all(allowed);
        if !well_formed {
            return Err(ConfigError::new(
                "the prefix of keys is a lower-case letter and 1 to 23 of a-z, 0-9 and _",
            ));
        }
        Ok(Self::checked(prefix))
    }

    fn checked(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// CRC-32 of the whole text before the check.
    fn checksum<'a>(&self, body: impl IntoIterator<Item = &'a [u8]>) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(self.prefix.as_bytes());
        checksum.update(b"_");
        body.into_iter().for_each(|part| checksum.update(part));
        checksum.finalize()
    }

    /// The prefix, without the `_` after it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A regular expression for scanners that look for keys in the wrong place.
    #[must_use]
    pub fn regex(&self) -> String {
        format!(
            r"\b{}_[0-9A-Za-z]{{{ID_LEN}}}_[0-9A-Za-z]{{{}}}\b",
            self.prefix,
            SECRET_LEN + CHECK_LEN
        )
    }

    fn generate_from(
        &self,
        draft: &KeyDraft<'_>,
        source: RandomSource<'_>,
    ) -> Result<Secret, GenerateError> {
        let id = match draft.id() {
            Some(id) if is_own_id(id) => Secret::new(id.as_str()),
            _ => base62_from(ID_LEN, source)?,
        };
        let secret = base62_from(SECRET_LEN, source)?;
        let body = [id.expose_secret(), "_", secret.expose_secret()];
        let check = encode_check(self.checksum(body.map(str::as_bytes)));

        // Reserved as a whole, so that growing leaves no copies behind.
        let mut text = String::with_capacity(self.prefix.len() + TAIL_LEN);
        text.push_str(&self.prefix);
        text.push('_');
        text.extend(body);
        text.extend(check.map(char::from));
        Ok(Secret::new(text))
    }
}

impl KeyFormat for PrefixedFormat {
    fn parse<'a>(&self, text: &'a str) -> Option<ParsedKey<'a>> {
        let text = text.strip_prefix(&*self.prefix)?.strip_prefix('_')?;
        // Fixed lengths, since every request is parsed here.
        let (body, check) = text.as_bytes().split_first_chunk::<BODY_LEN>()?;
        let check: &[u8; CHECK_LEN] = check.try_into().ok()?;
        let (id, rest) = body.split_first_chunk::<ID_LEN>()?;
        let ([border], secret) = rest.split_first_chunk::<1>()?;
        let secret: &[u8; SECRET_LEN] = secret.try_into().ok()?;
        if *border != b'_' || !(is_base62(id) & is_base62(secret)) {
            return None;
        }
        if decode_check(check) != Some(self.checksum([&body[..]])) {
            return None;
        }
        let (id, rest) = text.split_at_checked(ID_LEN)?;
        let secret = rest.get(1..=SECRET_LEN)?;
        Some(ParsedKey::fixed(KeyId::from_checked(id), secret))
    }

    fn generate(&self, draft: &KeyDraft<'_>) -> Result<Secret, GenerateError> {
        self.generate_from(draft, &mut system_random)
    }

    fn redact(&self, text: &str) -> Option<String> {
        let len = self.prefix.len() + TAIL_LEN;
        let mut redacted: Option<String> = None;
        let mut copied = 0;
        let mut searched = 0;
        while let Some(found) = text.get(searched..).and_then(|rest| rest.find(&*self.prefix)) {
            let start = searched + found;
            let end = start + len;
            if text.get(start..end).is_some_and(|candidate| self.parse(candidate).is_some()) {
                let output = redacted.get_or_insert_default();
                output.push_str(text.get(copied..start).unwrap_or_default());
                output.push_str(&self.prefix);
                output.push_str("_[redacted]");
                copied = end;
                searched = end;
            } else {
                searched = start + 1;
            }
        }
        if let Some(output) = &mut redacted {
            output.push_str(text.get(copied..).unwrap_or_default());
        }
        redacted
    }
}

/// Keys with the prefix `whk`.
impl Default for PrefixedFormat {
    fn default() -> Self {
        Self::checked("whk")
    }
}

impl fmt::Debug for PrefixedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrefixedFormat").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Looks at every character, so that the loop needs no branch.
fn is_base62<const N: usize>(text: &[u8; N]) -> bool {
    text.iter().fold(true, |valid, byte| valid & byte.is_ascii_alphanumeric())
}

fn is_own_id(id: &KeyId) -> bool {
    <&[u8; ID_LEN]>::try_from(id.as_str().as_bytes()).is_ok_and(is_base62)
}

fn encode_check(mut check: u32) -> [u8; CHECK_LEN] {
    let mut text = [b'0'; CHECK_LEN];
    for character in text.iter_mut().rev() {
        *character = BASE62.get((check % 62) as usize).copied().unwrap_or(b'0');
        check /= 62;
    }
    text
}

/// The number with these six digits, by a table and without branches.
fn decode_check(digits: &[u8; CHECK_LEN]) -> Option<u32> {
    static VALUES: [u8; 256] = digit_values();
    let mut number = 0_u64;
    let mut highest = 0;
    for digit in digits {
        let value = VALUES.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
        highest |= value;
        number = number * 62 + u64::from(value);
    }
    if highest >= 64 { None } else { u32::try_from(number).ok() }
}

/// Marks a byte that is no digit in the table.
const NO_DIGIT: u8 = u8::MAX;

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn digit_values() -> [u8; 256] {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < BASE62.len() {
        values[BASE62[value] as usize] = value as u8;
        value += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::key::Owner;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn owner() -> Owner {
        Owner::new("ann").unwrap()
    }

    fn new_key(format: &PrefixedFormat) -> String {
        let owner = owner();
        format.generate(&KeyDraft::new(&owner, NOW)).unwrap().expose_secret().to_owned()
    }

    /// A key of any parts with a valid check.
    fn key_of(prefix: &str, id: &str, secret: &str) -> String {
        let start = format!("{prefix}_{id}_{secret}");
        let check = encode_check(crc32fast::hash(start.as_bytes()));
        format!("{start}{}", std::str::from_utf8(&check).unwrap())
    }

    #[test]
    fn a_published_key_stays_readable() {
        // Its check was computed with zlib.
        let key = "whk_0123456789ABCDEF_ghijklmnopqrstuvwxyz0123456789ABCDEFGH4GobRv";

        let format = PrefixedFormat::default();
        let parsed = format.parse(key).unwrap();

        assert_eq!(parsed.id().as_str(), "0123456789ABCDEF");
        assert_eq!(parsed.secret(), "ghijklmnopqrstuvwxyz0123456789ABCDEFGH");
    }

    #[test]
    fn the_check_is_zero_padded_base_62() {
        assert_eq!(&encode_check(0), b"000000");
        assert_eq!(&encode_check(61), b"00000z");
        assert_eq!(&encode_check(62), b"000010");
        assert_eq!(&encode_check(u32::MAX), b"4gfFC3");
        for check in [0, 61, 62, 3843, 1 << 31, u32::MAX - 1, u32::MAX] {
            assert_eq!(decode_check(&encode_check(check)), Some(check));
        }
        for text in [b"4gfFC4", b"zzzzzz", b"00000-", b"0000\xc3\xa9", b"\xc3\xa90000"] {
            assert_eq!(decode_check(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_is_a_letter_and_1_to_23_more() {
        for prefix in ["ab", "whk", "acme_live", "a_", &"a".repeat(24)] {
            let format = PrefixedFormat::new(prefix).unwrap();
            assert!(format.parse(&new_key(&format)).is_some(), "{prefix}");
        }
        for prefix in ["", "a", "1a", "_a", "Ab", "a-b", "a b", "é1", &"a".repeat(25)] {
            assert!(PrefixedFormat::new(prefix).is_err(), "{prefix:?}");
        }
    }

    #[test]
    fn a_key_of_another_prefix_is_refused() {
        let live = PrefixedFormat::new("acme_live").unwrap();
        let test = PrefixedFormat::new("acme_test").unwrap();

        assert!(live.parse(&new_key(&test)).is_none());
        assert!(PrefixedFormat::new("live").unwrap().parse(&new_key(&live)).is_none());
    }

    #[test]
    fn keys_of_other_systems_are_refused() {
        let format = PrefixedFormat::default();
        let valid = new_key(&format);
        let underscores = "_".repeat(valid.len());
        let cases = [
            "",
            "whk",
            "whk_",
            &underscores,
            "507f1f77bcf86cd799439011:1700000000:abcdefghijklmnopqrstuvwxyzABCDEF",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        ];
        for text in cases {
            assert!(format.parse(text).is_none(), "{text}");
        }
        for text in [
            format!(" {valid}"),
            format!("{valid}\n"),
            format!("{valid}{valid}"),
            format!("\"{valid}\""),
            format!("{valid}="),
            valid.to_uppercase(),
            valid.to_lowercase(),
            valid.replace('_', "-"),
            valid.replace('_', "%5F"),
        ] {
            assert!(format.parse(&text).is_none());
        }
    }

    #[test]
    fn other_characters_are_refused_with_a_right_check_sum() {
        let format = PrefixedFormat::default();
        let (id, secret) = ("a".repeat(16), "b".repeat(38));
        assert!(format.parse(&key_of("whk", &id, &secret)).is_some());

        for odd in ["_", "-", "é", " ", "\0", "\u{200b}", "Ａ"] {
            let id = format!("{odd}{}", "a".repeat(16 - odd.len()));
            assert!(format.parse(&key_of("whk", &id, &secret)).is_none(), "{odd:?}");
            let secret = format!("{}{odd}", "a".repeat(38 - odd.len()));
            let id = "a".repeat(16);
            assert!(format.parse(&key_of("whk", &id, &secret)).is_none(), "{odd:?}");
        }
    }

    #[test]
    fn a_failing_generator_makes_no_key() {
        let owner = owner();
        let format = PrefixedFormat::default();
        for good_calls in 0..2 {
            let mut calls = 0;
            let mut source = |_: &mut [u8]| {
                calls += 1;
                if calls > good_calls { Err(GenerateError::new("broken")) } else { Ok(()) }
            };
            let made = format.generate_from(&KeyDraft::new(&owner, NOW), &mut source);
            assert!(made.is_err(), "{good_calls}");
        }
    }

    #[test]
    fn a_rotation_keeps_an_id_of_this_format_only() {
        let owner = owner();
        let format = PrefixedFormat::default();
        for (id, kept) in [("0123456789abcdef", true), ("0123", false), ("0123456789abcde_", false)]
        {
            let id = KeyId::new(id).unwrap();
            let key = format.generate(&KeyDraft::new(&owner, NOW).with_id(&id)).unwrap();
            let parsed = format.parse(key.expose_secret()).unwrap();
            assert_eq!(*parsed.id() == id, kept, "{id}");
        }
    }

    #[test]
    fn own_keys_are_redacted_wherever_they_stand() {
        let format = PrefixedFormat::default();
        let (a, b) = (new_key(&format), new_key(&format));
        let hidden = "whk_[redacted]";
        let cases = [
            (a.clone(), hidden.to_owned()),
            (format!("{a}{b}"), format!("{hidden}{hidden}")),
            (format!("é{a}é"), format!("é{hidden}é")),
            (format!("whk_{a}&x={b}&"), format!("whk_{hidden}&x={hidden}&")),
            (format!("whk{a}"), format!("whk{hidden}")),
        ];
        for (text, expected) in cases {
            assert_eq!(format.redact(&text).unwrap(), expected);
        }
        for text in ["", "whk", "whk_whk_whk_", &a[..a.len() - 1], &a.to_lowercase()] {
            assert_eq!(format.redact(text), None);
        }
    }

    proptest! {
        #[test]
        fn a_made_key_is_read_back(prefix in "[a-z][a-z0-9_]{1,23}") {
            let format = PrefixedFormat::new(&prefix).unwrap();
            let key = new_key(&format);
            let parsed = format.parse(&key).unwrap();
            prop_assert_eq!(
                key_of(&prefix, parsed.id().as_str(), parsed.secret()),
                key
            );
        }

        #[test]
        fn no_part_and_no_extension_of_a_key_is_a_key(extra in "\\PC{1,3}") {
            let format = PrefixedFormat::default();
            let key = new_key(&format);
            for len in 0..key.len() {
                prop_assert!(format.parse(&key[..len]).is_none());
                prop_assert!(format.parse(&key[key.len() - len..]).is_none());
            }
            let extended = format!("{key}{extra}");
            let preceded = format!("{extra}{key}");
            prop_assert!(format.parse(&extended).is_none());
            prop_assert!(format.parse(&preceded).is_none());
        }

        #[test]
        fn no_change_of_one_character_is_a_key(replacement in any::<char>()) {
            let format = PrefixedFormat::default();
            let key = new_key(&format);
            for (position, old) in key.char_indices() {
                if old == replacement {
                    continue;
                }
                let mut changed = key.clone();
                changed.replace_range(position..=position, replacement.encode_utf8(&mut [0; 4]));
                prop_assert!(format.parse(&changed).is_none(), "{} {:?}", position, replacement);
            }
        }

        #[test]
        fn no_flip_of_case_is_a_key(_ in 0..16_u8) {
            let format = PrefixedFormat::default();
            let key = new_key(&format);
            for (position, old) in key.char_indices().filter(|(_, old)| old.is_alphabetic()) {
                let mut changed = key.clone();
                let flipped = if old.is_uppercase() { old.to_ascii_lowercase() } else { old.to_ascii_uppercase() };
                changed.replace_range(position..=position, flipped.encode_utf8(&mut [0; 4]));
                prop_assert!(format.parse(&changed).is_none(), "{}", position);
            }
        }

        #[test]
        fn junk_is_refused_without_a_panic(text: String) {
            prop_assert!(PrefixedFormat::default().parse(&text).is_none());
            prop_assert!(PrefixedFormat::default().redact(&text).is_none());
        }
    }
}
