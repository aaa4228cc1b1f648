use std::ops::Range;

use super::unescape_into;

/// Up to so many names of one object are compared one by one; more are sorted when the object ends.
/// Sorting needs no hash, so chosen names cannot make it slow.
const COMPARED_ONE_BY_ONE: usize = 16;

/// The names of all objects that are open, the innermost last.
pub(super) struct Names<'a> {
    bytes: &'a [u8],
    entries: Vec<Name>,
    /// Names that were written with escapes.
    unescaped: String,
}

/// A name: where it is, in the text or behind it in `Names::unescaped`.
#[derive(Clone, Copy)]
struct Name {
    fingerprint: u32,
    start: u32,
    length: u32,
}

/// The names of one object: the last of [`Names`]. Every object that is open has one, so it is small.
pub(super) struct OwnNames {
    /// Where its names begin. There are fewer than bytes in the text: see `scan::LONGEST`.
    entries: u32,
    unescaped: u32,
    /// One bit for the first five bits of each fingerprint: without that bit, a name is new.
    seen: u32,
}

impl<'a> Names<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, entries: Vec::new(), unescaped: String::new() }
    }

    /// Begins an object inside the others.
    pub(super) fn open(&self) -> OwnNames {
        OwnNames {
            entries: self.entries.len() as u32,
            unescaped: self.unescaped.len() as u32,
            seen: 0,
        }
    }

    /// Adds a name to the innermost object. `false` if it is known to be there already.
    #[inline]
    pub(super) fn insert(
        &mut self,
        object: &mut OwnNames,
        name: Range<usize>,
        has_escapes: bool,
        more_at_most: usize,
    ) -> bool {
        let range = if has_escapes { self.unescape(name) } else { name };
        // The offsets add up to less than `u32::MAX`: see `scan::LONGEST`.
        let mut name =
            Name { fingerprint: 0, start: range.start as u32, length: range.len() as u32 };
        let text = text_of(self.bytes, &self.unescaped, name);
        name.fingerprint = fingerprint(text);

        let bit = 1 << (name.fingerprint >> 27);
        if object.seen & bit != 0 {
            let siblings = self.entries.get(object.entries as usize..).unwrap_or_default();
            if siblings.len() < COMPARED_ONE_BY_ONE
                && siblings.iter().any(|other| {
                    other.fingerprint == name.fingerprint
                        && text_of(self.bytes, &self.unescaped, *other) == text
                })
            {
                return false;
            }
        }
        object.seen |= bit;
        if self.entries.len() == self.entries.capacity() {
            self.grow(more_at_most);
        }
        self.entries.push(name);
        true
    }

    /// Doubles the room for names, but never beyond what the limit on values lets in.
    #[cold]
    fn grow(&mut self, more_at_most: usize) {
        let more = self.entries.len().max(64).min(more_at_most.max(1));
        self.entries.reserve_exact(more);
    }

    #[cold]
    fn unescape(&mut self, name: Range<usize>) -> Range<usize> {
        let start = self.bytes.len() + self.unescaped.len();
        let raw = self.bytes.get(name).unwrap_or_default();
        let raw = std::str::from_utf8(raw).unwrap_or_default();
        unescape_into(raw, &mut self.unescaped);
        start..self.bytes.len() + self.unescaped.len()
    }

    /// Ends the innermost object. `false` if one of its names is there twice.
    pub(super) fn close(&mut self, object: &OwnNames) -> bool {
        let own = self.entries.get_mut(object.entries as usize..).unwrap_or_default();
        let mut distinct = true;
        if own.len() > COMPARED_ONE_BY_ONE {
            let text = |name: Name| text_of(self.bytes, &self.unescaped, name);
            own.sort_unstable_by(|a, b| {
                a.fingerprint.cmp(&b.fingerprint).then_with(|| text(*a).cmp(text(*b)))
            });
            distinct = own.windows(2).all(|pair| match pair {
                [a, b] => a.fingerprint != b.fingerprint || text(*a) != text(*b),
                _ => true,
            });
        }
        self.entries.truncate(object.entries as usize);
        self.unescaped.truncate(object.unescaped as usize);
        distinct
    }
}

fn text_of<'a>(bytes: &'a [u8], unescaped: &'a str, name: Name) -> &'a [u8] {
    let (start, length) = (name.start as usize, name.length as usize);
    match start.checked_sub(bytes.len()) {
        None => bytes.get(start..start + length),
        Some(start) => unescaped.as_bytes().get(start..start + length),
    }
    .unwrap_or_default()
}

/// Tells most names apart without looking at all of their bytes.
fn fingerprint(name: &[u8]) -> u32 {
    let (head, tail) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (Some(head), Some(tail)) => {
                (u32::from_le_bytes(*head).into(), u32::from_le_bytes(*tail).into())
            }
            _ => {
                let word = name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
                (word, word)
            }
        },
    };
    let mixed = (head ^ tail.rotate_left(29) ^ ((name.len() as u64) << 57))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}
