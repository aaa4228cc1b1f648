//! CRC-32/ISO-HDLC, the checksum of zlib and PNG: reflected, polynomial 0x04C11DB7.

/// Eight tables of 256: eight bytes are taken in at a time.
static TABLES: [[u32; 256]; 8] = tables();

/// A checksum in the making, which can be kept after a common start.
#[derive(Clone, Copy)]
pub(super) struct Crc32(u32);

impl Crc32 {
    pub(super) const fn new() -> Self {
        Self(u32::MAX)
    }

    #[must_use]
    pub(super) fn update(self, bytes: &[u8]) -> Self {
        let mut state = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        for [a, b, c, d, e, f, g, h] in words {
            let [low0, low1, low2, low3] =
                (state ^ u32::from_le_bytes([*a, *b, *c, *d])).to_le_bytes();
            state = at(t7, low0)
                ^ at(t6, low1)
                ^ at(t5, low2)
                ^ at(t4, low3)
                ^ at(t3, *e)
                ^ at(t2, *f)
                ^ at(t1, *g)
                ^ at(t0, *h);
        }
        // The rest at once as well: look-ups that do not wait for each other.
        let tables = TABLES.iter().take(rest.len()).rev();
        let mixed = state.to_le_bytes().into_iter().chain([0; 4]);
        let kept = state.checked_shr(8 * rest.len() as u32).unwrap_or(0);
        let looked_up = rest.iter().zip(mixed).zip(tables);
        let state = looked_up.fold(kept, |sum, ((byte, low), table)| sum ^ at(table, byte ^ low));
        Self(state)
    }

    pub(super) fn finish(self) -> u32 {
        !self.0
    }
}

#[expect(clippy::indexing_slicing, reason = "a byte is always below 256")]
fn at(table: &[u32; 256], byte: u8) -> u32 {
    table[usize::from(byte)]
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            state = (state >> 1) ^ (0xedb8_8320 & (state & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[table - 1][byte];
            tables[table][byte] = (shorter >> 8) ^ tables[0][(shorter & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crc32(bytes: &[u8]) -> u32 {
        Crc32::new().update(bytes).finish()
    }

    fn bit_by_bit(bytes: &[u8]) -> u32 {
        let mut state = u32::MAX;
        for byte in bytes {
            state ^= u32::from(*byte);
            for _ in 0..8 {
                state = if state & 1 == 1 { (state >> 1) ^ 0xedb8_8320 } else { state >> 1 };
            }
        }
        !state
    }

    #[test]
    fn the_check_value_of_the_catalogue_is_met() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    proptest! {
        #[test]
        fn tables_and_bits_agree(bytes: Vec<u8>, split: prop::sample::Index) {
            prop_assert_eq!(crc32(&bytes), bit_by_bit(&bytes));
            let (start, end) = bytes.split_at(split.index(bytes.len() + 1));
            prop_assert_eq!(Crc32::new().update(start).update(end).finish(), crc32(&bytes));
        }
    }
}
