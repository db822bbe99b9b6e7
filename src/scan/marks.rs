//! The marks among the bytes of JSON, 64 of them at a time.

use wide::u8x16;

/// So many blocks are looked at in one go.
const BLOCKS: usize = 8;

/// The marks of a stretch of text, in blocks of 64 bytes.
#[derive(Default)]
pub(crate) struct Window {
    pub(super) marks: [u64; BLOCKS],
    /// Those of the marks that are brackets.
    pub(super) brackets: [u64; BLOCKS],
    /// The stretch ends in a string: all ones.
    in_string: u64,
    /// It ends with a backslash that escapes what follows.
    escaping: bool,
    /// So far there was a backslash anywhere.
    pub(super) escapes: bool,
    /// There was anything but ASCII.
    pub(super) wide: bool,
    /// There was a control character in a string.
    pub(super) broken: bool,
}

impl Window {
    /// Looks at the text that follows, as far as there is room.
    #[inline(never)]
    pub(super) fn look(&mut self, text: &[u8]) {
        let (blocks, rest) = text[..text.len().min(64 * BLOCKS)].as_chunks();
        for (i, block) in blocks.iter().enumerate() {
            self.note(i, &Masks::of(block));
        }
        if blocks.len() < BLOCKS {
            let mut block = [b' '; 64];
            block[..rest.len()].copy_from_slice(rest);
            self.note(blocks.len(), &Masks::of(&block));
            self.marks[blocks.len() + 1..].fill(0);
            self.brackets[blocks.len() + 1..].fill(0);
        }
    }

    #[inline(always)]
    fn note(&mut self, i: usize, found: &Masks) {
        let mut quotes = found.quotes;
        if found.backslashes != 0 || self.escaping {
            quotes &= !self.escaped(found.backslashes);
        }
        let strings = parity(quotes) ^ self.in_string;
        self.in_string = 0_u64.wrapping_sub(strings >> 63);
        self.brackets[i] = found.brackets & !strings;
        self.marks[i] = quotes | self.brackets[i];
        self.wide |= found.wide;
        self.broken |= found.controls & strings != 0;
    }

    /// What is escaped by the backslashes of a block, and by one at the end of the block before.
    fn escaped(&mut self, mut backslashes: u64) -> u64 {
        let mut escaped = u64::from(self.escaping);
        self.escapes |= backslashes != 0;
        backslashes &= !escaped;
        self.escaping = false;
        while backslashes != 0 {
            let place = backslashes.trailing_zeros();
            let next = (1_u64 << place) << 1;
            self.escaping |= next == 0;
            escaped |= next;
            backslashes &= !(1 << place) & !next;
        }
        escaped
    }
}

/// Each bit: whether the number of ones up to it is odd.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// 64 bytes: a bit for each byte of a kind, the first byte's the lowest.
struct Masks {
    quotes: u64,
    backslashes: u64,
    /// Below the space.
    controls: u64,
    /// `[{]}`; and `Y_y` and DEL, which are like them but for bits that are not compared: outside of a string those have
    /// no place.
    brackets: u64,
    /// There is anything but ASCII.
    wide: bool,
}

impl Masks {
    #[inline(always)]
    fn of(block: &[u8; 64]) -> Self {
        let (parts, _) = block.as_chunks::<16>();
        let parts = [0, 1, 2, 3].map(|i| u8x16::new(parts[i]));
        let any = |found: [u8x16; 4]| (found[0] | found[1] | found[2] | found[3]).to_bitmask() != 0;
        let bits = |found: [u8x16; 4]| {
            let [a, b, c, d] = found.map(|part| u64::from(part.to_bitmask()));
            a | b << 16 | c << 32 | d << 48
        };
        // What is seldom there is first asked for as a whole.
        let seldom = |found| if any(found) { bits(found) } else { 0 };
        let is = |byte| parts.map(|part| part.simd_eq(u8x16::splat(byte)));
        Self {
            quotes: bits(is(b'"')),
            backslashes: seldom(is(b'\\')),
            controls: seldom(parts.map(|part| part.min(u8x16::splat(0x1f)).simd_eq(part))),
            brackets: bits(parts.map(|part| (part | u8x16::splat(0x26)).simd_eq(u8x16::splat(0x7f)))),
            wide: any(parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_the_bits_of_its_kinds() {
        for byte in 0..=u8::MAX {
            for place in 0..64 {
                let mut block = [b'a'; 64];
                block[place] = byte;
                let found = Masks::of(&block);
                let bit = |is: bool| u64::from(is) << place;
                assert_eq!(found.quotes, bit(byte == b'"'));
                assert_eq!(found.backslashes, bit(byte == b'\\'));
                assert_eq!(found.controls, bit(byte < 0x20));
                assert_eq!(found.brackets, bit(b"[{]}Y_y\x7f".contains(&byte)));
                assert_eq!(found.wide, byte >= 0x80);
            }
        }
    }
}
