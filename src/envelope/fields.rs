use std::cmp::Ordering;

use super::text::{ObjectWriter, Sink, push_array};

/// The fields of a query or a form, each known by a number below [`Groups::END`].
pub(super) trait Fields {
    /// By name.
    fn compare(&self, a: u32, b: u32) -> Ordering;

    fn push_name(&self, out: &mut impl Sink, field: u32);

    fn push_value(&self, out: &mut impl Sink, field: u32);
}

/// A sorted index: fields by their names. It takes four bytes for each field, however many there are.
pub(super) struct Groups {
    /// The first field of each name in the order of appearance, then all others by name and appearance.
    fields: Vec<u32>,
    firsts: usize,
}

impl Groups {
    /// One more than the largest number of a field.
    pub(super) const END: u32 = 1 << 30;
    /// Marks a field that is not the first of its name.
    const REPEAT: u32 = 1 << 31;
    /// Marks a first field with others behind it.
    const REPEATED: u32 = Self::END;

    /// Sorts fields, which come in the order of their numbers.
    pub(super) fn new(mut fields: Vec<u32>, source: &impl Fields) -> Self {
        fields.sort_unstable_by(|a, b| source.compare(*a, *b));
        for group in fields.chunk_by_mut(|a, b| source.compare(*a, *b).is_eq()) {
            group.sort_unstable();
            if let [first, repeats @ ..] = group
                && !repeats.is_empty()
            {
                *first |= Self::REPEATED;
                repeats.iter_mut().for_each(|repeat| *repeat |= Self::REPEAT);
            }
        }
        // Moves the repeats to the end, from the last one on, so that they stay sorted.
        let mut firsts = fields.len();
        for index in (0..fields.len()).rev() {
            if fields.get(index).is_some_and(|field| field & Self::REPEAT != 0) {
                firsts -= 1;
                fields.swap(index, firsts);
            }
        }
        let (heads, repeats) = fields.split_at_mut(firsts);
        heads.sort_unstable_by_key(|field| field & !Self::REPEATED);
        repeats.iter_mut().for_each(|repeat| *repeat &= !Self::REPEAT);
        Self { fields, firsts }
    }

    /// Each first field, and the fields behind it with the same name.
    fn iter<'a>(&'a self, source: &'a impl Fields) -> impl Iterator<Item = (u32, &'a [u32])> {
        let (firsts, repeats) = self.fields.split_at_checked(self.firsts).unwrap_or_default();
        firsts.iter().map(move |field| {
            let first = field & !Self::REPEATED;
            if *field == first {
                return (first, &[][..]);
            }
            let start = repeats.partition_point(|other| source.compare(*other, first).is_lt());
            let own = repeats.get(start..).unwrap_or_default();
            let end = own.partition_point(|other| source.compare(*other, first).is_eq());
            (first, own.get(..end).unwrap_or_default())
        })
    }
}

/// Appends fields as an object: one that was sent once has its value, a repeated one an array. Names are in the
/// order of their first appearance.
pub(super) fn push_fields<S: Sink>(out: &mut S, source: &impl Fields, groups: &Groups) {
    let mut object = ObjectWriter::new(out);
    for (first, others) in groups.iter(source) {
        let value = |out: &mut S| {
            if others.is_empty() {
                source.push_value(out, first);
            } else {
                let all = [first].into_iter().chain(others.iter().copied());
                push_array(out, all, |out, field| source.push_value(out, field));
            }
        };
        object.member_named(|out| source.push_name(out, first), value);
    }
    object.finish();
}
