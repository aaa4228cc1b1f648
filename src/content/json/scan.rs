use std::ops::Range;

use super::names::{Names, OwnNames};
use super::{Element, JsonError, JsonErrorKind, JsonKind, JsonLimits, JsonText, Member, Part};

/// Offsets are kept in 32 bits, and half of their range belongs to names that were unescaped.
const LONGEST: usize = (u32::MAX / 2) as usize;

pub(super) fn scan<'a>(
    bytes: &'a [u8],
    limits: &JsonLimits,
    visit: &mut impl FnMut(Part<'a>),
) -> Result<JsonText<'a>, JsonError> {
    if bytes.len() >= LONGEST {
        return Err(JsonError { kind: JsonErrorKind::TooLong, offset: LONGEST });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError {
        kind: JsonErrorKind::InvalidUtf8,
        offset: error.valid_up_to(),
    })?;
    if bytes.starts_with("\u{feff}".as_bytes()) {
        return Err(JsonError { kind: JsonErrorKind::ByteOrderMark, offset: 0 });
    }
    let mut scanner = Scanner {
        bytes,
        position: 0,
        nodes_left: limits.nodes,
        depth: limits.depth,
        open: Levels::default(),
        objects: Vec::new(),
        names: Names::new(bytes),
    };
    match scanner.run(text, visit) {
        Ok(kind) => Ok(JsonText { text, kind, nodes: limits.nodes - scanner.nodes_left }),
        Err(kind) => Err(JsonError { kind, offset: scanner.position }),
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
    nodes_left: usize,
    depth: usize,
    /// The arrays and objects around the current place.
    open: Levels,
    /// The objects among them, outermost first.
    objects: Vec<OwnNames>,
    names: Names<'a>,
}

/// Arrays and objects that have begun, as a stack of bits: a set bit is an object.
#[derive(Default)]
struct Levels {
    length: usize,
    /// The innermost levels, the last one in the lowest bit.
    word: u64,
    /// The levels around them, in words that are full.
    words: Vec<u64>,
}

impl Levels {
    const fn len(&self) -> usize {
        self.length
    }

    fn push(&mut self, is_object: bool) {
        if self.length != 0 && self.length.is_multiple_of(64) {
            self.words.push(self.word);
        }
        self.word = self.word << 1 | u64::from(is_object);
        self.length += 1;
    }

    fn pop(&mut self) {
        self.length = self.length.saturating_sub(1);
        self.word >>= 1;
        if self.length.is_multiple_of(64) {
            self.word = self.words.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost level is an object. `None` if there is no level.
    #[inline]
    const fn last(&self) -> Option<bool> {
        if self.length == 0 { None } else { Some(self.word & 1 == 1) }
    }
}

/// The start of the value that is being read at the top level, and its name if it is a member.
#[derive(Default)]
struct Pending {
    name: Range<usize>,
    name_has_escapes: bool,
    value: usize,
}

impl<'a> Scanner<'a> {
    fn run(
        &mut self,
        text: &'a str,
        visit: &mut impl FnMut(Part<'a>),
    ) -> Result<JsonKind, JsonErrorKind> {
        let mut pending = Pending::default();
        loop {
            // A value begins here.
            let byte = self.skip_space();
            let start = self.position;
            if self.open.len() == 1 {
                pending.value = start;
            }
            self.nodes_left = self.nodes_left.checked_sub(1).ok_or(JsonErrorKind::TooManyNodes)?;
            let mut kind = match byte {
                Some(b'"') => {
                    self.position += 1;
                    self.string()?;
                    JsonKind::String
                }
                Some(b'{') => {
                    self.open(true)?;
                    match self.skip_space() {
                        Some(b'}') => self.close()?,
                        Some(b'"') => {
                            self.name(&mut pending)?;
                            continue;
                        }
                        _ => return Err(JsonErrorKind::Syntax),
                    }
                }
                Some(b'[') => {
                    self.open(false)?;
                    match self.skip_space() {
                        Some(b']') => self.close()?,
                        _ => continue,
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true", JsonKind::Boolean)?,
                Some(b'f') => self.literal(b"false", JsonKind::Boolean)?,
                Some(b'n') => self.literal(b"null", JsonKind::Null)?,
                _ => return Err(JsonErrorKind::Syntax),
            };

            // A value of that kind has ended here, and perhaps the ones around it.
            loop {
                let end = self.position;
                let byte = self.skip_space();
                let Some(is_object) = self.open.last() else {
                    return match byte {
                        None => Ok(kind),
                        Some(_) if matches!(kind, JsonKind::Object | JsonKind::Array) => {
                            Err(JsonErrorKind::TrailingData)
                        }
                        Some(_) => Err(JsonErrorKind::Syntax),
                    };
                };
                if self.open.len() == 1 {
                    let value = Element { text, span: pending.value..end, kind };
                    visit(if is_object {
                        Part::Member(Member {
                            name: pending.name.clone(),
                            name_has_escapes: pending.name_has_escapes,
                            value,
                        })
                    } else {
                        Part::Element(value)
                    });
                }
                match (byte, is_object) {
                    (Some(b','), false) => {
                        self.position += 1;
                        break;
                    }
                    (Some(b','), true) => {
                        self.position += 1;
                        if self.skip_space() != Some(b'"') {
                            return Err(JsonErrorKind::Syntax);
                        }
                        self.name(&mut pending)?;
                        break;
                    }
                    (Some(b']'), false) | (Some(b'}'), true) => kind = self.close()?,
                    _ => return Err(JsonErrorKind::Syntax),
                }
            }
        }
    }

    fn open(&mut self, is_object: bool) -> Result<(), JsonErrorKind> {
        if self.open.len() >= self.depth {
            return Err(JsonErrorKind::TooDeep);
        }
        self.position += 1;
        self.open.push(is_object);
        if is_object {
            if self.objects.capacity() == 0 {
                self.objects.reserve(self.depth.min(16));
            }
            self.objects.push(self.names.open());
        }
        Ok(())
    }

    fn close(&mut self) -> Result<JsonKind, JsonErrorKind> {
        self.position += 1;
        let is_object = self.open.last();
        self.open.pop();
        if is_object != Some(true) {
            return Ok(JsonKind::Array);
        }
        match self.objects.pop() {
            Some(names) if self.names.close(&names) => Ok(JsonKind::Object),
            _ => Err(JsonErrorKind::DuplicateName),
        }
    }

    /// Reads a member's name, from its opening quote to behind its colon.
    #[inline(always)]
    fn name(&mut self, pending: &mut Pending) -> Result<(), JsonErrorKind> {
        self.position += 1;
        let start = self.position;
        let has_escapes = self.string()?;
        let name = start..self.position - 1;

        let Some(object) = self.objects.last_mut() else {
            return Err(JsonErrorKind::Syntax);
        };
        if !self.names.insert(object, name.clone(), has_escapes, self.nodes_left) {
            return Err(JsonErrorKind::DuplicateName);
        }
        if self.open.len() == 1 {
            pending.name = name;
            pending.name_has_escapes = has_escapes;
        }
        if self.skip_space() != Some(b':') {
            return Err(JsonErrorKind::Syntax);
        }
        self.position += 1;
        Ok(())
    }

    /// Reads a string, from behind its opening quote to behind its closing one. Tells whether it
    /// has escapes.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, JsonErrorKind> {
        self.position = end_of_plain(self.bytes, self.position);
        if self.byte() == Some(b'"') {
            self.position += 1;
            return Ok(false);
        }
        self.string_with_escapes()?;
        Ok(true)
    }

    /// Goes on with a string at what is not plain.
    #[inline(never)]
    fn string_with_escapes(&mut self) -> Result<(), JsonErrorKind> {
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.position += 1;
                    self.escape()?;
                }
                _ => return Err(JsonErrorKind::Syntax),
            }
            self.position = end_of_plain(self.bytes, self.position);
        }
    }

    /// Reads an escape from behind its backslash.
    fn escape(&mut self) -> Result<(), JsonErrorKind> {
        let byte = self.byte();
        match byte {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.position += 1;
                Ok(())
            }
            Some(b'u') => {
                self.position += 1;
                match self.hex_unit()? {
                    0xd800..=0xdbff => {
                        match self.bytes.get(self.position..).unwrap_or_default() {
                            [b'\\', b'u', ..] => self.position += 2,
                            [] | [b'\\'] => return Err(JsonErrorKind::Syntax),
                            _ => return Err(JsonErrorKind::LoneSurrogate),
                        }
                        match self.hex_unit()? {
                            0xdc00..=0xdfff => Ok(()),
                            _ => Err(JsonErrorKind::LoneSurrogate),
                        }
                    }
                    0xdc00..=0xdfff => Err(JsonErrorKind::LoneSurrogate),
                    _ => Ok(()),
                }
            }
            _ => Err(JsonErrorKind::Syntax),
        }
    }

    fn hex_unit(&mut self) -> Result<u32, JsonErrorKind> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or(JsonErrorKind::Syntax)?;
            self.position += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<JsonKind, JsonErrorKind> {
        if self.byte() == Some(b'-') {
            self.position += 1;
        }
        if self.byte() == Some(b'0') {
            self.position += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.position += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.position += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.position += 1;
            }
            self.digits()?;
        }
        Ok(JsonKind::Number)
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonErrorKind> {
        let start = self.position;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.position += 1;
        }
        if self.position == start {
            return Err(JsonErrorKind::Syntax);
        }
        Ok(())
    }

    fn literal(&mut self, word: &[u8], kind: JsonKind) -> Result<JsonKind, JsonErrorKind> {
        if self.bytes.get(self.position..self.position + word.len()) != Some(word) {
            return Err(JsonErrorKind::Syntax);
        }
        self.position += word.len();
        Ok(kind)
    }

    /// Moves to the next byte that is not white space, and looks at it.
    fn skip_space(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.position += 1,
                other => return other,
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }
}

/// The first byte from `position` on that ends a run of plain characters in a string: a quote, a
/// backslash, a control character, or the end of the text.
#[inline]
fn end_of_plain(bytes: &[u8], mut position: usize) -> usize {
    while let Some(chunk) = bytes.get(position..).and_then(|rest| rest.first_chunk::<16>()) {
        let pair = u128::from_le_bytes(*chunk);
        let first = marks(pair as u64);
        if first != 0 {
            return position + (first.trailing_zeros() / 8) as usize;
        }
        let second = marks((pair >> 64) as u64);
        if second != 0 {
            return position + 8 + (second.trailing_zeros() / 8) as usize;
        }
        position += 16;
    }
    while let Some(byte) = bytes.get(position) {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            break;
        }
        position += 1;
    }
    position
}

/// Marks the quotes, backslashes and control characters among eight bytes by their highest bits.
///
/// A subtraction borrows only upwards from a byte that is marked, so the lowest mark is exact, and
/// that is the one that counts.
#[inline]
const fn marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    let quotes = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
    let backslashes = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
    let controls = word.wrapping_sub(ONES * 0x20);
    (quotes | backslashes | controls) & !word & HIGHS
}
